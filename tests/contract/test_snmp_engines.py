"""One contract for all SNMP engines, tested against net-snmp's agent in the role of a UPS: every version and security
level gives the same readings, and every mistake its own reason."""

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from watchkeeper.agent.probes.snmp.probe import SnmpProbe
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import SystemClock
from watchkeeper.model.device import Category, Device, Snmp, SnmpAuth, SnmpEngine, SnmpPriv, SnmpVersion
from watchkeeper.model.reading import Missing, Reason, Sweep, Value
from watchkeeper.profiles import load_profiles

SNMPD = shutil.which("snmpd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(SNMPD is None, reason="needs snmpd on PATH or in /usr/sbin")

UPS = ".1.3.6.1.2.1.33.1"
# A UPS of three phases; cells of the second row are missing
OBJECTS = {
    "2.1.0": "integer 2",
    "2.3.0": "integer 20",
    "2.4.0": "integer 97",
    "2.5.0": "integer 548",
    "2.6.0": "integer -12",
    "2.7.0": "integer 25",
    "3.1.0": "counter 4",
    "3.3.1.2.1": "integer 499",
    "3.3.1.2.3": "integer 501",
    "3.3.1.3.1": "integer 231",
    "3.3.1.3.2": "integer 65535",
    "3.3.1.3.3": "integer 229",
    "3.3.1.4.2": "octet_str fault",
    "4.1.0": "integer 5",
    "4.2.0": "integer 500",
    "6.1.0": "uinteger 1",
}
READINGS = {
    ("device.answering", ""): "yes",
    ("battery.state", ""): "ok",
    ("battery.runtime", ""): 1200.0,
    ("battery.charge", ""): 97.0,
    ("battery.voltage", ""): 54.8,
    ("battery.current", ""): -1.2,
    ("battery.temperature", ""): 25.0,
    ("input.lost", ""): 4.0,
    ("input.frequency", "1"): 49.9,
    ("input.frequency", "3"): 50.1,
    ("input.voltage", "1"): 231.0,
    ("input.voltage", "2"): Reason.IMPLAUSIBLE,
    ("input.voltage", "3"): 229.0,
    ("input.current", "2"): Reason.MALFORMED,
    ("output.source", ""): "battery",
    ("output.frequency", ""): 50.0,
    ("alarms.present", ""): 1.0,
}
USERS = """
createUser bare
rouser bare noauth
createUser md5 MD5 authpass12
rouser md5 auth
createUser sha SHA authpass12
rouser sha auth
createUser sha256 SHA-256 authpass12
rouser sha256 auth
createUser sha512 SHA-512 authpass12
rouser sha512 auth
createUser aes SHA-256 authpass12 AES privpass12
rouser aes priv
createUser aes256 SHA-512 authpass12 AES256 privpass12
rouser aes256 priv
createUser aes256sha SHA authpass12 AES256 privpass12
rouser aes256sha priv
createUser sha224 SHA-224 authpass12
rouser sha224 auth
createUser aes192 SHA-384 authpass12 AES192 privpass12
rouser aes192 priv
createUser cisco192 SHA-256 authpass12 AES-192-C privpass12
rouser cisco192 priv
createUser cisco256 SHA authpass12 AES-256-C privpass12
rouser cisco256 priv
createUser des MD5 authpass12 DES privpass12
rouser des priv
"""


def v3(user: str, auth: SnmpAuth | None = None, priv: SnmpPriv | None = None, **secrets: str) -> Snmp:
    return Snmp(
        SnmpVersion.V3,
        user=user,
        auth=auth,
        auth_secret=secrets.get("auth_secret", "auth" if auth else ""),
        priv=priv,
        priv_secret=secrets.get("priv_secret", "priv" if priv else ""),
    )


V1, V2C = Snmp(SnmpVersion.V1, "community"), Snmp(SnmpVersion.V2C, "community")
LOGINS = {
    "v1": V1,
    "v2c": V2C,
    "noAuthNoPriv": v3("bare"),
    "authNoPriv MD5": v3("md5", SnmpAuth.MD5),
    "authNoPriv SHA": v3("sha", SnmpAuth.SHA),
    "authNoPriv SHA-256": v3("sha256", SnmpAuth.SHA256),
    "authNoPriv SHA-512": v3("sha512", SnmpAuth.SHA512),
    "authPriv AES": v3("aes", SnmpAuth.SHA256, SnmpPriv.AES),
    "authNoPriv SHA-224": v3("sha224", SnmpAuth.SHA224),
    "authPriv AES-192": v3("aes192", SnmpAuth.SHA384, SnmpPriv.AES192),
    "authPriv AES-256": v3("aes256", SnmpAuth.SHA512, SnmpPriv.AES256),
    "authPriv AES-256, short key": v3("aes256sha", SnmpAuth.SHA, SnmpPriv.AES256),
    "authPriv DES": v3("des", SnmpAuth.MD5, SnmpPriv.DES),
}
WRONG = {
    "wrong community": (Snmp(community="other"), Reason.TIMEOUT, "community wrong"),
    "unknown user": (v3("nobody", SnmpAuth.SHA256), Reason.REFUSED, "user"),
    "wrong password": (v3("aes", SnmpAuth.SHA256, SnmpPriv.AES, auth_secret="other"), Reason.REFUSED, "password"),
    "wrong protocol": (v3("aes", SnmpAuth.SHA, SnmpPriv.AES), Reason.REFUSED, "protocol"),
    "wrong privacy password": (
        v3("aes", SnmpAuth.SHA256, SnmpPriv.AES, priv_secret="other"),
        Reason.TIMEOUT,
        "privacy",
    ),
    "too low a level": (v3("aes", SnmpAuth.SHA256), Reason.REFUSED, "security level"),
    "a secret that is nowhere": (Snmp(community="nowhere"), Reason.REFUSED, "no secret called `nowhere`"),
}
SECRETS = {"COMMUNITY": "public", "AUTH": "authpass12", "PRIV": "privpass12", "OTHER": "wrongpass12"}
SHORT_S = 0.3
engines = pytest.mark.parametrize("engine", [SnmpEngine.GUFO, SnmpEngine.PYSNMP, SnmpEngine.AUTO])
PAIRS = [(auth, priv) for auth in SnmpAuth for priv in (None, *SnmpPriv)]


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _user(auth: SnmpAuth, priv: SnmpPriv | None) -> str:
    """A user for a pair of protocols, in snmpd's words."""
    privacy = f" {priv.replace('AES-', 'AES') if priv in (SnmpPriv.AES192, SnmpPriv.AES256) else priv} privpass12"
    name = f"{auth}+{priv}"
    return f"createUser {name} {auth} authpass12{privacy if priv else ''}\nrouser {name} {'priv' if priv else 'auth'}"


@contextmanager
def snmpd(folder: Path, port: int, engine_id: str = "0x80001f8801", boots: int = 1) -> Iterator[None]:
    """Run net-snmp's agent on a port of loopback until it answers. It reports one boot more than `boots`."""
    assert SNMPD is not None
    users = "\n".join(_user(auth, priv) for auth, priv in PAIRS)
    overrides = "\n".join(f"override {UPS}.{oid} {value}" for oid, value in OBJECTS.items())
    (folder / "snmpd.conf").write_text(
        f"agentaddress udp:127.0.0.1:{port}\nrocommunity public 127.0.0.1\n"
        f"exactEngineID {engine_id}\noldEngineID {engine_id}\nengineBoots {boots}\n{USERS}\n{users}\n{overrides}\n"
    )
    command = [
        SNMPD,
        "-f",
        "-Lf",
        str(folder / "log"),
        "-C",
        "-c",
        str(folder / "snmpd.conf"),
        "-p",
        str(folder / "pid"),
    ]
    with subprocess.Popen(command, env={**os.environ, "SNMP_PERSISTENT_DIR": str(folder), "MIBS": ""}) as process:
        try:
            deadline = time.monotonic() + 20
            while swept(device(port, V2C, timeout_s=0.2))[0].values[0] == "no":
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, "snmpd does not answer"
            yield
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    number = free_port()
    with snmpd(tmp_path_factory.mktemp("snmpd"), number):
        yield number


def device(port: int, snmp: Snmp, engine: SnmpEngine = SnmpEngine.GUFO, timeout_s: float = 5.0) -> Device:
    """A device to sweep. Give a short timeout only where no answer is expected."""
    return Device(
        "ups-1", "room", Category.UPS, "snmp", f"127.0.0.1:{port}",
        timeout_s=timeout_s, retries=0, snmp=replace(snmp, engine=engine),
    )  # fmt: skip


def swept(*devices: Device) -> list[Sweep]:
    """Sweep one device after another by one probe."""

    async def run() -> list[Sweep]:
        secrets = Secrets(environ={f"WATCHKEEPER_SECRET_{name}": text for name, text in SECRETS.items()})
        probe = SnmpProbe(load_profiles(), secrets, SystemClock())
        try:
            return [await probe.sweep(device) for device in devices]
        finally:
            await probe.close()

    return asyncio.run(run())


def readings_of(sweep: Sweep) -> dict[tuple[str, str], Value | Reason]:
    """Every value except the uptime, which changes. A missing value is given as its reason."""
    return {
        (reading.series.quantity, reading.series.instance): (
            reading.value.reason if isinstance(reading.value, Missing) else reading.value
        )
        for reading in sweep.readings()
        if reading.series.quantity != "uptime"
    }


@pytest.mark.parametrize(
    "snmp",
    [v3("cisco192", SnmpAuth.SHA256, SnmpPriv.AES192C), v3("cisco256", SnmpAuth.SHA, SnmpPriv.AES256C)],
    ids=["AES-192-C", "AES-256-C"],
)
def test_keys_extended_by_reeders_draft_are_read_by_pysnmp_too(port: int, snmp: Snmp) -> None:
    (sweep,) = swept(device(port, snmp, SnmpEngine.PYSNMP))
    assert readings_of(sweep) == READINGS
    assert list(replace(snmp, engine=SnmpEngine.GUFO).check())


def test_every_pair_of_protocols_is_read_by_our_own_engine(port: int) -> None:
    sweeps = swept(*(device(port, v3(f"{auth}+{priv}", auth, priv), SnmpEngine.AUTO) for auth, priv in PAIRS))
    wrong = {
        pair: sweep.values[:2] for pair, sweep in zip(PAIRS, sweeps, strict=True) if readings_of(sweep) != READINGS
    }
    assert len(PAIRS) == 42
    assert not wrong


@engines
@pytest.mark.parametrize("login", LOGINS)
def test_every_version_and_security_level_gives_the_same_readings(port: int, engine: SnmpEngine, login: str) -> None:
    ups = device(port, LOGINS[login], engine)
    first, second = swept(ups, ups)
    assert readings_of(first) == READINGS
    assert readings_of(second) == READINGS
    assert second.series is first.series


@pytest.mark.parametrize("login", ["v1", "v2c", "authPriv AES"])
def test_all_engines_give_the_same_series_and_values(port: int, login: str) -> None:
    gufo, *others = (swept(device(port, LOGINS[login], engine))[0] for engine in SnmpEngine)
    for other in others:
        assert gufo.series == other.series
        assert gufo.values[2:] == other.values[2:]  # after answering and uptime


@engines
@pytest.mark.parametrize("mistake", WRONG)
def test_every_mistake_has_its_reason(port: int, engine: SnmpEngine, mistake: str) -> None:
    snmp, reason, detail = WRONG[mistake]
    (sweep,) = swept(device(port, snmp, engine, SHORT_S if reason is Reason.TIMEOUT else 5.0))
    answering, missing = sweep.values
    assert answering == "no"
    assert isinstance(missing, Missing)
    assert (missing.reason, detail in missing.detail) == (reason, True), missing
    assert not any(secret in missing.detail for secret in SECRETS.values())


@engines
@pytest.mark.parametrize("snmp", [V1, V2C, v3("aes", SnmpAuth.SHA256, SnmpPriv.AES)], ids=["v1", "v2c", "v3"])
def test_a_port_where_nothing_listens_is_unreachable(engine: SnmpEngine, snmp: Snmp) -> None:
    (sweep,) = swept(device(free_port(), snmp, engine, SHORT_S))
    assert readings_of(sweep) == {("device.answering", ""): "no"}
    missing = sweep.values[1]
    assert isinstance(missing, Missing)
    assert missing.reason is Reason.UNREACHABLE


@engines
def test_the_same_user_may_have_another_password_on_another_device(port: int, engine: SnmpEngine) -> None:
    right = device(port, v3("sha", SnmpAuth.SHA), engine)
    wrong = replace(right, device="ups-2", snmp=replace(v3("sha", SnmpAuth.SHA, auth_secret="other"), engine=engine))
    sweeps = swept(right, wrong, right)
    assert [sweep.values[0] for sweep in sweeps] == ["yes", "no", "yes"]


@engines
@pytest.mark.parametrize("login", ["v2c", "authPriv AES"])
@pytest.mark.parametrize("engine_id", ["0x80001f8801", "0x80001f8802"], ids=["the same engine id", "another engine id"])
def test_a_device_that_restarts_is_read_again_without_help(
    tmp_path: Path, engine: SnmpEngine, login: str, engine_id: str
) -> None:
    """A restarted SNMPv3 engine has another boot count and time (RFC 3414, 2.2), or even another engine id."""
    number = free_port()
    ups = device(number, LOGINS[login], engine, timeout_s=1.0)
    secrets = Secrets(environ={f"WATCHKEEPER_SECRET_{name}": text for name, text in SECRETS.items()})
    probe = SnmpProbe(load_profiles(), secrets, SystemClock())
    sweeps: list[Sweep] = []
    with asyncio.Runner() as runner:
        for identity, boots in (("0x80001f8801", 1), (engine_id, 7)):
            with snmpd(tmp_path, number, identity, boots):
                sweeps += [runner.run(probe.sweep(ups)) for _ in range(2)]
        runner.run(probe.close())
    before, _, after, last = (sweep.values[0] for sweep in sweeps)
    assert (before, last) == ("yes", "yes")
    if engine_id == "0x80001f8801":  # the device reports its new time itself, so no sweep is lost
        assert after == "yes", sweeps[2]
