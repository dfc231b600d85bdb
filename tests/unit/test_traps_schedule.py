"""A poll out of turn: at once, but once a second at most, and once more where it came during another."""

import asyncio
from typing import Self

import pytest

from tests.agent_room import columns, device
from watchkeeper.agent.poll import schedule as module
from watchkeeper.agent.poll.schedule import Schedule
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Device
from watchkeeper.model.reading import Sweep


class Probe:
    """Answers when it is let."""

    def __init__(self) -> None:
        self.polls = 0
        self.let = asyncio.Event()
        self.let.set()

    async def sweep(self, device: Device) -> Sweep:
        self.polls += 1
        await self.let.wait()
        return Sweep(device.device, 1.0, columns(device.device), ("yes",))

    async def forget(self, device: str) -> None:
        pass

    async def close(self) -> None:
        pass


class World:
    """A schedule of one device that was read once."""

    def __init__(self) -> None:
        self.clock, self.probe = FakeClock(), Probe()
        self.schedule = Schedule(self.clock, lambda *_: None, lambda _: True, lambda: 0.5)

    async def __aenter__(self) -> Self:
        await self.schedule.watch([device()], {"fake": self.probe})
        await self.quiet()
        assert self.probe.polls == 1
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.schedule.stop()

    def wake(self, times: int = 1) -> None:
        for _ in range(times):
            self.schedule.poll_now("box")

    async def quiet(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second is over at the loop's next turn."""
    call_later = asyncio.BaseEventLoop.call_later
    monkeypatch.setattr(
        asyncio.BaseEventLoop, "call_later",
        lambda loop, delay, *rest, **more: call_later(loop, 0.0 if delay == module.AGAIN_S else delay, *rest, **more),
    )  # fmt: skip


def test_many_wakes_within_a_second_are_one_poll_at_once_and_one_after() -> None:
    async def story() -> None:
        async with World() as world:
            world.wake()
            await world.quiet()
            assert world.probe.polls == 2, "at once"
            world.wake(100)
            await world.quiet()
            assert world.probe.polls == 2, "the other waits for its second"
            (health,) = world.schedule._health.values()
            assert health.later is not None

    asyncio.run(story())


def test_the_poll_after_comes(soon: None) -> None:
    async def story() -> None:
        async with World() as world:
            world.wake(100)
            world.clock.advance(module.AGAIN_S)
            await world.quiet()
            assert world.probe.polls == 3
            await world.quiet()
            assert world.probe.polls == 3, "and no more"

    asyncio.run(story())


def test_woken_while_it_is_read_it_is_read_once_more_when_that_is_over(soon: None) -> None:
    async def story() -> None:
        async with World() as world:
            world.probe.let.clear()
            world.wake()
            await world.quiet()
            world.clock.advance(module.AGAIN_S)
            world.wake(5)
            await world.quiet()
            assert world.probe.polls == 2, "never twice at once"
            world.probe.let.set()
            await world.quiet()
            assert world.probe.polls == 3

    asyncio.run(story())


def test_a_device_that_was_taken_away_is_not_woken_later(soon: None) -> None:
    async def story() -> None:
        async with World() as world:
            world.wake(2)
            await world.schedule.watch([], {})
            world.clock.advance(module.AGAIN_S)
            await world.quiet()
            assert world.probe.polls <= 2
            world.wake()

    asyncio.run(story())
