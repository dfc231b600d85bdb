"""An event that only a trap reports: it pages, its state is then unknown, and only a person can close the incident. With
the real snmptrap, the agent from socket to spool, and the collector."""

import asyncio
import json
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.agent_room import columns, everything, items
from tests.story.world import INVENTORY, World
from tests.traps_room import MEMORY, MEMORY_OK, Room, ups
from watchkeeper.agent.pipeline import Pipeline
from watchkeeper.agent.poll.schedule import Schedule
from watchkeeper.agent.spool.spool import Limits, Spool
from watchkeeper.agent.traps.events import TrapEvents
from watchkeeper.collector.process import actions
from watchkeeper.model.batch import Lane
from watchkeeper.model.device import Device
from watchkeeper.model.errors import Conflict
from watchkeeper.model.event import EVENT_SHOWN_S
from watchkeeper.model.reading import Sweep
from watchkeeper.model.verdict import Level
from watchkeeper.rules.judge import Judge
from watchkeeper.rules.load import load_rules, shipped

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(shutil.which("snmptrap") is None, reason="needs snmptrap on PATH (Debian: snmp)"),
]

BOARD = ups("board-1", "127.0.0.1")
INVENTORY_WITH_BOARD = INVENTORY + (
    "  - {device: board-1, agent: room-1, category: ups, probe: snmp, address: 127.0.0.1, owner: olga,\n"
    "     snmp: {version: 2c, community: c}}\n"
)


class Silent:
    """A probe of a board whose polls do not show the event."""

    series = columns("board-1", "temperature.component")

    async def sweep(self, device: Device) -> Sweep:
        return Sweep(device.device, self.now(), self.series, ("yes", 30.0))

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now

    async def forget(self, device: str) -> None:
        pass

    async def close(self) -> None:
        pass


class Agent:
    """The parts of an agent that a trap passes, from the socket to the spool."""

    def __init__(self, world: World, file: Path) -> None:
        self.world, self.clock = world, world.clock
        self.spool = Spool(file, Limits(), self.clock, "boot-1")
        judge = Judge(self.spool.states())
        self.pipeline = Pipeline(self.spool, judge, self.clock, lambda: None)
        self.events = TrapEvents()
        self.taken = 0
        self.news = asyncio.Event()
        self.schedule = Schedule(self.clock, self._swept, judge.silence_judged)
        self.room = Room(BOARD, clock=self.clock)
        self.room.listener._events, self.room.listener._wake = self.events, self.schedule.poll_now

    def _swept(self, device: Device, sweep: Sweep) -> None:
        self.pipeline.add(device, self.events.join(sweep))
        self.taken += 1
        self.news.set()

    async def __aenter__(self) -> Self:
        self.pipeline.activate(load_rules(shipped()), [BOARD])
        await self.polled(lambda: self.schedule.watch([BOARD], {"snmp": Silent(self.clock.boot)}))
        self.room.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.room.close()
        await self.schedule.stop()
        await self.pipeline.close()
        self.spool.close()

    async def polled(self, cause: Callable[[], Awaitable[None]]) -> None:
        """Wait until the poll that `cause` starts is done, then push everything new."""
        seen = self.taken
        await cause()
        async with asyncio.timeout(20):
            while self.taken == seen:
                self.news.clear()
                await self.news.wait()
        for _ in range(5):  # until the poll is over
            await asyncio.sleep(0)
        self.push()

    async def trap(self, oid: str, folder: Path) -> None:
        environ = {**os.environ, "SNMP_PERSISTENT_DIR": str(folder), "MIBS": ""}
        words = ["-v2c", "-cours", f"127.0.0.1:{self.room.port}", "", oid]
        process = await asyncio.create_subprocess_exec("snmptrap", *words, env=environ)
        assert await process.wait() == 0

    async def later(self, seconds: float) -> None:
        """Let time pass, then poll the board."""
        self.world.advance(seconds / 60)

        async def turn() -> None:
            self.schedule.poll_now("board-1")

        await self.polled(turn)

    async def push_active_verdicts(self) -> None:
        """Push the set of non-ok verdicts."""
        self.pipeline._reported_at = None
        self.pipeline.beat()
        await asyncio.get_running_loop().run_in_executor(self.pipeline._disk, self.spool.flush)
        self.push()

    def push(self) -> None:
        assert self.spool.flush()
        batch = everything(self.spool, Lane.EVENTS)
        push = {"protocol": 1, "agent": "room-1", "epoch": self.spool.epoch, "lane": "events", "items": items(batch)}
        self.spool.settle(batch, batch.through)
        self.world.deliver(json.dumps({**push, "sent_at": self.clock.wall()}).encode())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(f"sqlite:///{tmp_path / 'collector.sqlite'}", inventory=INVENTORY_WITH_BOARD)
    yield made
    made.close()


def test_an_event_pages_survives_a_restart_of_the_agent_and_is_only_closed_by_hand(
    world: World, tmp_path: Path
) -> None:
    async def first_run() -> None:
        async with Agent(world, tmp_path / "spool.db") as agent:
            world.advance(0.1)
            await agent.polled(lambda: agent.trap(MEMORY, tmp_path))
            assert seen(world) == [(Level.CRITICAL, True)]
            assert [page[1:] for page in world.pages("page")] == [("day", "duty")]
            with pytest.raises(Conflict):
                world.act(actions.resolve, 1)
            await agent.later(EVENT_SHOWN_S)
            assert seen(world) == [(Level.UNKNOWN, True)]

    async def second_run() -> None:
        async with Agent(world, tmp_path / "spool.db") as agent:
            for _ in range(6):
                await agent.later(30)
            await agent.push_active_verdicts()
            assert seen(world) == [(Level.UNKNOWN, True)]
            world.act(actions.resolve, 1)
            assert seen(world) == [(Level.OK, False)]
            await agent.later(30)
            await agent.push_active_verdicts()
            assert len(seen(world)) == 1, "it is not opened again"

    asyncio.run(first_run())
    asyncio.run(second_run())
    assert world.happened() == ["opened", "unseen", "resolved"]


def test_an_agent_that_ended_during_the_event_reports_its_end_later(world: World, tmp_path: Path) -> None:
    async def first_run() -> None:
        async with Agent(world, tmp_path / "spool.db") as agent:
            world.advance(0.1)
            await agent.polled(lambda: agent.trap(MEMORY, tmp_path))
            assert seen(world) == [(Level.CRITICAL, True)]

    async def second_run() -> None:
        async with Agent(world, tmp_path / "spool.db") as agent:
            assert seen(world) == [(Level.UNKNOWN, True)], "otherwise nobody could close it"
            world.advance(0.1)
            await agent.polled(lambda: agent.trap(MEMORY_OK, tmp_path))
            await agent.later(90)
            assert seen(world) == [(Level.OK, False)], "the device itself reported ok"

    asyncio.run(first_run())
    asyncio.run(second_run())


def seen(world: World) -> list[tuple[Level, bool]]:
    return [(one.verdict, one.open) for one in world.incidents()]
