"""A sparkline of a reading's past: inline SVG without a style of its own, because the pages' policy forbids inline styles."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup

from watchkeeper.collector.policy.freshness import STALE_AFTER_INTERVALS
from watchkeeper.collector.read.history import Point
from watchkeeper.model.quantity import Quantity, QuantityType
from watchkeeper.model.reading import Missing

WIDTH, HEIGHT, BUCKETS = 160.0, 28.0, 80
_Sample = tuple[float, float | None]
"""(time, value). None is a gap: the line breaks."""


class Sparkline(NamedTuple):
    """The picture, empty if there is nothing to draw, and for a gauge its lowest and highest value."""

    svg: Markup
    low: float | None = None
    high: float | None = None


BLANK = Sparkline(Markup())


def sparkline(points: Sequence[Point], quantity: Quantity, since: float, until: float, every_s: float) -> Sparkline:
    """Draw the values of a gauge or a state, or the rate of a counter, between `since` and `until` (UTC seconds). The line has
    a gap where nothing was read for longer than it takes to be stale."""
    samples = list(_samples(points, quantity, STALE_AFTER_INTERVALS * every_s))
    known = [value for _, value in samples if value is not None]
    if len(known) < 2:  # noqa: PLR2004 -- a line has two ends
        return BLANK
    low, high = min(known), max(known)
    paths = []
    for stretch in _stretches(_thinned(samples, since, until)):
        if len(stretch) < 2:  # noqa: PLR2004 -- a line has two ends
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
    return Sparkline(svg, low, high) if quantity.type is QuantityType.GAUGE else Sparkline(svg)


def _samples(points: Sequence[Point], quantity: Quantity, gap_s: float) -> Iterator[_Sample]:
    before: _Sample = (float("inf"), None)
    for point in points:
        if point.at - before[0] > gap_s:
            yield before[0], None
        value = point.value
        number = None if isinstance(value, Missing | str) else float(value)
        if isinstance(value, str) and value in quantity.states:
            number = -float(quantity.states.index(value))  # the first named on top
        yield point.at, _rate(before, (point.at, number)) if quantity.type is QuantityType.COUNTER else number
        before = (point.at, number)


def _rate(before: _Sample, now: _Sample) -> float | None:
    """The rate of a counter per second; None if it is not known, or the counter was reset."""
    if before[1] is None or now[1] is None or now[1] < before[1] or now[0] <= before[0]:
        return None
    return (now[1] - before[1]) / (now[0] - before[0])


def _thinned(samples: Sequence[_Sample], since: float, until: float) -> Iterator[_Sample]:
    """The first, last, lowest and highest sample of each bucket of time, so that no spike is lost."""
    bucket: list[_Sample] = []
    place = -1
    for sample in samples:
        new_place = int((sample[0] - since) / (until - since) * BUCKETS)
        if new_place != place or sample[1] is None:
            yield from _ends(bucket)
            bucket, place = [], new_place
        bucket.append(sample)
    yield from _ends(bucket)


def _ends(bucket: Sequence[_Sample]) -> list[_Sample]:
    known = [(at, value) for at, value in bucket if value is not None]
    gaps: list[_Sample] = [sample for sample in bucket if sample[1] is None][:1]
    if not known:
        return gaps
    lowest, highest = min(known, key=lambda sample: sample[1]), max(known, key=lambda sample: sample[1])
    return gaps + sorted({known[0], lowest, highest, known[-1]}, key=lambda sample: sample[0])


def _stretches(samples: Iterator[_Sample]) -> Iterator[list[tuple[float, float]]]:
    stretch: list[tuple[float, float]] = []
    for at, value in samples:
        if value is not None:
            stretch.append((at, value))
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def _height(value: float, low: float, high: float) -> float:
    """The y coordinate: 2 below the upper edge for the highest value, 2 above the lower edge for the lowest; the middle
    if all values are the same."""
    share = 0.5 if high == low else (value - low) / (high - low)
    return HEIGHT - 2 - share * (HEIGHT - 4)
