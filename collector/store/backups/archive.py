"""Backup of the whole store into one file while the collector runs, and restore.

The file is a ZIP with `store.json` (the manifest) and one JSON-lines member for each table. Both databases use the same
format, so a backup of SQLite can be restored into PostgreSQL, and the reverse.
"""

import base64
import contextlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy as sa

from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.migrate import migrate, version
from watchkeeper.collector.store.schema import metadata
from watchkeeper.model.errors import Conflict, StoreRefused, WatchkeeperError

_MANIFEST = "store.json"
_CHUNK_ROWS = 1_000


class BadBackup(WatchkeeperError):
    """The file is not a backup of Watchkeeper, is damaged, or was made by another version."""


def backup(store: Store, file: Path, now: float) -> dict[str, int]:
    """Write all tables as they are at one moment. Returns the number of rows of each table. The file (mode 0600)
    appears complete or not at all. Raises WatchkeeperError if it cannot be written."""
    part = file.with_name(file.name + ".part")
    try:
        part.unlink(missing_ok=True)
        handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as out:
            counts = _write_archive(store, out, now)
            out.flush()
            os.fsync(handle)
        part.replace(file)
    except OSError as error:
        raise WatchkeeperError(f"{error.filename or file}: {error.strerror}; no backup was made") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return counts


def _write_archive(store: Store, out: BinaryIO, now: float) -> dict[str, int]:
    counts: dict[str, int] = {}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, store.read(steady=True) as connection:
        for table in metadata.sorted_tables:
            counts[table.name] = 0
            with archive.open(f"{table.name}.jsonl", "w", force_zip64=True) as member:
                for row in connection.execution_options(yield_per=_CHUNK_ROWS).execute(sa.select(table)).mappings():
                    member.write(json.dumps(_to_json_row(dict(row)), ensure_ascii=False).encode() + b"\n")
                    counts[table.name] += 1
        manifest = {"watchkeeper": "backup", "schema": version(connection), "taken_at": now, "rows": counts}
        archive.writestr(_MANIFEST, json.dumps(manifest))
    return counts


def restore(store: Store, file: Path, then: Callable[[sa.Connection], None] = lambda _: None) -> dict[str, int]:
    """Fill an empty store from a backup, completely or not at all. `then` is called in the same transaction. Returns the
    number of rows of each table. Raises BadBackup, or Conflict if the store is not empty."""
    migrate(store)
    try:
        with zipfile.ZipFile(file) as archive:
            manifest = json.loads(archive.read(_MANIFEST))
            with store.write() as connection:
                _check_restorable(connection, manifest)
                counts = {table.name: _fill_table(connection, table, archive) for table in metadata.sorted_tables}
                if counts != manifest["rows"]:
                    raise BadBackup(f"{file}: rows are missing: {counts} instead of {manifest['rows']}")
                store.renumber(connection)
                then(connection)
    except (zipfile.BadZipFile, zlib.error, EOFError, LookupError, TypeError, ValueError, StoreRefused) as error:
        raise BadBackup(f"{file}: not a backup of Watchkeeper, or a damaged one: {error}") from error
    except OSError as error:
        raise BadBackup(f"{file}: {error.strerror}") from error
    return counts


def _check_restorable(connection: sa.Connection, manifest: dict[str, Any]) -> None:
    if manifest["schema"] != version(connection):
        raise BadBackup(
            f"the backup has schema {manifest['schema']}, this version of Watchkeeper has {version(connection)}; "
            "restore with the version that made the backup"
        )
    for table in metadata.sorted_tables:
        if connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first():
            raise Conflict(f"the store already has rows in `{table.name}`; restore into an empty store")


def _fill_table(connection: sa.Connection, table: sa.Table, archive: zipfile.ZipFile) -> int:
    count = 0
    with archive.open(f"{table.name}.jsonl") as member:
        for rows in _row_chunks(table, member):
            connection.execute(sa.insert(table), rows)
            count += len(rows)
    return count


def _row_chunks(table: sa.Table, lines: Iterable[bytes]) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    for line in lines:
        rows.append(_from_json_row(table, json.loads(line)))
        if len(rows) == _CHUNK_ROWS:
            yield rows
            rows = []
    if rows:
        yield rows


def _to_json_row(row: dict[str, Any]) -> dict[str, Any]:
    return {key: base64.b64encode(value).decode() if isinstance(value, bytes) else value for key, value in row.items()}


def _from_json_row(table: sa.Table, row: dict[str, Any]) -> dict[str, Any]:
    return {
        key: base64.b64decode(value) if isinstance(table.c[key].type, sa.LargeBinary) else value
        for key, value in row.items()
    }
