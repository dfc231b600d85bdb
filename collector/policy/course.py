"""The course of a reading during a fault: its first value, its worst, its value now, and where it goes. Pure; times are UTC
seconds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from watchkeeper.collector.policy import freshness
from watchkeeper.model.reading import Missing, Value
from watchkeeper.model.verdict import Evidence
from watchkeeper.rules.rule import Band

TREND_S = 600.0
"""The trend is that of the last ten minutes."""

ENOUGH_FOR_RATE = 5
"""Fewer readings give no change an hour."""

_DIFFER_S = 1.0
"""By how much the times of a verdict and of the reading that it judged may differ: each was computed from an age."""

_NOTICEABLE, _NOTICEABLE_PART = 0.1, 0.005
"""A smaller change is none: messages show one decimal, and meters are not more exact than half a percent."""

_ABOVE_NOISE = 2.0
"""A trend is larger than this many times the usual distance of a reading from the line through all of them."""


class Sample(NamedTuple):
    """A value and the time when it was read."""

    at: float
    value: Value


class Trend(StrEnum):
    """Where a number goes."""

    RISING = "rising"
    FALLING = "falling"
    STEADY = "steady"


@dataclass(frozen=True, slots=True)
class Course:
    """How a reading went. `now` is the newest one, and `fresh` says whether it is current; if not, it must not be shown as the
    present value. `known` is the newest one that has a value, if `now` has none. `inside`: `now` breaks the limit no more.
    `first` is the first bad reading; `worst` the one farthest beyond the limit (None for states, and without a limit). `trend`
    is None where there is none or it cannot be told, `per_hour` in the quantity's unit. Where the fault is long, one past
    reading in `one_in` was looked at."""

    now: Sample | None = None
    fresh: bool = False
    known: Sample | None = None
    inside: bool = False
    first: Sample | None = None
    worst: Sample | None = None
    trend: Trend | None = None
    per_hour: float | None = None
    one_in: int = 1


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest reading of a series, its device's interval, and whether its agent is silent."""

    sample: Sample
    every_s: float
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """What is known from the verdicts: the evidence of the latest bad one and when it was given, since when the fault is, and
    when it ended (None: it has not)."""

    evidence: Evidence
    at: float
    began_at: float
    ended_at: float | None = None


def course_of(
    judged: Judged,
    newest: Newest | None,
    past: Sequence[Sample],
    *,
    limit: Band | None,
    every_s: float,
    now: float,
    one_in: int = 1,
) -> Course:
    """The course of the reading that an incident is about. `past` are earlier readings, oldest first; `limit` the band of
    numbers that are allowed; `every_s` the interval where there is no newest reading."""
    first = _first(judged)
    present, fresh = _present(judged, newest, every_s, now)
    until = now if judged.ended_at is None else judged.ended_at
    during = [one for one in past if first.at - _DIFFER_S <= one.at <= until]
    bad = [first, *during, Sample(judged.at, judged.evidence.value)]
    if present and present.at <= until:
        bad.append(present)
    recent = [one for one in past if one.at > now - TREND_S]
    trend, per_hour = trend_of([*recent, present] if present and fresh else ())
    return Course(
        now=present,
        fresh=fresh,
        known=_known([*past, *bad]) if present and isinstance(present.value, Missing) else None,
        inside=bool(present and limit and isinstance(present.value, float) and present.value in limit),
        first=None if isinstance(first.value, Missing) else first,
        worst=worst_of(bad, limit) if limit else None,
        trend=trend,
        per_hour=per_hour,
        one_in=one_in,
    )


def _first(judged: Judged) -> Sample:
    evidence = judged.evidence
    if evidence.first_value is None or evidence.first_at is None:
        return Sample(judged.began_at, evidence.value)
    return Sample(evidence.first_at, evidence.first_value)


def _present(judged: Judged, newest: Newest | None, every_s: float, now: float) -> tuple[Sample | None, bool]:
    """The newest value, and whether it is current. The verdict may be here before the reading that it judged: then the
    verdict's value is the newer one, but only while the fault lasts."""
    every_s = newest.every_s if newest else every_s
    differ_s = min(_DIFFER_S, every_s / 2)
    ended = judged.ended_at is not None
    judged_at = judged.at if judged.ended_at is None else judged.ended_at
    if newest and newest.sample.at >= judged_at - differ_s:
        sample, silent = newest.sample, newest.silent
    elif ended:
        return None, False  # what was read before the end is not the value after it
    else:
        sample, silent = Sample(judged.at, judged.evidence.value), bool(newest and newest.silent)
    return sample, not silent and not freshness.stale(now - sample.at, every_s)


def _known(samples: Iterable[Sample]) -> Sample | None:
    with_value = (one for one in samples if not isinstance(one.value, Missing))
    return max(with_value, key=lambda one: one.at, default=None)


def worst_of(samples: Iterable[Sample], limit: Band) -> Sample | None:
    """The number that is farthest beyond the limit, the earliest of equal ones; None where there is no number."""
    numbers = sorted(one for one in samples if isinstance(one.value, float))
    return max(numbers, key=lambda one: _beyond(one.value, limit), default=None)


def _beyond(value: Value, limit: Band) -> float:
    """By how much a number breaks the limit; below 0 where it does not."""
    number = float(value) if isinstance(value, float) else 0.0
    return max(limit.low - number, number - limit.high)


def trend_of(samples: Sequence[Sample]) -> tuple[Trend | None, float | None]:
    """Where numbers go, and how fast (in an hour; None where there are too few readings to say). The trend is None where
    they go up and down, and where there is one reading only."""
    points = sorted({one.at: one.value for one in samples if isinstance(one.value, float)}.items())
    if len(points) < 2:  # noqa: PLR2004 -- a line has two ends
        return None, None
    values = [value for _, value in points]
    noticeable = max(_NOTICEABLE, _NOTICEABLE_PART * max(map(abs, values)))
    if max(values) - min(values) < noticeable:
        return Trend.STEADY, None
    slope, noise = _line(points)
    change = slope * (points[-1][0] - points[0][0])
    if abs(change) < noticeable or abs(change) <= _ABOVE_NOISE * noise:
        return None, None
    trend = Trend.RISING if change > 0 else Trend.FALLING
    return trend, slope * 3600 if len(points) >= ENOUGH_FOR_RATE else None


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The slope of the line through the points by least squares, and their usual (root mean square) distance from it."""
    count = len(points)
    middle_at = sum(at for at, _ in points) / count
    middle = sum(value for _, value in points) / count
    spread = sum((at - middle_at) ** 2 for at, _ in points)
    slope = sum((at - middle_at) * (value - middle) for at, value in points) / spread
    rest = sum((value - middle - slope * (at - middle_at)) ** 2 for at, value in points)
    return slope, (rest / count) ** 0.5
