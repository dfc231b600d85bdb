"""What a probe has returned, made safe for everything behind it: values that are finite numbers or short texts, and words
without control characters. A device may send any."""

from math import isfinite
from typing import Any

from watchkeeper.model.device import Device
from watchkeeper.model.plain import LINE_LIMIT, is_plain, one_line
from watchkeeper.model.reading import Missing, Reason, Series, Sweep, Value

LONGEST_DETAIL = 1000
"""Characters of the reason why a value is missing."""

_LARGEST = 1e300  # far below the largest float


class SweepCheck:
    """Checks the sweeps of one device. The tuple of series stays the same object as long as the probe's does."""

    __slots__ = ("_checked", "_given")

    def __init__(self) -> None:
        self._given: tuple[Series, ...] = ()
        self._checked: tuple[Series, ...] = ()

    def check(self, device: Device, sweep: Sweep) -> Sweep:
        """The sweep, with Missing for every value that is neither a finite number nor text. Raises ValueError where the
        sweep itself is wrong."""
        values = sweep.values
        if sweep.device != device.device:
            raise ValueError("a sweep of another device")
        if len(values) != len(sweep.series) or not values or values[0] not in ("yes", "no"):
            raise ValueError("columns of unequal length, or without device.answering")
        if sweep.series is not self._given:
            self._given, self._checked = sweep.series, _checked_series(sweep.series)
        if not all(map(_is_good, values)):
            values = tuple(map(_checked_value, values))
        if values is sweep.values and self._checked is self._given:
            return sweep
        return Sweep(sweep.device, sweep.at, self._checked, values)


def _checked_series(series: tuple[Series, ...]) -> tuple[Series, ...]:
    """The series with safe words; the tuple itself if all of them are."""
    if all(_fits(word) for one in series for word in (one.instance, one.label, one.source)):
        return series
    return tuple(
        Series(one.device, one.quantity, one_line(one.instance), one_line(one.label), one_line(one.source))
        for one in series
    )


def _fits(word: str) -> bool:
    return len(word) <= LINE_LIMIT and is_plain(word)


def _is_good(value: Any) -> bool:
    kind = type(value)
    if kind is float:
        return isfinite(value)
    if kind is Missing:
        return len(value.detail) <= LONGEST_DETAIL and is_plain(value.detail)
    return kind is str and _fits(value)


def _checked_value(value: Any) -> Value:
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, Missing):
        return Missing(value.reason, one_line(value.detail, LONGEST_DETAIL))
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST:  # false for NaN
        return float(value)
    return Missing(Reason.IMPLAUSIBLE, f"the probe returned {one_line(str(value)[:50])}")
