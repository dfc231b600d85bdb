"""A Hypothesis state machine for the ladder. For any order of faults, acknowledgements, restarts, crashes and replays, each
rung is decided once, in order, and never after resolution. Other time steps give the same pages."""

import itertools
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest import mock

import pytest
import sqlalchemy as sa
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.story.ladder_promises import Promises
from tests.story.world import INVENTORY, World
from watchkeeper.collector.process import actions
from watchkeeper.model.errors import Conflict
from watchkeeper.model.verdict import Key, Level, Verdict

RUNGS = {"duty": 0, "owner": 10, "on-site": 20, "vendor": 60}
COMMITS = ("collector.journal.before-commit", "collector.journal.committed", "collector.apply.before-commit",
           "collector.apply.committed", "collector.rung.before-commit", "collector.rung.committed",
           "collector.message.sent", "collector.receipt.committed")  # fmt: skip


ROOM = (
    INVENTORY
    + """
  - {device: switch-1, agent: room-1, category: network, probe: snmp, address: 10.0.1.254, owner: olga,
     snmp: {version: 2c, community: c}}
  - {device: ups-1, agent: room-1, category: ups, probe: snmp, address: 10.0.1.253, owner: olga, location: Row B,
     snmp: {version: 2c, community: c}}
"""
    + "".join(
        f"  - {{device: s{number}, agent: room-1, category: server, probe: snmp, address: 10.0.1.{number}, owner: olga,\n"
        "     depends_on: [switch-1, ups-1], location: Row A, snmp: {version: 2c, community: c}}\n"
        for number in range(3)
    )
)
SILENT = ("device.not-answering", "device.answering")
FAULTS = {
    "the switch is silent": ("switch-1", *SILENT),
    **{f"s{number} is silent": (f"s{number}", *SILENT) for number in range(3)},
    "on battery": ("ups-1", "power.on-battery", "output.source"),
    "no mains": ("ups-1", "power.input-lost", "input.state"),
    "s0 is full": ("s0", "server.disk-full", "disk.usage"),
    "hot": ("sensor-1", "environment.temperature", "temperature.ambient"),
    "damp": ("sensor-1", "environment.humidity", "humidity.relative"),
}
"""Each with its device, its rule and its quantity."""

BAD = st.sampled_from([Level.WARNING, Level.CRITICAL])
LATE_S = st.sampled_from([0.0, 0.0, 0.0, 40.0, 420.0, 1500.0])


def key_of(fault: str) -> Key:
    """The key of a fault's incidents."""
    device, rule_name, _ = FAULTS[fault]
    return (device, rule_name, "")


class Killed(BaseException):
    """The process is killed at this point."""


class Checked(World):
    """A world whose promises are checked after every beat."""

    promises: Promises | None = None

    def beat(self) -> None:
        """Let the collector work, then check."""
        super().beat()
        if self.promises is not None:
            self.promises.check()


class LadderMachine(RuleBasedStateMachine):
    """One collector, and faults that come and go. The promises are those at the top of `ladder_promises`."""

    url: Callable[[], str]

    @initialize()
    def begin(self) -> None:
        self.world = Checked(self.url(), inventory=ROOM)
        self.promises = Promises(self.world, {name: minutes * 60.0 for name, minutes in RUNGS.items()})
        self.world.promises = self.promises
        self.bodies: list[bytes] = []
        self.epochs = itertools.count(2)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()

    # ---- actions ----

    def level(self, fault: str) -> Level | None:
        return self.promises.levels.get(key_of(fault))

    def verdict(self, fault: str, level: Level, late_s: float = 0.0) -> Verdict:
        """A verdict that began so long ago, but not before the last end of that fault."""
        device, rule_name, quantity = FAULTS[fault]
        if self.level(fault) not in (None, Level.OK) or level is Level.OK:
            late_s = 0.0
        ends = [one.ended_at or 0.0 for one in self.world.incidents() if one.key == key_of(fault)]
        age_s = min(late_s, max(0.0, self.world.clock.wall() - max(ends, default=0.0)))
        return self.world.verdict(level, age_s=age_s, rule=rule_name, device=device, quantity=quantity)

    def send(self, *verdicts: Verdict, more: bool = False) -> None:
        body = self.world.body(*verdicts, more=more)
        self.bodies.append(body)
        self.promises.levels |= {one.key: one.level for one in verdicts}
        self.world.deliver(body)

    @rule(faults=st.sets(st.sampled_from(sorted(FAULTS)), min_size=1, max_size=3), level=BAD, late_s=LATE_S)
    def turn_bad(self, faults: set[str], level: Level, late_s: float) -> None:
        self.send(*(self.verdict(fault, level, late_s) for fault in sorted(faults)))

    @rule(data=st.data())
    def turn_good(self, data: st.DataObject) -> None:
        known = [fault for fault in sorted(FAULTS) if self.level(fault) not in (None, Level.OK)]
        if known:
            faults = data.draw(st.sets(st.sampled_from(known), min_size=1))
            self.send(*(self.verdict(fault, Level.OK) for fault in sorted(faults)))

    @rule(fault=st.sampled_from(sorted(FAULTS)))
    def go_out_of_sight(self, fault: str) -> None:
        if self.level(fault) not in (None, Level.OK):
            self.send(self.verdict(fault, Level.UNKNOWN))

    @rule(
        fault=st.sampled_from(sorted(FAULTS)), rounds=st.integers(2, 4),
        bad_s=st.sampled_from([20.0, 150.0]), good_s=st.sampled_from([20.0, 50.0, 90.0, 500.0]),
    )  # fmt: skip
    def flap(self, fault: str, rounds: int, bad_s: float, good_s: float) -> None:
        for _ in range(rounds):
            self.send(self.verdict(fault, Level.CRITICAL))
            self.time_passes([bad_s])
            self.send(self.verdict(fault, Level.OK))
            self.time_passes([good_s])

    @rule(steps=st.lists(st.sampled_from([5.0, 10.0, 15.0, 60.0, 120.0, 240.0, 600.0]), min_size=1, max_size=4))
    def time_passes(self, steps: list[float]) -> None:
        for step in steps:
            self.world.clock.advance(step)
            self.world.beat()

    @precondition(lambda self: self.bodies)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        self.world.deliver(data.draw(st.sampled_from(self.bodies)))

    @rule(bad=st.sets(st.sampled_from(sorted(FAULTS)), max_size=3))
    def whole_set(self, bad: set[str]) -> None:
        """The agent begins a new epoch, perhaps without its unsent verdicts, and sends its set of non-ok verdicts."""
        self.world.epoch = f"epoch-{next(self.epochs)}"
        verdicts = [self.verdict(fault, Level.CRITICAL) for fault in sorted(bad)]
        body = self.world.body(self.world.standing(*verdicts))
        self.bodies.append(body)
        self.promises.levels = dict.fromkeys(self.promises.levels, Level.OK) | {one.key: one.level for one in verdicts}
        self.world.deliver(body)

    @rule(fault=st.sampled_from(sorted(FAULTS)), late_s=LATE_S, level=st.sampled_from([Level.OK, Level.CRITICAL]))
    def tell_in_two_pushes(self, fault: str, late_s: float, level: Level) -> None:
        """An incomplete backlog pages nobody."""
        told = len(self.world.told)
        self.send(self.verdict(fault, Level.CRITICAL, late_s), more=True)
        assert not [one for one in self.world.told[told:] if one.kind == "page"]
        self.send(self.verdict(fault, level))

    @rule()
    def a_rule_is_switched_off_and_on(self) -> None:
        off = {key: level for key, level in self.promises.levels.items() if key[1] == "environment.temperature"}
        for key in off:
            del self.promises.levels[key]
        self.world.adopt(rules="off: [{rule: environment.temperature, because: a test}]")
        assert not any(one.open and one.key in off for one in self.world.incidents())
        self.world.adopt()

    @rule()
    def restart(self) -> None:
        self.world.start()

    @precondition(lambda self: self.world.troubles())
    @rule(what=st.sampled_from([actions.acknowledge, actions.resolve, actions.escalate]))
    def a_person_acts(self, what: Callable[..., object]) -> None:
        known = [one for one in self.world.troubles() if not one.merged_into][-1]
        faults = [one for one in self.world.incidents() if one.trouble == known.trouble and one.open]
        if what is actions.escalate:
            self.promises.escalated.add(known.trouble)
        with suppress(Conflict):
            self.world.act(what, known.trouble)  # type: ignore[arg-type]
            if what is actions.resolve:
                assert not [one for one in faults if one.verdict.bad]

    @rule(
        where=st.sampled_from(COMMITS), fault=st.sampled_from(sorted(FAULTS)),
        level=st.sampled_from([Level.CRITICAL, Level.OK]),
    )  # fmt: skip
    def crash(self, where: str, fault: str, level: Level) -> None:
        """Kill the collector at a commit point, start it again, and send the unanswered push again."""
        verdict = self.verdict(fault, level)
        body = self.world.body(verdict)

        def failpoint(name: str) -> None:
            if name == where:
                raise Killed

        modules = [
            f"watchkeeper.collector.{name}.failpoint" for name in ("intake.journal", "process.due", "notify.outbox")
        ]
        self.promises.levels[verdict.key] = level
        with (
            suppress(Killed),
            mock.patch(modules[0], failpoint),
            mock.patch(modules[1], failpoint),
            mock.patch(modules[2], failpoint),
        ):
            self.world.deliver(body)
        self.world.start()
        self.world.clock.advance(61)  # the leases of the killed collector have expired
        self.bodies.append(body)
        self.world.deliver(body)


_PHASES = (
    Phase.explicit,
    Phase.reuse,
    Phase.generate,
    Phase.shrink,
)  # without the explanation, which traces every line


HUNT = int(os.environ.get("WATCHKEEPER_HUNT", "0"))
"""How many times as many examples are tried, by chance. Without it the examples are always the same: a commit must not fail for
what was there before it."""


def _run(url: Callable[[], str], examples: int) -> None:
    machine = type("Machine", (LadderMachine,), {"url": staticmethod(url)})
    chance = {} if HUNT else {"derandomize": True, "database": None}
    how = settings(
        max_examples=examples * max(HUNT, 1), stateful_step_count=15, deadline=None, phases=_PHASES, **chance
    )
    run_state_machine_as_test(machine, settings=how)


@contextmanager
def _fresh_stores() -> Iterator[Callable[[], str]]:
    """Gives the URL of a new SQLite store with each call: copies of one that has the schema, in memory where that is possible."""
    memory = Path("/dev/shm")  # noqa: S108 -- in memory, so it is faster
    folder = Path(tempfile.mkdtemp(prefix="ladder-", dir=memory if memory.is_dir() else None))
    number = itertools.count()
    World(f"sqlite:///{folder}/empty.db").close()

    def fresh() -> str:
        file = folder / f"{next(number)}.db"
        shutil.copy(folder / "empty.db", file)
        return f"sqlite:///{file}"

    try:
        yield fresh
    finally:
        shutil.rmtree(folder)


@pytest.mark.timeout(400)
def test_the_ladder_as_a_state_machine_on_sqlite() -> None:
    with _fresh_stores() as fresh:
        _run(fresh, 25)


@pytest.mark.timeout(400)
def test_the_ladder_as_a_state_machine_on_postgresql(postgres_url: str) -> None:
    number = itertools.count()
    server = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT")

    def fresh() -> str:
        name = f"machine_{next(number)}"
        with server.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        return postgres_url.replace("/postgres?", f"/{name}?")

    _run(fresh, 5)
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


@pytest.mark.timeout(400)
@settings(max_examples=6, deadline=None, phases=_PHASES)
@given(
    script=st.lists(
        st.tuples(
            st.sampled_from(sorted(FAULTS)), st.sampled_from([Level.OK, Level.CRITICAL]), st.sampled_from([1, 3, 12])
        ),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_other_time_steps_of_up_to_a_minute_give_the_same_messages_of_troubles(
    script: list[tuple[str, Level, int]],
) -> None:
    def told(url: str, cut_s: float) -> Counter[tuple[str, str, str, str]]:
        world = World(url, inventory=ROOM)
        for fault, level, minutes in script:
            device, rule_name, quantity = FAULTS[fault]
            world.push(world.verdict(level, device=device, rule=rule_name, quantity=quantity))
            world.advance(minutes, step_s=cut_s)
        world.close()
        return Counter((one.person, one.kind, one.rung, str(one.message.facts["device"])) for one in world.told)

    with _fresh_stores() as fresh:
        assert told(fresh(), 10.0) == told(fresh(), 60.0)
