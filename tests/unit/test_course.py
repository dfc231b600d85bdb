"""The course of a reading: the first, the worst, the value now, the trend."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf

import pytest

from watchkeeper.collector.policy.course import (
    ENOUGH_FOR_RATE,
    Course,
    Judged,
    Newest,
    Sample,
    Trend,
    course_of,
    trend_of,
    worst_of,
)
from watchkeeper.model.reading import Missing, Reason, Value
from watchkeeper.model.verdict import Evidence
from watchkeeper.rules.rule import Band

BEGAN = 10_000.0
ABOVE, BELOW, OUTSIDE = Band(-inf, 27.0), Band(18.0, inf), Band(18.0, 27.0)
TIMEOUT = Missing(Reason.TIMEOUT)


def judged(value: Value = 28.0, *, first: float | None = None, ended_at: float | None = None) -> Judged:
    evidence = Evidence("temperature.ambient", value, "above 27 °C", "", first, None if first is None else BEGAN - 60)
    return Judged(evidence, BEGAN, BEGAN, ended_at)


def course(
    newest: Sample | None,
    past: Sequence[Sample] = (),
    *,
    of: Judged | None = None,
    now: float = BEGAN + 600,
    limit: Band | None = ABOVE,
    silent: bool = False,
    every_s: float = 30.0,
) -> Course:
    read = newest and Newest(newest, every_s, silent)
    return course_of(of or judged(), read, past, limit=limit, every_s=every_s, now=now)


# ---- the value now ----


@pytest.mark.parametrize(("age_s", "fresh"), [(0, True), (90, True), (91, False)])
def test_a_reading_is_current_for_three_intervals(age_s: float, fresh: bool) -> None:
    found = course(Sample(BEGAN + 600 - age_s, 31.0))
    assert (found.now, found.fresh) == (Sample(BEGAN + 600 - age_s, 31.0), fresh)


def test_the_interval_is_that_of_the_reading_where_there_is_one() -> None:
    newest = Newest(Sample(BEGAN, 31.0), 300.0)
    found = course_of(judged(), newest, (), limit=ABOVE, every_s=30.0, now=BEGAN + 800)
    assert found.fresh


def test_a_silent_agent_s_reading_is_not_current() -> None:
    assert not course(Sample(BEGAN + 599, 31.0), silent=True).fresh
    found = course(Sample(BEGAN - 15, 26.0), now=BEGAN + 1, silent=True)
    assert (found.now, found.fresh) == (Sample(BEGAN, 28.0), False)  # nor is the verdict's value


def test_the_verdict_s_value_is_newer_than_a_reading_from_before_it() -> None:
    """Verdicts are pushed at once, readings a moment later."""
    before = Sample(BEGAN - 15, 26.0)
    found = course(before, now=BEGAN + 1)
    assert (found.now, found.fresh) == (Sample(BEGAN, 28.0), True)
    assert not course(before, now=BEGAN + 600).fresh
    assert course(Sample(BEGAN - 0.5, 28.0), now=BEGAN + 1).now == Sample(BEGAN - 0.5, 28.0)  # the same reading
    assert course(Sample(BEGAN - 1, 28.5), now=BEGAN + 1).now == Sample(BEGAN - 1, 28.5)
    assert course(Sample(BEGAN - 0.5, 26.0), now=BEGAN + 1, every_s=0.8).now == Sample(BEGAN, 28.0)
    assert course(Sample(BEGAN - 0.35, 26.0), now=BEGAN + 1, every_s=0.8).now == Sample(BEGAN - 0.35, 26.0)


def test_without_readings_the_verdict_s_value_grows_old() -> None:
    assert course(None, now=BEGAN + 90).fresh
    assert not course(None, now=BEGAN + 91).fresh
    assert course(None, now=BEGAN + 91).now == Sample(BEGAN, 28.0)


def test_after_the_end_only_a_later_reading_is_the_value_now() -> None:
    over = judged(ended_at=BEGAN + 300)
    assert course(Sample(BEGAN + 285, 28.5), of=over, now=BEGAN + 301).now is None
    assert (course(None, of=over).now, course(None, of=over).fresh) == (None, False)
    found = course(Sample(BEGAN + 300, 25.0), of=over, now=BEGAN + 301)
    assert (found.now, found.fresh, found.inside) == (Sample(BEGAN + 300, 25.0), True, True)


def test_a_missing_value_is_told_with_the_last_known_one() -> None:
    past = [Sample(BEGAN + 30, 29.0), Sample(BEGAN + 60, 30.0)]
    found = course(Sample(BEGAN + 90, TIMEOUT), past, now=BEGAN + 91)
    assert (found.now, found.known, found.worst) == (Sample(BEGAN + 90, TIMEOUT), past[1], past[1])
    assert course(Sample(BEGAN + 90, 31.0), past).known is None
    assert course(Sample(BEGAN + 90, TIMEOUT), [*past[::-1], Sample(BEGAN + 75, TIMEOUT)]).known == past[1]


def test_inside_the_limit_again() -> None:
    assert course(Sample(BEGAN + 600, 27.0)).inside
    assert not course(Sample(BEGAN + 600, 27.1)).inside
    assert not course(Sample(BEGAN + 600, 27.0), limit=None).inside
    assert not course(Sample(BEGAN + 600, "ok")).inside


# ---- first and worst ----


def test_the_first_bad_reading_was_before_the_verdict() -> None:
    assert course(None, of=judged(first=27.5)).first == Sample(BEGAN - 60, 27.5)
    assert course(None).first == Sample(BEGAN, 28.0)
    assert course(None, of=judged(TIMEOUT)).first is None
    no_time = Judged(replace(judged().evidence, first_value=27.0), BEGAN, BEGAN)
    assert course(None, of=no_time).first == Sample(BEGAN, 28.0)
    assert course(None).one_in == 1


def test_the_worst_is_of_the_fault_not_of_the_time_around_it() -> None:
    past = [Sample(BEGAN - 400, 60.0), Sample(BEGAN + 60, 41.0), Sample(BEGAN + 90, 30.0), Sample(BEGAN + 400, 70.0)]
    newest = Sample(BEGAN + 600, 80.0)
    assert course(newest, past[:3]).worst == newest
    over = judged(first=27.5, ended_at=BEGAN + 300)
    assert course(newest, past, of=over).worst == Sample(BEGAN + 60, 41.0)
    assert course(newest, [], of=over).worst == Sample(BEGAN, 28.0)
    for at in (BEGAN - 61, BEGAN - 60, BEGAN + 300):  # the first reading's time may differ by a second
        assert course(newest, [Sample(at, 99.0)], of=over).worst == Sample(at, 99.0)
    for at in (BEGAN - 61.5, BEGAN + 300.5):
        assert course(newest, [Sample(at, 99.0)], of=over).worst == Sample(BEGAN, 28.0)


@pytest.mark.parametrize(
    ("limit", "worst"),
    [(ABOVE, 40.0), (BELOW, 2.0), (OUTSIDE, 2.0), (Band(10.0, 27.0), 40.0), (Band(10.0, 20.0), 40.0)],
)
def test_the_worst_is_farthest_beyond_the_limit(limit: Band, worst: float) -> None:
    found = worst_of([Sample(1, 15.0), Sample(2, 40.0), Sample(3, 2.0), Sample(4, TIMEOUT), Sample(5, "ok")], limit)
    assert found
    assert found.value == worst


def test_the_earliest_of_two_equally_bad_ones() -> None:
    assert worst_of([Sample(9, 40.0), Sample(3, 40.0)], ABOVE) == Sample(3, 40.0)
    assert worst_of([Sample(9, "no")], ABOVE) is None


def test_without_a_limit_nothing_is_the_worst() -> None:
    assert course(Sample(BEGAN + 600, "no"), of=judged("no"), limit=None).worst is None


# ---- the trend ----


def samples(*values: Value, every_s: float = 30.0) -> list[Sample]:
    return [Sample(n * every_s, value) for n, value in enumerate(values)]


def test_the_trend_of_a_straight_line() -> None:
    rising = [20 + n * 0.5 for n in range(10)]
    assert trend_of(samples(*rising)) == (Trend.RISING, pytest.approx(60.0))
    assert trend_of(samples(*reversed(rising))) == (Trend.FALLING, pytest.approx(-60.0))


def test_a_rate_needs_enough_readings() -> None:
    values = [20.0 + n for n in range(ENOUGH_FOR_RATE)]
    assert trend_of(samples(*values))[1] == pytest.approx(120.0)
    assert trend_of(samples(*values[1:])) == (Trend.RISING, None)
    assert trend_of(samples(20.0)) == (None, None)
    assert trend_of(samples(20.0, 21.0)) == (Trend.RISING, None)
    assert trend_of(samples("ok", TIMEOUT, 20.0)) == (None, None)
    assert trend_of([Sample(5, 20.0), Sample(5, 25.0)]) == (None, None)


def test_a_change_too_small_to_see_is_none() -> None:
    assert trend_of(samples(20.0, 20.04, 20.0, 20.04, 20.08)) == (Trend.STEADY, None)
    assert trend_of(samples(230.0, 230.5, 231.0, 231.0, 231.1)) == (Trend.STEADY, None)
    assert trend_of(samples(20.0, 20.0, 20.0)) == (Trend.STEADY, None)


def test_a_small_change_over_a_long_time_is_seen() -> None:
    slow = [Sample(BEGAN + n * 100, 20.0 + 0.04 * n) for n in range(6)]
    assert trend_of(slow) == (Trend.RISING, pytest.approx(1.44))
    assert trend_of(slow[:3]) == (Trend.STEADY, None)
    assert trend_of([Sample(0, 10.0), Sample(30, 10.125)]) == (Trend.RISING, None)


def test_a_trend_is_larger_than_twice_the_noise() -> None:
    """Zigzag of 1 around a line: the change is compared with the distance of the readings from the line."""
    steep = [n * 0.6 + (n % 2) for n in range(10)]
    flat = [50 + n * 0.06 + (n % 2) for n in range(10)]
    assert trend_of(samples(*steep))[0] is Trend.RISING
    assert trend_of(samples(*flat)) == (None, None)
    late = [Sample(BEGAN + one.at, one.value) for one in samples(*flat)]
    assert trend_of(late) == (None, None)


def test_up_and_down_is_no_trend() -> None:
    assert trend_of(samples(90.0, 70.0, 92.0, 71.0, 90.0, 72.0)) == (None, None)
    assert trend_of(samples(20.0, 30.0, 40.0, 40.0, 30.0, 20.0)) == (None, None)


def test_some_noise_hides_no_trend() -> None:
    found, per_hour = trend_of(samples(20.0, 21.2, 21.9, 23.1, 23.8, 25.2, 26.0))
    assert found is Trend.RISING
    assert per_hour == pytest.approx(120.0, rel=0.05)


def test_the_trend_is_of_the_last_ten_minutes_and_only_of_current_readings() -> None:
    falling = [Sample(BEGAN + n * 30, 60.0 - n) for n in range(20)]
    rising = [Sample(BEGAN + 600 + n * 30, 40.0 + n) for n in range(20)]
    newest = Sample(BEGAN + 1200, 60.0)
    assert course(newest, [*falling, *rising], now=BEGAN + 1200).trend is Trend.RISING
    assert course(newest, [*falling, *rising], now=BEGAN + 1200).per_hour == pytest.approx(120.0)
    assert course(Sample(BEGAN, 25.0), [Sample(BEGAN - 600, 20.0)], now=BEGAN).trend is None  # ten minutes old
    stale = course(newest, [*falling, *rising], now=BEGAN + 1300)
    assert (stale.fresh, stale.trend, stale.per_hour) == (False, None, None)


def test_how_much_was_looked_at_is_kept() -> None:
    found = course_of(judged(), None, (), limit=ABOVE, every_s=30.0, now=BEGAN, one_in=7)
    assert found.one_in == 7
