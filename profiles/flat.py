"""Applies a profile to a device without tables (Modbus registers, NUT variables): which series the device gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from watchkeeper.model.reading import Missing, Series
from watchkeeper.profiles.decode import DecodeStep, Raw, decode, decode_step
from watchkeeper.profiles.shape import Profile, Way


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a device. `series` begins with `device.answering`, which has no step."""

    series: tuple[Series, ...]
    steps: tuple[DecodeStep, ...] = ()


def merge_layouts(before: Layout | None, fresh: Layout) -> Layout:
    """The columns of `before`, with those of `fresh` that are new or are read another way; `before` itself if there are
    none. A value that is no longer answered keeps its column, and is missing."""
    if before is None:
        return fresh
    columns = {
        (series.quantity, series.instance): (series, one)
        for layout in (before, fresh)
        for series, one in zip(layout.series[1:], layout.steps, strict=True)
    }
    series = (before.series[0], *(series for series, _ in columns.values()))
    return before if series == before.series else Layout(series, tuple(one for _, one in columns.values()))


def lay_out(device: str, profile: Profile, answer: Mapping[str, Raw], key: Callable[[Way], str], source: str) -> Layout:
    """For each reading, take the first way that gives a value, else the first one that is answered. A reading without
    an answer gets no column. `key` gives the name of a way's value in the answer."""
    series, steps = [Series(device, "device.answering", source=source)], []
    for reading in profile.readings:
        answered = [decode_step(way, key(way)) for way in reading.ways if key(way) in answer]
        values = decode(answered, answer)
        good = [one for one, value in zip(answered, values, strict=True) if not isinstance(value, Missing)]
        if answered:
            one = (good or answered)[0]
            series.append(Series(device, reading.quantity, reading.instance, reading.label.text, one.oid))
            steps.append(one)
    return Layout(tuple(series), tuple(steps))
