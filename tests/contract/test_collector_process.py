"""The collector as a process, as an operator runs it: TLS, PostgreSQL, signals, systemd, command line."""

import datetime
import ipaddress
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.chaos.kills import free_port
from tests.story.world import CONTACTS, INVENTORY, LADDERS

ROOT = Path(__file__).resolve().parents[2]
WITHIN_S = 30.0


@dataclass
class Room:
    """A folder with a configuration, and the collector that uses it."""

    folder: Path
    url: str
    verify: str | bool = True

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.folder / f"{name}.yml").write_text(text, encoding="utf-8")

    def cli(self, *words: str, ok: bool = True, room: str = "collector") -> str:
        done = subprocess.run(
            [sys.executable, "-m", "watchkeeper", room, *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) is ok, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    @contextmanager
    def running(self, **environ: str) -> Iterator["subprocess.Popen[str]"]:
        command = [
            sys.executable,
            "-m",
            "watchkeeper",
            "collector",
            "run",
            "--config",
            str(self.folder / "collector.yml"),
        ]
        log = (self.folder / "log").open("a+", encoding="utf-8")
        with (
            log,
            subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, text=True, env={**os.environ, **environ}
            ) as process,
        ):
            try:
                until(lambda: self.get("/healthz").ok, process)
                yield process
            finally:
                process.terminate()
                process.wait(15)

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(self.url + path, timeout=5, verify=self.verify, **options)

    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8")


def until(there: Callable[[], bool], process: "subprocess.Popen[str] | None" = None) -> None:
    """Wait until a condition is true. Fails if the process ends."""
    end = time.monotonic() + WITHIN_S
    while time.monotonic() < end:
        assert process is None or process.poll() is None, "the process ended"
        try:
            if there():
                return
        except requests.RequestException:
            pass
        time.sleep(0.05)
    raise AssertionError("it did not come")


@pytest.fixture
def room(tmp_path: Path) -> Room:
    port = free_port()
    made = Room(tmp_path, f"http://127.0.0.1:{port}")
    made.write(
        collector=f"port: {port}\n",
        inventory=INVENTORY,
        contacts=CONTACTS.replace('webhook, url: "http://127.0.0.1:1/owner", secret: s', "console"),
        ladders=LADDERS,
    )
    return made


def config(room: Room) -> tuple[str, str]:
    return ("--config", str(room.folder / "collector.yml"))


def push(room: Room, token: str, level: str = "critical", seq: int = 1) -> requests.Response:
    item = {"seq": seq, "kind": "verdict", "id": f"v{seq}", "device": "sensor-1", "rule": "environment.temperature",
            "instance": "", "level": level, "age_s": 0.1, "evidence": {"quantity": "temperature.ambient", "value": 30.0}}  # fmt: skip
    body = {"protocol": 1, "agent": "room-1", "epoch": "e", "lane": "events", "sent_at": time.time(), "items": [item]}
    return requests.post(
        f"{room.url}/v1/push", json=body, headers={"Authorization": f"Bearer {token}"}, timeout=5, verify=room.verify
    )


def push_gone(room: Room, token: str) -> requests.Response:
    """Push a frame of a sensor that is gone for a minute."""
    series = [["device.answering", "", "", ""], ["sensor.absent", "temperature 7", "Rack 7 (temperature)", ""]]
    block = {"block": 1, "device": "sensor-1", "probe": "snmp", "every_s": 30.0, "series": series}
    item = {"seq": 1, "age_s": 0.1, "block": 1, "values": ["yes", 60.0]}
    body = {"protocol": 1, "agent": "room-1", "epoch": "e", "lane": "readings", "sent_at": time.time(), "blocks": [block],
            "items": [item]}  # fmt: skip
    return requests.post(
        f"{room.url}/v1/push", json=body, headers={"Authorization": f"Bearer {token}"}, timeout=5, verify=room.verify
    )


def test_the_timeline_names_the_engineer_who_acts_from_the_command_line(room: Room) -> None:
    token = room.cli("token", "agent", "room-1", *config(room)).strip()
    own = room.folder / "own"
    room.cli("token", "person", "olga", "--file", str(own), *config(room))
    assert own.stat().st_mode & 0o777 == 0o600
    at = ("--url", room.url, "--token-file", str(own))
    with room.running():
        assert push(room, token).status_code == 200
        until(lambda: len(room.get("/api/v1/incidents").json()["incidents"]) == 1)
        assert "sensor-1" in room.cli("troubles", "--url", room.url)
        assert "acknowledge" in room.cli("acknowledge", "1", "--note", "on my way", *at)
        assert "still critical" in room.cli("resolve", "1", *at, ok=False)
        room.cli("escalate", "1", *at)
        timeline = room.get("/api/v1/troubles/1").text
        assert timeline.count("person:olga") >= 2
        assert "on my way" in timeline

        answer = push_gone(room, token)
        assert answer.status_code == 200, answer.text
        until(lambda: "temperature 7" in room.cli("removed", "sensor-1", "--url", room.url))
        assert "Rack 7 (temperature)" in room.cli("removed", "sensor-1", "--url", room.url)
        assert "is not gone" in room.cli("removed", "sensor-1", "temperature 6", *at, ok=False)
        assert "was removed" in room.cli("removed", "sensor-1", "temperature 7", "--note", "sold", *at)
        assert "confirmed by olga" in room.cli("removed", "sensor-1", "--url", room.url)

        own.chmod(0o644)
        assert "chmod 600" in room.cli("acknowledge", "1", *at, ok=False)
        own.chmod(0o600)
        own.write_text("nonsense")
        assert "401" in room.cli("acknowledge", "1", *at, ok=False)
    until(lambda: "[critical] Row A · sensor-1" in room.log())  # printed by the console channel
    assert token not in room.log()


def test_a_one_time_link_opens_a_session_once(room: Room) -> None:
    link = room.cli("link", "olga", *config(room)).strip()
    assert re.fullmatch(rf"{room.url}/enter\?ticket=\S+", link)
    with room.running():
        session = requests.Session()
        first = session.get(link, timeout=5)
        assert first.ok
        assert "ticket" not in first.url
        assert "SameSite=strict" in first.history[0].headers["set-cookie"].replace("Strict", "strict")
        assert requests.get(link, timeout=5).status_code >= 400
    assert link.partition("=")[2] not in room.log()
    assert "there is no person `nobody`" in room.cli("link", "nobody", *config(room), ok=False)


def test_a_test_page_goes_by_the_real_channel_and_its_result_is_shown(room: Room) -> None:
    said = room.cli("test-page", "olga", "--all-channels", *config(room))
    assert "console: handed-over after 0." in said
    assert "[test]" in said
    assert "there is no person `nobody`" in room.cli("test-page", "nobody", *config(room), ok=False)
    with room.running():
        channel, *_ = [one for one in room.get("/api/v1/channels").json() if one["person"] == "olga"]
    assert (channel["test"], channel["proof"]) == ("delivered", "handed-over")


def test_a_configuration_with_mistakes_is_refused_at_start_and_later_leaves_the_previous_one_active(room: Room) -> None:
    good = INVENTORY
    room.write(inventory=good.replace("interval: 15 s", "interval: 15").replace("category: env", "category: enf"))
    said = room.cli("run", *config(room), ok=False)
    assert said.count("inventory.yml:") >= 2
    assert "did you mean `env`?" in said
    assert "inventory.yml:" in room.cli("check", *config(room), ok=False)

    room.write(inventory=good)
    with room.running() as process:
        room.write(inventory=good.replace("category: env", "category: enf"))
        process.send_signal(signal.SIGHUP)
        until(lambda: "did you mean `env`?" in room.log(), process)
        assert len(room.get("/api/v1/devices").json()) == 2
        assert "enf" in room.get("/").text  # the page shows it too
        room.write(inventory=good.replace("  - {device: web-1", "  - {device: web-2"))
        until(lambda: any(one["device"] == "web-2" for one in room.get("/api/v1/devices").json()), process)


def test_with_too_little_disk_space_pushes_are_refused_and_an_incident_opens(room: Room) -> None:
    token = room.cli("token", "agent", "room-1", *config(room)).strip()
    with (room.folder / "collector.yml").open("a") as file:
        file.write("reserve: 900000 GB\n")
    with room.running():
        until(lambda: room.get("/api/v1/incidents").json()["incidents"] != [])
        (incident,) = room.get("/api/v1/incidents").json()["incidents"]
        assert incident["rule"] == "watchkeeper.disk-full"
        answer = push(room, token)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        until(lambda: "Collector disk is full" in room.log() or "磁盘" in room.log())


def test_sigterm_ends_it_cleanly_and_a_restart_continues(room: Room) -> None:
    token = room.cli("token", "agent", "room-1", *config(room)).strip()
    with room.running() as process:
        assert push(room, token).status_code == 200
        process.terminate()
        assert process.wait(15) == 0
    with room.running():
        assert [one["device"] for one in room.get("/api/v1/incidents").json()["incidents"]] == ["sensor-1"]
        assert push(room, token).json()["through"] == 1  # a replay
    assert "Traceback" not in room.log()


def test_systemd_is_notified_of_readiness_watchdog_and_stopping(room: Room) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(room.folder / "n"))
        listener.settimeout(WITHIN_S)
        with room.running(NOTIFY_SOCKET=str(room.folder / "n"), WATCHDOG_USEC="400000"):
            assert listener.recv(64) == b"READY=1"
            assert listener.recv(64) == b"WATCHDOG=1"
        heard = [listener.recv(64) for _ in iter(lambda: _peek(listener), b"STOPPING=1")]
        assert listener.recv(64) == b"STOPPING=1"
        assert set(heard) <= {b"WATCHDOG=1"}


def _peek(listener: socket.socket) -> bytes:
    return listener.recv(64, socket.MSG_PEEK)


def test_several_collectors_share_a_postgresql_store_named_by_a_secret(room: Room, postgres_url: str) -> None:
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS collector")
        admin.execute("CREATE DATABASE collector")
    secrets = room.folder / "secrets.yml"
    secrets.touch(0o600)
    secrets.write_text(f"db: {postgres_url.replace('/postgres?', '/collector?')}\n")
    other = Room(room.folder / "other", f"http://127.0.0.1:{free_port()}")
    other.folder.mkdir()
    for one in (room, other):
        one.write(collector=f"port: {one.url.rpartition(':')[2]}\nstore: secret:db\nsecrets: {secrets}\n",
                  inventory=INVENTORY, contacts=CONTACTS.replace('webhook, url: "http://127.0.0.1:1/owner", secret: s', "console"), ladders=LADDERS)  # fmt: skip
    token = room.cli("token", "agent", "room-1", *config(room)).strip()
    with room.running(), other.running():
        assert push(room, token).status_code == 200
        assert push(other, token).json()["through"] == 1  # the other collector knows that this is a replay
        until(lambda: len(other.get("/api/v1/incidents").json()["incidents"]) == 1)
        assert push(other, token, "ok", 2).status_code == 200
        until(lambda: room.get("/api/v1/incidents").json()["incidents"] == [])


def test_a_secrets_file_others_can_read_is_refused(room: Room) -> None:
    (room.folder / "secrets.yml").write_text("db: x\n")
    (room.folder / "secrets.yml").chmod(0o644)
    with (room.folder / "collector.yml").open("a") as file:
        file.write("secrets: secrets.yml\nstore: secret:db\n")
    assert "chmod 600" in room.cli("run", *config(room), ok=False)


def test_a_backup_made_while_it_runs_can_be_restored_elsewhere(room: Room) -> None:
    token = room.cli("token", "agent", "room-1", *config(room)).strip()
    file = room.folder / "kept.zip"
    with room.running():
        push(room, token)
        until(lambda: room.get("/api/v1/incidents").json()["incidents"] != [])
        assert "rows" in room.cli("backup", str(file), *config(room))
    for name in ("collector.db", "collector.db-wal", "collector.db-shm"):
        (room.folder / name).unlink(missing_ok=True)
    room.cli("restore", str(file), *config(room))
    with room.running():
        assert push(room, token).json()["through"] == 1
        assert len(room.get("/api/v1/incidents").json()["incidents"]) == 1


def test_a_store_that_is_removed_or_replaced_under_the_collector_is_refused(room: Room) -> None:
    token = room.cli("token", "agent", "room-1", *config(room)).strip()
    file = room.folder / "collector.db"
    with room.running():
        assert push(room, token).status_code == 200
        file.rename(room.folder / "aside.db")
        assert push(room, token, "ok", 2).status_code == 503
        file.write_bytes((room.folder / "aside.db").read_bytes())
        assert push(room, token, "ok", 2).status_code == 503
        (room.folder / "aside.db").replace(file)
        answer = push(room, token, "ok", 2)
        assert answer.status_code == 200, "the file is back"
        assert len(answer.json()["store"]) == 32
        assert answer.json()["generation"] == 1


def test_agent_and_collector_use_tls(room: Room) -> None:
    _certificate(room.folder)
    port = room.url.rpartition(":")[2]
    room.url, room.verify = f"https://127.0.0.1:{port}", str(room.folder / "cert.pem")
    room.write(
        collector=f"port: {port}\ntls: {{certificate: cert.pem, key: key.pem}}\n",
        inventory="\n".join(line for line in INVENTORY.splitlines() if "sensor-1" not in line and "Row A" not in line),
    )
    token = room.cli("token", "agent", "room-1", *config(room)).strip()
    secrets = room.folder / "agent-secrets.yml"
    secrets.touch(0o600)
    secrets.write_text(f"agent-token: {token}\n")
    room.write(agent=f"agent: room-1\ncollector: {room.url}\nsecrets: agent-secrets.yml\nca: cert.pem\n")
    command = [sys.executable, "-m", "watchkeeper", "agent", "run", "--config", str(room.folder / "agent.yml")]
    with room.running(), subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as agent:
        until(lambda: room.get("/api/v1/devices/web-1").json().get("readings") != [], None)
        agent.terminate()
        _, said = agent.communicate(timeout=15)
    assert agent.returncode == 0, said
    assert token not in said
    assert json.loads(room.folder.joinpath("agent", "spool.db.bundle.json").read_text())["agent"] == "room-1"


def _certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "watchkeeper test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(pem)
