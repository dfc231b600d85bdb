"""net-snmp's snmptrap and snmpinform against the listener: every version and security level, correct and wrong logins."""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests import traps_room
from tests.traps_room import COLD_START, LINK_DOWN, V1, V2C, Room, free_port, ups
from watchkeeper.model.clock import SystemClock
from watchkeeper.model.device import Device, Snmp, SnmpAuth, SnmpPriv, SnmpVersion

SNMPD = shutil.which("snmpd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
pytestmark = [
    pytest.mark.skipif(shutil.which("snmptrap") is None, reason="needs snmptrap on PATH (Debian: snmp)"),
    pytest.mark.skipif(shutil.which("snmpinform") is None, reason="needs snmpinform on PATH (Debian: snmp)"),
]
ENGINE = "80001f88015eed"
LOGINS = {
    "noAuthNoPriv": (None, None),
    "MD5": (SnmpAuth.MD5, None),
    "SHA DES": (SnmpAuth.SHA, SnmpPriv.DES),
    "SHA-224": (SnmpAuth.SHA224, None),
    "SHA-256 AES": (SnmpAuth.SHA256, SnmpPriv.AES),
    "SHA-384 AES-192": (SnmpAuth.SHA384, SnmpPriv.AES192),
    "SHA-512 AES-256": (SnmpAuth.SHA512, SnmpPriv.AES256),
    "SHA AES-256, key made longer": (SnmpAuth.SHA, SnmpPriv.AES256),
}


def v3(auth: SnmpAuth | None = SnmpAuth.SHA256, priv: SnmpPriv | None = SnmpPriv.AES) -> Snmp:
    return Snmp(SnmpVersion.V3, "", "ops", auth, "auth" if auth else "", priv, "priv" if priv else "")


def login(snmp: Snmp, **wrong: str) -> list[str]:
    """The options of net-snmp's command line for this login."""
    if snmp.version is not SnmpVersion.V3:
        return ["-v", snmp.version.value, "-c", "ours"]
    level = "authPriv" if snmp.priv else "authNoPriv" if snmp.auth else "noAuthNoPriv"
    words = ["-v", "3", "-u", "ops", "-l", level]
    words += ["-a", snmp.auth.value, "-A", wrong.get("auth", "authpass12")] if snmp.auth else []
    return [*words, "-x", snmp.priv.value, "-X", wrong.get("priv", "privpass12")] if snmp.priv else words


class Sender:
    """Runs net-snmp's programs, with their files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.environ = {**os.environ, "SNMP_PERSISTENT_DIR": str(folder), "SNMPCONFPATH": str(folder), "MIBS": ""}

    async def __call__(self, program: str, *words: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            program, *words, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    async def trap(self, room: Room, words: list[str], *variables: str, engine: str = ENGINE) -> None:
        v3 = ["-e", f"0x{engine}"] if "3" in words[:2] else []
        code, output = await self("snmptrap", *words, *v3, f"127.0.0.1:{room.port}", *variables)
        assert code == 0, output

    async def inform(self, room: Room, words: list[str], trap: str, tries: int = 3) -> int:
        code, _ = await self(
            "snmpinform",
            *words,
            "-t",
            "1" if tries > 1 else "0.3",
            "-r",
            str(tries - 1),
            f"127.0.0.1:{room.port}",
            "",
            trap,
        )
        return code


@pytest.fixture
def send(tmp_path: Path) -> Sender:
    return Sender(tmp_path)


def run(scenario: Callable[[Room], Awaitable[None]], *devices: Device) -> Room:
    async def listening(room: Room) -> None:
        room.listen()
        await scenario(room)

    return traps_room.run(listening, *devices, clock=SystemClock())


@pytest.fixture(scope="module")
def device_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A device for engine discovery: net-snmp's agent, with the engine id that snmptrap uses."""
    if SNMPD is None:
        pytest.skip("needs snmpd on PATH or in /usr/sbin")
    folder, port = tmp_path_factory.mktemp("snmpd"), free_port()
    (folder / "snmpd.conf").write_text(
        f"agentaddress udp:127.0.0.1:{port}\nrocommunity public\nexactEngineID 0x{ENGINE}\noldEngineID 0x{ENGINE}\n"
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
    environ = {**os.environ, "SNMP_PERSISTENT_DIR": str(folder), "MIBS": ""}
    asked = ["snmpget", "-v2c", "-cpublic", "-t1", "-r0", f"127.0.0.1:{port}", "1.3.6.1.2.1.1.3.0"]
    with subprocess.Popen(command, env=environ) as process:
        try:
            deadline = time.monotonic() + 20
            while subprocess.run(asked, env=environ, capture_output=True).returncode:  # noqa: PLW1510 -- until it answers
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, "snmpd does not answer"
            yield port
        finally:
            process.terminate()


def shown(room: Room) -> dict[str, str]:
    """The labels of ups-1's events, by trap."""
    events = room.events._of.get("ups-1")
    return {f"{name}": events.labels[name] for name in events.held} if events else {}


# ---- v1 and v2c ----


def test_a_v1_trap_wakes_its_device_and_gets_the_name_of_v2(send: Sender) -> None:
    async def scenario(room: Room) -> None:
        await send.trap(room, login(V1), "1.3.6.1.4.1.99999", "10.9.9.9", "6", "17", "")
        await room.until_woken()
        await send.trap(room, login(V1), "1.3.6.1.4.1.99999", "10.9.9.9", "0", "0", "")
        await room.until_woken(2)

    room = run(scenario, ups(address="127.0.0.1", snmp=V1))
    assert room.woken == ["ups-1", "ups-1"]
    assert shown(room) == {"1.3.6.1.4.1.99999.0.17": "1.3.6.1.4.1.99999.0.17", COLD_START: "Device started"}


def test_a_v2c_trap_that_a_poll_shows_only_wakes_its_device(send: Sender) -> None:
    async def scenario(room: Room) -> None:
        await send.trap(room, login(V2C), "", LINK_DOWN, "1.3.6.1.2.1.2.2.1.1.3", "i", "3")
        await room.until_woken()

    room = run(scenario, ups(address="127.0.0.1"))
    assert shown(room) == {}


def test_a_wrong_community_is_refused_and_an_inform_with_it_is_not_acknowledged(send: Sender) -> None:
    async def scenario(room: Room) -> None:
        await send.trap(room, ["-v", "2c", "-c", "wrong"], "", LINK_DOWN)
        assert await send.inform(room, ["-v", "2c", "-c", "wrong"], LINK_DOWN, tries=1) != 0
        assert await send.inform(room, login(V2C), LINK_DOWN) == 0  # the last one sent

    room = run(scenario, ups(address="127.0.0.1"))
    assert room.woken == ["ups-1"]
    assert room.listener.counts == {"accepted": 1, "dropped (refused)": 2}


# ---- v3 ----


@pytest.mark.parametrize("level", LOGINS)
def test_a_v3_trap_is_accepted_after_engine_discovery(level: str, send: Sender, device_port: int) -> None:
    snmp = v3(*LOGINS[level])

    async def scenario(room: Room) -> None:
        await send.trap(room, login(snmp), "", COLD_START)
        await room.until_woken()

    room = run(scenario, ups(address=f"127.0.0.1:{device_port}", snmp=snmp))
    assert shown(room) == {COLD_START: "Device started"}


@pytest.mark.parametrize("level", LOGINS)
def test_a_v3_inform_is_acknowledged(level: str, send: Sender) -> None:
    snmp = v3(*LOGINS[level])

    async def scenario(room: Room) -> None:
        assert await send.inform(room, login(snmp), COLD_START) == 0

    room = run(scenario, ups(address="127.0.0.1", snmp=snmp))
    assert room.woken == ["ups-1"]
    assert shown(room) == {COLD_START: "Device started"}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (login(v3(), auth="wrongpass12"), "authentication password"),
        (login(v3(), priv="wrongpass12"), "privacy password"),
        (login(v3(SnmpAuth.SHA512)), "authentication password or protocol"),
        (login(v3(priv=None)), "security level"),
        ([word if word != "ops" else "nobody" for word in login(v3())], "user unknown"),
        (login(V2C), "version 3"),
    ],
)
def test_a_sender_that_is_not_authenticated_is_refused(
    words: list[str], why: str, send: Sender, device_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(room: Room) -> None:
        await send.trap(room, words, "", LINK_DOWN)
        assert await send.inform(room, words, LINK_DOWN, tries=1) != 0
        await send.trap(room, login(v3()), "", LINK_DOWN)
        await room.until_woken()

    room = run(scenario, ups(address=f"127.0.0.1:{device_port}", snmp=v3()))
    assert room.woken == ["ups-1"], "only for the last trap"
    assert why in caplog.text
    assert "wrongpass12" not in caplog.text


def test_another_engine_than_the_devices_is_refused(
    send: Sender, device_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(room: Room) -> None:
        await send.trap(room, login(v3()), "", COLD_START, engine="80001f8899999999")
        await send.trap(room, login(v3()), "", LINK_DOWN)
        await room.until_woken()

    room = run(scenario, ups(address=f"127.0.0.1:{device_port}", snmp=v3()))
    assert room.woken == ["ups-1"]
    assert shown(room) == {}
    assert "engine is not the one" in caplog.text


def test_traps_from_another_address_are_dropped(send: Sender) -> None:
    async def scenario(room: Room) -> None:
        await send.trap(room, login(V2C), "", LINK_DOWN)
        assert await send.inform(room, login(V2C), LINK_DOWN, tries=1) != 0

    room = run(scenario, ups(address="127.0.0.2"))
    assert room.woken == []
    assert room.listener.counts == {"dropped (unknown source)": 2}
