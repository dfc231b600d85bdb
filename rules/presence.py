"""Finds what was read before and is gone: a mount, a sensor off its hub, a power supply out of its slot. Pure: the times
are those of the sweeps.

A reading is *absent* when it had a value before and the device now answers without it, or says that it is not there. It
is *gone* when it stays absent for ABSENT_SWEEPS answered sweeps, outside the time in which a device that has just started
settles. What is gone keeps its column, and a column of `hardware.absent`, `sensor.absent` or `reading.absent` tells for
how long: ordinary rules judge it (rules/library/absence.yml). It ends when the reading is back, when a person confirms
the removal, or when the inventory says it. What no rule would judge is not kept.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from watchkeeper.model.device import Category, Device
from watchkeeper.model.event import EVENT_QUANTITY
from watchkeeper.model.quantity import absence_quantity
from watchkeeper.model.reading import Missing, Reason, Series, Sweep
from watchkeeper.rules.parts import (
    READINGS,
    ColumnKey,
    decode_record,
    definition_of,
    encode_record,
    key_of,
    named_by,
    part_key,
    part_of,
    renamed_among,
    wait_s,
)

ABSENT_SWEEPS = 3
"""One answer may be cut short; what is missing from so many in a row is not there."""

SETTLE_S = 300.0
"""A device that has just started may answer with incomplete tables for so long; so may our own first sweeps of it."""

RETURNED_S = 600.0
"""How long the column that tells the absence is kept after the return, so that its verdict can become ok."""

FEW_OF = 4
"""Of fewer readings, each that is missing is told."""

MAX_ABSENCES = 1000
"""Of one device; further ones replace the oldest."""

NO_LONGER_THERE = Missing(Reason.ABSENT, "it was read before, and the device no longer has it")
"""The value of a column that the probe no longer gives."""

BY_INVENTORY = "removed: the inventory says that the device is `without` it"

_UNTRACKED = frozenset({"device.answering", "device.alarm", EVENT_QUANTITY, "uptime"})
"""An alarm that is over may disappear: its absence is no finding."""

_PAUSES: Mapping[str, tuple[str, ...]] = {"power.state": ("off", "sleeping"), "service.state": ("down",)}
"""In these states a device gives only a part of its readings."""

_NEVER, _HAD, _OTHER = 0, 1, 2
"""Of a column: never had a value, had one, is not watched."""

Judged = Callable[[Series, Category], bool]
"""Whether a rule judges this series."""

Asked = Callable[[Series], bool]
"""Whether the device is still asked for this series: a profile that no longer has it makes nothing absent."""


class Removal(NamedTuple):
    """Readings that were confirmed to be removed, and why: their verdicts end with that reason."""

    device: str
    keys: frozenset[ColumnKey]
    reason: str


@dataclass(slots=True)
class _Absence:
    """A reading that had a value before, and is absent now. It cannot be gone before `due_at`."""

    series: Series
    since: float
    due_at: float
    sweeps: int = 0
    gone: bool = False


@dataclass(slots=True)
class _Held:
    """What is known of a device; `of` is its definition. `had` tells of each column of `series` whether it ever had a
    value. `extra` are the columns that are added: those of `vanished`, and those that tell an absence, which are in
    `parts` with the time since when (infinity: it is back). `joined` are the last columns without and with them. `most` is
    the largest number of values at once; `readings` is what is told about it (empty: nothing)."""

    of: str
    series: tuple[Series, ...] = ()
    had: bytearray = field(default_factory=bytearray)
    absences: dict[ColumnKey, _Absence] = field(default_factory=dict)
    returned: dict[ColumnKey, tuple[Series, float]] = field(default_factory=dict)
    vanished: tuple[_Absence, ...] = ()
    parts: dict[ColumnKey, tuple[Series, float]] = field(default_factory=dict)
    extra: tuple[Series, ...] = ()
    joined: tuple[tuple[Series, ...], tuple[Series, ...]] = ((), ())
    pauses: tuple[int, ...] = ()
    uptime: int = 0
    settled_at: float = -inf
    paused: bool = False
    calm: bool = False
    most: int = 0
    readings: str = ""
    readings_until: float = inf


class Presence:
    """Adds to each sweep what is gone. `records` are those of an earlier run by device; `unsaved` are new ones to keep
    (None: to forget). `removals` are for the caller to take."""

    def __init__(self, judged: Judged, records: Mapping[str, str] | None = None, asked: Asked = lambda _: True) -> None:
        self._judged, self._asked = judged, asked
        self._records = dict(records or {})
        self._held: dict[str, _Held] = {}
        self._definitions: dict[str, str] = {}
        self._without: dict[str, tuple[str, ...]] = {}
        self._unsaved: set[str] = set()
        self.removals: list[Removal] = []

    # ---- for every sweep ----

    def join(self, sweep: Sweep, category: Category) -> Sweep:
        """The sweep with the columns that tell what is gone. The series stay the same tuple until that changes."""
        held = self._held.get(sweep.device)
        if held is None:
            if sweep.values[0] != "yes":
                return sweep
            held = self._held[sweep.device] = self._begin(sweep)
        values = sweep.values
        if values[0] != "yes" or self._pausing(held, sweep):
            held.paused = True
            return _shown(held, sweep)
        if held.paused:
            held.paused, held.settled_at = False, sweep.at + SETTLE_S
        if held.series is not sweep.series:
            self._arrange(held, sweep, category)
        if held.calm and Missing not in map(type, values) and "absent" not in values:
            return sweep
        self._look(held, sweep, category)
        return _shown(held, sweep)

    @staticmethod
    def _pausing(held: _Held, sweep: Sweep) -> bool:
        if held.series is not sweep.series:
            return any(sweep.values[index] in _PAUSES[sweep.series[index].quantity] for index in _pauses(sweep.series))
        return any(sweep.values[index] in _PAUSES[sweep.series[index].quantity] for index in held.pauses)

    def _begin(self, sweep: Sweep) -> _Held:
        """Go on from the record of an earlier run."""
        held = _Held(self._definitions.get(sweep.device, ""))
        record = decode_record(sweep.device, self._records.pop(sweep.device, ""))
        if record is None or record.of != held.of:
            return held
        held.series, held.had, held.most = record.had, bytearray([_HAD]) * len(record.had), record.most
        for series in record.had:
            if (since := record.gone.get(key_of(series))) is not None:
                held.absences[key_of(series)] = _Absence(series, since, since, ABSENT_SWEEPS, gone=True)
        held.settled_at = sweep.at + SETTLE_S
        return held

    def _arrange(self, held: _Held, sweep: Sweep, category: Category) -> None:
        """Take over the columns of the sweep. What had a value and has no column any more is absent."""
        known = {key_of(one): one for one, had in zip(held.series, held.had, strict=True) if had == _HAD}
        known |= {key: absence.series for key, absence in held.absences.items()}
        present = {key_of(one): one for one in reversed(sweep.series)}
        held.had = bytearray(
            _OTHER if one.quantity in _UNTRACKED else _HAD if key_of(one) in known else _NEVER for one in sweep.series
        )
        held.series, held.pauses = sweep.series, _pauses(sweep.series)
        held.uptime = next((index for index, one in enumerate(sweep.series) if one.quantity == "uptime"), 0)
        fresh = [one for key, one in present.items() if key not in known]
        renamed = renamed_among([one for key, one in known.items() if key not in present], fresh, sweep.series)
        for key, series in known.items():
            if key in renamed:
                held.absences.pop(key, None)
            elif key not in present and key not in held.absences and self._watched(series, category):
                self._note(held, series, sweep, 0.0)
        self._refresh(held)
        self._unsaved.add(sweep.device)

    def _look(self, held: _Held, sweep: Sweep, category: Category) -> None:
        """Note which columns have a value and which are absent, and decide what is gone."""
        before = len(held.absences), len(held.returned), held.readings
        changed, count = False, 0
        for index, value in enumerate(sweep.values):
            had = held.had[index]
            if had == _OTHER:
                continue
            if value.__class__ is Missing or value == "absent":
                if had == _HAD:
                    self._look_absent(held, sweep, index, category)
                continue
            count += 1
            if had == _NEVER:
                held.had[index] = _HAD
                changed = True
            elif held.absences and (absence := held.absences.pop(key_of(held.series[index]), None)) and absence.gone:
                held.returned[part_key(absence.series)] = (part_of(absence.series), sweep.at + RETURNED_S)
                changed = True
        for absence in held.vanished:
            absence.sweeps += 1
        changed |= self._count(held, sweep, count, category)
        changed |= self._decide(held, sweep.at, category)
        held.returned = {key: one for key, one in held.returned.items() if sweep.at < one[1]}
        if changed or before != (len(held.absences), len(held.returned), held.readings):
            self._refresh(held)
        if changed:
            self._unsaved.add(sweep.device)

    def _look_absent(self, held: _Held, sweep: Sweep, index: int, category: Category) -> None:
        series, value = sweep.series[index], sweep.values[index]
        wait = wait_s(absence_quantity(series.quantity), value)
        if wait is None:
            return
        absence = held.absences.get(key_of(series))
        if absence is None:
            if not self._watched(series, category):
                held.had[index] = _NEVER
                return
            absence = self._note(held, series, sweep, wait)
        absence.sweeps += 1

    def _note(self, held: _Held, series: Series, sweep: Sweep, wait: float) -> _Absence:
        due_at = max(sweep.at + wait, self._settled_at(held, sweep))
        absence = held.absences[key_of(series)] = _Absence(series, sweep.at, due_at)
        if len(held.absences) > MAX_ABSENCES:
            del held.absences[next(iter(held.absences))]
        return absence

    @staticmethod
    def _settled_at(held: _Held, sweep: Sweep) -> float:
        """From when on its answers are complete, by its uptime and by ours."""
        up_s = sweep.values[held.uptime]
        return max(sweep.at + SETTLE_S - up_s, held.settled_at) if isinstance(up_s, float) else held.settled_at

    def _count(self, held: _Held, sweep: Sweep, count: int, category: Category) -> bool:
        """Tell whether the device gives readings, and as many as before. Returns whether there were never as many."""
        if held.most < FEW_OF:
            told = "ok" if count or 0 < held.most <= len(held.absences) else "none"
        else:
            told = "ok" if 2 * count >= held.most else "few" if count else "none"
        if told != "ok":
            judged = self._judged(Series(sweep.device, READINGS), category)
            if judged and (held.readings or sweep.at >= self._settled_at(held, sweep)):
                held.readings, held.readings_until = told, inf
        elif held.readings:
            if held.readings != "ok":
                held.readings, held.readings_until = "ok", sweep.at + RETURNED_S
            elif sweep.at >= held.readings_until:
                held.readings = ""
        more = count > held.most
        held.most = max(count, held.most)
        return more

    def _decide(self, held: _Held, at: float, category: Category) -> bool:
        """Decide which absences are gone now, and which are no finding. Returns whether any changed. If most of a device's
        readings are missing, that is one finding, not as many."""
        changed = False
        if held.readings in ("few", "none") and held.most >= FEW_OF:
            return False
        for key, absence in list(held.absences.items()):
            if absence.gone or absence.sweeps < ABSENT_SWEEPS or at < absence.due_at:
                continue
            changed = True
            absence.gone = self._watched(absence.series, category)
            if not absence.gone:
                _forget(held, key)
        return changed

    def _watched(self, series: Series, category: Category) -> bool:
        """Whether the absence of the series would be a finding."""
        wanted = not named_by(self._without.get(series.device, ()), series) and self._asked(series)
        return wanted and self._judged(part_of(series), category)

    @staticmethod
    def _refresh(held: _Held) -> None:
        """Make the added columns anew."""
        columns = {key_of(one) for one in held.series}
        held.vanished = tuple(one for key, one in held.absences.items() if key not in columns)
        gone: dict[ColumnKey, tuple[Series, float]] = {}
        for one in held.absences.values():
            if one.gone:
                part, since = gone.get(part_key(one.series), (part_of(one.series), inf))
                gone[part_key(one.series)] = (part, min(since, one.since))
        held.parts = {key: (series, inf) for key, (series, _) in held.returned.items()} | gone
        held.extra = (*(one.series for one in held.vanished), *(series for series, _ in held.parts.values()))
        if held.readings:
            held.extra += (Series(held.series[0].device, READINGS),)
        held.joined = ((), ())
        watched = len(held.had) - held.had.count(_OTHER)
        plain = not (held.absences or held.returned or held.readings) and _NEVER not in held.had
        held.calm = plain and 2 * watched >= held.most > 0

    # ---- seldom ----

    def activate(self, devices: Iterable[Device]) -> None:
        """Watch these devices. One that was redefined (another address, another service) begins anew."""
        self._definitions, self._without = {}, {}
        for device in devices:
            self._definitions[device.device] = definition_of(device)
            if device.without:
                self._without[device.device] = device.without
        for name, held in list(self._held.items()):
            if self._definitions.get(name) != held.of:
                del self._held[name]
                self._unsaved.add(name)
            elif patterns := self._without.get(name):
                gone = {key: one for key, one in held.absences.items() if named_by(patterns, one.series)}
                self._end(name, held, frozenset(gone), BY_INVENTORY)
        for name in self._records.keys() - self._definitions.keys():
            del self._records[name]
            self._unsaved.add(name)

    def remove(self, device: str, part: str, reason: str) -> None:
        """A person confirms that this part was removed. What is not gone is not changed."""
        held = self._held.get(device)
        if held is None:
            return
        if part == READINGS and held.readings in ("few", "none"):
            held.readings, held.most = "", 0
            self._end(device, held, frozenset(held.absences) | {(READINGS, "")}, reason)
            return
        gone = (key for key, one in held.absences.items() if one.gone and part_of(one.series).instance == part)
        self._end(device, held, frozenset(gone), reason)

    def _end(self, device: str, held: _Held, keys: frozenset[ColumnKey], reason: str) -> None:
        if not keys:
            return
        absent = keys & held.absences.keys()
        parts = {part_key(held.absences[key].series) for key in absent}
        for key in absent:
            _forget(held, key)
        self._refresh(held)
        self.removals.append(Removal(device, keys | (parts - held.parts.keys()), reason))
        self._unsaved.add(device)

    @property
    def changed(self) -> bool:
        """Whether records have changed since `take_unsaved`."""
        return bool(self._unsaved)

    def take_unsaved(self) -> dict[str, str | None]:
        """The records that changed, by device; None for a device that is forgotten."""
        unsaved, self._unsaved = self._unsaved, set()
        return {name: _encoded(self._held[name]) if name in self._held else None for name in unsaved}

    def records(self) -> dict[str, str]:
        """All records, for a spool that lost its own."""
        return self._records | {name: _encoded(held) for name, held in self._held.items()}


def _pauses(series: tuple[Series, ...]) -> tuple[int, ...]:
    return tuple(index for index, one in enumerate(series) if one.quantity in _PAUSES)


def _forget(held: _Held, key: ColumnKey) -> None:
    """The reading counts as one that was never there."""
    del held.absences[key]
    for index, one in enumerate(held.series):
        if key_of(one) == key and held.had[index] == _HAD:
            held.had[index] = _NEVER


def _shown(held: _Held, sweep: Sweep) -> Sweep:
    if not held.extra:
        return sweep
    if held.joined[0] is not sweep.series:
        held.joined = (sweep.series, (*sweep.series, *held.extra))
    gone_s = (max(0.0, sweep.at - since) for _, since in held.parts.values())
    told = (held.readings,) if held.readings else ()
    values = (*sweep.values, *[NO_LONGER_THERE] * len(held.vanished), *gone_s, *told)
    return Sweep(sweep.device, sweep.at, held.joined[1], values)


def _encoded(held: _Held) -> str:
    had = {key_of(one): one for one, state in zip(held.series, held.had, strict=True) if state == _HAD}
    had |= {key: one.series for key, one in held.absences.items()}
    return encode_record(
        held.of, had.values(), {key: one.since for key, one in held.absences.items() if one.gone}, held.most
    )
