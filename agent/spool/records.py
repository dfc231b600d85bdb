"""The spool's rows: what one commit writes, and what a row looks like when it leaves."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

from watchkeeper.agent.spool import file as spoolfile
from watchkeeper.model.batch import Block, Lane
from watchkeeper.model.reading import Series
from watchkeeper.model.verdict import Key
from watchkeeper.model.wire import DECADE_S, encode_block
from watchkeeper.rules.evaluate import RuleState, encode_state

K = TypeVar("K")
V = TypeVar("V")

ROW_BYTES = 32
"""What a row costs beside its body, roughly."""


class Row(NamedTuple):
    """One numbered item: an event, a frame (of a block), or a tombstone (`frames` of them, from seq `first`)."""

    seq: int
    at: float
    block: int
    first: int
    frames: int
    body: str

    @property
    def size_bytes(self) -> int:
        """What it counts against the spool's limit."""
        return len(self.body) + ROW_BYTES


class Done(NamedTuple):
    """Items up to `through` are no longer ours to send: taken by the collector, or refused for a `reason`."""

    lane: Lane
    through: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Writing:
    """Everything one commit puts on the disk."""

    rows: Mapping[Lane, tuple[Row, ...]]
    states: Mapping[Key, RuleState | None]
    done: tuple[Done, ...]
    blocks: tuple[tuple[int, str, str], ...]  # number, device, JSON
    declared: Mapping[int, bool]
    notes: Mapping[str, str]
    last: Mapping[Lane, int]
    boot: str
    at_utc: float
    aside_bytes: int  # how much of what was refused is kept

    def __bool__(self) -> bool:
        return bool(any(self.rows.values()) or self.states or self.done or self.blocks or self.declared or self.notes)


def write(db: sqlite3.Connection, writing: Writing) -> None:
    """Write it all, inside the caller's transaction."""
    for lane, rows in writing.rows.items():
        if rows:
            db.executemany(_of(lane, "INSERT INTO LANE VALUES (?, ?, ?, ?, ?, ?)"), rows)
            db.execute("UPDATE lanes SET last = ? WHERE lane = ?", (writing.last[lane], lane))
    for key, state in writing.states.items():
        _keep(db, key, state)
    for number, device, body in writing.blocks:
        _declare(db, number, device, body)
    for number, declared in writing.declared.items():
        db.execute("UPDATE blocks SET declared = ? WHERE block = ?", (declared, number))
    for done in writing.done:
        _settle(db, done, writing)
    for name, text in {**writing.notes, "boot": writing.boot}.items():
        spoolfile.put(db, name, text)


def _keep(db: sqlite3.Connection, key: Key, state: RuleState | None) -> None:
    if state is None:
        db.execute("DELETE FROM states WHERE device = ? AND rule = ? AND instance = ?", key)
    else:
        db.execute("REPLACE INTO states VALUES (?, ?, ?, ?)", (*key, text(encode_state(state))))


def _of(lane: Lane, statement: str) -> str:
    return statement.replace("LANE", lane.value)


def _declare(db: sqlite3.Connection, number: int, device: str, body: str) -> None:
    """Note a block; of a device that changes its columns for ever, the newest few and those in use are kept."""
    db.execute("INSERT INTO blocks VALUES (?, ?, ?, 0)", (number, device, body))
    db.execute(
        "DELETE FROM blocks WHERE device = ?1 AND block NOT IN (SELECT block FROM readings)"
        " AND block NOT IN (SELECT block FROM blocks WHERE device = ?1 ORDER BY block DESC LIMIT 4)",
        (device,),
    )


def _settle(db: sqlite3.Connection, done: Done, writing: Writing) -> None:
    if done.reason:
        db.execute(
            _of(
                done.lane,
                "INSERT INTO set_aside (lane, seq, at_utc, reason, body)"
                " SELECT ?, seq, ?, ?, body FROM LANE WHERE seq <= ? AND frames = 0 ORDER BY seq",
            ),
            (done.lane, writing.at_utc, done.reason, done.through),
        )
        _bound_set_aside(db, writing.aside_bytes)
    db.execute(_of(done.lane, "DELETE FROM LANE WHERE seq <= ?"), (done.through,))
    db.execute(
        _of(done.lane, "UPDATE LANE SET frames = min(frames, seq - ?1), first = ?1 + 1 WHERE frames AND first <= ?1"),
        (done.through,),
    )
    db.execute("UPDATE lanes SET settled = ? WHERE lane = ?", (done.through, done.lane))


def _bound_set_aside(db: sqlite3.Connection, limit_bytes: int) -> None:
    """Drop the oldest of what was refused once it is too much."""
    db.execute(
        "DELETE FROM set_aside WHERE number <= (SELECT max(number) FROM ("
        "  SELECT number, sum(length(body)) OVER (ORDER BY number DESC) AS above FROM set_aside) WHERE above > ?)",
        (limit_bytes,),
    )


def read(db: sqlite3.Connection, lane: Lane, after: int) -> Iterable[Row]:
    """The rows of a lane behind seq `after`, oldest first."""
    return map(Row._make, db.execute(_of(lane, "SELECT * FROM LANE WHERE seq > ? ORDER BY seq"), (after,)))


def shift(db: sqlite3.Connection, seconds: float) -> None:
    """Move every time over to another boot's clock."""
    for lane in Lane:
        db.execute(_of(lane, "UPDATE LANE SET at = at + ?"), (seconds,))


def used_bytes(db: sqlite3.Connection) -> int:
    """How much of the file is in use."""
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def drop(db: sqlite3.Connection, excess_bytes: int, before: float) -> int:
    """Turn the oldest readings, `excess_bytes` of them and all from before that time, into a tombstone.
    Returns how many frames went."""
    gone = oldest(read(db, Lane.READINGS, 0), excess_bytes, before)
    if gone is None:
        return 0
    stone, frames = gone
    db.execute("DELETE FROM readings WHERE seq <= ?", (stone.seq,))
    db.execute("INSERT INTO readings VALUES (?, ?, ?, ?, ?, ?)", stone)
    return frames


def oldest(rows: Iterable[Row], excess_bytes: int, before: float = float("-inf")) -> tuple[Row, int] | None:
    """The tombstone for the oldest rows, merged with tombstones next to them, and how many frames it newly stands for.
    None where nothing but tombstones would go."""
    first = through = total = fresh = 0
    at = before
    for row in rows:
        if not row.frames and excess_bytes <= 0 and row.at >= before:
            break
        first = first or row.first or row.seq
        through, at = row.seq, row.at
        total += row.frames or 1
        fresh += not row.frames
        excess_bytes -= row.size_bytes
    return (Row(through, at, 0, first, total, ""), fresh) if fresh else None


def leave(row: Row, now: float) -> str:
    """The row as the wire wants it, its ages of this moment."""
    if row.frames:
        return f'{{"seq":{row.seq},"first":{row.first},"frames":{row.frames}}}'
    if row.block:
        return f'{{"seq":{row.seq},"age_s":{_age(now - row.at)},"block":{row.block},{row.body}}}'
    event = json.loads(row.body)
    _grow(event, now - row.at)
    return text({"seq": row.seq, **event})


def _age(age: float) -> float:
    return round(min(max(age, 0.0), DECADE_S), 3)


def _grow(event: dict[str, Any], by: float) -> None:
    event["age_s"] = _age(event["age_s"] + by)
    evidence = event.get("evidence")
    if evidence and "first_age_s" in evidence:
        evidence["first_age_s"] = _age(evidence["first_age_s"] + by)
    for verdict in event.get("verdicts", ()):
        _grow(verdict, by)


def text(value: Any) -> str:
    """JSON as it is kept and sent."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def columns(block: Block) -> str:
    """A block as it is kept: the same columns, the same text."""
    return text(encode_block(replace(block, block=0)))


def block(number: int, body: str) -> Block:
    """The inverse."""
    raw = json.loads(body)
    series = tuple(Series(raw["device"], *row) for row in raw["series"])
    return Block(number, raw["device"], raw["probe"], raw["every_s"], series)


def subtract(held: dict[K, V], written: Mapping[K, V]) -> None:
    """Forget what was written, unless it has changed since."""
    for key, value in written.items():
        if key in held and held[key] is value:
            del held[key]
