"""A profile laid over a device without tables (Modbus registers, NUT variables): which series it gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from watchkeeper.model.reading import Missing, Series
from watchkeeper.profiles.decode import DecodeStep, Raw, decode, decode_step
from watchkeeper.profiles.shape import Profile, Way


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a device: `series` begins with `device.answering`, which has no step."""

    series: tuple[Series, ...]
    steps: tuple[DecodeStep, ...] = ()


def merge_layouts(before: Layout | None, fresh: Layout) -> Layout:
    """The columns of before with those that are new, or are read another way now: `before` itself where there are none. What
    answers no longer keeps its column, and is missing there."""
    if before is None:
        return fresh
    columns = {
        (series.quantity, series.instance): (series, one)
        for laid in (before, fresh)
        for series, one in zip(laid.series[1:], laid.steps, strict=True)
    }
    series = (before.series[0], *(series for series, _ in columns.values()))
    return before if series == before.series else Layout(series, tuple(one for _, one in columns.values()))


def lay_out(device: str, profile: Profile, answer: Mapping[str, Raw], key: Callable[[Way], str], source: str) -> Layout:
    """Take of each reading the way that gives a value, else the one that answers at all; what does not answer is not there.
    `key` is what a way's value is called in the answer."""
    series, steps = [Series(device, "device.answering", source=source)], []
    for wanted in profile.readings:
        there = [decode_step(way, key(way)) for way in wanted.ways if key(way) in answer]
        values = decode(there, answer)
        good = [one for one, value in zip(there, values, strict=True) if not isinstance(value, Missing)]
        if there:
            one = (good or there)[0]
            series.append(Series(device, wanted.quantity, wanted.instance, wanted.label.text, one.oid))
            steps.append(one)
    return Layout(tuple(series), tuple(steps))
