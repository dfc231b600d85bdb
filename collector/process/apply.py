"""Applies journalled pushes: latest values and history, then incidents with all that follows."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa
from pydantic_core import to_json

from watchkeeper.collector.notify.enqueue import Notifier
from watchkeeper.collector.policy import incidents
from watchkeeper.collector.policy.hold import BACKLOG_S
from watchkeeper.collector.policy.incidents import Incident, IncidentChange
from watchkeeper.collector.process.troubles.follow_up import follow_up
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store import rows, troubles
from watchkeeper.collector.store.life.awaited import has_come
from watchkeeper.collector.store.schema import agent, history, latest
from watchkeeper.collector.store.schema import incident as incident_table
from watchkeeper.model.batch import Blocks, Frame, Lane, Push
from watchkeeper.model.verdict import ActiveVerdicts, Event, Key, Level, Verdict, Withdrawal

_ID_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Arrival:
    """A journalled push. Items up to `after_seq` are replays."""

    push: Push
    received_at: float
    after_seq: int


def apply(
    connection: sa.Connection, notifier: Notifier, arrivals: Sequence[Arrival], blocks: Blocks, now: float
) -> set[int]:
    """Apply whole pushes in their order, in the caller's transaction. Returns the numbers of the incidents changed."""
    _apply_readings(connection, notifier, arrivals, blocks)
    return _apply_events(connection, notifier, arrivals, now)


def apply_late(
    connection: sa.Connection, notifier: Notifier, arrivals: Sequence[Arrival], blocks: Blocks, now: float
) -> set[int]:
    """Apply pushes whose agents have sent later ones meanwhile: only the past changes. Readings go to the history. A fault of
    which nothing newer is known is over, since the agent has told its standing since: it is recorded and told once, as
    one that cleared before notification. Returns the numbers of the incidents changed."""
    _apply_readings(connection, notifier, arrivals, blocks, late=True)
    changed: set[int] = set()
    for arrival in arrivals:
        events = [event for _, event in _new_events(arrival, notifier.snapshot) if isinstance(event, Verdict)]
        known = rows.lock_latest_incidents(connection, {event.key for event in events})
        passed = [event for event in events if not _is_told(known.get(event.key), event)]
        last = {event.key: event for event in passed}.values()
        ends = [_end_of(event, arrival.received_at) for event in last if event.level is not Level.OK]
        if passed:
            told = [(arrival.push.agent, event) for event in (*passed, *ends)]
            changed |= apply_events(connection, notifier, told, now)
    return changed


def _is_told(known: Incident | None, event: Verdict) -> bool:
    """Whether something as new is known of the same rule, device and instance."""
    return known is not None and (known.open or max(known.began_at, known.ended_at or 0.0) >= event.since)


def _end_of(event: Verdict, at: float) -> Verdict:
    return replace(event, id=f"late {event.id}"[:_ID_CHARACTERS], level=Level.OK, since=max(at, event.since))


def _owns(name: str, device: str, snapshot: Snapshot) -> bool:
    """Whether the device belongs to the agent: the inventory may have changed since the push was journalled."""
    known = snapshot.devices.get(device)
    return known is not None and known.agent == name


# ---- readings ----


def _apply_readings(
    connection: sa.Connection, notifier: Notifier, arrivals: Iterable[Arrival], blocks: Blocks, *, late: bool = False
) -> None:
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
                "at": frame.at, "column": to_json(frame.columns).decode(),
            }  # fmt: skip
            past.append(row)
            newest[block.device, block.probe] = {**row, "probe": block.probe}
    notifier.store.write_many(connection, history, past)
    if late:
        return
    for row in newest.values():
        del row["seq"]
    # The last frame of the lane is the latest one, also where its time is earlier: clocks may be set back.
    notifier.store.write_many(connection, latest, list(newest.values()), keep=())


# ---- events ----


def _apply_events(connection: sa.Connection, notifier: Notifier, arrivals: Sequence[Arrival], now: float) -> set[int]:
    events = [event for arrival in arrivals for event in _new_events(arrival, notifier.snapshot)]
    changed = apply_events(connection, notifier, events, now) if events else set()
    _note_backlog(connection, arrivals, now)
    has_come(connection, _reported(arrivals))
    return changed


def _reported(arrivals: Iterable[Arrival]) -> set[str]:
    """The agents that sent their standing verdicts."""
    return {
        arrival.push.agent
        for arrival in arrivals
        if arrival.push.lane is Lane.EVENTS
        and any(isinstance(item.body, ActiveVerdicts) and item.seq > arrival.after_seq for item in arrival.push.items)
    }


def _new_events(arrival: Arrival, snapshot: Snapshot) -> Iterator[tuple[str, Event]]:
    """The new events of a push, each with its agent. What concerns devices of other agents is left out."""
    name = arrival.push.agent
    for seq, event in arrival.push.items:
        if seq <= arrival.after_seq:
            continue
        if isinstance(event, ActiveVerdicts):
            own = tuple(verdict for verdict in event.verdicts if _owns(name, verdict.device, snapshot))
            yield name, replace(event, verdicts=own)
        elif isinstance(event, Verdict | Withdrawal) and _owns(name, event.device, snapshot):
            yield name, event


def apply_events(
    connection: sa.Connection, notifier: Notifier, events: Sequence[tuple[str, Event]], now: float
) -> set[int]:
    """Apply (agent, event) in their order. Rungs and notices follow after the last one: a part of the events would page for
    faults that are over. Returns the numbers of the incidents changed."""
    troubles.lock_all(notifier.store, connection)
    keys = _keys(event for _, event in events)
    group = _Group(connection, now, rows.lock_latest_incidents(connection, keys), {device for device, _, _ in keys})
    for name, event in events:
        _apply_event(group, name, event)
    rows.add_transitions(connection, group.in_order, now)
    follow_up(connection, notifier, group.changes, now)
    notifier.store.add_to_counters(connection, {"reconciled": group.reconciled, **group.left_out})
    return set(group.changes)


OPEN_OF_DEVICE = 500
"""How many open incidents a device may have. Further faults of it open none until some have ended; its agent exceeds its limits then,
which is an incident of its own."""

LEFT_OUT = "faults left out "
"""Begins the names of the counters of such faults, one for each agent."""

_DEVICES_PER_QUERY = 200


@dataclass(slots=True)
class _Group:
    """The latest incident of each key in a group of events, and the changes of each incident by its number: within one
    group an incident may end and the next one of its key begin."""

    connection: sa.Connection
    now: float
    known: dict[Key, Incident]
    devices: set[str]
    changes: dict[int, list[IncidentChange]] = field(default_factory=dict)
    reconciled: int = 0
    in_order: list[IncidentChange] = field(default_factory=list)
    open_of: dict[str, int] | None = None
    left_out: "Counter[str]" = field(default_factory=Counter)

    def keep(self, change: IncidentChange | None) -> None:
        if change is None or (not change.incident.incident and self.full(change.incident)):
            return
        saved = rows.save_incident(self.connection, change.incident)
        self.known[saved.key] = saved
        self.in_order.append(IncidentChange(saved, change.transitions))
        self.changes.setdefault(saved.incident, []).append(self.in_order[-1])

    def full(self, new: Incident) -> bool:
        """Whether the device of a new incident has as many as it may have. Counts the incident."""
        if self.open_of is None:
            self.open_of = _open_incidents(self.connection, self.devices)
        count = self.open_of.get(new.device, 0)
        if count >= OPEN_OF_DEVICE:
            self.left_out[LEFT_OUT + new.agent] += 1
            return True
        self.open_of[new.device] = count + 1
        return False


def _open_incidents(connection: sa.Connection, devices: Iterable[str]) -> dict[str, int]:
    """How many incidents of each of these devices are open."""
    found: dict[str, int] = {}
    names = sorted(devices)
    for start in range(0, len(names), _DEVICES_PER_QUERY):
        mine = incident_table.c.device.in_(names[start : start + _DEVICES_PER_QUERY])
        query = sa.select(incident_table.c.device, sa.func.count()).where(mine, incident_table.c.state == "open")
        found |= {row[0]: row[1] for row in connection.execute(query.group_by(incident_table.c.device))}
    return found


def _keys(events: Iterable[Event]) -> set[Key]:
    found: set[Key] = set()
    for event in events:
        found |= {verdict.key for verdict in event.verdicts} if isinstance(event, ActiveVerdicts) else {event.key}
    return found


def _apply_event(group: _Group, name: str, event: Event) -> None:
    if isinstance(event, Verdict):
        group.keep(incidents.judge(group.known.get(event.key), event, name))
    elif isinstance(event, ActiveVerdicts):
        _reconcile(group, name, event)
    else:
        known = group.known.get(event.key)
        if known and known.open:
            group.keep(incidents.withdraw(known, event.at, f"agent:{name}", event.reason))


def _reconcile(group: _Group, name: str, standing: ActiveVerdicts) -> None:
    for incident in rows.lock_open_incidents(group.connection, name):
        group.known.setdefault(incident.key, incident)
    missed, vanished = incidents.reconcile(standing, group.known.values(), name)
    for verdict in missed:
        group.keep(incidents.judge(group.known.get(verdict.key), verdict, name, "reconciled"))
    for incident in vanished:
        note = "reconciled: the agent no longer reports it"
        group.keep(incidents.resolve(incident, standing.at, f"agent:{name}", note=note))
    group.reconciled += len(missed) + len(vanished)


def _note_backlog(connection: sa.Connection, arrivals: Iterable[Arrival], now: float) -> None:
    """Note which agents announce further events, and since when: `policy.hold` holds their incidents meanwhile."""
    announced = {arrival.push.agent: arrival.push.more for arrival in arrivals if arrival.push.lane is Lane.EVENTS}
    continued = agent.c.backlog_until.between(now, now + BACKLOG_S)  # a time further ahead: our clock was set back
    since = sa.case((continued, agent.c.backlog_since), else_=now)
    for name, more in announced.items():
        mine = sa.update(agent).where(agent.c.agent == name)
        if more:
            connection.execute(mine.values(backlog_since=since, backlog_until=now + BACKLOG_S))
        else:
            connection.execute(mine.where(agent.c.backlog_until != 0.0).values(backlog_until=0.0))
