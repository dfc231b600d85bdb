"""The journal: a push is answered only after its commit, and one commit serves all pushes that are waiting.

One thread does this. Each turn commits all waiting pushes, answers them, and then applies them and deletes them from the
journal in a second transaction. While the store does not work, committed pushes wait in their order. A push that alone cannot
be applied is tried again for some seconds, while later pushes of its agent wait. Then it is set aside in the journal with its
fault, and tried again after each restart, and when a person asks for it (`process/upkeep/set_aside.py`).
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from pydantic_core import from_json

from watchkeeper.collector.intake.processes.sessions import Sessions, TwinAgent
from watchkeeper.collector.intake.processes.standing import StandingRequests
from watchkeeper.collector.intake.sequences import BadPush, Sequences, StaleEpoch, TooManyDeclared, UnknownBlocks
from watchkeeper.collector.intake.turns import Answer, Turns, Waiting
from watchkeeper.collector.notify.enqueue import Notifiers
from watchkeeper.collector.process.apply import Arrival, apply, apply_late
from watchkeeper.collector.process.upkeep import set_aside
from watchkeeper.collector.store.connections.errors import is_refused_data, may_pass
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import agent, journal
from watchkeeper.model.clock import Clock
from watchkeeper.model.errors import StoreError, WireError
from watchkeeper.model.failpoint import failpoint
from watchkeeper.model.wire import decode_push
from watchkeeper.model.worker import Worker

log = logging.getLogger(__name__)

GROUP_PUSHES, GROUP_BYTES = 500, 2_000_000
"""How much one commit takes at most; a larger push has a commit of its own."""

RETRY_APPLY_S = 1.0
"""How often pushes that could not be applied are tried again."""

APPLY_TRIES = 3
"""How often a push is tried that fails for a reason of its own. Meanwhile later pushes of its agent wait."""

AGAIN_EVERY_S = 5.0
"""How often the journal looks for pushes that a person wants to be applied again."""

JOURNAL_STOP_S = 10.0

ADOPT_AFTER_S = 10.0
"""With several collectors: a push that another one journalled so long ago and has not applied is applied here."""


@dataclass(slots=True)
class _Written:
    id: int
    arrival: Arrival
    tries: int = 0
    not_before: float = 0.0  # boot clock

    @property
    def agent(self) -> str:
        return self.arrival.push.agent


class Journal:
    """Takes pushes from any thread. `applied` is called after a group was applied."""

    def __init__(self, store: Store, notifiers: Notifiers, clock: Clock, applied: Callable[[], None]) -> None:
        self._store = store
        self._notifiers = notifiers
        self._clock = clock
        self._applied = applied
        self._queue: Turns[Waiting] = Turns()
        self._sequences = Sequences(store)
        self._sessions = Sessions(store, self._interval_s)
        self.standing = StandingRequests(store)
        self._pending: list[_Written] = []  # committed, answered, not applied yet
        self._group = GROUP_PUSHES  # smaller while groups fail: a large one may take too long for the store
        self._adopted_at = self._again_at = clock.boot()
        self.faults = 0
        self.worker = Worker("journal", self._next, clock)

    def start(self) -> None:
        """Apply what an earlier run left in the journal, try again what it has set aside, then take pushes."""
        self.recover()
        self.try_again(set_aside.IS_SET_ASIDE)
        self.worker.start()

    def stop(self) -> None:
        """Commit and apply what is waiting, then end."""
        self.worker.stop(JOURNAL_STOP_S)
        while not self.worker.alive and (group := self._collect()):
            self.turn(group)

    def submit(self, waiting: Waiting) -> None:
        """Queue a push; its `answer` is called once it is on disk, or refused."""
        self._queue.put(waiting.push.agent, waiting)
        self.worker.wake()

    @property
    def waiting(self) -> int:
        """How many pushes wait to be committed, or to be applied."""
        return len(self._queue) + len(self._pending)

    def recover(self, until: float = math.inf) -> None:
        """Apply every row older than `until` (UTC seconds) that an earlier run, or a collector that has stopped, left."""
        while self._apply_left_behind(until):
            pass

    # ---- one turn ----

    def _next(self) -> float:
        self.turn(self._collect())
        return 0.0 if self._queue else RETRY_APPLY_S

    def _collect(self) -> list[Waiting]:
        """What the next commit takes: one push of each agent in turn."""
        group: list[Waiting] = []
        size = 0
        while len(group) < GROUP_PUSHES and size < GROUP_BYTES and (waiting := self._queue.next()) is not None:
            group.append(waiting)
            size += len(waiting.body)
        return group

    def turn(self, group: Sequence[Waiting]) -> None:
        """Commit and answer a group, then apply it and everything committed before."""
        self._sequences.refresh(self._clock.boot())
        if group:
            self._take(group)
        self.worker.beat()  # each step may wait for a database that does not answer
        if self._pending:
            self._apply_pending()
            self.worker.beat()
        now = self._clock.boot()
        if not self._store.embedded and now - self._adopted_at >= ADOPT_AFTER_S:
            self._adopted_at = now
            self.recover(self._clock.wall() - ADOPT_AFTER_S)
        if now - self._again_at >= AGAIN_EVERY_S:
            self._again_at = now
            self.try_again(journal.c.again)

    def _take(self, group: Sequence[Waiting]) -> None:
        try:
            written, answers = self._write(group)
        except Exception as error:  # noqa: BLE001 -- the agents get the error as their answer
            for part in (self._sequences, self._sessions, self.standing):
                part.forget()
            self._refuse(group, error)
            return
        failpoint("collector.journal.committed")
        self._pending += written
        for waiting, answer in zip(group, answers, strict=True):
            waiting.answer(answer)
        failpoint("collector.push.answered")

    def _refuse(self, group: Sequence[Waiting], error: Exception) -> None:
        """Ask the agents to send again: mostly it is the store that does not work. Only a push whose data no store takes is refused
        for ever; it is found by taking the pushes one by one."""
        if not may_pass(error) and len(group) > 1:
            for waiting in group:
                self._take([waiting])
            return
        answer: Answer
        if may_pass(error):
            answer = error
        else:
            log.error("a push of agent %s cannot be journalled", group[0].push.agent, exc_info=error)
            bad = BadPush(f"bad request: the push cannot be journalled: {error}")
            answer = bad if is_refused_data(error) else StoreError("the push cannot be journalled now")
        for waiting in group:
            waiting.answer(answer)

    def _write(self, group: Sequence[Waiting]) -> tuple[list[_Written], list[Answer]]:
        """In one transaction: drop replays, keep lanes and blocks, insert. A refused push does not stop the others."""
        answers: list[Answer] = []
        written: list[Arrival] = []
        bodies: list[dict[str, Any]] = []
        with self._store.write() as connection:
            for part in (self._sequences, self._sessions):
                part.open(connection, [waiting.push for waiting in group])
            self.standing.open(connection, self._clock.wall())
            for waiting in group:
                try:
                    session = self._sessions.admit(waiting.push, waiting.address, waiting.received_at)
                    after, through = self._sequences.take(waiting.push, waiting.received_at)
                except (BadPush, TooManyDeclared, UnknownBlocks, TwinAgent, StaleEpoch) as refusal:
                    answers.append(refusal)
                    continue
                self._sessions.accept(waiting.push.agent, session, waiting.received_at)
                self.standing.look(waiting.push, after)
                answers.append(through)
                if through > after:
                    written.append(Arrival(waiting.push, waiting.received_at, after))
                    bodies.append(_row(waiting, after))
            self._sequences.close(connection)
            self._sessions.close(connection)
            self.standing.close(connection, self._clock.wall())
            ids = self._insert(connection, bodies)
            failpoint("collector.journal.before-commit")
        return [_Written(number, arrival) for number, arrival in zip(ids, written, strict=True)], answers

    def _interval_s(self, name: str) -> float:
        known = self._notifiers.notifier().snapshot.agents.get(name)
        return known.interval_s if known else 0.0

    def _insert(self, connection: sa.Connection, bodies: Sequence[dict[str, Any]]) -> Sequence[int]:
        if not bodies:
            return []
        if self._store.embedded:
            # We are the only writer, so the numbers are consecutive (sqlite.org/autoinc.html).
            self._store.write_many(connection, journal, bodies)
            last = int(connection.execute(sa.select(sa.func.max(journal.c.id))).scalar_one())
            return range(last - len(bodies) + 1, last + 1)
        numbered = sa.insert(journal).returning(journal.c.id, sort_by_parameter_order=True)
        return [row.id for row in connection.execute(numbered, bodies)]

    # ---- applying ----

    def _apply_pending(self) -> bool:
        """Apply what is committed, in its order. Returns whether the store worked. A push that fails alone keeps its place, and the
        later pushes of its agent wait behind it."""
        stuck: list[_Written] = []
        try:
            while self._pending:
                group = self._pending[: self._group]
                ready = self._ready(group, stuck)
                stuck += self._apply(ready)
                del self._pending[: len(group)]
        except StoreError as error:
            self._group = max(1, self._group // 2)
            log.warning("%d journalled pushes wait to be applied: %s", len(self._pending) + len(stuck), error)
            return False
        else:
            self._group = GROUP_PUSHES
            return True
        finally:
            self._pending = sorted((*stuck, *self._pending), key=lambda one: one.id)

    def _ready(self, group: Sequence[_Written], stuck: list[_Written]) -> list[_Written]:
        """The pushes of a group that may be applied now. The others join the `stuck` ones."""
        waits, ready = {one.agent for one in stuck}, []
        for one in group:
            if one.agent in waits or one.not_before > self._clock.boot():
                waits.add(one.agent)
                stuck.append(one)
            else:
                ready.append(one)
        return ready

    def _apply(self, group: Sequence[_Written]) -> list[_Written]:
        """Apply a group. Returns the pushes that must be tried again, and those that wait behind them."""
        if not group:
            return []
        stuck: list[_Written] = []
        try:
            with self._store.write() as connection:
                self._apply_in(connection, self._with_earlier(connection, group))
        except Exception as error:
            if may_pass(error):
                raise
            with self._store.write() as connection:
                group = self._with_earlier(connection, group)
            for one in group:
                if one.agent in {other.agent for other in stuck} or not self._apply_alone(one):
                    stuck.append(one)
        failpoint("collector.apply.committed")
        self._applied()
        return stuck

    def _apply_alone(self, one: _Written) -> bool:
        """Apply one push, or set it aside after its last try. False: it must be tried again."""
        try:
            with self._store.write() as connection:
                self._apply_in(connection, [one])
        except Exception as error:
            if may_pass(error):
                raise
            one.tries += 1
            log.exception("push %d of agent %s cannot be applied", one.id, one.agent)
            one.not_before = self._clock.boot() + RETRY_APPLY_S
            if one.tries < APPLY_TRIES:
                return False
            log.error("push %d of agent %s is set aside in the journal", one.id, one.agent)  # noqa: TRY400 -- logged above
            with self._store.write() as connection:
                self._set_aside(connection, one.id, error)
        return True

    def _apply_in(self, connection: sa.Connection, group: Sequence[_Written]) -> None:
        for one in group:
            self._sequences.learn(connection, one.arrival.push)
        mine = _claim(connection, [one.id for one in group])
        arrivals = [one.arrival for one in group if one.id in mine]
        apply(connection, self._notifiers.current(connection), arrivals, self._sequences.blocks, self._clock.wall())
        failpoint("collector.apply.before-commit")

    def _with_earlier(self, connection: sa.Connection, group: Sequence[_Written]) -> Sequence[_Written]:
        """With several collectors: add the pushes of the same agents that another collector journalled earlier and has not
        applied, so that the events of an agent are applied in their order. Locks these agents until the transaction ends."""
        if self._store.embedded:
            return group
        agents = sorted({one.arrival.push.agent for one in group})
        held = sa.select(agent.c.agent).where(agent.c.agent.in_(agents)).order_by(agent.c.agent)
        connection.execute(held.with_for_update())
        ours = [one.id for one in group]
        query = sa.select(journal).where(journal.c.agent.in_(agents), journal.c.id < max(ours), set_aside.WAITS)
        earlier = self._read(connection, query.where(journal.c.id.not_in(ours)))
        return sorted((*earlier, *group), key=lambda one: one.id)

    def _set_aside(self, connection: sa.Connection, number: int, error: Exception) -> None:
        self.faults += 1
        set_aside.mark(connection, number, error)

    def _read(self, connection: sa.Connection, query: "sa.Select[Any]") -> list[_Written]:
        found = []
        for row in connection.execute(query).all():
            try:
                push = decode_push(from_json(row.body), row.received_at)
            except (ValueError, WireError) as error:  # written by another version, for instance
                log.error("push %d of agent %s cannot be decoded; it stays in the journal", row.id, row.agent)  # noqa: TRY400 -- its fault is in its row
                self._set_aside(connection, row.id, error)
            else:
                found.append(_Written(row.id, Arrival(push, row.received_at, row.after_seq)))
        return found

    def _apply_left_behind(self, until: float) -> bool:
        ours = [one.id for one in self._pending]
        query = sa.select(journal).where(set_aside.WAITS, journal.c.received_at <= until, journal.c.id.not_in(ours))
        with self._store.read() as connection:
            if connection.execute(query.limit(1)).first() is None:
                return False
        with self._store.write() as connection:
            found = self._read(connection, query.order_by(journal.c.id).limit(GROUP_PUSHES))
        log.info("applying %d pushes that an earlier run or another collector left in the journal", len(found))
        self._pending = sorted((*self._pending, *found), key=lambda one: one.id)
        return self._apply_pending()

    # ---- what was set aside ----

    def try_again(self, which: "sa.ColumnElement[bool]") -> None:
        """Apply pushes that were set aside: the program may have been corrected. One that fails is set aside again."""
        query = sa.select(journal.c.id).where(set_aside.IS_SET_ASIDE, which).order_by(journal.c.id)
        try:
            with self._store.read() as connection:
                numbers = connection.execute(query).scalars().all()
            for number in numbers:
                self._try_again(number)
        except StoreError as error:
            log.warning("pushes that are set aside wait to be tried again: %s", error)

    def _try_again(self, number: int) -> None:
        with self._store.write() as connection:
            found = self._read(connection, sa.select(journal).where(journal.c.id == number))
        for one in found:
            try:
                with self._store.write() as connection:
                    self._apply_late(connection, one)
            except Exception as error:
                if may_pass(error):
                    raise
                log.exception("push %d of agent %s cannot be applied; it stays set aside", one.id, one.agent)
                with self._store.write() as connection:
                    self._set_aside(connection, one.id, error)
            else:
                log.info("push %d of agent %s, which was set aside, is applied", one.id, one.agent)
                self._applied()

    def _apply_late(self, connection: sa.Connection, one: _Written) -> None:
        """Apply a push that was set aside. If its agent has told something newer meanwhile, it changes only the past."""
        push = one.arrival.push
        newest = self._sequences.newest(connection, push)
        self._sequences.learn(connection, push)
        if not _claim(connection, [one.id]):
            return
        run = apply if newest else apply_late
        run(connection, self._notifiers.notifier(), [one.arrival], self._sequences.blocks, self._clock.wall())


def _row(waiting: Waiting, after: int) -> dict[str, Any]:
    return {
        "agent": waiting.push.agent, "received_at": waiting.received_at, "after_seq": after, "body": waiting.body,
        "fault": None,
    }  # fmt: skip


def _claim(connection: sa.Connection, ids: Sequence[int]) -> set[int]:
    """Delete journal rows. Returns those that were still there: nobody else has applied them."""
    return set(connection.execute(sa.delete(journal).where(journal.c.id.in_(ids)).returning(journal.c.id)).scalars())
