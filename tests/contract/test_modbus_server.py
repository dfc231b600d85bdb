"""The Modbus probe against a real server (pymodbus) on loopback: values, missing registers, swapped words, failures."""

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from pymodbus.datastore import ModbusDeviceContext, ModbusServerContext, ModbusSparseDataBlock
from pymodbus.server import ModbusTcpServer

from tests.service_room import listening
from watchkeeper.agent.probes.modbus.probe import MODBUS_RENEW_S, ModbusProbe
from watchkeeper.agent.probes.modbus.registers import (
    REGISTERS_PER_REQUEST,
    RegisterBlock,
    blocks_of,
    register_value,
)
from watchkeeper.model.batch import Document
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device, Modbus
from watchkeeper.model.reading import Missing, Reason, Sweep, Value
from watchkeeper.profiles import load_profiles
from watchkeeper.profiles.scalars import register

PROFILE = """profile: chiller
vendor: Acme
category: cooling
speaks: modbus
verified: none
readings:
  - {quantity: temperature.supply, register: holding 10 int16, raw_unit: 0.1 °C, plausible: -40 .. 100 °C, absent: [-32768], source: manual}
  - {quantity: temperature.return, register: holding 11 int16, raw_unit: 0.1 °C, plausible: -40 .. 100 °C, absent: [-32768], source: manual}
  - {quantity: water.flow, register: holding 12 float32, raw_unit: 1 l/min, plausible: 0 .. 1000 l/min, source: manual}
  - {quantity: cooling.power, register: holding 14 float32 swapped, raw_unit: 1 kW, plausible: 0 .. 500000 W, source: manual}
  - {quantity: input.energy, register: input 100 uint32, raw_unit: 0.1 kWh, source: manual}
  - {quantity: pump.state, register: coil 3, states: {0: stopped, 1: running}, source: manual}
  - {quantity: water.health, register: holding 13 uint16, bit: 2, states: {0: ok, 1: critical}, source: manual}
  - {quantity: fan.duty, register: holding 400 uint16, raw_unit: 1 %, plausible: 0 .. 100 %, source: manual}
"""


BARE = """profile: bare
vendor: Acme
category: cooling
speaks: modbus
verified: none
readings:
  - {quantity: fan.duty, register: holding 400 uint16, raw_unit: 1 %, plausible: 0 .. 100 %, source: manual}
"""


def words(value: float, form: str = ">f") -> list[int]:
    return list(struct.unpack(">" + "H" * (struct.calcsize(form) // 2), struct.pack(form, value)))


HOLDING = {10: 185, 11: 0x8000, **dict(enumerate(words(42.5), 12)), **dict(enumerate(reversed(words(35.0)), 14))}
INPUT = dict(enumerate(words(123456, ">I"), 100))


@asynccontextmanager
async def serving(holding: Mapping[int, int] = HOLDING) -> AsyncIterator[int]:
    """A server that has only these registers: any other address is answered with an exception."""

    def table(cells: Mapping[int, int]) -> ModbusSparseDataBlock:
        return ModbusSparseDataBlock(dict(cells))

    unit = ModbusDeviceContext(hr=table(holding), ir=table(INPUT), co=table({3: 1}), di=table({0: 0}))
    server = ModbusTcpServer(ModbusServerContext(devices={7: unit}, single=False), address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        yield server.transport.sockets[0].getsockname()[1]
    finally:
        await server.shutdown()


def device(port: int, **how: object) -> Device:
    defaults = {"profile": "chiller", "modbus": Modbus(7), "timeout_s": 2.0, "retries": 0}
    address = str(how.pop("address", f"127.0.0.1:{port}"))
    return Device("chiller", "room", Category.COOLING, "modbus", address, **{**defaults, **how})  # type: ignore[arg-type]


def probe() -> ModbusProbe:
    return ModbusProbe(load_profiles([Document("chiller.yml", PROFILE)]), FakeClock())


def values(sweep: Sweep) -> dict[str, Value]:
    return {reading.series.quantity: reading.value for reading in sweep.readings()}


def reason(sweep: Sweep) -> str:
    (missing,) = {value.detail for value in sweep.values if isinstance(value, Missing)}
    return missing


def test_registers_of_every_kind_are_read_in_the_catalogues_units() -> None:
    async def run() -> None:
        reader = probe()
        async with serving() as port:
            first = await reader.sweep(device(port))
            second = await reader.sweep(device(port))
        await reader.close()
        found = values(first)
        assert found.pop("temperature.return") == Missing(
            Reason.ABSENT, "the device answers -32768, which means: not available"
        )
        assert found == {
            "device.answering": "yes", "temperature.supply": 18.5, "water.flow": 42.5, "cooling.power": 35_000.0,
            "input.energy": 12345.6, "pump.state": "running", "water.health": "ok",
        }  # fmt: skip
        assert "fan.duty" not in found  # register 400 does not exist; the others are read all the same
        assert second.series is first.series
        assert values(second)["water.flow"] == 42.5

    asyncio.run(run())


def test_a_server_that_is_gone_keeps_its_series_and_they_say_why() -> None:
    async def run() -> None:
        reader = probe()
        async with serving() as port:
            assert (await reader.sweep(device(port))).values[0] == "yes"
        gone = await reader.sweep(device(port))
        assert gone.values[0] == "no"
        assert set(values(gone)) >= {"temperature.supply", "pump.state"}  # the series stay, all missing
        gone = await reader.sweep(device(port))
        assert "nothing listens there" in reason(gone)
        await reader.close()

    asyncio.run(run())


def test_a_mistake_in_the_inventory_is_named() -> None:
    async def run() -> None:
        reader = probe()
        async with serving() as port:
            for name in ("auto", "ups-mib", "nobody"):
                wrong = await reader.sweep(device(port, profile=name))
                assert wrong.values[0] == "no"
                assert "name a profile that speaks modbus" in reason(wrong)
                await reader.forget("chiller")
            wrong = await reader.sweep(device(port, modbus=Modbus(9), timeout_s=0.3))
            assert wrong.values[0] == "no"
        await reader.close()

    asyncio.run(run())


def test_a_peer_that_hangs_or_sends_rubbish_costs_no_more_than_the_timeout() -> None:
    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\x01\x00\x00\x00\x03\x07\x83")  # half an answer to another request
        await asyncio.sleep(0.6)
        writer.close()

    async def run() -> None:
        reader = probe()
        server = await asyncio.start_server(hang, "127.0.0.1", 0)
        async with server:
            sweep = await reader.sweep(device(server.sockets[0].getsockname()[1], timeout_s=0.2))
            assert sweep.values[0] == "no"
            assert reason(sweep)
            await reader.close()
            await asyncio.sleep(0.7)

    asyncio.run(run())


def test_registers_that_a_device_lacked_while_it_started_are_asked_for_again() -> None:
    registers = {10: 185}

    async def answer(requests: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            number, _, _, unit, function, start, count = struct.unpack(">HHHBBHH", await requests.readexactly(12))
            cells = [registers.get(start + step) for step in range(count)] if function == 3 else [None]
            body = bytes((unit, function | 0x80, 2))  # illegal data address
            if None not in cells:
                body = bytes((unit, function, 2 * count)) + struct.pack(f">{count}H", *cells)
            writer.write(struct.pack(">HHH", number, 0, len(body)) + body)

    async def run() -> None:
        clock = FakeClock()
        reader = ModbusProbe(load_profiles([Document("chiller.yml", PROFILE)]), clock)
        async with listening(answer) as address:
            chiller = device(0, address=address)
            first = await reader.sweep(chiller)
            assert values(first) == {"device.answering": "yes", "temperature.supply": 18.5}
            registers.update(HOLDING)
            assert (await reader.sweep(chiller)).series is first.series  # not asked for again before MODBUS_RENEW_S
            clock.advance(MODBUS_RENEW_S)
            whole = await reader.sweep(chiller)
            assert values(whole)["water.flow"] == 42.5
            clock.advance(MODBUS_RENEW_S)
            assert (await reader.sweep(chiller)).series is whole.series
            await reader.close()

    asyncio.run(run())


def test_a_device_without_any_of_the_registers_still_gets_a_request_at_each_sweep() -> None:
    async def run() -> None:
        reader = ModbusProbe(load_profiles([Document("bare.yml", BARE)]), FakeClock())
        async with serving() as port:
            for _ in range(2):
                assert (await reader.sweep(device(port, profile="bare"))).values == ("yes",)
        assert (await reader.sweep(device(port, profile="bare"))).values[0] == "no"
        await reader.close()

    asyncio.run(run())


def test_a_device_that_was_never_read_has_the_same_series_each_time_and_one_of_them_says_why() -> None:
    async def run() -> None:
        reader = probe()
        for address, why in (("127.0.0.1:9", "no connection to port 9"), ("127.0.0.1:x", "is not HOST or HOST:PORT")):
            silent = [await reader.sweep(device(0, address=address)) for _ in range(2)]
            assert silent[0].series is silent[1].series
            assert why in reason(silent[1])
            await reader.forget("chiller")
        await reader.close()

    asyncio.run(run())


# ---- pure ----


def test_adjacent_registers_are_one_request_and_addresses_between_are_not_read() -> None:
    wanted = [
        register(text)
        for text in ("holding 10 int16", "holding 11 float32", "holding 20 uint16", "coil 3", "input 13 int16")
    ]
    assert list(blocks_of(wanted)) == [
        RegisterBlock("coil", 3, 1), RegisterBlock("holding", 10, 3), RegisterBlock("holding", 20, 1), RegisterBlock("input", 13, 1),
    ]  # fmt: skip
    many = [register(f"holding {address} uint16") for address in range(200)]
    assert max(block.length for block in blocks_of(many)) == REGISTERS_PER_REQUEST
    assert sum(block.length for block in blocks_of(many)) == 200


@pytest.mark.parametrize(
    ("text", "cells", "value"),
    [
        ("holding 0 uint16", [65535], 65535), ("holding 0 int16", [65535], -1), ("holding 0 uint32", [1, 2], 65538),
        ("holding 0 int32 swapped", [0xFFFE, 0xFFFF], -2), ("holding 0 float64", words(2.5, ">d"), 2.5),
        ("holding 0 float32", [0x4110], None),
    ],
)  # fmt: skip
def test_a_value_is_decoded_by_its_kind(text: str, cells: list[int], value: float | None) -> None:
    assert register_value(register(text), {("holding", at): cell for at, cell in enumerate(cells)}) == value
