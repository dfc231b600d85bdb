"""What follows a change of an incident, in the same transaction: its rungs, and notices to the people who must know."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from watchkeeper.collector.notify.enqueue import Notifier
from watchkeeper.collector.notify.message.draft import NoticeKind
from watchkeeper.collector.notify.notice import About, expire
from watchkeeper.collector.policy import incidents, ladder
from watchkeeper.collector.policy.incidents import Incident, IncidentChange, IncidentState, Transition, TransitionKind
from watchkeeper.collector.policy.ladder import ScheduledRung
from watchkeeper.collector.site.inventory import COLLECTOR, Ladders
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store import rows
from watchkeeper.model.verdict import Level


def follow_up(
    connection: sa.Connection, notifier: Notifier, incident: Incident, changes: Sequence[IncidentChange], now: float
) -> None:
    """After a group of changes, the last of which made it `incident`: schedule its rungs or drop them, and notify people."""
    if incident.open:
        happened = [transition for change in changes for transition in change.transitions]
        _schedule(connection, notifier, incident, happened)
        if incident.level is Level.CRITICAL and any(one.kind is TransitionKind.RISEN for one in happened):
            notifier.tell(connection, NoticeKind.RISEN, incident, notifier.told(connection, incident), now)
        return
    rows.drop_undecided(connection, incident)
    expire(connection, About.INCIDENT, incident.incident, now)
    told = notifier.told(connection, incident)
    if incident.state is IncidentState.WITHDRAWN:
        notifier.tell(connection, NoticeKind.WITHDRAWN, incident, told, now, changes[-1].transitions[-1].note)
    elif told:
        notifier.tell(connection, NoticeKind.RECOVERED, incident, told, now)
    else:
        notifier.tell_duty(connection, NoticeKind.PASSED, incident, now)


def _schedule(
    connection: sa.Connection, notifier: Notifier, incident: Incident, happened: Iterable[Transition]
) -> None:
    ladders = notifier.snapshot.configuration.ladders
    present = (incident.incident, incident.recurrence)
    before = rows.rungs_of(connection, [incident.incident], lock=True).get(present, [])
    rungs: Sequence[ScheduledRung] = before
    for one in happened:
        if one.kind in (TransitionKind.OPENED, TransitionKind.REOPENED):
            rungs = ladder.schedule_rungs(ladder.ladder_for(one.level, ladders), one.at)
        elif one.kind is TransitionKind.RISEN:
            rungs = ladder.schedule_rungs(
                ladder.ladder_for(one.level, ladders), one.at, _carried_over(incident, rungs, ladders)
            )
    if rungs is not before:
        rows.replace_undecided(connection, incident, rungs)


def _carried_over(incident: Incident, rungs: Sequence[ScheduledRung], ladders: Ladders) -> Sequence[ScheduledRung]:
    """The rungs that keep their times when a warning becomes critical. Where an acknowledgement held the rungs of the warning,
    only decided ones do: nobody asked for the held ones to be decided all at once."""
    if incident.acknowledged_at is not None and Level.WARNING in ladder.stopping_levels(ladders):
        return [rung for rung in rungs if rung.decided_at is not None]
    return rungs


def withdraw_gone(connection: sa.Connection, notifier: Notifier, now: float) -> None:
    """After a change of the configuration: withdraw the incidents that nobody judges any more."""
    for known in rows.lock_open_incidents(connection):
        if why := _gone(known, notifier.snapshot):
            change = incidents.withdraw(known, now, COLLECTOR, why)
            follow_up(connection, notifier, rows.save(connection, change, now), [change], now)


def _gone(known: Incident, snapshot: Snapshot) -> str:
    """Why no verdict about it will come any more; empty where one will."""
    device = snapshot.device(known.device)
    if device is None and known.device != COLLECTOR:
        return "the device is no longer in the inventory"
    if device is not None and known.agent not in (COLLECTOR, device.agent):
        return f"the device is read by {device.agent} now, which judges it again"
    return "" if snapshot.rules.named(known.rule) else "the rule is gone"
