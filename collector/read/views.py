"""What pages, API and metrics show of the store: read only. `now` and all times are UTC seconds."""

import functools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from watchkeeper.collector.policy import ladder
from watchkeeper.collector.policy.incidents import Incident, State, Transition
from watchkeeper.collector.policy.ladder import Step
from watchkeeper.collector.process.own_rules import SILENT_AFTER
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store import rows
from watchkeeper.collector.store.schema import (
    agent,
    block,
    history,
    incident,
    lane,
    latest,
    outbox,
    receipt,
    transition,
)
from watchkeeper.model.device import Device
from watchkeeper.model.reading import Series, Value
from watchkeeper.model.wire import decode_values

STALE_AFTER = 3
"""A frame older than this many of its intervals is stale, and so is whatever a silent agent said (docs/protocol.md)."""


# ---- incidents ----


@dataclass(frozen=True, slots=True)
class Try:
    """One receipt: what came back of one try to deliver a notice."""

    at: float
    channel: str
    delivered: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What somebody was, or is still to be, told. `state` is pending, delivered or given-up."""

    person: str
    kind: str
    rung: str
    round: int
    at: float
    state: str
    handed_on: bool
    tries: tuple[Try, ...] = ()

    @property
    def last(self) -> Try | None:
        """The newest try."""
        return self.tries[-1] if self.tries else None


@dataclass(frozen=True, slots=True)
class Climb:
    """An incident and how far it has climbed in its present round."""

    incident: Incident
    steps: tuple[Step, ...]
    notices: tuple[Notice, ...]

    @property
    def reached(self) -> Step | None:
        """The highest rung decided."""
        return ladder.reached(self.steps)

    @property
    def upcoming(self) -> Step | None:
        """The rung that the clock, or *escalate now*, decides next; None once there is nothing left to climb."""
        return ladder.upcoming(self.steps) if self.incident.open else None


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that is known of an incident, over all its rounds."""

    climb: Climb
    transitions: tuple[tuple[Transition, float], ...]
    steps: tuple[tuple[int, Step], ...]
    notices: tuple[Notice, ...]


def open_climbs(connection: sa.Connection, most: int = 200, device: str | None = None) -> list[Climb]:
    """The open incidents: critical before warning, then those that have stood longest."""
    critical_first = sa.case((incident.c.level == "critical", 0), else_=1)
    query = sa.select(incident).where(incident.c.state == State.OPEN.value)
    if device is not None:
        query = query.where(incident.c.device == device)
    found = connection.execute(query.order_by(critical_first, incident.c.began_at).limit(most))
    return _climbs(connection, [rows.incident_of(row) for row in found])


def count_open(connection: sa.Connection) -> int:
    """How many incidents are open."""
    query = sa.select(sa.func.count()).select_from(incident).where(incident.c.state == State.OPEN.value)
    return int(connection.execute(query).scalar_one())


def climbs_before(
    connection: sa.Connection, before: int | None, most: int, states: Iterable[State] = tuple(State)
) -> list[Climb]:
    """Incidents with a number below `before` (None: all), newest first."""
    query = sa.select(incident).where(incident.c.state.in_([state.value for state in states]))
    if before is not None:
        query = query.where(incident.c.incident < before)
    found = connection.execute(query.order_by(incident.c.incident.desc()).limit(most))
    return _climbs(connection, [rows.incident_of(row) for row in found])


def story(connection: sa.Connection, number: int) -> Story | None:
    """One incident whole; None if there is none of that number."""
    known = rows.one(connection, number)
    if known is None:
        return None
    notices = _notices(connection, [number]).get(number, [])
    steps = rows.steps_of(connection, [number])
    return Story(
        _climb(known, steps, notices),
        tuple(rows.transitions_of(connection, number)),
        tuple((turn, step) for (_, turn), found in sorted(steps.items()) for step in found),
        tuple(notices),
    )


def _climbs(connection: sa.Connection, found: Sequence[Incident]) -> list[Climb]:
    numbers = [one.incident for one in found]
    steps, notices = rows.steps_of(connection, numbers), _notices(connection, numbers)
    return [_climb(one, steps, notices.get(one.incident, [])) for one in found]


def _climb(one: Incident, steps: dict[tuple[int, int], list[Step]], notices: Iterable[Notice]) -> Climb:
    present = tuple(notice for notice in notices if notice.round == one.round)
    return Climb(one, tuple(steps.get((one.incident, one.round), ())), present)


def _notices(connection: sa.Connection, numbers: Sequence[int]) -> dict[int, list[Notice]]:
    mine = outbox.c.incident.in_(numbers)
    tries: dict[int, list[Try]] = {}
    joined = sa.select(receipt).join(outbox, receipt.c.outbox == outbox.c.id).where(mine).order_by(receipt.c.id)
    for row in connection.execute(joined):
        tries.setdefault(row.outbox, []).append(Try(row.at, row.channel, row.delivered, row.detail))
    found: dict[int, list[Notice]] = {}
    for row in connection.execute(sa.select(outbox).where(mine).order_by(outbox.c.id)):
        notice = Notice(
            row.person, row.kind, row.rung, row.round, row.created_at, row.state, row.handed_on,
            tuple(tries.get(row.id, ())),
        )  # fmt: skip
        found.setdefault(row.incident, []).append(notice)
    return found


# ---- devices ----


@dataclass(frozen=True, slots=True)
class Column:
    """What one probe last read of a device. A value is as old as its frame; `stale` says not to trust it as present."""

    at: float
    age_s: float
    every_s: float
    stale: bool
    probe: str
    series: tuple[Series, ...]
    values: tuple[Value, ...]

    def readings(self) -> Iterator[tuple[Series, Value]]:
        """The same, a reading at a time."""
        return zip(self.series, self.values, strict=True)


@dataclass(frozen=True, slots=True)
class Watched:
    """A device of the inventory and what was last read of it (nothing, if it never was)."""

    device: Device
    columns: tuple[Column, ...]
    silent: bool

    @property
    def stale(self) -> bool:
        """Whether nothing shown of it is the present."""
        return all(column.stale for column in self.columns)


def watched(
    connection: sa.Connection, snapshot: Snapshot, now: float, started_at: float, device: str | None = None
) -> list[Watched]:
    """The devices of the inventory, in its order, or only the one of that name."""
    silent = {one.agent for one in agents(connection, snapshot, now, started_at) if one.silent}
    columns: dict[str, list[Column]] = {}
    query = sa.select(latest, block.c.every_s, block.c.series).join(block, _same_block(latest))
    if device is not None:
        query = query.where(latest.c.device == device)
    for row in connection.execute(query):
        known = snapshot.devices.get(row.device)
        if known and known.probe == row.probe:  # what another probe read before is history
            columns.setdefault(row.device, []).append(_column(row, now, row.agent in silent))
    wanted = snapshot.devices.values() if device is None else filter(None, [snapshot.devices.get(device)])
    return [Watched(one, tuple(columns.get(one.device, ())), one.agent in silent) for one in wanted]


def _same_block(table: sa.Table) -> "sa.ColumnElement[bool]":
    return sa.and_(table.c.agent == block.c.agent, table.c.epoch == block.c.epoch, table.c.block == block.c.block)


def _column(row: "sa.Row[Any]", now: float, silent: bool) -> Column:
    age = max(0.0, now - row.at)
    stale = silent or age > STALE_AFTER * row.every_s
    values = decode_values(json.loads(row.column))
    return Column(row.at, age, row.every_s, stale, row.probe, declared(row.device, row.series), values)


@functools.lru_cache(maxsize=4096)
def declared(device: str, series: str) -> tuple[Series, ...]:
    """The series of a block, of the JSON that the table `block` keeps."""
    return tuple(Series(device, *words) for words in json.loads(series))


@dataclass(frozen=True, slots=True)
class Point:
    """One value of one series in the past."""

    at: float
    value: Value


def past(
    connection: sa.Connection, device: str, since: float, most: int = 2000, quantity: str | None = None
) -> dict[tuple[str, str], list[Point]]:
    """What was read of a device since then, by (quantity, instance), oldest first: the newest `most` frames of it."""
    query = (
        sa.select(history.c.at, history.c.column, block.c.series)
        .join(block, _same_block(history))
        .where(history.c.device == device, history.c.at >= since)
        .order_by(history.c.at.desc(), history.c.id.desc())
        .limit(most)
    )
    found: dict[tuple[str, str], list[Point]] = {}
    for row in reversed(connection.execute(query).all()):
        values = decode_values(json.loads(row.column))
        for series, value in zip(declared(device, row.series), values, strict=True):
            if quantity in (None, series.quantity):
                found.setdefault((series.quantity, series.instance), []).append(Point(row.at, value))
    return found


# ---- agents ----


@dataclass(frozen=True, slots=True)
class Traffic:
    """What came over one lane of an agent, in the present epoch (`seq`) and in all that are kept (the counts)."""

    lane: str
    seq: int
    items: int
    gaps: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Heard:
    """An agent of the inventory: when it was last heard (None: never), by how much its clock is wrong, whether the
    bundle in force there is the one we handed out, and its lanes."""

    agent: str
    heard_at: float | None
    age_s: float
    silent: bool
    skew_s: float
    bundle: str
    current: bool
    lanes: tuple[Traffic, ...]


def agents(connection: sa.Connection, snapshot: Snapshot, now: float, started_at: float) -> list[Heard]:
    """The agents of the inventory. Nobody is silent for the time before we ourselves started."""
    known = {row.agent: row for row in connection.execute(sa.select(agent))}
    epochs = {name: row.epoch for name, row in known.items()}
    traffic = _traffic(connection, epochs)
    found = []
    for name, ordered in snapshot.agents.items():
        row = known.get(name)
        heard_at = row.heard_at if row else None
        silent = now - max(heard_at or 0.0, started_at) > SILENT_AFTER * ordered.interval_s
        bundle, skew = (row.bundle, row.skew_s) if row else ("", 0.0)
        age = max(0.0, now - (started_at if heard_at is None else heard_at))
        current = bundle == snapshot.bundles[name].version
        found.append(Heard(name, heard_at, age, silent, skew, bundle, current, tuple(traffic.get(name, ()))))
    return found


def _traffic(connection: sa.Connection, epochs: dict[str, str]) -> dict[str, list[Traffic]]:
    counts: dict[tuple[str, str], Traffic] = {}
    for row in connection.execute(sa.select(lane).order_by(lane.c.agent, lane.c.lane)):
        before = counts.get((row.agent, row.lane)) or Traffic(row.lane, 0, 0, 0, 0)
        counts[row.agent, row.lane] = Traffic(
            row.lane,
            row.seq if row.epoch == epochs.get(row.agent) else before.seq,
            before.items + row.items,
            before.gaps + row.gaps,
            before.dropped + row.dropped,
        )
    found: dict[str, list[Traffic]] = {}
    for (name, _), one in counts.items():
        found.setdefault(name, []).append(one)
    return found


# ---- has anything changed? ----


@dataclass(frozen=True, slots=True)
class Signature:
    """Differs from an earlier one where an open page would show something else."""

    incidents: tuple[Any, ...]
    readings: tuple[Any, ...]


def signature(connection: sa.Connection) -> Signature:
    """A few index look-ups."""
    newest = (sa.select(sa.func.max(table.c.id)).scalar_subquery() for table in (transition, outbox, receipt))
    incidents = connection.execute(sa.select(*newest)).one()
    heard = sa.select(sa.func.max(agent.c.heard_at)).scalar_subquery()
    read = sa.select(sa.func.max(latest.c.at)).scalar_subquery()
    return Signature(tuple(incidents), tuple(connection.execute(sa.select(heard, read)).one()))
