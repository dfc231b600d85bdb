"""The names of what may be gone, and the record of what was read of a device that outlives a restart. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from watchkeeper.model.device import PROBE_OPTIONS, Device
from watchkeeper.model.plain import one_line
from watchkeeper.model.quantity import absence_quantity
from watchkeeper.model.reading import Series

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


# ---- records: JSON; times on the clock of the sweeps ----


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of a device over a restart: the series that had a value, and since when some of them are gone."""

    of: str
    had: tuple[Series, ...]
    gone: dict[ColumnKey, float]


def encode_record(of: str, had: Iterable[Series], gone: Mapping[ColumnKey, float]) -> str:
    """A record as JSON; `decode_record` is the inverse."""
    rows = [[one.quantity, one.instance, one.label, one.source] for one in had]
    times = [[*key, at] for key, at in gone.items()]
    return json.dumps({"of": of, "had": rows, "gone": times}, separators=(",", ":"))


def decode_record(device: str, text: str) -> Record | None:
    """The record, or None for one that cannot be read (of another version, say)."""
    try:
        raw: Any = json.loads(text)
        had = tuple(Series(device, *map(str, row)) for row in raw["had"])
        return Record(str(raw["of"]), had, {(str(name), str(part)): float(at) for name, part, at in raw["gone"]})
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
