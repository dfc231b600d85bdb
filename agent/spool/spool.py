"""The agent's disk queue: two lanes of numbered items, and beside them the judge's states.

Who hands something in (`record`, `add`) only waits for memory; `flush` puts all of it on the disk in one commit, and is
called at once after events and within a second after readings, from a thread of its own. What the collector has
(`settle`) leaves the disk with the next flush: should we die before, it is sent again, and the collector ignores it.

Times are seconds on the boot clock. A spool opened under another boot is moved over by the wall clock.
"""

import contextlib
import json
import logging
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from watchkeeper.agent.spool import file as spoolfile
from watchkeeper.agent.spool import records
from watchkeeper.agent.spool.records import Done, Row, Writing
from watchkeeper.model.batch import Block, Frame, Lane
from watchkeeper.model.clock import Clock
from watchkeeper.model.errors import SpoolError
from watchkeeper.model.failpoint import failpoint
from watchkeeper.model.reading import Series
from watchkeeper.model.verdict import ActiveVerdicts, Event, Key
from watchkeeper.model.wire import encode_event, encode_values
from watchkeeper.rules.evaluate import RuleState, decode_state, encode_state, rebase

log = logging.getLogger("agent.spool")

MEMORY_BYTES = 4_000_000
"""How much of the readings waits in memory while the disk takes nothing."""

AGE_CHECK_S = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the spool may hold, and how old a reading may grow in it. Events are never dropped."""

    size_bytes: int = 64_000_000
    age_s: float = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Batch:
    """The oldest items of a lane, ready to send: `bodies` are JSON texts with ages of this very moment, `blocks` what has
    to be declared with them, `last` the highest seq this spool ever gave out in the lane."""

    lane: Lane
    epoch: str
    bodies: tuple[str, ...]
    through: int
    last: int
    blocks: tuple[Block, ...] = ()
    more: bool = False


class Spool:
    """See the module. Every method may be called from any thread.

    `trouble` says why the disk takes nothing (empty: it does); meanwhile everything waits in memory, and is sent from
    there. `fresh` tells that the epoch found has no standing verdicts told yet: the states of before, if any, are lost.
    `given` are the highest seqs given out before this spool was opened.
    """

    def __init__(self, path: Path, limits: Limits, clock: Clock, boot_id: str = "") -> None:
        """Open or make the file. Raises SpoolError where that cannot be done, or another agent has it."""
        self._path, self._limits, self._clock = path, limits, clock
        self._boot_id = boot_id or spoolfile.boot_id()
        self._lock = threading.Lock()  # the memory: held for microseconds
        self._disk = threading.RLock()  # the file: held while the disk works; always taken before the memory
        self._rows: dict[Lane, list[Row]] = {lane: [] for lane in Lane}
        self._states: dict[Key, RuleState | None] = {}
        self._done: list[Done] = []
        self._notes: dict[str, str] = {}
        self._new_blocks: list[tuple[int, str, str]] = []
        self._last = dict.fromkeys(Lane, 0)
        self._through = dict.fromkeys(Lane, 0)
        self._blocks: dict[int, Block] = {}
        self._numbers: dict[str, int] = {}  # a block's JSON -> its number
        self._declared: set[int] = set()
        self._redeclared: dict[int, bool] = {}
        self._lost = False  # the file was put aside, and no other could be made yet
        self._aged_at = clock.boot()
        self.trouble = ""
        self.epoch = ""
        self.fresh = True
        with contextlib.ExitStack() as undo:
            self._held = undo.enter_context(spoolfile.hold(path))
            self._db = self._open()
            self._load()
            undo.pop_all()
        self.given: Mapping[Lane, int] = dict(self._last)

    def _open(self) -> sqlite3.Connection:
        db, wreck = spoolfile.open_spool(self._path, self._clock.wall())
        if wreck:
            log.error("spool: %s", wreck)
        return db

    def _load(self) -> None:
        """Take over what the file knows, its times moved to this boot's clock."""
        self.epoch = spoolfile.get(self._db, "epoch") or ""
        self.fresh = spoolfile.get(self._db, "standing") is None
        for name, last, settled in self._db.execute("SELECT lane, last, settled FROM lanes"):
            self._last[Lane(name)], self._through[Lane(name)] = last, settled
        for number, body, declared in self._db.execute("SELECT block, body, declared FROM blocks"):
            self._numbers[body] = number
            self._blocks[number] = records.block(number, body)
            if declared:
                self._declared.add(number)
        self._rebase()

    def _rebase(self) -> None:
        now, offset = self._clock.boot(), self._offset()
        was = spoolfile.get(self._db, "boot")
        if was is not None and json.loads(was)["boot_id"] != self._boot_id:
            before = json.loads(was)
            # Nothing in the spool lies in the future, whatever the wall clock says after a night without its battery.
            shift = min(before["offset"] - offset, now - before["at"])
            with spoolfile.transaction(self._db):
                records.shift(self._db, shift)
                moved = [
                    (records.text(encode_state(rebase(state, shift))), *key) for key, state in self.states().items()
                ]
                self._db.executemany("UPDATE states SET body = ? WHERE device = ? AND rule = ? AND instance = ?", moved)
                spoolfile.put(self._db, "boot", self._boot())
        elif was is None:
            spoolfile.put(self._db, "boot", self._boot())

    def _offset(self) -> float:
        return self._clock.wall() - self._clock.boot()

    def _boot(self) -> str:
        return json.dumps({"boot_id": self._boot_id, "offset": self._offset(), "at": self._clock.boot()})

    def states(self) -> dict[Key, RuleState]:
        """The judge's states as last committed; one that nobody can read (of another version, say) is left out."""
        found: dict[Key, RuleState] = {}
        with self._disk:
            for device, rule, instance, body in self._db.execute("SELECT * FROM states"):
                try:
                    found[device, rule, instance] = decode_state(json.loads(body))
                except ValueError as error:
                    log.warning("spool: the state of %s on %s %s cannot be read: %s", rule, device, instance, error)
        return found

    # ---- handing in: memory only ----

    def record(self, events: Sequence[Event], states: Mapping[Key, RuleState | None]) -> None:
        """Take verdict changes and the judge's states after them (None: forget it); one commit will hold both."""
        now = self._clock.boot()
        bodies = [records.text(encode_event(event, now)) for event in events]
        with self._lock:
            for body in bodies:
                self._append(Lane.EVENTS, now, 0, body)
            self._states.update(states)
            if any(isinstance(event, ActiveVerdicts) for event in events):
                self._notes["standing"] = "told"

    def add(self, frame: Frame) -> None:
        """Take one sweep's values, all of them finite."""
        body = records.text(encode_values(frame.values))[1:-1]
        with self._lock:
            self._append(Lane.READINGS, frame.at, frame.block, body)

    def _append(self, lane: Lane, at: float, block: int, body: str) -> None:
        self._last[lane] = seq = self._last[lane] + 1
        self._rows[lane].append(Row(seq, at, block, 0, 0, body))

    def declare(self, device: str, probe: str, every_s: float, series: tuple[Series, ...]) -> int:
        """Return the number of the block with these columns, the same for the same ones."""
        body = records.columns(Block(0, device, probe, every_s, series))
        with self._lock:
            if body not in self._numbers:
                number = max(self._blocks, default=0) + 1
                self._numbers[body] = number
                self._blocks[number] = Block(number, device, probe, every_s, series)
                self._new_blocks.append((number, device, body))
            return self._numbers[body]

    def note(self, name: str, text: str) -> None:
        """Keep a word for whoever looks at the spool from outside (`agent status`)."""
        with self._lock:
            self._notes[name] = text

    # ---- to the disk ----

    def flush(self) -> bool:
        """Commit everything handed in. False where the disk refuses: then it stays in memory, for the next flush."""
        with self._disk:
            for again in (False, True):
                with self._lock:
                    writing = self._writing()
                if not writing:
                    break
                try:
                    self._commit(writing)
                    break
                except sqlite3.Error as error:
                    if again or not self._begin_again(error):
                        self._refuse(error)
                        return False
            if self.trouble:
                log.warning("spool: %s takes data again", self._path)
                self.trouble = ""
            return True

    def _writing(self) -> Writing:
        return Writing(
            rows={lane: tuple(waiting) for lane, waiting in self._rows.items()},
            states=dict(self._states),
            done=tuple(self._done),
            blocks=tuple(self._new_blocks),
            declared=dict(self._redeclared),
            notes=dict(self._notes),
            last=dict(self._last),
            boot=self._boot(),
            at_utc=self._clock.wall(),
            aside_bytes=self._limits.size_bytes // 8,
        )

    def _commit(self, writing: Writing) -> None:
        events, readings = (writing.rows[lane] for lane in (Lane.EVENTS, Lane.READINGS))
        with spoolfile.transaction(self._db):
            records.write(self._db, writing)
            dropped = self._bound()
            if events:
                failpoint("agent.event.before-commit")
        if events:
            failpoint("agent.event.committed")
        if readings:
            failpoint("agent.readings.committed")
        if writing.done:
            failpoint("agent.settled")
        if dropped:
            log.warning("spool: full or too old: the %d oldest sweeps were dropped", dropped)
        self._forget(writing)

    def _forget(self, writing: Writing) -> None:
        """What is on the disk need not wait in memory."""
        kept = {number for (number,) in self._db.execute("SELECT block FROM blocks")} if writing.blocks else None
        with self._lock:
            for lane, written in writing.rows.items():
                if written:
                    self._rows[lane] = [row for row in self._rows[lane] if row.seq > written[-1].seq]
            records.subtract(self._states, writing.states)
            records.subtract(self._notes, writing.notes)
            records.subtract(self._redeclared, writing.declared)
            del self._done[: len(writing.done)]
            del self._new_blocks[: len(writing.blocks)]
            if kept is not None:
                kept.update(number for number, _, _ in self._new_blocks)
                self._blocks = {number: block for number, block in self._blocks.items() if number in kept}
                self._numbers = {body: number for body, number in self._numbers.items() if number in kept}

    def _bound(self) -> int:
        """Keep within the limits; return how many frames had to go."""
        now, limits = self._clock.boot(), self._limits
        excess = records.used_bytes(self._db) - limits.size_bytes
        if excess <= 0 and now - self._aged_at < AGE_CHECK_S:
            return 0
        self._aged_at = now
        return records.drop(self._db, excess + limits.size_bytes // 16 if excess > 0 else 0, now - limits.age_s)

    def _refuse(self, error: sqlite3.Error) -> None:
        """The disk takes nothing: wait in memory, events for ever and readings while there is room."""
        if not self.trouble:
            log.error(
                "spool: %s takes nothing (%s); going on in memory. Make room, or repair the disk", self._path, error
            )
        self.trouble = str(error)
        with self._lock:
            waiting = self._rows[Lane.READINGS]
            excess = sum(row.size_bytes for row in waiting) - MEMORY_BYTES
            gone = records.oldest(waiting, excess + MEMORY_BYTES // 4) if excess > 0 else None
            if gone:
                stone, _ = gone
                self._rows[Lane.READINGS] = [stone, *(row for row in waiting if row.seq > stone.seq)]

    def _begin_again(self, error: sqlite3.Error) -> bool:
        """Put a file that turned out to be rubbish aside, and go on with an empty one. Whether that could be done."""
        if not (self._lost or spoolfile.is_broken(error)) or self._path == spoolfile.MEMORY:
            return False
        with contextlib.suppress(sqlite3.Error):
            self._db.close()  # before another file has its name: closing removes NAME-wal
        self._lost = True
        try:
            wreck = spoolfile.quarantine(self._path, self._clock.wall())
            self._db = self._open()
        except SpoolError as why:
            log.error("spool: %s", why)  # noqa: TRY400 -- a sentence for the operator
            return False
        self._lost = False
        log.error("spool: %s is broken (%s); it lies at %s now, and an empty one was made", self._path, error, wreck)
        with self._lock:
            self.epoch = spoolfile.get(self._db, "epoch") or ""
            self._declared.clear()
            self._done.clear()
            self._new_blocks = [
                (number, block.device, records.columns(block)) for number, block in self._blocks.items()
            ]
            self._notes.pop("epoch", None)
        return True

    def close(self) -> None:
        """Flush and let go of the file."""
        with self._disk:
            self.flush()
            self._db.close()
            self._held.close()

    # ---- to the collector ----

    def batch(self, lane: Lane, limit_items: int, limit_bytes: int) -> Batch:
        """The oldest items of the lane not yet settled: at most so many, and of so many bytes in all where one does not
        take more by itself."""
        with self._disk:
            now, epoch, through = self._clock.boot(), self.epoch, self._through[lane]
            bodies: list[str] = []
            used: set[int] = set()
            size, more = 0, False
            for row in self._waiting(lane, through):
                size += row.size_bytes
                if len(bodies) >= limit_items or (bodies and size > limit_bytes):
                    more = True
                    break
                bodies.append(records.leave(row, now))
                used.add(row.block)
                through = row.seq
            with self._lock:
                blocks = tuple(self._blocks[number] for number in sorted(used - self._declared - {0}))
                return Batch(lane, epoch, tuple(bodies), through, self._last[lane], blocks, more)

    def _waiting(self, lane: Lane, after: int) -> Iterator[Row]:
        """What is on the disk; and while the disk takes nothing, what waits in memory."""
        try:
            for row in records.read(self._db, lane, after):
                after = row.seq
                yield row
        except sqlite3.Error as error:
            self._begin_again(error)
        if self.trouble:
            with self._lock:
                waiting = list(self._rows[lane])
            yield from (row for row in waiting if row.seq > after)

    def behind(self, lane: Lane) -> bool:
        """Whether the collector has not got everything yet."""
        with self._lock:
            return self._through[lane] < self._last[lane]

    def settle(self, batch: Batch, through: int) -> None:
        """The collector has everything up to `through` on its disk, and knows the batch's blocks."""
        with self._lock:
            if batch.epoch == self.epoch:
                self._declare_again({block.block: True for block in batch.blocks})
            self._finish(Done(batch.lane, min(through, batch.last)))

    def set_aside(self, batch: Batch, reason: str) -> None:
        """The collector will never take this batch: keep it where a person can find it, and go on."""
        with self._lock:
            self._finish(Done(batch.lane, batch.through, reason or "refused"))

    def _finish(self, done: Done) -> None:
        if done.through <= self._through[done.lane]:
            return
        self._through[done.lane] = done.through
        self._done.append(done)
        if self.trouble:
            self._rows[done.lane] = [row for row in self._rows[done.lane] if row.seq > done.through]

    def redeclare(self, blocks: Iterable[int]) -> None:
        """The collector does not know these blocks (any more)."""
        with self._lock:
            self._declare_again(dict.fromkeys(self._blocks.keys() & set(blocks), False))

    def _declare_again(self, known: Mapping[int, bool]) -> None:
        self._redeclared.update(known)
        self._declared -= known.keys()
        self._declared.update(number for number, declared in known.items() if declared)

    def renew(self) -> None:
        """Begin a new epoch: the collector has seqs of this one that we never gave out (a restored disk, say)."""
        with self._disk:
            with self._lock:
                self.epoch = self._notes["epoch"] = uuid.uuid4().hex
                self._declare_again(dict.fromkeys(self._blocks, False))
            self.flush()
