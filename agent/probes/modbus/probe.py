"""The Modbus TCP probe: a profile's registers, read in as few requests as possible (Modbus Application Protocol
1.1b3)."""

import asyncio
import struct
from dataclasses import dataclass, field
from math import ceil
from types import MappingProxyType
from typing import Any

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from watchkeeper.agent.ports import NoAnswer, ProbeContext
from watchkeeper.agent.probes.modbus.mbap import TransactionIds, limit_received
from watchkeeper.agent.probes.modbus.registers import (
    RegisterBlock,
    block_of,
    blocks_of,
    register_value,
    registers_in,
    registers_of,
    smaller_blocks,
)
from watchkeeper.agent.probes.series import SeriesCache, with_failures
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device, Modbus
from watchkeeper.model.habit import sentence, source_with
from watchkeeper.model.reading import Missing, Reason, Sweep, Value
from watchkeeper.model.text import marked
from watchkeeper.profiles import Profile, Profiles, load_profiles
from watchkeeper.profiles.asked import misfit
from watchkeeper.profiles.condition import Speaks
from watchkeeper.profiles.decode import Raw, decode
from watchkeeper.profiles.flat import Layout, lay_out, merge_layouts

MODBUS_PORT = 502
MODBUS_RENEW_S = 600.0  # how often a device is asked again for the registers that it did not have
MODBUS_RENEW_SOON_S = 60.0  # and how soon if a part of them failed
MOST_SILENT = 2  # requests without an answer in one sweep of a device that answers others; each costs its timeout
_NO_SUCH_REGISTER = (1, 2, 3)  # exception codes: illegal function, address, value (7)
_NOT_NOW = (5, 6, 10, 11)  # acknowledge, busy, gateway path unavailable, gateway target does not respond (7)
BUSY_TRIES = 3
BUSY_PAUSE_S = 0.2
"""A device that is busy is asked again after this time, at most so often: `not now` is no answer about the register."""
MUTE = Missing(Reason.TIMEOUT, "the device answers, but not to a request for this register")
ANY_ID = "any-id"
_EXCEPTION_NAMES = MappingProxyType({
    1: "illegal function", 2: "illegal data address", 3: "illegal data value", 4: "device failure",
    5: "acknowledge: still working on it", 6: "device busy",
    10: "gateway path unavailable", 11: "gateway target does not respond",
})  # fmt: skip


@dataclass(slots=True)
class _ModbusDevice:
    """What is kept of a device between sweeps. `layout` is None until the device was read once. `blocks` leaves out the
    registers that the device does not have. All are asked for again at `renew_at` (boot time): the device may have been
    starting, or may have been replaced. `alone` are registers that brought no answer beside others, and `mute` those that brought
    none at all: at each renewal one of them is asked for again. `seen` are the registers that were answered. `misfit` says why there is no profile. `any_id` says that its answers do not
    repeat the transaction id."""

    device: Device
    profile: Profile | None
    misfit: str = ""
    client: Any = None
    ids: TransactionIds = field(default_factory=lambda: TransactionIds(any_id=False))
    any_id: bool = False
    blocks: list[RegisterBlock] = field(default_factory=list)
    alone: set[RegisterBlock] = field(default_factory=set)
    mute: list[RegisterBlock] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    renew_at: float = 0.0
    layout: Layout | None = None


def build(context: ProbeContext) -> "ModbusProbe":
    """Build the probe. Raises ConfigError."""
    return ModbusProbe(load_profiles(context.profiles), context.clock)


class ModbusProbe:
    """Implements `agent.ports.Probe`. Keeps one connection for each device."""

    def __init__(self, profiles: Profiles, clock: Clock) -> None:
        self._profiles = profiles
        self._clock = clock
        self._held: dict[str, _ModbusDevice] = {}
        self._bare_series = SeriesCache()  # for devices that were never read: one series to carry the reason

    async def sweep(self, device: Device) -> Sweep:
        """Implements `Probe.sweep`."""
        held = self._held_for(device)
        values: list[Value]
        try:
            profile = _modbus_profile(held)
            mute_before = _mute_names(held, profile)
            renewed = self._renew(held, profile)
            answer, failed = await _read_registers(held, profile)
            if failed.keys() - mute_before:
                held.renew_at = min(held.renew_at, self._clock.boot() + MODBUS_RENEW_SOON_S)
            if renewed or held.layout is None or not answer.keys() <= held.seen:
                held.seen |= answer.keys()
                fresh = lay_out(device.device, profile, answer, source_with("modbus", (ANY_ID,) if held.any_id else ()))
                held.layout = merge_layouts(held.layout, fresh)
            steps = held.layout.steps
            failed |= dict.fromkeys(_mute_names(held, profile), MUTE)
            series, values = held.layout.series, ["yes", *with_failures(steps, decode(steps, answer), failed)]
        except asyncio.CancelledError:
            _hang_up(held)  # its answer may still come, and must not be taken for that to the next request
            raise
        except NoAnswer as nothing:
            _disconnect(held)
            series = held.layout.series if held.layout else self._bare_series.of(device, ("uptime", "", "modbus"))
            values = ["no", *[nothing.missing] * (len(series) - 1)]
        return Sweep(device.device, self._clock.boot(), series, tuple(values))

    async def forget(self, device: str) -> None:
        """Implements `Probe.forget`."""
        self._bare_series.forget(device)
        held = self._held.pop(device, None)
        if held is not None:
            _disconnect(held)

    async def close(self) -> None:
        """Implements `Probe.close`."""
        for name in list(self._held):
            await self.forget(name)

    def profiles_of(self, device: str) -> tuple[Profile, ...]:
        """Implements `ProfileProbe.profiles_of`."""
        held = self._held.get(device)
        return (held.profile,) if held and held.profile else ()

    def why_of(self, device: str) -> str:
        """Implements `ProfileProbe.why_of`."""
        held = self._held.get(device)
        return marked("the inventory names it") if held and held.profile else ""

    def habits_of(self, device: str) -> tuple[str, ...]:
        """Implements `HabitProbe.habits_of`."""
        held = self._held.get(device)
        return (sentence(ANY_ID),) if held and held.any_id else ()

    def _held_for(self, device: Device) -> _ModbusDevice:
        held = self._held.get(device.device)
        if held is None or held.device != device:
            if held is not None:
                _disconnect(held)
            wrong = misfit(self._profiles, device.profile, Speaks.MODBUS)
            profile = None if wrong else self._profiles.get(device.profile)
            held = self._held[device.device] = _ModbusDevice(device, profile, wrong)
        return held

    def _renew(self, held: _ModbusDevice, profile: Profile) -> bool:
        """Whether all registers are asked for again. True also where no block is left: without a request we would never
        notice that the device is down."""
        now = self._clock.boot()
        if held.blocks and now < held.renew_at:
            return False
        held.renew_at = now + MODBUS_RENEW_S
        apart = held.alone.union(held.mute)
        held.blocks = [
            *blocks_of(one for one in registers_of(profile) if block_of(one) not in apart),
            *sorted(held.alone),
        ]
        if held.mute:
            held.blocks.append(held.mute.pop(0))
        return True


def _modbus_profile(held: _ModbusDevice) -> Profile:
    if held.profile is None:
        raise NoAnswer(Reason.ABSENT, held.misfit)
    return held.profile


def _mute_names(held: _ModbusDevice, profile: Profile) -> set[str]:
    return {one.name for one in registers_of(profile) if block_of(one) in held.mute} if held.mute else set()


async def _read_registers(held: _ModbusDevice, profile: Profile) -> tuple[dict[str, Raw], dict[str, Missing]]:
    """The registers, and those that could not be read, with the reason. Raises NoAnswer if the device answers nothing."""
    if held.client is None:
        await _connect_modbus(held)
    words: dict[tuple[str, int], int] = {}
    failed: dict[RegisterBlock, NoAnswer] = {}
    good: RegisterBlock | None = None
    for block in list(held.blocks):
        slow = [one for one in failed.values() if _costs_time(one)]
        if len(slow) >= MOST_SILENT:
            failed[block] = slow[-1]
            continue
        try:
            words |= await _fetch(held, block)
        except NoAnswer as nothing:
            failed[block] = nothing
            if nothing.missing.reason is Reason.TIMEOUT:
                await _blame(held, block, good, nothing)
            elif _costs_time(nothing) and good is None:
                raise
        else:
            good = block
    if failed and not words:
        raise next(iter(failed.values()))
    answer = {one.name: value for one in registers_of(profile) if (value := register_value(one, words)) is not None}
    parts = {one.name: why.missing for block, why in failed.items() for one in registers_in(block, profile)}
    return answer, {name: reason for name, reason in parts.items() if name not in answer}


class _NotNow(NoAnswer):
    """The device, or a gateway before it, answers again and again that it cannot answer now."""


def _costs_time(nothing: NoAnswer) -> bool:
    return isinstance(nothing, _NotNow) or nothing.missing.reason is Reason.TIMEOUT


async def _blame(held: _ModbusDevice, block: RegisterBlock, good: RegisterBlock | None, silence: NoAnswer) -> None:
    """A request got no answer. If the device still answers another one, it has too many registers, or one that brings no
    answer: from then on they are asked for one by one, or not at all. Raises the silence if the device is down."""
    good = good or next((one for one in reversed(held.blocks) if one != block), None)
    if good is None:
        raise silence
    _hang_up(held)  # a late answer must not be taken for the next one
    try:
        await _connect_modbus(held)
        await _fetch(held, good)
    except NoAnswer:
        raise silence from None
    parts = smaller_blocks(block, held.profile)
    held.alone.update(parts)
    if not parts:
        held.alone.discard(block)
        held.mute.append(block)
    if block in held.blocks:
        held.blocks.remove(block)
    held.blocks += parts  # at the end: the first request must be one that is answered


def _disconnect(held: _ModbusDevice) -> None:
    """Close the connection to a device that is down: afterwards it may be another one."""
    held.renew_at = 0.0
    held.mute.clear()
    held.alone.clear()
    _hang_up(held)


def _hang_up(held: _ModbusDevice) -> None:
    if held.client is not None:
        held.client.close()
        held.client = None


async def _connect_modbus(held: _ModbusDevice) -> None:
    """Connect. Where answers do not repeat the transaction id, a request is not repeated on the same connection: both
    answers might come, and the second would be taken for that to the next request."""
    device = held.device
    try:
        host, port = device.endpoint(MODBUS_PORT)
    except ValueError as error:
        raise NoAnswer(Reason.UNREACHABLE, str(error)) from None
    held.ids = TransactionIds(any_id=held.any_id)
    client = AsyncModbusTcpClient(
        host, port=port, timeout=device.timeout_s, retries=0 if held.any_id else device.retries, reconnect_delay=0,
        trace_packet=held.ids.trace_packet,
    )  # fmt: skip
    try:
        async with asyncio.timeout(device.timeout_s):
            if await client.connect():
                limit_received(client.ctx)
                held.client = client
                return
    except (OSError, ModbusException):
        pass
    client.close()
    raise NoAnswer(Reason.UNREACHABLE, f"no connection to port {port}: nothing listens there, or the device is down")


async def _fetch(held: _ModbusDevice, block: RegisterBlock) -> dict[tuple[str, int], int]:
    """Read a block. If the device does not have all of it, the block is replaced by smaller ones from then on."""
    reply = await _send_until_ready(held, block)
    if not reply.isError():
        bits = block.table in ("coil", "discrete")
        cells = reply.bits if bits else reply.registers
        if held.any_id and len(cells) != (ceil(block.length / 8) * 8 if bits else block.length):
            raise NoAnswer(Reason.MALFORMED, f"{len(cells)} registers came, {block.length} were asked for")
        return {(block.table, block.address + offset): int(cell) for offset, cell in enumerate(cells[: block.length])}
    code = _exception_code(reply)
    if code not in _NO_SUCH_REGISTER:
        name = _EXCEPTION_NAMES.get(code, "not in the Modbus standard")
        kind = _NotNow if code in _NOT_NOW else NoAnswer
        raise kind(Reason.MALFORMED, f"the device answers with exception {code} ({name})")
    parts = smaller_blocks(block, held.profile)
    held.blocks[held.blocks.index(block) : held.blocks.index(block) + 1] = parts
    found: dict[tuple[str, int], int] = {}
    for part in list(parts):
        found |= await _fetch(held, part)
    return found


async def _send_until_ready(held: _ModbusDevice, block: RegisterBlock) -> Any:
    """The reply to a request; the last one where the device goes on answering that it is busy."""
    tries = max(BUSY_TRIES, (held.device.retries or 0) + 1)
    for _ in range(tries - 1):
        reply = await _send_request(held, block)
        if not reply.isError() or _exception_code(reply) not in _NOT_NOW:
            return reply
        await asyncio.sleep(BUSY_PAUSE_S)
    return await _send_request(held, block)


def _exception_code(reply: Any) -> int:
    return int(getattr(reply, "exception_code", 0))


async def _send_request(held: _ModbusDevice, block: RegisterBlock) -> Any:
    """The reply to a request. If none came, but one with a foreign transaction id did, the request is sent once more on a
    new connection, where no earlier request can have an answer: an id that is not right there is the device's habit."""
    try:
        return await _exchange(held, block)
    except NoAnswer as nothing:
        if nothing.missing.reason is not Reason.TIMEOUT or not (held.any_id or held.ids.foreign):
            raise
    _hang_up(held)
    held.any_id = True
    try:
        await _connect_modbus(held)
        reply = await _exchange(held, block)
    except NoAnswer:
        held.any_id = False
        raise
    held.any_id = not held.ids.repeated
    return reply


async def _exchange(held: _ModbusDevice, block: RegisterBlock) -> Any:
    options = held.device.modbus or Modbus()
    client = held.client
    read = {
        "holding": client.read_holding_registers,
        "input": client.read_input_registers,
        "coil": client.read_coils,
        "discrete": client.read_discrete_inputs,
    }[block.table]
    try:
        return await read(block.address, count=block.length, device_id=options.unit)
    except (ModbusException, OSError, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and (task := asyncio.current_task()) and task.cancelling():
            raise
        raise NoAnswer(Reason.TIMEOUT, "no answer to a request; unit wrong, or device busy") from None
    except (struct.error, IndexError, ValueError) as error:
        raise NoAnswer(Reason.MALFORMED, f"the answer breaks the rules of Modbus ({type(error).__name__})") from None
