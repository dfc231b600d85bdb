"""A Modbus device that answers "not now": exceptions 5, 6, 10 and 11 say nothing about the register."""

import asyncio
import struct

import pytest

from tests.modbus_room import read_by_profile
from watchkeeper.agent.probes.modbus import probe as modbus
from watchkeeper.agent.probes.modbus.probe import BUSY_TRIES
from watchkeeper.model.reading import Missing, Sweep

BUSY, ACKNOWLEDGE, NO_PATH, NO_TARGET = 6, 5, 10, 11


class Meter:
    """Register 10 of unit 1 is 42; the first answers are these exceptions."""

    def __init__(self, *exceptions: int) -> None:
        self.exceptions = list(exceptions)
        self.requests = 0

    async def __call__(self, requests: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            number, _, _, unit, function, _, _ = struct.unpack(">HHHBBHH", await requests.readexactly(12))
            self.requests += 1
            body = bytes((unit, function, 2)) + struct.pack(">H", 42)
            if self.exceptions:
                body = bytes((unit, function | 0x80, self.exceptions.pop(0)))
            writer.write(struct.pack(">HHH", number, 0, len(body)) + body)


async def read(meter: Meter, retries: int = 0) -> Sweep:
    async with read_by_profile(meter, {"output.load": "holding 10 uint16"}, retries=retries) as (probe, device):
        return await probe.sweep(device)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modbus, "BUSY_PAUSE_S", 0.0)


@pytest.mark.parametrize("exception", [BUSY, ACKNOWLEDGE, NO_PATH, NO_TARGET])
def test_a_device_that_is_busy_is_asked_again(exception: int) -> None:
    meter = Meter(exception)
    sweep = asyncio.run(read(meter))
    assert sweep.values == ("yes", 42.0)
    assert meter.requests == 2


def test_a_device_that_stays_busy_does_not_answer_and_says_why() -> None:
    meter = Meter(*[BUSY] * 10)
    sweep = asyncio.run(read(meter))
    assert sweep.values[0] == "no"
    (missing,) = {value.detail for value in sweep.values if isinstance(value, Missing)}
    assert missing == "the device answers with exception 6 (device busy)"
    assert meter.requests == BUSY_TRIES


def test_more_retries_are_more_tries() -> None:
    meter = Meter(*[BUSY] * 4)
    assert asyncio.run(read(meter, retries=4)).values == ("yes", 42.0)
    assert meter.requests == 5


def test_a_register_that_is_not_there_is_not_asked_for_again() -> None:
    meter = Meter(2)
    asyncio.run(read(meter))
    assert meter.requests == 1
