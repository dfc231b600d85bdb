"""Judges every sweep by the rules. It keeps the states, prepares per device which rule reads which column, and makes
events of changed states. It uses no clock and no disk: the times are those of the sweeps."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from watchkeeper.model.device import Category, Device
from watchkeeper.model.event import EVENT_OVER, EVENT_QUANTITY, MAX_EVENTS
from watchkeeper.model.reading import Missing, Series, Sweep
from watchkeeper.model.verdict import ActiveVerdicts, Event, Key, Level, Withdrawal
from watchkeeper.rules.conditions import Counts, apply, find_columns, tell
from watchkeeper.rules.evaluate import ALL_OPEN, RuleState, evaluate, evaluate_when, is_settled, to_verdict
from watchkeeper.rules.load import RuleSet
from watchkeeper.rules.presence import Asked, Presence
from watchkeeper.rules.rule import Rule

WITHDRAW_AFTER_SWEEPS = 3
"""A verdict is withdrawn when its instance is missing from so many answered sweeps in a row: just after a start, of the
device or of the agent, a sweep may be incomplete."""

ANSWERING = "device.answering"

MAX_REASON_CHARS = 200

WITHOUT_CAUSE = frozenset({ANSWERING, "service.state"})
"""Quantities whose bad state does not tell the cause; the missing readings of the same sweep do."""


class Judgement(NamedTuple):
    """What a sweep or a new bundle changed: events to send, and states to keep (None: to forget) in the same commit."""

    events: list[Event]
    states: dict[Key, RuleState | None]


UNCHANGED = Judgement([], {})


class _Slot:
    """One rule on one column of one device. `companions` are the columns that the rule's conditions look at. `settled`:
    while the value breaks no limit, the conditions need not be looked at."""

    __slots__ = ("companions", "index", "key", "label", "rule", "settled", "state")

    def __init__(self, index: int, rule: Rule, sweep: Sweep, state: RuleState | None) -> None:
        series = sweep.series[index]
        self.index, self.rule, self.label, self.state = index, rule, series.label, state
        self.key: Key = (series.device, rule.rule, series.instance)
        self.companions = find_columns(rule.when, sweep.series, index)
        self.settled = is_settled(rule, state)


@dataclass(slots=True)
class _Plan:
    """What to judge in a device's sweeps while its columns are these. `conditional` are the slots of rules with
    conditions, `slots` all others. `absent` are states without a column, each with the number of answered sweeps in a row
    that lacked it."""

    series: tuple[Series, ...]
    slots: list[_Slot]
    conditional: list[_Slot]
    absent: dict[Key, int] = field(default_factory=dict)


class Judge:
    """Judges sweeps, in an agent and in the collector (its own rules); for one thread. `states` and `parts` (the records of
    rules/presence.py) are those of an earlier run; `mint` makes ids; `asked` tells whether a device is still asked for a
    series."""

    def __init__(
        self,
        states: Mapping[Key, RuleState],
        mint: Callable[[], str] = lambda: uuid.uuid4().hex,
        parts: Mapping[str, str] | None = None,
        asked: Asked = lambda _: True,
    ) -> None:
        self._states = dict(states)
        self._mint = mint
        self._presence = Presence(self._judged, parts, asked)
        self._rules = RuleSet(())
        self._devices: frozenset[str] = frozenset()
        self._plans: dict[str, _Plan] = {}
        self._good: dict[str, RuleState] = {}

    # ---- for every sweep ----

    def sweep(self, sweep: Sweep, category: Category) -> Judgement:
        """Judge one sweep, with what is gone."""
        return self.judge(self.join(sweep, category), category)

    def join(self, sweep: Sweep, category: Category) -> Sweep:
        """The sweep with the columns of what was read before and is gone."""
        return self._presence.join(sweep, category)

    def judge(self, sweep: Sweep, category: Category) -> Judgement:
        """Judge one sweep that `join` has returned."""
        if not self._presence.removals:
            return self._judge(sweep, category)
        ended, judgement = self._ended(sweep.at), self._judge(sweep, category)
        return Judgement(ended.events + judgement.events, ended.states | judgement.states)

    def _judge(self, sweep: Sweep, category: Category) -> Judgement:
        plan = self._plans.get(sweep.device)
        if plan is None or plan.series is not sweep.series:
            plan = self._prepare(sweep, category)
        values, at, mint = sweep.values, sweep.at, self._mint
        changed = []
        for slot in plan.slots:
            state = slot.state
            now = evaluate(slot.rule, state, values[slot.index], at, mint, slot.label)
            if now is not state:
                if now.evidence.quantity in WITHOUT_CAUSE and now.level.bad:
                    now = _explained(now, sweep)
                slot.state = now = self._shared(slot.rule, state, now)
                changed.append((slot.key, state, now))
        for slot in plan.conditional:
            if slot.settled and slot.rule.breaks_none(values[slot.index]):
                continue
            state = slot.state
            now = self._judge_when(slot, sweep)
            if now is not state:
                slot.state = now = self._shared(slot.rule, state, now)
                slot.settled = is_settled(slot.rule, now)
                changed.append((slot.key, state, now))
        if not (changed or plan.absent):
            return UNCHANGED
        judgement = Judgement([], {})
        self._change(changed, judgement)
        self._check_absent(sweep, plan, judgement)
        return judgement

    def _shared(self, rule: Rule, before: RuleState | None, now: RuleState) -> RuleState:
        """The state to keep. Of a rule, all series that were good from the beginning share one state, which is neither sent
        nor stored: an agent with many devices has hundreds of thousands of them."""
        if before is None and _is_default(now):
            return self._good.setdefault(rule.rule, now)
        return now

    def _judge_when(self, slot: _Slot, sweep: Sweep) -> RuleState:
        """Judge a column by a rule with conditions. A changed verdict tells the companions."""
        rule, state, value = slot.rule, slot.state, sweep.values[slot.index]
        applied = apply(rule.when, slot.companions, sweep.values, state.held if state else frozenset())
        now = evaluate_when(rule, state, value, sweep.at, self._mint, slot.label, applied)
        if state is not None and now.id == state.id:
            return now
        if now.evidence.quantity in WITHOUT_CAUSE and now.level.bad:
            now = _explained(now, sweep)
        ended = now.level is Level.OK and applied.counts is Counts.NO and not rule.breaks_none(value)
        if not (now.level.bad or ended):
            return now
        told = tell(rule.when, slot.companions, sweep.series, sweep.values, holds=not ended)
        return replace(now, evidence=replace(now.evidence, companions=told))

    def _change(self, changed: list[tuple[Key, RuleState | None, RuleState]], judgement: Judgement) -> None:
        for key, before, now in changed:
            self._states[key] = now
            if now.id != before.id if before else now.level is not Level.OK:
                judgement.events.append(to_verdict(key, now))
            if not (_is_default(now) and (before is None or _is_default(before))):
                judgement.states[key] = None if _is_default(now) else now

    def _check_absent(self, sweep: Sweep, plan: _Plan, judgement: Judgement) -> None:
        """Withdraw the verdicts of columns that are missing for long; those of bad events become unknown. A sweep that has no
        value at all says nothing about them: the probe may be learning what the device is."""
        answering, *others = sweep.values
        answers = sweep.series[0].quantity == ANSWERING and answering == "yes"
        telling = answers and not (others and all(value.__class__ is Missing for value in others))
        for key in list(plan.absent):
            if self._survives(key):
                del plan.absent[key]
                self._end_event(key, sweep.at, judgement)
            elif telling:
                plan.absent[key] += 1
                if plan.absent[key] >= WITHDRAW_AFTER_SWEEPS:
                    del plan.absent[key]
                    reason = "the device no longer has it, or the rule no longer applies to it"
                    self._withdraw(key, sweep.at, reason, judgement)

    def _survives(self, key: Key) -> bool:
        """Whether the verdict stays although its column is missing: that of a bad event, unless there are too many. (An
        agent that has just started has no columns for earlier events.)"""
        if not self._is_bad_event(key):
            return False
        return sum(other[0] == key[0] and self._is_bad_event(other) for other in self._states) <= MAX_EVENTS

    def _is_bad_event(self, key: Key) -> bool:
        state = self._states[key]
        return state.evidence.quantity == EVENT_QUANTITY and state.level is not Level.OK

    def _end_event(self, key: Key, at: float, judgement: Judgement) -> None:
        state, rule = self._states[key], self._rules.named(key[1])
        now = evaluate(rule, state, EVENT_OVER, at, self._mint, state.evidence.label) if rule else state
        if now is not state:
            self._states[key] = judgement.states[key] = now
            judgement.events.append(to_verdict(key, now))

    def _prepare(self, sweep: Sweep, category: Category) -> _Plan:
        """Find which rules apply to which columns. A rule judges an instance once, even if it is there twice."""
        device, before = sweep.device, self._plans.get(sweep.device)
        slots: dict[Key, _Slot] = {}
        for index, series in enumerate(sweep.series):
            for rule in self._rules.of(series, category):
                key = (device, rule.rule, series.instance)
                if key not in slots:
                    slots[key] = _Slot(index, rule, sweep, self._states.get(key))
        counts = before.absent if before else {}
        absent = {key: counts.get(key, 0) for key in self._states if key[0] == device and key not in slots}
        always = [slot for slot in slots.values() if not slot.rule.when]
        conditional = [slot for slot in slots.values() if slot.rule.when]
        plan = self._plans[device] = _Plan(sweep.series, always, conditional, absent)
        return plan

    # ---- seldom ----

    def activate(self, rules: RuleSet, devices: Iterable[Device], at: float) -> Judgement:
        """Activate rules and devices. States of devices and rules that remain are kept, even if a rule has new limits. For
        a device that is no longer among them there is no event: the collector, or another agent, reports it."""
        devices = tuple(devices)
        self._rules = rules
        self._devices = frozenset(device.device for device in devices)
        self._plans.clear()
        self._good.clear()
        self._presence.activate(devices)
        judgement = Judgement([], {})
        for key in list(self._states):
            if key[0] not in self._devices:
                del self._states[key]
                judgement.states[key] = None
            elif rules.named(key[1]) is None:
                self._withdraw(key, at, "the rule is gone", judgement)
        return judgement

    def remove(self, device: str, part: str, reason: str, at: float) -> Judgement:
        """A person confirms that a part of a device was removed: its readings are forgotten, and their verdicts end with
        that reason. Of a part that is not gone nothing changes, so a request may come twice."""
        self._presence.remove(device, part, reason)
        return self._ended(at)

    def _ended(self, at: float) -> Judgement:
        """The end of all verdicts on what was removed."""
        judgement = Judgement([], {})
        for device, keys, reason in self._presence.removals:
            self._plans.pop(device, None)
            for key, state in list(self._states.items()):
                if key[0] == device and (state.evidence.quantity, key[2]) in keys:
                    self._withdraw(key, at, reason, judgement)
        self._presence.removals.clear()
        return judgement

    def _judged(self, series: Series, category: Category) -> bool:
        return bool(self._rules.of(series, category))

    @property
    def parts_changed(self) -> bool:
        """Whether `take_parts` would return anything."""
        return self._presence.changed

    def take_parts(self) -> dict[str, str | None]:
        """The records of what was read that are new since the last call, by device (None: to forget)."""
        return self._presence.take_unsaved()

    def parts(self) -> dict[str, str]:
        """All records of what was read, for a spool that lost its own."""
        return self._presence.records()

    def _withdraw(self, key: Key, at: float, reason: str, judgement: Judgement) -> None:
        state = self._states.pop(key)
        judgement.states[key] = None
        if state.level is not Level.OK:
            judgement.events.append(Withdrawal(self._mint(), *key, at, reason))

    def active_verdicts(self, at: float, *, unsure: bool = False) -> ActiveVerdicts:
        """All verdicts that are not ok. With `unsure`, also those that wait for the `for` of their limit, as unknown: where
        earlier states are lost or old, such a fault may have been there for long, and must not count as over."""
        told = {key: state for key, state in self._states.items() if state.level is not Level.OK}
        if unsure:
            told |= {
                key: replace(state, level=Level.UNKNOWN) for key, state in self._states.items() if _is_unsure(state)
            }
        return ActiveVerdicts(at, tuple(to_verdict(key, told[key]) for key in sorted(told)))

    @property
    def unsure(self) -> bool:
        """Whether a verdict waits for the `for` of its limit."""
        return any(map(_is_unsure, self._states.values()))

    def states(self) -> dict[Key, RuleState]:
        """All states that must be kept, for a spool that lost its own."""
        return {key: state for key, state in self._states.items() if not _is_default(state)}

    def silence_judged(self, device: str) -> bool:
        """Whether nothing would change if the device stayed silent: no verdict on its silence waits for its `for`."""
        plan = self._plans.get(device)
        return plan is not None and not any(
            _pending(slot.state, everything=plan.series[slot.index].quantity == ANSWERING)
            for slot in (*plan.slots, *plan.conditional)
        )

    def complete(self) -> bool:
        """Whether `active_verdicts` is complete: every device of the bundle was read."""
        return self._devices <= self._plans.keys()


def _is_default(state: RuleState) -> bool:
    """Whether forgetting the state makes no difference."""
    return state.level is Level.OK and state.latches is ALL_OPEN and not state.held


def _is_unsure(state: RuleState) -> bool:
    return state.level is Level.OK and _pending(state, everything=True)


def _explained(state: RuleState, sweep: Sweep) -> RuleState:
    """The state with the reason that the probe gave for a value it could not read."""
    why = next((value.detail for value in sweep.values if isinstance(value, Missing) and value.detail), "")
    return replace(state, evidence=replace(state.evidence, says=why[:MAX_REASON_CHARS])) if why else state


def _pending(state: RuleState | None, *, everything: bool) -> bool:
    if state is None:
        return False
    latches = state.latches if everything else (state.latches.missing,)
    return any(latch.first is not None and not latch.closed for latch in latches)
