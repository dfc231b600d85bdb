"""Incidents with their rungs and notices, for pages, API and metrics. Read only; times are UTC seconds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from watchkeeper.collector.notify.notice import About
from watchkeeper.collector.policy import ladder
from watchkeeper.collector.policy.hold import Backlog, Hold, hold
from watchkeeper.collector.policy.incidents import Incident, IncidentState, Transition
from watchkeeper.collector.policy.ladder import ScheduledRung
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store import rows
from watchkeeper.collector.store.schema import agent, incident, outbox, receipt


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
    notified instead."""

    person: str
    kind: str
    rung: str
    recurrence: int
    at: float
    state: str
    handed_on: bool
    tries: tuple[DeliveryAttempt, ...] = ()

    @property
    def last(self) -> DeliveryAttempt | None:
        """The newest attempt."""
        return self.tries[-1] if self.tries else None


@dataclass(frozen=True, slots=True)
class Progress:
    """An incident with the rungs and notices of its current recurrence. `hold` says why no rung is decided now."""

    incident: Incident
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
    """An incident with all transitions, rungs and notices of all its recurrences."""

    progress: Progress
    transitions: tuple[tuple[Transition, float], ...]
    steps: tuple[tuple[int, ScheduledRung], ...]
    notices: tuple[NoticeStatus, ...]


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


def count_open(connection: sa.Connection) -> int:
    """How many incidents are open."""
    query = sa.select(sa.func.count()).select_from(incident).where(incident.c.state == IncidentState.OPEN.value)
    return int(connection.execute(query).scalar_one())


def incidents_before(  # noqa: PLR0917 -- connection, snapshot and now come first in every function of this folder
    connection: sa.Connection,
    snapshot: Snapshot,
    now: float,
    before: int | None,
    most: int,
    states: Iterable[IncidentState] = tuple(IncidentState),
) -> list[Progress]:
    """Incidents with a number below `before` (None: all), newest first."""
    query = sa.select(incident).where(incident.c.state.in_([state.value for state in states]))
    if before is not None:
        query = query.where(incident.c.incident < before)
    found = connection.execute(query.order_by(incident.c.incident.desc()).limit(most))
    return _progress_of(connection, snapshot, now, [rows.incident_from_row(row) for row in found])


def incident_detail(connection: sa.Connection, snapshot: Snapshot, now: float, number: int) -> IncidentDetail | None:
    """One incident with its whole history; None if there is no incident of that number."""
    known = rows.incident_by_number(connection, number)
    if known is None:
        return None
    (progress,) = _progress_of(connection, snapshot, now, [known])
    steps = rows.rungs_of(connection, [number])
    return IncidentDetail(
        progress,
        tuple(rows.transitions_of(connection, number)),
        tuple((recurrence, step) for (_, recurrence), found in sorted(steps.items()) for step in found),
        tuple(_notices(connection, [number]).get(number, [])),
    )


def _progress_of(
    connection: sa.Connection, snapshot: Snapshot, now: float, found: Sequence[Incident]
) -> list[Progress]:
    numbers = [one.incident for one in found]
    steps, notices = rows.rungs_of(connection, numbers), _notices(connection, numbers)
    backlogs = _backlogs(connection)
    ladders = snapshot.configuration.ladders
    return [
        Progress(
            one,
            tuple(steps.get((one.incident, one.recurrence), ())),
            tuple(notice for notice in notices.get(one.incident, ()) if notice.recurrence == one.recurrence),
            hold(one, ladders, backlogs.get(one.agent, Backlog()), now),
        )
        for one in found
    ]


def _backlogs(connection: sa.Connection) -> dict[str, Backlog]:
    query = sa.select(agent.c.agent, agent.c.backlog_since, agent.c.backlog_until).where(agent.c.backlog_until > 0.0)
    return {row.agent: Backlog(row.backlog_since, row.backlog_until) for row in connection.execute(query)}


def _notices(connection: sa.Connection, numbers: Sequence[int]) -> dict[int, list[NoticeStatus]]:
    mine = sa.and_(outbox.c.about == About.INCIDENT.value, outbox.c.about_id.in_(numbers))
    tries: dict[int, list[DeliveryAttempt]] = {}
    joined = sa.select(receipt).join(outbox, receipt.c.outbox == outbox.c.id).where(mine).order_by(receipt.c.id)
    for row in connection.execute(joined):
        attempt = DeliveryAttempt(row.at, row.channel, row.delivered, row.detail, row.proof or "")
        tries.setdefault(row.outbox, []).append(attempt)
    found: dict[int, list[NoticeStatus]] = {}
    for row in connection.execute(sa.select(outbox).where(mine).order_by(outbox.c.id)):
        notice = NoticeStatus(
            row.person, row.kind, row.rung, row.recurrence, row.created_at, row.state, row.handed_on,
            tuple(tries.get(row.id, ())),
        )  # fmt: skip
        found.setdefault(row.about_id, []).append(notice)
    return found
