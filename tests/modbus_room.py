"""A Modbus device of a small profile that reads these registers, by name of the quantity."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tests.service_room import listening
from watchkeeper.agent.probes.modbus.probe import ModbusProbe
from watchkeeper.model.batch import Document
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device, Modbus
from watchkeeper.profiles import load_profiles

HEAD = """profile: meter
vendor: Acme
category: meter
speaks: modbus
verified: none
readings:
"""
UNITS = {"output.load": "%", "battery.charge": "%", "output.frequency": "Hz", "input.frequency": "Hz"}


@asynccontextmanager
async def read_by_profile(
    server: Any, registers: Mapping[str, str], clock: FakeClock | None = None, **how: Any
) -> AsyncIterator[tuple[ModbusProbe, Device]]:
    """A probe, and the device that is this server."""
    readings = (
        f"  - {{quantity: {name}, register: {register}, raw_unit: 1 {UNITS[name]}, "
        f"plausible: 0 .. 100 {UNITS[name]}, source: manual}}\n"
        for name, register in registers.items()
    )
    probe = ModbusProbe(load_profiles([Document("meter.yml", HEAD + "".join(readings))]), clock or FakeClock())
    async with listening(server) as address:
        try:
            yield (
                probe,
                Device("meter-1", "room-1", Category.METER, "modbus", address, "meter", modbus=Modbus(1), **how),
            )
        finally:
            await probe.close()
