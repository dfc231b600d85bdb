"""The journal: a push is answered only after its commit, and one commit serves every push that came meanwhile.

One thread owns it. Each turn takes all waiting pushes, commits them (then answers), applies them and deletes them from
the journal in a second transaction. A push that cannot be applied stays in the journal with its fault; the others go on.
"""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa
from pydantic_core import from_json

from collector.apply import Arrival, apply
from collector.lanes import BadPush, Lanes, UnknownBlocks
from collector.notices import Desk
from collector.store.engine import Store
from collector.store.schema import agent, journal
from model.batch import Push
from model.clock import Clock
from model.errors import StoreError, WatchkeeperError
from model.failpoint import failpoint
from model.wire import decode_push

log = logging.getLogger(__name__)
_GROUP = 500


class Desks(Protocol):
    """Gives the desk with the orders in force."""

    def desk(self) -> Desk:
        """The desk of this moment."""


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

    def __init__(self, store: Store, desks: Desks, clock: Clock, woke: Callable[[], None]) -> None:
        self._store = store
        self._desks = desks
        self._clock = clock
        self._woke = woke
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._lanes = Lanes(store)
        self._owed: list[_Written] = []  # committed, answered, not applied yet
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self.faults = 0
        self.beat = clock.boot()

    def start(self) -> None:
        """Apply what an earlier life left in the journal, then take pushes."""
        self.recover()
        self._thread.start()

    def stop(self) -> None:
        """Finish what is waiting, then end."""
        self._queue.put(None)
        self._thread.join(timeout=10)

    def submit(self, waiting: Waiting) -> None:
        """Queue a push; its `answer` is called once it is on disk, or refused."""
        self._queue.put(waiting)

    @property
    def waiting(self) -> int:
        """How many pushes wait for the next commit."""
        return self._queue.qsize()

    def recover(self) -> None:
        """Apply every row that a crash left behind."""
        while self._apply_left_behind():
            pass

    # ---- one turn ----

    def _run(self) -> None:
        while (group := self._collect()) is not None:
            try:
                self.turn(group)
            except Exception:
                log.exception("the journal's turn failed; the pushes were refused and will come again")
            self.beat = self._clock.boot()

    def _collect(self) -> list[Waiting] | None:
        try:
            first = self._queue.get(timeout=1.0)
        except queue.Empty:
            return []
        group: list[Waiting] = []
        while first is not None:
            group.append(first)
            if len(group) >= _GROUP:
                break
            try:
                first = self._queue.get_nowait()
            except queue.Empty:
                return group
        if first is None:
            if not group:
                return None
            self._queue.put(None)
        return group

    def turn(self, group: Sequence[Waiting]) -> None:
        """Commit the group, answer it, apply it and whatever is still owed."""
        if group:
            self._take(group)
        if self._owed:
            self._pay()

    def _take(self, group: Sequence[Waiting]) -> None:
        try:
            written, answers = self._write(group)
        except WatchkeeperError as error:
            self._refuse(group, error)
            return
        except Exception as error:
            self._refuse(group, StoreError(f"the journal failed: {error}"))
            raise
        failpoint("collector.journal.committed")
        for waiting, answer in zip(group, answers, strict=True):
            waiting.answer(answer)
        failpoint("collector.push.answered")
        self._owed += written

    def _refuse(self, group: Sequence[Waiting], error: WatchkeeperError) -> None:
        self._lanes.forget()
        for waiting in group:
            waiting.answer(error)

    def _write(self, group: Sequence[Waiting]) -> tuple[list[_Written], list[Answer]]:
        """One transaction: dedupe, remember lanes and blocks, insert. A push that is refused does not stop the others."""
        answers: list[Answer] = []
        written: list[Arrival] = []
        bodies: list[dict[str, Any]] = []
        with self._store.write() as connection:
            self._lanes.open(connection, [waiting.push for waiting in group])
            for waiting in group:
                try:
                    after, through = self._lanes.take(waiting.push, waiting.received_at)
                except (BadPush, UnknownBlocks) as refusal:
                    answers.append(refusal)
                    continue
                answers.append(through)
                if through > after:
                    written.append(Arrival(waiting.push, waiting.received_at, after))
                    bodies.append(_row(waiting, after))
            self._lanes.close(connection)
            ids = self._insert(connection, bodies)
            failpoint("collector.journal.before-commit")
        return [_Written(number, arrival) for number, arrival in zip(ids, written, strict=True)], answers

    def _insert(self, connection: sa.Connection, bodies: Sequence[dict[str, Any]]) -> Sequence[int]:
        if not bodies:
            return []
        if self._store.embedded:  # nobody else writes meanwhile: the numbers follow one another (sqlite.org/autoinc.html)
            connection.execute(sa.insert(journal), bodies)
            last = int(connection.execute(sa.select(sa.func.max(journal.c.id))).scalar_one())
            return range(last - len(bodies) + 1, last + 1)
        numbered = sa.insert(journal).returning(journal.c.id, sort_by_parameter_order=True)
        return [row.id for row in connection.execute(numbered, bodies)]

    # ---- applying ----

    def _pay(self) -> None:
        owed, self._owed = self._owed, []
        try:
            self._apply(owed)
        except StoreError as error:
            self._owed = owed + self._owed
            log.warning("journalled pushes wait to be applied: %s", error)

    def _apply(self, group: Sequence[_Written]) -> None:
        try:
            self._apply_once(group)
        except StoreError:
            raise
        except Exception:  # noqa: BLE001 -- whatever is wrong with one push must not stop the others
            if len(group) > 1:
                for one in group:
                    self._apply([one])
            else:
                self._set_aside(group[0])

    def _apply_once(self, group: Sequence[_Written]) -> None:
        with self._store.write() as connection:
            group = (*self._earlier(connection, group), *group)
            mine = _claim(connection, [one.id for one in group])
            arrivals = [one.arrival for one in group if one.id in mine]
            apply(connection, self._desks.desk(), arrivals, self._lanes.blocks, self._clock.wall())
            failpoint("collector.apply.before-commit")
        failpoint("collector.apply.committed")
        self._woke()

    def _earlier(self, connection: sa.Connection, group: Sequence[_Written]) -> list[_Written]:
        """With several collectors: what another one journalled before for the same agents and has not applied, so that
        an agent's events are applied in their order. Locks these agents until our transaction ends."""
        if self._store.embedded:
            return []
        agents = sorted({one.arrival.push.agent for one in group})
        held = sa.select(agent.c.agent).where(agent.c.agent.in_(agents)).order_by(agent.c.agent)
        connection.execute(held.with_for_update())
        ours = [one.id for one in group]
        query = sa.select(journal).where(
            journal.c.agent.in_(agents), journal.c.id < max(ours), journal.c.fault.is_(None)
        )
        return self._read(connection, query.where(journal.c.id.not_in(ours)).order_by(journal.c.id))

    def _set_aside(self, one: _Written) -> None:
        log.exception("push %d of agent %s cannot be applied; it stays in the journal", one.id, one.arrival.push.agent)  # noqa: LOG004 -- called while handling
        self.faults += 1
        with self._store.write() as connection:
            connection.execute(sa.update(journal).where(journal.c.id == one.id), {"fault": "see the collector's log"})

    def _read(self, connection: sa.Connection, query: "sa.Select[Any]") -> list[_Written]:
        found = []
        for row in connection.execute(query):
            push = decode_push(from_json(row.body), row.received_at)
            self._lanes.know(connection, {(push.agent, push.epoch)})
            found.append(_Written(row.id, Arrival(push, row.received_at, row.after_seq)))
        return found

    def _apply_left_behind(self) -> bool:
        with self._store.read() as connection:
            query = sa.select(journal).where(journal.c.fault.is_(None)).order_by(journal.c.id).limit(_GROUP)
            found = self._read(connection, query)
        if found:
            log.info("applying %d pushes that an earlier life left in the journal", len(found))
            self._apply(found)
        return len(found) == _GROUP


def _row(waiting: Waiting, after: int) -> dict[str, Any]:
    return {
        "agent": waiting.push.agent, "received_at": waiting.received_at, "after_seq": after, "body": waiting.body,
        "fault": None,
    }  # fmt: skip


def _claim(connection: sa.Connection, ids: Sequence[int]) -> set[int]:
    """Delete journal rows; those that were still there are ours to apply."""
    return set(connection.execute(sa.delete(journal).where(journal.c.id.in_(ids)).returning(journal.c.id)).scalars())
