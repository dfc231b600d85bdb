"""A first profile for a device nobody knows: what it answers, sorted into tables and single objects, ready to be edited."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from watchkeeper.profiles.decode import Raw, raw_text

SHOWN, LONGEST = 4, 40
FEWEST_COLUMNS = 2
ENTERPRISE = 7
"""How many numbers name a maker: 1.3.6.1.4.1 and one more."""

Oid = tuple[int, ...]
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its OID, and the values in the order of the rows."""

    oid: str
    values: tuple[Raw, ...]

    @property
    def numeric(self) -> bool:
        """Whether every value is a number, or text that is one."""
        return all(_NUMBER.fullmatch(raw_text(value)) for value in self.values)


@dataclass(frozen=True, slots=True)
class Table:
    """Columns whose rows have the same indices."""

    entry: str
    indices: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def names(self) -> Column | None:
        """The column that most likely names the rows: text, and different in each."""
        texts = [one for one in self.columns if not one.numeric and any(map(raw_text, one.values))]
        return max(texts, key=lambda one: len(set(one.values)), default=None)


@dataclass(frozen=True, slots=True)
class Found:
    """What a device answers that no shipped profile reads."""

    scalars: Mapping[str, Raw]
    tables: tuple[Table, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """Who the device says it is. `fits` are standard profiles and how many readings of them it gives."""

    sys_object_id: str
    sys_descr: str
    fits: Mapping[str, int]


def sort_out(objects: Mapping[str, Raw]) -> Found:
    """Tables are found from above: an entry (SMIv2 numbers it 1, and it stands alone) whose columns have the same indices. Of
    what is left, what ends in `.0` is a single object, and the rest are columns of their own."""
    rest = {tuple(map(int, oid.split("."))): value for oid, value in objects.items()}
    tables = []
    for entry in _entries(rest):
        columns: dict[int, dict[str, Raw]] = defaultdict(dict)
        for oid in [one for one in rest if one[: len(entry)] == entry]:
            columns[oid[len(entry)]][_text(oid[len(entry) + 1 :])] = rest.pop(oid)
        tables += _by_indices(_text(entry), columns)
    lone: dict[Oid, dict[int, dict[str, Raw]]] = defaultdict(lambda: defaultdict(dict))
    for oid in [one for one in rest if one[-1] != 0]:
        lone[oid[:-2]][oid[-2]][str(oid[-1])] = rest.pop(oid)
    for parent, columns in lone.items():
        tables += _by_indices(_text(parent), columns)
    return Found({_text(oid): value for oid, value in rest.items()}, tuple(tables))


def _by_indices(entry: str, columns: Mapping[int, Mapping[str, Raw]]) -> list[Table]:
    """The columns of an entry, those with the same indices together."""
    groups: dict[tuple[str, ...], list[Column]] = defaultdict(list)
    for number, cells in columns.items():
        groups[tuple(cells)].append(Column(f"{entry}.{number}", tuple(cells.values())))
    return [Table(entry, indices, tuple(found)) for indices, found in groups.items()]


def _entries(objects: Iterable[Oid]) -> list[Oid]:
    """The entries of tables, the topmost of any that stand in each other."""
    below: dict[Oid, dict[int, set[Oid]]] = defaultdict(lambda: defaultdict(set))
    for oid in objects:
        for cut in range(ENTERPRISE, len(oid) - 1):
            below[oid[:cut]][oid[cut]].add(oid[cut + 1 :])
    found: list[Oid] = []
    for node in sorted(below, key=len):
        inside = any(node[: len(entry)] == entry for entry in found)
        if not inside and node[-1] == 1 and set(below[node[:-1]]) <= {1} and _is_entry(below[node]):
            found.append(node)
    return found


def _is_entry(columns: Mapping[int, set[Oid]]) -> bool:
    """Whether most columns have the same rows, and those are no single objects."""
    rows = [frozenset(suffixes) for suffixes in columns.values()]
    most = max(rows, key=rows.count)
    return len(rows) >= FEWEST_COLUMNS and 2 * rows.count(most) > len(rows) and most != {(0,)}


def _text(oid: Oid) -> str:
    return ".".join(map(str, oid))


def draft(name: str, subject: Subject, found: Found) -> Iterator[str]:
    """The lines of a profile. What the device answers stands there as comments: uncomment what is worth watching, and fill in
    each TODO."""
    descr = subject.sys_descr[:LONGEST] or "a device without sysDescr"
    yield f"# A draft for: {descr}. Fill in each TODO from the maker's MIB file; delete what nobody needs."
    yield f"profile: {name}"
    yield "vendor: TODO"
    yield "category: TODO  # server network storage ups pdu ats cooling env dc-power meter bmc"
    yield "verified: none"
    yield from _match(subject)
    if subject.fits:
        fits = (f"{counted(count, 'reading')} of {fit}" for fit, count in subject.fits.items())
        yield f"# It answers {', '.join(fits)}:"
        yield f"extends: [{', '.join(subject.fits)}]"
    yield "# readings:  (take the # away with the first one below)" if subject.fits else "readings:"
    if not (found.tables or found.scalars):
        yield "  # It answers nothing of its maker's (below 1.3.6.1.4.1)."
    for table in found.tables:
        yield from _table(table)
    if found.scalars:
        yield "  # ---- single objects ----"
        for oid, value in found.scalars.items():
            yield from _reading(oid, (value,), "")


def counted(number: int, noun: str) -> str:
    """The number and its noun, as in `1 row` and `2 rows`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _match(subject: Subject) -> Iterator[str]:
    generic = subject.sys_object_id.startswith(("1.3.6.1.4.1.8072.3.2", "1.3.6.1.2.1")) or not subject.sys_object_id
    yield "match:"
    if not generic:
        yield f"  - sys_object_id: [{subject.sys_object_id}]"
    else:
        words = re.escape(subject.sys_descr[:LONGEST]).replace("\\ ", " ").replace("'", "''")
        yield f"  # its sysObjectID `{subject.sys_object_id}` says nothing; an object of the maker's that `answers` is better"
        yield f"  - sys_descr: '^{words}'"


def _table(table: Table) -> Iterator[str]:
    rows = ", ".join(table.indices[:SHOWN]) + (", ..." if len(table.indices) > SHOWN else "")
    yield f"  # ---- table {table.entry}, {counted(len(table.indices), 'row')}: {rows} ----"
    names = table.names
    label = f' each: {{label: "{{{names.oid}}}"}},' if names else " each: {},"
    for column in table.columns:
        if column.numeric:
            yield from _reading(column.oid, column.values, label)
        else:
            yield f"  # text {column.oid}: {_shown(column.values)}"


def _reading(oid: str, values: Sequence[Raw], each: str) -> Iterator[str]:
    if all(_NUMBER.fullmatch(raw_text(value)) for value in values):
        yield f"  # - {{quantity: TODO,{each} oid: {oid}, raw_unit: TODO, source: TODO}}  # {_shown(values)}"
    else:
        yield f"  # text {oid}: {_shown(values)}"


def _shown(values: Iterable[Raw]) -> str:
    texts = [raw_text(value)[:LONGEST] for value in values]
    return ", ".join(texts[:SHOWN]) + (", ..." if len(texts) > SHOWN else "")
