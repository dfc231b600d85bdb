"""The clock of a trouble: it counts the time in which a fault is there, however the time is cut."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.collector.policy.troubles import (
    FLAPPING_RECOVERED_AFTER_S,
    RECOVERED_AFTER_S,
    RETURNS_WITHIN_S,
    Trouble,
    TroubleState,
    acknowledge,
    after_steps,
    is_over,
    may_return,
    over,
    returned,
)
from watchkeeper.model.errors import Conflict
from watchkeeper.model.verdict import Level

BEGAN = 1_000.0
OPEN = Trouble(cause=1, agent="room-1", level=Level.CRITICAL, opened_at=BEGAN, began_at=BEGAN, trouble=7)


def test_the_clock_does_not_count_the_time_without_a_fault() -> None:
    quiet = after_steps(OPEN, [(BEGAN + 60.0, -1)], 0, BEGAN + 90.0)
    assert (quiet.quiet_since, quiet.bad_s(BEGAN + 90.0)) == (BEGAN + 60.0, 60.0)
    again = after_steps(quiet, [(BEGAN + 100.0, 1)], 1, BEGAN + 110.0)
    assert (again.quiet, again.recurrence, again.began_at, again.opened_at) == (False, 2, BEGAN + 40.0, BEGAN)
    assert again.bad_s(BEGAN + 110.0) == 70.0


def test_a_trouble_with_another_fault_is_not_quiet() -> None:
    assert after_steps(OPEN, [(BEGAN + 60.0, -1)], 1, BEGAN + 90.0) == OPEN
    assert after_steps(OPEN, [(BEGAN + 60.0, 1)], 2, BEGAN + 90.0) == OPEN


@given(
    spans=st.lists(st.tuples(st.integers(1, 900), st.integers(1, 900)), min_size=1, max_size=6),
    cuts=st.lists(st.integers(0, 12), max_size=4),
)
def test_the_same_steps_in_several_parts_give_the_same_clock(spans: list[tuple[int, int]], cuts: list[int]) -> None:
    steps, at = [], BEGAN
    for bad_s, good_s in spans:
        steps += [(at + bad_s, -1), (at + bad_s + good_s, 1)]
        at += bad_s + good_s
    whole = after_steps(OPEN, steps, 1, at)
    places = [0, *sorted(min(cut, len(steps)) for cut in cuts), len(steps)]
    known = OPEN
    for start, end in itertools.pairwise(places):
        open_now = 1 + sum(change for _, change in steps[:end])
        known = after_steps(known, steps[start:end], open_now, at)
    assert known == whole
    assert known.bad_s(at) == sum(bad_s for bad_s, _ in spans)


def test_a_recovery_must_hold_and_longer_once_the_trouble_has_come_back() -> None:
    quiet = replace(OPEN, quiet_since=BEGAN)
    assert not is_over(OPEN, BEGAN + 9_999.0)
    assert [is_over(quiet, BEGAN + s) for s in (RECOVERED_AFTER_S - 1.0, RECOVERED_AFTER_S)] == [False, True]
    flaps = replace(quiet, recurrence=2)
    assert [is_over(flaps, BEGAN + s) for s in (RECOVERED_AFTER_S, FLAPPING_RECOVERED_AFTER_S)] == [False, True]


def test_what_was_over_for_ten_minutes_is_not_continued() -> None:
    ended = over(replace(OPEN, quiet_since=BEGAN + 5.0), TroubleState.RESOLVED, BEGAN + 70.0)
    assert ended.ended_at == BEGAN + 5.0, "it ended when its last fault went away"
    assert may_return(ended, BEGAN + 5.0 + RETURNS_WITHIN_S - 1.0)
    assert not may_return(ended, BEGAN + 5.0 + RETURNS_WITHIN_S)
    assert not may_return(over(OPEN, TroubleState.WITHDRAWN, BEGAN + 5.0), BEGAN + 6.0)
    back = returned(ended, BEGAN + 105.0)
    assert (back.open, back.began_at, back.ended_at) == (True, BEGAN + 100.0, None)


def test_an_acknowledgement_survives_a_round_and_is_refused_once_it_is_over() -> None:
    taken = acknowledge(OPEN, "olga", BEGAN + 1.0)
    back = after_steps(taken, [(BEGAN + 60.0, -1), (BEGAN + 90.0, 1)], 1, BEGAN + 95.0)
    assert (back.acknowledged_by, back.acknowledged_at) == ("olga", BEGAN + 1.0)
    with pytest.raises(Conflict, match="trouble 7 is resolved already and cannot be acknowledged"):
        acknowledge(over(OPEN, TroubleState.RESOLVED, BEGAN + 5.0), "olga", BEGAN + 6.0)


def test_a_spell_that_is_reported_later_does_not_move_the_clock_back() -> None:
    quiet = after_steps(OPEN, [(BEGAN + 100.0, -1)], 0, BEGAN + 100.0)
    inside = after_steps(quiet, [(BEGAN + 60.0, 1), (BEGAN + 80.0, -1)], 0, BEGAN + 110.0)
    assert (inside.quiet_since, inside.began_at) == (BEGAN + 100.0, BEGAN)
    across = after_steps(quiet, [(BEGAN + 60.0, 1), (BEGAN + 120.0, -1)], 0, BEGAN + 130.0)
    assert (across.quiet_since, across.bad_s(BEGAN + 130.0)) == (BEGAN + 120.0, 120.0)


def test_a_trouble_whose_faults_left_it_or_came_to_it_without_a_step_follows_what_is_there_now() -> None:
    left = after_steps(OPEN, [], 0, BEGAN + 30.0)
    assert (left.quiet_since, left.recurrence) == (BEGAN + 30.0, 1)
    came = after_steps(left, [], 1, BEGAN + 50.0)
    assert (came.quiet_since, came.recurrence, came.began_at) == (None, 2, BEGAN + 20.0)
    assert after_steps(OPEN, [], 1, BEGAN + 50.0) == OPEN
    assert after_steps(left, [], 0, BEGAN + 50.0) == left


def test_a_trouble_that_is_over_is_open_again_with_its_clock() -> None:
    ended = over(after_steps(OPEN, [(BEGAN + 60.0, -1)], 0, BEGAN + 60.0), TroubleState.RESOLVED, BEGAN + 200.0)
    assert (ended.state, ended.ended_at, ended.quiet_since) == (TroubleState.RESOLVED, BEGAN + 60.0, BEGAN + 60.0)
    again = after_steps(ended, [(BEGAN + 300.0, 1)], 1, BEGAN + 300.0)
    assert (again.state, again.ended_at, again.quiet_since) == (TroubleState.OPEN, None, None)
    assert (again.recurrence, again.began_at) == (2, BEGAN + 240.0)
    assert not after_steps(ended, [], 0, BEGAN + 300.0).open


def test_a_trouble_that_ends_at_once_ends_now() -> None:
    ended = over(OPEN, TroubleState.WITHDRAWN, BEGAN + 5.0)
    assert (ended.state, ended.ended_at, ended.quiet_since) == (TroubleState.WITHDRAWN, BEGAN + 5.0, BEGAN + 5.0)
    assert not is_over(ended, BEGAN + 5_000.0)


def test_an_end_before_the_beginning_counts_no_time() -> None:
    quiet = after_steps(OPEN, [(BEGAN - 10.0, -1)], 0, BEGAN + 1.0)
    assert (quiet.quiet_since, quiet.bad_s(BEGAN + 1.0)) == (BEGAN, 0.0)


def test_more_than_one_fault_that_begins_again_at_one_time_is_one_return() -> None:
    quiet = after_steps(OPEN, [(BEGAN + 60.0, -1)], 0, BEGAN + 60.0)
    assert after_steps(quiet, [(BEGAN + 70.0, 1), (BEGAN + 70.0, 1)], 2, BEGAN + 70.0).recurrence == 2


def test_the_first_fault_of_a_trouble_is_no_return_and_an_end_of_what_is_quiet_is_none() -> None:
    assert after_steps(OPEN, [(BEGAN, 1)], 1, BEGAN) == OPEN
    quiet = after_steps(OPEN, [(BEGAN + 60.0, -1)], 0, BEGAN + 60.0)
    assert after_steps(quiet, [(BEGAN + 70.0, -1)], 0, BEGAN + 70.0) == quiet
