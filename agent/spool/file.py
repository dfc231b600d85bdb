"""The spool's SQLite file: its schema, opening and checking it, and setting a broken file aside."""

import contextlib
import datetime
import fcntl
import io
import os
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from watchkeeper.model.errors import SpoolError

MEMORY = Path(":memory:")
"""A spool without a file: for tests, and for a machine without a disk."""

VERSION = 1
KEPT_BROKEN_FILES = 3
BROKEN_CODES = ("SQLITE_CORRUPT", "SQLITE_NOTADB")

_LANE = """
CREATE TABLE {lane} (
  seq INTEGER PRIMARY KEY, at REAL NOT NULL, block INTEGER NOT NULL,
  first INTEGER NOT NULL, frames INTEGER NOT NULL,
  body TEXT NOT NULL
);
"""
_SCHEMA = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE lanes (lane TEXT PRIMARY KEY, last INTEGER NOT NULL, settled INTEGER NOT NULL) WITHOUT ROWID;
{_LANE.format(lane="events")}
{_LANE.format(lane="readings")}
CREATE TABLE blocks (block INTEGER PRIMARY KEY, device TEXT NOT NULL, body TEXT NOT NULL UNIQUE, declared INTEGER NOT NULL);
CREATE TABLE states (
  device TEXT, rule TEXT, instance TEXT, body TEXT NOT NULL, PRIMARY KEY (device, rule, instance)
) WITHOUT ROWID;
CREATE TABLE set_aside (
  number INTEGER PRIMARY KEY, lane TEXT NOT NULL, seq INTEGER NOT NULL, at_utc REAL NOT NULL,
  reason TEXT NOT NULL, body TEXT NOT NULL
);
INSERT INTO lanes VALUES ('events', 0, 0), ('readings', 0, 0);
PRAGMA user_version = {VERSION};
"""  # noqa: S608 -- built from constants only
_PARTS = "CREATE TABLE IF NOT EXISTS parts (device TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID"
"""What was read of each device. A spool of an earlier version gets this table when it is opened."""

_TABLES = {"meta", "lanes", "events", "readings", "blocks", "states", "set_aside"}


def lock(path: Path) -> TextIO:
    """Keep other agents from using this spool until the returned file is closed. Raises SpoolError."""
    if path == MEMORY:
        return io.StringIO()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        locked = path.with_name(path.name + ".lock").open("w")
    except OSError as error:
        raise SpoolError(f"{path}: {error.strerror}; check the folder and its owner") from None
    try:
        fcntl.flock(locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        locked.close()
        raise SpoolError(
            f"{path}: another agent is using this spool; stop it, or give this agent a spool of its own"
        ) from None
    return locked


def file_id(path: Path) -> tuple[int, int]:
    """Device and inode of the file of that name: another file of the same name has others. (0, 0) without a file."""
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return 0, 0


def put_back(db: sqlite3.Connection, locked: TextIO, path: Path, at_utc: float) -> tuple[sqlite3.Connection, TextIO]:
    """The spool's file was removed or replaced while `db` has it open: write all that it has to a new file of that name, and
    open that. A file that is in its place is set aside. Returns the connection and the lock. Raises SpoolError (another
    agent uses that file), OSError, or sqlite3.Error; `db` then stays as it is."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    held = os.fstat(locked.fileno())
    ours = file_id(path.with_name(path.name + ".lock")) == (held.st_dev, held.st_ino)
    with contextlib.ExitStack() as undo:
        now_locked = locked if ours else undo.enter_context(lock(path))
        copy = path.with_name(path.name + ".copy")
        copy.unlink(missing_ok=True)
        copy.touch(mode=0o600)
        with contextlib.closing(sqlite3.connect(copy)) as target:
            db.backup(target)
        quarantine(path, at_utc, "replaced")
        db.close()  # before another file has its name: closing deletes NAME-wal
        copy.rename(path)
        made = _connect(path)
        undo.pop_all()
    if not ours:
        locked.close()
    return made, now_locked


def open_spool(path: Path, at_utc: float) -> tuple[sqlite3.Connection, str]:
    """Open the spool's file, or make one. A broken file is set aside; the text then says what, why and where.

    Raises SpoolError where no file can be made.
    """
    try:
        return _connect(path), ""
    except sqlite3.DatabaseError as error:
        if path == MEMORY or not is_broken(error):
            raise SpoolError(f"{path}: {error}; check the folder, its owner and the disk") from None
        reason = str(error)
    broken = quarantine(path, at_utc)
    try:
        return _connect(path), f"{path} could not be read ({reason}); it is {broken} now, and an empty spool was made"
    except sqlite3.DatabaseError as error:
        raise SpoolError(f"{path}: {error}; check the folder, its owner and the disk") from None


def is_broken(error: sqlite3.Error) -> bool:
    """Whether the file itself is damaged or no spool; a full disk or a missing folder is another error."""
    return isinstance(error, _NotASpool) or getattr(error, "sqlite_errorname", "").startswith(BROKEN_CODES)


class _NotASpool(sqlite3.DatabaseError):
    """The file is not a sound spool of this version."""


def _connect(path: Path) -> sqlite3.Connection:
    if path != MEMORY and not path.exists():
        with contextlib.suppress(OSError):  # sqlite then reports what is wrong
            path.touch(mode=0o600)
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA cache_size = -1024")
        db.execute("PRAGMA journal_size_limit = 4194304")
        _check(db)
    except BaseException:
        db.close()
        raise
    return db


def _check(db: sqlite3.Connection) -> None:
    report = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if report != "ok":
        raise _NotASpool(report.splitlines()[-1])
    (version,) = db.execute("PRAGMA user_version").fetchone()
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if version == 0 and not tables:
        db.executescript(f"BEGIN; {_SCHEMA} INSERT INTO meta VALUES ('epoch', '{uuid.uuid4().hex}'); COMMIT;")  # noqa: S608 -- built from constants and hexadecimal digits
    elif version != VERSION:
        raise _NotASpool(f"a spool of version {version}, not {VERSION}")
    elif not tables >= _TABLES:
        raise _NotASpool("tables of the spool are missing")
    elif get_note(db, "epoch") is None:
        raise _NotASpool("its epoch is missing")
    db.execute(_PARTS)


def get_note(db: sqlite3.Connection, name: str) -> str | None:
    """A value of the table `meta`, or None."""
    row = db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def put_note(db: sqlite3.Connection, name: str, value: str) -> None:
    """Write a value into the table `meta`."""
    db.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value))


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit everything, or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


def quarantine(path: Path, at_utc: float, why: str = "corrupt") -> Path:
    """Rename a file that is broken (or was put in place of ours) and its write-ahead log, with a time stamp; the newest few
    are kept. Raises SpoolError."""
    stamp = datetime.datetime.fromtimestamp(at_utc, datetime.UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    broken = path.with_name(f"{path.name}.{why}-{stamp}")
    try:
        for suffix in ("-wal", "-shm", ""):
            part = Path(f"{path}{suffix}")
            if part.exists():
                part.rename(f"{broken}{suffix}")
    except OSError as error:
        raise SpoolError(f"{path}: is broken, and cannot be renamed: {error.strerror}") from None
    for old in sorted(path.parent.glob(f"{path.name}.{why}-*Z"))[:-KEPT_BROKEN_FILES]:
        for suffix in ("-wal", "-shm", ""):
            with contextlib.suppress(OSError):
                os.unlink(f"{old}{suffix}")  # noqa: PTH108 -- the suffix is part of the name, not a path below it
    return broken
