"""A poll out of turn: at once, but at most once a second; and once more if it was requested during a poll."""

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
    """Answers while it is released."""

    def __init__(self) -> None:
        self.polls = 0
        self.released = asyncio.Event()
        self.released.set()

    async def sweep(self, device: Device) -> Sweep:
        self.polls += 1
        await self.released.wait()
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
    """Make the wait of AGAIN_S end at the loop's next turn."""
    call_later = asyncio.BaseEventLoop.call_later
    monkeypatch.setattr(
        asyncio.BaseEventLoop, "call_later",
        lambda loop, delay, *rest, **more: call_later(loop, 0.0 if delay == module.POLL_NOW_EVERY_S else delay, *rest, **more),
    )  # fmt: skip


def test_many_wakes_within_a_second_are_one_poll_at_once_and_one_later() -> None:
    async def scenario() -> None:
        async with World() as world:
            world.wake()
            await world.quiet()
            assert world.probe.polls == 2, "at once"
            world.wake(100)
            await world.quiet()
            assert world.probe.polls == 2, "the second one waits for AGAIN_S"
            (health,) = world.schedule._states.values()
            assert health.later is not None

    asyncio.run(scenario())


def test_the_later_poll_is_made(soon: None) -> None:
    async def scenario() -> None:
        async with World() as world:
            world.wake(100)
            world.clock.advance(module.POLL_NOW_EVERY_S)
            await world.quiet()
            assert world.probe.polls == 3
            await world.quiet()
            assert world.probe.polls == 3, "and no more"

    asyncio.run(scenario())


def test_a_device_woken_during_a_poll_is_polled_once_more_afterwards(soon: None) -> None:
    async def scenario() -> None:
        async with World() as world:
            world.probe.released.clear()
            world.wake()
            await world.quiet()
            world.clock.advance(module.POLL_NOW_EVERY_S)
            world.wake(5)
            await world.quiet()
            assert world.probe.polls == 2, "never twice at once"
            world.probe.released.set()
            await world.quiet()
            assert world.probe.polls == 3

    asyncio.run(scenario())


def test_a_device_that_was_removed_is_not_polled_later(soon: None) -> None:
    async def scenario() -> None:
        async with World() as world:
            world.wake(2)
            await world.schedule.watch([], {})
            world.clock.advance(module.POLL_NOW_EVERY_S)
            await world.quiet()
            assert world.probe.polls <= 2
            world.wake()

    asyncio.run(scenario())
