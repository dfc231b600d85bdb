"""A draft of a profile for an unknown device: its objects, sorted into tables and single objects, to be edited."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from watchkeeper.profiles.decode import Raw, raw_text
from watchkeeper.profiles.recognise import enterprise_of, object_id

SHOWN_VALUES, SHOWN_CHARS = 4, 40
MIN_COLUMNS = 2
ENTERPRISE_LENGTH = 7
"""The length of a vendor's OID: 1.3.6.1.4.1 and one number more."""

OidNumbers = tuple[int, ...]
_NUMBER_TEXT = re.compile(r"[-+]?\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One column of a table: its OID, and its values in the order of the rows."""

    oid: str
    values: tuple[Raw, ...]

    @property
    def numeric(self) -> bool:
        """Whether every value is a number, or text that looks like one."""
        return all(_NUMBER_TEXT.fullmatch(raw_text(value)) for value in self.values)


@dataclass(frozen=True, slots=True)
class SnmpTable:
    """Columns with the same row indices."""

    entry: str
    indices: tuple[str, ...]
    columns: tuple[TableColumn, ...]

    @property
    def names(self) -> TableColumn | None:
        """The column that most likely names the rows: text with the most different values."""
        texts = [column for column in self.columns if not column.numeric and any(map(raw_text, column.values))]
        return max(texts, key=lambda column: len(set(column.values)), default=None)


@dataclass(frozen=True, slots=True)
class SortedObjects:
    """The objects of a device: single ones (`scalars`) and tables."""

    scalars: Mapping[str, Raw]
    tables: tuple[SnmpTable, ...]


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """What a device reports about itself. `fits`: how many readings of each standard profile it has."""

    sys_object_id: str
    sys_descr: str
    fits: Mapping[str, int]


def sort_objects(objects: Mapping[str, Raw]) -> SortedObjects:
    """Sort into tables and single objects. A table has one entry, number 1 (SMIv2, RFC 2578), whose columns have the
    same indices. Of the other objects, those that end in `.0` are single; the rest are columns of their own."""
    rest = {tuple(map(int, oid.split("."))): value for oid, value in objects.items()}
    tables = []
    for entry in _entries(rest):
        columns: dict[int, dict[str, Raw]] = defaultdict(dict)
        for oid in [oid for oid in rest if oid[: len(entry)] == entry]:
            columns[oid[len(entry)]][_text(oid[len(entry) + 1 :])] = rest.pop(oid)
        tables += _by_indices(_text(entry), columns)
    others: dict[OidNumbers, dict[int, dict[str, Raw]]] = defaultdict(lambda: defaultdict(dict))
    for oid in [oid for oid in rest if oid[-1] != 0]:
        others[oid[:-2]][oid[-2]][str(oid[-1])] = rest.pop(oid)
    for parent, columns in others.items():
        tables += _by_indices(_text(parent), columns)
    return SortedObjects({_text(oid): value for oid, value in rest.items()}, tuple(tables))


def _by_indices(entry: str, columns: Mapping[int, Mapping[str, Raw]]) -> list[SnmpTable]:
    """The tables of an entry: one for each set of columns with the same indices."""
    groups: dict[tuple[str, ...], list[TableColumn]] = defaultdict(list)
    for number, cells in columns.items():
        groups[tuple(cells)].append(TableColumn(f"{entry}.{number}", tuple(cells.values())))
    return [SnmpTable(entry, indices, tuple(columns)) for indices, columns in groups.items()]


def _entries(objects: Iterable[OidNumbers]) -> list[OidNumbers]:
    """The entries of tables; of entries inside each other, the topmost."""
    below: dict[OidNumbers, dict[int, set[OidNumbers]]] = defaultdict(lambda: defaultdict(set))
    for oid in objects:
        for cut in range(ENTERPRISE_LENGTH, len(oid) - 1):
            below[oid[:cut]][oid[cut]].add(oid[cut + 1 :])
    entries: list[OidNumbers] = []
    for node in sorted(below, key=len):
        inside = any(node[: len(entry)] == entry for entry in entries)
        if not inside and node[-1] == 1 and set(below[node[:-1]]) <= {1} and _is_entry(below[node]):
            entries.append(node)
    return entries


def _is_entry(columns: Mapping[int, set[OidNumbers]]) -> bool:
    """Whether most columns have the same rows, and are not single objects."""
    rows = [frozenset(suffixes) for suffixes in columns.values()]
    most = max(rows, key=rows.count)
    return len(rows) >= MIN_COLUMNS and 2 * rows.count(most) > len(rows) and most != {(0,)}


def _text(oid: OidNumbers) -> str:
    return ".".join(map(str, oid))


def draft(name: str, device: DeviceIdentity, objects: SortedObjects) -> Iterator[str]:
    """The lines of a profile. The device's objects are comments; uncomment those that are worth watching."""
    descr = device.sys_descr[:SHOWN_CHARS] or "a device without sysDescr"
    yield f"# A draft for: {descr}. Fill in each TODO from the vendor's MIB file; delete what you do not need."
    yield f"profile: {name}"
    yield "vendor: TODO"
    yield "category: TODO  # server network storage ups pdu ats cooling env dc-power meter bmc"
    yield "verified: none"
    yield from _match(device, objects)
    if device.fits:
        fits = (f"{counted(count, 'reading')} of {fit}" for fit, count in device.fits.items())
        yield f"# It has {', '.join(fits)}:"
        yield f"extends: [{', '.join(device.fits)}]"
    yield "# readings:  (remove this # together with the first one below)" if device.fits else "readings:"
    if not (objects.tables or objects.scalars):
        yield "  # It has no objects of its vendor (below 1.3.6.1.4.1)."
    for table in objects.tables:
        yield from _table(table)
    if objects.scalars:
        yield "  # ---- single objects ----"
        for oid, value in objects.scalars.items():
            yield from _reading(oid, (value,), "")


def counted(number: int, noun: str) -> str:
    """The number and its noun, as in `1 row` and `2 rows`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _match(device: DeviceIdentity, objects: SortedObjects) -> Iterator[str]:
    own = object_id(device.sys_object_id)
    subtree = vendor_subtree(objects)
    yield "match:"
    if enterprise_of(own):
        yield f"  - sys_object_id: [{own}]"
        return
    yield f"  # its sysObjectID `{device.sys_object_id[:SHOWN_CHARS]}` names no vendor"
    if subtree:
        yield f"  - answers: {subtree}  # it has objects below this"
    else:
        words = re.escape(device.sys_descr[:SHOWN_CHARS]).replace("\\ ", " ").replace("'", "''")
        yield f"  - sys_descr: '^{words}'"


def vendor_subtree(objects: SortedObjects) -> str:
    """The subtree that all objects of a vendor are in; of several vendors, of the one with the most objects. Empty if
    there is none."""
    names = (*objects.scalars, *(column.oid for table in objects.tables for column in table.columns))
    by_vendor: dict[str, list[OidNumbers]] = defaultdict(list)
    for name in names:
        by_vendor[enterprise_of(name)].append(tuple(map(int, name.split("."))))
    by_vendor.pop("", None)
    most = max(by_vendor.values(), key=len, default=[])
    same = takewhile(lambda numbers: len(set(numbers)) == 1, zip(*most, strict=False))
    return _text(tuple(numbers[0] for numbers in same))


def _table(table: SnmpTable) -> Iterator[str]:
    rows = ", ".join(table.indices[:SHOWN_VALUES]) + (", ..." if len(table.indices) > SHOWN_VALUES else "")
    yield f"  # ---- table {table.entry}, {counted(len(table.indices), 'row')}: {rows} ----"
    names = table.names
    label = f' each: {{label: "{{{names.oid}}}"}},' if names else " each: {},"
    for column in table.columns:
        if column.numeric:
            yield from _reading(column.oid, column.values, label)
        else:
            yield f"  # text {column.oid}: {_shown(column.values)}"


def _reading(oid: str, values: Sequence[Raw], each: str) -> Iterator[str]:
    if all(_NUMBER_TEXT.fullmatch(raw_text(value)) for value in values):
        yield f"  # - {{quantity: TODO,{each} oid: {oid}, raw_unit: TODO, source: TODO}}  # {_shown(values)}"
    else:
        yield f"  # text {oid}: {_shown(values)}"


def _shown(values: Iterable[Raw]) -> str:
    texts = [raw_text(value)[:SHOWN_CHARS] for value in values]
    return ", ".join(texts[:SHOWN_VALUES]) + (", ..." if len(texts) > SHOWN_VALUES else "")
