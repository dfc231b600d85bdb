"""Quantities that follow from two measured ones: the dew point of a place, from its temperature and humidity.

A derived series has a `source` that begins with `derived:`. A measured one is never replaced: a device that gives any dew
point itself gets none from here.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from watchkeeper.model.reading import Missing, Reason, Series, Sweep, Value

DERIVED = "derived:"
LONGEST_SOURCE = 200  # a word of the wire
TEMPERATURE, HUMIDITY, DEW_POINT = "temperature.ambient", "humidity.relative", "temperature.dewpoint"
MAGNUS_FACTOR, MAGNUS_CELSIUS = 17.62, 243.12
"""Magnus's formula over water, -45 .. 60 °C (WMO guide to instruments, WMO-No. 8, annex 4.B)."""


@dataclass(frozen=True, slots=True)
class DerivedSeries:
    """What is derived from the series `measured`: the columns of temperature and humidity of each place, and all series
    together."""

    measured: tuple[Series, ...]
    series: tuple[Series, ...]
    places: tuple[tuple[int, int], ...]

    def extend(self, sweep: Sweep) -> Sweep:
        """The sweep with the derived values; the sweep itself if nothing is derived."""
        if not self.places:
            return sweep
        values = sweep.values
        found = (dew_point(values[warm], values[damp]) for warm, damp in self.places)
        return Sweep(sweep.device, sweep.at, self.series, (*values, *found))


def derive(series: tuple[Series, ...]) -> DerivedSeries:
    """Find what can be derived from these series."""
    if any(one.quantity == DEW_POINT for one in series):
        return DerivedSeries(series, series, ())
    warm, damp = _places(series, TEMPERATURE), _places(series, HUMIDITY)
    places = tuple((warm[place], damp[place]) for place in warm if place in damp)
    made = (
        Series(
            series[one].device,
            DEW_POINT,
            series[one].instance,
            series[one].label,
            f"{DERIVED} dew point of {series[one].source} and {series[other].source}"[:LONGEST_SOURCE],
        )
        for one, other in places
    )
    return DerivedSeries(series, (*series, *made) if places else series, places)


def _places(series: Sequence[Series], quantity: str) -> dict[str, int]:
    """The columns of a quantity by the name of their place, which no other column of it has. The place is the label, or
    the instance where it is a name. The number of a table's row is none: row 1 of another table may be elsewhere."""
    named = [(_place(one), column) for column, one in enumerate(series) if one.quantity == quantity]
    often = Counter(place for place, _ in named)
    return {place: column for place, column in named if place is not None and often[place] == 1}


def _place(one: Series) -> str | None:
    if one.label:
        return one.label
    return None if one.instance.replace(".", "").isdigit() else one.instance


def dew_point(temperature: Value, humidity: Value) -> Value:
    """The dew point in °C of air at that temperature (°C) and relative humidity (%)."""
    if isinstance(temperature, Missing):
        return temperature
    if isinstance(humidity, Missing):
        return humidity
    if isinstance(temperature, str) or isinstance(humidity, str):
        return Missing(Reason.MALFORMED, "derived, and a part of it is no number")
    if not (0 < humidity <= 100 and temperature > -MAGNUS_CELSIUS):  # noqa: PLR2004 -- per cent
        return Missing(Reason.IMPLAUSIBLE, f"derived, and {humidity:g} % at {temperature:g} °C has no dew point")
    part = math.log(humidity / 100) + MAGNUS_FACTOR * temperature / (MAGNUS_CELSIUS + temperature)
    return round(MAGNUS_CELSIUS * part / (MAGNUS_FACTOR - part), 2)
