"""Walks of tables, alike for all engines: by GETBULK where that works, else by GETNEXT. An end that may be none is
believed only when GETNEXT says the same.

A device may answer anything, so a walk is bounded in rows and in time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence, Sized
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Generic, NamedTuple, Protocol, TypeVar

from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.snmp.dialect.habits import Dialect
from watchkeeper.agent.probes.snmp.engine import (
    MAX_ARCS,
    MAX_NULL_ANSWERS,
    MAX_TABLE_BYTES,
    MAX_TABLE_ROWS,
    WalkRows,
    is_malformed,
    short_oid,
)
from watchkeeper.model.reading import Missing, Reason

T = TypeVar("T")

WALK_TIMEOUTS = 10  # a walk may take ten times the timeout of one request
BULK_SIZES = (20, 4, 1)
"""Rows for each GETBULK. An answer that cannot be read may have been too large (gufo reads no datagram beyond 4,080
bytes): a table of long texts needs the smaller sizes."""


class Step(NamedTuple, Generic[T]):
    """One answer: its rows in order, those outside the table left out. `ended` says that the device itself showed the
    table's end: by a row outside, or by endOfMibView as the answer to GETNEXT. In one to GETBULK, endOfMibView may only
    mean that the answer is full."""

    rows: Sequence[tuple[str, T]]
    ended: bool


class TableCursor(Protocol[T]):
    """A place in a table; each request moves it to the last row of the answer. Each is one attempt, and raises
    NoAnswer."""

    async def bulk(self) -> Step[T]:
        """The next rows by GETBULK."""

    async def next(self) -> Step[T]:
        """The next row by GETNEXT."""


class TableBinding(NamedTuple, Generic[T]):
    """One object of an answer. `value` is None where the device has none; `end` is endOfMibView."""

    name: str
    value: T | None
    end: bool = False


Ask = Callable[[str, int], Awaitable[Sequence[TableBinding[T]]]]
"""Sends GETBULK for so many rows after an object; GETNEXT for 0. Nothing is returned if the device reports an error.
Raises NoAnswer."""


class BindingCursor(Generic[T]):
    """Implements TableCursor for an engine that returns an answer as it is."""

    def __init__(self, ask: Ask[T], base: str, size: int) -> None:
        self._ask, self._base, self._size = ask, base, size
        self._after = base
        self._outside = False

    async def bulk(self) -> Step[T]:
        """Implements `TableCursor.bulk`."""
        step = self._step(await self._ask(self._after, self._size))
        return step if self._outside else step._replace(ended=False)

    async def next(self) -> Step[T]:
        """Implements `TableCursor.next`."""
        return self._step(await self._ask(self._after, 0))

    def _step(self, bindings: Sequence[TableBinding[T]]) -> Step[T]:
        rows: list[tuple[str, T]] = []
        for one in bindings:
            if one.end or not one.name.startswith(self._base + "."):
                self._outside = not one.end
                return Step(rows, ended=one.end or one.name != self._base)
            self._after = one.name
            if one.value is not None:
                rows.append((one.name, one.value))
        return Step(rows, ended=False)


class _Taken(Enum):
    """What a walk has after an answer."""

    MORE = auto()  # there may be further rows
    NOTHING = auto()  # the answer has no row, and does not say why
    REPEATED = auto()  # a row came again
    DONE = auto()


@dataclass(slots=True)
class _Found(Generic[T]):
    """The rows of a walk so far, and its limits. `deadline` is on the event loop's clock."""

    most: int
    limit_s: float
    deadline: float
    rows: WalkRows[T] = field(default_factory=WalkRows)
    last: tuple[int, ...] = ()
    unsorted: bool = False
    names: set[str] = field(default_factory=set)
    size_bytes: int = 0

    def restart(self) -> None:
        """Forget the rows; the limits stay."""
        self.rows, self.last, self.unsorted, self.size_bytes = WalkRows(), (), False, 0
        self.names.clear()

    def take(self, step: Step[T], now: float) -> _Taken:  # noqa: PLR0911 -- one for each kind of answer
        """Add the rows of an answer."""
        for row in step.rows:
            arcs = tuple(map(int, row[0].split(".")))
            if len(arcs) > MAX_ARCS:
                return self.cut(Reason.MALFORMED, f"{short_oid(arcs)} is no object identifier")
            if arcs <= self.last or self.unsorted:
                self.names = self.names or {name for name, _ in self.rows}
                if row[0] in self.names:
                    return _Taken.REPEATED
                self.unsorted = True
                self.names.add(row[0])
            self.rows.append(row)
            self.last = arcs
            self.size_bytes += len(row[0]) + _size_bytes(row[1])
            if len(self.rows) >= self.most:
                if self.most >= MAX_TABLE_ROWS:
                    self.cut(Reason.MALFORMED, f"the table has more than {self.most} rows")
                return _Taken.DONE
            if self.size_bytes > MAX_TABLE_BYTES * max(1, self.most / MAX_TABLE_ROWS):
                return self.cut(Reason.MALFORMED, f"the table has more than {MAX_TABLE_BYTES // 1_000_000} MB")
            if now > self.deadline:
                return self.cut(Reason.MALFORMED, f"the table is not at its end after {self.limit_s:g} s")
        if step.ended:
            return _Taken.DONE
        return _Taken.MORE if step.rows else _Taken.NOTHING

    def cut(self, reason: Reason, detail: str) -> _Taken:
        """End the walk before its end is known."""
        self.rows.cut = Missing(reason, detail)
        return _Taken.DONE

    def cut_short(self, nothing: NoAnswer) -> _Taken:
        """End the walk because no answer comes any more. Raises the failure if there are no rows."""
        if not self.rows:
            raise nothing
        return self.cut(Reason.TIMEOUT, f"the device stops answering after {short_oid(self.last)}")


async def walk_rows(
    open_cursor: Callable[[int], TableCursor[T]], most: int, timeout_s: float, dialect: Dialect, *, has_bulk: bool
) -> WalkRows[T]:
    """Read a table, at most `most` rows, and note the device's habits. `open_cursor` opens it at its beginning, with
    GETBULK for so many rows. One row is read by GETNEXT; all are if SNMP's version has no GETBULK. Raises NoAnswer if the table gets no answer at all."""
    dialect.has_bulk = has_bulk
    limit_s = WALK_TIMEOUTS * timeout_s * max(1, most / MAX_TABLE_ROWS)
    found: _Found[T] = _Found(most, limit_s, _now() + limit_s)
    if most > 1 and has_bulk and dialect.habits.bulk:
        await _walk_by_bulk(open_cursor, found, dialect)
    elif await _go_on_by_next(open_cursor(1), found, 1 if has_bulk else MAX_NULL_ANSWERS) is _Taken.REPEATED:
        _note_repeating(found, dialect)
    if found.unsorted and not dialect.habits.unsorted:
        dialect.learn(unsorted=True)
    return found.rows


async def _walk_by_bulk(open_cursor: Callable[[int], TableCursor[T]], found: _Found[T], dialect: Dialect) -> None:
    """Walk by GETBULK. Wherever that ends without showing the table's end, GETNEXT is asked, and continues if there is
    more; then the device's GETBULK is not used again."""
    malformed = None
    for size in BULK_SIZES:
        cursor = open_cursor(size)
        found.restart()
        try:
            taken = await _go_on_by_bulk(cursor, found)
        except NoAnswer as nothing:
            if is_malformed(nothing):
                malformed = nothing
                continue
            if nothing.missing.reason is not Reason.TIMEOUT:
                raise
            await _go_on_by_next(cursor, found)
            if found.rows.cut is None:
                dialect.bulk_was_silent()
            return
        dialect.bulk_silences = 0
        if taken is not _Taken.DONE:
            await _confirm_end(open_cursor, cursor, found, dialect, taken)
        return
    found.restart()
    try:
        await _go_on_by_next(open_cursor(1), found)
    except NoAnswer:
        raise malformed from None  # type: ignore[misc]  # the loop has set it
    dialect.learn(bulk=False)


async def _confirm_end(
    open_cursor: Callable[[int], TableCursor[T]],
    cursor: TableCursor[T],
    found: _Found[T],
    dialect: Dialect,
    taken: _Taken,
) -> None:
    """GETBULK gave nothing more, or a row again: ask GETNEXT, which many devices do better."""
    before = len(found.rows)
    if taken is _Taken.REPEATED:
        if dialect.habits.repeats:
            _note_repeating(found, dialect)
            return
        cursor = open_cursor(1)
        found.restart()
    ended = await _go_on_by_next(cursor, found, first_nulls=1 if taken is _Taken.NOTHING else MAX_NULL_ANSWERS)
    if len(found.rows) > before:
        dialect.learn(bulk=False)
    if ended is _Taken.REPEATED:
        _note_repeating(found, dialect)


def _note_repeating(found: _Found[T], dialect: Dialect) -> None:
    found.cut(Reason.MALFORMED, f"the table goes backwards after {short_oid(found.last)}")
    dialect.learn(repeats=True)


async def _go_on_by_bulk(cursor: TableCursor[T], found: _Found[T]) -> _Taken:
    taken = _Taken.MORE
    while taken is _Taken.MORE:
        taken = found.take(await cursor.bulk(), _now())
    return taken


async def _go_on_by_next(cursor: TableCursor[T], found: _Found[T], first_nulls: int = MAX_NULL_ANSWERS) -> _Taken:
    """Walk on by GETNEXT. A datagram that is lost between others is asked for once more. Cells without a value are
    passed over, MAX_NULL_ANSWERS at most; before the first row, `first_nulls`."""
    nulls, again, most_nulls = 0, False, first_nulls
    while nulls < most_nulls:
        try:
            step = await cursor.next()
        except NoAnswer as nothing:
            if nothing.missing.reason is not Reason.TIMEOUT:
                raise
            if not again:
                return found.cut_short(nothing)
            again = False
            continue
        again = True
        taken = found.take(step, _now())
        if taken is _Taken.NOTHING:
            nulls += 1
        else:
            nulls, most_nulls = 0, MAX_NULL_ANSWERS
        if taken in (_Taken.DONE, _Taken.REPEATED):
            return taken
    return _Taken.DONE


def _size_bytes(value: object) -> int:
    """The length of a string; 0 for a number."""
    return len(value) if isinstance(value, Sized) else 0


def _now() -> float:
    return asyncio.get_running_loop().time()
