"""The journal: a push is answered only after its commit, and one commit serves every push that came meanwhile.

One thread owns it. Each turn takes all waiting pushes, commits them (then answers), applies them and deletes them from
the journal in a second transaction. A push that cannot be applied stays in the journal with its fault; the others go on.
While the store takes nothing, what was committed waits, in its order.
"""

import contextlib
import logging
import math
import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import sqlalchemy as sa
from pydantic_core import from_json

from watchkeeper.collector.intake.sequences import BadPush, Sequences, UnknownBlocks
from watchkeeper.collector.notify.enqueue import Notifiers
from watchkeeper.collector.process.apply import Arrival, apply
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import agent, journal
from watchkeeper.model.batch import Push
from watchkeeper.model.clock import Clock
from watchkeeper.model.errors import StoreError, StoreRefused, WatchkeeperError, WireError
from watchkeeper.model.failpoint import failpoint
from watchkeeper.model.wire import decode_push
from watchkeeper.model.worker import Worker

log = logging.getLogger(__name__)
GROUP_PUSHES = 500
LOOK_S = 1.0
STOP_S = 10.0
_SWEEP_S = 10.0
_FAULT_LIMIT = 1_000


Answer = int | WatchkeeperError
"""The seq through which the lane is on disk; or UnknownBlocks, BadPush, StoreFull, StoreError."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A push, the bytes it came as, and whom to tell (from the journal's thread) how it went."""

    push: Push
    body: bytes
    received_at: float
    answer: Callable[[Answer], None]


@dataclass(slots=True)
class _Written:
    id: int
    arrival: Arrival


class Journal:
    """Takes pushes from any thread."""

    def __init__(self, store: Store, notifiers: Notifiers, clock: Clock, woke: Callable[[], None]) -> None:
        self._store = store
        self._notifiers = notifiers
        self._clock = clock
        self._woke = woke
        self._queue: queue.SimpleQueue[Waiting] = queue.SimpleQueue()
        self._sequences = Sequences(store)
        self._pending: list[_Written] = []  # committed, answered, not applied yet
        self._swept = clock.boot()
        self.faults = 0
        self.worker = Worker("journal", self._next, clock)

    def start(self) -> None:
        """Apply what an earlier life left in the journal, then take pushes."""
        self.recover()
        self.worker.start()

    def stop(self) -> None:
        """Finish what is waiting, then end."""
        self.worker.stop(STOP_S)
        while not self.worker.alive and (group := self._collect()):
            self.turn(group)

    def submit(self, waiting: Waiting) -> None:
        """Queue a push; its `answer` is called once it is on disk, or refused."""
        self._queue.put(waiting)
        self.worker.wake()

    @property
    def waiting(self) -> int:
        """How many pushes wait to be committed, or to be applied."""
        return self._queue.qsize() + len(self._pending)

    def recover(self, until: float = math.inf) -> None:
        """Apply every row from before `until` that an earlier life of ours, or a collector that is no more, left behind."""
        while self._apply_left_behind(until):
            pass

    # ---- one turn ----

    def _next(self) -> float:
        self.turn(self._collect())
        return LOOK_S if self._queue.empty() else 0.0

    def _collect(self) -> list[Waiting]:
        group: list[Waiting] = []
        with contextlib.suppress(queue.Empty):
            while len(group) < GROUP_PUSHES:
                group.append(self._queue.get_nowait())
        return group

    def turn(self, group: Sequence[Waiting]) -> None:
        """Commit the group, answer it, apply it and whatever still waits."""
        if group:
            self._take(group)
        if self._pending:
            self._apply_pending()
        if not self._store.embedded and self._clock.boot() - self._swept >= _SWEEP_S:
            self._swept = self._clock.boot()
            self.recover(self._clock.wall() - _SWEEP_S)

    def _take(self, group: Sequence[Waiting]) -> None:
        try:
            written, answers = self._write(group)
        except Exception as error:  # noqa: BLE001 -- told to whoever pushed
            self._sequences.forget()
            self._refuse(group, error)
            return
        failpoint("collector.journal.committed")
        self._pending += written
        for waiting, answer in zip(group, answers, strict=True):
            waiting.answer(answer)
        failpoint("collector.push.answered")

    def _refuse(self, group: Sequence[Waiting], error: Exception) -> None:
        """Let them come again, where that helps; else find the one to blame."""
        if _may_pass(error):
            for waiting in group:
                waiting.answer(error)
        elif len(group) > 1:
            for waiting in group:
                self._take([waiting])
        else:
            log.error("a push of agent %s cannot be kept", group[0].push.agent, exc_info=error)
            group[0].answer(BadPush(f"cannot be kept here: {error}"))

    def _write(self, group: Sequence[Waiting]) -> tuple[list[_Written], list[Answer]]:
        """One transaction: dedupe, remember lanes and blocks, insert. A push that is refused does not stop the others."""
        answers: list[Answer] = []
        written: list[Arrival] = []
        bodies: list[dict[str, Any]] = []
        with self._store.write() as connection:
            self._sequences.open(connection, [waiting.push for waiting in group])
            for waiting in group:
                try:
                    after, through = self._sequences.take(waiting.push, waiting.received_at)
                except (BadPush, UnknownBlocks) as refusal:
                    answers.append(refusal)
                    continue
                answers.append(through)
                if through > after:
                    written.append(Arrival(waiting.push, waiting.received_at, after))
                    bodies.append(_row(waiting, after))
            self._sequences.close(connection)
            ids = self._insert(connection, bodies)
            failpoint("collector.journal.before-commit")
        return [_Written(number, arrival) for number, arrival in zip(ids, written, strict=True)], answers

    def _insert(self, connection: sa.Connection, bodies: Sequence[dict[str, Any]]) -> Sequence[int]:
        if not bodies:
            return []
        if self._store.embedded:
            # Nobody else writes meanwhile: the numbers follow one another (sqlite.org/autoinc.html).
            self._store.write_many(connection, journal, bodies)
            last = int(connection.execute(sa.select(sa.func.max(journal.c.id))).scalar_one())
            return range(last - len(bodies) + 1, last + 1)
        numbered = sa.insert(journal).returning(journal.c.id, sort_by_parameter_order=True)
        return [row.id for row in connection.execute(numbered, bodies)]

    # ---- applying ----

    def _apply_pending(self) -> None:
        try:
            while self._pending:
                self._apply(self._pending[:GROUP_PUSHES])
                del self._pending[:GROUP_PUSHES]
        except StoreError as error:
            log.warning("%d journalled pushes wait to be applied: %s", len(self._pending), error)

    def _apply(self, group: Sequence[_Written]) -> None:
        try:
            with self._store.write() as connection:
                self._apply_in(connection, self._with_earlier(connection, group))
        except Exception as error:
            if _may_pass(error):
                raise
            with self._store.write() as connection:
                group = self._with_earlier(connection, group)
            for one in group:
                self._apply_alone(one)
        failpoint("collector.apply.committed")
        self._woke()

    def _apply_alone(self, one: _Written) -> None:
        """Whatever is wrong with one push must not stop the others."""
        try:
            with self._store.write() as connection:
                self._apply_in(connection, [one])
        except Exception as error:
            if _may_pass(error):
                raise
            log.exception(
                "push %d of agent %s cannot be applied; it stays in the journal", one.id, one.arrival.push.agent
            )
            with self._store.write() as connection:
                self._set_aside(connection, one.id, error)

    def _apply_in(self, connection: sa.Connection, group: Sequence[_Written]) -> None:
        for one in group:
            self._sequences.learn(connection, one.arrival.push)
        mine = _claim(connection, [one.id for one in group])
        arrivals = [one.arrival for one in group if one.id in mine]
        apply(connection, self._notifiers.notifier(), arrivals, self._sequences.blocks, self._clock.wall())
        failpoint("collector.apply.before-commit")

    def _with_earlier(self, connection: sa.Connection, group: Sequence[_Written]) -> Sequence[_Written]:
        """With several collectors: also what another one journalled before for the same agents and has not applied, so
        that an agent's events are applied in their order. Locks these agents until the transaction ends."""
        if self._store.embedded:
            return group
        agents = sorted({one.arrival.push.agent for one in group})
        held = sa.select(agent.c.agent).where(agent.c.agent.in_(agents)).order_by(agent.c.agent)
        connection.execute(held.with_for_update())
        ours = [one.id for one in group]
        query = sa.select(journal).where(
            journal.c.agent.in_(agents), journal.c.id < max(ours), journal.c.fault.is_(None)
        )
        earlier = self._read(connection, query.where(journal.c.id.not_in(ours)))
        return sorted((*earlier, *group), key=lambda one: one.id)

    def _set_aside(self, connection: sa.Connection, number: int, error: Exception) -> None:
        self.faults += 1
        fault = f"{type(error).__name__}: {error}"[:_FAULT_LIMIT].replace("\0", "")
        connection.execute(sa.update(journal).where(journal.c.id == number), {"fault": fault})

    def _read(self, connection: sa.Connection, query: "sa.Select[Any]") -> list[_Written]:
        found = []
        for row in connection.execute(query).all():
            try:
                push = decode_push(from_json(row.body), row.received_at)
            except (ValueError, WireError) as error:  # of another version, say
                log.error("push %d of agent %s cannot be read any more; it stays in the journal", row.id, row.agent)  # noqa: TRY400 -- its fault is in its row
                self._set_aside(connection, row.id, error)
            else:
                found.append(_Written(row.id, Arrival(push, row.received_at, row.after_seq)))
        return found

    def _apply_left_behind(self, until: float) -> bool:
        query = sa.select(journal).where(journal.c.fault.is_(None), journal.c.received_at <= until)
        with self._store.read() as connection:
            if connection.execute(query.limit(1)).first() is None:
                return False
        with self._store.write() as connection:
            found = self._read(connection, query.order_by(journal.c.id).limit(GROUP_PUSHES))
        log.info("applying %d pushes that an earlier life, or another collector, left in the journal", len(found))
        if found:
            self._apply(found)
        return True


def _may_pass(error: Exception) -> TypeGuard[StoreError]:
    """Whether trying again, as it is, may help."""
    return isinstance(error, StoreError) and not isinstance(error, StoreRefused)


def _row(waiting: Waiting, after: int) -> dict[str, Any]:
    return {
        "agent": waiting.push.agent, "received_at": waiting.received_at, "after_seq": after, "body": waiting.body,
        "fault": None,
    }  # fmt: skip


def _claim(connection: sa.Connection, ids: Sequence[int]) -> set[int]:
    """Delete journal rows; those that were still there are ours to apply."""
    return set(connection.execute(sa.delete(journal).where(journal.c.id.in_(ids)).returning(journal.c.id)).scalars())
