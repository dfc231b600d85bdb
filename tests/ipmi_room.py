"""A BMC in memory, and a bench that sweeps it."""

import asyncio
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.ipmi.commands import AT_BMC, BusAddress, Command, Declined
from watchkeeper.agent.probes.ipmi.probe import IpmiProbe
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device, Ipmi
from watchkeeper.model.reading import Reason, Sweep, Value

FINE = 0x40
CAPABILITIES = Command(0, 0)
CHASSIS, READING, FACTORS, IDENTITY = Command(0, 1), Command(4, 0x2D), Command(4, 0x23), Command(6, 1)
REPOSITORY, RESERVE, RECORD = Command(0x0A, 0x20), Command(0x0A, 0x22), Command(0x0A, 0x23)
LOG, ENTRY = Command(0x0A, 0x40), Command(0x0A, 0x43)
SILENCE = NoAnswer(Reason.TIMEOUT, "no answer")
REFUSAL = NoAnswer(Reason.REFUSED, "wrong password")


def temperature(number: int, name: str, *, owner: int = 0x20, linear: int = 0, entity: int = 3) -> bytes:
    """A full sensor record (IPMI 2.0, table 43-1) of a sensor in °C whose values are its raw readings."""
    sensor = [owner, 0, number, entity, number, 0x67, 0x68, 1, 1, *[0] * 6]
    formula = [0, 1, 0, linear, 1, *[0] * 22]
    body = bytes([*sensor, *formula, 0xC0 | len(name)]) + name.encode()
    return bytes([number, 0, 0x51, 1, len(body)]) + body


@dataclass
class MemoryBmc:
    """A BMC in memory, and every session to it. If `dead` is set, all requests and new sessions fail with it."""

    records: list[bytes] = field(
        default_factory=lambda: [temperature(1, "Inlet Temp", entity=7), temperature(2, "CPU1 Temp")]
    )
    readings: dict[int, bytes] = field(default_factory=lambda: {1: bytes([23, FINE, 0]), 2: bytes([61, FINE, 0])})
    entries: list[bytes] = field(default_factory=list)
    chassis: bytes = bytes([0x01, 0, 0])
    capabilities: bytes = bytes(5)
    stamp: int = 1
    erased: int = 1
    chunk: int = 255
    reserved: int = 7
    broken: int | None = None  # the record that it cannot read
    dead: NoAnswer | None = None
    declined: dict[Command, int] = field(default_factory=dict)
    asked: list[tuple[Command, bytes, BusAddress, int]] = field(default_factory=list)
    sessions: list["MemoryBmcSession"] = field(default_factory=list)
    gate: threading.Event | None = None
    alter: Callable[[bytes], bytes] = bytes

    def open(self, device: Device, attempts: int) -> "MemoryBmcSession":
        if self.gate is not None:
            self.gate.wait()
        if self.dead is not None:
            raise self.dead
        self.sessions.append(MemoryBmcSession(self, attempts))
        return self.sessions[-1]

    def answer(self, command: Command, data: bytes, address: BusAddress) -> bytes:
        plain = Command(*command[:2])
        if plain in self.declined:
            raise Declined(self.declined[plain])
        return {
            CHASSIS: lambda: self.chassis,
            CAPABILITIES: lambda: self.capabilities,
            REPOSITORY: lambda: self.info(len(self.records), 999),
            RESERVE: lambda: struct.pack("<H", self.reserved),
            RECORD: lambda: self.record(data),
            READING: lambda: self.reading(data[0], address),
            FACTORS: lambda: bytes([0, 2, 0, 10, 0, 0, 0]),
            LOG: lambda: self.info(len(self.entries), 1600 - 16 * len(self.entries)),
            ENTRY: lambda: self.entry(int.from_bytes(data[2:4], "little")),
        }.get(plain, lambda: bytes(2))()

    def info(self, count: int, free: int) -> bytes:
        return struct.pack("<BHHIIB", 0x51, count, free, self.stamp, self.erased, 0)

    def record(self, data: bytes) -> bytes:
        reservation, number, offset, count = struct.unpack("<HHBB", data)
        at = number if number < len(self.records) else 0
        if at == self.broken:
            raise Declined(0xCE)
        if count > self.chunk:
            raise Declined(0xCA)
        if offset and reservation != self.reserved:
            raise Declined(0xC5)
        following = at + 1 if at + 1 < len(self.records) else 0xFFFF
        return struct.pack("<H", following) + self.records[at][offset : offset + count]

    def reading(self, number: int, address: BusAddress) -> bytes:
        if address.owner == 0x2C:
            raise SILENCE
        if number not in self.readings:
            raise Declined(0xCB)
        return self.readings[number]

    def entry(self, number: int) -> bytes:
        numbers = [int.from_bytes(one[:2], "little") for one in self.entries]
        if not numbers or (number not in (0, 0xFFFF) and number not in numbers):
            raise Declined(0xCB)
        at = 0 if number == 0 else len(numbers) - 1 if number == 0xFFFF else numbers.index(number)
        following = numbers[at + 1] if at + 1 < len(numbers) else 0xFFFF
        return struct.pack("<H", following) + self.entries[at]

    def log(self, number: int, *, offset: int = 9, over: bool = False, at: int = 0x6000_0000) -> None:
        self.entries.append(
            struct.pack("<HBI9B", number, 2, at, 0x20, 0, 4, 1, 2, 1 | over << 7, 0x50 | offset, 95, 90)
        )
        self.stamp += 1

    def clear(self) -> None:
        self.entries.clear()
        self.erased += 1


@dataclass
class MemoryBmcSession:
    bmc: MemoryBmc
    attempts: int
    lost: bool = False
    limit_s: float = 60.0
    closed: bool | None = None  # with a log-out, or without

    def ask(self, command: Command, data: bytes = b"", address: BusAddress = AT_BMC) -> bytes:
        self.bmc.asked.append((command, data, address, self.attempts))
        if self.lost or self.bmc.dead:
            raise self.bmc.dead or SILENCE
        return self.bmc.alter(self.bmc.answer(command, data, address))

    def close(self, *, log_out: bool) -> None:
        self.closed = log_out


class Bench:
    """One BMC in memory with its probe, and a clock."""

    def __init__(self, *, every_s: float = 30.0, retries: int = 1, idle_s: float = 45.0) -> None:
        self.bmc = MemoryBmc()
        self.clock = FakeClock()
        self.probe = IpmiProbe(Secrets(environ={}), self.clock, self.bmc.open, idle_s)
        self.device = Device(
            "bmc-1", "room", Category.BMC, "ipmi", "10.0.0.7", every_s=every_s, retries=retries, ipmi=Ipmi("ops", "bmc")
        )

    async def sweep(self) -> Sweep:
        self.bmc.asked.clear()
        return await self.probe.sweep(self.device)

    def count(self, command: Command) -> int:
        return sum(asked[0][:2] == command[:2] for asked in self.bmc.asked)


def run_and_close(probe: IpmiProbe, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run the scenario, then close the probe, also after a failure."""

    async def run() -> None:
        try:
            await scenario()
        finally:
            await probe.close()

    asyncio.run(run())


def values(sweep: Sweep) -> dict[tuple[str, str], Value]:
    return {(reading.series.quantity, reading.series.instance): reading.value for reading in sweep.readings()}
