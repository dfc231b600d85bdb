"""Collectors on one store watch each other; a heartbeat that is not taken and many refusals are faults; messages that do not leave
are known."""

from collections.abc import Iterator

import pytest

from tests.story.world import World
from watchkeeper.channels.ports import Receipt
from watchkeeper.collector.access.refusals import Refused
from watchkeeper.collector.process.health.heartbeat import Heartbeat, Ping
from watchkeeper.collector.process.health.unsent import unsent
from watchkeeper.collector.process.own.disk import DiskSpace
from watchkeeper.collector.process.own.outside import HeartbeatTaken, RefusalsCounted
from watchkeeper.collector.process.own.peers import PeersHeard
from watchkeeper.collector.process.own.rules import OwnRules
from watchkeeper.collector.store.peers import CollectorIdentity, beat, enter, forget, leave, peers
from watchkeeper.collector.store.retention import delete_expired
from watchkeeper.model.errors import Conflict
from watchkeeper.model.verdict import Level


class Pair:
    """Two collectors on one store: `alpha` looks, `beta` only beats."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.alpha, self.beta = CollectorIdentity("alpha"), CollectorIdentity("beta")
        self.peers = self.start_alpha()
        enter(world.store, self.beta, "2", world.clock.wall())

    def start_alpha(self) -> PeersHeard:
        """Start or restart alpha."""
        world = self.world
        world.runtime.identity = self.alpha
        enter(world.store, self.alpha, "2", world.clock.wall())
        peers = PeersHeard(world.store, "alpha")
        disk = DiskSpace(world.store, 0)
        self.heartbeat = Heartbeat("https://hc.example/x", 60.0, world.runtime.health, world.clock, self.take)
        self.wrong = ""
        world.own_rules = OwnRules(
            world.runtime,
            (disk, peers, HeartbeatTaken(self.heartbeat, "alpha"), RefusalsCounted(world.runtime.refusals, "alpha")),
        )
        return peers

    def take(self, _ping: Ping) -> Receipt:
        """The address of the heartbeat."""
        return Receipt(delivered=not self.wrong, detail=self.wrong)

    def run(self, minutes: float, *, beta: bool = True, beta_clock_s: float = 0.0) -> None:
        """Let time pass. The clock of beta may be wrong."""
        for _ in range(int(minutes * 12)):
            self.world.clock.advance(5)
            beat(self.world.store, self.alpha, self.world.clock.wall())
            if beta:
                beat(self.world.store, self.beta, self.world.clock.wall() + beta_clock_s)
            self.heartbeat.step()
            self.world.own_rules.look()
            self.world.beat()

    def faults(self) -> list[tuple[str, str, bool]]:
        """(rule, instance, open) of every incident."""
        return [(one.rule.partition(".")[2], one.instance, one.open) for one in self.world.incidents()]


@pytest.fixture
def world(store_url: str) -> Iterator[World]:
    world = World(store_url)
    yield world
    world.close()


@pytest.fixture
def pair(world: World) -> Pair:
    return Pair(world)


SHARED = pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
EMBEDDED = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


@EMBEDDED
def test_an_embedded_store_has_one_collector_whose_name_may_have_changed(pair: Pair) -> None:
    """In a container, say, whose machine gets another name with each start."""
    pair.run(1)
    pair.run(5, beta=False)
    assert pair.faults() == []


@SHARED
def test_a_collector_that_is_killed_is_a_fault_until_it_beats_again(pair: Pair) -> None:
    pair.run(2)
    assert pair.peers.working == ("beta",)
    pair.run(1, beta=False)
    assert pair.faults() == []
    pair.run(1, beta=False)
    assert pair.faults() == [("peer-silent", "beta", True)]
    assert pair.peers.working == ()
    assert [person for _, person, _ in pair.world.pages("page")] == ["day"]
    assert "beta" in pair.world.told[-1].message.subject
    enter(pair.world.store, CollectorIdentity("beta", "new"), "2", pair.world.clock.wall())
    pair.run(0.5, beta=False)  # one beat is enough
    assert pair.faults() == [("peer-silent", "beta", False)]


@SHARED
def test_a_collector_that_says_goodbye_is_no_fault(pair: Pair) -> None:
    pair.run(2)
    leave(pair.world.store, pair.beta, pair.world.clock.wall())
    pair.run(10, beta=False)
    assert pair.faults() == []


@SHARED
def test_a_collector_that_is_gone_for_good_can_be_forgotten(pair: Pair) -> None:
    pair.run(2)
    with pytest.raises(Conflict, match="at work"):
        forget(pair.world.store, "beta", pair.world.clock.wall())
    pair.run(3, beta=False)
    assert pair.faults() == [("peer-silent", "beta", True)]
    assert forget(pair.world.store, "beta", pair.world.clock.wall())
    assert not forget(pair.world.store, "omega", pair.world.clock.wall())
    pair.run(0.5, beta=False)
    assert pair.faults() == [("peer-silent", "beta", False)]


@EMBEDDED
def test_a_collector_is_off_the_list_a_week_after_its_goodbye(pair: Pair) -> None:
    store, now = pair.world.store, pair.world.clock.wall()
    leave(store, pair.beta, now)
    for days, names in ((6, ["alpha", "beta"]), (8, ["alpha"])):
        delete_expired(store, now + days * 86_400, 3600.0)
        with store.read() as connection:
            assert [one.name for one in peers(connection)] == names


@SHARED
def test_a_wrong_clock_makes_no_collector_silent_and_hides_none(pair: Pair) -> None:
    pair.run(5, beta_clock_s=-7200)
    assert pair.faults() == []
    pair.run(1, beta_clock_s=86_400)
    pair.run(3, beta=False)
    assert pair.faults() == [("peer-silent", "beta", True)]


@SHARED
def test_a_collector_that_slept_does_not_blame_the_other(pair: Pair) -> None:
    pair.run(2)
    pair.world.clock.advance(3600)
    pair.run(0.5)
    assert pair.faults() == []


@SHARED
def test_a_restarted_collector_gives_the_other_its_time_and_keeps_the_open_fault(pair: Pair) -> None:
    pair.run(2)
    pair.run(3, beta=False)
    pair.start_alpha()
    pair.run(0.5, beta=False)
    assert pair.faults() == [("peer-silent", "beta", True)]
    pair.run(5)
    assert pair.faults() == [("peer-silent", "beta", False)]


@EMBEDDED
def test_a_heartbeat_that_is_not_taken_for_ten_minutes_is_a_fault(pair: Pair) -> None:
    pair.run(2)
    pair.wrong = "it answered 404"
    pair.run(9)
    assert pair.faults() == []
    pair.run(4)
    assert pair.faults() == [("heartbeat", "alpha", True)]
    pair.wrong = ""
    pair.run(1)
    assert pair.faults() == [("heartbeat", "alpha", False)]


@EMBEDDED
def test_many_refusals_are_a_fault_until_they_stop(pair: Pair) -> None:
    pair.run(1)
    for _ in range(3000):
        pair.world.runtime.refusals.note(Refused.AGENT, "192.0.2.7")
    pair.run(1)
    assert pair.faults() == [("sign-ins", "alpha", True)]
    pair.run(8)
    assert pair.faults() == [("sign-ins", "alpha", True)], "it ends after five calm minutes"
    pair.run(4)
    assert pair.faults() == [("sign-ins", "alpha", False)]


@EMBEDDED
def test_few_refusals_are_none(pair: Pair) -> None:
    for _ in range(12):  # five agents with an old token, which try once a minute
        for _ in range(5):
            pair.world.runtime.refusals.note(Refused.AGENT, "192.0.2.7")
        pair.run(1)
    assert pair.faults() == []


def why_unsent(world: World) -> str:
    with world.store.read() as connection:
        return unsent(connection, world.clock.wall())


def test_pages_that_nobody_gets_are_known_after_ten_minutes(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.advance(5)
    assert why_unsent(world) == ""
    world.broken = {"console", "webhook"}
    world.push(world.verdict(Level.CRITICAL, device="web-1", rule="server.cpu-busy", quantity="cpu.usage"))
    world.advance(9)
    assert why_unsent(world) == ""
    world.advance(3)
    assert why_unsent(world) == "no message could be delivered for 12 min"
    world.broken = set()
    world.advance(6)
    assert why_unsent(world) == ""
