"""Opens the store and runs transactions on it. Differences between SQLite and PostgreSQL are handled here and in
`many`."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from watchkeeper.collector.store.connections.errors import translated
from watchkeeper.collector.store.connections.limits import StoreLimits
from watchkeeper.collector.store.life.place import StoreFile
from watchkeeper.collector.store.many import BulkInsert
from watchkeeper.collector.store.schema import metadata, tally
from watchkeeper.model.clock import Clock, SystemClock
from watchkeeper.model.errors import StoreError

LIMITS, CLOCK = StoreLimits(), SystemClock()
SKIPPED_NUMBERS = 10_000
"""More than a store gives out between a backup and its restore."""


class Store:
    """A database and its transactions. In one process, `write` transactions on SQLite wait for each other. Every wait has an end
    (`StoreLimits`). A transaction in the thread of an event loop raises RuntimeError: it could stop every request."""

    def __init__(self, url: str, limits: StoreLimits = LIMITS, clock: Clock = CLOCK) -> None:
        """Raises StoreError if the URL is not valid. The error never quotes the URL, which may contain a password. Idle
        connections are checked by the boot `clock`."""
        self.url = _url(url)
        self.embedded = self.url.get_backend_name() == "sqlite"
        self._limits = limits
        self.file = StoreFile(Path(self.url.database) if self.embedded and self.url.database else None)
        if self.embedded:
            # Each thread keeps its own connection. Readers never wait for the writer (WAL).
            self.engine = sa.create_engine(self.url, connect_args={"timeout": limits.lock_s}, hide_parameters=True)
            sa.event.listen(self.engine, "connect", _prepare_sqlite)
            sa.event.listen(self.engine, "connect", lambda *_: self.file.opened())
            sa.event.listen(self.engine, "begin", _begin_sqlite)
            self._lengthen: Callable[[sa.Connection], None] = lambda _: None  # SQLite has no limit for a statement
        else:
            from watchkeeper.collector.store.connections import postgres  # noqa: PLC0415 -- psycopg is an extra

            self.engine = sa.create_engine(
                self.url, connect_args=postgres.connect_args(self.url, limits), pool_size=8, max_overflow=8,
                pool_timeout=limits.pool_s, hide_parameters=True, use_native_hstore=False,
            )  # fmt: skip
            postgres.limit(self.engine, limits, clock)
            self._lengthen = partial(postgres.lengthen, limits=limits)
        self._writer = threading.RLock()
        self._inserts: dict[tuple[Any, ...], BulkInsert] = {}

    @property
    def folder(self) -> Path | None:
        """The folder of an embedded store, to check its disk; None for PostgreSQL."""
        return Path(self.url.database).parent if self.embedded and self.url.database else None

    @contextlib.contextmanager
    def write(self, *, long: bool = False) -> Iterator[sa.Connection]:
        """One transaction that may write. Raises StoreFull if the disk is full, StoreRefused if the database will never
        accept the data, StoreError if a retry may help. With `long` a statement may take an hour."""
        self.file.require()
        with self._writing(), translated(), self._connect(writes=True) as connection, connection.begin():
            if long:
                self._lengthen(connection)
            yield connection
        self.file.require()  # it may have been removed meanwhile: then nothing was kept

    @contextlib.contextmanager
    def read(self, *, steady: bool = False, long: bool = False) -> Iterator[sa.Connection]:
        """One transaction that only reads. With `steady`, all its statements see the data of one moment (on SQLite they
        always do). With `long` a statement may take an hour."""
        self.file.require()
        level = {"isolation_level": "REPEATABLE READ"} if steady and not self.embedded else {}
        with translated(), self._connect(**level) as connection, connection.begin():
            if long:
                self._lengthen(connection)
            yield connection

    def _connect(self, **options: Any) -> sa.Connection:
        _refuse_event_loop()
        return self.engine.connect().execution_options(**options)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """On SQLite one thread writes at a time."""
        if not self.embedded:
            yield
            return
        if not self._writer.acquire(timeout=self._limits.answer_s):
            raise StoreError(
                f"another transaction has not ended for {self._limits.answer_s:g} s; is the disk of the store stalled?"
            )
        try:
            yield
        finally:
            self._writer.release()

    def lock_names(self, connection: sa.Connection, names: Iterable[str]) -> None:
        """Lock these names until the transaction ends, and wait while another transaction has one of them. This
        protects rows that do not exist yet. SQLite needs no such lock: it allows one writing transaction at a time."""
        for name in () if self.embedded else sorted(names):
            key = sa.func.hashtextextended(name, 0)
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))

    def free_locks(self) -> int:
        """End the sessions of collectors that are gone in the middle of a transaction, and have locks that others wait for.
        Returns how many. On SQLite the system does this. Raises StoreError."""
        if self.embedded:
            return 0
        from watchkeeper.collector.store.connections import postgres  # noqa: PLC0415 -- psycopg is an extra

        with self.read() as connection:
            return postgres.end_silent(connection, self._limits)

    def renumber(self, connection: sa.Connection) -> None:
        """Set the sequences behind the highest existing number, after rows were inserted with their own numbers."""
        if self.embedded:
            return  # SQLite takes the next number from the rows
        for table in metadata.sorted_tables:
            for column in table.primary_key.columns:
                if column.autoincrement is True:
                    highest = sa.select(sa.func.coalesce(sa.func.max(column), 0) + 1).scalar_subquery()
                    sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
                    connection.execute(sa.select(sa.func.setval(sequence, highest, sa.false())))

    def skip_numbers(self, connection: sa.Connection) -> None:
        """Give troubles and incidents numbers far behind the highest existing one: keys and links of messages that this store
        has forgotten name the next ones."""
        for table in (metadata.tables[name] for name in ("incident", "trouble", "sign_in")):
            (column,) = table.primary_key.columns
            highest = (
                connection.execute(sa.select(sa.func.coalesce(sa.func.max(column), 0))).scalar_one() + SKIPPED_NUMBERS
            )
            if self.embedded:
                connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": table.name})
                insert = sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :seq)")
                connection.execute(insert, {"name": table.name, "seq": highest})
            else:
                sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
                connection.execute(sa.select(sa.func.setval(sequence, highest)))

    def upsert(self, table: sa.Table, *, keep: Container[str] = ()) -> sa.Insert:
        """An insert that overwrites the row with the same primary key, except for the columns in `keep`."""
        statement = self._insert(table)
        keys = [column.name for column in table.primary_key.columns]
        names = [column.name for column in table.columns if column.name not in keys and column.name not in keep]
        new = {name: statement.excluded[name] for name in names}
        return statement.on_conflict_do_update(index_elements=keys, set_=new)

    def write_many(
        self,
        connection: sa.Connection,
        table: sa.Table,
        rows: Sequence[Mapping[str, Any]],
        keep: tuple[str, ...] | None = None,
    ) -> None:
        """Insert rows that all have the same columns. With `keep`, existing rows are overwritten as in `upsert`."""
        if not rows:
            return
        key = (table.name, keep, *rows[0])
        if key not in self._inserts:
            statement = sa.insert(table) if keep is None else self.upsert(table, keep=keep)
            self._inserts[key] = BulkInsert(statement, rows[0], self.engine.dialect)
        self._inserts[key].run(connection, rows)

    def insert_new(self, table: sa.Table) -> sa.Insert:
        """An insert that does not change an existing row."""
        return self._insert(table).on_conflict_do_nothing()

    def _insert(self, table: sa.Table) -> "sqlite.Insert | postgresql.Insert":
        return sqlite.insert(table) if self.embedded else postgresql.insert(table)

    def add_to_counters(self, connection: sa.Connection, counts: Mapping[str, int]) -> None:
        """Add to the counters that survive restarts."""
        rows = [{"name": name, "count": count} for name, count in counts.items() if count]
        if rows:
            statement = self._insert(tally)
            total = {"count": tally.c.count + statement.excluded.count}
            connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=total), rows)

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()


class JoinedStore(Store):
    """A store inside a transaction that is under way on `connection`: each `write` is a part of it, and ends with it."""

    def __init__(self, store: Store, connection: sa.Connection) -> None:
        vars(self).update(vars(store))
        self._joined = connection

    @contextlib.contextmanager
    def write(self, *, long: bool = False) -> Iterator[sa.Connection]:  # noqa: ARG002 -- it is as long as the transaction
        """A part of the transaction; if it raises, only this part is undone."""
        with self._joined.begin_nested():
            yield self._joined


def _url(written: str) -> sa.URL:
    try:
        url = sa.make_url(written)
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        url.get_dialect()
        if "@" in (url.host or ""):  # the end of a password, which an error about the host would show
            raise ValueError  # noqa: TRY301 -- handled below, with the other errors
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise StoreError(
            "the store's URL is not valid; write it like postgresql+psycopg://USER:PASSWORD@HOST/DATABASE, "
            "with `%40` for an `@` in the password and `%2F` for a `/`"
        ) from None
    return url


def _refuse_event_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        "the store was used in the thread of an event loop; a slow database would stop every request: use a thread"
    )


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # `_begin_sqlite` begins transactions, so that a writer locks at once
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "temp_store=MEMORY", "wal_autocheckpoint=4000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
