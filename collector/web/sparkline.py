"""A small picture of a reading's past: inline SVG, without a style of its own, so that any page may show it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup

from watchkeeper.collector.policy.freshness import STALE_AFTER_INTERVALS
from watchkeeper.collector.read.history import Point
from watchkeeper.model.quantity import Quantity, Sort
from watchkeeper.model.reading import Missing

WIDTH, HEIGHT, BUCKETS = 160.0, 28.0, 80
Number = tuple[float, float | None]
"""(time, value); None where there was none, and the line breaks."""


class Spark(NamedTuple):
    """The picture, empty where there is nothing to draw, and for a gauge its lowest and highest value."""

    svg: Markup
    low: float | None = None
    high: float | None = None


BLANK = Spark(Markup())


def sparkline(points: Sequence[Point], quantity: Quantity, since: float, until: float, every_s: float) -> Spark:
    """The line of a gauge, the steps of a state, the growth of a counter, between `since` and `until` (UTC seconds). Where
    nothing was read for longer than it takes to be stale, there is no line."""
    numbers = list(_numbers(points, quantity, STALE_AFTER_INTERVALS * every_s))
    known = [value for _, value in numbers if value is not None]
    if len(known) < 2:  # noqa: PLR2004 -- a line has two ends
        return BLANK
    low, high = min(known), max(known)
    paths = []
    for stretch in _stretches(_thinned(numbers, since, until)):
        if len(stretch) < 2:  # noqa: PLR2004 -- the same
            continue
        dots = " ".join(
            f"{(at - since) / (until - since) * WIDTH:.1f},{_height(value, low, high):.1f}" for at, value in stretch
        )
        paths.append(Markup('<polyline points="{}"/>').format(dots))
    if not paths:
        return BLANK
    head = Markup('<svg class="spark" viewBox="0 0 {:.0f} {:.0f}" aria-hidden="true" focusable="false">').format(
        WIDTH, HEIGHT
    )
    svg = head + Markup().join(paths) + Markup("</svg>")
    return Spark(svg, low, high) if quantity.sort is Sort.GAUGE else Spark(svg)


def _numbers(points: Sequence[Point], quantity: Quantity, hole_s: float) -> Iterator[Number]:
    before: Number = (float("inf"), None)
    for point in points:
        if point.at - before[0] > hole_s:
            yield before[0], None
        value = point.value
        number = None if isinstance(value, Missing | str) else float(value)
        if isinstance(value, str) and value in quantity.states:
            number = -float(quantity.states.index(value))  # the first named on top
        yield point.at, _growth(before, (point.at, number)) if quantity.sort is Sort.COUNTER else number
        before = (point.at, number)


def _growth(before: Number, now: Number) -> float | None:
    """By how much a counter grew in a second; None where it cannot be said, or it began anew."""
    if before[1] is None or now[1] is None or now[1] < before[1] or now[0] <= before[0]:
        return None
    return (now[1] - before[1]) / (now[0] - before[0])


def _thinned(numbers: Sequence[Number], since: float, until: float) -> Iterator[Number]:
    """Of each bucket of time its ends, the lowest and the highest, so that no spike is lost."""
    bucket: list[Number] = []
    place = -1
    for number in numbers:
        here = int((number[0] - since) / (until - since) * BUCKETS)
        if here != place or number[1] is None:
            yield from _ends(bucket)
            bucket, place = [], here
        bucket.append(number)
    yield from _ends(bucket)


def _ends(bucket: Sequence[Number]) -> list[Number]:
    known = [(at, value) for at, value in bucket if value is not None]
    holes: list[Number] = [one for one in bucket if one[1] is None][:1]
    if not known:
        return holes
    lowest, highest = min(known, key=lambda one: one[1]), max(known, key=lambda one: one[1])
    return holes + sorted({known[0], lowest, highest, known[-1]}, key=lambda one: one[0])


def _stretches(numbers: Iterator[Number]) -> Iterator[list[tuple[float, float]]]:
    stretch: list[tuple[float, float]] = []
    for at, value in numbers:
        if value is not None:
            stretch.append((at, value))
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def _height(value: float, low: float, high: float) -> float:
    """2 below the upper edge for the highest, 2 above the lower for the lowest; the middle if they are the same."""
    share = 0.5 if high == low else (value - low) / (high - low)
    return HEIGHT - 2 - share * (HEIGHT - 4)
