"""The NUT probe against a real upsd with its dummy-ups driver, and against servers that misbehave."""

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from watchkeeper.agent.probes.nut import NutProbe
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device, Nut
from watchkeeper.model.reading import Missing, Reason, Sweep, Value
from watchkeeper.profiles import load_profiles

UPSD, DRIVER = Path("/lib/nut/upsd"), Path("/lib/nut/dummy-ups")  # Debian's /sbin/upsd runs only if /etc/nut enables it
real = pytest.mark.skipif(
    not (UPSD.exists() and DRIVER.exists()), reason="needs upsd and dummy-ups (Debian: nut-server)"
)

STATE = """ups.status: OL CHRG
ups.load: 23
battery.charge: 87
battery.runtime: 1800
battery.voltage: 54.2
input.voltage: 231.4
input.frequency: 49.9
output.voltage: 230.1
device.model: "Dummy" UPS
"""


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


class UpsdServer:
    """upsd and its driver, with all their files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.state = folder / "room.dev"
        self.state.write_text(STATE, encoding="utf-8")
        (folder / "ups.conf").write_text(
            f"[room]\n  driver = dummy-ups\n  port = {self.state}\n  mode = dummy-loop\n", encoding="utf-8"
        )
        (folder / "upsd.conf").write_text(f"LISTEN 127.0.0.1 {self.port}\nMAXAGE 3\n", encoding="utf-8")
        (folder / "upsd.users").write_text("[watch]\n  password = hunter2\n", encoding="utf-8")
        (folder / "nut.conf").write_text("MODE=standalone\n", encoding="utf-8")
        for file in folder.iterdir():
            file.chmod(0o640)
        who = "root" if os.geteuid() == 0 else str(os.environ.get("USER", "nobody"))
        environ = {
            **os.environ,
            "NUT_CONFPATH": str(folder),
            "NUT_STATEPATH": str(folder),
            "NUT_ALTPIDPATH": str(folder),
        }
        self.programs = [
            subprocess.Popen(
                [DRIVER, "-a", "room", "-u", who, "-F"],
                env=environ,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ),
            subprocess.Popen(
                [UPSD, "-u", who, "-F"], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ),
        ]

    def stop(self) -> None:
        for program in self.programs:
            program.send_signal(signal.SIGCONT)
            program.terminate()
        for program in self.programs:
            program.wait(10)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpsdServer]:
    running = UpsdServer(tmp_path_factory.mktemp("nut"))
    try:
        until(lambda: values(sweep(running.port)).get("output.source") == "mains")  # it says WAIT at first
        yield running
    finally:
        running.stop()


def until(true: Callable[[], bool]) -> None:
    """Wait for another program, at most 30 s."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def sweep(port: int, nut: Nut = Nut("room"), probe: NutProbe | None = None) -> Sweep:  # noqa: B008 -- frozen
    device = Device("ups", "room", Category.UPS, "nut", f"127.0.0.1:{port}", nut=nut, timeout_s=2.0)
    reader = probe or NutProbe(load_profiles(), Secrets(None, {"WATCHKEEPER_SECRET_NUT": "hunter2"}), FakeClock())
    return asyncio.run(reader.sweep(device))


def values(found: Sweep) -> dict[str, Value]:
    return {reading.series.quantity: reading.value for reading in found.readings()}


@real
def test_a_real_upsd_is_read(server: UpsdServer) -> None:
    assert values(sweep(server.port)) == {
        "device.answering": "yes", "output.source": "mains", "battery.state": "charging", "load.health": "ok",
        "device.alarm": "ok", "output.load": 23.0, "battery.charge": 87.0, "battery.runtime": 1800.0,
        "battery.voltage": 54.2, "input.voltage": 231.4, "input.frequency": 49.9, "output.voltage": 230.1,
    }  # fmt: skip


@real
def test_a_login_is_accepted_and_an_unknown_ups_refused(server: UpsdServer) -> None:
    assert sweep(server.port, Nut("room", "watch", "nut")).values[0] == "yes"
    unknown = sweep(server.port, Nut("elsewhere"))
    assert unknown.values[0] == "no"
    assert "`upsc -l` lists them" in reason(unknown)


@real
def test_the_series_stay_the_same_and_are_missing_while_the_driver_hangs(server: UpsdServer) -> None:
    probe = NutProbe(load_profiles(), Secrets(None, {}), FakeClock())
    first = sweep(server.port, probe=probe)
    assert sweep(server.port, probe=probe).series is first.series
    server.programs[0].send_signal(signal.SIGSTOP)
    try:
        until(lambda: sweep(server.port, probe=probe).values[0] == "no")  # upsd calls it stale after MAXAGE
        stale = sweep(server.port, probe=probe)
        assert stale.series is first.series
        (missing,) = set(stale.values[1:])
        assert isinstance(missing, Missing)
        assert "stale" in missing.detail
    finally:
        server.programs[0].send_signal(signal.SIGCONT)


def reason(sweep: Sweep) -> str:
    (missing,) = {value.detail for value in sweep.values if isinstance(value, Missing)}
    return missing


# ---- a fake upsd, for what the real one does not do ----


def fake_sweep(*lines: str, status: str = "") -> Sweep:
    """One sweep of a server that answers every command with these lines, or with one UPS of that status."""

    async def run() -> Sweep:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            one = ["BEGIN LIST VAR room", f'VAR room ups.status "{status}"', "END LIST VAR room"]
            writer.write("".join(line + "\n" for line in (one if status else lines)).encode())
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            probe = NutProbe(load_profiles(), Secrets(None, {}), FakeClock())
            port = server.sockets[0].getsockname()[1]
            device = Device("ups", "room", Category.UPS, "nut", f"127.0.0.1:{port}", nut=Nut("room"), timeout_s=2.0)
            return await probe.sweep(device)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("status", "source", "battery", "load", "alarm"),
    [
        ("OL", "mains", "ok", "ok", "ok"),
        ("OB DISCHRG", "battery", "discharging", "ok", "ok"),
        ("OL DISCHRG OB LB", "battery", "low", "ok", "ok"),
        ("ALARM OL RB CHRG", "mains", "replace", "ok", "warning"),
        ("OL BYPASS OVER", "bypass", "ok", "critical", "ok"),
        ("BOOST OL", "booster", "ok", "ok", "ok"),
        ("OFF", "none", "ok", "ok", "ok"),
    ],
)
def test_several_status_flags_at_once(status: str, source: str, battery: str, load: str, alarm: str) -> None:
    assert values(fake_sweep(status=status)) == {
        "device.answering": "yes", "output.source": source, "battery.state": battery, "load.health": load, "device.alarm": alarm,
    }  # fmt: skip


@pytest.mark.parametrize(
    "lines",
    [["ERR DRIVER-NOT-CONNECTED"], ["ERR SOMETHING-NEW"], [], ["BEGIN LIST VAR room"], ["x" * 100_000], ["BEGIN LIST VAR room", *['VAR room a.b "c"'] * 3000]],
)  # fmt: skip
def test_a_server_that_breaks_the_protocol_is_not_answering(lines: list[str]) -> None:
    silent = fake_sweep(*lines)
    assert silent.values[0] == "no"
    assert "upsd" in reason(silent)


def test_a_variable_that_upsd_no_longer_lists_is_missing_and_a_new_one_gets_a_series() -> None:
    listed = [{"battery.charge": "87", "ups.load": "23"}, {"ups.load": "24", "battery.runtime": "600"}, {"battery.charge": "86", "ups.load": "25"}]  # fmt: skip

    async def run() -> list[Sweep]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            variables = [f'VAR room {name} "{value}"' for name, value in listed.pop(0).items()]
            lines = ("BEGIN LIST VAR room", *variables, "END LIST VAR room")
            writer.write("".join(line + "\n" for line in lines).encode())
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            probe = NutProbe(load_profiles(), Secrets(None, {}), FakeClock())
            where = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            device = Device("ups", "room", Category.UPS, "nut", where, nut=Nut("room"), timeout_s=2.0)
            return [await probe.sweep(device) for _ in range(3)]

    first, second, third = asyncio.run(run())
    assert values(first)["battery.charge"] == 87.0
    gone = values(second)["battery.charge"]
    assert isinstance(gone, Missing)
    assert gone.reason is Reason.ABSENT
    assert values(second)["battery.runtime"] == 600.0
    assert third.series is second.series
    assert values(third)["battery.charge"] == 86.0


def test_a_ups_that_was_never_read_has_the_same_series_each_time_and_one_of_them_says_why() -> None:
    probe = NutProbe(load_profiles(), Secrets(None, {}), FakeClock())
    port = free_port()
    first, second = sweep(port, probe=probe), sweep(port, probe=probe)
    assert first.series is second.series
    assert "no connection to upsd" in reason(second)
