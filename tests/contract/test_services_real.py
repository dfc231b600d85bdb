"""The database probes against real servers: login accepted, login refused, server hung, server stopped."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pymysql
import pytest

from tests.conftest import _postgres_programs
from tests.service_room import (
    PASSWORD,
    USER,
    Certificate,
    certify,
    down,
    free_port,
    look,
    probe_of,
    reason,
    see,
    service,
    why,
)
from watchkeeper.agent.probes.services.check import tls_context
from watchkeeper.model.device import Database, Device, Process
from watchkeeper.model.reading import Missing, Reason, Value

KINDS = ["postgresql", "mysql", "redis"]
NEEDS = {"postgresql": "initdb", "mysql": "mariadbd", "redis": "redis-server"}
LOGIN = Database(USER, "login")
NARROW = "may-only-ping"


@dataclass(slots=True)
class Server:
    """A real server on loopback. `tls_port` differs from `port` only for Redis."""

    kind: str
    port: int
    tls_port: int
    certificate: Certificate
    process: "subprocess.Popen[str]" = field(repr=False)

    def device(self, database: Database = LOGIN, host: str = "127.0.0.1", timeout_s: float = 10.0) -> Device:
        port = self.tls_port if database.tls else self.port
        return service(self.kind, f"{host}:{port}", timeout_s=timeout_s, database=database)


def _user(name: str, *owned: Path) -> dict[str, Any]:
    """The user to run a server that refuses to run as root; it becomes the owner of these files."""
    if os.geteuid():
        return {}
    for path in owned:
        shutil.chown(path, name, name)
    return {"user": name, "group": name, "extra_groups": []}


def _postgresql(home: Path, port: int, tls_port: int) -> tuple[list[str], str, dict[str, Any]]:
    programs = _postgres_programs()
    secret = home / "password"
    secret.write_text(PASSWORD)
    user = _user("postgres", home, secret, home / "localhost.pem")
    subprocess.run(
        [f"{programs}/initdb", "-D", home / "data", "-U", USER, "-A", "scram-sha-256", "--pwfile", secret, "--no-sync",
         "--no-locale", "-E", "UTF8"], cwd="/", check=True, capture_output=True, **user,
    )  # fmt: skip
    options = {
        "listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": home, "fsync": "off", "ssl": "on",
        "max_connections": 20, "ssl_cert_file": home / "localhost.pem", "ssl_key_file": home / "localhost.pem",
    }  # fmt: skip
    settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return [f"{programs}/postgres", "-D", f"{home}/data", *settings], "ready to accept connections", user


def _mysql(home: Path, port: int, tls_port: int) -> tuple[list[str], str, dict[str, Any]]:
    init_file = home / "init.sql"
    init_file.write_text(f"CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\n")
    user = _user("mysql", home, init_file, home / "localhost.pem")
    subprocess.run(
        ["mariadb-install-db", "--no-defaults", f"--datadir={home}/data", "--skip-test-db",
         "--auth-root-authentication-method=normal"], cwd="/", check=True, capture_output=True, **user,
    )  # fmt: skip
    options = {
        "datadir": home / "data", "port": port, "bind-address": "127.0.0.1", "socket": home / "s", "init-file": init_file,
        "ssl-cert": home / "localhost.pem", "ssl-key": home / "localhost.pem", "pid-file": home / "pid",
        "max-connections": 20,
    }  # fmt: skip
    settings = [f"--{name}={value}" for name, value in options.items()]
    return ["mariadbd", "--no-defaults", "--skip-name-resolve", *settings], "ready for connections", user


def _redis(home: Path, port: int, tls_port: int) -> tuple[list[str], str, dict[str, Any]]:
    options = {
        "port": port, "tls-port": tls_port, "bind": "127.0.0.1", "dir": home, "save": "", "tls-auth-clients": "no",
        "tls-cert-file": home / "localhost.pem", "tls-key-file": home / "localhost.pem",
        "tls-ca-cert-file": home / "localhost.pem",
    }  # fmt: skip
    file = home / "redis.conf"
    lines = [f'{name} "{value}"' for name, value in options.items()]
    file.write_text(
        "\n".join(
            [
                *lines,
                f"requirepass {PASSWORD}",
                f"user {USER} on >{PASSWORD} ~* +@all",
                f"user {NARROW} on >{PASSWORD} +ping",
            ]
        )
    )
    return ["redis-server", str(file)], "Ready to accept connections", {}


COMMANDS = {"postgresql": _postgresql, "mysql": _mysql, "redis": _redis}


@contextlib.contextmanager
def running(kind: str) -> Iterator[Server]:
    """Run a server of that kind, and stop it afterwards. Skips the test if none is installed."""
    found = _postgres_programs() if kind == "postgresql" else shutil.which(NEEDS[kind])
    if found is None:
        pytest.skip(f"needs {NEEDS[kind]} on PATH")
    with tempfile.TemporaryDirectory(prefix="watchkeeper-db-", dir="/tmp") as folder:
        home = Path(folder)
        certificate = certify(home, time.time(), 10 * 86_400.0)
        port, tls_port = free_port(), free_port()
        command, ready, user = COMMANDS[kind](home, port, tls_port)
        with subprocess.Popen(
            command, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **user
        ) as process:  # fmt: skip
            try:
                assert process.stdout is not None
                said = []
                while ready not in (line := process.stdout.readline()):
                    said.append(line)
                    assert line, f"{kind} ended: {''.join(said)}"
                yield Server(kind, port, tls_port if kind == "redis" else port, certificate, process)
            finally:
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGQUIT if kind == "postgresql" else signal.SIGKILL)


def another_client(server: Server) -> Any:
    """A connection of another client."""
    if server.kind == "postgresql":
        return psycopg.connect(host="127.0.0.1", port=server.port, user=USER, password=PASSWORD, dbname="postgres")
    if server.kind == "mysql":
        return pymysql.connect(host="127.0.0.1", port=server.port, user=USER, password=PASSWORD.encode())
    return socket.create_connection(("127.0.0.1", server.port))


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with running(request.param) as one:
        yield one


@pytest.fixture(autouse=True)
def _authorities() -> Iterator[None]:
    tls_context.cache_clear()
    yield
    tls_context.cache_clear()


def test_a_successful_login_is_up(server: Server) -> None:
    seen = see(server.device())
    assert (seen["device.answering"], seen["service.state"]) == ("yes", "up"), seen
    assert isinstance(seen["response.time"], float)
    assert isinstance(used := seen["connections.usage"], float)
    assert 0 < used < 100


def test_connections_in_use_are_a_percentage_of_those_allowed(server: Server) -> None:
    """The servers here allow 20 connections (PostgreSQL, MariaDB) or 10,000 (Redis)."""
    allowed = 10_000 if server.kind == "redis" else 20

    async def run() -> tuple[Value, Value]:
        probe = probe_of(server.kind)
        alone = (await look(server.device(), probe))["connections.usage"]
        with contextlib.ExitStack() as held:
            others = [held.enter_context(another_client(server)) for _ in range(3)]
            beside = (await look(server.device(), probe))["connections.usage"]
            assert len(others) == 3
        await probe.close()
        return alone, beside

    alone, beside = asyncio.run(run())
    assert isinstance(alone, float)
    assert isinstance(beside, float)
    assert beside - alone == pytest.approx(100 * 3 / allowed, abs=100 / allowed)


def test_a_user_who_may_not_read_the_connections_still_finds_it_up() -> None:
    with running("redis") as server:
        seen = see(server.device(Database(NARROW, "login")))
    assert seen["service.state"] == "up"
    assert reason(seen["connections.usage"]) is Reason.ABSENT


def test_many_logins_leave_no_connection_open(server: Server) -> None:
    async def run() -> None:
        probe = probe_of(server.kind)
        before = psutil.Process().num_fds()
        for _ in range(5):
            assert (await look(server.device(), probe))["service.state"] == "up"
        assert psutil.Process().num_fds() <= before
        await probe.close()

    asyncio.run(run())


@pytest.mark.parametrize("login", [Database(USER, "stale"), Database("nobody-known", "login"), Database(USER)])
def test_a_wrong_login_is_down_and_quotes_neither_user_nor_password(
    server: Server, login: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    seen = see(server.device(login))
    assert down(seen).startswith("login refused: user or password wrong")
    assert reason(seen["response.time"]) is Reason.REFUSED
    for secret in (PASSWORD, "no-longer-right", USER, "nobody-known"):
        assert secret not in caplog.text
        assert secret not in repr(seen)


def test_a_missing_secret_is_named(server: Server) -> None:
    seen = see(server.device(Database(USER, "lost")))
    assert seen["device.answering"] == "no"
    assert reason(seen["service.state"]) is Reason.REFUSED
    assert "no secret called `lost`" in why(seen)


def test_a_server_that_hangs_answers_but_is_down_until_it_wakes(server: Server) -> None:
    async def run() -> tuple[dict[str, Value], dict[str, Value]]:
        probe = probe_of(server.kind)
        server.process.send_signal(signal.SIGSTOP)
        hung = await look(server.device(timeout_s=0.3), probe)
        server.process.send_signal(signal.SIGCONT)
        woken = await look(server.device(), probe)
        await probe.close()
        return hung, woken

    hung, woken = asyncio.run(run())
    assert down(hung) == "connected, but no whole answer within 0.3 s"
    assert reason(hung["response.time"]) is Reason.TIMEOUT
    assert woken["service.state"] == "up"


def test_tls(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    by_tls = replace(LOGIN, tls=True)
    assert "certificate" in down(see(server.device(by_tls)))
    assert see(server.device(replace(by_tls, verify=False)))["service.state"] == "up"
    tls_context.cache_clear()
    monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate.file))
    seen = see(server.device(by_tls, "localhost"))
    assert seen["service.state"] == "up", seen


def test_a_database_that_does_not_exist_is_named(server: Server) -> None:
    seen = see(server.device(replace(LOGIN, database="99")))
    expected = (
        "Redis" if server.kind == "redis" else "no right to this database" if server.kind == "mysql" else "no database"
    )
    assert expected in down(seen)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_is_stopped_is_down(kind: str) -> None:
    async def run() -> tuple[dict[str, Value], dict[str, Value]]:
        probe = probe_of(kind)
        with running(kind) as server:
            before = await look(server.device(), probe)
        return before, await look(server.device(), probe)

    before, seen = asyncio.run(run())
    assert before["service.state"] == "up"
    assert down(seen).startswith("connection refused: nothing listens on port ")


def test_a_real_process_is_found_until_it_ends() -> None:
    device = service("process", process=Process("^sleep 31536007$"))
    with subprocess.Popen(["sleep", "31536007"]) as sleeper:
        before = see(device)
        sleeper.kill()
    after = see(device)
    assert (before["process.state"], before["process.number"]) == ("running", 1.0)
    assert (after["process.state"], after["process.number"]) == ("stopped", 0.0)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_loopback_answers_echos(host: str) -> None:
    """By a datagram socket or a raw socket, whichever the kernel allows."""
    seen = see(service("icmp", host, timeout_s=1.0))
    if isinstance(loss := seen["packet.loss"], Missing) and loss.reason is not Reason.TIMEOUT:
        pytest.skip(f"needs echos to {host} allowed: {loss.detail}")
    assert (seen["device.answering"], seen["packet.loss"]) == ("yes", 0.0)
    assert isinstance(seen["response.time"], float)
