"""The IPMI probe against OpenIPMI's ipmi_sim: sensors, event log, users, restarts and failures of a BMC."""

import asyncio
import contextlib
import logging
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.ipmi_room import run_and_close, temperature, values
from watchkeeper.agent.probes.ipmi.probe import IpmiProbe
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device, Ipmi
from watchkeeper.model.event import EVENT_OVER, EVENT_SHOWN_S
from watchkeeper.model.reading import Missing, Reason, Sweep, Value

pytestmark = pytest.mark.skipif(shutil.which("ipmi_sim") is None, reason="needs ipmi_sim on PATH (Debian: openipmi)")

PASSWORD = "hunter2-hunter2"
LAN = """name "bmc"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  user 1 true "" "" user 10 none md2 md5 straight
  user 2 true "ops" "{password}" user 10 none md2 md5 straight
"""
SECRETS = {
    "WATCHKEEPER_SECRET_GOOD": PASSWORD,
    "WATCHKEEPER_SECRET_BAD": "swordfish",
    "WATCHKEEPER_SECRET_LONG": "correct horse battery staple",
}
ALL = "111111111111111 " * 4


def power_supply(number: int, name: str) -> bytes:
    """A compact record (IPMI 2.0, table 43-2) of a power supply's own states."""
    body = [0x20, 0, number, 0x0A, 1, 0x67, 0x40, 8, 0x6F, 0, 0, 0, 0, 0x0F, 0, 0xC0, 0, 0, 1, *[0] * 7]
    raw = bytes([*body, 0xC0 | len(name)]) + name.encode()
    return bytes([number, 0, 0x51, 2, len(raw)]) + raw


def emulation() -> Iterator[str]:
    """A BMC with two temperatures and a power supply; the controller behind it has one temperature."""
    yield "mc_setbmc 0x20"
    for owner in (0x20, 0x40):
        yield f"mc_add {owner:#x} 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02"
        yield f"sel_enable {owner:#x} 1000 0x0a"
    for owner, number, kind, event_type in ((0x20, 1, 1, 1), (0x20, 2, 1, 1), (0x20, 3, 8, 0x6F), (0x40, 4, 1, 1)):
        yield f"sensor_add {owner:#x} 0 {number} {kind} {event_type}"
        yield f"sensor_set_event_support {owner:#x} 0 {number} enable scanning per-state {ALL}"
    yield "sensor_set_threshold 0x20 0 2 settable 111000 0x64 0x5a 0x50 0 0 0"
    for owner, number, value in ((0x20, 1, 23), (0x20, 2, 61), (0x40, 4, 33)):
        yield f"sensor_set_value {owner:#x} 0 {number} {value} 0"
    yield "sensor_set_bit 0x20 0 3 0 1 0"
    records = (
        temperature(1, "Inlet Temp", entity=7),
        temperature(2, "CPU Temp"),
        power_supply(3, "PSU1"),
        temperature(4, "Tray Temp", owner=0x40),
    )
    for record in records:
        yield "main_sdr_add 0x20 " + " ".join(f"{byte:#04x}" for byte in record)
    yield "mc_enable 0x20"
    yield "mc_enable 0x40"


class Simulator:
    """ipmi_sim with its own folder; `say` writes to its console."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        (folder / "lan.conf").write_text(LAN.format(port=self.port, password=PASSWORD))
        (folder / "bmc.emu").write_text("\n".join(emulation()) + "\n")
        (folder / "state").mkdir()
        self.process = self.start()

    def start(self) -> "subprocess.Popen[str]":
        self.process = subprocess.Popen(
            ["ipmi_sim", "-c", "lan.conf", "-f", "bmc.emu", "-s", "state"],
            cwd=self._folder, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        return self.process

    def say(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[Simulator]:
    simulator = Simulator(tmp_path)
    yield simulator
    simulator.kill()


class SimBench:
    """A probe with a login at the simulator."""

    def __init__(self, port: int) -> None:
        self.clock = FakeClock()
        self.probe = IpmiProbe(Secrets(environ=SECRETS), self.clock)
        self.device = Device(
            "bmc", "room", Category.BMC, "ipmi", f"127.0.0.1:{port}", timeout_s=5.0, ipmi=Ipmi("ops", "good")
        )

    async def sweep(self, **other: Any) -> Sweep:
        return await self.probe.sweep(replace(self.device, **other))

    async def until(self, wanted: Callable[[Sweep], bool]) -> Sweep:
        """Sweep until the simulator shows the wanted state, at most a minute."""
        async with asyncio.timeout(60):
            while not wanted(sweep := await self.sweep()):  # noqa: ASYNC110 -- another process gives no event
                await asyncio.sleep(0.02)
        return sweep


def answers(sweep: Sweep) -> bool:
    return sweep.values[0] == "yes"


def events(sweep: Sweep) -> dict[str, Value]:
    return {one.series.label: one.value for one in sweep.readings() if one.series.quantity == "device.event"}


def refusal(sweep: Sweep) -> Missing:
    assert sweep.values[0] == "no"
    assert isinstance(sweep.values[1], Missing)
    return sweep.values[1]


def test_a_bmc_is_read(sim: Simulator) -> None:
    bench = SimBench(sim.port)

    async def scenario() -> None:
        sweep = await bench.until(answers)
        found = values(sweep)
        assert found["temperature.ambient", "0x01"] == 23.0
        assert found["temperature.component", "0x02"] == 61.0
        assert found["temperature.health", "0x02"] == "ok"
        assert found["psu.health", "0x03"] == "ok"
        assert found["power.state", ""] == "off"
        assert found["temperature.component", "0x40/0/0x04"] == 33.0
        assert (await bench.sweep()).series is sweep.series

    run_and_close(bench.probe, scenario)


def test_states_and_events_of_sensors(sim: Simulator) -> None:
    bench = SimBench(sim.port)
    hot = "CPU Temp: upper critical going high"

    async def scenario() -> None:
        assert events(await bench.until(answers)) == {}
        sim.say("sensor_set_value 0x20 0 2 95 1")
        sweep = await bench.until(lambda sweep: hot in events(sweep))
        assert events(sweep)[hot] == "critical"
        assert values(sweep)["temperature.component", "0x02"] == 95.0
        assert values(sweep)["temperature.health", "0x02"] == "critical"
        bench.clock.advance(EVENT_SHOWN_S)
        assert events(await bench.sweep())[hot] == EVENT_OVER
        sim.say("sensor_set_value 0x20 0 2 61 1")
        sweep = await bench.until(lambda sweep: events(sweep)[hot] == "none")
        assert values(sweep)["temperature.health", "0x02"] == "ok"
        sim.say("sensor_set_bit 0x20 0 3 1 1 1")
        sweep = await bench.until(lambda sweep: values(sweep)["psu.health", "0x03"] == "critical")
        sweep = await bench.until(lambda sweep: "PSU1: failure" in events(sweep))
        assert events(sweep)["PSU1: failure"] == "critical"

    run_and_close(bench.probe, scenario)


@pytest.mark.parametrize(
    ("login", "why"),
    [
        (Ipmi("ops", "bad"), "user or password wrong"),
        (Ipmi("nobody", "good"), "user or password wrong"),
        (Ipmi("ops", "long"), "longer than the 20 bytes"),
        (Ipmi("ops", "good", cipher=17), "cipher suite"),
        (Ipmi("ops", "nowhere"), "no secret called `nowhere`"),
    ],
)
def test_a_wrong_login_is_refused(sim: Simulator, login: Ipmi, why: str, caplog: pytest.LogCaptureFixture) -> None:
    bench = SimBench(sim.port)
    caplog.set_level(logging.DEBUG)

    async def scenario() -> None:
        await bench.until(answers)
        missing = refusal(await bench.sweep(device="other", ipmi=login))
        assert missing.reason is Reason.REFUSED
        assert why in missing.detail

    run_and_close(bench.probe, scenario)
    assert not any(secret in caplog.text for secret in SECRETS.values())


def test_a_bmc_that_restarts_is_read_again_by_a_new_session(sim: Simulator) -> None:
    bench = SimBench(sim.port)

    async def scenario() -> None:
        before = await bench.until(answers)
        sim.kill()
        gone = await bench.sweep()
        assert refusal(gone).reason is Reason.UNREACHABLE
        assert gone.series is before.series
        sim.start()
        assert (await bench.until(answers)).series is before.series

    run_and_close(bench.probe, scenario)


def test_a_session_that_the_bmc_has_forgotten_does_not_fail_a_sweep(sim: Simulator) -> None:
    bench = SimBench(sim.port)

    async def scenario() -> None:
        bench.device = replace(bench.device, timeout_s=2.0)
        await bench.until(answers)
        sim.kill()
        sim.start()
        other = SimBench(sim.port)
        await other.until(answers)  # it has restarted, and `bench` has not noticed
        await other.probe.close()
        assert answers(await bench.sweep())

    run_and_close(bench.probe, scenario)


def test_a_dead_port_and_an_unknown_name_are_unreachable() -> None:
    bench = SimBench(free_port())

    async def scenario() -> None:
        missing = refusal(await bench.sweep())
        assert (missing.reason, missing.detail) == (Reason.UNREACHABLE, "nothing listens there (ICMP port unreachable)")
        missing = refusal(await bench.sweep(device="named", address="no-such-bmc.invalid"))
        assert missing.reason is Reason.UNREACHABLE

    run_and_close(bench.probe, scenario)


def test_a_silent_bmc_costs_one_thread() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        bench = SimBench(mute.getsockname()[1])

        async def scenario() -> None:
            first, second = await asyncio.gather(bench.sweep(timeout_s=0.3), bench.sweep(timeout_s=0.3))
            assert refusal(first).reason is Reason.TIMEOUT
            assert refusal(second).reason is Reason.HUNG
            assert len(bench.probe._pool._threads) == 1

        run_and_close(bench.probe, scenario)
        mute.settimeout(0)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while mute.recv(4096):
                sent += 1
        assert sent == 2  # the device's one retry
