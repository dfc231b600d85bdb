"""A clock jumps while faults are there: the machine's, the database's, an agent's, or after a start. Nobody is paged early or late, and
nothing is deleted."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest
import sqlalchemy as sa

from tests.story.world import LADDERS, NOON, World
from watchkeeper.channels.ports import Message
from watchkeeper.collector.intake.requests import Requests
from watchkeeper.collector.main import RunningCollector
from watchkeeper.collector.policy.clocks import OFF_S, Doubt
from watchkeeper.collector.process.configuration.reload import ConfigReloader
from watchkeeper.collector.process.guarded_clock import ClockState, GuardedClock, state_of
from watchkeeper.collector.process.own.clock import ClockTrust
from watchkeeper.collector.process.own.rules import OwnRules
from watchkeeper.collector.store.clock import kept
from watchkeeper.collector.store.schema import agent, history, rung, trouble
from watchkeeper.collector.ticker import Ticker
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.verdict import Level

HOUR = 3600.0
YEARS = 12 * 365 * 86_400.0
JUMPS = pytest.mark.parametrize("jump", [HOUR, -HOUR, YEARS, -90.0])
LADDER = [(0.0, "duty"), (4.0, "owner"), (8.0, "on-site"), (8.0, "on-site"), (16.0, "vendor")]
SHORTER = LADDERS.replace("60 min", "16 min").replace("20 min", "8 min").replace("10 min", "4 min")


class Guarded(GuardedClock):
    """A guarded clock that looks whenever time passes. It has the time of one database, also on SQLite."""

    @property
    def fake(self) -> FakeClock:
        return cast("FakeClock", self.machine)

    def advance(self, seconds: float = 0.0, *, minutes: float = 0.0) -> None:
        self.fake.advance(seconds, minutes=minutes)
        self.turn()


class Site:
    """A collector with its ticker. `agents` are wall clocks, by their difference to the true time; each is heard every 15 s. The
    reference is the machine's wall clock on SQLite, the database's clock on PostgreSQL."""

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.true = FakeClock(NOON)
        self.database_s = 0.0
        monkeypatch.setattr(kept, "database_now", lambda _: self.true.wall() + self.database_s)
        self.agents: dict[str, float] = {}
        self.got: list[tuple[float, str]] = []
        self.world = world = World(url, ladders=SHORTER)
        receive = world._receive
        monkeypatch.setattr(
            world, "_receive", lambda address, message: (self._note(message), receive(address, message))[1]
        )
        monkeypatch.setattr(world, "beat", lambda: None)
        self.start()

    def _note(self, message: Message) -> None:
        if message.facts["kind"] == "page" and message.facts["device"] == "sensor-1":
            self.got.append((round((self.true.wall() - NOON) / 60, 1), str(message.facts["rung"])))

    def start(self, boot_id: str = "boot-1", boot: float = 1000.0, wrong: float = 0.0) -> "Site":
        """Start the collector in this boot of the machine, with a reference that is wrong."""
        world, self.database_s = self.world, wrong
        self.clock = Guarded(world.store, FakeClock(self.true.wall() + wrong, boot), boot_id, "one")
        world.clock = cast("FakeClock", self.clock)
        world.start()
        rules = OwnRules(world.runtime, (ClockTrust(self.clock, "one"),))
        reloader = cast("ConfigReloader", SimpleNamespace(refresh=lambda _: None))
        self.ticker = Ticker(world.runtime, reloader, rules, Requests(world.store, self.clock), world.outbox)
        return self

    def jump(self, seconds: float) -> "Site":
        """The reference jumps."""
        self.clock.fake.now += seconds
        self.database_s += seconds
        return self

    def run(self, minutes: float) -> "Site":
        for _ in range(int(minutes * 4)):
            self.true.advance(15)
            self.clock.fake.advance(15)
            for name, wrong in self.agents.items():
                self.clock.hear(name, self.true.wall() + wrong)
            self.clock.turn()
            self.clock.turn()
            self.ticker.turn()
            self.world.outbox.deliver()
        return self

    def fault(self, age_s: float = 0.0) -> "Site":
        self.world.push(self.world.verdict(Level.CRITICAL, age_s=age_s))
        self.ticker.turn()
        self.world.outbox.deliver()
        return self

    def known(self, **agents: float) -> "Site":
        """Agents that have been heard, each with the difference of its clock."""
        rows = [
            {"agent": name, "epoch": "e", "heard_at": self.clock.wall(), "skew_s": wrong, "bundle": "", "backlog_since": 0.0,
             "backlog_until": 0.0}
            for name, wrong in agents.items()
        ]  # fmt: skip
        with self.world.store.write() as connection:
            self.world.store.write_many(connection, agent, rows)
        self.agents.update(agents)
        return self

    @property
    def error(self) -> float:
        return self.clock.wall() - self.true.wall()

    @property
    def state(self) -> ClockState:
        return state_of(self.clock)


@pytest.fixture
def site(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    made = Site(store_url, monkeypatch)
    yield made
    made.world.close()


@pytest.fixture
def shared(postgres_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A collector on a database that several share."""
    made = Site(postgres_database, monkeypatch)
    yield made
    made.world.close()


@JUMPS
@pytest.mark.parametrize("agents", [{}, {"a": 0.0, "b": 7 * HOUR}])
def test_a_clock_that_jumps_for_five_seconds_pages_nobody_early_or_late(
    site: Site, jump: float, agents: dict[str, float]
) -> None:
    site.known(**agents).run(1).fault()
    site.run(5).jump(jump).clock.turn()
    assert site.state.doubt is Doubt.JUMP
    site.ticker.turn()
    site.true.advance(5)
    site.clock.fake.advance(5)
    site.jump(-jump).run(12)
    assert abs(site.error) < 1
    assert (site.state.doubt, site.state.jumps >= 2) == (None, True)
    assert [rung for _, rung in site.got] == [rung for _, rung in LADDER]
    assert all(due <= at - 1 <= due + 0.5 for (at, _), (due, _) in zip(site.got, LADDER, strict=True)), site.got


@JUMPS
@pytest.mark.parametrize("agents", [{}, {"a": 0.0, "b": 7 * HOUR}])
def test_a_clock_that_stays_wrong_pages_nobody_early_or_late(site: Site, jump: float, agents: dict[str, float]) -> None:
    """Without agents the clock is believed in the end. Then all that is awaited moves along."""
    site.known(**agents).run(1).fault()
    site.run(2).jump(jump).run(16)
    assert abs(site.error - (0.0 if agents else jump)) < 1
    assert site.state.doubt is None
    assert [rung for _, rung in site.got] == [rung for _, rung in LADDER]
    assert all(due <= at - 1 <= due + 0.5 for (at, _), (due, _) in zip(site.got, LADDER, strict=True)), site.got


def test_a_clock_that_is_believed_and_jumps_back_leaves_no_rung_behind(site: Site) -> None:
    site.run(1).fault()
    for jump in (YEARS, -YEARS):
        site.jump(jump).run(11)
    assert abs(site.error) < 1
    assert [rung for _, rung in site.got] == [rung for _, rung in LADDER]
    assert all(due <= at - 1 <= due + 0.5 for (at, _), (due, _) in zip(site.got, LADDER, strict=True)), site.got


@JUMPS
def test_after_a_restart_in_the_same_boot_the_time_goes_on(site: Site, jump: float) -> None:
    site.known(a=0.0).run(1).fault().run(4)
    boot = site.clock.boot()
    site.true.advance(60)
    site.start(boot=boot + 60, wrong=jump if site.world.store.embedded else 0.0).run(17)
    assert abs(site.error) < 1
    assert [rung for _, rung in site.got] == [rung for _, rung in LADDER]
    assert all(due <= at - 1 <= due + 1 for (at, _), (due, _) in zip(site.got, LADDER, strict=True)), site.got


@JUMPS
def test_after_a_start_of_the_machine_with_a_wrong_clock_agents_tell_the_time(site: Site, jump: float) -> None:
    site.known(a=0.0, b=-300.0).run(1).fault().run(2)
    site.true.advance(120)
    if not site.world.store.embedded and -120 < jump < OFF_S:
        return  # the database's clock is believed where it can be right
    site.start("boot-2", boot=20.0, wrong=jump)
    assert site.state.doubt is Doubt.START
    assert not site.clock.ready
    site.ticker.turn()
    site.run(17)
    assert abs(site.error) < 1
    assert site.clock.ready
    assert [rung for _, rung in site.got] == [rung for _, rung in LADDER]
    assert all(due <= at - 1 <= due + 0.5 for (at, _), (due, _) in zip(site.got, LADDER, strict=True)), site.got


@pytest.mark.parametrize("jump", [HOUR, -HOUR, YEARS, -YEARS])
def test_a_time_that_only_the_wrong_wall_clock_told_is_corrected_by_agents_heard_later(site: Site, jump: float) -> None:
    site.known(a=0.0)
    embedded = site.world.store.embedded
    site.run(1)
    site.agents.clear()
    site.true.advance(60)
    site.start("boot-2", boot=20.0, wrong=jump if embedded else 0.0).run(1)
    began = (site.true.wall() - NOON) / 60
    site.fault(age_s=0.0).run(3)
    assert site.clock.may_delete is not embedded, "nobody is sure"
    site.agents["a"] = 0.0
    site.run(17)
    assert abs(site.error) < 1
    assert site.clock.may_delete is not embedded, "the time was set"
    assert [rung for _, rung in site.got] == [rung for _, rung in LADDER]
    assert all(due <= at - began <= due + 0.5 for (at, _), (due, _) in zip(site.got, LADDER, strict=True)), site.got


def test_nothing_is_deleted_while_the_time_is_not_sure(site: Site) -> None:
    site.known(a=0.0, b=0.0).run(1)
    assert site.clock.may_delete
    site.agents.clear()
    site.jump(YEARS).clock.turn()
    assert not site.clock.may_delete
    site.jump(-YEARS).clock.turn()
    assert site.clock.may_delete
    site.clock.fake.advance(21)
    assert site.state.doubt is Doubt.JUMP, "no look at the clocks for so long"
    assert not site.clock.may_delete


@JUMPS
@pytest.mark.parametrize("agents", [{}, {"a": 0.0, "b": 7 * HOUR}])
def test_a_wrong_clock_at_the_hourly_tidying_deletes_nothing(site: Site, jump: float, agents: dict[str, float]) -> None:
    def tidied() -> list[int]:
        mine = SimpleNamespace(clock=site.clock, store=site.world.store, config=SimpleNamespace(history_s=48 * HOUR))
        RunningCollector._delete_expired(cast("RunningCollector", mine))
        with site.world.store.read() as connection:
            return list(connection.execute(sa.select(history.c.seq).order_by(history.c.seq)).scalars())

    frame = {"device": "sensor-1", "agent": "a", "epoch": "e", "block": 1, "column": "{}"}
    with site.world.store.write() as connection:
        times = ((1, NOON - 47 * HOUR), (2, NOON - 60))
        site.world.store.write_many(connection, history, [{**frame, "seq": seq, "at": at} for seq, at in times])
    site.known(**agents).run(1).jump(jump).clock.turn()
    assert tidied() == [1, 2]
    site.run(3)
    assert tidied() == [1, 2]
    site.run(11)
    assert tidied() == [1, 2], "also where the clock is believed by now"
    site.start("boot-2", boot=20.0, wrong=jump).run(2)
    assert tidied() == [1, 2]


def test_a_wrong_clock_is_a_finding(site: Site) -> None:
    site.known(a=0.0).run(1)
    site.clock.fake.now += HOUR
    if not site.world.store.embedded:
        site.database_s += HOUR
    site.clock.turn()
    site.ticker.turn()
    (found,) = site.world.incidents()
    assert (found.rule, found.instance, found.evidence.value, found.level) == (
        "watchkeeper.clock",
        "one",
        "doubt",
        "warning",
    )
    site.run(3)
    assert site.state.wrong
    assert site.world.incidents()[0].open
    site.clock.fake.now -= HOUR
    site.database_s = 0.0
    site.run(8)
    assert not site.world.incidents()[0].open
    assert not site.state.wrong


def test_rungs_written_by_an_earlier_version_years_ahead_are_due_now(site: Site) -> None:
    site.run(1)
    with site.world.store.write() as connection:
        connection.execute(sa.delete(kept.clock))
    site.fault()
    with site.world.store.write() as connection:
        connection.execute(sa.update(trouble).values(began_at=NOON + YEARS))
        connection.execute(sa.update(rung).where(rung.c.decided_at.is_(None)).values(due_at=NOON + YEARS))
    site.start("boot-2").run(1)
    assert sorted(name for _, name in site.got) == sorted(name for _, name in LADDER)


@pytest.mark.parametrize("jump", [HOUR, -HOUR, YEARS])
def test_of_two_collectors_the_skewed_one_does_not_decide(shared: Site, jump: float) -> None:
    """Its boot clock is wrong, as after a pause of its virtual machine."""
    site = shared
    other = Guarded(site.world.store, FakeClock(site.true.wall(), 77.0), "boot-9", "two")
    site.fault()
    with site.world.store.write() as connection:
        row = {"name": "two", "process": "p", "started_at": NOON, "beat_at": NOON, "release": ""}
        connection.execute(sa.insert(kept.collector), row)
    site.clock.fake.since_boot += jump
    if jump > 0:
        assert site.state.doubt is Doubt.JUMP
    site.ticker.turn()
    site.clock.turn()
    assert abs(site.error) < 1
    assert site.state.doubt is None
    other.turn()
    assert abs(other.wall() - site.true.wall()) < 1
    assert len(site.got) == 1


def test_collectors_share_what_they_know_of_their_database(
    shared: Site,
) -> None:
    site = shared.known(a=0.0)
    other = Guarded(site.world.store, FakeClock(site.true.wall(), 77.0), "boot-9", "two")
    site.run(1)
    other.fake.advance(60)
    site.jump(HOUR).run(1)
    other.fake.advance(15)
    other.turn()
    assert abs(site.error) < 1
    assert abs(other.wall() - site.true.wall()) < 1 or other.state.doubt is Doubt.JUMP
    third = Guarded(site.world.store, FakeClock(site.true.wall(), 5.0), "boot-7", "three")
    assert abs(third.wall() - site.true.wall()) < 1
    assert third.state.database_s == pytest.approx(HOUR)
    assert third.state.wrong


def test_a_command_goes_by_the_same_time(site: Site) -> None:
    site.run(1)
    machine = FakeClock(site.true.wall() + HOUR, site.clock.boot())
    assert abs(kept.now(site.world.store, machine, "boot-1") - site.true.wall()) < 1
    if site.world.store.embedded:
        assert kept.now(site.world.store, machine, "boot-2") == machine.wall()
