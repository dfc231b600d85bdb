"""The agent's disk queue: two lanes of numbered items, and the judge's states.

`add_events` and `add_frame` only write to memory. `flush` writes everything to the disk in one commit; it is called
from a thread of its own, at once after events and within half a second after readings. What the collector has
(`settle`) leaves the disk with the next flush. If the agent dies before that, the items are sent again and the
collector ignores them.

Times are seconds on the boot clock. `boots` converts those of an earlier boot of the machine.
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
from watchkeeper.agent.spool.batch import Batch
from watchkeeper.agent.spool.blocks import Blocks
from watchkeeper.agent.spool.boots import Boots
from watchkeeper.agent.spool.records import Commit, Record, Settled
from watchkeeper.model.batch import Facts, Lane
from watchkeeper.model.clock import Clock
from watchkeeper.model.clock import boot_id as kernel_boot_id
from watchkeeper.model.errors import SpoolError
from watchkeeper.model.failpoint import failpoint
from watchkeeper.model.reading import Series, Value
from watchkeeper.model.verdict import ActiveVerdicts, Event, Key
from watchkeeper.model.wire import encode_event, frame_columns, to_json
from watchkeeper.rules.evaluate import RuleState

log = logging.getLogger(__name__)

MEMORY_BYTES = 4_000_000
"""How many bytes of readings wait in memory while the disk cannot be written."""

AGE_CHECK_S = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest size of the spool, and the greatest age of a reading in it. Events are never dropped."""

    size_bytes: int = 64_000_000
    age_s: float = 7 * 86_400.0


class Spool:
    """The disk queue. Every method may be called from any thread.

    `disk_error` says why the disk cannot be written (empty: it can). Meanwhile everything waits in memory and is sent
    from there. `fresh` says that this epoch has not yet reported the active verdicts: earlier states, if any, are lost.
    `given_before` are the highest seqs given out before this spool was opened.
    """

    def __init__(self, path: Path, limits: Limits, clock: Clock, boot_id: str = "") -> None:
        """Open or make the file. Raises SpoolError where that fails, or where another agent uses it."""
        self._path, self._limits, self._clock = path, limits, clock
        self._boots = Boots(clock, boot_id or kernel_boot_id())
        self._memory_lock = threading.Lock()  # held for microseconds
        self._disk_lock = threading.RLock()  # held while the disk works; always taken before the memory's
        self._records: dict[Lane, list[Record]] = {lane: [] for lane in Lane}
        self._states: dict[Key, RuleState | None] = {}
        self._parts: dict[str, str | None] = {}
        self._settled: list[Settled] = []
        self._notes: dict[str, str] = {}
        self._last = dict.fromkeys(Lane, 0)
        self._through = dict.fromkeys(Lane, 0)
        self._blocks = Blocks()
        self._began_after = dict.fromkeys(Lane, 0)  # the highest seqs that were settled before this epoch began
        self._without_file = False  # the broken file was set aside, and no other could be made yet
        self._aged_at = clock.boot()
        self.disk_error = ""
        self.epoch = ""
        self.fresh = True
        with contextlib.ExitStack() as undo:
            self._lock_file = undo.enter_context(spoolfile.lock(path))
            self._db = self._open()
            self._file = spoolfile.file_id(path)
            self._load()
            undo.pop_all()
        self.given_before: Mapping[Lane, int] = dict(self._last)

    def _open(self) -> sqlite3.Connection:
        db, report = spoolfile.open_spool(self._path, self._clock.wall())
        if report:
            log.error("spool: %s", report)
        return db

    def _load(self) -> None:
        """Read what the file has, and convert its times to this boot's clock."""
        self.epoch = spoolfile.get_note(self._db, "epoch") or ""
        self.fresh = spoolfile.get_note(self._db, "standing") is None
        for name, last, settled in self._db.execute("SELECT lane, last, settled FROM lanes"):
            self._last[Lane(name)], self._through[Lane(name)] = last, settled
        for name, seq in json.loads(self.noted("epoch began after") or "{}").items():
            self._began_after[Lane(name)] = seq
        for number, body, declared in self._db.execute("SELECT block, body, declared FROM blocks"):
            self._blocks.load(number, body, known=bool(declared))
        self._boots.carry_over(self._db)

    def states(self) -> dict[Key, RuleState]:
        """The judge's states as last committed. A state that cannot be read (of another version, say) is left out."""
        with self._disk_lock:
            return records.read_states(self._db)

    def parts(self) -> dict[str, str]:
        """What was read of each device, as last committed (rules/parts.py)."""
        with self._disk_lock:
            return dict(self._db.execute("SELECT device, body FROM parts").fetchall())

    # ---- adding: memory only ----

    def keep_parts(self, parts: Mapping[str, str | None]) -> None:
        """Keep what was read of these devices (None: forget it)."""
        with self._memory_lock:
            self._parts.update(parts)

    def add_events(self, events: Sequence[Event], states: Mapping[Key, RuleState | None]) -> None:
        """Add verdict changes and the judge's states after them (None: forget it). One commit writes both."""
        now = self._clock.boot()
        bodies = [to_json(encode_event(event, now)) for event in events]
        with self._memory_lock:
            for body in bodies:
                self._append(Lane.EVENTS, now, 0, body)
            self._states.update(states)
            if any(isinstance(event, ActiveVerdicts) for event in events):
                self._notes["standing"] = "sent"

    def add_frame(self, block: int, at: float, values: Sequence[Value]) -> None:
        """Add the values of one sweep; all of them must be finite."""
        body = frame_columns(values)
        with self._memory_lock:
            self._append(Lane.READINGS, at, block, body)

    def _append(self, lane: Lane, at: float, block: int, body: str) -> None:
        self._last[lane] = seq = self._last[lane] + 1
        self._records[lane].append(Record(seq, at, block, 0, 0, body))

    def declare(self, device: str, probe: str, every_s: float, series: tuple[Series, ...], facts: Facts = ()) -> int:
        """The number of the block with these columns and facts; equal ones have one number."""
        with self._memory_lock:
            return self._blocks.declare(device, probe, every_s, series, facts)

    def note(self, name: str, text: str) -> None:
        """Keep a note for `agent status`, which reads the spool from outside."""
        with self._memory_lock:
            self._notes[name] = text

    def noted(self, name: str) -> str:
        """A note as last committed; empty if there is none."""
        with self._disk_lock:
            return spoolfile.get_note(self._db, name) or ""

    # ---- writing to the disk ----

    def flush(self) -> bool:
        """Commit everything added. False where the disk cannot be written: it then waits for the next flush."""
        with self._disk_lock:
            if not self._in_place():
                return False
            for retried in (False, True):
                with self._memory_lock:
                    commit = self._pending()
                if not commit:
                    break
                try:
                    self._commit(commit)
                    break
                except sqlite3.Error as error:
                    if retried or not self._replace_broken_file(error):
                        self._keep_in_memory(error)
                        return False
            if self.disk_error:
                log.warning("spool: %s can be written again", self._path)
                self.disk_error = ""
            return True

    @property
    def moved(self) -> bool:
        """Whether the file was removed or replaced since it was opened."""
        return spoolfile.file_id(self._path) != self._file

    def _in_place(self) -> bool:
        """Whether our file is where it belongs. One that was removed or replaced is still open here, with all it has: it is
        put back."""
        if self._without_file or not self.moved:
            return True
        try:
            self._db, self._lock_file = spoolfile.put_back(self._db, self._lock_file, self._path, self._clock.wall())
        except (SpoolError, OSError, sqlite3.Error) as error:
            self._keep_in_memory(error)
            return False
        self._file = spoolfile.file_id(self._path)
        log.error(
            "spool: %s was removed or replaced while the agent runs; it was put back, and nothing is lost", self._path
        )
        return True

    def _pending(self) -> Commit:
        return Commit(
            records={lane: tuple(waiting) for lane, waiting in self._records.items()},
            states=dict(self._states),
            parts=dict(self._parts),
            settled=tuple(self._settled),
            blocks=tuple(self._blocks.new),
            declared=dict(self._blocks.changes),
            notes=dict(self._notes),
            last=dict(self._last),
            boot=self._boots.note(),
            at_utc=self._clock.wall(),
            set_aside_bytes=self._limits.size_bytes // 8,
        )

    def _commit(self, commit: Commit) -> None:
        events, readings = (commit.records[lane] for lane in (Lane.EVENTS, Lane.READINGS))
        with spoolfile.transaction(self._db):
            records.write(self._db, commit)
            dropped = self._enforce_limits()
            if events:
                failpoint("agent.event.before-commit")
        if events:
            failpoint("agent.event.committed")
        if readings:
            failpoint("agent.readings.committed")
        if commit.settled:
            failpoint("agent.settled")
        if dropped:
            log.warning("spool: %d sweeps dropped, the oldest: the spool is full, or they were too old", dropped)
        self._forget(commit)

    def _forget(self, commit: Commit) -> None:
        """Remove from memory what is on the disk."""
        kept = {number for (number,) in self._db.execute("SELECT block FROM blocks")} if commit.blocks else None
        with self._memory_lock:
            for lane, written in commit.records.items():
                if written:
                    self._records[lane] = [record for record in self._records[lane] if record.seq > written[-1].seq]
            records.subtract(self._states, commit.states)
            records.subtract(self._parts, commit.parts)
            records.subtract(self._notes, commit.notes)
            del self._settled[: len(commit.settled)]
            self._blocks.written(commit, kept)

    def _enforce_limits(self) -> int:
        """Drop readings beyond the limits. Returns how many frames were dropped."""
        now, limits = self._clock.boot(), self._limits
        excess = records.used_bytes(self._db) - limits.size_bytes
        if excess <= 0 and now - self._aged_at < AGE_CHECK_S:
            return 0
        self._aged_at = now
        return records.drop_oldest(self._db, excess + limits.size_bytes // 16 if excess > 0 else 0, now - limits.age_s)

    def _keep_in_memory(self, error: Exception) -> None:
        """The disk cannot be written: keep all events in memory, and readings up to MEMORY_BYTES."""
        if not self.disk_error:
            log.error(
                "spool: %s cannot be written (%s); everything waits in memory. Make room, or repair the disk",
                self._path, error,
            )  # fmt: skip
        self.disk_error = str(error)
        with self._memory_lock:
            waiting = self._records[Lane.READINGS]
            excess = sum(record.size_bytes for record in waiting) - MEMORY_BYTES
            dropped = records.tombstone(waiting, excess + MEMORY_BYTES // 4) if excess > 0 else None
            if dropped:
                stone, _ = dropped
                self._records[Lane.READINGS] = [stone, *(record for record in waiting if record.seq > stone.seq)]

    def _replace_broken_file(self, error: sqlite3.Error) -> bool:
        """Set a broken file aside and go on with an empty one. Returns whether that succeeded."""
        if not (self._without_file or spoolfile.is_broken(error)) or self._path == spoolfile.MEMORY:
            return False
        with contextlib.suppress(sqlite3.Error):
            self._db.close()  # before another file has its name: closing deletes NAME-wal
        self._without_file = True
        try:
            broken = spoolfile.quarantine(self._path, self._clock.wall())
            self._db = self._open()
        except SpoolError as failure:
            log.error("spool: %s", failure)  # noqa: TRY400 -- a sentence for the operator needs no traceback
            return False
        self._without_file = False
        self._file = spoolfile.file_id(self._path)
        log.error("spool: %s is broken (%s); it is %s now, and an empty spool was made", self._path, error, broken)
        with self._memory_lock:
            self.epoch = spoolfile.get_note(self._db, "epoch") or ""
            self._settled.clear()
            self._began_after = dict(self._through)
            self._blocks.write_again()
            self._notes.pop("epoch", None)
        return True

    def close(self) -> None:
        """Flush, and close the file."""
        with self._disk_lock:
            self.flush()
            self._db.close()
            self._lock_file.close()

    # ---- sending to the collector ----

    def batch(self, lane: Lane, limit_items: int, limit_bytes: int) -> Batch:
        """The oldest items of the lane that are not settled: up to both limits, but a first item that is larger than
        `limit_bytes` is in it nevertheless."""
        with self._disk_lock:
            now, epoch, through = self._clock.boot(), self.epoch, self._through[lane]
            items: list[str] = []
            used: set[int] = set()
            size, more = 0, False
            for record in self._unsettled(lane, through):
                size += record.size_bytes
                if len(items) >= limit_items or (items and size > limit_bytes):
                    more = True
                    break
                items.append(records.push_item(record, now))
                used.add(record.block)
                through = record.seq
            with self._memory_lock:
                blocks = self._blocks.unknown(used)
                settled = self._through[lane] if self._through[lane] > self._began_after[lane] else 0
                return Batch(lane, epoch, tuple(items), through, self._last[lane], blocks, more, settled)

    def _unsettled(self, lane: Lane, after: int) -> Iterator[Record]:
        """The records on the disk; and those in memory while the disk cannot be written."""
        try:
            for record in records.read(self._db, lane, after):
                after = record.seq
                yield record
        except sqlite3.Error as error:
            self._replace_broken_file(error)
        if self.disk_error:
            with self._memory_lock:
                waiting = list(self._records[lane])
            yield from (record for record in waiting if record.seq > after)

    def has_unsettled(self, lane: Lane) -> bool:
        """Whether the collector does not have everything yet."""
        with self._memory_lock:
            return self._through[lane] < self._last[lane]

    def settle(self, batch: Batch, through: int) -> None:
        """The collector has everything up to `through` on its disk, and knows the batch's blocks."""
        with self._memory_lock:
            if batch.epoch == self.epoch:
                self._blocks.mark({block.block: True for block in batch.blocks})
            self._finish(Settled(batch.lane, min(through, batch.last)))

    def set_aside(self, batch: Batch, reason: str) -> None:
        """The collector will never accept this batch: keep it for `agent status`, and go on."""
        with self._memory_lock:
            self._finish(Settled(batch.lane, batch.through, reason or "refused"))

    def _finish(self, settled: Settled) -> None:
        if settled.through <= self._through[settled.lane]:
            return
        self._through[settled.lane] = settled.through
        self._settled.append(settled)
        if self.disk_error:
            waiting = self._records[settled.lane]
            self._records[settled.lane] = [record for record in waiting if record.seq > settled.through]

    def learn_time(self, utc: float) -> None:
        """The collectors' time (UTC seconds) came with an answer: times of an earlier boot are corrected by it. Where the disk
        cannot be written, the next answer does it."""
        with self._disk_lock, contextlib.suppress(sqlite3.Error):
            self._boots.learn(self._db, utc)

    def redeclare(self, blocks: Iterable[int]) -> None:
        """The collector does not know these blocks, or no longer: declare them with the next batch."""
        with self._memory_lock:
            self._blocks.forget_declared(blocks)

    def begin_epoch(self) -> None:
        """Begin a new epoch, because the collector has seqs that this spool never gave out (a restored disk, say)."""
        with self._disk_lock:
            with self._memory_lock:
                self.epoch = self._notes["epoch"] = uuid.uuid4().hex
                self._began_after = dict(self._through)
                self._notes["epoch began after"] = json.dumps(self._began_after)
                self._blocks.forget_declared()
            self.flush()
