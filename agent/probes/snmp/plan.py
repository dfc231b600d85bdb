"""What to ask one device for: its profile laid over the tables it really has."""

import asyncio
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import count
from sys import intern
from weakref import WeakValueDictionary

from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.snmp.engine import SnmpSession, WalkRows, get_objects, walk_table
from watchkeeper.model.device import Device, SnmpVersion
from watchkeeper.model.reading import Missing, Reason, Series
from watchkeeper.profiles import Profile, Profiles
from watchkeeper.profiles.decode import NO_SCALE, DecodeStep, Raw, decode, decode_step, raw_text
from watchkeeper.profiles.scalars import Ref, oid, raw_unit
from watchkeeper.profiles.shape import ProfileReading, Way

SYS_DESCR, SYS_OBJECT_ID = "1.3.6.1.2.1.1.1.0", "1.3.6.1.2.1.1.2.0"
UPTIME_READING = ProfileReading(
    quantity="uptime",
    oid=oid("1.3.6.1.2.1.1.3.0"),
    raw_unit=raw_unit("0.01 s"),
    source="SNMPv2-MIB::sysUpTime",
)
OIDS_PER_REQUEST = 32  # request and answer stay below the 1,472 bytes that fit one frame
COLUMN_GRACE_S = 540.0  # how long a vanished column stays, as Missing
LONGEST_INDEX, LONGEST_LABEL, LONGEST_SOURCE = 250, 120, 200  # the wire takes 200 characters a word
LONGEST_CELL = 255  # what a text in a table may have (RFC 2579, DisplayString)
MAX_READINGS = 4096  # a device with more is one gone wrong
ROWS_PER_TURN = 200  # about 10 ms of CPU, then others get theirs

ColumnKey = tuple[str, str]
PlannedColumns = dict[ColumnKey, tuple[Series, DecodeStep]]
"""What a device has, by (quantity, instance)."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class RequestLayout:
    """What devices of one kind have in common: the steps of their columns, and the requests that fill them. `size` is how many
    objects that is, and `guarded` are the steps with a condition."""

    steps: tuple[DecodeStep, ...]
    chunks: tuple[tuple[str, ...], ...]
    size: int
    guarded: tuple[DecodeStep, ...]


_layouts: WeakValueDictionary[tuple[tuple[str, ...], ...], RequestLayout] = WeakValueDictionary()
"""Those in use, by their requests: a thousand equal devices hold one."""


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """The columns of a device; the first series is `device.answering` and has no step. `lost` are columns of an earlier plan
    that the device no longer shows, and when (boot clock) that was first seen."""

    series: tuple[Series, ...]
    layout: RequestLayout
    lost: Mapping[ColumnKey, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeviceReader:
    """A device and the session to it. `spoilt` gathers what cannot be read of it, object or column, and why."""

    session: SnmpSession
    device: Device
    version: SnmpVersion
    spoilt: dict[str, Missing] = field(default_factory=dict)

    async def get(self, oids: Iterable[str]) -> dict[str, Raw]:
        """Ask for any number of objects."""
        answer: dict[str, Raw] = {}
        for chunk in chunked(oids):
            told = await get_objects(self.session, chunk, self.version, self.device.retries)
            answer |= told.answer
            self.spoilt.update(told.spoilt)
        return answer

    async def cells(self, column: str) -> dict[str, Raw]:
        """Return a table's column, in order: the row's index and what stands there. A single column may be met with silence;
        at the second one the device is taken for gone."""
        try:
            found = await walk_table(self.session, column, self.device.retries)
        except NoAnswer as nothing:
            if nothing.missing.reason is not Reason.TIMEOUT:
                raise
            found = WalkRows()
            found.cut = nothing.missing
        if found.cut:
            silent = found.cut.reason is Reason.TIMEOUT
            if silent and any(missing.reason is Reason.TIMEOUT for missing in self.spoilt.values()):
                raise NoAnswer(found.cut.reason, found.cut.detail)
            self.spoilt[column] = found.cut
        cells = {name[len(column) + 1 :]: _short(value) for name, value in found}
        return {index: value for index, value in cells.items() if len(index) <= LONGEST_INDEX}

    def nothing(self) -> NoAnswer:
        """What to raise where all is spoilt."""
        missing = next(iter(self.spoilt.values()))
        return NoAnswer(missing.reason, missing.detail)

    async def says(self, oids: Sequence[str]) -> dict[str, str]:
        """What stands at each object, or first below it; without those where nothing does."""
        answers = {name: raw_text(value) for name, value in (await self.get(oids)).items()}
        for name in oids:
            if name not in answers and not name.endswith(".0"):
                for _, value in await walk_table(self.session, name, self.device.retries, 1):
                    answers[name] = raw_text(value)
        return answers


def _short(value: Raw) -> Raw:
    return value[:LONGEST_CELL] if isinstance(value, bytes | str) else value


def chunked(oids: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Split into requests, each object asked once."""
    once = tuple(dict.fromkeys(oids))
    return tuple(once[start : start + OIDS_PER_REQUEST] for start in range(0, len(once), OIDS_PER_REQUEST))


def bare_plan(device: Device) -> SweepPlan:
    """The plan for a device that has not been heard of yet."""
    uptime = decode_step(UPTIME_READING, str(UPTIME_READING.oid))
    return _plan(
        device,
        {("uptime", ""): (_series(device, UPTIME_READING, "", "", uptime.oid), uptime)},
        {("uptime", ""): -math.inf},
    )


Recognised = tuple[Profile | None, str]
"""A device's profile, and words that describe the device for a log."""


async def recognise(reach: DeviceReader, profiles: Profiles, known: Recognised = (None, "")) -> Recognised:
    """Find the device's profile. A device that says the same of itself as when it was `known` is asked nothing more: of makers
    that answer with a generic sysObjectID there are many questions. Raises NoAnswer."""
    named = reach.device.profile
    if named != "auto":
        return profiles.get(named), f"the name `{named}`"
    system = await reach.get((SYS_DESCR, SYS_OBJECT_ID))
    if not system and reach.spoilt:
        raise reach.nothing()
    sys_object_id, sys_descr = raw_text(system.get(SYS_OBJECT_ID, "")), raw_text(system.get(SYS_DESCR, ""))
    described = f"sysObjectID `{sys_object_id[:LONGEST_LABEL]}`, sysDescr `{sys_descr[:LONGEST_LABEL]}`"
    if known[0] is not None and known[1] == described:
        return known
    answers = await reach.says(profiles.questions(sys_object_id, sys_descr))
    return profiles.pick(sys_object_id, sys_descr, answers), described


async def replan(reach: DeviceReader, profile: Profile | None, before: SweepPlan, now: float) -> SweepPlan:
    """Look what the device has now (boot time `now`). What it had before and does not show stays as Missing for a while,
    so that a restarting management card withdraws nothing. Raises NoAnswer."""
    found = await _columns(reach, (UPTIME_READING, *await _readings(reach, profile)) if profile else (UPTIME_READING,))
    if not found and reach.spoilt:
        raise reach.nothing()
    kept: PlannedColumns = {}
    lost: dict[ColumnKey, float] = {}
    for series, one in zip(before.series[1:], before.layout.steps, strict=True):
        key = (series.quantity, series.instance)
        if key in found:
            kept[key] = found[key]
        elif now - before.lost.get(key, now) < COLUMN_GRACE_S:
            kept[key] = (series, one)
            lost[key] = before.lost.get(key, now)
    plan = _plan(reach.device, kept | found, lost)
    return replace(plan, series=before.series) if plan.series == before.series else plan


def _plan(device: Device, columns: PlannedColumns, lost: Mapping[ColumnKey, float]) -> SweepPlan:
    answering = Series(device.device, "device.answering", source="snmp")
    series = (answering, *(series for series, _ in columns.values()))
    return SweepPlan(series, _layout(tuple(one for _, one in columns.values())), lost)


def _layout(steps: tuple[DecodeStep, ...]) -> RequestLayout:
    chunks = chunked(name for one in steps for name in one.oids)
    known = _layouts.get(chunks)
    if known is not None and known.steps == steps:
        return known
    guarded = tuple(one for one in steps if one.special.guards)
    layout = _layouts[chunks] = RequestLayout(steps, chunks, sum(map(len, chunks)), guarded)
    return layout


async def _readings(reach: DeviceReader, profile: Profile) -> tuple[ProfileReading, ...]:
    """The profile's readings, as the quirks of this very device leave them."""
    readings = profile.readings
    if profile.quirks:
        answer = await reach.get(quirk.when.oid.oid for quirk in profile.quirks)
        for quirk in profile.quirks:
            there = answer.get(quirk.when.oid.oid)
            if quirk.when.holds(None if there is None else raw_text(there)):
                instead = {wanted.place for wanted in quirk.readings}
                stay = (one for one in readings if one.place not in instead and one.quantity not in quirk.without)
                readings = (*stay, *quirk.readings)
    return readings


async def _columns(reach: DeviceReader, readings: Sequence[ProfileReading]) -> PlannedColumns:
    answer: dict[str, Raw] = {}
    cells: dict[str, dict[str, Raw]] = {}
    for column in dict.fromkeys(_walked(readings)):
        cells[column] = await reach.cells(column)
        answer |= {f"{column}.{index}": value for index, value in cells[column].items()}
    answer |= await reach.get(_asked(readings))
    places: list[tuple[ProfileReading, str]] = []
    for wanted in readings:
        there = _indices(wanted, cells)
        places += ((wanted, one) for one in there if all(it.holds(_text(it.oid, one, answer)) for it in wanted.where))
        await asyncio.sleep(0)  # of a table of thousands of rows, the other devices are not to notice
    answer |= await reach.get(_guards(places, answer))
    columns: PlannedColumns = {}
    for number, (wanted, index) in enumerate(places):
        if number % ROWS_PER_TURN == 0:
            await asyncio.sleep(0)
        one = _best_step(wanted, index, answer)
        if one is None:
            continue
        if len(columns) >= MAX_READINGS:
            reach.spoilt[one.oid] = Missing(Reason.MALFORMED, f"the device has more than {MAX_READINGS} readings")
            break
        instance, label = _called(wanted, index, answer)
        key = _apart((wanted.quantity, instance[:LONGEST_LABEL]), index, columns)
        columns[key] = (_series(reach.device, wanted, key[1], label, one.oid), one)
    return columns


def _apart(key: ColumnKey, index: str, columns: PlannedColumns) -> ColumnKey:
    """The key, made different where another row is called the same."""
    quantity, instance = key
    end = tail = f" {index}".rstrip()[-LONGEST_LABEL // 2 :]
    for number in count(2):
        if key not in columns:
            break
        key = quantity, instance[: LONGEST_LABEL - len(end)] + end
        end = f"{tail} {number}"
    return key


def _walked(readings: Iterable[ProfileReading]) -> Iterator[str]:
    """The columns of tables: values, and what the rows are told apart, scaled and called by."""
    for wanted in readings:
        if wanted.each:
            yield from (str(way.oid) for way in wanted.ways)
            yield from (one.oid for one in wanted.refs if one.oid and one.arcs != 0)


def _asked(readings: Iterable[ProfileReading]) -> Iterator[str]:
    """The objects outside tables."""
    for wanted in readings:
        if not wanted.each:
            yield from (str(way.oid) for way in wanted.ways)
        yield from (one.oid for one in wanted.refs if not wanted.each or one.arcs == 0)


def _guards(places: Iterable[tuple[ProfileReading, str]], answer: Mapping[str, Raw]) -> Iterator[str]:
    """What the conditions of every poll stand on, where that is not known yet."""
    for wanted, index in places:
        for way in wanted.ways:
            names = (one.oid.name(index) for one in way.only_if)
            yield from (name for name in names if name not in answer)


def _indices(wanted: ProfileReading, cells: Mapping[str, Mapping[str, Raw]]) -> Iterable[str]:
    """The rows that have the quantity; one without an index where it does not stand in a table."""
    if wanted.each is None:
        return ("",)
    return dict.fromkeys(index for way in wanted.ways for index in cells[str(way.oid)])


def _text(ref: Ref, index: str, answer: Mapping[str, Raw]) -> str | None:
    """What stands where the reference points, or None."""
    if not ref.oid:
        return ref.row(index)
    there = answer.get(ref.name(index))
    return None if there is None else raw_text(there)


def _series(device: Device, wanted: ProfileReading, instance: str, label: str, source: str) -> Series:
    """Its words are the same on a thousand devices, and so held once."""
    words = instance, label[:LONGEST_LABEL], source[:LONGEST_SOURCE]
    return Series(device.device, wanted.quantity, *map(intern, words))


def _object(way: Way, index: str) -> str:
    return intern(f"{way.oid}.{index}") if index else str(way.oid)


def _best_step(wanted: ProfileReading, index: str, answer: Mapping[str, Raw]) -> DecodeStep | None:
    """The first way that gives a value, else the first that answers at all, else None: the device has no such thing."""
    there = [
        decode_step(way, _object(way, index), index, _factor(way, index, answer))
        for way in wanted.ways
        if _object(way, index) in answer
    ]
    values = decode(there, answer)
    good = [one for one, value in zip(there, values, strict=True) if not isinstance(value, Missing)]
    return next(iter(good or there), None)


def _factor(way: Way, index: str, answer: Mapping[str, Raw]) -> Fraction:
    """What the device's own scales make of one step."""
    factor = Fraction(1)
    for one in way.scale:
        factor *= one.by.get(_text(one.oid, index, answer) or "", NO_SCALE)
    return factor


def _called(wanted: ProfileReading, index: str, answer: Mapping[str, Raw]) -> tuple[str, str]:
    """Instance and label."""

    def say(ref: Ref) -> str:
        return _text(ref, index, answer) or ""

    if wanted.each:
        return wanted.each.instance.fill(say), wanted.each.label.fill(say)
    return wanted.instance, wanted.label.fill(say)
