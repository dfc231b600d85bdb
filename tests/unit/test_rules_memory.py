"""What a rule remembers of a series outlasts a restart of the agent and a reboot of its machine."""

import itertools
import json
import math
from dataclasses import replace
from unittest.mock import ANY

import pytest

from watchkeeper.model.batch import Document
from watchkeeper.model.reading import Missing, Reason, Value
from watchkeeper.model.verdict import Evidence, Level, Verdict
from watchkeeper.rules.evaluate import (
    ALL_OPEN,
    FirstBad,
    Latch,
    Latches,
    RuleState,
    decode_state,
    encode_state,
    evaluate,
    rebase,
    state_of_verdict,
)
from watchkeeper.rules.load import load_rules
from watchkeeper.rules.rule import Rule

OK, WARNING, CRITICAL, UNKNOWN = Level.OK, Level.WARNING, Level.CRITICAL, Level.UNKNOWN
GONE = Missing(Reason.TIMEOUT, "no answer in 2 s")
RULE: Rule = load_rules([Document("f.yml", """
rules:
  - rule: room.heat
    clause: "3.6"
    title: A title
    advice: Go and look.
    quantity: temperature.ambient
    warning: {above: 23 °C, for: 5 min}
    critical: {above: 27 °C, for: 1 min}
    clear: {margin: 0.5 °C, for: 2 min}
""")]).rules[0]  # fmt: skip


def judged(state: RuleState | None, *steps: tuple[float, Value]) -> RuleState:
    ids = (f"id-{number}" for number in itertools.count(1))
    for at, value in steps:
        state = evaluate(RULE, state, value, at, lambda: next(ids))
    assert state is not None
    return state


def restarted(state: RuleState) -> RuleState:
    """As it comes back from the spool."""
    return decode_state(json.loads(json.dumps(encode_state(state), allow_nan=False)))


def hot() -> RuleState:
    """Critical since 60."""
    return judged(None, (0, 28.0), (60, 28.0))


def cooling() -> RuleState:
    """Critical, and back inside since 100."""
    return judged(hot(), (100, 20.0))


def test_a_fault_that_is_clearing_goes_on_clearing_after_a_restart() -> None:
    state = restarted(cooling())
    assert state == cooling()
    assert judged(state, (219, 20.0)).level is CRITICAL
    assert judged(state, (220, 20.0)).level is OK


@pytest.mark.parametrize("delta", [-100.0, 5000.0])
def test_a_fault_that_is_clearing_goes_on_clearing_after_a_reboot(delta: float) -> None:
    """The two minutes are counted from the first good value, wherever the new clock puts it."""
    state = rebase(cooling(), delta)
    assert judged(state, (219 + delta, 20.0)).level is CRITICAL
    assert judged(state, (220 + delta, 20.0)).level is OK


@pytest.mark.parametrize("delta", [-100.0, 5000.0])
def test_a_fault_keeps_its_first_bad_value_and_its_time_over_a_reboot(delta: float) -> None:
    state = rebase(hot(), delta)
    assert (state.since, state.evidence.first_at) == (60 + delta, delta)
    assert state.evidence == replace(hot().evidence, first_at=delta)
    pending = rebase(judged(None, (0, 20.0), (10, 29.0)), delta)
    told = judged(pending, (70 + delta, 30.0))
    assert (told.level, told.evidence.first_value, told.evidence.first_at) == (CRITICAL, 29.0, 10 + delta)


def test_what_has_no_first_bad_value_gets_none_by_a_reboot() -> None:
    silent = rebase(judged(None, (0, 20.0), (10, GONE)), 1000.0)
    assert (silent.level, silent.since, silent.evidence.first_at) == (UNKNOWN, 1010, None)


def test_a_critical_fault_that_becomes_a_warning_keeps_its_first_bad_value() -> None:
    state = judged(hot(), (90, 25.0), (210, 25.0))
    assert (state.level, state.since) == (WARNING, 210)
    assert (state.evidence.first_value, state.evidence.first_at) == (28.0, 0)


def test_the_reason_of_a_silence_outlasts_a_restart() -> None:
    said = replace(hot(), evidence=replace(hot().evidence, says="Connection refused"))
    assert restarted(said).evidence.says == "Connection refused"


def test_a_state_of_an_older_agent_without_a_reason_is_read() -> None:
    kept = encode_state(hot())
    del kept["evidence"]["says"]
    assert decode_state(kept) == hot()


def test_a_kept_whole_number_comes_back_as_the_decimal_that_the_hot_path_compares() -> None:
    kept = encode_state(hot())
    kept["evidence"]["value"] = 28
    assert type(decode_state(kept).evidence.value) is float


def test_a_series_without_a_label_has_none_in_its_evidence() -> None:
    assert hot().evidence == Evidence("temperature.ambient", 28.0, "above 27 °C", "", 28.0, 0)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_no_device_can_mean_is_told_as_implausible(number: float) -> None:
    state = judged(None, (0, 20.0), (10, number))
    assert state.evidence.value == Missing(Reason.IMPLAUSIBLE, f"the number is {number}")


def test_a_state_that_remembers_nothing_is_as_quick_after_a_restart_as_before() -> None:
    calm = judged(None, (0, 20.0))
    for state in (restarted(calm), rebase(calm, 10.0)):
        assert state.latches is ALL_OPEN
        assert evaluate(RULE, state, 20.5, 30.0, str) is state


# ---- from a verdict alone: the collector's own rules after a restart ----


@pytest.mark.parametrize("level", [OK, UNKNOWN])
def test_a_verdict_that_is_not_bad_leaves_nothing_to_remember(level: Level) -> None:
    evidence = Evidence("temperature.ambient", 20.0, label="aisle 1")
    state = state_of_verdict(Verdict("v", "sensor-1", "room.heat", "", level, 60.0, evidence))
    assert state == RuleState(level, 60.0, "v", evidence)


@pytest.mark.parametrize(
    ("first_value", "first_at", "first"),
    [(28.5, 10.0, FirstBad(10.0, 28.5)), (None, None, FirstBad(60.0, 29.0)), (28.5, None, FirstBad(60.0, 28.5))],
)
@pytest.mark.parametrize("level", [WARNING, CRITICAL])
def test_a_bad_verdict_goes_on_with_its_first_bad_value_as_far_as_it_is_known(
    level: Level, first_value: float | None, first_at: float | None, first: FirstBad
) -> None:
    evidence = Evidence("temperature.ambient", 29.0, "above 27 °C", "aisle 1", first_value, first_at)
    state = state_of_verdict(Verdict("v", "sensor-1", "room.heat", "", level, 60.0, evidence))
    latches = Latches(**{level.value: Latch(closed=True, first=first)})
    assert state == RuleState(level, 60.0, "v", evidence, latches)
    assert judged(state, (100, 20.0), (219, 20.0)) == replace(state, latches=ANY), "only values that clear it end it"
    assert judged(state, (100, 20.0), (220, 20.0)).level is not level
