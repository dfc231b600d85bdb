"""The names of what may be gone, and the record of what was read of a device that outlives a restart. Pure."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from watchkeeper.model.device import PROBE_OPTIONS, Device
from watchkeeper.model.plain import one_line
from watchkeeper.model.quantity import absence_quantity
from watchkeeper.model.reading import NO_READING, NOT_AVAILABLE, NOT_VALID, Missing, Reason, Series, Value

READINGS = "device.readings"
"""The quantity that tells whether a device gives readings, and the name of this part."""

NO_READING_S = 600.0
"""How long a BMC may have no reading of a sensor. It also has none while a part sleeps."""

ColumnKey = tuple[str, str]
"""(quantity, instance)."""


def key_of(series: Series) -> ColumnKey:
    """The key of a series within its device."""
    return series.quantity, series.instance


def part_of(series: Series) -> Series:
    """The column that tells how long the series is gone. All readings of one subject of one instance share it: the
    capacity and the inodes of a disk."""
    subject = series.quantity.partition(".")[0]
    instance = f"{subject} {series.instance}" if series.instance else series.quantity
    label = f"{series.label or series.instance} ({subject})" if series.instance else series.label or series.quantity
    return Series(series.device, absence_quantity(series.quantity), one_line(instance), one_line(label))


def part_key(series: Series) -> ColumnKey:
    """The key of `part_of`."""
    return key_of(part_of(series))


def named_by(patterns: tuple[str, ...], series: Series) -> bool:
    """Whether a pattern matches the instance or the label of the series, or of its part."""
    words = [word for one in (series, part_of(series)) for word in (one.instance, one.label) if word]
    return any(fnmatchcase(word, pattern) for pattern in patterns for word in words)


def definition_of(device: Device) -> str:
    """What makes a device another one: how, where and by which profile it is read, and which services; not its login."""
    options = {
        name: asdict(getattr(device, name))
        for name in PROBE_OPTIONS
        if name not in ("snmp", "ipmi") and getattr(device, name) is not None
    }
    return json.dumps([device.probe, device.address, device.profile, options], sort_keys=True)


def wait_s(kind: str, value: Value) -> float | None:
    """How long such a value must last before the reading counts as gone; None for a value that says nothing about it. A
    part that is there may have no value now: of hardware and of sensors, this counts; of other readings, it does not."""
    if not isinstance(value, Missing):
        return 0.0
    if value.reason is not Reason.ABSENT:
        return None
    if value.detail.startswith((NOT_VALID, NOT_AVAILABLE)):
        return None if kind == "reading.absent" else 0.0
    if value.detail.startswith(NO_READING):
        return {"hardware.absent": 0.0, "sensor.absent": NO_READING_S}.get(kind)
    return 0.0


def renamed_among(vanished: Iterable[Series], fresh: Iterable[Series], series: Iterable[Series]) -> set[ColumnKey]:
    """Which of the series that vanished are there under a new name: the same quantity from the same source, which no
    other series has."""
    count = Counter((one.quantity, one.source) for one in series)
    sources = {(one.quantity, one.source) for one in fresh if one.source}
    return {
        key_of(one)
        for one in vanished
        if (one.quantity, one.source) in sources and count[one.quantity, one.source] == 1
    }


# ---- records: JSON; times on the clock of the sweeps ----


@dataclass(frozen=True, slots=True)
class PartsRecord:
    """What is kept of a device over a restart: the series that had a value, since when some of them are gone, the largest
    number of values that it gave at once, and what is told about its readings (empty: nothing)."""

    of: str
    had: tuple[Series, ...]
    gone: dict[ColumnKey, float]
    most: int
    readings: str = ""


def encode_record(
    of: str, had: Iterable[Series], gone: Mapping[ColumnKey, float], most: int, readings: str = ""
) -> str:
    """A record as JSON; `decode_record` is the inverse."""
    rows = [[one.quantity, one.instance, one.label, one.source] for one in had]
    times = [[*key, at] for key, at in gone.items()]
    record = {"of": of, "had": rows, "gone": times, "most": most, "readings": readings}
    return json.dumps(record, separators=(",", ":"))


def decode_record(device: str, text: str) -> PartsRecord | None:
    """The record, or None for one that cannot be read (of another version, say)."""
    try:
        raw: Any = json.loads(text)
        had = tuple(Series(device, *map(str, row)) for row in raw["had"])
        gone = {(str(name), str(part)): float(at) for name, part, at in raw["gone"]}
        return PartsRecord(str(raw["of"]), had, gone, int(raw["most"]), str(raw.get("readings", "")))
    except (ValueError, LookupError, TypeError):
        return None


def rebase_record(text: str, delta: float) -> str:
    """Move a record to a clock that reads `delta` seconds more. Raises ValueError for anything else than a record."""
    raw = json.loads(text)
    try:
        raw["gone"] = [[name, part, at + delta] for name, part, at in raw["gone"]]
    except (LookupError, TypeError) as error:
        raise ValueError(f"not a record of what was read: {error!r}") from None
    return json.dumps(raw, separators=(",", ":"))
