"""The spool's records: what one commit writes to the tables, what is read back, and a record as an item of a push."""

import contextlib
import json
import logging
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from watchkeeper.agent.spool import file as spoolfile
from watchkeeper.model.batch import Block, Lane
from watchkeeper.model.reading import Series
from watchkeeper.model.verdict import Key
from watchkeeper.model.wire import encode_block, event_item, frame_item, to_json, tombstone_item
from watchkeeper.rules.evaluate import RuleState, decode_state, encode_state, rebase
from watchkeeper.rules.parts import rebase_record

log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")

_NO_LIMIT = 2**62
RECORD_BYTES = 32
"""What a record takes beside its body, roughly."""


class Record(NamedTuple):
    """A numbered item: an event, a frame of a block, or a tombstone for `frames` frames from seq `first` on. `at` is
    seconds on the boot clock."""

    seq: int
    at: float
    block: int
    first: int
    frames: int
    body: str

    @property
    def size_bytes(self) -> int:
        """What it counts against the spool's limit."""
        return len(self.body) + RECORD_BYTES


class Settled(NamedTuple):
    """Items up to `through` need not be sent any more: the collector has them, or refused them for a `reason`."""

    lane: Lane
    through: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Commit:
    """Everything that one commit writes to the disk."""

    records: Mapping[Lane, tuple[Record, ...]]
    states: Mapping[Key, RuleState | None]
    parts: Mapping[str, str | None]  # device: what was read of it (rules/parts.py)
    settled: tuple[Settled, ...]
    blocks: tuple[tuple[int, str, str], ...]  # number, device, JSON
    declared: Mapping[int, bool]
    notes: Mapping[str, str]
    last: Mapping[Lane, int]
    boot: str
    at_utc: float
    set_aside_bytes: int  # how much of what was refused is kept

    def __bool__(self) -> bool:
        return bool(
            any(self.records.values())
            or self.states
            or self.parts
            or self.settled
            or self.blocks
            or self.declared
            or self.notes
        )


def write(db: sqlite3.Connection, commit: Commit) -> None:
    """Write all of it, inside the caller's transaction."""
    for lane, records in commit.records.items():
        if records:
            db.executemany(_sql(lane, "INSERT INTO LANE VALUES (?, ?, ?, ?, ?, ?)"), records)
            db.execute("UPDATE lanes SET last = ? WHERE lane = ?", (commit.last[lane], lane))
    for key, state in commit.states.items():
        _write_state(db, key, state)
    for device, body in commit.parts.items():
        _write_parts(db, device, body)
    for number, device, body in commit.blocks:
        _write_block(db, number, device, body)
    for number, declared in commit.declared.items():
        db.execute("UPDATE blocks SET declared = ? WHERE block = ?", (declared, number))
    for settled in commit.settled:
        _settle(db, settled, commit)
    for name, text in {**commit.notes, "boot": commit.boot}.items():
        spoolfile.put_note(db, name, text)


def _sql(lane: Lane, statement: str) -> str:
    return statement.replace("LANE", lane.value)


def _write_state(db: sqlite3.Connection, key: Key, state: RuleState | None) -> None:
    if state is None:
        db.execute("DELETE FROM states WHERE device = ? AND rule = ? AND instance = ?", key)
    else:
        db.execute("REPLACE INTO states VALUES (?, ?, ?, ?)", (*key, to_json(encode_state(state))))


def _write_parts(db: sqlite3.Connection, device: str, body: str | None) -> None:
    if body is None:
        db.execute("DELETE FROM parts WHERE device = ?", (device,))
    else:
        db.execute("REPLACE INTO parts VALUES (?, ?)", (device, body))


def _write_block(db: sqlite3.Connection, number: int, device: str, body: str) -> None:
    """Add a block. If a device changes its columns again and again, only the newest blocks and those in use stay."""
    db.execute("INSERT INTO blocks VALUES (?, ?, ?, 0)", (number, device, body))
    db.execute(
        "DELETE FROM blocks WHERE device = ?1 AND block NOT IN (SELECT block FROM readings)"
        " AND block NOT IN (SELECT block FROM blocks WHERE device = ?1 ORDER BY block DESC LIMIT 4)",
        (device,),
    )


def _settle(db: sqlite3.Connection, settled: Settled, commit: Commit) -> None:
    lane, through, reason = settled
    if reason:
        db.execute(
            _sql(
                lane,
                "INSERT INTO set_aside (lane, seq, at_utc, reason, body)"
                " SELECT ?, seq, ?, ?, body FROM LANE WHERE seq <= ? AND frames = 0 ORDER BY seq",
            ),
            (lane, commit.at_utc, reason, through),
        )
        _limit_set_aside(db, commit.set_aside_bytes)
    db.execute(_sql(lane, "DELETE FROM LANE WHERE seq <= ?"), (through,))
    db.execute(
        _sql(lane, "UPDATE LANE SET frames = min(frames, seq - ?1), first = ?1 + 1 WHERE frames AND first <= ?1"),
        (through,),
    )
    db.execute("UPDATE lanes SET settled = ? WHERE lane = ?", (through, lane))


def _limit_set_aside(db: sqlite3.Connection, limit_bytes: int) -> None:
    """Delete the oldest of what was refused, down to the limit."""
    db.execute(
        "DELETE FROM set_aside WHERE number <= (SELECT max(number) FROM ("
        "  SELECT number, sum(length(body)) OVER (ORDER BY number DESC) AS above FROM set_aside) WHERE above > ?)",
        (limit_bytes,),
    )


def read(db: sqlite3.Connection, lane: Lane, after: int) -> Iterable[Record]:
    """The records of a lane after seq `after`, oldest first."""
    return map(Record._make, db.execute(_sql(lane, "SELECT * FROM LANE WHERE seq > ? ORDER BY seq"), (after,)))


def read_states(db: sqlite3.Connection) -> dict[Key, RuleState]:
    """The judge's states. A state that cannot be read (of another version, say) is left out."""
    states: dict[Key, RuleState] = {}
    for device, rule, instance, body in db.execute("SELECT * FROM states"):
        try:
            states[device, rule, instance] = decode_state(json.loads(body))
        except ValueError as error:
            log.warning("spool: the state of %s on %s %s cannot be read: %s", rule, device, instance, error)
    return states


def shift_records(db: sqlite3.Connection, seconds: float, through: Mapping[str, int] | None = None) -> None:
    """Add `seconds` to the times of what waits to be sent: of everything, or up to these seqs of the lanes."""
    for lane in Lane:
        limit = _NO_LIMIT if through is None else through.get(lane, 0)
        db.execute(_sql(lane, "UPDATE LANE SET at = at + ? WHERE seq <= ?"), (seconds, limit))


def shift_states(db: sqlite3.Connection, seconds: float) -> None:
    """Add `seconds` to the times of the judge's states and of what was read. What cannot be read is left as it is."""
    for key, state in read_states(db).items():
        _write_state(db, key, rebase(state, seconds))
    for device, body in db.execute("SELECT device, body FROM parts").fetchall():
        with contextlib.suppress(ValueError):
            _write_parts(db, device, rebase_record(body, seconds))


def used_bytes(db: sqlite3.Connection) -> int:
    """How much of the file is in use."""
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def drop_oldest(db: sqlite3.Connection, excess_bytes: int, before: float) -> int:
    """Replace the oldest readings by a tombstone: `excess_bytes` of them, and all from before that time.
    Returns how many frames were dropped."""
    dropped = tombstone(read(db, Lane.READINGS, 0), excess_bytes, before)
    if dropped is None:
        return 0
    stone, frames = dropped
    db.execute("DELETE FROM readings WHERE seq <= ?", (stone.seq,))
    db.execute("INSERT INTO readings VALUES (?, ?, ?, ?, ?, ?)", stone)
    return frames


def tombstone(records: Iterable[Record], excess_bytes: int, before: float = float("-inf")) -> tuple[Record, int] | None:
    """The tombstone for the oldest records, merged with tombstones next to them, and how many frames it newly replaces.
    None where it would replace nothing but tombstones."""
    first = through = total = new = 0
    at = before
    for record in records:
        if not record.frames and excess_bytes <= 0 and record.at >= before:
            break
        first = first or record.first or record.seq
        through, at = record.seq, record.at
        total += record.frames or 1
        new += not record.frames
        excess_bytes -= record.size_bytes
    return (Record(through, at, 0, first, total, ""), new) if new else None


def push_item(record: Record, now: float) -> str:
    """The record as an item of a push, with its age at `now`."""
    if record.frames:
        return tombstone_item(record.seq, record.first, record.frames)
    if record.block:
        return frame_item(record.seq, now - record.at, record.block, record.body)
    return event_item(record.seq, record.body, now - record.at)


def block_to_json(block: Block) -> str:
    """A block without its number: equal columns give equal text."""
    return to_json(encode_block(replace(block, block=0)))


def block_from_json(number: int, body: str) -> Block:
    """The inverse of `block_to_json`."""
    raw = json.loads(body)
    series = tuple(Series(raw["device"], *row) for row in raw["series"])
    facts = tuple((name, text) for name, text in raw.get("facts", ()))
    return Block(number, raw["device"], raw["probe"], raw["every_s"], series, facts)


def subtract(waiting: dict[K, V], written: Mapping[K, V]) -> None:
    """Remove what was written, unless it has changed since."""
    for key, value in written.items():
        if key in waiting and waiting[key] is value:
            del waiting[key]
