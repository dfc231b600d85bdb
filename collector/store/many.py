"""A statement for many rows, for the hot path: compiled once, because SQLAlchemy's own way with many rows takes longer over
a row than SQLite does; and with many rows in one call, because SQLite's driver lets other threads run during each."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

_ROWS = 100
"""In one call; times eight columns it stays below the 999 parameters every SQLite takes (sqlite.org/limits.html)."""


class BulkInsert:
    """An insert of rows that all have these columns."""

    def __init__(self, statement: sa.Insert, columns: Iterable[str], dialect: sa.Dialect) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(columns))
        self._text = self._texts = compiled.string
        self._order: Callable[[Mapping[str, Any]], tuple[Any, ...]] | None = None
        if compiled.positiontup:  # SQLite's way; PostgreSQL has names, and a pipeline of its own
            self._order = itemgetter(*compiled.positiontup)
            values = f"({', '.join('?' * len(compiled.positiontup))})"
            self._texts = compiled.string.replace(values, ", ".join([values] * _ROWS), 1)

    def run(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert them, in their order."""
        if self._order is None:
            connection.exec_driver_sql(self._text, [dict(row) for row in rows])
            return
        ordered = [self._order(row) for row in rows]
        whole = len(ordered) - len(ordered) % _ROWS
        for start in range(0, whole, _ROWS):
            connection.exec_driver_sql(self._texts, tuple(chain.from_iterable(ordered[start : start + _ROWS])))
        if whole < len(ordered):
            connection.exec_driver_sql(self._text, ordered[whole:])
