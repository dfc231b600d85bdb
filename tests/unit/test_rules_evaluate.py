"""The evaluation of a rule: `for`, margins, latches, missing values, and the state over restarts."""

import itertools
import json
import math
from collections.abc import Iterable
from dataclasses import replace

import pytest

from watchkeeper.model.batch import Document
from watchkeeper.model.reading import Missing, Reason, Value
from watchkeeper.model.verdict import Evidence, Level, Verdict
from watchkeeper.rules.evaluate import (
    ALL_OPEN,
    RuleState,
    decode_state,
    encode_state,
    evaluate,
    rebase,
    state_of_verdict,
    to_verdict,
)
from watchkeeper.rules.load import load_rules
from watchkeeper.rules.rule import Rule

OK, WARNING, CRITICAL, UNKNOWN = Level.OK, Level.WARNING, Level.CRITICAL, Level.UNKNOWN
GONE, HUNG = Missing(Reason.TIMEOUT, "no answer in 2 s"), Missing(Reason.HUNG)
ROOM_RULE = """
quantity: temperature.ambient
    warning: {outside: 21 .. 23 °C, for: 5 min}
    critical: {outside: 18 .. 27 °C, for: 1 min}
    clear: {margin: 0.3 °C, for: 2 min}"""


def rule(text: str) -> Rule:
    head = "rules:\n  - rule: a.rule\n    clause: 3.6\n    title: A title\n    advice: Go and look.\n    "
    return load_rules([Document("f.yml", head + text.lstrip())]).rules[0]


class Evaluation:
    """Evaluates one rule on value after value. The ids are 1, 2, 3 ..."""

    def __init__(self, text: str) -> None:
        self.rule = rule(text)
        self.ids = map(str, itertools.count(1))
        self.state: RuleState | None = None

    def at(self, at: float, value: Value) -> Level:
        self.state = evaluate(self.rule, self.state, value, at, lambda: next(self.ids), "aisle 1")
        return self.state.level

    def all(self, steps: Iterable[tuple[float, Value]]) -> list[Level]:
        return [self.at(at, value) for at, value in steps]

    @property
    def now(self) -> RuleState:
        assert self.state is not None
        return self.state


def test_a_value_is_bad_only_after_for_by_the_times_of_the_readings() -> None:
    judge = Evaluation(ROOM_RULE)
    assert judge.all([(0, 22.0), (30, 24.0), (60, 24.5), (329.9, 24.0), (330, 24.2)]) == [OK, OK, OK, OK, WARNING]
    assert judge.now.since == 330
    assert judge.now.evidence == Evidence("temperature.ambient", 24.2, "outside 21 .. 23 °C", "aisle 1", 24.0, 30)


def test_a_gap_in_the_readings_does_not_restart_for() -> None:
    judge = Evaluation(ROOM_RULE)
    assert judge.all([(0, 22.0), (30, 24.0), (4000, 24.0)]) == [OK, OK, WARNING]
    assert judge.now.since == 330  # when `for` ended, not when the next reading came


def test_one_good_value_restarts_for() -> None:
    judge = Evaluation(ROOM_RULE)
    assert judge.all([(0, 24.0), (200, 23.0), (300, 24.0), (599, 24.0)])[1:] == [OK, OK, OK]
    assert judge.at(600, 24.0) is WARNING
    assert judge.now.evidence.first_at == 300


def test_the_same_state_object_while_nothing_changes() -> None:
    judge = Evaluation(ROOM_RULE)
    judge.at(0, 22.0)
    for steps in (
        [(30, 21.0), (60, 23.0)],
        [(90, 25.0), (120, 26.0)],
        [(400, 25.0), (430, 24.0)],
        [(460, 22.0), (490, 22.5)],
    ):
        judge.at(*steps[0])
        before = judge.now
        judge.at(*steps[1])
        assert judge.now is before
    for value in (GONE, HUNG):
        judge.at(500, value)
    assert judge.state is evaluate(judge.rule, judge.now, GONE, 530, str)


def test_an_id_is_minted_only_when_the_level_changes() -> None:
    judge = Evaluation(ROOM_RULE)
    ids = []
    for at, value in [(0, 22.0), (30, 24.0), (330, 24.0), (360, 28.0), (420, 28.0), (450, 22.0), (570, 22.0)]:
        judge.at(at, value)
        ids.append((judge.now.level, judge.now.id))
    assert ids == [(OK, "1"), (OK, "1"), (WARNING, "2"), (WARNING, "2"), (CRITICAL, "3"), (CRITICAL, "3"), (OK, "4")]


def test_values_around_a_threshold_do_not_flap() -> None:
    judge = Evaluation(ROOM_RULE)
    levels = judge.all((30.0 * step, 23.1 if step % 2 else 23.0) for step in range(200))
    assert set(levels) == {OK}  # never five minutes without interruption
    judge.all([(10_000, 23.1), (10_300, 23.1)])
    assert judge.now.level is WARNING
    levels = judge.all((10_330 + 30.0 * step, 23.1 if step % 2 else 23.0) for step in range(200))
    assert set(levels) == {WARNING}  # never back by 0.3 °C


def test_clearing_needs_the_margin_and_the_time_without_interruption() -> None:
    judge = Evaluation(ROOM_RULE)
    judge.all([(0, 24.0), (300, 24.0)])
    assert judge.all([(330, 22.7), (440, 22.8), (450, 22.6), (569, 22.6)]) == [WARNING] * 4
    assert judge.at(570, 22.7) is OK
    assert judge.now.since == 570
    assert judge.now.evidence.expects == ""


def test_critical_has_its_own_for_counted_from_its_own_first_value() -> None:
    judge = Evaluation(ROOM_RULE)
    assert judge.all([(0, 24.0), (100, 28.0), (159, 28.0), (160, 29.0)]) == [UNKNOWN, UNKNOWN, UNKNOWN, CRITICAL]
    assert judge.now.since == 160
    assert judge.now.evidence == Evidence("temperature.ambient", 29.0, "outside 18 .. 27 °C", "aisle 1", 28.0, 100)


def test_critical_goes_to_warning_and_then_to_ok() -> None:
    judge = Evaluation(ROOM_RULE)
    assert judge.all([(0, 28.0), (60, 28.0)]) == [UNKNOWN, CRITICAL]
    # 26.8 is not back by the margin. The two minutes begin at 26.5.
    assert judge.all([(90, 26.8), (120, 26.5), (239, 26.0), (240, 26.0)]) == [CRITICAL, CRITICAL, CRITICAL, WARNING]
    assert judge.now.since == 240
    assert judge.now.evidence.expects == "outside 21 .. 23 °C"
    assert judge.all([(270, 22.5), (389, 22.5), (390, 22.5)]) == [WARNING, WARNING, OK]


def test_critical_goes_straight_to_ok_when_the_value_clears_both_limits() -> None:
    judge = Evaluation(ROOM_RULE)
    assert judge.all([(0, 28.0), (60, 28.0), (90, 22.0), (210, 22.0)]) == [UNKNOWN, CRITICAL, CRITICAL, OK]


def test_ok_becomes_unknown_at_once_and_ok_again_at_once() -> None:
    judge = Evaluation(ROOM_RULE)
    assert judge.all([(0, 22.0), (30, GONE), (60, GONE), (90, 22.0)]) == [OK, UNKNOWN, UNKNOWN, OK]
    assert judge.all([(120, GONE)]) == [UNKNOWN]
    assert judge.now.evidence == Evidence("temperature.ambient", GONE, "", "aisle 1")


def test_a_fault_is_remembered_while_unknown() -> None:
    judge = Evaluation(ROOM_RULE)
    judge.all([(0, 24.0), (300, 24.0)])
    assert judge.at(330, GONE) is UNKNOWN
    assert judge.at(360, 24.0) is WARNING  # at once, without waiting for `for` again
    assert judge.now.since == 360
    assert judge.now.evidence.first_at == 0


def test_a_fault_remembered_while_unknown_ends_only_on_readings_that_clear_it() -> None:
    judge = Evaluation(ROOM_RULE)
    judge.all([(0, 24.0), (300, 24.0), (330, GONE)])
    assert judge.all([(360, 22.0), (479, 22.0)]) == [UNKNOWN, UNKNOWN]
    assert judge.at(480, 22.0) is OK


def test_missing_values_neither_restart_for_nor_clear() -> None:
    judge = Evaluation(ROOM_RULE)
    assert judge.all([(0, 22.0), (30, 24.0), (60, GONE), (329, 24.0), (330, 24.0)])[-2:] == [UNKNOWN, WARNING]
    judge.all([(360, 22.0), (390, GONE), (420, 22.0)])
    assert judge.at(500, 22.0) is UNKNOWN  # the two minutes restarted after the gap
    assert judge.at(540, 22.0) is OK


def test_a_bad_first_value_is_unknown_until_for_is_over() -> None:
    """An agent that lost its state must not report ok where the collector may have an open incident."""
    assert Evaluation(ROOM_RULE).all([(0, 24.0), (299, 24.0), (300, 24.0)]) == [UNKNOWN, UNKNOWN, WARNING]
    assert Evaluation(ROOM_RULE).all([(0, 24.0), (30, 22.9)]) == [UNKNOWN, OK]


def test_a_value_that_stays_missing_is_bad_where_the_rule_says_so() -> None:
    judge = Evaluation(
        "quantity: disk.usage\n    warning: {above: 85 %}\n    clear: {for: 1 min}\n    missing: {level: critical, for: 5 min, reasons: hung}"
    )
    assert judge.all([(0, 10.0), (30, HUNG), (329, HUNG), (330, HUNG)]) == [OK, UNKNOWN, UNKNOWN, CRITICAL]
    assert judge.now.since == 330
    assert judge.now.evidence == Evidence("disk.usage", HUNG, "missing", "aisle 1", HUNG, 30)
    assert judge.all([(360, 10.0), (419, 10.0), (420, 10.0)]) == [CRITICAL, CRITICAL, OK]
    assert judge.all([(450, GONE), (4500, GONE)]) == [UNKNOWN, UNKNOWN]  # another reason


def test_a_reading_or_another_reason_between_missing_ones() -> None:
    text = "quantity: disk.usage\n    missing: {level: warning, for: 5 min, reasons: [hung]}"
    assert Evaluation(text).all([(0, HUNG), (200, 10.0), (300, HUNG), (599, HUNG), (600, HUNG)])[2:] == [
        UNKNOWN,
        UNKNOWN,
        WARNING,
    ]
    assert Evaluation(text).all([(0, HUNG), (200, GONE), (300, HUNG)]) == [UNKNOWN, UNKNOWN, WARNING]


def test_the_level_is_the_worse_of_a_remembered_fault_and_a_missing_value() -> None:
    judge = Evaluation("quantity: disk.usage\n    critical: {above: 95 %}\n    missing: {level: warning, for: 5 min}")
    assert judge.all([(0, 96.0), (30, HUNG), (330, HUNG), (360, 96.0), (390, 10.0)]) == [
        CRITICAL, UNKNOWN, CRITICAL, CRITICAL, OK,
    ]  # fmt: skip


def test_by_default_absent_and_warming_up_are_not_bad() -> None:
    judge = Evaluation("quantity: swap.usage\n    missing: {level: warning}")
    assert judge.all([(0, Missing(Reason.ABSENT)), (1, Missing(Reason.WARMING_UP)), (2, GONE)]) == [
        UNKNOWN, UNKNOWN, WARNING,
    ]  # fmt: skip


def test_a_fault_does_not_end_on_a_value_that_is_bad_itself() -> None:
    """Found by Hypothesis: a disk that was hung is full when it comes back, and `for` has not passed yet."""
    judge = Evaluation(
        "quantity: disk.usage\n    warning: {above: 85 %, for: 1 min}\n    missing: {level: critical, for: 2 min}"
    )
    assert judge.all([(0, HUNG), (120, HUNG), (130, 90.0), (190, 90.0)]) == [UNKNOWN, CRITICAL, UNKNOWN, WARNING]


SOURCE_RULE = "quantity: output.source\n    warning: {is: bypass, for: 1 min}\n    critical: {is: [battery, none]}"


def test_states() -> None:
    judge = Evaluation(SOURCE_RULE)
    assert judge.all([(0, "mains"), (1, "battery"), (2, "bypass"), (3, "mains")]) == [OK, CRITICAL, WARNING, OK]
    assert judge.all([(4, "unknown"), (5, "hovering"), (6, 3.0), (7, "mains")]) == [UNKNOWN, UNKNOWN, UNKNOWN, OK]
    assert judge.all([(8, "bypass"), (68, "bypass")]) == [OK, WARNING]
    assert judge.now.evidence.expects == "is battery or bypass or none"


def test_a_rule_may_name_the_unknown_state_itself() -> None:
    judge = Evaluation("quantity: leak\n    warning: {is: unknown, for: 1 min}\n    critical: {is: wet}")
    assert judge.all([(0, "dry"), (10, "unknown"), (70, "unknown"), (71, "wet")]) == [OK, OK, WARNING, CRITICAL]


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, "mains", ""])
def test_a_value_that_is_not_a_finite_number_is_unknown_to_a_rule_on_numbers(odd: Value) -> None:
    for text in ("above: 85 %", "below: 10 %", "outside: 10 .. 85 %"):
        judge = Evaluation(f"quantity: cpu.usage\n    critical: {{{text}}}")
        assert judge.all([(0, 50.0), (1, odd), (2, 5.0 if "below" in text else 90.0)])[:2] == [OK, UNKNOWN]
        json.dumps(encode_state(judge.now), allow_nan=False)


def test_an_int_is_judged_as_a_number() -> None:
    judge = Evaluation("quantity: cpu.usage\n    critical: {above: 85 %}")
    assert judge.all([(0, 50), (1, 86), (2, 85)]) == [OK, CRITICAL, OK]


def test_the_ends_of_a_range_are_inside() -> None:
    judge = Evaluation("quantity: temperature.ambient\n    warning: {outside: 21 .. 23 °C}")
    assert judge.all([(0, 21.0), (1, 23.0), (2, 20.99), (3, 21.0), (4, 23.01)]) == [OK, OK, WARNING, OK, WARNING]


def test_for_is_not_satisfied_early_when_times_go_back() -> None:
    judge = Evaluation(ROOM_RULE)
    judge.at(1000, 22.0)
    assert judge.all([(1030, 24.0), (990, 24.0), (1290, 24.0), (1030, 24.0), (1329, 24.0)]) == [OK] * 5
    assert judge.at(1330, 24.0) is WARNING
    assert judge.all([(1360, 22.0), (1300, 22.0), (1479, 22.0)]) == [WARNING] * 3
    assert judge.at(1480, 22.0) is OK


def test_since_is_never_after_the_reading_nor_before_the_previous_level() -> None:
    judge = Evaluation(ROOM_RULE)
    judge.all([(0, 22.0), (10, 24.0), (400, GONE), (410, 24.0)])
    assert (judge.now.level, judge.now.since) == (WARNING, 400)  # `for` ended at 310, but the level was unknown at 400
    judge = Evaluation("quantity: cpu.usage\n    critical: {above: 85 %}")
    judge.all([(100, 50.0), (90, 99.0)])
    assert judge.now.since == 90


def test_a_state_survives_a_change_of_its_rule() -> None:
    judge = Evaluation(ROOM_RULE)
    judge.all([(0, 28.0), (60, 28.0)])
    judge.rule = rule("quantity: temperature.ambient\n    warning: {above: 25 °C, for: 5 min}\n    clear: {for: 1 min}")
    assert judge.at(90, 28.0) is WARNING  # the changed rule has no critical limit
    judge.rule = rule("quantity: temperature.ambient\n    warning: {above: 30 °C}\n    clear: {for: 1 min}")
    assert judge.all([(120, 28.0), (180, 28.0)]) == [WARNING, OK]


def test_a_verdict_is_the_state_without_its_latches() -> None:
    judge = Evaluation(ROOM_RULE)
    judge.all([(0, 28.0), (60, 28.0)])
    assert to_verdict(("sensor-1", "a.rule", "1"), judge.now) == Verdict(
        "2", "sensor-1", "a.rule", "1", CRITICAL, 60, judge.now.evidence
    )


def test_a_state_continues_from_nothing_but_its_verdict() -> None:
    judge = Evaluation(ROOM_RULE)
    judge.all([(0, 28.0), (60, 28.0)])
    again = Evaluation(ROOM_RULE)
    again.state = state_of_verdict(to_verdict(("sensor-1", "a.rule", "1"), judge.now))
    assert again.at(90, 28.0) is CRITICAL
    assert again.now.id == "2", "the same fault"
    assert (
        again.all([(120, 24.0), (150, 24.0), (180, 24.0)])[-1] is judge.all([(120, 24.0), (150, 24.0), (180, 24.0)])[-1]
    )


@pytest.mark.parametrize("level", [OK, UNKNOWN])
def test_a_verdict_that_is_not_bad_leaves_nothing_closed(level: Level) -> None:
    state = state_of_verdict(
        Verdict("7", "sensor-1", "a.rule", "1", level, 60.0, Evidence("temperature.ambient", 24.0))
    )
    assert state.latches is ALL_OPEN
    assert (state.level, state.since, state.id) == (level, 60.0, "7")


def test_a_rebased_state_continues_without_a_change() -> None:
    judge = Evaluation(ROOM_RULE)
    judge.all([(1000, 24.0), (1100, 28.0), (1130, GONE)])
    judge.state = rebase(judge.now, -1000)
    assert judge.now.since == 0
    assert judge.all([(159, 28.0), (160, 28.0)]) == [UNKNOWN, CRITICAL]
    assert judge.now.evidence.first_at == 100
    assert rebase(rebase(judge.now, 512.0), -512.0) == judge.now


def test_the_latches_are_the_shared_object_again_after_a_fault_and_after_a_restart() -> None:
    """Otherwise the hot path, which compares by identity, would not be used any more."""
    judge = Evaluation(ROOM_RULE)
    judge.all([(-500, 28.0), (-440, 28.0), (-400, 22.0), (0, 22.0)])
    assert judge.now.latches is ALL_OPEN
    for state in (decode_state(json.loads(json.dumps(encode_state(judge.now)))), rebase(judge.now, 5)):
        assert evaluate(judge.rule, state, 22.5, 10, str) is state
        assert state.latches is judge.now.latches


@pytest.mark.parametrize(
    "spoil",
    [
        {"level": "dreadful"},
        {"since": None},
        {"evidence": {}},
        {"evidence": None},
        {"latches": {"warning": {}}},
        {"latches": {"nobody": {"closed": True, "first": None, "good_at": None}}},
        {"latches": []},
    ],
    ids=str,
)
def test_decoding_anything_but_a_state_is_a_value_error(spoil: dict[str, object]) -> None:
    judge = Evaluation(ROOM_RULE)
    judge.at(0, 24.0)
    with pytest.raises(ValueError, match=r"state|dreadful"):
        decode_state(encode_state(judge.now) | spoil)


def test_a_number_is_unknown_to_a_rule_on_states() -> None:
    assert Evaluation(SOURCE_RULE).all([(0, "mains"), (1, "mains"), (2, 5.0)]) == [OK, OK, UNKNOWN]


def test_a_replaced_rule_computes_its_ok_range_again() -> None:
    tight = rule("quantity: cpu.usage\n    critical: {above: 85 %}")
    assert tight.high == 85.0
    assert tight.critical is not None
    assert replace(tight, critical=None).high > 1e300
