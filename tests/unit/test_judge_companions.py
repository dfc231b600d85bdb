"""The judge and rules with conditions: which series they look at, what a verdict tells, what is kept, and what it costs."""

import itertools
import json
from collections.abc import Mapping

import pytest

from tests.agent_room import columns, device, sweep
from watchkeeper.model.batch import Document
from watchkeeper.model.device import Category
from watchkeeper.model.reading import Missing, Reason, Series, Sweep, Value
from watchkeeper.model.verdict import Companion, Level, Verdict
from watchkeeper.rules import judge as judge_module
from watchkeeper.rules.evaluate import RuleState, decode_state, encode_state
from watchkeeper.rules.judge import UNCHANGED, Judge, Judgement
from watchkeeper.rules.load import load_rules, shipped

GONE = Missing(Reason.TIMEOUT, "no answer")
HEAD = "rules:\n  - rule: a.rule\n    clause: 3.6\n    title: T\n    advice: A\n"
RUNTIME = (
    HEAD
    + """
    quantity: battery.runtime
    critical: {below: 5 min}
    clear: {for: 1 min}
    when: [{quantity: output.source, is: battery}]
"""
)
LOST = (
    HEAD
    + """
    quantity: input.voltage
    critical: {below: 70 V}
    when: [{quantity: input.voltage, same: instance, above: 90 V, ever: yes}]
"""
)
UPS = columns("box", "battery.runtime", "output.source")
PHASES = (Series("box", "device.answering"), *(Series("box", "input.voltage", str(n), f"phase {n}") for n in (1, 2, 3)))


def judge(text: str, states: Mapping[tuple[str, str, str], RuleState] | None = None) -> Judge:
    numbers = itertools.count(1)
    made = Judge(states or {}, lambda: f"id-{next(numbers)}")
    made.activate(load_rules([Document("rules.yml", text)]), [device()], 0.0)
    return made


def verdicts(change: Judgement) -> list[Verdict]:
    return [event for event in change.events if isinstance(event, Verdict)]


def restarted(text: str, change: Judgement) -> Judge:
    """A judge that has only what was stored."""
    kept = {key: state for key, state in change.states.items() if state}
    return judge(text, {key: decode_state(json.loads(json.dumps(encode_state(state)))) for key, state in kept.items()})


def test_a_fault_names_its_companion_and_its_end_what_ended_it() -> None:
    one = judge(RUNTIME)
    one.sweep(sweep(UPS, 0, 1200.0, "mains"), Category.UPS)
    assert one.sweep(sweep(UPS, 30, 0.0, "mains"), Category.UPS) is UNCHANGED
    (bad,) = verdicts(one.sweep(sweep(UPS, 60, 240.0, "battery"), Category.UPS))
    assert (bad.level, bad.evidence.value) == (Level.CRITICAL, 240.0)
    assert bad.evidence.companions == (Companion("output.source", "battery"),)
    assert one.sweep(sweep(UPS, 90, 240.0, "mains"), Category.UPS).events == []
    (good,) = verdicts(one.sweep(sweep(UPS, 150, 240.0, "mains"), Category.UPS))
    assert (good.level, good.evidence.value) == (Level.OK, 240.0)
    assert good.evidence.companions == (Companion("output.source", "mains", holds=False),)


def test_a_fault_that_ends_by_its_own_value_names_no_companion() -> None:
    one = judge(RUNTIME)
    one.sweep(sweep(UPS, 0, 240.0, "battery"), Category.UPS)
    one.sweep(sweep(UPS, 30, 900.0, "mains"), Category.UPS)
    (good,) = verdicts(one.sweep(sweep(UPS, 90, 900.0, "mains"), Category.UPS))
    assert (good.level, good.evidence.companions) == (Level.OK, ())


def test_a_value_that_is_missing_when_the_limit_no_longer_counts_ends_the_fault() -> None:
    one = judge(RUNTIME)
    one.sweep(sweep(UPS, 0, 240.0, "battery"), Category.UPS)
    assert one.sweep(sweep(UPS, 30, GONE, "mains"), Category.UPS).events == []
    (good,) = verdicts(one.sweep(sweep(UPS, 90, GONE, "mains"), Category.UPS))
    assert (good.level, good.evidence.companions) == (Level.OK, (Companion("output.source", "mains", holds=False),))


def test_a_ups_that_is_silent_ends_no_fault() -> None:
    for text in (RUNTIME, RUNTIME.replace("is: battery", "is: battery, or_missing: no")):
        one = judge(text)
        one.sweep(sweep(UPS, 0, 240.0, "battery"), Category.UPS)
        for at in range(30, 3600, 30):
            told = verdicts(one.sweep(sweep(UPS, at, GONE, GONE, answering="no"), Category.UPS))
            assert all(verdict.level is Level.UNKNOWN for verdict in told)
        assert one.active_verdicts(3600).verdicts
        (again,) = verdicts(one.sweep(sweep(UPS, 3600, 240.0, "battery"), Category.UPS))
        assert again.level is Level.CRITICAL


def test_a_device_without_the_companion_is_judged_by_the_limit_alone() -> None:
    one = judge(RUNTIME)
    (bad,) = verdicts(one.sweep(sweep(columns("box", "battery.runtime"), 0, 240.0), Category.UPS))
    assert (bad.level, bad.evidence.companions) == (Level.CRITICAL, ())


def test_the_companion_is_found_again_when_the_series_change() -> None:
    one = judge(RUNTIME)
    one.sweep(sweep(UPS, 0, 240.0, "mains"), Category.UPS)
    moved = columns("box", "output.source", "battery.charge", "battery.runtime")
    assert one.sweep(sweep(moved, 30, "mains", 3.0, 240.0), Category.UPS) is UNCHANGED
    (bad,) = verdicts(one.sweep(sweep(moved, 60, "battery", 3.0, 240.0), Category.UPS))
    assert bad.level is Level.CRITICAL


def phases(one: Judge, at: float, *volts: Value) -> Judgement:
    return one.sweep(sweep(PHASES, at, *volts), Category.UPS)


def test_a_phase_that_is_not_wired_is_no_fault_and_one_that_is_lost_is() -> None:
    one = judge(LOST)
    assert phases(one, 0, 230.0, 0.0, 0.0).events == []
    assert phases(one, 30, 231.0, 0.0, 0.0) is UNCHANGED
    (bad,) = verdicts(phases(one, 60, 0.0, 0.0, 0.0))
    assert (bad.instance, bad.level, bad.evidence.label) == ("1", Level.CRITICAL, "phase 1")


def test_that_a_phase_had_voltage_is_stored_once_and_known_after_a_restart() -> None:
    one = judge(LOST)
    change = phases(one, 0, 230.0, 0.0, 230.0)
    assert change.events == []
    assert {key[2] for key in change.states} == {"1", "3"}
    assert one.states().keys() == change.states.keys()
    assert phases(one, 30, 229.0, 0.0, 231.0) is UNCHANGED
    again = restarted(LOST, change)
    assert [verdict.instance for verdict in verdicts(phases(again, 500, 229.0, 0.0, 0.0))] == ["3"]


def test_what_was_remembered_goes_with_its_rule_and_its_device() -> None:
    one = judge(LOST)
    phases(one, 0, 230.0, 230.0, 230.0)
    change = one.activate(load_rules([Document("rules.yml", RUNTIME)]), [], 10.0)
    assert set(change.states.values()) == {None}
    assert one.states() == {}


def test_a_rule_without_conditions_does_not_even_look(monkeypatch: pytest.MonkeyPatch) -> None:
    one = judge(RUNTIME[: RUNTIME.index("    when")])

    def never(*_: object) -> None:
        raise AssertionError("a rule without conditions looks at its own value only")

    monkeypatch.setattr(judge_module, "apply", never)
    monkeypatch.setattr(judge_module, "evaluate_when", never)
    monkeypatch.setattr(judge_module, "tell", never)
    assert [verdict.level for verdict in verdicts(one.sweep(sweep(UPS, 0, 240.0, "mains"), Category.UPS))] == [
        Level.CRITICAL
    ]


def test_conditions_are_looked_at_only_when_they_can_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for a good value in a quiet state, unless a phase is still to be seen well for the first time."""
    looked: list[object] = []
    real = judge_module.apply
    monkeypatch.setattr(judge_module, "apply", lambda *words: looked.append(words) or real(*words))

    def looks(one: Judge, series: tuple[Series, ...], at: float, *values: Value) -> int:
        looked.clear()
        one.sweep(sweep(series, at, *values), Category.UPS)
        return len(looked)

    one = judge(RUNTIME)
    steps = ((0, 1200.0, "mains"), (30, 1200.0, "mains"), (60, 0.0, "mains"), (90, 1200.0, "battery"))
    assert [looks(one, UPS, *step) for step in steps] == [1, 0, 1, 0]
    steps = ((120, 240.0, "battery"), (150, 1200.0, "battery"), (180, 1200.0, "battery"), (210, 1200.0, "battery"))
    assert [looks(one, UPS, *step) for step in steps] == [1, 1, 1, 1], "an open fault must end"
    assert [looks(one, UPS, at, 1200.0, "battery") for at in (240, 270)] == [0, 0]
    two = judge(LOST)
    assert [looks(two, PHASES, at, 230.0, 80.0, 0.0) for at in (0, 30, 60)] == [3, 2, 2]
    assert [looks(two, PHASES, at, 230.0, 230.0, 0.0) for at in (90, 120)] == [2, 1]
    assert looks(judge(LOST, two.states()), PHASES, 0, 230.0, 230.0, 230.0) == 1


def test_a_verdict_that_waits_counts_for_the_judgement_of_silence() -> None:
    text = (
        HEAD
        + """
    quantity: device.answering
    critical: {is: no, for: 1 min}
    when: [{quantity: leak, is: dry}]
"""
    )
    one = judge(text)
    bare = columns("box")
    one.sweep(sweep(bare, 0, answering="no"), Category.UPS)
    assert not one.silence_judged("box")
    one.sweep(sweep(bare, 60, answering="no"), Category.UPS)
    assert one.silence_judged("box")


def test_a_silent_device_has_its_reason_also_by_a_rule_with_conditions() -> None:
    one = judge(
        HEAD
        + """
    quantity: device.answering
    critical: {is: no}
    when: [{quantity: output.source, is: mains}]
"""
    )
    (bad,) = verdicts(one.sweep(sweep(UPS, 0, GONE, GONE, answering="no"), Category.UPS))
    assert bad.evidence.says == "no answer"


def test_a_bad_number_needs_no_reason_although_another_reading_is_missing() -> None:
    (bad,) = verdicts(judge(RUNTIME).sweep(sweep(UPS, 0, 240.0, GONE), Category.UPS))
    assert (bad.level, bad.evidence.says, bad.evidence.companions) == (Level.CRITICAL, "", ())


def test_a_three_phase_ups_by_the_shipped_rules() -> None:
    """Unwired, then wired, then lost on mains; and a runtime of 0 all the time."""
    series = (
        *PHASES, Series("box", "output.source"), Series("box", "battery.runtime"), Series("box", "battery.charge"),
    )  # fmt: skip
    one = Judge({})
    one.activate(load_rules(shipped()), [device()], 0.0)

    def bad(at: float, *values: Value) -> list[tuple[str, str, Level]]:
        change = one.sweep(Sweep("box", at, series, ("yes", *values)), Category.UPS)
        return [(told.rule, told.instance, told.level) for told in verdicts(change) if told.level.bad]

    rest: tuple[Value, ...] = ("mains", 0.0, 100.0)
    for at in range(0, 3600, 60):
        assert bad(at, 231.0, 0.0, 0.0, *rest) == []
    assert bad(3600, 231.0, 229.0, 230.0, *rest) == []
    assert bad(3660, 231.0, 0.0, 230.0, *rest) == [("power.input-lost", "2", Level.CRITICAL)]
    assert bad(3720, 0.0, 0.0, 0.0, "battery", 1200.0, 99.0) == [
        ("power.input-lost", "1", Level.CRITICAL), ("power.input-lost", "3", Level.CRITICAL),
        ("power.on-battery", "", Level.CRITICAL),
    ]  # fmt: skip
