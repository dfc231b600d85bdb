"""A Modbus device of which one request fails: that hides nothing else, and what is not read is not gone."""

import asyncio
import struct
from collections.abc import Awaitable, Callable, Collection

import pytest

from tests.modbus_room import read_by_profile
from watchkeeper.agent.probes.modbus import probe as modbus
from watchkeeper.agent.probes.modbus.probe import MODBUS_RENEW_S, ModbusProbe
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Device
from watchkeeper.model.reading import Missing, Reason, Value

REGISTERS = {
    "output.load": "holding 10 uint16", "battery.charge": "holding 11 uint16", "output.frequency": "holding 20 uint16",
    "input.frequency": "holding 30 uint16",
}  # fmt: skip
ALL = {"output.load": 11.0, "battery.charge": 12.0, "output.frequency": 21.0, "input.frequency": 31.0}
DEVICE_FAILURE, BUSY, NO_TARGET = 4, 6, 11


class Meter:
    """Register N is N + 1. A request is not answered if it has a register of `silent` or more than `most`; it is answered
    with an exception if it has one of `failing`."""

    def __init__(self) -> None:
        self.silent: Collection[int] = ()
        self.failing: dict[int, int] = {}
        self.most = 100
        self.asked: list[tuple[int, int]] = []

    async def __call__(self, requests: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            number, _, _, unit, function, first, count = struct.unpack(">HHHBBHH", await requests.readexactly(12))
            self.asked.append((first, count))
            wanted = range(first, first + count)
            if count > self.most or set(self.silent) & set(wanted):
                continue
            body = bytes((unit, function, 2 * count)) + b"".join(struct.pack(">H", one + 1) for one in wanted)
            for one in self.failing.keys() & set(wanted):
                body = bytes((unit, function | 0x80, self.failing[one]))
            writer.write(struct.pack(">HHH", number, 0, len(body)) + body)


class Room:
    """Sweeps of one meter, on one connection as long as that lasts."""

    def __init__(self, meter: Meter, clock: FakeClock, device: Device, probe: ModbusProbe) -> None:
        self.meter, self.clock, self.device, self.probe = meter, clock, device, probe

    async def read(self, later_s: float = 30.0) -> dict[str, Value]:
        self.meter.asked.clear()
        sweep = await self.probe.sweep(self.device)
        self.clock.advance(later_s)
        return {one.series.quantity: one.value for one in sweep.readings()}


def in_room(meter: Meter, story: Callable[[Room], Awaitable[None]]) -> None:
    async def run() -> None:
        clock = FakeClock()
        async with read_by_profile(meter, REGISTERS, clock, retries=0, timeout_s=0.2) as (probe, device):
            await story(Room(meter, clock, device, probe))

    asyncio.run(run())


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modbus, "BUSY_PAUSE_S", 0.0)


def reason_of(value: Value) -> Reason | None:
    return value.reason if isinstance(value, Missing) else None


@pytest.mark.parametrize("code", [DEVICE_FAILURE, BUSY, NO_TARGET])
def test_an_exception_to_one_request_hides_only_its_registers(code: int) -> None:
    meter = Meter()

    async def story(room: Room) -> None:
        assert await room.read() == {"device.answering": "yes", **ALL}
        meter.failing = {20: code}
        found = await room.read()
        assert reason_of(found.pop("output.frequency")) is Reason.MALFORMED
        assert found == {"device.answering": "yes", **{name: ALL[name] for name in found if name in ALL}}
        meter.failing = {}
        assert await room.read() == {"device.answering": "yes", **ALL}

    in_room(meter, story)


def test_a_register_that_failed_at_first_is_found_soon() -> None:
    meter = Meter()
    meter.failing = {20: BUSY}

    async def story(room: Room) -> None:
        assert "output.frequency" not in await room.read(60.0)
        meter.failing = {}
        assert await room.read() == {"device.answering": "yes", **ALL}

    in_room(meter, story)


@pytest.mark.parametrize("first", [10, 20])
def test_a_register_without_an_answer_is_asked_for_alone_and_then_seldom(first: int) -> None:
    """Also if it is in the first request to a device that was never read."""
    meter = Meter()
    meter.silent = {first}

    async def story(room: Room) -> None:
        hidden = "output.load" if first == 10 else "output.frequency"
        for _ in range(4):
            found = await room.read()
        assert found == {"device.answering": "yes", **{name: value for name, value in ALL.items() if name != hidden}}
        assert (first, 1) not in meter.asked
        meter.silent = ()
        await room.read(MODBUS_RENEW_S)
        assert await room.read() == {"device.answering": "yes", **ALL}

    in_room(meter, story)


@pytest.mark.parametrize(
    ("address", "hidden", "other"), [(20, "output.frequency", "output.load"), (10, "output.load", "output.frequency")]
)
def test_a_register_that_falls_silent_is_not_gone(address: int, hidden: str, other: str) -> None:
    meter = Meter()

    async def story(room: Room) -> None:
        await room.read()
        meter.silent = {address}
        for _ in range(3):
            found = await room.read()
            assert reason_of(found[hidden]) is Reason.TIMEOUT
            assert found[other] == ALL[other]
        meter.silent = ()
        await room.read(MODBUS_RENEW_S)
        assert await room.read() == {"device.answering": "yes", **ALL}

    in_room(meter, story)


def test_a_device_that_is_silent_to_larger_requests_is_asked_for_fewer_registers() -> None:
    meter = Meter()
    meter.most = 1

    async def story(room: Room) -> None:
        await room.read()
        assert await room.read() == {"device.answering": "yes", **ALL}

    in_room(meter, story)


def test_a_device_that_is_down_is_down() -> None:
    meter = Meter()

    async def story(room: Room) -> None:
        await room.read()
        meter.silent = range(100)
        found = await room.read()
        assert found.pop("device.answering") == "no"
        assert {reason_of(value) for value in found.values()} == {Reason.TIMEOUT}
        meter.silent = ()
        assert await room.read() == {"device.answering": "yes", **ALL}

    in_room(meter, story)
