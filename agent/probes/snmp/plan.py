"""What to read from one device: its profile, applied to the tables that the device has."""

import asyncio
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, islice
from sys import intern
from typing import Protocol
from weakref import WeakValueDictionary

from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.snmp.dialect.requests import get_objects, walk_table
from watchkeeper.agent.probes.snmp.engine import SnmpSession, WalkRows
from watchkeeper.model.device import Device, SnmpVersion
from watchkeeper.model.reading import Missing, Reason, Series
from watchkeeper.profiles import Profile
from watchkeeper.profiles.decode import DecodeStep, Raw, decode, decode_step, guard_of, raw_text
from watchkeeper.profiles.scalars import Ref, oid, raw_unit
from watchkeeper.profiles.shape import ProfileReading
from watchkeeper.profiles.steps import all_hold, best_step, condition_objects, ref_text

UPTIME_READING = ProfileReading(
    quantity="uptime",
    oid=oid("1.3.6.1.2.1.1.3.0"),
    raw_unit=raw_unit("0.01 s"),
    source="SNMPv2-MIB::sysUpTime",
)
UPTIME_KEYS = frozenset({("uptime", "")})
OIDS_PER_REQUEST = 32  # request and answer stay below the 1,472 bytes of one Ethernet frame
COLUMN_GRACE_S = 540.0  # how long a vanished column is kept, as Missing
LONGEST_INDEX, LONGEST_LABEL, LONGEST_SOURCE = 250, 120, 200  # a word of the wire has at most 200 characters
LONGEST_CELL = 255  # of a text in a table (RFC 2579, DisplayString)
MAX_READINGS = 4096  # more of them are a fault of the device
MAX_CELLS_BYTES = 32_000_000  # of memory for the tables of one device while its columns are searched
_CELL_BYTES = 150  # of memory, beside the text itself
ROWS_PER_TURN = 200  # about 10 ms of CPU; then the event loop serves other devices

ColumnKey = tuple[str, str]
PlannedColumns = dict[ColumnKey, tuple[Series, DecodeStep]]
"""The columns of a device, by (quantity, instance)."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class RequestLayout:
    """Shared by all devices with the same columns: their decoding steps, and the requests for their objects. `size` is
    the number of objects; `conditional` are the steps with a condition."""

    steps: tuple[DecodeStep, ...]
    requests: tuple[tuple[str, ...], ...]
    size: int
    conditional: tuple[DecodeStep, ...]


_layouts: WeakValueDictionary[tuple[tuple[str, ...], ...], RequestLayout] = WeakValueDictionary()
"""The layouts in use, by their requests: a thousand equal devices share one."""


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """The columns of a device; the first series is `device.answering`, which has no step. `lost` are the columns that
    have vanished from the device, with the time (boot clock) when that was noticed. `with_value` is how many readings
    gave a value when the plan was made; the uptime is not counted."""

    series: tuple[Series, ...]
    layout: RequestLayout
    lost: Mapping[ColumnKey, float] = field(default_factory=dict)
    with_value: int = 0

    @property
    def readings(self) -> int:
        """How many readings the device answers for, without the uptime."""
        keys = {(series.quantity, series.instance) for series in self.series[1:]}
        return len(keys - self.lost.keys() - UPTIME_KEYS)


@dataclass(slots=True)
class _Room:
    """How much of its tables may still be kept of a device."""

    left_bytes: int = MAX_CELLS_BYTES


class ObjectReader(Protocol):
    """Where the columns of a profile are searched: a device, or those of its objects that are known already."""

    @property
    def device(self) -> Device:
        """The device."""

    @property
    def unreadable(self) -> dict[str, Missing]:
        """Collects the objects and columns that cannot be read, and why."""

    async def get(self, oids: Iterable[str]) -> dict[str, Raw]:
        """Get any number of objects."""

    async def cells(self, column: str) -> dict[str, Raw]:
        """Return a table's column, in order: row index and value."""


@dataclass(frozen=True, slots=True)
class DeviceReader:
    """Reads one device by its session. `unreadable` collects the objects and columns that cannot be read, and why; `heard`
    is set when the device answers."""

    session: SnmpSession
    device: Device
    version: SnmpVersion
    unreadable: dict[str, Missing] = field(default_factory=dict)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    room: _Room = field(default_factory=_Room)

    async def get(self, oids: Iterable[str]) -> dict[str, Raw]:
        """Get any number of objects."""
        answer: dict[str, Raw] = {}
        for chunk in split_requests(oids):
            reply = await get_objects(self.session, chunk, self.version, self.device.retries)
            answer |= reply.answer
            self.unreadable.update(reply.unreadable)
        if answer:
            self.heard.set()
        return answer

    async def cells(self, column: str) -> dict[str, Raw]:
        """Return a table's column, in order: row index and value. One column without an answer is accepted; if a second
        one gets no answer either, the device counts as gone."""
        try:
            found = await walk_table(self.session, column, self.device.retries)
        except NoAnswer as nothing:
            if nothing.missing.reason is not Reason.TIMEOUT:
                raise
            found = WalkRows()
            found.cut = nothing.missing
        if found.cut:
            silent = found.cut.reason is Reason.TIMEOUT
            if silent and any(missing.reason is Reason.TIMEOUT for missing in self.unreadable.values()):
                raise NoAnswer(found.cut.reason, found.cut.detail)
            self.unreadable[column] = found.cut
        cells = {name[len(column) + 1 :]: _cut_text(value) for name, value in found}
        cells = {index: value for index, value in cells.items() if len(index) <= LONGEST_INDEX}
        self.room.left_bytes -= sum(_memory_bytes(index, value) for index, value in cells.items())
        if self.room.left_bytes < 0:
            self.unreadable[column] = Missing(
                Reason.MALFORMED, f"the device's tables have more than {MAX_CELLS_BYTES // 1_000_000} MB"
            )
            return {}
        return cells

    def failure(self) -> NoAnswer:
        """The failure to raise if nothing could be read."""
        missing = next(iter(self.unreadable.values()))
        return NoAnswer(missing.reason, missing.detail)

    async def texts(self, oids: Sequence[str]) -> dict[str, str]:
        """The text of each object, or of the first one below it. Objects that do not exist are left out."""
        answers = {name: raw_text(value) for name, value in (await self.get(oids)).items()}
        for name in oids:
            if name not in answers and not name.endswith(".0"):
                for _, value in await walk_table(self.session, name, self.device.retries, 1):
                    answers[name] = raw_text(value)
        return answers


def _cut_text(value: Raw) -> Raw:
    return value[:LONGEST_CELL] if isinstance(value, bytes | str) else value


def _memory_bytes(index: str, value: Raw) -> int:
    return _CELL_BYTES + len(index) + (len(value) if isinstance(value, bytes | str) else 0)


def split_requests(oids: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Split the objects into requests. Each object is asked for once."""
    once = tuple(dict.fromkeys(oids))
    return tuple(once[start : start + OIDS_PER_REQUEST] for start in range(0, len(once), OIDS_PER_REQUEST))


def bare_plan(device: Device) -> SweepPlan:
    """The plan for a device that has never answered."""
    uptime = decode_step(UPTIME_READING, str(UPTIME_READING.oid))
    return _make_plan(
        device,
        {("uptime", ""): (_make_series(device, UPTIME_READING, "", "", uptime.oid), uptime)},
        {("uptime", ""): -math.inf},
    )


async def replan(
    reader: DeviceReader, profile: Profile | None, before: SweepPlan, now: float, standards: Sequence[Profile] = ()
) -> SweepPlan:
    """Find the columns that the device has now (boot time `now`); `standards` are read for quantities of which the
    profile gives no value. Columns that have vanished are kept as Missing for COLUMN_GRACE_S, so a restart of the
    management card withdraws no incident. Raises NoAnswer."""
    profiles = [one for one in (profile, *standards) if one]
    first, *others = [layer for one in profiles for layer in await _layers(reader, one)] or [()]
    layers = [(UPTIME_READING, *first), *others]  # the uptime in one request with others
    planned = frozenset((series.quantity, series.instance) for series in before.series[1:])
    found, valued = await find_layers(reader, layers, planned)
    if not found and reader.unreadable:
        raise reader.failure()
    kept: PlannedColumns = {}
    lost: dict[ColumnKey, float] = {}
    for series, one in zip(before.series[1:], before.layout.steps, strict=True):
        key = (series.quantity, series.instance)
        if key in found:
            kept[key] = found[key]
        elif len(found) + len(lost) < MAX_READINGS and now - before.lost.get(key, now) < COLUMN_GRACE_S:
            kept[key] = (series, one)
            lost[key] = before.lost.get(key, now)
    plan = replace(_make_plan(reader.device, kept | found, lost), with_value=len(valued - UPTIME_KEYS))
    return replace(plan, series=before.series) if plan.series == before.series else plan


async def find_layers(
    reader: ObjectReader, layers: Iterable[Sequence[ProfileReading]], planned: Collection[ColumnKey] = ()
) -> tuple[PlannedColumns, set[ColumnKey]]:
    """The columns that the device has, and those of them that give a value. A layer is read for the quantities of which
    no layer before it gives a value; a column that was `planned` and is still answered counts as one that does, so
    that a value missing for a while does not change the columns."""
    found: PlannedColumns = {}
    valued: set[ColumnKey] = set()
    settled: set[str] = set()
    for layer in layers:
        readings = [one for one in layer if one.quantity not in settled]
        columns, answer = await _find_columns(reader, readings) if readings else ({}, {})
        values = zip(columns, decode((one for _, one in columns.values()), answer), strict=True)
        good = {key for key, value in values if not isinstance(value, Missing)}
        better = {quantity for quantity, _ in good}
        found = {key: column for key, column in found.items() if key[0] not in better}
        known = {quantity for quantity, _ in found}
        more = ((key, column) for key, column in columns.items() if key[0] not in known)
        found |= dict(islice(more, MAX_READINGS - len(found)))
        valued |= good
        settled |= better | {key[0] for key in columns if key in planned}
    return found, valued & found.keys()


def _make_plan(device: Device, columns: PlannedColumns, lost: Mapping[ColumnKey, float]) -> SweepPlan:
    answering = Series(device.device, "device.answering", source="snmp")
    series = (answering, *(series for series, _ in columns.values()))
    return SweepPlan(series, _shared_layout(tuple(one for _, one in columns.values())), lost)


def _shared_layout(steps: tuple[DecodeStep, ...]) -> RequestLayout:
    requests = split_requests(name for one in steps for name in one.oids)
    known = _layouts.get(requests)
    if known is not None and known.steps == steps:
        return known
    conditional = tuple(one for one in steps if one.special.guards)
    layout = _layouts[requests] = RequestLayout(steps, requests, sum(map(len, requests)), conditional)
    return layout


async def _layers(reader: DeviceReader, profile: Profile) -> list[tuple[ProfileReading, ...]]:
    """The profile's readings and the hidden ones, changed by those quirks that apply to this device."""
    layers = [profile.readings, *profile.hidden]
    if profile.quirks:
        answer = await reader.get(name for quirk in profile.quirks for name in guard_of(quirk.when, "").oids)
        for quirk in profile.quirks:
            if all_hold((quirk.when,), "", answer):
                replaced = {reading.key for reading in quirk.readings}
                layers = [
                    tuple(one for one in layer if one.key not in replaced and one.quantity not in quirk.without)
                    for layer in layers
                ]
                layers[0] += quirk.readings
    return layers


async def _find_columns(
    reader: ObjectReader, readings: Sequence[ProfileReading]
) -> tuple[PlannedColumns, Mapping[str, Raw]]:
    """The columns of these readings, and the answers that they were found in."""
    answer: dict[str, Raw] = {}
    cells: dict[str, dict[str, Raw]] = {}
    for column in dict.fromkeys(_table_columns(readings)):
        cells[column] = await reader.cells(column)
        answer |= {f"{column}.{index}": value for index, value in cells[column].items()}
    answer |= await reader.get(_single_objects(readings))
    rows: list[tuple[ProfileReading, str]] = []
    for reading in readings:
        indices = _row_indices(reading, cells)
        rows += ((reading, one) for one in indices if all_hold(reading.where, one, answer))
        await asyncio.sleep(0)  # a table of thousands of rows must not delay other devices
    answer |= await reader.get(_condition_objects(rows, answer))
    columns: PlannedColumns = {}
    for number, (reading, index) in enumerate(rows):
        if number % ROWS_PER_TURN == 0:
            await asyncio.sleep(0)
        one = best_step(reading.ways, reading.unit, index, answer)
        if one is None:
            continue
        if len(columns) >= MAX_READINGS:
            reader.unreadable[one.oid] = Missing(Reason.MALFORMED, f"the device has more than {MAX_READINGS} readings")
            break
        instance, label = _instance_and_label(reading, index, answer)
        key = (reading.quantity, instance[:LONGEST_LABEL])
        if key in columns and reading.each and reading.each.once:
            continue
        key = _unique_key(key, index, columns)
        columns[key] = (_make_series(reader.device, reading, key[1], label, one.source), one)
    return columns, answer


def _unique_key(key: ColumnKey, index: str, columns: PlannedColumns) -> ColumnKey:
    """The key, with the row's index and a number added if another row has the same one."""
    quantity, instance = key
    end = tail = f" {index}".rstrip()[-LONGEST_LABEL // 2 :]
    for number in count(2):
        if key not in columns:
            break
        key = quantity, instance[: LONGEST_LABEL - len(end)] + end
        end = f"{tail} {number}"
    return key


def _table_columns(readings: Iterable[ProfileReading]) -> Iterator[str]:
    """The table columns to walk: those with values, and those for instances, labels, scales and conditions."""
    for reading in readings:
        if reading.each:
            yield from (str(way.oid) for way in reading.ways if way.oid)
            yield from (one.oid for one in reading.refs if one.oid and one.arcs != 0)


def _single_objects(readings: Iterable[ProfileReading]) -> Iterator[str]:
    """The objects outside tables."""
    for reading in readings:
        if not reading.each:
            yield from (str(way.oid) for way in reading.ways if way.oid)
        yield from (one.oid for one in reading.refs if not reading.each or one.arcs == 0)


def _condition_objects(rows: Iterable[tuple[ProfileReading, str]], answer: Mapping[str, Raw]) -> Iterator[str]:
    """The objects of conditions that are not read yet."""
    for reading, index in rows:
        yield from (name for name in condition_objects(reading.ways, index) if name not in answer)


def _row_indices(reading: ProfileReading, cells: Mapping[str, Mapping[str, Raw]]) -> Iterable[str]:
    """The indices of the rows that have the quantity; one empty index outside tables."""
    if reading.each is None:
        return ("",)
    return dict.fromkeys(index for way in reading.ways for index in cells[way.ref.oid])


def _make_series(device: Device, reading: ProfileReading, instance: str, label: str, source: str) -> Series:
    """The series, with interned strings: they are the same on a thousand devices."""
    words = instance, label[:LONGEST_LABEL], source[:LONGEST_SOURCE]
    return Series(device.device, reading.quantity, *map(intern, words))


def _instance_and_label(reading: ProfileReading, index: str, answer: Mapping[str, Raw]) -> tuple[str, str]:
    def text_of_ref(ref: Ref) -> str:
        return ref_text(ref, index, answer) or ""

    if reading.each:
        return reading.each.instance.fill(text_of_ref), reading.each.label.fill(text_of_ref)
    return reading.instance, reading.label.fill(text_of_ref)
