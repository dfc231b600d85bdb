"""Inserts many rows fast, for the hot path. The statement is compiled once, because SQLAlchemy's own handling of many
rows takes longer for each row than SQLite itself. On SQLite one call inserts many rows, because its driver releases the
GIL in every call."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

_ROWS_PER_CALL = 100
"""With eight columns this is below 999 parameters, which every SQLite accepts (sqlite.org/limits.html)."""


class BulkInsert:
    """A compiled insert of rows that all have the same columns."""

    def __init__(self, statement: sa.Insert, columns: Iterable[str], dialect: sa.Dialect) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(columns))
        self._text = self._texts = compiled.string
        self._order: Callable[[Mapping[str, Any]], tuple[Any, ...]] | None = None
        if compiled.positiontup:  # SQLite; psycopg has named parameters and sends many rows in its own pipeline
            self._order = itemgetter(*compiled.positiontup)
            values = f"({', '.join('?' * len(compiled.positiontup))})"
            self._texts = compiled.string.replace(values, ", ".join([values] * _ROWS_PER_CALL), 1)

    def run(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert the rows in their order."""
        if self._order is None:
            connection.exec_driver_sql(self._text, [dict(row) for row in rows])
            return
        ordered = [self._order(row) for row in rows]
        whole = len(ordered) - len(ordered) % _ROWS_PER_CALL
        for start in range(0, whole, _ROWS_PER_CALL):
            connection.exec_driver_sql(self._texts, tuple(chain.from_iterable(ordered[start : start + _ROWS_PER_CALL])))
        if whole < len(ordered):
            connection.exec_driver_sql(self._text, ordered[whole:])
