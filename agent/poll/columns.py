"""How many columns a device may have, and how often they may change. A device that invents new names at each sweep must not
make the agent grow, nor the collector: what is beyond the limits is left out, and `device.excess` tells how much that is. Pure.

A column that disappears stays in the count for a day; then it is forgotten, and there is room for another one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from watchkeeper.model.batch import Facts
from watchkeeper.model.device import Device
from watchkeeper.model.reading import Missing, Reason, Series, Sweep
from watchkeeper.model.text import marked

MAX_COLUMNS, MAX_NAMES = 5_000, 10_000
"""Of one device, at once, and within a day. The largest devices that we know have some 4,000 columns."""

FORGET_S = 86_400.0

CHANGES_AT_ONCE, CHANGES_PER_S = 20_000.0, 1.0
"""Whenever the columns of a device change, all of them are declared to the collector anew. So many columns may be declared at once,
and so many a second after that. Until then the columns stay as they were."""

EXCESS = "device.excess"
"""The quantity that tells how many columns are left out."""

_NOT_GIVEN = Missing(Reason.ABSENT, "the device no longer has it, and changes its readings too often to follow")

ColumnKey = tuple[str, str]


@dataclass(slots=True)
class DeviceColumns:
    """The columns of one device. `given` are the probe's, `kept` are what goes on; `places` are the places of these in the
    probe's columns (None: it no longer has the column; the tuple is None where both are the same). `gone` are columns that have
    disappeared, and when. `left_out` is None until anything was left out."""

    device: Device
    given: tuple[Series, ...] = ()
    kept: tuple[Series, ...] = ()
    places: tuple[int | None, ...] | None = None
    gone: dict[ColumnKey, float] = field(default_factory=dict)
    left_out: int | None = None
    credit: float = CHANGES_AT_ONCE
    credit_at: float = 0.0

    def admit(self, sweep: Sweep) -> Sweep:
        """The sweep with the columns that are kept."""
        if sweep.series is not self.given:
            self._take(sweep)
        if self.left_out is None and self.places is None:
            return sweep
        values = sweep.values
        if self.places is not None:
            values = tuple(_NOT_GIVEN if place is None else sweep.values[place] for place in self.places)
        if self.left_out is not None:
            values = (*values, float(self.left_out))
        return Sweep(sweep.device, sweep.at, self.kept, values)

    def _take(self, sweep: Sweep) -> None:
        """Take over the probe's new columns, as far as the limits allow."""
        now, series = sweep.at, sweep.series
        self.credit = min(CHANGES_AT_ONCE, self.credit + (now - self.credit_at) * CHANGES_PER_S)
        self.credit_at = now
        places: dict[ColumnKey, int] = {}
        for place, one in enumerate(series):
            places.setdefault(_key(one), place)
        before = [_key(one) for one in self.kept if one.quantity != EXCESS]
        if before and self.credit < len(series):
            self.given = ()  # see at the next sweep whether there is enough
            self.places = tuple(places.get(key) for key in before)
            self._tell(len(places.keys() - set(before)))
            return
        self.credit -= len(series)
        self.gone |= dict.fromkeys((key for key in before if key not in places), now)
        self.gone = {key: at for key, at in self.gone.items() if now - at < FORGET_S and key not in places}
        room = max(1, min(MAX_COLUMNS, MAX_NAMES - len(self.gone)))
        self.given, self.kept, self.places = series, series, None
        if len(places) > room:
            self.places = _chosen(places, before, room)
            self.kept = tuple(series[place] for place in self.places)
        self._tell(max(0, len(places) - room))

    def _tell(self, left_out: int) -> None:
        """Add the column that tells how many are left out, once there were any."""
        if not left_out and self.left_out is None:
            return
        self.left_out = left_out
        if self.kept[-1].quantity != EXCESS:
            self.kept = (*self.kept, Series(self.kept[0].device, EXCESS))


def _key(series: Series) -> ColumnKey:
    return series.quantity, series.instance


def _chosen(places: dict[ColumnKey, int], before: Iterable[ColumnKey], room: int) -> tuple[int, ...]:
    """The places of the columns that are kept. What was kept before stays, as far as there is room."""
    known = [key for key in before if key in places]
    kept = dict.fromkeys((*known, *places))
    return tuple(sorted(places[key] for key in islice(kept, room)))


class ColumnLimits:
    """The columns of all devices of an agent."""

    def __init__(self) -> None:
        self._held: dict[str, DeviceColumns] = {}

    def admit(self, device: Device, sweep: Sweep) -> Sweep:
        """The sweep with the columns that are kept; the sweep itself for a device within the limits."""
        held = self._held.get(device.device)
        if held is None or held.device != device:
            held = self._held[device.device] = DeviceColumns(device, credit_at=sweep.at)
        return held.admit(sweep)

    def keep(self, devices: Iterable[Device]) -> None:
        """Forget the columns of all other devices."""
        names = {one.device for one in devices}
        self._held = {name: held for name, held in self._held.items() if name in names}

    def facts(self, device: str) -> Facts:
        """What is left out of a device, for the people who look at its page."""
        held = self._held.get(device)
        if held is None or not held.left_out:
            return ()
        return (("excess", marked(f"{held.left_out} left out: the device has too many, or new ones all the time")),)
