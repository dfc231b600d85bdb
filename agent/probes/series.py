"""The series of a probe's sweeps. A probe hands out the same tuple from sweep to sweep as long as only values
change."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from watchkeeper.model.device import Device
from watchkeeper.model.reading import Missing, Series, Value
from watchkeeper.profiles.decode import DecodeStep


class SweepRow(NamedTuple):
    """One value of a sweep and the fields of its series."""

    quantity: str
    instance: str
    label: str
    source: str
    value: Value


def series_of(device: str, rows: Sequence[SweepRow], before: tuple[Series, ...]) -> tuple[Series, ...]:
    """The series of the rows. It is `before` itself unless a quantity, instance or label changed."""
    same = len(before) == len(rows) and all(
        (series.device, series.quantity, series.instance, series.label) == (device, *row[:3])
        for series, row in zip(before, rows, strict=True)
    )
    return before if same else tuple(Series(device, *row[:4]) for row in rows)


def with_failures(
    steps: Sequence[DecodeStep], values: Sequence[Value], failed: Mapping[str, Missing]
) -> Sequence[Value]:
    """The values; a missing one has the reason why one of its objects could not be read."""
    if not failed:
        return values
    return [
        next((failed[oid] for oid in step.oids if oid in failed), value) if isinstance(value, Missing) else value
        for step, value in zip(steps, values, strict=True)
    ]


class SeriesCache:
    """The series of each device, for probes whose devices always give the same ones."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[Series, ...]] = {}

    def of(self, device: Device, *parts: tuple[str, str, str]) -> tuple[Series, ...]:
        """`device.answering`, then one series for each part: quantity, instance (also the label) and source."""
        held = self._held.get(device.device)
        if held is None:
            own = (Series(device.device, quantity, part, part, source) for quantity, part, source in parts)
            held = self._held[device.device] = (Series(device.device, "device.answering"), *own)
        return held

    def forget(self, device: str) -> None:
        """Drop the series of a device that was removed or redefined."""
        self._held.pop(device, None)
