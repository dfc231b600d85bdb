"""The Modbus TCP probe: a profile's registers, read in as few requests as they allow (Modbus Application Protocol 1.1b3)."""

import asyncio
import logging
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from watchkeeper.agent.ports import NoAnswer, ProbeContext
from watchkeeper.agent.probes.services.check import Columns
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device, Modbus
from watchkeeper.model.reading import Reason, Sweep, Value
from watchkeeper.profiles import Profile, Profiles, load_profiles
from watchkeeper.profiles.decode import Raw, decode
from watchkeeper.profiles.flat import Layout, joined, lay
from watchkeeper.profiles.scalars import Register
from watchkeeper.profiles.shape import Speaks, Way

PORT = 502
RENEW_S = 600.0  # how often a device is asked again for registers that it did not have
AT_ONCE = 60  # registers a request; 125 are allowed (6.3), but not every device takes them
BITS_AT_ONCE = 1000  # 2,000 are allowed (6.1)
_FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "uint16": ">H", "int16": ">h", "uint32": ">I", "int32": ">i", "uint64": ">Q", "int64": ">q",
        "float32": ">f", "float64": ">d",
    }
)  # fmt: skip
_NOT_THERE = (1, 2, 3)  # illegal function, address, value (7): this device has no such register
_WORDS = MappingProxyType({1: "illegal function", 2: "illegal data address", 3: "illegal data value", 4: "device failure",
                           6: "device busy", 10: "gateway path unavailable", 11: "gateway target does not respond"})  # fmt: skip


class Block(NamedTuple):
    """One request: so many registers (or bits) of a table from an address on."""

    table: str
    address: int
    length: int


@dataclass(slots=True)
class _Held:
    """What is kept of a device between sweeps. `laid` is None until it was first read. `blocks` are without what the device
    does not have, until `renew_at` (boot time): it may have been starting, or be another one by then."""

    device: Device
    profile: Profile | None
    client: Any = None
    blocks: list[Block] = field(default_factory=list)
    renew_at: float = 0.0
    laid: Layout | None = None


def build(context: ProbeContext) -> "ModbusProbe":
    """See `agent.ports.ProbeContext`. Raises ConfigError."""
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # it logs every lost connection, and we say it ourselves
    return ModbusProbe(load_profiles(context.profiles), context.clock)


class ModbusProbe:
    """See `agent.ports.Probe`. One kept connection a device."""

    def __init__(self, profiles: Profiles, clock: Clock) -> None:
        self._profiles = profiles
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._bare = Columns()  # of those never heard of: a place for the reason

    async def sweep(self, device: Device) -> Sweep:
        """See `Probe.sweep`."""
        held = self._hold(device)
        values: list[Value]
        try:
            profile = _profile(held)
            renewed = self._renew(held, profile)
            answer = await _read(held, profile)
            if renewed or held.laid is None:
                held.laid = joined(held.laid, lay(device.device, profile, answer, _key, "modbus"))
            series, values = held.laid.series, ["yes", *decode(held.laid.steps, answer)]
        except NoAnswer as nothing:
            _drop(held)
            series = held.laid.series if held.laid else self._bare.of(device, ("uptime", "", "modbus"))
            values = ["no", *[nothing.missing] * (len(series) - 1)]
        return Sweep(device.device, self._clock.boot(), series, tuple(values))

    async def forget(self, device: str) -> None:
        """See `Probe.forget`."""
        self._bare.forget(device)
        held = self._held.pop(device, None)
        if held is not None:
            _drop(held)

    async def close(self) -> None:
        """See `Probe.close`."""
        for name in list(self._held):
            await self.forget(name)

    def profile_of(self, device: str) -> Profile | None:
        """See `ProfileProbe.profile_of`."""
        held = self._held.get(device)
        return held.profile if held else None

    def _hold(self, device: Device) -> _Held:
        held = self._held.get(device.device)
        if held is None or held.device != device:
            if held is not None:
                _drop(held)
            profile = self._profiles.get(device.profile)
            if profile is not None and profile.speaks is not Speaks.MODBUS:
                profile = None
            held = self._held[device.device] = _Held(device, profile)
        return held

    def _renew(self, held: _Held, profile: Profile) -> bool:
        """Whether it is asked for everything again: also where nothing is left, as by asking nothing none hears that it died."""
        now = self._clock.boot()
        if held.blocks and now < held.renew_at:
            return False
        held.blocks, held.renew_at = list(blocks_of(_registers(profile))), now + RENEW_S
        return True


def _profile(held: _Held) -> Profile:
    if held.profile is None:
        raise NoAnswer(
            Reason.ABSENT,
            f"a Modbus device does not say what it is: name a profile that speaks modbus (not `{held.device.profile}`)",
        )
    return held.profile


async def _read(held: _Held, profile: Profile) -> dict[str, Raw]:
    if held.client is None:
        held.client = await _connect(held.device)
    words: dict[tuple[str, int], int] = {}
    for block in list(held.blocks):
        words |= await _fetch(held, block)
    answer = ((_name(one), value_of(one, words)) for one in _registers(profile))
    return {name: value for name, value in answer if value is not None}


def _drop(held: _Held) -> None:
    held.renew_at = 0.0
    if held.client is not None:
        held.client.close()
        held.client = None


async def _connect(device: Device) -> AsyncModbusTcpClient:
    try:
        host, port = device.endpoint(PORT)
    except ValueError as error:
        raise NoAnswer(Reason.UNREACHABLE, str(error)) from None
    client = AsyncModbusTcpClient(host, port=port, timeout=device.timeout_s, retries=device.retries, reconnect_delay=0)
    try:
        async with asyncio.timeout(device.timeout_s):
            if await client.connect():
                return client
    except (OSError, ModbusException):
        pass
    client.close()
    raise NoAnswer(Reason.UNREACHABLE, f"no connection to port {port}: nothing listens there, or the device is down")


async def _fetch(held: _Held, block: Block) -> dict[tuple[str, int], int]:
    """Read a block. Where the device does not have all of it, it is asked register by register from then on."""
    reply = await _request(held, block)
    if not reply.isError():
        cells = reply.bits if block.table in ("coil", "discrete") else reply.registers
        return {(block.table, block.address + offset): int(cell) for offset, cell in enumerate(cells[: block.length])}
    code = int(getattr(reply, "exception_code", 0))
    if code not in _NOT_THERE:
        raise NoAnswer(Reason.MALFORMED, f"the device answers with exception {code} ({_WORDS.get(code, 'of its own')})")
    parts = _halved(block, held.profile)
    held.blocks[held.blocks.index(block) : held.blocks.index(block) + 1] = parts
    found: dict[tuple[str, int], int] = {}
    for part in list(parts):
        found |= await _fetch(held, part)
    return found


def _halved(block: Block, profile: Profile | None) -> list[Block]:
    """The block register by register, as far as those are smaller (they may overlap); the device does not have what is none."""
    registers = [one for one in _registers(profile) if one.table == block.table] if profile else []
    parts = [Block(block.table, one.address, size(one)) for one in registers]
    end = block.address + block.length
    return sorted({one for one in parts if block.address <= one.address < one.address + one.length <= end} - {block})


async def _request(held: _Held, block: Block) -> Any:
    options = held.device.modbus or Modbus()
    client = held.client
    ask = {
        "holding": client.read_holding_registers,
        "input": client.read_input_registers,
        "coil": client.read_coils,
        "discrete": client.read_discrete_inputs,
    }[block.table]
    try:
        return await ask(block.address, count=block.length, device_id=options.unit)
    except (ModbusException, OSError, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and (task := asyncio.current_task()) and task.cancelling():
            raise
        raise NoAnswer(Reason.TIMEOUT, "no answer to a request; unit wrong, or device busy") from None
    except (struct.error, IndexError, ValueError) as error:
        raise NoAnswer(Reason.MALFORMED, f"the answer breaks the rules of Modbus ({type(error).__name__})") from None


# ---- registers: pure ----


def size(register: Register) -> int:
    """How many registers (or bits) it takes."""
    return 1 if register.kind == "bit" else int(register.kind.lstrip("uintfloa")) // 16


def blocks_of(registers: Iterable[Register]) -> Sequence[Block]:
    """The fewest requests for these registers that ask for nothing else: a device may have holes."""
    wanted = sorted({Block(one.table, one.address, size(one)) for one in registers})
    groups: list[Block] = wanted[:1]
    for one in wanted[1:]:
        last = groups[-1]
        most = BITS_AT_ONCE if one.table in ("coil", "discrete") else AT_ONCE
        end = max(last.address + last.length, one.address + one.length)
        if one.table == last.table and one.address <= last.address + last.length and end - last.address <= most:
            groups[-1] = Block(last.table, last.address, end - last.address)
        else:
            groups.append(one)
    return groups


def value_of(register: Register, words: Mapping[tuple[str, int], int]) -> Raw | None:
    """The register's value, the highest word first unless it is `swapped`; None where a part of it was not read."""
    cells = [words.get((register.table, register.address + offset)) for offset in range(size(register))]
    there = [cell for cell in cells if cell is not None]
    if len(there) < len(cells):
        return None
    if register.kind == "bit":
        return there[0]
    ordered = reversed(there) if register.swapped else there
    (value,) = struct.unpack(_FORMATS[register.kind], b"".join(struct.pack(">H", cell) for cell in ordered))
    return float(value) if register.kind.startswith("float") else int(value)


def _registers(profile: Profile) -> list[Register]:
    return [way.register for wanted in profile.readings for way in wanted.ways if way.register]


def _key(way: Way) -> str:
    return _name(way.register) if way.register else ""


def _name(register: Register) -> str:
    kind = "" if register.kind == "bit" else f" {register.kind}"
    return f"{register.table} {register.address}{kind}{' swapped' if register.swapped else ''}"
