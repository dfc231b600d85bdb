"""Two collectors in one process, on one PostgreSQL. The first reaches it through a proxy that misbehaves; the second does not. Or
one collector on SQLite. After each attack on the database a fault must have been told once, and its end once."""

import contextlib
import random
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa

from tests.chaos.outcome import Outcome
from tests.conftest import _postgres, _postgres_programs
from tests.dropping_proxy import DroppingProxy
from tests.story.world import World
from watchkeeper.collector.process.due import decide_due
from watchkeeper.collector.store.connections.limits import StoreLimits
from watchkeeper.collector.store.engine import LIMITS
from watchkeeper.collector.store.schema import journal, outbox
from watchkeeper.model.errors import StoreError
from watchkeeper.model.verdict import Level, Verdict

SHORT = StoreLimits(
    connect_s=2, pool_s=1, idle_s=0.7, lock_s=3.0, statement_s=4.0, answer_s=0.6, ping_after_s=5, ping_s=0.3
)
"""Of the collector that is attacked: a tenth of the real ones, so that a round takes a second or two."""

LONGER = replace(LIMITS, idle_s=1.5)
TRIES = 60
"""How often an agent sends the same push again. Each try waits for the store."""


class HalfDead:
    """The collectors, and what became of the attacks. `run` does one round: `attack` harms the database while both collectors get
    the same push, and returns what mends it."""

    def __init__(self, worlds: Sequence[World], seed: int, proxy: DroppingProxy | None = None, home: str = "") -> None:
        self.worlds, self.home = worlds, home
        self.chance = random.Random(seed)  # noqa: S311 -- must be repeatable, and is no secret
        self._proxy = proxy
        self.rounds = self.survived = self.lost = self.doubled = 0
        self.unavailable = 0
        self.refused: list[str] = []

    @property
    def proxy(self) -> DroppingProxy:
        """The proxy before the database of the first collector."""
        assert self._proxy is not None
        return self._proxy

    def run(self, attack: "Callable[[HalfDead], Callable[[], object]]") -> None:
        """One fault that begins during the attack, and ends after it."""
        self.rounds += 1
        first, last = self.worlds[0], self.worlds[-1]
        fault = last.verdict(Level.CRITICAL, rule=f"attack-{self.rounds}")
        told = len(last.told)
        body = last.body(fault)
        mend = attack(self)
        pushing = [threading.Thread(target=self._try, args=(one, body)) for one in self.worlds]
        for thread in pushing:
            thread.start()
        while any(thread.is_alive() for thread in pushing):
            with contextlib.suppress(StoreError):
                last.store.free_locks()  # as the thread of a running collector does
            pushing[-1].join(0.2)
        mend()
        for one in self.worlds:
            self._until_answered(one, body)
        self._settle()
        pages, paged = self._keys(told), len(last.told)
        over = first.body(first.verdict(Level.OK, rule=fault.rule))
        for one in self.chance.sample(list(self.worlds), len(self.worlds)):
            self._until_answered(one, over)
        last.clock.advance(minutes=20)
        self._settle()
        self._count(fault, pages, self._keys(paged) - pages)

    def _keys(self, since: int) -> set[str]:
        """What was told: a message that is sent again, because its receipt could not be written, has the same key."""
        return {one.message.key for one in self.worlds[-1].told[since:]}

    def _count(self, fault: Verdict, pages: set[str], ends: set[str]) -> None:
        known = [one for one in self.worlds[-1].incidents() if one.rule == fault.rule]
        lost = (not pages) + (not ends) + (len(known) != 1) + self._left()
        doubled = max(0, len(pages) - 1) + max(0, len(ends) - 1)
        self.lost, self.doubled = self.lost + lost, self.doubled + doubled
        self.survived += not lost and not doubled and not self.refused

    def _left(self) -> int:
        """What is neither done nor told after everything was mended."""
        counts = (
            sa.select(sa.func.count()).select_from(journal),
            sa.select(sa.func.count()).where(outbox.c.state != "delivered"),
        )
        with self.worlds[-1].store.read() as connection:
            return sum(connection.execute(one).scalar_one() for one in counts)

    def _try(self, world: World, body: bytes) -> None:
        try:
            self._answer(world, body)
        except StoreError:
            self.unavailable += 1

    def _answer(self, world: World, body: bytes) -> bool:
        answer = world.deliver(body)
        if isinstance(answer, Exception) and not isinstance(answer, StoreError):
            self.refused.append(str(answer))  # the agent would throw it away
        self.unavailable += isinstance(answer, StoreError)
        return isinstance(answer, int)

    def _until_answered(self, world: World, body: bytes) -> None:
        for _ in range(TRIES):
            with contextlib.suppress(StoreError):
                if self._answer(world, body):
                    return
            threading.Event().wait(0.05)
        self.lost += 1

    def _settle(self) -> None:
        """Let every collector do what it does by itself, as far as the store lets it."""
        for one in self.worlds:
            for _ in range(TRIES):
                one.clock.advance(11)
                try:
                    one.journal.turn([])
                    while decide_due(one.runtime.notifier(), one.clock.wall()):
                        pass
                    one.beat()
                except StoreError:
                    continue
                if not one.journal.waiting:
                    break

    def outcome(self) -> Outcome:
        """What is claimed, and what is not."""
        told = [one.message.key for one in self.worlds[-1].told]
        note = f"503 {self.unavailable} times; {len(told) - len(set(told))} messages sent again under the same key"
        said = "; ".join(part for part in (note, *sorted(set(self.refused))[:2]) if part)
        return Outcome(self.rounds, self.survived, self.lost + len(self.refused), self.doubled, note=said)


@contextlib.contextmanager
def on_postgres(seed: int) -> Iterator[HalfDead]:
    """Two collectors on a private PostgreSQL, as a user who owns nothing in it."""
    programs = _postgres_programs()
    assert programs is not None, "needs PostgreSQL's initdb on PATH or in /usr/lib/postgresql (Debian: postgresql)"
    with contextlib.ExitStack() as held:
        home = held.enter_context(tempfile.TemporaryDirectory(prefix="watchkeeper-pg-", dir="/tmp"))
        held.enter_context(_postgres(programs, home))
        owner = World(f"postgresql+psycopg://watchkeeper@/postgres?host={home}")
        for statement in (
            "ALTER DATABASE postgres SET synchronous_commit = on",  # it is stopped in the middle
            "CREATE ROLE app LOGIN",
            "GRANT ALL ON ALL TABLES IN SCHEMA public TO app",
            "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO app",
        ):
            execute(home, statement)
        owner.close()
        proxy = held.enter_context(DroppingProxy.to(f"{home}/.s.PGSQL.5432"))
        first = World(f"postgresql+psycopg://app@127.0.0.1:{proxy.port}/postgres?sslmode=disable", limits=SHORT)
        shared = {"clock": first.clock, "told": first.told, "seqs": first.seqs}
        second = World(f"postgresql+psycopg://app@/postgres?host={home}", limits=LONGER, **shared)  # type: ignore[arg-type]
        try:
            yield HalfDead((first, second), seed, proxy, home)
        finally:
            proxy.resume()
            for one in (first, second):
                one.close()


@contextlib.contextmanager
def on_sqlite(folder: Path, seed: int) -> Iterator[HalfDead]:
    """One collector on SQLite in a folder."""
    world = World(f"sqlite:///{folder}/collector.db", limits=SHORT)
    try:
        yield HalfDead((world,), seed)
    finally:
        world.close()


def execute(home: str, statement: str) -> None:
    """Run a statement as the owner of the database, whatever is forbidden to others."""
    engine = sa.create_engine(f"postgresql+psycopg://watchkeeper@/postgres?host={home}", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("SET default_transaction_read_only = off")
        connection.exec_driver_sql(statement)
    engine.dispose()
