"""The collector itself fails: a thread hangs, its store is gone, a peer is killed. Somebody must be told, once, and of the end too."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import sqlalchemy as sa

from tests.chaos.outcome import Attack, Outcome
from tests.chaos.watched import PairOnPostgres
from tests.collector_room import browser
from tests.story.world import World
from watchkeeper.channels.ports import Receipt
from watchkeeper.collector.intake.endpoint import AgentEndpoint
from watchkeeper.collector.intake.requests import Requests
from watchkeeper.collector.process.health.emergency import QUIET_S, SAY_AFTER_S, Emergency
from watchkeeper.collector.process.health.health import JOURNAL, OUTBOX, REQUESTS, STALE_AFTER_S, TURN, WRITE
from watchkeeper.collector.process.health.heartbeat import Heartbeat, Ping
from watchkeeper.collector.process.own.rules import OwnRules
from watchkeeper.collector.read.exposition import Metrics
from watchkeeper.collector.store.peers import CollectorIdentity, enter
from watchkeeper.collector.ticker import Ticker
from watchkeeper.collector.web.app import build_app
from watchkeeper.model.worker import Worker

_REAL_LIMIT_S = 30.0


class _NoFiles:
    """A configuration that never changes."""

    def refresh(self, _runtime: object) -> None:
        """Do nothing."""


class Rig:
    """A collector whose threads are real and whose clock is not: each second, every thread that does not hang has its turn."""

    def __init__(self, folder: Path) -> None:
        self.world = world = World(f"sqlite:///{folder}/store.db")
        runtime, health, self.clock = world.runtime, world.runtime.health, world.clock
        runtime.identity = CollectorIdentity("alpha")
        enter(world.store, runtime.identity, "1", self.clock.wall())
        requests = Requests(world.store, self.clock)
        self.ticker = Ticker(runtime, _NoFiles(), OwnRules(runtime, (world.disk,)), requests, world.outbox)  # type: ignore[arg-type]
        ingest = AgentEndpoint(runtime, world.journal, requests, lambda: False)
        self.web: httpx.Client = browser(build_app(runtime, ingest, Metrics(runtime, world.journal, ingest), ["x"]))
        self.workers = {TURN: self.ticker.worker, OUTBOX: world.outbox.worker, JOURNAL: world.journal.worker}
        for work in (WRITE, TURN, REQUESTS):
            health.expect(work)
        health.expect(OUTBOX, lambda: world.outbox.worker.done_at)
        health.expect(JOURNAL, lambda: world.journal.worker.done_at)
        self.emergency = Emergency(health, self.clock, world._open, "alpha", lambda: runtime.snapshot)
        self.pings: list[str] = []
        self.heartbeat = Heartbeat("https://hc.example/x", 60.0, health, self.clock, self._take)
        self.hung: set[str] = set()
        for worker in self.workers.values():
            worker.start()

    def _take(self, ping: Ping) -> Receipt:
        self.pings.append(ping.url.rpartition("/")[2])
        return Receipt(delivered=True, detail="")

    def pass_time(self, seconds: int) -> None:
        """Let seconds pass, one by one."""
        for _ in range(seconds):
            self.clock.advance(1)
            if REQUESTS not in self.hung:
                self.world.runtime.health.done(REQUESTS)
            for work, worker in self.workers.items():
                if work not in self.hung:
                    self._turn(worker)
            self.emergency.look()
            self.heartbeat.step()

    def _turn(self, worker: Worker) -> None:
        pause = threading.Event()
        for _ in range(int(_REAL_LIMIT_S * 1000)):
            if worker.beat_at >= self.clock.boot():
                return
            worker.wake()
            pause.wait(0.001)
        raise AssertionError("a thread has no turn")

    @contextmanager
    def hanging(self, work: str) -> Iterator[None]:
        """The thread that does this work hangs."""
        self.hung.add(work)
        over = threading.Event()
        if worker := self.workers.get(work):
            turn, entered = worker._turn, threading.Event()

            def hang() -> float:
                entered.set()
                over.wait(_REAL_LIMIT_S)
                return turn()

            worker._turn = hang
            worker.wake()
            assert entered.wait(_REAL_LIMIT_S)
        try:
            yield
        finally:
            over.set()
            self.hung.discard(work)
            if worker:
                worker._turn = turn

    @contextmanager
    def without_store(self) -> Iterator[None]:
        """The database refuses every connection."""

        def refuse(*_: object, **__: object) -> Any:
            raise sa.exc.OperationalError("connect", None, Exception("the database is away"))

        with mock.patch.object(self.world.store.engine, "connect", refuse):
            yield

    def healthz(self) -> str:
        """The reasons; empty if it is well."""
        answer = self.web.get("/healthz")
        return "" if answer.status_code == httpx.codes.OK else answer.text

    def told(self) -> Counter[str]:
        """How often which kind of message was received since the last call."""
        kinds = Counter(one.kind for one in self.world.told)
        self.world.told.clear()
        return kinds

    def calm(self) -> None:
        """Work, until another outage may be told again."""
        self.clock.advance(QUIET_S)
        self.pass_time(70)
        self.told()
        self.pings.clear()

    def close(self) -> None:
        """Stop the threads."""
        for worker in self.workers.values():
            worker.stop(_REAL_LIMIT_S)
        self.web.close()
        self.world.close()


_SAYS = {
    WRITE: "nothing was written", TURN: "no escalation", OUTBOX: "the outbox", JOURNAL: "the journal", REQUESTS: "the web server",
}  # fmt: skip


_LASTS_S = (20, 40, 70, 200)
Broken = tuple[str, int, AbstractContextManager[None]]
"""The work that is not done, for how many seconds, and the context in which it is not."""


class _Count:
    """What the rounds gave."""

    def __init__(self, most: int = 1) -> None:
        self._most = most  # messages of a kind that are wanted
        self.survived = self.hidden = self.doubled = self.paged_for_nothing = 0

    def add(self, told: Counter[str], wanted: Sequence[str], *, seen: bool) -> None:
        """One round: `told` are the messages, `wanted` those that must have come once, `seen` whether /healthz and the heartbeat
        told it."""
        hidden = sum(kind not in told for kind in wanted) + (not seen)
        doubled = sum(told[kind] > self._most for kind in wanted)
        for_nothing = sum(count for kind, count in told.items() if kind not in wanted)
        self.hidden += hidden
        self.doubled += doubled
        self.paged_for_nothing += for_nothing
        self.survived += not (hidden or doubled or for_nothing)

    def outcome(self, rounds: int, note: str) -> Outcome:
        """The row."""
        return Outcome(rounds, self.survived, 0, self.doubled, self.paged_for_nothing, self.hidden, note)


def _rounds(rounds: int, folder: Path, attack: Callable[[Rig], Broken]) -> Outcome:
    """Run rounds. `attack` gives a context in which the rig is broken: the kind of work that is not done then, and for how long."""
    folder.mkdir(parents=True, exist_ok=True)
    rig, count = Rig(folder), _Count()
    done: Counter[str] = Counter()
    try:
        for _ in range(rounds):
            rig.calm()
            work, lasts_s, broken = attack(rig)
            done[work] += 1
            with broken:
                rig.pass_time(lasts_s)
                said, pings = rig.healthz(), rig.pings[:]
            rig.pass_time(100)
            lapsed, told = lasts_s > STALE_AFTER_S, lasts_s > STALE_AFTER_S + SAY_AFTER_S + 2
            seen = (_SAYS[work] in said) is lapsed and ("fail" in pings) is lapsed and not rig.healthz()
            count.add(rig.told(), ("emergency", "recovered") if told else (), seen=seen)
    finally:
        rig.close()
    return count.outcome(rounds, ", ".join(f"{work} {times}" for work, times in sorted(done.items())))


def _hang(rounds: int, seed: int, folder: Path) -> Outcome:
    chance = random.Random(seed)  # noqa: S311 -- must be repeatable, and is no secret

    def attack(rig: Rig) -> Broken:
        work = chance.choice((TURN, OUTBOX, JOURNAL, REQUESTS))
        return work, chance.choice(_LASTS_S), rig.hanging(work)

    return _rounds(rounds, folder, attack)


def _store_gone(rounds: int, seed: int, folder: Path) -> Outcome:
    chance = random.Random(seed)  # noqa: S311 -- must be repeatable, and is no secret
    return _rounds(rounds, folder, lambda rig: (WRITE, chance.choice(_LASTS_S), rig.without_store()))


def _postgres_stopped(rounds: int, folder: Path, *, restart: bool) -> Outcome:
    """With `restart` one of the two collectors is started while there is no database: it must wait, and tell it too."""
    count = _Count(most=2)
    with PairOnPostgres.running(folder) as pair:
        for _ in range(rounds):
            if restart:
                pair.kill(0)
            pair.stop_database()
            if restart:
                pair.start(0, serves=False)
            seen = pair.until("both tell it", lambda: pair.told("emergency") == 2 and pair.unwell() == 2 - restart)
            seen &= pair.until("the heartbeat fails", lambda: "fail" in pair.pings)
            pair.start_database()
            seen &= pair.until("both tell the end", lambda: pair.told("recovered") == 2 and pair.unwell() == 0)
            count.add(pair.take_messages(), ("emergency", "recovered"), seen=seen)
    return count.outcome(rounds, "each of two collectors tells it once")


def _peer_killed(rounds: int, seed: int, folder: Path) -> Outcome:
    del seed
    survived = hidden = 0
    with PairOnPostgres.running(folder) as pair:
        for number in range(rounds):
            killed, other = number % 2, 1 - number % 2
            pair.kill(killed)
            seen = pair.until("the other one sees it", lambda other=other, killed=killed: pair.misses(other, killed))
            seen &= pair.until("somebody is paged", lambda: pair.told("page") >= 1)
            pair.start(killed)
            seen &= pair.until("it is over", lambda other=other: not pair.misses(other))
            survived += seen
            hidden += not seen
        troubles, told = pair.troubles(), pair.take_messages()
    doubled = max(0, told["page"] - troubles)
    return Outcome(rounds, survived, 0, doubled, 0, hidden, f"{troubles} troubles, {told['page']} pages")


ATTACKS = (
    Attack("watchman-hang", "A thread of the collector (ticker, outbox, journal, web server) hangs for 20 to 200 s", _hang),
    Attack("watchman-store", "The store refuses every connection for 20 to 200 s", _store_gone),
    Attack(
        "watchman-postgres", "PostgreSQL is stopped under two collectors, and started again",
        lambda rounds, _, folder: _postgres_stopped(rounds, folder, restart=False), ci_rounds=2, needs=("initdb",),
    ),
    Attack(
        "watchman-start", "The same, and one of the collectors is killed and started while there is no PostgreSQL",
        lambda rounds, _, folder: _postgres_stopped(rounds, folder, restart=True), ci_rounds=2, needs=("initdb",),
    ),
    Attack(
        "watchman-peer", "One of two collectors is killed with SIGKILL, and started again", _peer_killed, ci_rounds=2,
        needs=("initdb",),
    ),
)  # fmt: skip
