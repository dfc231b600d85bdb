"""Writes backups into files and folders. A file appears complete or not at all."""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from watchkeeper import __version__
from watchkeeper.collector.site.settings import BackupConfig
from watchkeeper.collector.store.backups import plan
from watchkeeper.collector.store.backups.archive import Export
from watchkeeper.collector.store.backups.encryption import encrypt, read_recipients
from watchkeeper.collector.store.backups.kept import Kept, listed, name_of, sha256_of
from watchkeeper.collector.store.engine import Store
from watchkeeper.model.errors import Conflict, WatchkeeperError
from watchkeeper.model.failpoint import failpoint

_LOCK, _PART = ".lock", ".part"
_LOOK_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was written: the rows of each table, and the SHA-256 of the file."""

    rows: dict[str, int]
    sha256: str


def backup(
    store: Store, file: Path, now: float, recipients: Sequence[str] = (), reserve_bytes: int = 0
) -> dict[str, int]:
    """Write all tables as they are at one moment. Returns the number of rows of each table. The file (mode 0600) appears
    complete or not at all. `reserve_bytes` stay free on its disk. Raises WatchkeeperError if it cannot be written."""
    with _reported(file):
        part = file.with_name(file.name + _PART)
        return _write(Export(store, now, __version__), part, lambda _: file, recipients, reserve_bytes)[1].rows


def back_up(store: Store, folder: Path, now: float, config: BackupConfig, reserve_bytes: int) -> tuple[Kept, Written]:
    """Make a scheduled backup, and then delete those that are no longer kept. One process at a time does this in a folder. Raises
    Conflict if another one does, WatchkeeperError if no backup can be made."""
    with _reported(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(folder):

            def name(written: Written) -> Path:
                return folder / name_of(now, written.sha256, encrypted=bool(config.encrypt_to))

            part = folder / (".watchkeeper" + _PART)
            file, written = _write(Export(store, now, __version__), part, name, config.encrypt_to, reserve_bytes)
            made = Kept(file, now, written.sha256)
            try:
                _prune(folder, made, now, config)
            except OSError as error:
                raise WatchkeeperError(
                    f"{file} was made, but older ones cannot be deleted: {error.strerror}"
                ) from error
    return made, written


def _prune(folder: Path, made: Kept, now: float, config: BackupConfig) -> None:
    """Delete what is no longer kept. Only good backups count, and a damaged one is left for a person to look at."""
    good = [made, *(one for one in listed(folder) if one.file != made.file and one.good())]
    for place in plan.expired([one.taken_at for one in good], now, config.keep):
        good[place].file.unlink(missing_ok=True)
    _sync_folder(folder)


# ---- one file ----


class _Guarded:
    """A new file that leaves a reserve on its disk, and knows the SHA-256 of what it was given."""

    def __init__(self, out: BinaryIO, folder: Path, reserve_bytes: int) -> None:
        self._out, self._folder, self._reserve_bytes = out, folder, reserve_bytes
        self._looked = -_LOOK_BYTES
        self._size = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes, /) -> int:
        """Write all of it. Raises WatchkeeperError if the disk would have less than its reserve, OSError."""
        if self._reserve_bytes and self._size - self._looked >= _LOOK_BYTES:
            self._looked = self._size
            free = shutil.disk_usage(self._folder).free
            if free < self._reserve_bytes + _LOOK_BYTES:
                raise WatchkeeperError(
                    f"{self._folder}: the disk has {free / 1e6:.0f} MB left; no backup was made, so that it does not become full"
                )
        self._out.write(data)
        self.digest.update(data)
        self._size += len(data)
        return len(data)


def _write(
    export: Export, part: Path, name: Callable[[Written], Path], recipients: Sequence[str], reserve_bytes: int
) -> tuple[Path, Written]:
    """Write a backup to `part`, read it again, and give it its name."""
    keys = read_recipients(recipients)
    try:
        part.unlink(missing_ok=True)
        handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as out:
            guarded = _Guarded(out, part.parent, reserve_bytes)
            if keys:
                encrypt(export.chunks(), guarded, keys)
            else:
                for chunk in export.chunks():
                    guarded.write(chunk)
            out.flush()
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)  # so that it is read again from the disk
        failpoint("collector.backup.written")
        written = Written(export.rows, guarded.digest.hexdigest())
        if sha256_of(part) != written.sha256:
            raise WatchkeeperError(f"{part}: the disk gave back other bytes than were written; no backup was made")
        file = name(written)
        part.replace(file)
        failpoint("collector.backup.named")
        _sync_folder(file.parent)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return file, written


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Be the only process that writes into this folder. The lock ends with the process."""
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"{folder}: another backup is being made there") from None
        yield


@contextlib.contextmanager
def _reported(where: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WatchkeeperError(f"{error.filename or where}: {error.strerror}; no backup was made") from error


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder last through a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
