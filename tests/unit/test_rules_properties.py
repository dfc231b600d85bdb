"""Properties of `evaluate` that hold for any readings; Hypothesis searches for counterexamples."""

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.model.batch import Document
from watchkeeper.model.reading import Missing, Reason, Value
from watchkeeper.model.verdict import Level
from watchkeeper.rules.evaluate import RuleState, decode_state, encode_state, evaluate, rebase
from watchkeeper.rules.load import load_rules
from watchkeeper.rules.rule import Rule

HEAD = "rules:\n  - {rule: a.rule, clause: 3.6, title: t, advice: a, "
TEXTS = (
    "quantity: cpu.usage, warning: {above: 85 %, for: 10 s}, critical: {above: 95 %, for: 4 s}, clear: {margin: 5 %, for: 6 s}",
    "quantity: cpu.usage, warning: {above: 85 %}, critical: {above: 85 %, for: 7 s}",
    "quantity: cpu.usage, critical: {below: 80 %, for: 3 s}, clear: {margin: 5 %, for: 3 s}, missing: {level: warning, for: 5 s}",
    "quantity: cpu.usage, warning: {outside: 80 .. 95 %, for: 5 s}, clear: {margin: 1 %}, missing: {level: critical, for: 2 s, reasons: hung}",
    "quantity: output.source, warning: {is: bypass, for: 3 s}, critical: {is: battery, for: 5 s}, clear: {for: 4 s}",
)


def _rule(text: str) -> Rule:
    return load_rules([Document("f.yml", HEAD + text + "}")]).rules[0]


RULES = tuple(map(_rule, TEXTS))
NUMBERS, STATES = RULES[:4], RULES[4:]
MISSING = st.sampled_from([Missing(Reason.TIMEOUT), Missing(Reason.HUNG), Missing(Reason.ABSENT, "none")])
VALUES: st.SearchStrategy[Value] = (
    st.sampled_from([75.0, 79.0, 80.0, 82.0, 85.0, 86.0, 90.0, 94.0, 95.0, 96.0, 99.0])
    | st.sampled_from(["mains", "battery", "bypass", "unknown", "odd"])
    | MISSING
)
Steps = list[tuple[float, Value]]
STEPS: st.SearchStrategy[Steps] = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0, 7.0]), VALUES), min_size=1, max_size=25
).map(
    lambda pairs: list(zip(itertools.accumulate(gap for gap, _ in pairs), [value for _, value in pairs], strict=True))
)
BACKWARDS: st.SearchStrategy[Steps] = st.lists(st.tuples(st.floats(0, 30), VALUES), min_size=1, max_size=25)
ANY_RULE = st.sampled_from(RULES)


def play(rule: Rule, steps: Steps) -> list[RuleState]:
    ids = map(str, itertools.count(1))
    states: list[RuleState] = []
    for at, value in steps:
        states.append(evaluate(rule, states[-1] if states else None, value, at, lambda: next(ids)))
    return states


def is_broken(rule: Rule, level: Level, value: Value) -> bool:
    """Whether the value breaks the limit of that level, computed without latches."""
    if isinstance(value, Missing):
        return rule.missing is not None and rule.missing.level is level and value.reason in rule.missing.reasons
    limit = rule.warning if level is Level.WARNING else rule.critical
    if limit is None or isinstance(value, str) != bool(rule.known_states):
        return False
    return value in limit.states if isinstance(value, str) else not limit.allowed.low <= value <= limit.allowed.high


def for_s(rule: Rule, level: Level, value: Value) -> float:
    limit = rule.missing if isinstance(value, Missing) else rule.warning if level is Level.WARNING else rule.critical
    assert limit is not None
    return limit.for_s


def first_bad_at(rule: Rule, level: Level, steps: Steps) -> float:
    """The time of the first reading of the last period that breaks the limit of that level."""
    first = steps[-1][0]
    kind = isinstance(steps[-1][1], Missing)
    for at, value in reversed(steps):
        if is_broken(rule, level, value) and isinstance(value, Missing) == kind:
            first = at
        elif rule.can_judge(value):
            break
    return first


@given(ANY_RULE, STEPS | BACKWARDS)
def test_bad_never_begins_before_for(rule: Rule, steps: Steps) -> None:
    """A level gets worse only on a value that breaks the limit, and only when the bad period has lasted for `for`."""
    worst = Level.OK  # the level remembered while the level is unknown
    for index, state in enumerate(play(rule, steps)):
        at, value = steps[index]
        if state.level.bad and worst is Level.OK:
            assert is_broken(rule, state.level, value)
            assert state.evidence.first_at == first_bad_at(rule, state.level, steps[: index + 1])
            assert at >= state.evidence.first_at + for_s(rule, state.level, value)
        if state.level is not Level.UNKNOWN:
            worst = state.level


@given(ANY_RULE, STEPS)
def test_bad_begins_as_soon_as_for_is_over(rule: Rule, steps: Steps) -> None:
    for index, state in enumerate(play(rule, steps)):
        at, value = steps[index]
        for level in (Level.WARNING, Level.CRITICAL):
            if is_broken(rule, level, value):
                over = first_bad_at(rule, level, steps[: index + 1]) + for_s(rule, level, value)
                assert state.level.bad or at < over


@given(ANY_RULE, STEPS | BACKWARDS)
def test_missing_never_turns_bad_into_ok(rule: Rule, steps: Steps) -> None:
    for (_, value), state in zip(steps, play(rule, steps), strict=True):
        if isinstance(value, Missing):
            assert state.level is not Level.OK


@given(ANY_RULE, STEPS | BACKWARDS)
def test_a_fault_ends_only_on_a_good_value(rule: Rule, steps: Steps) -> None:
    fault = False
    for (_, value), state in zip(steps, play(rule, steps), strict=True):
        if fault and state.level is Level.OK:
            assert not isinstance(value, Missing)
            assert not is_broken(rule, Level.WARNING, value)
            assert not is_broken(rule, Level.CRITICAL, value)
        fault = state.level.bad or (fault and state.level is Level.UNKNOWN)


@given(ANY_RULE, STEPS, st.integers(1, 4))
def test_more_frequent_readings_give_the_same_levels(rule: Rule, steps: Steps, pieces: int) -> None:
    """More readings between two equal ones change no level."""
    finer: Steps = []
    kept: list[int] = []
    for (at, value), following in zip(steps, [*steps[1:], None], strict=True):
        kept.append(len(finer))
        finer.append((at, value))
        if following is not None and following[1] == value:
            finer += [(at + (following[0] - at) * piece / (pieces + 1), value) for piece in range(1, pieces + 1)]
    fine = play(rule, finer)
    assert [fine[index].level for index in kept] == [state.level for state in play(rule, steps)]


@given(ANY_RULE, STEPS)
def test_a_repeated_reading_changes_nothing(rule: Rule, steps: Steps) -> None:
    twice = [step for step in steps for _ in range(2)]
    states = play(rule, twice)
    assert all(first is second for first, second in zip(states[::2], states[1::2], strict=True))
    assert [state.level for state in states[::2]] == [state.level for state in play(rule, steps)]


@given(ANY_RULE, STEPS | BACKWARDS)
def test_a_new_level_has_a_new_id_and_an_equal_state_is_the_same_object(rule: Rule, steps: Steps) -> None:
    states = play(rule, steps)
    for before, after in itertools.pairwise(states):
        assert (before.id == after.id) == (before.level is after.level)
        assert (before == after) == (before is after)
        if before.id == after.id:
            assert (before.since, before.evidence) == (after.since, after.evidence)


@given(ANY_RULE, STEPS)
def test_since_never_decreases_and_is_never_after_the_reading(rule: Rule, steps: Steps) -> None:
    states = play(rule, steps)
    for (at, _), before, after in zip(steps[1:], states, states[1:], strict=False):
        assert before.since <= after.since <= at


@given(
    st.sampled_from([(RULES[0], 80.5, 95.0), (RULES[3], 79.5, 80.9)]),
    st.lists(st.tuples(st.sampled_from([0.5, 2.0, 5.0, 12.0]), st.floats(0, 1)), min_size=2, max_size=60),
)
def test_flapping_around_a_threshold_is_at_most_one_change(
    given_rule: tuple[Rule, float, float], moves: list[tuple[float, float]]
) -> None:
    rule, low, high = given_rule  # values cross the warning limit, but never come back by the margin
    steps: Steps = [(0.0, 84.0)]
    for gap, share in moves:
        steps.append((steps[-1][0] + gap, low + share * (high - low)))
    levels = [state.level for state in play(rule, steps)]
    assert sum(before is not after for before, after in itertools.pairwise(levels)) <= 1


@given(ANY_RULE, STEPS | BACKWARDS, st.integers(-10_000, 10_000))
def test_a_state_is_the_same_after_encoding_and_decoding(rule: Rule, steps: Steps, delta: int) -> None:
    for state in play(rule, steps):
        back = decode_state(json.loads(json.dumps(encode_state(state), allow_nan=False)))
        assert back == state
        moved = rebase(state, float(delta))
        assert (moved.level, moved.id, moved.since) == (state.level, state.id, state.since + delta)


@given(ANY_RULE, STEPS, st.integers(0, 24), st.integers(-1_000, 1_000))
def test_a_reboot_in_between_changes_no_level(rule: Rule, steps: Steps, cut: int, delta: int) -> None:
    """The times are multiples of 0.5 and the shifts are whole numbers, so no float is rounded."""
    cut %= len(steps)
    before, state = play(rule, steps[:cut]), None
    if before:
        state = rebase(decode_state(encode_state(before[-1])), float(delta))
    after = []
    for at, value in steps[cut:]:
        state = evaluate(rule, state, value, at + delta, lambda: "new")
        after.append(state.level)
    assert after == [state.level for state in play(rule, steps)[cut:]]
