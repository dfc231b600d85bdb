"""A Hypothesis state machine for the ladder. For any order of faults, acknowledgements, restarts, crashes and replays, each
rung is decided once, in order, and never after resolution. Other time steps give the same pages."""

import itertools
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from unittest import mock

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.story.world import World
from watchkeeper.collector.process import actions
from watchkeeper.collector.store.schema import metadata, rung
from watchkeeper.model.errors import Conflict
from watchkeeper.model.verdict import Level

RUNGS = {"duty": 0, "owner": 10, "on-site": 20, "vendor": 60}
COMMITS = ("collector.journal.before-commit", "collector.journal.committed", "collector.apply.before-commit",
           "collector.apply.committed", "collector.rung.before-commit", "collector.rung.committed",
           "collector.message.sent", "collector.receipt.committed")  # fmt: skip


class Killed(BaseException):
    """The process is killed at this point."""


class LadderMachine(RuleBasedStateMachine):
    """One collector with one fault at a time."""

    url: Callable[[], str]

    @initialize()
    def begin(self) -> None:
        self.world = World(self.url())
        self.bodies: list[bytes] = []
        self.epochs = itertools.count(2)
        self.level: Level | None = None
        self.escalated: set[tuple[int, int]] = set()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()

    # ---- actions ----

    def send(self, level: Level, age_s: float) -> None:
        self.deliver(self.world.body(self.world.verdict(level, age_s=age_s)), level)

    def deliver(self, body: bytes, level: Level) -> None:
        self.bodies.append(body)
        self.world.deliver(body)
        self.level = level

    @rule(level=st.sampled_from([Level.WARNING, Level.CRITICAL]), late_min=st.sampled_from([0, 0, 0, 7, 25]))
    def turn_bad(self, level: Level, late_min: int) -> None:
        late = late_min * 60.0 if self.level in (None, Level.OK) else 0.0
        ended = max((one.ended_at or 0.0 for one in self.world.incidents()), default=0.0)
        self.send(level, min(late, max(0.0, self.world.clock.wall() - ended)))

    @precondition(lambda self: self.level is not None)
    @rule()
    def turn_good(self) -> None:
        self.send(Level.OK, 0.0)

    @precondition(lambda self: self.level not in (None, Level.OK))
    @rule()
    def go_out_of_sight(self) -> None:
        self.send(Level.UNKNOWN, 0.0)

    @rule(steps=st.lists(st.sampled_from([15.0, 60.0, 240.0, 600.0]), min_size=1, max_size=4))
    def time_passes(self, steps: list[float]) -> None:
        for step in steps:
            self.world.clock.advance(step)
            self.world.beat()

    @precondition(lambda self: self.bodies)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        self.world.deliver(data.draw(st.sampled_from(self.bodies)))

    @rule(level=st.sampled_from([Level.OK, Level.CRITICAL]))
    def whole_set(self, level: Level) -> None:
        """The agent begins a new epoch, perhaps without its unsent verdicts, and sends its set of non-ok verdicts."""
        self.world.epoch = f"epoch-{next(self.epochs)}"
        bad = [self.world.verdict(level)] if level.bad else []
        self.deliver(self.world.body(self.world.standing(*bad)), level)

    @rule(late_min=st.sampled_from([0, 25]), level=st.sampled_from([Level.OK, Level.CRITICAL]))
    def tell_in_two_pushes(self, late_min: int, level: Level) -> None:
        """An incomplete backlog pages nobody."""
        ended = max((one.ended_at or 0.0 for one in self.world.incidents()), default=0.0)
        late = (
            min(late_min * 60.0, max(0.0, self.world.clock.wall() - ended)) if self.level in (None, Level.OK) else 0.0
        )
        told = len(self.world.told)
        first = self.world.verdict(Level.CRITICAL, age_s=late)
        self.deliver(self.world.body(first, more=True), Level.CRITICAL)
        assert not [one for one in self.world.told[told:] if one.kind == "page"]
        self.deliver(self.world.body(self.world.verdict(level)), level)

    @rule()
    def the_rule_is_switched_off_and_on(self) -> None:
        self.world.adopt(rules="off: [{rule: environment.temperature, because: a test}]")
        assert not any(one.open for one in self.world.incidents())
        self.world.adopt()
        self.level = None

    @rule()
    def restart(self) -> None:
        self.world.start()

    @precondition(lambda self: self.world.incidents())
    @rule(what=st.sampled_from([actions.acknowledge, actions.resolve, actions.escalate]))
    def a_person_acts(self, what: Callable[..., object]) -> None:
        known = self.world.incidents()[-1]
        with suppress(Conflict):
            self.world.act(what, known.incident)  # type: ignore[arg-type]
            if what is actions.escalate:
                self.escalated.add((known.incident, known.recurrence))
            if what is actions.resolve:
                assert not known.verdict.bad

    @rule(where=st.sampled_from(COMMITS), level=st.sampled_from([Level.CRITICAL, Level.OK]))
    def crash(self, where: str, level: Level) -> None:
        """Kill the collector at a commit point, start it again, and send the unanswered push again."""
        body = self.world.body(self.world.verdict(level))

        def failpoint(name: str) -> None:
            if name == where:
                raise Killed

        modules = [
            f"watchkeeper.collector.{name}.failpoint" for name in ("intake.journal", "process.due", "notify.outbox")
        ]
        with (
            suppress(Killed),
            mock.patch(modules[0], failpoint),
            mock.patch(modules[1], failpoint),
            mock.patch(modules[2], failpoint),
        ):
            self.world.deliver(body)
        self.world.start()
        self.world.clock.advance(61)  # the leases of the killed collector have expired
        self.deliver(body, level)

    # ---- invariants ----

    def decided(self) -> dict[tuple[int, int], dict[str, float]]:
        with self.world.store.read() as connection:
            rows = connection.execute(sa.select(rung).where(rung.c.decided_at.is_not(None))).all()
        found: dict[tuple[int, int], dict[str, float]] = {}
        for row in rows:
            found.setdefault((row.incident, row.recurrence), {})[row.rung] = row.decided_at
        return found

    @invariant()
    def every_due_rung_is_decided_and_none_is_skipped(self) -> None:
        if not hasattr(self, "world"):
            return
        decided = self.decided()
        now = self.world.clock.wall()
        for one in self.world.incidents():
            mine = decided.get((one.incident, one.recurrence), {})
            order = [name for name in RUNGS if name in mine]
            assert order == list(RUNGS)[: len(order)]
            if one.open:
                due = [name for name, after in RUNGS.items() if one.began_at + after * 60 <= now]
                assert set(due) <= set(mine)
                if (one.incident, one.recurrence) not in self.escalated:
                    assert set(due) == set(mine)

    @invariant()
    def no_rung_is_decided_after_the_end(self) -> None:
        if not hasattr(self, "world"):
            return
        for one in self.world.incidents():
            if one.ended_at is not None and not one.open:
                last = max(self.decided().get((one.incident, one.recurrence), {}).values(), default=0.0)
                assert last <= max(one.ended_at, self.recorded_end(one.incident))

    def recorded_end(self, number: int) -> float:
        with self.world.store.read() as connection:
            table = metadata.tables["transition"]
            return float(
                connection.execute(
                    sa.select(sa.func.max(table.c.recorded_at)).where(table.c.incident == number)
                ).scalar_one()
            )

    @invariant()
    def everybody_paged_is_told_of_the_end_and_not_paged_after_it(self) -> None:
        if not hasattr(self, "world"):
            return
        for one in self.world.incidents():
            if one.open:
                continue
            mine = [told for told in self.world.told if told.message.facts["incident"] == one.incident]
            assert mine, "every fault is reported to somebody"
            for person in {told.person for told in mine}:
                kinds = [told.kind for told in mine if told.person == person]
                after = kinds[len(kinds) - kinds[::-1].index("page") :] if "page" in kinds else kinds
                assert {"recovered", "withdrawn", "passed"} & set(after)

    @invariant()
    def a_message_is_decided_once(self) -> None:
        if not hasattr(self, "world"):
            return
        with self.world.store.read() as connection:
            keys = list(connection.execute(sa.select(metadata.tables["outbox"].c.key)).scalars())
        assert len(keys) == len(set(keys))
        pages = [(one.message.facts["incident"], one.message.facts["recurrence"], one.rung, one.person, one.message.key)
                 for one in self.world.told if one.kind == "page"]  # fmt: skip
        assert len({page[:4] for page in pages}) == len({page[4] for page in pages})


def _run(url: Callable[[], str], examples: int) -> None:
    machine = type("Machine", (LadderMachine,), {"url": staticmethod(url)})
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=20, deadline=None))


def test_the_ladder_as_a_state_machine_on_sqlite() -> None:
    memory = Path("/dev/shm")  # noqa: S108 -- in memory, so it is faster
    folder = Path(tempfile.mkdtemp(prefix="ladder-", dir=memory if memory.is_dir() else None))
    number = itertools.count()
    try:
        _run(lambda: f"sqlite:///{folder}/{next(number)}.db", 50)
    finally:
        shutil.rmtree(folder)


def test_the_ladder_as_a_state_machine_on_postgresql(postgres_url: str) -> None:
    number = itertools.count()
    server = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT")

    def fresh() -> str:
        name = f"machine_{next(number)}"
        with server.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        return postgres_url.replace("/postgres?", f"/{name}?")

    _run(fresh, 12)
    server.dispose()


@pytest.mark.parametrize("cut_s", [7.0, 15.0, 137.0, 3600.0 * 2])
def test_other_time_steps_give_the_same_rungs(tmp_path: Path, cut_s: float) -> None:
    world = World(f"sqlite:///{tmp_path}/cut.db")
    world.push(world.verdict(Level.CRITICAL))
    world.advance(61, step_s=cut_s)
    assert sorted((one.person, one.rung) for one in world.told) == [
        ("amy", "vendor"), ("day", "duty"), ("hao", "on-site"), ("olga", "on-site"), ("olga", "owner"),
    ]  # fmt: skip
    world.close()
