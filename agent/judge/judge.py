"""Every sweep goes by the rules here. Holds the states, prepares per device which rule looks at which column, and turns
changes of state into events. Knows no clock and no disk: times are those of the sweeps."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from watchkeeper.agent.event import EVENT_OVER, EVENT_QUANTITY, MAX_EVENTS
from watchkeeper.model.device import Category, Device
from watchkeeper.model.reading import Missing, Series, Sweep
from watchkeeper.model.verdict import ActiveVerdicts, Event, Key, Level, Verdict, Withdrawal
from watchkeeper.rules.evaluate import ALL_OPEN, RuleState, evaluate
from watchkeeper.rules.load import RuleSet
from watchkeeper.rules.rule import Rule

GONE_SWEEPS = 3
"""In how many answered sweeps in a row an instance must be absent before its verdict is withdrawn: a device that has
just started, or an agent, may see only part of it at first."""

ANSWERING = "device.answering"

LONGEST_REASON = 200

EXPLAINED = frozenset({ANSWERING, "service.state"})
"""Quantities whose bad word says nothing of its cause; the missing readings beside it do."""


class Judgement(NamedTuple):
    """What a sweep or a new bundle changed: events to tell, and states to keep (None: to forget) in the same commit."""

    events: list[Event]
    states: dict[Key, RuleState | None]


UNCHANGED = Judgement([], {})


class _Slot:
    """One rule on one column of one device."""

    __slots__ = ("index", "key", "label", "rule", "state")

    def __init__(self, index: int, rule: Rule, series: Series, state: RuleState | None) -> None:
        self.index, self.rule, self.label, self.state = index, rule, series.label, state
        self.key: Key = (series.device, rule.rule, series.instance)


@dataclass(slots=True)
class _Plan:
    """What to judge in a device's sweeps as long as its columns are these. `absent` are states whose column is not among
    them, and in how many answered sweeps in a row it was not."""

    series: tuple[Series, ...]
    slots: list[_Slot]
    absent: dict[Key, int] = field(default_factory=dict)


class Judge:
    """See the module. For one thread. `states` are those kept from before; `mint` makes ids."""

    def __init__(self, states: Mapping[Key, RuleState], mint: Callable[[], str] = lambda: uuid.uuid4().hex) -> None:
        self._states = dict(states)
        self._mint = mint
        self._rules = RuleSet(())
        self._devices: frozenset[str] = frozenset()
        self._plans: dict[str, _Plan] = {}

    # ---- hot ----

    def sweep(self, sweep: Sweep, category: Category) -> Judgement:
        """Judge one sweep."""
        plan = self._plans.get(sweep.device)
        if plan is None or plan.series is not sweep.series:
            plan = self._prepare(sweep, category)
        values, at, mint = sweep.values, sweep.at, self._mint
        changed = []
        for slot in plan.slots:
            state = slot.state
            now = evaluate(slot.rule, state, values[slot.index], at, mint, slot.label)
            if now is not state:
                if now.evidence.quantity in EXPLAINED and now.level.bad:
                    now = _explained(now, sweep)
                slot.state = now
                changed.append((slot.key, state, now))
        if not (changed or plan.absent):
            return UNCHANGED
        return self._tell(sweep, plan, changed)

    def _tell(self, sweep: Sweep, plan: _Plan, changed: list[tuple[Key, RuleState | None, RuleState]]) -> Judgement:
        change = Judgement([], {})
        for key, before, now in changed:
            self._states[key] = now
            if now.id != before.id if before else now.level is not Level.OK:
                change.events.append(_verdict(key, now))
            if not (_calm(now) and (before is None or _calm(before))):
                change.states[key] = None if _calm(now) else now
        for key in list(plan.absent):
            if self._outlasts(key):
                del plan.absent[key]
                self._outlast(key, sweep.at, change)
            elif sweep.values[0] == "yes":
                plan.absent[key] += 1
                if plan.absent[key] >= GONE_SWEEPS:
                    del plan.absent[key]
                    self._withdraw(
                        key, sweep.at, "the device no longer has it, or the rule no longer looks at it", change
                    )
        return change

    def _outlasts(self, key: Key) -> bool:
        """Whether its verdict stays when its column goes (an agent that starts has no column for events of before): an event
        that was bad, unless it is one of too many."""
        if not self._is_bad_event(key):
            return False
        return sum(other[0] == key[0] and self._is_bad_event(other) for other in self._states) <= MAX_EVENTS

    def _is_bad_event(self, key: Key) -> bool:
        state = self._states[key]
        return state.evidence.quantity == EVENT_QUANTITY and state.level is not Level.OK

    def _outlast(self, key: Key, at: float, change: Judgement) -> None:
        state, rule = self._states[key], self._rules.named(key[1])
        now = evaluate(rule, state, EVENT_OVER, at, self._mint, state.evidence.label) if rule else state
        if now is not state:
            self._states[key] = change.states[key] = now
            change.events.append(_verdict(key, now))

    def _prepare(self, sweep: Sweep, category: Category) -> _Plan:
        """Find once which rules look at which columns; a rule sees an instance once, whatever a device may claim."""
        device, before = sweep.device, self._plans.get(sweep.device)
        slots: dict[Key, _Slot] = {}
        for index, series in enumerate(sweep.series):
            for rule in self._rules.of(series, category):
                slot = _Slot(index, rule, series, None)
                slot.state = self._states.get(slot.key)
                slots.setdefault(slot.key, slot)
        counts = before.absent if before else {}
        absent = {key: counts.get(key, 0) for key in self._states if key[0] == device and key not in slots}
        plan = self._plans[device] = _Plan(sweep.series, list(slots.values()), absent)
        return plan

    # ---- cold ----

    def activate(self, rules: RuleSet, devices: Iterable[Device], at: float) -> Judgement:
        """Put a bundle in force. States of what is still there are kept, also where a rule has other limits now. Of a
        device that is ours no longer nothing is said: the collector, or another agent, speaks of it."""
        self._rules = rules
        self._devices = frozenset(device.device for device in devices)
        self._plans.clear()
        change = Judgement([], {})
        for key in list(self._states):
            if key[0] not in self._devices:
                del self._states[key]
                change.states[key] = None
            elif rules.named(key[1]) is None:
                self._withdraw(key, at, "the rule is gone", change)
        return change

    def _withdraw(self, key: Key, at: float, reason: str, change: Judgement) -> None:
        state = self._states.pop(key)
        change.states[key] = None
        if state.level is not Level.OK:
            change.events.append(Withdrawal(self._mint(), *key, at, reason))

    def active_verdicts(self, at: float) -> ActiveVerdicts:
        """Every verdict that is not ok."""
        bad = sorted(item for item in self._states.items() if item[1].level is not Level.OK)
        return ActiveVerdicts(at, tuple(_verdict(key, state) for key, state in bad))

    def states(self) -> dict[Key, RuleState]:
        """Every state worth keeping: what a spool that lost its own needs."""
        return {key: state for key, state in self._states.items() if not _calm(state)}

    def silence_judged(self, device: str) -> bool:
        """Whether nothing would change if the device stayed silent: no verdict of its silence waits for its `for`."""
        plan = self._plans.get(device)
        return plan is not None and not any(
            _pending(slot.state, everything=plan.series[slot.index].quantity == ANSWERING) for slot in plan.slots
        )

    def complete(self) -> bool:
        """Whether `standing` is the whole truth: every device was swept since."""
        return self._devices <= self._plans.keys()


def _calm(state: RuleState) -> bool:
    """Whether forgetting the state makes no difference."""
    return state.level is Level.OK and state.latches is ALL_OPEN


def _explained(state: RuleState, sweep: Sweep) -> RuleState:
    """The same with the reason that the probe gave for what it could not read."""
    why = next((value.detail for value in sweep.values if isinstance(value, Missing) and value.detail), "")
    return replace(state, evidence=replace(state.evidence, says=why[:LONGEST_REASON])) if why else state


def _pending(state: RuleState | None, *, everything: bool) -> bool:
    if state is None:
        return False
    latches = state.latches if everything else (state.latches.missing,)
    return any(latch.first is not None and not latch.closed for latch in latches)


def _verdict(key: Key, state: RuleState) -> Verdict:
    device, rule, instance = key
    return Verdict(state.id, device, rule, instance, state.level, state.since, state.evidence)
