"""A copy of the whole store in one file, taken while the collector runs; and the way back.

The file is a ZIP with `store.json` (what it is) and one JSON-lines member a table, the same for both databases, so that
a backup of SQLite restores into PostgreSQL and the other way round.
"""

import base64
import contextlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy as sa

from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.migrate import migrate, version
from watchkeeper.collector.store.schema import metadata
from watchkeeper.model.errors import Conflict, StoreRefused, WatchkeeperError

_HEAD = "store.json"
_CHUNK = 1_000


class BadBackup(WatchkeeperError):
    """The file is no backup of ours, or of another version."""


def backup(store: Store, file: Path, now: float) -> dict[str, int]:
    """Write every table as of one moment; returns the rows of each. The file appears whole, mode 0600, or not at all."""
    part = file.with_name(file.name + ".part")
    try:
        part.unlink(missing_ok=True)
        handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as out:
            counts = _write(store, out, now)
            out.flush()
            os.fsync(handle)
        part.replace(file)
    except OSError as error:
        raise WatchkeeperError(f"{error.filename or file}: {error.strerror}; no backup was made") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return counts


def _write(store: Store, out: BinaryIO, now: float) -> dict[str, int]:
    counts: dict[str, int] = {}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, store.read(steady=True) as connection:
        for table in metadata.sorted_tables:
            counts[table.name] = 0
            with archive.open(f"{table.name}.jsonl", "w", force_zip64=True) as member:
                for row in connection.execution_options(yield_per=_CHUNK).execute(sa.select(table)).mappings():
                    member.write(json.dumps(_out(dict(row)), ensure_ascii=False).encode() + b"\n")
                    counts[table.name] += 1
        head = {"watchkeeper": "backup", "schema": version(connection), "taken_at": now, "rows": counts}
        archive.writestr(_HEAD, json.dumps(head))
    return counts


def restore(store: Store, file: Path) -> dict[str, int]:
    """Fill an empty store. Raises BadBackup, or Conflict where the store already holds something; nothing is half done."""
    migrate(store)
    try:
        with zipfile.ZipFile(file) as archive:
            head = json.loads(archive.read(_HEAD))
            with store.write() as connection:
                _must_fit(connection, head)
                counts = {table.name: _fill(connection, table, archive) for table in metadata.sorted_tables}
                if counts != head["rows"]:
                    raise BadBackup(f"{file}: rows are missing: {counts} instead of {head['rows']}")
                store.renumber(connection)
    except (zipfile.BadZipFile, zlib.error, EOFError, LookupError, TypeError, ValueError, StoreRefused) as error:
        raise BadBackup(f"{file}: not a backup of Watchkeeper, or a damaged one: {error}") from error
    except OSError as error:
        raise BadBackup(f"{file}: {error.strerror}") from error
    return counts


def _must_fit(connection: sa.Connection, head: dict[str, Any]) -> None:
    if head["schema"] != version(connection):
        raise BadBackup(
            f"the backup has schema {head['schema']}, this version {version(connection)}; use the same version"
        )
    for table in metadata.sorted_tables:
        if connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first():
            raise Conflict(f"the store holds rows in `{table.name}` already; restore into an empty store")


def _fill(connection: sa.Connection, table: sa.Table, archive: zipfile.ZipFile) -> int:
    count = 0
    with archive.open(f"{table.name}.jsonl") as member:
        for rows in _chunks(table, member):
            connection.execute(sa.insert(table), rows)
            count += len(rows)
    return count


def _chunks(table: sa.Table, lines: Any) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    for line in lines:
        rows.append(_in(table, json.loads(line)))
        if len(rows) == _CHUNK:
            yield rows
            rows = []
    if rows:
        yield rows


def _out(row: dict[str, Any]) -> dict[str, Any]:
    return {key: base64.b64encode(value).decode() if isinstance(value, bytes) else value for key, value in row.items()}


def _in(table: sa.Table, row: dict[str, Any]) -> dict[str, Any]:
    return {
        key: base64.b64decode(value) if isinstance(table.c[key].type, sa.LargeBinary) else value
        for key, value in row.items()
    }
