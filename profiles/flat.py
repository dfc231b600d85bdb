"""Applies a profile to a device without tables (Modbus registers, NUT variables): which series the device gives."""

from collections.abc import Mapping
from dataclasses import dataclass

from watchkeeper.model.reading import Series
from watchkeeper.profiles.decode import DecodeStep, Raw
from watchkeeper.profiles.shape import Profile
from watchkeeper.profiles.steps import all_hold, best_step


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


def lay_out(device: str, profile: Profile, answer: Mapping[str, Raw], source: str) -> Layout:
    """For each reading whose conditions hold, take the first way that gives a value, else the first one that is
    answered. A reading without an answer gets no column."""
    series, steps = [Series(device, "device.answering", source=source)], []
    for reading in profile.readings:
        one = best_step(reading.ways, reading.unit, "", answer) if all_hold(reading.where, "", answer) else None
        if one is not None:
            series.append(Series(device, reading.quantity, reading.instance, reading.label.text, one.source))
            steps.append(one)
    return Layout(tuple(series), tuple(steps))
