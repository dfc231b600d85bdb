"""A copy of the whole store in one file, taken while the collector runs; and the way back.

The file is a ZIP with `store.json` (what it is) and one JSON-lines member a table, the same for both databases, so that
a backup of SQLite restores into PostgreSQL and the other way round.
"""

import base64
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from collector.store.engine import Store
from collector.store.migrate import migrate, version
from collector.store.schema import metadata
from model.errors import Conflict, WatchkeeperError

_HEAD = "store.json"
_CHUNK = 1_000


class BadBackup(WatchkeeperError):
    """The file is no backup of ours, or of another version."""


def backup(store: Store, file: Path, now: float) -> dict[str, int]:
    """Write every table as of one moment; returns the rows of each. The file appears whole, mode 0600, or not at all."""
    part = file.with_name(file.name + ".part")
    counts: dict[str, int] = {}
    part.touch(mode=0o600)
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive, store.read(steady=True) as connection:
            for table in metadata.sorted_tables:
                with archive.open(f"{table.name}.jsonl", "w") as member:
                    counts[table.name] = 0
                    for row in connection.execute(sa.select(table)).mappings():
                        member.write(json.dumps(_out(dict(row)), ensure_ascii=False).encode() + b"\n")
                        counts[table.name] += 1
            head = {"watchkeeper": "backup", "schema": version(connection), "taken_at": now, "rows": counts}
            archive.writestr(_HEAD, json.dumps(head))
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return counts


def restore(store: Store, file: Path) -> dict[str, int]:
    """Fill an empty store. Raises BadBackup, or Conflict where the store already holds something; nothing is half done."""
    migrate(store)
    try:
        with zipfile.ZipFile(file) as archive:
            head = json.loads(archive.read(_HEAD))
            with store.write() as connection:
                _must_fit(connection, store, head)
                counts = {table.name: _fill(connection, table, archive) for table in metadata.sorted_tables}
                store.renumber(connection)
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise BadBackup(f"{file}: not a backup of Watchkeeper: {error}") from error
    if counts != head["rows"]:
        raise BadBackup(f"{file}: rows are missing: {counts} instead of {head['rows']}")
    return counts


def _must_fit(connection: sa.Connection, store: Store, head: dict[str, Any]) -> None:
    if head["schema"] != version(connection):
        raise BadBackup(
            f"the backup has schema {head['schema']}, this version {version(connection)}; use the same version"
        )
    for table in metadata.sorted_tables:
        if connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first():
            raise Conflict(f"{store.url.render_as_string()} holds rows in `{table.name}`; restore into an empty store")


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
