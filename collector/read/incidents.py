"""Incidents with their rungs and notices, for pages, API and metrics. Read only; times are UTC seconds."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from watchkeeper.collector.notify.notice import About
from watchkeeper.collector.policy import ladder
from watchkeeper.collector.policy.hold import Backlog, Hold, hold
from watchkeeper.collector.policy.incidents import Incident, IncidentState, Transition
from watchkeeper.collector.policy.ladder import ScheduledRung
from watchkeeper.collector.policy.troubles import Trouble
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store import rows, troubles
from watchkeeper.collector.store.life.awaited import HELD
from watchkeeper.collector.store.schema import agent, awaited, incident, outbox, receipt

PENDING = "pending"

NOTICES_OF_CARD, MOST_EVENTS = 40, 200
"""Notices of a trouble in lists, the newest; and how much of a history is one page: notices, and transitions of an incident."""

_NOTICES_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One attempt to deliver a notice, with the answer of the channel (`detail`). `proof` is what is known of a delivered one,
    as in `channels.ports.Proof`; empty where that is not known."""

    at: float
    channel: str
    delivered: bool
    detail: str
    proof: str = ""


@dataclass(frozen=True, slots=True)
class NoticeStatus:
    """A notice to a person. `state` is pending, delivered or given-up; `handed_on` means that another person was
    notified instead. `left_out` failed attempts between the first and the others are no longer kept."""

    person: str
    kind: str
    rung: str
    recurrence: int
    at: float
    state: str
    handed_on: bool
    tries: tuple[DeliveryAttempt, ...] = ()
    left_out: int = 0

    @property
    def last(self) -> DeliveryAttempt | None:
        """The newest attempt."""
        return self.tries[-1] if self.tries else None


@dataclass(frozen=True, slots=True)
class Progress:
    """An incident with its trouble: the rungs and notices of that. `hold` says why no rung is decided now."""

    incident: Incident
    trouble: Trouble
    steps: tuple[ScheduledRung, ...]
    notices: tuple[NoticeStatus, ...]
    hold: Hold | None

    @property
    def current(self) -> ScheduledRung | None:
        """The current level: the highest rung decided."""
        return ladder.current(self.steps)

    @property
    def upcoming(self) -> ScheduledRung | None:
        """The rung that is decided next. None if no rung is left, or if the rungs are held without an end."""
        return None if self.hold and self.hold.until is None else ladder.upcoming(self.steps)


@dataclass(frozen=True, slots=True)
class IncidentDetail:
    """An incident with its newest transitions. What happened before `earlier` (UTC seconds) is on the next page; None: nothing."""

    incident: Incident
    transitions: tuple[tuple[Transition, float], ...]
    earlier: float | None = None


def open_incidents(
    connection: sa.Connection, snapshot: Snapshot, now: float, most: int = 200, device: str | None = None
) -> list[Progress]:
    """The open incidents: critical before warning, then the oldest first."""
    critical_first = sa.case((incident.c.level == "critical", 0), else_=1)
    query = sa.select(incident).where(incident.c.state == IncidentState.OPEN.value)
    if device is not None:
        query = query.where(incident.c.device == device)
    found = connection.execute(query.order_by(critical_first, incident.c.began_at).limit(most))
    return _progress_of(connection, snapshot, now, [rows.incident_from_row(row) for row in found])


def incidents_before(
    connection: sa.Connection, before: int | None, most: int, states: Iterable[IncidentState] = tuple(IncidentState)
) -> list[Incident]:
    """Incidents with a number below `before` (None: all), newest first."""
    query = sa.select(incident).where(incident.c.state.in_([state.value for state in states]))
    if before is not None:
        query = query.where(incident.c.incident < before)
    found = connection.execute(query.order_by(incident.c.incident.desc()).limit(most))
    return [rows.incident_from_row(row) for row in found]


def incident_detail(connection: sa.Connection, number: int, before: float | None = None) -> IncidentDetail | None:
    """One incident with its history before a time (None: up to now); None if there is no incident of that number."""
    known = rows.incident_by_number(connection, number)
    if known is None:
        return None
    found = rows.transitions_of(connection, number, MOST_EVENTS, before)
    earlier = earliest([[step.at for step, _ in found]], MOST_EVENTS)
    return IncidentDetail(known, tuple(one for one in found if earlier is None or one[0].at >= earlier), earlier)


def earliest(lists: Iterable[Sequence[float]], most: int) -> float | None:
    """From which time on lists of times are complete, if of each only the newest `most` were read; None: all are whole."""
    cut = [min(times) for times in lists if len(times) >= most]
    return max(cut, default=None)


def _progress_of(
    connection: sa.Connection, snapshot: Snapshot, now: float, found: Sequence[Incident]
) -> list[Progress]:
    about = progress_of_troubles(connection, snapshot, now, {one.trouble for one in found})
    return [Progress(one, *about[one.trouble]) for one in found]


Parts = tuple[Trouble, tuple[ScheduledRung, ...], tuple[NoticeStatus, ...], Hold | None]
"""What the incidents of a trouble share."""


def progress_of_troubles(  # noqa: PLR0917 -- connection, snapshot and now come first in every function of this folder
    connection: sa.Connection,
    snapshot: Snapshot,
    now: float,
    numbers: Iterable[int],
    notices: int = NOTICES_OF_CARD,
    before: float | None = None,
) -> dict[int, Parts]:
    """The rungs of these troubles, why no rung is decided now, and of each so many notices, the newest before a time."""
    wanted = list(numbers)
    steps, told = troubles.rungs_of(connection, wanted), _notices(connection, wanted, notices, before)
    backlogs = _backlogs(connection)
    ladders = snapshot.configuration.ladders
    return {
        number: (
            one,
            tuple(steps.get(number, ())),
            tuple(told.get(number, ())),
            hold(one, ladders, backlogs.get(one.agent, Backlog()), now),
        )
        for number, one in troubles.by_number(connection, wanted).items()
    }


def _backlogs(connection: sa.Connection) -> dict[str, Backlog]:
    query = sa.select(agent.c.agent, agent.c.backlog_since, agent.c.backlog_until).where(agent.c.backlog_until > 0.0)
    found = {row.agent: Backlog(row.backlog_since, row.backlog_until) for row in connection.execute(query)}
    for row in connection.execute(sa.select(awaited)):
        known = found.get(row.agent, Backlog())
        found[row.agent] = replace(known, awaited_since=row.since, awaited_until=row.until)
    return found


def _notices(
    connection: sa.Connection, numbers: Sequence[int], most: int, before: float | None
) -> dict[int, list[NoticeStatus]]:
    """The newest notices of each, oldest first. Also those of the troubles that were merged into them: people got these messages."""
    if not most:
        return {}
    asked = {"most": most, "before": math.inf if before is None else before}
    found: dict[int, list[sa.Row[Any]]] = {}
    for part, whole in troubles.merged_of(connection, numbers).items():  # SQLite sorts all rows of a list of numbers
        found.setdefault(whole, []).extend(connection.execute(_NEWEST, {**asked, "part": part}))
    found = {whole: sorted(told, key=lambda row: row.id, reverse=True)[:most] for whole, told in found.items()}
    tries = _tries(connection, [row.id for told in found.values() for row in told])
    return {
        whole: [
            NoticeStatus(
                row.person, row.kind, row.rung, row.recurrence, row.created_at, PENDING if row.state == HELD else row.state,
                row.handed_on, tuple(tries.get(row.id, ())), row.left_out,
            )
            for row in reversed(told)
        ]
        for whole, told in found.items()
    }  # fmt: skip


def _tries(connection: sa.Connection, notices: Sequence[int]) -> dict[int, list[DeliveryAttempt]]:
    tries: dict[int, list[DeliveryAttempt]] = {}
    for start in range(0, len(notices), _NOTICES_AT_ONCE):
        some = receipt.c.outbox.in_(notices[start : start + _NOTICES_AT_ONCE])
        for row in connection.execute(sa.select(receipt).where(some).order_by(receipt.c.id)):
            attempt = DeliveryAttempt(row.at, row.channel, row.delivered, row.detail, row.proof or "")
            tries.setdefault(row.outbox, []).append(attempt)
    return tries


_NEWEST = (
    sa.select(
        outbox.c.id, outbox.c.person, outbox.c.kind, outbox.c.rung, outbox.c.recurrence, outbox.c.created_at,
        outbox.c.state, outbox.c.handed_on, outbox.c.left_out,
    )
    .where(outbox.c.about == About.TROUBLE.value, outbox.c.about_id == sa.bindparam("part"))
    .where(outbox.c.created_at < sa.bindparam("before", type_=sa.Double))
    .order_by(outbox.c.id.desc())
    .limit(sa.bindparam("most", type_=sa.Integer))
)  # fmt: skip
# Built once: a page has up to two hundred troubles.
