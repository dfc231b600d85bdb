"""Finds what was read before and is gone: a mount, a sensor off its hub, a power supply out of its slot. Pure: the times
are those of the sweeps.

A reading is *absent* when it had a value before and the device now answers without it, or says that it is not there. It
is *gone* when it stays absent for ABSENT_SWEEPS answered sweeps, outside the time in which a device that has just started
settles. What is gone keeps its column, and a column of `hardware.absent`, `sensor.absent` or `reading.absent` tells for
how long: ordinary rules judge it (rules/library/absence.yml). It ends when the reading is back, when a person confirms
the removal, or when the inventory says it. What no rule would judge is not kept.
"""

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import NamedTuple

from watchkeeper.model.device import Category, Device
from watchkeeper.model.event import EVENT_QUANTITY
from watchkeeper.model.quantity import absence_quantity
from watchkeeper.model.reading import AUTOMOUNTED, Missing, Series, Sweep
from watchkeeper.model.text import marked
from watchkeeper.rules.held import (
    ABSENT_SWEEPS,
    FREE,
    HAD,
    MAY_BE_ABSENT,
    NEVER,
    OTHER,
    PAUSES,
    Absence,
    HeldParts,
    columns_of,
    encoded,
    forget,
    pausing,
    refresh,
    says_absent,
    shown,
)
from watchkeeper.rules.parts import (
    READINGS,
    ColumnKey,
    decode_record,
    definition_of,
    key_of,
    named_by,
    part_key,
    part_of,
    renamed_among,
    wait_s,
)

SETTLE_S = 300.0
"""A device that has just started may answer with incomplete tables for so long; so may our own first sweeps of it."""

RETURNED_S = 600.0
"""How long the column that tells the absence is kept after the return, so that its verdict can become ok."""

SHORT = ("few", "none")
"""What is told of a device that gives too few readings."""

FEW_OF = 4
"""Of fewer readings, each that is missing is told."""

MAX_ABSENCES = 1000
"""Of one device; further ones replace the oldest."""

BY_INVENTORY = marked("removed: the inventory says that the device is `without` it")

_UNTRACKED = frozenset({"device.answering", "device.alarm", "device.excess", EVENT_QUANTITY, "uptime"})
"""An alarm that is over may disappear: its absence is no finding."""

Judged = Callable[[Series, Category], bool]
"""Whether a rule judges this series."""

Asked = Callable[[Series], bool]
"""Whether the device is still asked for this series: a profile that no longer has it makes nothing absent."""


class Removal(NamedTuple):
    """Readings that were confirmed to be removed, and why: their verdicts end with that reason."""

    device: str
    keys: frozenset[ColumnKey]
    reason: str


class Presence:
    """Adds to each sweep what is gone. `records` are those of an earlier run by device; `unsaved` are new ones to keep
    (None: to forget). `removals` are for the caller to take."""

    def __init__(self, judged: Judged, records: Mapping[str, str] | None = None, asked: Asked = lambda _: True) -> None:
        self._judged, self._asked = judged, asked
        self._records = dict(records or {})
        self._held: dict[str, HeldParts] = {}
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
        if values[0] != "yes" or pausing(held, sweep):
            held.paused = True
            return shown(held, sweep)
        if held.paused:
            held.paused, held.settled_at = False, sweep.at + SETTLE_S
        if held.series is not sweep.series or held.stale:
            self._arrange(held, sweep, category)
        if held.kinds == tuple(map(type, values)) and not says_absent(held, values):
            return sweep
        self._look(held, sweep, category)
        return shown(held, sweep)

    def _begin(self, sweep: Sweep) -> HeldParts:
        """Go on from the record of an earlier run."""
        held = HeldParts(self._definitions.get(sweep.device, ""))
        record = decode_record(sweep.device, self._records.pop(sweep.device, ""))
        if record is None or record.of != held.of:
            return held
        held.series, held.had, held.most = record.had, bytearray([HAD]) * len(record.had), record.most
        for series in record.had:
            if (since := record.gone.get(key_of(series))) is not None:
                held.absences[key_of(series)] = Absence(series, since, since, ABSENT_SWEEPS, gone=True)
        held.settled_at = sweep.at + SETTLE_S
        held.readings = record.readings
        refresh(held, sweep.series)
        return held

    def _arrange(self, held: HeldParts, sweep: Sweep, category: Category) -> None:
        """Take over the columns of the sweep. What had a value and has no column any more is absent."""
        known = {key_of(one): one for one, had in zip(held.series, held.had, strict=True) if had == HAD}
        known |= {key: absence.series for key, absence in held.absences.items()}
        present = {key_of(one): one for one in reversed(sweep.series)}
        free = {key for key, one in (known | present).items() if self._may_go(one, category)}
        held.had = bytearray(
            OTHER if one.quantity in _UNTRACKED
            else FREE if key_of(one) in free
            else HAD if key_of(one) in known
            else NEVER
            for one in sweep.series
        )  # fmt: skip
        held.most -= min(held.most, len(free & known.keys()))
        held.stale = False
        held.series, held.pauses = sweep.series, columns_of(sweep.series, PAUSES)
        held.batteries = columns_of(sweep.series, MAY_BE_ABSENT)
        held.uptime = next((index for index, one in enumerate(sweep.series) if one.quantity == "uptime"), 0)
        fresh = [one for key, one in present.items() if key not in known]
        renamed = renamed_among([one for key, one in known.items() if key not in present], fresh, sweep.series)
        for key, series in known.items():
            if key in renamed:
                held.absences.pop(key, None)
            elif key not in present and key not in held.absences and self._watched(series, category):
                self._note(held, series, sweep, 0.0)
        refresh(held)
        self._unsaved.add(sweep.device)

    def _look(self, held: HeldParts, sweep: Sweep, category: Category) -> None:
        """Note which columns have a value and which are absent, and decide what is gone."""
        before = len(held.absences), len(held.returned), held.readings
        changed, count, lacks, free = False, 0, False, False
        for index, value in enumerate(sweep.values):
            had = held.had[index]
            if had == OTHER:
                continue
            if had == FREE:
                free |= value.__class__ is not Missing
            elif value.__class__ is not Missing and value != "absent":
                count += 1
                changed |= (had == NEVER or bool(held.absences)) and _note_value(held, index, sweep.at)
            elif had == HAD:
                self._look_absent(held, sweep, index, category)
                lacks = True
        for absence in held.vanished:
            absence.sweeps += 1
        changed |= self._count(held, sweep, count, category, free=free)
        changed |= self._decide(held, sweep.at, category) or before[2] != held.readings
        held.returned = {key: one for key, one in held.returned.items() if sweep.at < one[1]}
        if changed or before != (len(held.absences), len(held.returned), held.readings):
            refresh(held)
        if changed:
            self._unsaved.add(sweep.device)
        if not (lacks or held.short_since is not None or held.absences or held.returned or held.readings):
            held.kinds = tuple(map(type, sweep.values))

    def _look_absent(self, held: HeldParts, sweep: Sweep, index: int, category: Category) -> None:
        series, value = sweep.series[index], sweep.values[index]
        wait = wait_s(absence_quantity(series.quantity), value)
        if wait is None:
            return
        absence = held.absences.get(key_of(series))
        if absence is None:
            if not self._watched(series, category):
                held.had[index] = NEVER
                return
            absence = self._note(held, series, sweep, wait)
        absence.sweeps += 1

    def _note(self, held: HeldParts, series: Series, sweep: Sweep, wait: float) -> Absence:
        due_at = max(sweep.at + wait, self._settled_at(held, sweep))
        absence = held.absences[key_of(series)] = Absence(series, sweep.at, due_at)
        if len(held.absences) > MAX_ABSENCES:
            del held.absences[next(iter(held.absences))]
        return absence

    @staticmethod
    def _settled_at(held: HeldParts, sweep: Sweep) -> float:
        """From when on its answers are complete, by its uptime and by ours."""
        up_s = sweep.values[held.uptime]
        return max(sweep.at + SETTLE_S - up_s, held.settled_at) if isinstance(up_s, float) else held.settled_at

    def _count(self, held: HeldParts, sweep: Sweep, count: int, category: Category, *, free: bool) -> bool:
        """Tell whether the device gives readings, and as many as before; `free` is whether a column that may come and go has
        a value. Returns whether there were never as many."""
        if held.most < FEW_OF:
            told = "ok" if count or free or 0 < held.most <= len(held.absences) else "none"
        else:
            told = "ok" if 2 * count >= held.most else "few" if count or free else "none"
        if told != "ok":
            held.short_since = sweep.at if held.short_since is None else held.short_since
            settled_at = min(self._settled_at(held, sweep), held.short_since + SETTLE_S)  # an uptime may stand still
            due = sweep.at >= settled_at or held.readings in SHORT
            if due and self._judged(Series(sweep.device, READINGS), category):
                held.readings, held.readings_until = told, inf
            return False
        held.short_since = None
        if held.readings:
            if held.readings != "ok":
                held.readings, held.readings_until = "ok", sweep.at + RETURNED_S
            elif sweep.at >= held.readings_until:
                held.readings = ""
        more = count > held.most
        held.most = max(count, held.most)
        return more

    def _decide(self, held: HeldParts, at: float, category: Category) -> bool:
        """Decide which absences are gone now, and which are no finding. Returns whether any changed. If most of a device's
        readings are missing, that is one finding, not as many."""
        changed, blind = False, held.readings in SHORT and held.most >= FEW_OF
        for key, absence in list(held.absences.items()):
            if absence.checked or not (absence.gone or (absence.due(at) and not blind)):
                continue
            changed = True
            absence.gone = absence.checked = self._watched(absence.series, category)
            if not absence.gone:
                self._drop(held, key)
        return changed

    def _drop(self, held: HeldParts, key: ColumnKey) -> None:
        """Its absence is no finding, or none any more."""
        series = held.absences[key].series
        forget(held, key)
        if named_by(self._without.get(series.device, ()), series):
            self.removals.append(Removal(series.device, frozenset({key, part_key(series)}), BY_INVENTORY))

    def _may_go(self, series: Series, category: Category) -> bool:
        """Whether the series may come and go: by itself, or as the rules or the inventory say."""
        if series.quantity in _UNTRACKED:
            return True
        expected = series.source.startswith(AUTOMOUNTED) or named_by(self._without.get(series.device, ()), series)
        return expected or not self._judged(part_of(series), category)

    def _watched(self, series: Series, category: Category) -> bool:
        """Whether the absence of the series would be a finding."""
        return self._asked(series) and not self._may_go(series, category)

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
                continue
            held.stale = True
            for one in held.absences.values():
                one.checked = False  # rules, profiles and the inventory may have changed
        for name in self._records.keys() - self._definitions.keys():
            del self._records[name]
            self._unsaved.add(name)

    def remove(self, device: str, part: str, reason: str) -> None:
        """A person confirms that this part was removed. What is not gone is not changed."""
        held = self._held.get(device)
        if held is None:
            return
        if part == READINGS and held.readings in SHORT:
            held.readings, held.most = "", 0
            self._end(device, held, frozenset(held.absences) | {(READINGS, "")}, reason)
            return
        gone = (key for key, one in held.absences.items() if one.gone and part_of(one.series).instance == part)
        self._end(device, held, frozenset(gone), reason)

    def _end(self, device: str, held: HeldParts, keys: frozenset[ColumnKey], reason: str) -> None:
        if not keys:
            return
        absent = keys & held.absences.keys()
        parts = {part_key(held.absences[key].series) for key in absent}
        for key in absent:
            forget(held, key)
        held.most -= min(held.most, len(absent))
        refresh(held)
        self.removals.append(Removal(device, keys | parts, reason))
        self._unsaved.add(device)

    @property
    def changed(self) -> bool:
        """Whether records have changed since `take_unsaved`."""
        return bool(self._unsaved)

    def take_unsaved(self) -> dict[str, str | None]:
        """The records that changed, by device; None for a device that is forgotten."""
        unsaved, self._unsaved = self._unsaved, set()
        return {name: encoded(self._held[name]) if name in self._held else None for name in unsaved}

    def records(self) -> dict[str, str]:
        """All records, for a spool that lost its own."""
        return self._records | {name: encoded(held) for name, held in self._held.items()}


def _note_value(held: HeldParts, index: int, at: float) -> bool:
    """Note that a column has a value. Returns whether it never had one before, or was gone."""
    if held.had[index] == NEVER:
        held.had[index] = HAD
        return True
    absence = held.absences.pop(key_of(held.series[index]), None)
    if absence is None or not absence.gone:
        return False
    held.returned[part_key(absence.series)] = (part_of(absence.series), at + RETURNED_S)
    return True
