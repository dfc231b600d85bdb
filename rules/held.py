"""What is known of one device: which of its columns had a value, what is absent, and the columns that tell it."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from math import inf

from watchkeeper.model.reading import Missing, Reason, Series, Sweep, Value
from watchkeeper.rules.parts import READINGS, ColumnKey, encode_record, key_of, part_key, part_of

ABSENT_SWEEPS = 3
"""One answer may be cut short; what is missing from so many in a row is not there."""

NO_LONGER_THERE = Missing(Reason.ABSENT, "it was read before, and the device no longer has it")
"""The value of a column that the probe no longer gives."""

PAUSES: Mapping[str, tuple[str, ...]] = {"power.state": ("off", "sleeping"), "service.state": ("down",)}
"""In these states a device gives only a part of its readings."""

MAY_BE_ABSENT = frozenset({"battery.state"})
"""Quantities with a state `absent`."""

NEVER, HAD, FREE, OTHER = 0, 1, 2, 3
"""Of a column: never had a value; had one; may come and go, because no rule judges its absence; is not about the device."""


@dataclass(slots=True)
class Absence:
    """A reading that had a value before, and is absent now. It cannot be gone before `due_at`. `checked` means that its
    absence is a finding under the present rules, profiles and inventory."""

    series: Series
    since: float
    due_at: float
    sweeps: int = 0
    gone: bool = False
    checked: bool = False

    def due(self, at: float) -> bool:
        """Whether it is absent for long enough."""
        return self.sweeps >= ABSENT_SWEEPS and at >= self.due_at


@dataclass(slots=True)
class HeldParts:
    """What is known of a device; `of` is its definition. `had` tells of each column of `series` whether it ever had a
    value. `extra` are the columns that are added: those of `vanished`, and those that tell an absence, which are in
    `parts` with the time since when (infinity: it is back). `joined` are the last columns without and with them. `most` is
    the largest number of values at once, and `short_since` is when there began to be too few (None: there are enough);
    `readings` is what is told about it (empty: nothing). `kinds` are the types of the values at which there is nothing to note."""

    of: str
    series: tuple[Series, ...] = ()
    had: bytearray = field(default_factory=bytearray)
    absences: dict[ColumnKey, Absence] = field(default_factory=dict)
    returned: dict[ColumnKey, tuple[Series, float]] = field(default_factory=dict)
    vanished: tuple[Absence, ...] = ()
    parts: dict[ColumnKey, tuple[Series, float]] = field(default_factory=dict)
    extra: tuple[Series, ...] = ()
    joined: tuple[tuple[Series, ...], tuple[Series, ...]] = ((), ())
    pauses: tuple[int, ...] = ()
    batteries: tuple[int, ...] = ()
    uptime: int = 0
    settled_at: float = -inf
    paused: bool = False
    kinds: tuple[type, ...] = ()
    short_since: float | None = None
    stale: bool = False
    most: int = 0
    readings: str = ""
    readings_until: float = inf


def refresh(held: HeldParts, series: tuple[Series, ...] | None = None) -> None:
    """Make the added columns anew. `series` are the columns that they are added to, where these are not taken over yet."""
    series = held.series if series is None else series
    columns = {key_of(one) for one in series}
    held.vanished = tuple(one for key, one in held.absences.items() if key not in columns)
    gone: dict[ColumnKey, tuple[Series, float]] = {}
    for one in held.absences.values():
        if one.gone:
            part, since = gone.get(part_key(one.series), (part_of(one.series), inf))
            gone[part_key(one.series)] = (part, min(since, one.since))
    held.parts = {key: (series, inf) for key, (series, _) in held.returned.items()} | gone
    held.extra = (*(one.series for one in held.vanished), *(series for series, _ in held.parts.values()))
    if held.readings:
        held.extra += (Series(series[0].device, READINGS),)
    held.joined = ((), ())
    held.kinds = ()


def columns_of(series: tuple[Series, ...], quantities: Container[str]) -> tuple[int, ...]:
    """The indices of the columns of these quantities."""
    return tuple(index for index, one in enumerate(series) if one.quantity in quantities)


def pausing(held: HeldParts, sweep: Sweep) -> bool:
    """Whether the device gives only a part of its readings now."""
    indices = held.pauses if held.series is sweep.series else columns_of(sweep.series, PAUSES)
    return bool(indices) and any(sweep.values[one] in PAUSES[sweep.series[one].quantity] for one in indices)


def says_absent(held: HeldParts, values: tuple[Value, ...]) -> bool:
    """Whether a state says that its part is absent."""
    return bool(held.batteries) and any(values[one] == "absent" for one in held.batteries)


def forget(held: HeldParts, key: ColumnKey) -> None:
    """The reading counts as one that was never there."""
    del held.absences[key]
    for index, one in enumerate(held.series):
        if key_of(one) == key:
            held.had[index] = NEVER


def shown(held: HeldParts, sweep: Sweep) -> Sweep:
    """The sweep with the added columns."""
    if not held.extra:
        return sweep
    if held.joined[0] is not sweep.series:
        held.joined = (sweep.series, (*sweep.series, *held.extra))
    gone_s = (max(0.0, sweep.at - since) for _, since in held.parts.values())
    told = (held.readings,) if held.readings else ()
    values = (*sweep.values, *[NO_LONGER_THERE] * len(held.vanished), *gone_s, *told)
    return Sweep(sweep.device, sweep.at, held.joined[1], values)


def encoded(held: HeldParts) -> str:
    """What must be kept of the device over a restart."""
    had = {key_of(one): one for one, state in zip(held.series, held.had, strict=True) if state == HAD}
    had |= {key: one.series for key, one in held.absences.items()}
    gone = {key: one.since for key, one in held.absences.items() if one.gone}
    return encode_record(held.of, had.values(), gone, held.most, held.readings)
