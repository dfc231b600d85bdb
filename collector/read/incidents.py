"""Incidents with their rungs and notices, for pages, API and metrics. Read only; times are UTC seconds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

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
    """An incident with all its transitions."""

    incident: Incident
    transitions: tuple[tuple[Transition, float], ...]


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


def incident_detail(connection: sa.Connection, number: int) -> IncidentDetail | None:
    """One incident with its whole history; None if there is no incident of that number."""
    known = rows.incident_by_number(connection, number)
    if known is None:
        return None
    return IncidentDetail(known, tuple(rows.transitions_of(connection, number)))


def _progress_of(
    connection: sa.Connection, snapshot: Snapshot, now: float, found: Sequence[Incident]
) -> list[Progress]:
    about = progress_of_troubles(connection, snapshot, now, {one.trouble for one in found})
    return [Progress(one, *about[one.trouble]) for one in found]


Parts = tuple[Trouble, tuple[ScheduledRung, ...], tuple[NoticeStatus, ...], Hold | None]
"""What the incidents of a trouble share."""


def progress_of_troubles(
    connection: sa.Connection, snapshot: Snapshot, now: float, numbers: Iterable[int]
) -> dict[int, Parts]:
    """The rungs and notices of these troubles, and why no rung is decided now."""
    wanted = list(numbers)
    steps, notices = troubles.rungs_of(connection, wanted), _notices(connection, wanted)
    backlogs = _backlogs(connection)
    ladders = snapshot.configuration.ladders
    return {
        number: (
            one,
            tuple(steps.get(number, ())),
            tuple(notices.get(number, ())),
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


def _notices(connection: sa.Connection, numbers: Sequence[int]) -> dict[int, list[NoticeStatus]]:
    """Also those of the troubles that were merged into them: people got these messages."""
    part_of = troubles.merged_of(connection, numbers)
    mine = sa.and_(outbox.c.about == About.TROUBLE.value, outbox.c.about_id.in_(part_of))
    tries: dict[int, list[DeliveryAttempt]] = {}
    joined = sa.select(receipt).join(outbox, receipt.c.outbox == outbox.c.id).where(mine).order_by(receipt.c.id)
    for row in connection.execute(joined):
        attempt = DeliveryAttempt(row.at, row.channel, row.delivered, row.detail, row.proof or "")
        tries.setdefault(row.outbox, []).append(attempt)
    found: dict[int, list[NoticeStatus]] = {}
    for row in connection.execute(sa.select(outbox).where(mine).order_by(outbox.c.id)):
        notice = NoticeStatus(
            row.person, row.kind, row.rung, row.recurrence, row.created_at, PENDING if row.state == HELD else row.state,
            row.handed_on,
            tuple(tries.get(row.id, ())),
        )  # fmt: skip
        found.setdefault(part_of[row.about_id], []).append(notice)
    return found
