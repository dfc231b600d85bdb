"""Opens a backup, encrypted or not, and fills an empty store from it, completely or not at all."""

import contextlib
import os
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyrage
import sqlalchemy as sa

from watchkeeper.collector.store.backups.archive import (
    NOT_KEPT,
    BadBackup,
    Export,
    Manifest,
    check_seal,
    kept_tables,
    read_manifest,
    read_rows,
    size_of_rows,
)
from watchkeeper.collector.store.backups.encryption import decrypt, is_encrypted
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.migrate import head, is_known, migrate
from watchkeeper.model.errors import Conflict, StoreRefused, WatchkeeperError

_DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, LookupError, TypeError, ValueError, ArithmeticError,
    NotImplementedError, RuntimeError, StoreRefused,
)  # fmt: skip
"""What reading a file that is no backup, or a damaged one without a seal, may raise."""

_SPARE_BYTES = 64_000_000
_INDEXED = 2.0
"""A store of SQLite with its indexes is at most about this many times as large as its rows in a backup."""

Identities = Sequence[pyrage.x25519.Identity]
Then = Callable[[sa.Connection], None]


@dataclass(frozen=True, slots=True)
class Opened:
    """A backup that is open for reading, and in the clear."""

    archive: zipfile.ZipFile
    manifest: Manifest
    encrypted: bool


@contextlib.contextmanager
def scratch_folder(parent: Path | None) -> Iterator[Path]:
    """A new folder (mode 0700) that is deleted afterwards, in `parent` or where the system has its temporary files."""
    try:
        folder = tempfile.mkdtemp(prefix="watchkeeper-", dir=parent)
    except OSError as error:
        raise WatchkeeperError(f"{parent or tempfile.gettempdir()}: {error.strerror}; name another folder") from error
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def require_space(folder: Path, size_bytes: float) -> None:
    """Raise WatchkeeperError if the disk of this folder has not so many bytes left, and some to spare."""
    free = shutil.disk_usage(folder).free
    if free < size_bytes + _SPARE_BYTES:
        raise WatchkeeperError(
            f"{folder.parent}: the disk has {free / 1e6:.0f} MB left, and {(size_bytes + _SPARE_BYTES) / 1e6:.0f} MB are "
            "needed; name another folder"
        )


def require_space_for_rows(folder: Path, opened: Opened) -> None:
    """Raise WatchkeeperError if an SQLite store of this backup has no space in the folder."""
    require_space(folder, size_of_rows(opened.archive) * _INDEXED)


@contextlib.contextmanager
def opened(file: Path, identities: Identities, scratch: Path) -> Iterator[Opened]:
    """Open a backup, and check its seal. An encrypted one lies in the clear in `scratch` meanwhile. Raises BadBackup for what is
    damaged, also while it is read; WatchkeeperError."""
    with _named(file), contextlib.ExitStack() as cleanup:
        source: BinaryIO = cleanup.enter_context(file.open("rb"))
        encrypted = is_encrypted(source)
        if encrypted:
            if not identities:
                raise WatchkeeperError(
                    f"{file}: the backup is encrypted; name the file with the private key: --identity KEYFILE"
                )
            require_space(scratch, file.stat().st_size)
            clear = scratch / "clear.zip"
            handle = os.open(clear, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
            out = cleanup.enter_context(os.fdopen(handle, "w+b"))
            cleanup.callback(clear.unlink, missing_ok=True)
            decrypt(source, out, identities)
            source = out
            source.seek(0)
        sealed = check_seal(source)
        archive = cleanup.enter_context(zipfile.ZipFile(source))
        yield Opened(archive, read_manifest(archive, sealed=sealed), encrypted)


@contextlib.contextmanager
def _named(file: Path) -> Iterator[None]:
    """Name the file in what is wrong with it."""
    try:
        yield
    except BadBackup as error:
        raise BadBackup(f"{file}: {error}") from error
    except _DAMAGE as error:
        raise BadBackup(f"{file}: not a backup of Watchkeeper, or a damaged one: {error}") from error
    except OSError as error:
        raise BadBackup(f"{file}: {error.strerror}") from error


def restore(
    store: Store, file: Path, identities: Identities = (), scratch: Path | None = None, then: Then = lambda _: None
) -> dict[str, int]:
    """Fill an empty store from a backup. `then` is called in the same transaction. Returns the number of rows of each table. What
    must lie on the disk meanwhile does so in a new folder in `scratch`. Raises BadBackup, Conflict if the store is not empty, WatchkeeperError."""
    with scratch_folder(scratch) as folder, opened(file, identities, folder) as backup:
        return fill(store, backup, folder, then)


def fill(store: Store, backup: Opened, scratch: Path, then: Then = lambda _: None) -> dict[str, int]:
    """As `restore`, from a backup that is open. One of an earlier version is first brought to the present schema, in `scratch`."""
    migrate(store)
    schema = backup.manifest.schema
    if not is_known(schema):
        raise BadBackup(
            f"the backup has schema {schema}, which this version of Watchkeeper does not know; restore with a newer one"
        )
    with contextlib.ExitStack() as cleanup:
        if schema != head():
            backup = cleanup.enter_context(_brought_up(backup, scratch))
        with store.write(long=True) as connection:
            _require_empty(connection)
            counts = _insert(connection, backup, kept_tables())
            store.renumber(connection)
            then(connection)
    return counts


def _require_empty(connection: sa.Connection) -> None:
    for table in kept_tables():
        if connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first():
            raise Conflict(f"the store already has rows in `{table.name}`; restore into an empty store")


def _insert(connection: sa.Connection, backup: Opened, tables: Iterable[sa.Table]) -> dict[str, int]:
    counts = {}
    for table in tables:
        counts[table.name] = 0
        for rows in read_rows(backup.archive, table, backup.manifest):
            connection.execute(sa.insert(table), rows)
            counts[table.name] += len(rows)
    if counts.keys() != backup.manifest.rows.keys() - NOT_KEPT:
        raise BadBackup(f"it has the tables {sorted(backup.manifest.rows)} instead of {sorted(counts)}")
    return counts


@contextlib.contextmanager
def _brought_up(backup: Opened, scratch: Path) -> Iterator[Opened]:
    """The same backup in the present schema: restored into a store of its own schema, which is then upgraded."""
    require_space_for_rows(scratch, backup)
    older = Store(f"sqlite:///{scratch / 'older.db'}")
    raised = scratch / "raised.zip"
    try:
        migrate(older, backup.manifest.schema)
        with older.write() as connection:
            its_own = sa.MetaData()
            its_own.reflect(connection)
            _insert(connection, backup, kept_tables(its_own))
        migrate(older)
        with raised.open("wb") as out:
            for chunk in Export(older, backup.manifest.taken_at, backup.manifest.release).chunks():
                out.write(chunk)
    finally:
        older.close()
    with opened(raised, (), scratch) as upgraded:
        yield upgraded
