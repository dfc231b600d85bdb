"""What journalled pushes do to the world: incidents with their rungs and notices, latest values, history."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from pydantic_core import to_json

from collector import incidents, ladder
from collector.incidents import Change, Incident, Transition
from collector.ladder import Step
from collector.messages import Kind
from collector.notices import Desk
from collector.store import rows
from collector.store.engine import Store
from collector.store.schema import agent, history, latest
from model.batch import Block, Frame, Lane, Push
from model.verdict import Event, Key, Level, Standing, Verdict, Withdrawal
from model.wire import encode_values

COLLECTOR = "collector"
"""Who judges our own rules, and the device they speak of."""

BEHIND_S = 60.0
"""How long half a story may hold the ladder back."""

Blocks = dict[tuple[str, str, int], Block]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A journalled push: items up to `after_seq` are replays."""

    push: Push
    received_at: float
    after_seq: int


def apply(connection: sa.Connection, desk: Desk, arrivals: Sequence[Arrival], blocks: Blocks, now: float) -> set[int]:
    """Apply pushes in their order, whole, in the caller's transaction. Returns the numbers of the incidents touched."""
    _apply_readings(connection, desk.store, arrivals, blocks)
    return _apply_events(connection, desk, arrivals, now)


# ---- readings ----


def _apply_readings(connection: sa.Connection, store: Store, arrivals: Iterable[Arrival], blocks: Blocks) -> None:
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
            row = {
                "device": block.device, "agent": push.agent, "epoch": push.epoch, "block": frame.block, "seq": seq,
                "at": frame.at, "column": to_json(encode_values(frame.values)).decode(),
            }  # fmt: skip
            past.append(row)
            newest[block.device, block.probe] = {**row, "probe": block.probe}
    if past:
        connection.execute(sa.insert(history), past)
        for row in newest.values():
            del row["seq"]
        connection.execute(store.upsert(latest, newer="at"), list(newest.values()))


# ---- events ----


@dataclass(slots=True)
class _Touched:
    """The incidents a group of pushes speaks of, as they are now, and what happened to each."""

    connection: sa.Connection
    now: float
    known: dict[Key, Incident]
    changes: dict[Key, list[Change]] = field(default_factory=dict)
    reconciled: int = 0

    def keep(self, change: Change | None) -> None:
        if change is None:
            return
        saved = rows.save(self.connection, change, self.now)
        self.known[saved.key] = saved
        self.changes.setdefault(saved.key, []).append(Change(saved, change.transitions))


def _apply_events(connection: sa.Connection, desk: Desk, arrivals: Sequence[Arrival], now: float) -> set[int]:
    events = [
        (arrival.push.agent, event)
        for arrival in arrivals
        if arrival.push.lane is Lane.EVENTS
        for seq, event in arrival.push.items
        if seq > arrival.after_seq and isinstance(event, Verdict | Withdrawal | Standing)
    ]
    touched = apply_events(connection, desk, events, now) if events else set()
    _note_behind(connection, arrivals, now)
    return touched


def apply_events(connection: sa.Connection, desk: Desk, events: Sequence[tuple[str, Event]], now: float) -> set[int]:
    """Apply (who judged it, event) in order, and only then set rungs and notices: half a story pages nobody."""
    touched = _Touched(connection, now, rows.latest_of(connection, _keys(event for _, event in events)))
    for who, event in events:
        _apply_event(touched, who, event)
    for key, changes in touched.changes.items():
        follow_up(connection, desk, touched.known[key], changes, now)
    desk.store.count_up(connection, {"reconciled": touched.reconciled})
    return {touched.known[key].incident for key in touched.changes}


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


def _note_behind(connection: sa.Connection, arrivals: Iterable[Arrival], now: float) -> None:
    """Remember which agents are in the middle of a story, so that nobody is paged on half of it."""
    said = {arrival.push.agent: arrival.push.more for arrival in arrivals if arrival.push.lane is Lane.EVENTS}
    for who, more in said.items():
        wanted = now + BEHIND_S if more else 0.0
        connection.execute(
            sa.update(agent).where(agent.c.agent == who, agent.c.behind_until != wanted), {"behind_until": wanted}
        )


# ---- what follows ----


def follow_up(connection: sa.Connection, desk: Desk, now_is: Incident, changes: Sequence[Change], now: float) -> None:
    """Set the rungs of an incident right after a group of changes to it, and tell those who must hear of the change."""
    if now_is.open:
        steps = [step for change in changes for step in change.transitions]
        _climb(connection, desk, now_is, steps)
        if now_is.level is Level.CRITICAL and any(step.kind is incidents.Kind.RISEN for step in steps):
            desk.tell(connection, Kind.RISEN, now_is, desk.told(connection, now_is), now)
        return
    rows.drop_undecided(connection, now_is)
    told = desk.told(connection, now_is)
    if now_is.state is incidents.State.WITHDRAWN:
        desk.tell(connection, Kind.WITHDRAWN, now_is, told, now)
    elif told:
        desk.tell(connection, Kind.RECOVERED, now_is, told, now)
    else:
        desk.tell_duty(connection, Kind.PASSED, now_is, now)


def _climb(connection: sa.Connection, desk: Desk, now_is: Incident, happened: Iterable[Transition]) -> None:
    ladders = desk.orders.books.ladders
    if ladder.over(now_is, ladders):
        rows.drop_undecided(connection, now_is)
        return
    held = rows.steps_of(connection, [now_is.incident]).get((now_is.incident, now_is.round), [])
    steps: Sequence[Step] = held
    for one in happened:
        if one.kind in (incidents.Kind.OPENED, incidents.Kind.REOPENED):
            steps = ladder.climb(ladder.ladder_for(one.level, ladders), one.at)
        elif one.kind is incidents.Kind.RISEN:
            steps = ladder.climb(ladder.ladder_for(one.level, ladders), one.at, steps)
    if steps is not held:
        rows.replace_undecided(connection, now_is, steps)


def withdraw_gone(connection: sa.Connection, desk: Desk, now: float) -> None:
    """After new orders: incidents whose device or rule no longer stands in them have nobody to say ok."""
    for known in rows.open_of(connection):
        rule_gone = desk.orders.rules.named(known.rule) is None
        if desk.orders.device(known.device) is None and known.device != COLLECTOR:
            change = incidents.withdraw(known, now, COLLECTOR, "the device is no longer in the inventory")
        elif rule_gone:
            change = incidents.withdraw(known, now, COLLECTOR, "the rule is gone")
        else:
            continue
        follow_up(connection, desk, rows.save(connection, change, now), [change], now)
