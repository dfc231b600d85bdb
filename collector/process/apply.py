"""What journalled pushes do to the world: incidents with their rungs and notices, latest values, history."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa
from pydantic_core import to_json

from watchkeeper.collector.notify.compose import Kind
from watchkeeper.collector.notify.enqueue import Notifier
from watchkeeper.collector.notify.notice import About, expire
from watchkeeper.collector.policy import incidents, ladder
from watchkeeper.collector.policy.hold import BACKLOG_S
from watchkeeper.collector.policy.incidents import Incident, IncidentChange, Transition
from watchkeeper.collector.policy.ladder import ScheduledRung
from watchkeeper.collector.site.inventory import COLLECTOR, Ladders
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store import rows
from watchkeeper.collector.store.schema import agent, history, latest
from watchkeeper.model.batch import Blocks, Frame, Lane, Push
from watchkeeper.model.verdict import Event, Key, Level, Standing, Verdict, Withdrawal
from watchkeeper.model.wire import encode_values


@dataclass(frozen=True, slots=True)
class Arrival:
    """A journalled push: items up to `after_seq` are replays."""

    push: Push
    received_at: float
    after_seq: int


def apply(
    connection: sa.Connection, notifier: Notifier, arrivals: Sequence[Arrival], blocks: Blocks, now: float
) -> set[int]:
    """Apply pushes in their order, whole, in the caller's transaction. Returns the numbers of the incidents touched."""
    _apply_readings(connection, notifier, arrivals, blocks)
    return _apply_events(connection, notifier, arrivals, now)


# ---- readings ----


def _apply_readings(connection: sa.Connection, notifier: Notifier, arrivals: Iterable[Arrival], blocks: Blocks) -> None:
    past: list[dict[str, Any]] = []
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for arrival in arrivals:
        push = arrival.push
        if push.lane is not Lane.READINGS:
            continue
        for seq, frame in push.items:
            if seq <= arrival.after_seq or not isinstance(frame, Frame):
                continue
            block = blocks[push.agent, push.epoch, frame.block]
            if not _owns(push.agent, block.device, notifier.snapshot):
                continue
            row = {
                "device": block.device, "agent": push.agent, "epoch": push.epoch, "block": frame.block, "seq": seq,
                "at": frame.at, "column": to_json(encode_values(frame.values)).decode(),
            }  # fmt: skip
            past.append(row)
            newest[block.device, block.probe] = {**row, "probe": block.probe}
    notifier.store.write_many(connection, history, past)
    for row in newest.values():
        del row["seq"]
    notifier.store.write_many(
        connection, latest, list(newest.values()), keep=()
    )  # lanes keep the order, clocks need not


def _owns(who: str, device: str, snapshot: Snapshot) -> bool:
    """Whether the agent may still speak of the device: the inventory may have changed since the push was taken."""
    known = snapshot.devices.get(device)
    return known is not None and known.agent == who


# ---- events ----


@dataclass(slots=True)
class _Touched:
    """The latest incident of each key a group of pushes speaks of, and what happened to each incident by its number: one
    may end and the next of its key begin in one group."""

    connection: sa.Connection
    now: float
    known: dict[Key, Incident]
    changes: dict[int, list[IncidentChange]] = field(default_factory=dict)
    reconciled: int = 0

    def keep(self, change: IncidentChange | None) -> None:
        if change is None:
            return
        saved = rows.save(self.connection, change, self.now)
        self.known[saved.key] = saved
        self.changes.setdefault(saved.incident, []).append(IncidentChange(saved, change.transitions))


def _apply_events(connection: sa.Connection, notifier: Notifier, arrivals: Sequence[Arrival], now: float) -> set[int]:
    events = [said for arrival in arrivals for said in _said(arrival, notifier.snapshot)]
    touched = apply_events(connection, notifier, events, now) if events else set()
    _note_backlog(connection, arrivals, now)
    return touched


def _said(arrival: Arrival, snapshot: Snapshot) -> Iterator[tuple[str, Event]]:
    """The new events of a push, each with who says it; what it says of others' devices is left out."""
    who = arrival.push.agent
    for seq, event in arrival.push.items:
        if seq <= arrival.after_seq:
            continue
        if isinstance(event, Standing):
            own = tuple(verdict for verdict in event.verdicts if _owns(who, verdict.device, snapshot))
            yield who, replace(event, verdicts=own)
        elif isinstance(event, Verdict | Withdrawal) and _owns(who, event.device, snapshot):
            yield who, event


def apply_events(
    connection: sa.Connection, notifier: Notifier, events: Sequence[tuple[str, Event]], now: float
) -> set[int]:
    """Apply (who judged it, event) in order, and only then set rungs and notices: half a story pages nobody."""
    touched = _Touched(connection, now, rows.latest_of(connection, _keys(event for _, event in events)))
    for who, event in events:
        _apply_event(touched, who, event)
    for changes in touched.changes.values():
        follow_up(connection, notifier, changes[-1].incident, changes, now)
    notifier.store.count_up(connection, {"reconciled": touched.reconciled})
    return set(touched.changes)


def _keys(events: Iterable[Event]) -> set[Key]:
    found: set[Key] = set()
    for event in events:
        found |= {verdict.key for verdict in event.verdicts} if isinstance(event, Standing) else {event.key}
    return found


def _apply_event(touched: _Touched, who: str, event: Event) -> None:
    if isinstance(event, Verdict):
        touched.keep(incidents.judge(touched.known.get(event.key), event, who))
    elif isinstance(event, Standing):
        _reconcile(touched, who, event)
    else:
        known = touched.known.get(event.key)
        if known and known.open:
            touched.keep(incidents.withdraw(known, event.at, f"agent:{who}", event.reason))


def _reconcile(touched: _Touched, who: str, standing: Standing) -> None:
    for incident in rows.open_of(touched.connection, who):
        touched.known.setdefault(incident.key, incident)
    missed, vanished = incidents.reconcile(standing, touched.known.values(), who)
    for verdict in missed:
        touched.keep(incidents.judge(touched.known.get(verdict.key), verdict, who, "reconciled"))
    for incident in vanished:
        note = "reconciled: the agent no longer reports it"
        touched.keep(incidents.resolve(incident, standing.at, f"agent:{who}", note=note))
    touched.reconciled += len(missed) + len(vanished)


def _note_backlog(connection: sa.Connection, arrivals: Iterable[Arrival], now: float) -> None:
    """Note which agents have announced further events, and since when: their incidents wait for the rest."""
    said = {arrival.push.agent: arrival.push.more for arrival in arrivals if arrival.push.lane is Lane.EVENTS}
    goes_on = agent.c.backlog_until.between(now, now + BACKLOG_S)  # a later time: our clock was set back
    since = sa.case((goes_on, agent.c.backlog_since), else_=now)
    for who, more in said.items():
        mine = sa.update(agent).where(agent.c.agent == who)
        if more:
            connection.execute(mine.values(backlog_since=since, backlog_until=now + BACKLOG_S))
        else:
            connection.execute(mine.where(agent.c.backlog_until != 0.0).values(backlog_until=0.0))


# ---- what follows ----


def follow_up(
    connection: sa.Connection, notifier: Notifier, now_is: Incident, changes: Sequence[IncidentChange], now: float
) -> None:
    """Set the rungs of an incident right after a group of changes to it, and tell those who must hear of the change."""
    if now_is.open:
        steps = [step for change in changes for step in change.transitions]
        _schedule(connection, notifier, now_is, steps)
        if now_is.level is Level.CRITICAL and any(step.kind is incidents.TransitionKind.RISEN for step in steps):
            notifier.tell(connection, Kind.RISEN, now_is, notifier.told(connection, now_is), now)
        return
    rows.drop_undecided(connection, now_is)
    expire(connection, About.INCIDENT, now_is.incident, now)
    told = notifier.told(connection, now_is)
    if now_is.state is incidents.IncidentState.WITHDRAWN:
        notifier.tell(connection, Kind.WITHDRAWN, now_is, told, now, changes[-1].transitions[-1].note)
    elif told:
        notifier.tell(connection, Kind.RECOVERED, now_is, told, now)
    else:
        notifier.tell_duty(connection, Kind.PASSED, now_is, now)


def _schedule(connection: sa.Connection, notifier: Notifier, now_is: Incident, happened: Iterable[Transition]) -> None:
    ladders = notifier.snapshot.configuration.ladders
    before = rows.steps_of(connection, [now_is.incident], lock=True).get((now_is.incident, now_is.recurrence), [])
    steps: Sequence[ScheduledRung] = before
    for one in happened:
        if one.kind in (incidents.TransitionKind.OPENED, incidents.TransitionKind.REOPENED):
            steps = ladder.schedule_rungs(ladder.ladder_for(one.level, ladders), one.at)
        elif one.kind is incidents.TransitionKind.RISEN:
            steps = ladder.schedule_rungs(
                ladder.ladder_for(one.level, ladders), one.at, _carried_over(now_is, steps, ladders)
            )
    if steps is not before:
        rows.replace_undecided(connection, now_is, steps)


def _carried_over(now_is: Incident, steps: Sequence[ScheduledRung], ladders: Ladders) -> Sequence[ScheduledRung]:
    """The steps that still count when a warning becomes critical: an acknowledgement that held the warning's rungs did not
    ask for them to be decided all at once."""
    if now_is.acknowledged_at is not None and Level.WARNING in ladder.stopping_levels(ladders):
        return [step for step in steps if step.decided_at is not None]
    return steps


def withdraw_gone(connection: sa.Connection, notifier: Notifier, now: float) -> None:
    """After new orders: incidents of which nobody who judged them speaks any more have nobody to say ok."""
    for known in rows.open_of(connection):
        if why := _gone(known, notifier.snapshot):
            change = incidents.withdraw(known, now, COLLECTOR, why)
            follow_up(connection, notifier, rows.save(connection, change, now), [change], now)


def _gone(known: Incident, snapshot: Snapshot) -> str:
    """Why its verdict will never be renewed; empty where it will."""
    device = snapshot.device(known.device)
    if device is None and known.device != COLLECTOR:
        return "the device is no longer in the inventory"
    if device is not None and known.agent not in (COLLECTOR, device.agent):
        return f"the device is read by {device.agent} now, which judges it anew"
    return "" if snapshot.rules.named(known.rule) else "the rule is gone"
