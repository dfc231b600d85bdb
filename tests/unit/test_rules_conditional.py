"""What the conditions of a rule do to a verdict: begin, end, restart, and what is remembered."""

import itertools
import json
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.model.batch import Document
from watchkeeper.model.reading import Missing, Reason, Value
from watchkeeper.model.verdict import Companion, Evidence, Level
from watchkeeper.rules.conditions import ALWAYS, Applied, Counts
from watchkeeper.rules.evaluate import (
    RuleState,
    decode_state,
    encode_state,
    evaluate,
    evaluate_when,
    is_settled,
    rebase,
)
from watchkeeper.rules.load import load_rules
from watchkeeper.rules.rule import Rule

OK, WARNING, CRITICAL, UNKNOWN = Level.OK, Level.WARNING, Level.CRITICAL, Level.UNKNOWN
YES, NO, UNTOLD = Counts.YES, Counts.NO, Counts.UNKNOWN
GONE = Missing(Reason.TIMEOUT, "no answer")
HEAD = "rules:\n  - rule: a.rule\n    clause: 3.6\n    title: T\n    advice: A\n"
LIMITS = """    quantity: output.load
    warning: {above: 80 %, for: 10 s}
    critical: {above: 95 %}
    clear: {margin: 5 %, for: 6 s}
    missing: {level: critical, for: 4 s, reasons: timeout}
"""
WHEN = "    when: [{quantity: leak, is: wet}]\n"


def rule(text: str) -> Rule:
    return load_rules([Document("f.yml", HEAD + text)]).rules[0]


JUDGED = rule(LIMITS + WHEN)
PLAIN = rule(LIMITS)
NUMBERS = rule(LIMITS[: LIMITS.index("    missing")] + WHEN)
Steps = list[tuple[float, Value, Counts]]


def play(one: Rule, steps: Iterable[tuple[float, Value, Counts]], state: RuleState | None = None) -> list[RuleState]:
    ids, states = map(str, itertools.count(1)), []
    for at, value, told in steps:
        state = evaluate_when(one, state, value, at, lambda: next(ids), "L1", Applied(told))
        states.append(state)
    return states


def levels(steps: Iterable[tuple[float, Value, Counts]]) -> list[Level]:
    return [state.level for state in play(JUDGED, steps)]


def test_a_value_that_does_not_count_is_ok_whatever_it_is() -> None:
    assert levels([(0, 99.0, NO), (100, 99.0, NO), (200, GONE, NO), (300, 10.0, NO)]) == [OK] * 4
    assert levels([(0, GONE, NO)]) == [OK]


def test_the_fault_begins_when_the_conditions_are_fulfilled_and_for_starts_there() -> None:
    steps: Steps = [(0, 90.0, NO), (100, 90.0, YES), (109, 90.0, YES), (110, 90.0, YES)]
    states = play(JUDGED, steps)
    assert [state.level for state in states] == [OK, OK, OK, WARNING]
    assert (states[-1].since, states[-1].evidence.first_at) == (110, 100)
    assert levels([(0, 90.0, YES), (9, 90.0, NO), (10, 90.0, YES), (19, 90.0, YES), (20, 90.0, YES)])[1:] == [
        OK, OK, OK, WARNING,
    ]  # fmt: skip


def test_it_ends_after_the_clearing_time_without_interruption() -> None:
    begin: Steps = [(0, 99.0, YES)]
    assert levels([*begin, (1, 99.0, NO), (6.9, 99.0, NO), (7, 99.0, NO)]) == [CRITICAL, CRITICAL, CRITICAL, OK]
    flapping: Steps = [(at, 99.0, NO if at % 2 else YES) for at in range(1, 60)]
    assert set(levels([*begin, *flapping])) == {CRITICAL}


def test_a_value_that_is_missing_since_the_conditions_ended_ends_the_fault_too() -> None:
    steps: Steps = [(0, 99.0, YES), (1, GONE, YES), (2, GONE, NO), (8, GONE, NO), (9, GONE, NO)]
    assert levels(steps) == [CRITICAL, UNKNOWN, UNKNOWN, OK, OK]


def test_while_it_cannot_be_told_a_fault_neither_begins_nor_ends() -> None:
    assert levels([(0, 99.0, UNTOLD), (100, 99.0, UNTOLD)]) == [OK, OK]
    assert levels([(0, 99.0, YES), (100, 99.0, UNTOLD), (200, 99.0, UNTOLD)]) == [CRITICAL] * 3
    assert levels([(0, 99.0, YES), (100, 10.0, UNTOLD), (106, 10.0, UNTOLD)]) == [CRITICAL, CRITICAL, OK]
    assert levels([(0, 99.0, YES), (1, 99.0, NO), (3, 99.0, UNTOLD), (8, 99.0, NO), (13, 99.0, NO), (14, 99.0, NO)]) == [
        CRITICAL, CRITICAL, CRITICAL, CRITICAL, CRITICAL, OK,
    ], "the clearing time starts again after what cannot be told"  # fmt: skip


def test_what_cannot_be_told_counts_neither_for_nor_against_for() -> None:
    assert levels([(0, 10.0, YES), (1, 90.0, YES), (5, 90.0, UNTOLD), (11, 90.0, YES)]) == [OK, OK, OK, WARNING]


def test_after_silence_a_bad_value_that_cannot_be_told_stays_unknown() -> None:
    assert levels([(0, 99.0, YES), (1, GONE, YES), (2, 99.0, UNTOLD), (3, 99.0, YES)]) == [
        CRITICAL, UNKNOWN, UNKNOWN, CRITICAL,
    ]  # fmt: skip


def test_the_missing_limit_counts_by_the_same_conditions() -> None:
    assert levels([(0, GONE, YES), (4, GONE, YES)]) == [UNKNOWN, CRITICAL]
    assert levels([(0, GONE, UNTOLD), (4, GONE, UNTOLD)]) == [UNKNOWN, UNKNOWN]
    assert levels([(0, GONE, YES), (4, GONE, YES), (5, GONE, NO), (11, GONE, NO)]) == [UNKNOWN, CRITICAL, CRITICAL, OK]


def test_a_state_that_does_not_change_is_the_same_object() -> None:
    for steps in ([(0, 99.0, NO)], [(0, 10.0, YES)], [(0, 10.0, UNTOLD)], [(0, 99.0, YES)]):
        (state,) = play(JUDGED, steps)
        assert play(JUDGED, [(1.0, *steps[0][1:])], state) == [state]
        assert play(JUDGED, [(1.0, *steps[0][1:])], state)[0] is state


def test_a_condition_that_was_fulfilled_is_remembered_without_a_verdict_change() -> None:
    first = evaluate_when(JUDGED, None, 10.0, 0, lambda: "1", "", Applied(YES))
    again = evaluate_when(JUDGED, first, 10.0, 1, lambda: "2", "", Applied(YES, frozenset({"leak is wet ever"})))
    assert (again.id, again.held, again.level) == ("1", {"leak is wet ever"}, OK)
    bad = evaluate_when(JUDGED, again, 99.0, 2, lambda: "3", "", Applied(YES, again.held))
    assert (bad.level, bad.held) == (CRITICAL, {"leak is wet ever"})


def test_a_fault_of_an_earlier_version_does_not_end_because_nothing_is_remembered() -> None:
    """`ever` cannot be told after an upgrade: the latch stays closed until a good value comes."""
    (bad,) = play(JUDGED, [(0, 99.0, YES)])
    states = play(JUDGED, [(10, 99.0, UNTOLD), (20, 99.0, UNTOLD), (30, 10.0, UNTOLD), (36, 10.0, UNTOLD)], bad)
    assert [state.level for state in states] == [CRITICAL, CRITICAL, CRITICAL, OK]


VALUES: st.SearchStrategy[Value] = st.sampled_from(
    [10.0, 75.0, 76.0, 80.0, 81.0, 95.0, 96.0, GONE, Missing(Reason.ABSENT)]
)
ALL_STEPS: st.SearchStrategy[Steps] = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0, 3.0, 7.0]), VALUES, st.sampled_from(Counts)), min_size=1, max_size=30
).map(lambda rows: [(at, *row[1:]) for at, row in zip(itertools.accumulate(row[0] for row in rows), rows, strict=True)])


@given(ALL_STEPS)
def test_a_rule_whose_conditions_are_fulfilled_is_a_rule_without(steps: Steps) -> None:
    ids = map(str, itertools.count(1))
    plain: list[RuleState] = []
    for at, value, _ in steps:
        plain.append(evaluate(PLAIN, plain[-1] if plain else None, value, at, lambda: next(ids), "L1"))
    assert play(JUDGED, [(at, value, YES) for at, value, _ in steps]) == plain
    assert Applied(YES, frozenset()) == ALWAYS


@given(ALL_STEPS)
def test_a_value_that_does_not_count_is_a_good_value(steps: Steps) -> None:
    """The levels are those of a rule without conditions whose value is good while they are not fulfilled."""
    some: Steps = [(at, value, YES if told is UNTOLD else told) for at, value, told in steps]
    good: Steps = [(at, 0.0 if told is NO else value, YES) for at, value, told in some]
    assert levels(some) == levels(good)


@given(ALL_STEPS)
def test_a_fault_begins_only_while_the_conditions_are_fulfilled(steps: Steps) -> None:
    fault = False
    for (_, value, told), state in zip(steps, play(NUMBERS, steps), strict=True):
        if state.level.bad and not fault:
            assert told is YES
        if fault and state.level is OK:
            assert told is NO or (isinstance(value, float) and value <= 75)
        fault = state.level.bad or (fault and state.level is UNKNOWN)


@given(ALL_STEPS, st.integers(0, 29), st.integers(-1000, 1000))
def test_a_restart_changes_no_level(steps: Steps, cut: int, delta: int) -> None:
    cut %= len(steps)
    before, state = play(JUDGED, steps[:cut]), None
    if before:
        state = rebase(decode_state(json.loads(json.dumps(encode_state(before[-1])))), float(delta))
    after = play(JUDGED, [(at + delta, value, told) for at, value, told in steps[cut:]], state)
    assert [one.level for one in after] == levels(steps)[cut:]


def test_what_is_remembered_survives_encoding_and_a_reboot() -> None:
    told = (Companion("leak", "wet", "tray"), Companion("smoke", GONE, holds=False), Companion("output.load", 3.5))
    state = RuleState(OK, 5.0, "v", Evidence("output.load", 1.0, companions=told), held=frozenset({"b ever", "a ever"}))
    raw = json.loads(json.dumps(encode_state(state)))
    assert raw["held"] == ["a ever", "b ever"]
    assert decode_state(raw) == state
    assert rebase(state, 10.0).held == state.held
    assert "held" not in encode_state(play(JUDGED, [(0, 10.0, YES)])[0])
    del raw["held"], raw["evidence"]["companions"]  # as an earlier version wrote it
    assert (decode_state(raw).held, decode_state(raw).evidence.companions) == (frozenset(), ())


@given(ALL_STEPS, st.floats(0, 80), st.sampled_from(Counts))
def test_a_good_value_leaves_a_settled_state_as_it_is(steps: Steps, value: float, told: Counts) -> None:
    for state in play(JUDGED, steps):
        if is_settled(JUDGED, state):
            assert JUDGED.breaks_none(value)
            assert play(JUDGED, [(1e6, value, told)], state)[0] is state


def test_a_state_is_settled_when_it_is_ok_without_memory_and_nothing_is_left_to_be_seen() -> None:
    ever = rule(LIMITS + "    when: [{quantity: leak, is: wet, ever: yes}]\n")
    seen = frozenset({"leak is wet ever"})
    assert not is_settled(JUDGED, None)
    quiet, waits, bad, unknown = (play(JUDGED, [(0, 10.0, YES), step])[-1] for step in (
        (1, 10.0, YES), (1, 90.0, YES), (1, 99.0, YES), (1, GONE, YES),
    ))  # fmt: skip
    assert [is_settled(JUDGED, state) for state in (quiet, waits, bad, unknown)] == [True, False, False, False]
    absent = play(JUDGED, [(0, Missing(Reason.ABSENT), YES)])[0]
    assert (absent.level, is_settled(JUDGED, absent)) == (UNKNOWN, False), "no latch has a memory here"
    assert not is_settled(ever, quiet)
    assert is_settled(ever, evaluate_when(ever, quiet, 10.0, 2, str, "", Applied(YES, seen)))
    assert is_settled(JUDGED, evaluate_when(JUDGED, quiet, 10.0, 2, str, "", Applied(YES, seen))), (
        "from an earlier rule"
    )


def test_a_missing_value_and_a_wrong_kind_break_no_limit_but_are_not_good() -> None:
    values = (80.0, 80.5, GONE, "mains", float("nan"))
    assert [JUDGED.breaks_none(value) for value in values] == [True, False, False, False, False]
    source = rule("    quantity: output.source\n    critical: {is: battery}\n")
    assert [source.breaks_none(value) for value in ("mains", "battery", "unknown", "odd", 0.0, GONE)] == [
        True, False, False, False, False, False,
    ]  # fmt: skip
