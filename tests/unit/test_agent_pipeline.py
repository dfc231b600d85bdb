"""The pipeline: when sweeps and events are committed, and when all active verdicts are reported."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.agent_room import RULES, columns, device, everything, items, sweep
from watchkeeper.agent import pipeline as module
from watchkeeper.agent.pipeline import Pipeline
from watchkeeper.agent.spool.file import MEMORY
from watchkeeper.agent.spool.spool import Limits, Spool
from watchkeeper.model.batch import Document, Lane
from watchkeeper.model.clock import FakeClock
from watchkeeper.rules.judge import Judge
from watchkeeper.rules.load import load_rules

COLUMNS = columns("box", "temperature.ambient")
RULE_SET = load_rules([Document("rules.yml", RULES)])


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.spool = Spool(MEMORY, Limits(), self.clock, "boot-1")
        self.judge = Judge({})
        self.commits = asyncio.Semaphore(0)
        loop = asyncio.get_running_loop()
        self.pipeline = Pipeline(
            self.spool, self.judge, self.clock, lambda: void(loop.call_soon_threadsafe(self.commits.release))
        )

    async def activate(self) -> None:
        self.pipeline.activate(RULE_SET, [device()])
        await self.committed()

    async def committed(self) -> None:
        await asyncio.wait_for(self.commits.acquire(), 10)

    def take(self, ambient: float) -> None:
        self.pipeline.add(device(), sweep(COLUMNS, self.clock.boot(), ambient))

    def kinds(self) -> list[str]:
        return [item["kind"] for item in items(everything(self.spool, Lane.EVENTS))]

    def settle(self) -> None:
        batch = self.spool.batch(Lane.EVENTS, 1000, 10**6)
        self.spool.settle(batch, batch.through)

    def frames(self) -> int:
        return len(everything(self.spool, Lane.READINGS).items)


def void(_: object) -> None:
    """Ignore the handle that call_soon_threadsafe returns."""


def run(scenario: Callable[[World], Awaitable[None]], closed: Callable[[World], None] = lambda world: None) -> None:
    async def whole() -> None:
        world = World()
        try:
            await scenario(world)
        finally:
            await world.pipeline.close()
            closed(world)
            world.spool.close()

    asyncio.run(whole())


def test_an_event_is_committed_at_once_with_the_reading_that_caused_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMIT_WITHIN_S", 3600.0)

    async def scenario(world: World) -> None:
        await world.activate()
        world.take(20.0)
        assert world.frames() == 0
        world.take(31.0)
        await world.committed()
        assert world.kinds() == ["verdict"]
        assert world.frames() == 2

    run(scenario)


def test_readings_are_committed_without_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMIT_WITHIN_S", 0.0)

    async def scenario(world: World) -> None:
        await world.activate()
        world.take(20.0)
        await world.committed()
        assert world.frames() == 1

    run(scenario)


def test_closing_commits_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMIT_WITHIN_S", 3600.0)

    async def scenario(world: World) -> None:
        await world.activate()
        world.take(20.0)
        assert world.frames() == 0

    def closed(world: World) -> None:
        assert world.frames() == 1

    run(scenario, closed)


def test_a_fresh_spool_reports_active_verdicts_only_when_every_device_was_read() -> None:
    async def scenario(world: World) -> None:
        world.pipeline.beat()
        assert world.kinds() == [], "there is no bundle yet"
        await world.activate()
        world.pipeline.beat()
        await asyncio.sleep(0)
        assert world.kinds() == [], "the device was not read yet"
        world.take(20.0)
        world.pipeline.beat()
        await world.committed()
        assert world.kinds() == ["standing"]

    run(scenario)


def test_a_device_that_is_never_read_does_not_delay_the_report_for_ever() -> None:
    async def scenario(world: World) -> None:
        await world.activate()
        world.clock.advance(module.FIRST_REPORT_WITHIN_S)
        world.pipeline.beat()
        await world.committed()
        assert world.kinds() == ["standing"]

    run(scenario)


def test_active_verdicts_are_reported_every_ten_minutes_and_in_a_new_epoch() -> None:
    async def scenario(world: World) -> None:
        await world.activate()
        world.take(31.0)
        await world.committed()
        world.pipeline.beat()
        await world.committed()
        world.settle()
        world.clock.advance(599)
        world.pipeline.beat()
        world.clock.advance(1)
        world.pipeline.beat()
        await world.committed()
        assert world.kinds() == ["standing"]
        world.clock.advance(minutes=60)
        world.pipeline.beat()
        await asyncio.sleep(0)
        assert world.kinds() == ["standing"], "one waits already"
        world.spool.begin_epoch()
        world.pipeline.beat()
        await world.committed()
        assert world.kinds() == ["standing", "standing"]
        last = items(everything(world.spool, Lane.EVENTS))[-1]
        assert [told["rule"] for told in last["verdicts"]] == ["heat"]
        assert world.spool.states().keys() == {("box", "heat", "")}

    run(scenario)


def test_the_states_are_written_again_only_to_a_spool_that_lost_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be a hundred thousand of them: every phase and port that was once seen well."""

    async def scenario(world: World) -> None:
        await world.activate()
        world.take(31.0)
        await world.committed()
        written: list[int] = []
        real = world.spool.add_events
        monkeypatch.setattr(
            world.spool, "add_events", lambda events, states: (written.append(len(states)), real(events, states))
        )
        world.pipeline.beat()
        await world.committed()
        world.settle()
        world.clock.advance(600)
        world.pipeline.beat()
        await world.committed()
        world.spool.begin_epoch()
        world.pipeline.beat()
        await world.committed()
        assert written == [1, 0, 1]

    run(scenario)


def test_a_failed_commit_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.0)

    async def scenario(world: World) -> None:
        await world.activate()
        answers = [False, False]
        real = world.spool.flush
        monkeypatch.setattr(world.spool, "flush", lambda: answers.pop() if answers else real())
        world.take(31.0)
        for _ in range(3):
            await world.committed()
        assert world.kinds() == ["verdict"]

    run(scenario)


def test_a_new_bundle_reports_active_verdicts_again() -> None:
    async def scenario(world: World) -> None:
        await world.activate()
        world.take(20.0)
        world.pipeline.beat()
        await world.committed()
        world.settle()
        await world.activate()
        world.pipeline.beat()
        await world.committed()
        assert world.kinds() == ["standing"]

    run(scenario)


def test_active_verdicts_are_reported_at_once_if_somebody_asks_and_once_if_two_do() -> None:
    async def scenario(world: World) -> None:
        await world.activate()
        world.take(20.0)
        world.pipeline.beat()
        await world.committed()
        world.clock.advance(5)
        world.take(31.0)
        await world.committed()
        world.pipeline.report()
        world.pipeline.report()
        await world.committed()
        assert world.kinds() == ["standing", "verdict", "standing"], (
            "although the collector does not have the first yet"
        )

    run(scenario)


def test_in_a_new_epoch_what_waits_for_its_limit_is_unknown_and_told_again_once_it_is_certain() -> None:
    supply = columns("box", "temperature.supply")

    async def scenario(world: World) -> None:
        await world.activate()
        world.pipeline.add(device(), sweep(supply, world.clock.boot(), 20.0))  # as an older copy of the spool has it
        world.pipeline.add(device(), sweep(supply, world.clock.boot(), 26.0))
        world.pipeline.beat()
        await world.committed()
        assert world.kinds() == ["standing"]
        (standing,) = items(everything(world.spool, Lane.EVENTS))
        assert [(one["rule"], one["level"]) for one in standing["verdicts"]] == [("long-heat", "unknown")]
        world.settle()
        world.clock.advance(60)
        world.pipeline.beat()
        assert world.kinds() == [], "it is not certain yet"
        world.pipeline.add(device(), sweep(supply, world.clock.boot(), 20.0))
        world.pipeline.beat()
        await world.committed()
        (standing,) = items(everything(world.spool, Lane.EVENTS))
        assert standing["verdicts"] == []

    run(scenario)
