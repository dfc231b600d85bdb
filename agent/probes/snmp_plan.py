"""What to ask one device for: its profile laid over the tables it really has."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent.probes.snmp_engine import Session, ask, table
from agent.profiles import Profile, Profiles
from agent.profiles.decode import Raw, Step, decode, said, step
from agent.profiles.scalars import PLACEHOLDER, Template, oid, raw_unit
from agent.profiles.shape import Wanted, Way
from model.device import Device, SnmpVersion
from model.reading import Missing, Series

SYS_DESCR, SYS_OBJECT_ID = "1.3.6.1.2.1.1.1.0", "1.3.6.1.2.1.1.2.0"
UPTIME = Wanted(
    quantity="uptime",
    oid=oid("1.3.6.1.2.1.1.3.0"),
    raw_unit=raw_unit("0.01 s"),
    source="SNMPv2-MIB::sysUpTime",
)
OIDS_AT_ONCE = 32  # request and answer stay below the 1,472 bytes that fit one frame
PATIENCE_S = 540.0  # how long a vanished column stays, as Missing
LONGEST_INDEX, LONGEST_LABEL = 64, 120  # the wire takes 200 characters a word

Key = tuple[str, str]
Columns = dict[Key, tuple[Series, Step]]
"""What a device has, by (quantity, instance)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The columns of a device and the requests that fill them; the first series is `device.answering` and has no step.
    `lost` are columns of an earlier plan that the device no longer shows, and when (boot clock) that was first seen."""

    series: tuple[Series, ...]
    steps: tuple[Step, ...] = ()
    chunks: tuple[tuple[str, ...], ...] = ()
    lost: Mapping[Key, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reach:
    """A device and the session to it."""

    session: Session
    device: Device
    version: SnmpVersion

    async def get(self, oids: Sequence[str]) -> dict[str, Raw]:
        """Ask for any number of objects."""
        answer: dict[str, Raw] = {}
        for chunk in chunked(oids):
            answer |= await ask(self.session, chunk, self.version, self.device.retries)
        return answer

    async def cells(self, column: str) -> dict[str, Raw]:
        """Return a table's column, in order: the row's index and what stands there."""
        found = await table(self.session, column, self.device.retries)
        cells = {name[len(column) + 1 :]: value for name, value in found}
        return {index: value for index, value in cells.items() if len(index) <= LONGEST_INDEX}


def chunked(oids: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Split into requests, each object asked once."""
    once = tuple(dict.fromkeys(oids))
    return tuple(once[start : start + OIDS_AT_ONCE] for start in range(0, len(once), OIDS_AT_ONCE))


def bare_plan(device: Device) -> Plan:
    """The plan for a device that has not been heard of yet."""
    uptime = step(UPTIME, str(UPTIME.oid))
    return _plan(
        device, {("uptime", ""): (_series(device, UPTIME, "", "", uptime.oid), uptime)}, {("uptime", ""): -math.inf}
    )


async def recognise(reach: Reach, profiles: Profiles) -> tuple[Profile | None, str]:
    """Find the device's profile, and words that describe it for a log. Raises NoAnswer."""
    named = reach.device.profile
    if named != "auto":
        return profiles.get(named), f"the name `{named}`"
    system = await reach.get((SYS_DESCR, SYS_OBJECT_ID))
    answers = await reach.get(profiles.questions) if profiles.questions else {}
    sys_object_id, sys_descr = said(system.get(SYS_OBJECT_ID, "")), said(system.get(SYS_DESCR, ""))
    return profiles.pick(sys_object_id, sys_descr, answers), f"sysObjectID `{sys_object_id}`, sysDescr `{sys_descr}`"


async def replan(reach: Reach, profile: Profile | None, before: Plan, now: float) -> Plan:
    """Look what the device has now (boot time `now`). What it had before and does not show stays as Missing for a while,
    so that a restarting management card withdraws nothing. Raises NoAnswer."""
    found = await _columns(reach, (UPTIME, *profile.readings) if profile else (UPTIME,))
    kept: Columns = {}
    lost: dict[Key, float] = {}
    for series, one in zip(before.series[1:], before.steps, strict=True):
        key = (series.quantity, series.instance)
        if key in found:
            kept[key] = found[key]
        elif now - before.lost.get(key, now) < PATIENCE_S:
            kept[key] = (series, one)
            lost[key] = before.lost.get(key, now)
    plan = _plan(reach.device, kept | found, lost)
    return replace(plan, series=before.series) if plan.series == before.series else plan


def _plan(device: Device, columns: Columns, lost: Mapping[Key, float]) -> Plan:
    answering = Series(device.device, "device.answering", source="snmp")
    steps = tuple(one for _, one in columns.values())
    series = (answering, *(series for series, _ in columns.values()))
    return Plan(series, steps, chunked(one.oid for one in steps), lost)


async def _columns(reach: Reach, readings: Sequence[Wanted]) -> Columns:
    in_tables = dict.fromkeys(str(way.oid) for wanted in readings if wanted.each for way in wanted.ways)
    cells = {column: await reach.cells(column) for column in in_tables}
    places = [(wanted, index) for wanted in readings for index in _indices(wanted, cells)]
    answer = await reach.get([name for wanted, index in places for name in _still_to_ask(wanted, index)])
    answer |= {f"{column}.{index}": value for column, found in cells.items() for index, value in found.items()}
    columns: Columns = {}
    for wanted, index in places:
        way = _best_way(wanted, index, answer)
        if way is None:
            continue
        one = step(way, _object(way, index))
        instance, label = wanted.instance, wanted.label
        if wanted.each:
            instance, label = (_written(text, index, answer) for text in (wanted.each.instance, wanted.each.label))
        if (wanted.quantity, instance) in columns:
            instance = f"{instance} {index}"  # two rows called the same
        columns[wanted.quantity, instance] = (_series(reach.device, wanted, instance, label, one.oid), one)
    return columns


def _indices(wanted: Wanted, cells: Mapping[str, Mapping[str, Raw]]) -> Iterable[str]:
    """The rows that have the quantity; one without an index where it does not stand in a table."""
    if wanted.each is None:
        return ("",)
    return dict.fromkeys(index for way in wanted.ways for index in cells[str(way.oid)])


def _still_to_ask(wanted: Wanted, index: str) -> list[str]:
    """What the walks have not shown: objects outside tables, and what rows are called."""
    if wanted.each is None:
        return [str(way.oid) for way in wanted.ways]
    columns = PLACEHOLDER.findall(wanted.each.instance + wanted.each.label)
    return [f"{column}.{index}" for column in columns if column != "index"]


def _series(device: Device, wanted: Wanted, instance: str, label: str, source: str) -> Series:
    return Series(device.device, wanted.quantity, instance[:LONGEST_LABEL], label[:LONGEST_LABEL], source)


def _object(way: Way, index: str) -> str:
    return f"{way.oid}.{index}" if index else str(way.oid)


def _best_way(wanted: Wanted, index: str, answer: Mapping[str, Raw]) -> Way | None:
    """The first way that gives a value, else the first that answers at all, else None: the device has no such thing."""
    there = [way for way in wanted.ways if _object(way, index) in answer]
    values = decode([step(way, _object(way, index)) for way in there], answer)
    good = [way for way, value in zip(there, values, strict=True) if not isinstance(value, Missing)]
    return next(iter(good or there), None)


def _written(template: Template, index: str, answer: Mapping[str, Raw]) -> str:
    """Fill in the placeholders."""
    return PLACEHOLDER.sub(
        lambda found: index if found[1] == "index" else said(answer.get(f"{found[1]}.{index}", "")), template
    )
