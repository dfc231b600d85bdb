"""Troubles with their incidents, rungs and notices, for pages and API. Read only; times are UTC seconds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from watchkeeper.collector.policy.incidents import Incident, Transition
from watchkeeper.collector.policy.troubles import Trouble, TroubleState
from watchkeeper.collector.read.incidents import MOST_EVENTS, NOTICES_OF_CARD, Progress, earliest, progress_of_troubles
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store import rows, troubles
from watchkeeper.collector.store.schema import incident, trouble
from watchkeeper.collector.store.troubles import Standing

MEMBERS_SHOWN = 20
"""How many incidents of a trouble its card names; the trouble's page shows MEMBERS_OF_ONE."""

MEMBERS_OF_ONE = 500


@dataclass(frozen=True, slots=True)
class TroubleProgress:
    """A trouble: the incident that is its probable cause with the rungs and notices, the first of its other incidents (open
    before ended, critical before warning), and how many incidents are open."""

    progress: Progress
    others: tuple[Incident, ...]
    standing: Standing
    count: int

    @property
    def trouble(self) -> Trouble:
        """The trouble itself."""
        return self.progress.trouble


@dataclass(frozen=True, slots=True)
class OpenTrouble:
    """A trouble that is not over, as a line of a long list: with the incident that is its probable cause."""

    trouble: Trouble
    cause: Incident


@dataclass(frozen=True, slots=True)
class TroubleDetail:
    """A trouble with what happened to its incidents, as (incident, transition, when it was recorded). What happened before `earlier`
    (UTC seconds) is on the next page; None: nothing."""

    one: TroubleProgress
    transitions: tuple[tuple[Incident, Transition, float], ...]
    earlier: float | None = None
    before: float | None = None

    def shows(self, at: float) -> bool:
        """Whether what happened at that time is on this page."""
        return (self.earlier is None or at >= self.earlier) and (self.before is None or at < self.before)


_WORST_FIRST = (
    sa.case((trouble.c.quiet_since.is_not(None), 1), else_=0),
    sa.case((trouble.c.acknowledged_at.is_not(None), 1), else_=0),
    sa.case((trouble.c.level == "critical", 0), else_=1),
    trouble.c.opened_at,
    trouble.c.trouble,
)
"""Troubles with a fault before quiet ones, not acknowledged before acknowledged, critical before warning, the oldest first."""


def open_troubles(
    connection: sa.Connection, snapshot: Snapshot, now: float, most: int = 200, device: str | None = None
) -> list[TroubleProgress]:
    """The troubles that are not over, of all devices or of one, the worst first."""
    query = sa.select(trouble.c.trouble).where(trouble.c.state == TroubleState.OPEN.value)
    query = query.order_by(*_WORST_FIRST).limit(most)
    if device is not None:
        mine = sa.exists().where(incident.c.trouble == trouble.c.trouble, incident.c.device == device)
        query = query.where(mine)
    return _troubles(connection, snapshot, now, connection.execute(query).scalars().all(), MEMBERS_SHOWN)


def open_list(connection: sa.Connection, most: int) -> list[OpenTrouble]:
    """The troubles that are not over, the worst first, without their rungs and messages: three hundred are quick to read."""
    query = sa.select(trouble).where(trouble.c.state == TroubleState.OPEN.value).order_by(*_WORST_FIRST).limit(most)
    found = [troubles.trouble_from_row(row) for row in connection.execute(query)]
    causes = rows.incidents_by_number(connection, [one.cause for one in found])
    return [OpenTrouble(one, causes[one.cause]) for one in found]


def progress_of(
    connection: sa.Connection, snapshot: Snapshot, now: float, numbers: Sequence[int]
) -> list[TroubleProgress]:
    """The troubles of these numbers, in this order."""
    return _troubles(connection, snapshot, now, numbers, MEMBERS_SHOWN)


def count_open(connection: sa.Connection) -> int:
    """How many troubles are not over."""
    query = sa.select(sa.func.count()).select_from(trouble).where(trouble.c.state == TroubleState.OPEN.value)
    return int(connection.execute(query).scalar_one())


def troubles_before(  # noqa: PLR0917 -- connection, snapshot and now come first in every function of this folder
    connection: sa.Connection,
    snapshot: Snapshot,
    now: float,
    before: int | None,
    most: int,
    states: Iterable[TroubleState] = (TroubleState.OPEN, TroubleState.RESOLVED, TroubleState.WITHDRAWN),
    notices: int = NOTICES_OF_CARD,
) -> list[TroubleProgress]:
    """Troubles with a number below `before` (None: all), newest first, each with so many notices."""
    query = sa.select(trouble.c.trouble).where(trouble.c.state.in_([state.value for state in states]))
    if before is not None:
        query = query.where(trouble.c.trouble < before)
    found = connection.execute(query.order_by(trouble.c.trouble.desc()).limit(most)).scalars().all()
    return _troubles(connection, snapshot, now, found, MEMBERS_SHOWN, notices)


def trouble_detail(
    connection: sa.Connection, snapshot: Snapshot, now: float, number: int, before: float | None = None
) -> TroubleDetail | None:
    """One trouble with its history before a time (None: up to now), or the one that it was merged into; None if there is no trouble
    of that number."""
    known = troubles.follow(connection, number)
    if known is None:
        return None
    (one,) = _troubles(connection, snapshot, now, [known.trouble], MEMBERS_OF_ONE, MOST_EVENTS, before)
    members = (one.progress.incident, *one.others)[:MEMBERS_SHOWN]
    found = [(member, rows.transitions_of(connection, member.incident, MOST_EVENTS, before)) for member in members]
    times = [[step.at for step, _ in steps] for _, steps in found]
    earlier = earliest([*times, [notice.at for notice in one.progress.notices]], MOST_EVENTS)
    happened = [
        (member, step, recorded_at)
        for member, steps in found
        for step, recorded_at in steps
        if earlier is None or step.at >= earlier
    ]
    return TroubleDetail(one, tuple(happened), earlier, before)


def _troubles(  # noqa: PLR0917 -- as troubles_before
    connection: sa.Connection,
    snapshot: Snapshot,
    now: float,
    numbers: Sequence[int],
    members: int,
    notices: int = NOTICES_OF_CARD,
    before: float | None = None,
) -> list[TroubleProgress]:
    about = progress_of_troubles(connection, snapshot, now, numbers, notices, before)
    standing = troubles.standing_of(connection, numbers)
    counts = _counts(connection, numbers)
    causes = rows.incidents_by_number(connection, [about[number][0].cause for number in numbers])
    found = []
    for number in numbers:
        cause = causes[about[number][0].cause]
        others = _others(connection, number, cause, members) if counts[number] > 1 else ()
        found.append(TroubleProgress(Progress(cause, *about[number]), others, standing[number], counts[number]))
    return found


def _counts(connection: sa.Connection, numbers: Sequence[int]) -> dict[int, int]:
    query = sa.select(incident.c.trouble, sa.func.count()).where(incident.c.trouble.in_(numbers))
    return {row[0]: row[1] for row in connection.execute(query.group_by(incident.c.trouble))}


def _others(connection: sa.Connection, number: int, cause: Incident, most: int) -> tuple[Incident, ...]:
    open_first = sa.case((incident.c.state == "open", 0), else_=1)
    critical_first = sa.case((incident.c.level == "critical", 0), else_=1)
    query = (
        sa.select(incident)
        .where(incident.c.trouble == number, incident.c.incident != cause.incident)
        .order_by(open_first, critical_first, incident.c.began_at, incident.c.incident)
        .limit(most)
    )
    return tuple(rows.incident_from_row(row) for row in connection.execute(query))
