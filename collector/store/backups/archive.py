"""The form of a backup: a ZIP with one JSON-lines member for each table and, last, `store.json` (the manifest).

Both databases use the same form, so a backup of SQLite can be restored into PostgreSQL, and the reverse. The manifest has the number of
rows and the SHA-256 of each member. The archive's comment is the seal: the SHA-256 of every byte before it. A backup is made
and read as a stream of bytes, so that it can be encrypted on its way and never lies on the disk in the clear.
"""

import base64
import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import sqlalchemy as sa

from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.migrate import version
from watchkeeper.collector.store.schema import metadata
from watchkeeper.model.errors import WatchkeeperError
from watchkeeper.model.failpoint import failpoint

MANIFEST = "store.json"
_KIND = "backup"
_CHUNK_ROWS = 1_000
_SEAL = b"sha256 "
_SEAL_BYTES = len(_SEAL) + 64 + 1
_READ_BYTES = 1 << 20

NOT_KEPT = frozenset({"collector"})
"""Tables that are about the processes that run now: a restored store has none of them."""


class BadBackup(WatchkeeperError):
    """The file is not a backup of Watchkeeper, is damaged, or was made by another version."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself. `schema` is the version of the schema, `taken_at` the moment of its data. `sha256` is of
    each member; backups of version 0.1 have none, and no seal."""

    schema: str
    taken_at: float
    rows: Mapping[str, int]
    sha256: Mapping[str, str]
    release: str = ""

    @property
    def sealed(self) -> bool:
        """Whether the backup must have a seal."""
        return bool(self.sha256)


def kept_tables(every: sa.MetaData = metadata) -> list[sa.Table]:
    """The tables that a backup has, in the order in which they are filled."""
    return [table for table in every.sorted_tables if table.name not in NOT_KEPT and table.name != "alembic_version"]


# ---- writing ----


class _Buffer:
    """What ZipFile writes to, until somebody takes it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits elsewhere."""

    def close(self) -> None:
        """Nothing is open."""

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken


class Export:
    """A store as the bytes of a backup, all of one moment. `rows` fills up while `chunks` is read."""

    def __init__(self, store: Store, now: float, release: str) -> None:
        self._store, self._now, self._release = store, now, release
        self.rows: dict[str, int] = {}
        self._sha256: dict[str, str] = {}

    def chunks(self) -> Iterator[bytes]:
        """The bytes of the backup, with the seal at the end. Raises StoreError."""
        digest, held = hashlib.sha256(), b""
        for chunk in self._zipped():
            held += chunk
            whole, held = held[:-_SEAL_BYTES], held[-_SEAL_BYTES:]
            digest.update(whole)
            yield whole
        yield _SEAL + digest.hexdigest().encode() + b"\n"  # in place of the empty comment

    def _zipped(self) -> Iterator[bytes]:
        buffer = _Buffer()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.comment = bytes(_SEAL_BYTES)
            with self._store.read(steady=True, long=True) as connection:
                for table in kept_tables():
                    yield from self._member(connection, table, archive, buffer)
                manifest = Manifest(version(connection), self._now, self.rows, self._sha256, self._release)
            archive.writestr(MANIFEST, json.dumps({"watchkeeper": _KIND, **asdict(manifest)}))
        yield buffer.take()

    def _member(
        self, connection: sa.Connection, table: sa.Table, archive: zipfile.ZipFile, buffer: _Buffer
    ) -> Iterator[bytes]:
        digest, count = hashlib.sha256(), 0
        found = connection.execution_options(yield_per=_CHUNK_ROWS).execute(sa.select(table)).mappings()
        with archive.open(_member_name(table), "w", force_zip64=True) as member:
            for rows in found.partitions():
                lines = b"".join(
                    json.dumps(_to_json_row(dict(row)), ensure_ascii=False).encode() + b"\n" for row in rows
                )
                member.write(lines)
                digest.update(lines)
                count += len(rows)
                yield buffer.take()
                failpoint("collector.backup.rows")
        self.rows[table.name], self._sha256[table.name] = count, digest.hexdigest()


def _member_name(table: sa.Table) -> str:
    return f"{table.name}.jsonl"


# ---- reading ----


def check_seal(file: BinaryIO) -> bool:
    """Read a whole file. Returns whether it ends with a seal. Raises BadBackup if the seal is not that of the file."""
    digest, held = hashlib.sha256(), b""
    while chunk := file.read(_READ_BYTES):
        held += chunk
        digest.update(held[:-_SEAL_BYTES])
        held = held[-_SEAL_BYTES:]
    if not held.startswith(_SEAL):
        return False
    if held != _SEAL + digest.hexdigest().encode() + b"\n":
        raise BadBackup("the file is damaged: its SHA-256 is not the one at its end")
    return True


def read_manifest(archive: zipfile.ZipFile, *, sealed: bool) -> Manifest:
    """The manifest of a backup. Raises BadBackup; LookupError, TypeError and ValueError for what is no manifest."""
    read = json.loads(archive.read(MANIFEST))
    if read["watchkeeper"] != _KIND:
        raise BadBackup("the manifest is not that of a backup")
    rows = {str(name): int(count) for name, count in read["rows"].items()}
    sha256 = {str(name): str(digest) for name, digest in read.get("sha256", {}).items()}
    manifest = Manifest(str(read["schema"]), float(read["taken_at"]), rows, sha256, str(read.get("release", "")))
    if manifest.sealed and not sealed:
        raise BadBackup("the file is damaged: its seal is missing")
    if manifest.sealed and rows.keys() != sha256.keys():
        raise BadBackup("the manifest is damaged: not every table has its SHA-256")
    return manifest


def read_rows(archive: zipfile.ZipFile, table: sa.Table, manifest: Manifest) -> Iterator[list[dict[str, Any]]]:
    """The rows of a table, many at a time. After the last of them raises BadBackup if they are not those that were written."""
    digest, count = hashlib.sha256(), 0
    with archive.open(_member_name(table)) as member:
        rows: list[dict[str, Any]] = []
        for line in member:
            digest.update(line)
            rows.append(_from_json_row(table, json.loads(line)))
            if len(rows) == _CHUNK_ROWS:
                count += len(rows)
                yield rows
                rows = []
        if rows:
            count += len(rows)
            yield rows
    if count != manifest.rows[table.name]:
        raise BadBackup(f"`{table.name}` has {count} rows instead of {manifest.rows[table.name]}")
    if manifest.sealed and digest.hexdigest() != manifest.sha256[table.name]:
        raise BadBackup(f"the rows of `{table.name}` are not those that were written")


def size_of_rows(archive: zipfile.ZipFile) -> int:
    """The size of all members, unpacked, in bytes."""
    return sum(member.file_size for member in archive.infolist())


def _to_json_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: base64.b64encode(value).decode() if isinstance(value, bytes) else value for key, value in row.items()}


def _from_json_row(table: sa.Table, row: dict[str, Any]) -> dict[str, Any]:
    return {
        key: base64.b64decode(value) if isinstance(table.c[key].type, sa.LargeBinary) else value
        for key, value in row.items()
    }
