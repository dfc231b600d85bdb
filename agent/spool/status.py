"""The content of an agent's spool, read from outside while the agent runs."""

import contextlib
import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watchkeeper.agent.spool import file as spoolfile
from watchkeeper.model.errors import SpoolError


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """One lane: how many items wait, the highest seq given out, and the highest that the collector has."""

    lane: str
    waiting: int
    oldest_s: float | None
    last: int
    settled: int


@dataclass(frozen=True, slots=True)
class RefusedItems:
    """How many items of a lane were set aside for one reason."""

    lane: str
    items: int
    reason: str


@dataclass(frozen=True, slots=True)
class Status:
    """The content of a spool. `answer` and `away` are the pusher's notes (empty: none)."""

    epoch: str
    file_bytes: int
    lanes: tuple[LaneStatus, ...]
    states: int
    refused: tuple[RefusedItems, ...]
    answer: dict[str, Any]
    away: dict[str, Any]


def read_status(path: Path, boot_s: float) -> Status:
    """Read the spool without changing it; `boot_s` is now on the boot clock. Raises SpoolError."""
    if not path.exists():
        raise SpoolError(f"{path}: there is no spool; has the agent ever run with this agent.yml?")
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5.0)) as db:
            return _read(db, path, boot_s)
    except sqlite3.Error as error:
        raise SpoolError(f"{path}: cannot be read: {error}") from None


def _read(db: sqlite3.Connection, path: Path, boot_s: float) -> Status:
    lanes = []
    for lane, last, settled in db.execute("SELECT lane, last, settled FROM lanes ORDER BY lane").fetchall():
        query = f"SELECT count(*), min(at) FROM {lane}"  # noqa: S608 -- the names of the two lanes
        waiting, at = db.execute(query).fetchone()
        lanes.append(LaneStatus(lane, waiting, None if at is None else max(0.0, boot_s - at), last, settled))
    refused = db.execute("SELECT lane, count(*), reason FROM set_aside GROUP BY lane, reason ORDER BY max(number)")
    return Status(
        epoch=spoolfile.get_note(db, "epoch") or "",
        file_bytes=sum(part.stat().st_size for part in (path, Path(f"{path}-wal")) if part.exists()),
        lanes=tuple(lanes),
        states=db.execute("SELECT count(*) FROM states").fetchone()[0],
        refused=tuple(RefusedItems(*row) for row in refused),
        answer=json.loads(spoolfile.get_note(db, "answer") or "{}"),
        away=json.loads(spoolfile.get_note(db, "away") or "{}"),
    )
