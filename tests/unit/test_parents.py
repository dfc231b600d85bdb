"""When a device stops answering, what it depends on is read at once: by its agent, or at the request of the collector."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.agent_room import columns, device
from tests.story.world import World
from tests.unit.test_dependencies import ROOM
from tests.unit.test_schedule_polls import FakeProbe, run
from tests.unit.test_schedule_polls import World as PollWorld
from watchkeeper.collector.intake.requests import Requests
from watchkeeper.collector.process.actions import poll_now
from watchkeeper.collector.process.troubles.parents import ask_parents
from watchkeeper.collector.store.schema import request
from watchkeeper.model.device import Device
from watchkeeper.model.reading import Missing, Reason, Sweep

# ---- the agent ----


class Rack:
    """Devices of one agent; those in `dead` do not answer."""

    def __init__(self, *devices: Device) -> None:
        self.devices, self.dead = devices, set[str]()
        self.probe = FakeProbe(**{one.device: self._way(one.device) for one in devices})
        self.world = PollWorld(self.probe, settled=False)

    def _way(self, name: str) -> Callable[[], Awaitable[Sweep]]:
        series = columns(name, "leak")

        async def read() -> Sweep:
            if name in self.dead:
                return Sweep(name, 1.0, series, ("no", Missing(Reason.TIMEOUT)))
            return Sweep(name, 1.0, series, ("yes", "dry"))

        return read

    async def begin(self) -> None:
        await self.world.watch(*self.devices)
        await self.world.quiet()
        self.probe.swept.clear()

    async def read(self, *names: str) -> list[str]:
        """Read these devices as their interval says. Returns what was read in all."""
        await self.world.schedule._round(names)
        await self.world.quiet()
        swept, self.probe.swept[:] = list(self.probe.swept), []
        return swept


def test_the_parents_of_a_device_that_stops_answering_are_read_at_once_and_once() -> None:
    async def scenario() -> None:
        rack = Rack(device("ups"), device("pdu"), device("a", depends_on=("ups", "elsewhere", "pdu")))
        await rack.begin()
        assert await rack.read("a") == ["a"], "it answers"
        rack.dead.add("a")
        assert await rack.read("a") == ["a", "ups", "pdu"]
        assert await rack.read("a") == ["a"], "it is still silent: that is no news"
        await rack.world.schedule.stop()

    run(scenario)


def test_a_parent_of_many_is_read_once_in_ten_seconds() -> None:
    async def scenario() -> None:
        names = [f"s{number}" for number in range(20)]
        rack = Rack(device("ups"), *(device(name, depends_on=("ups",)) for name in names))
        await rack.begin()
        rack.dead.update(names)
        assert sorted(await rack.read(*names[:10])) == sorted([*names[:10], "ups"])
        rack.world.clock.advance(9.9)
        assert await rack.read(*names[10:15]) == names[10:15]
        rack.world.clock.advance(0.1)
        assert await rack.read(*names[15:]) == [*names[15:], "ups"]
        await rack.world.schedule.stop()

    run(scenario)


def test_a_silent_parent_has_its_own_parents_read() -> None:
    async def scenario() -> None:
        rack = Rack(device("ups"), device("pdu", depends_on=("ups",)), device("a", depends_on=("pdu",)))
        await rack.begin()
        rack.dead.update(("a", "pdu"))
        assert await rack.read("a") == ["a", "pdu", "ups"]
        await rack.world.schedule.stop()

    run(scenario)


def test_a_parent_that_is_being_read_is_read_again_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reading under way may have begun before the fault."""

    async def scenario() -> None:
        rack = Rack(device("ups"), device("a", depends_on=("ups",)))
        await rack.begin()
        ends = asyncio.Event()

        async def slow() -> None:
            await ends.wait()

        rack.probe.ways["ups"] = slow
        assert await rack.read("ups") == ["ups"]
        rack.dead.add("a")
        assert await rack.read("a") == ["a"]
        assert rack.world.schedule._states["ups"].later is not None
        ends.set()
        await rack.world.schedule.stop()

    run(scenario)


# ---- the collector ----


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(f"sqlite:///{tmp_path}/parents.db", inventory=ROOM.replace("owner: ann", "owner: olga"))
    yield world
    world.close()


def ask(world: World, name: str) -> tuple[str, ...]:
    with world.store.write() as connection:
        return ask_parents(connection, world.runtime.snapshot, name, world.clock.wall())


def kept(world: World) -> int:
    with world.store.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(request)).scalar_one()


def test_the_agents_of_foreign_parents_are_asked(world: World) -> None:
    requests = Requests(world.store, world.clock)
    assert ask(world, "server-1") == ("switch-1", "pdu-2"), "not pdu-1: the agent of server-1 reads it"
    requests.refresh()
    assert requests.take("room-1") == []
    assert requests.take("room-2") == [
        {"kind": "poll-now", "device": "switch-1"},
        {"kind": "poll-now", "device": "pdu-2"},
    ]


def test_nobody_is_asked_about_a_device_that_depends_on_nothing_elsewhere(world: World) -> None:
    assert [ask(world, name) for name in ("pdu-1", "ups-1", "feed-a", "nobody")] == [(), (), (), ()]
    assert kept(world) == 0


def test_for_a_silent_agent_only_other_agents_are_asked(world: World) -> None:
    assert ask(world, "room-1") == ("switch-1",)
    assert ask(world, "room-2") == (), "it reads switch-1 itself, and is silent"


def test_a_parent_is_asked_for_once_in_ten_seconds(world: World) -> None:
    requests = Requests(world.store, world.clock)
    assert ask(world, "server-1") == ("switch-1", "pdu-2")
    assert ask(world, "bmc-1") == (), "the request waits"
    requests.refresh()
    assert len(requests.take("room-2")) == 2
    world.clock.advance(9.9)
    requests.refresh()
    assert ask(world, "bmc-1") == (), "sent a short time ago"
    assert requests.take("room-2") == [], "and not sent again"
    world.clock.advance(0.1)
    requests.refresh()
    assert kept(world) == 0
    assert ask(world, "bmc-1") == ("pdu-2",)
    requests.refresh()
    assert requests.take("room-2") == [{"kind": "poll-now", "device": "pdu-2"}]


def test_a_request_that_waits_for_its_agent_is_not_repeated(world: World) -> None:
    requests = Requests(world.store, world.clock)
    ask(world, "bmc-1")
    world.clock.advance(600)
    requests.refresh()
    assert ask(world, "bmc-1") == ()
    assert len(requests.take("room-2")) == 1
    requests.refresh()
    assert kept(world) == 0


def test_what_a_person_asks_for_is_sent_also_after_the_collector_asked(world: World) -> None:
    requests = Requests(world.store, world.clock)
    ask(world, "bmc-1")
    requests.refresh()
    requests.take("room-2")
    poll_now(world.runtime.notifier(), "pdu-2", "olga", world.clock.wall())
    requests.refresh()
    assert requests.take("room-2") == [{"kind": "poll-now", "device": "pdu-2"}]
    requests.refresh()
    assert kept(world) == 1, "the collector's own"
    world.clock.advance(10)
    requests.refresh()
    assert kept(world) == 0


def test_a_clock_that_was_set_back_keeps_no_request(world: World) -> None:
    requests = Requests(world.store, world.clock)
    ask(world, "bmc-1")
    requests.refresh()
    requests.take("room-2")
    world.clock.advance(-3600)
    requests.refresh()
    assert kept(world) == 0
