"""The collector's wall clock is set back or forward. No rung, message or backlog is delayed by that time."""

from collections.abc import Iterator

import pytest

from tests.story.world import World
from watchkeeper.collector.process.due import catch_up
from watchkeeper.model.verdict import Level


@pytest.fixture
def world(store_url: str) -> Iterator[World]:
    made = World(store_url)
    yield made
    made.close()


def test_a_wall_clock_set_back_by_years_delays_no_rung_by_years(world: World) -> None:
    world.clock.now += 86_400 * 3650
    world.push(world.verdict(Level.CRITICAL))
    world.clock.now -= 86_400 * 3650
    assert catch_up(world.runtime.notifier(), world.clock.wall()) == 3
    assert catch_up(world.runtime.notifier(), world.clock.wall()) == 0
    world.beat()
    assert sorted(one.rung for one in world.told) == ["duty", "on-site", "on-site", "owner", "vendor"]


def test_a_shorter_ladder_pages_nobody_before_the_times_of_the_old_ladder(world: World) -> None:
    world.ladders = world.ladders.replace("60 min", "2 days")
    world.start()
    world.push(world.verdict(Level.CRITICAL))
    world.ladders = world.ladders.replace("2 days", "1 h")
    world.start()
    assert catch_up(world.runtime.notifier(), world.clock.wall()) == 0


def test_a_wall_clock_set_back_delays_no_message_and_no_backlog(world: World) -> None:
    world.clock.now += 86_400
    world.broken = {"console"}
    world.push(world.verdict(Level.CRITICAL), more=True)
    world.advance(1.1)
    world.broken = set()
    world.clock.now -= 86_400
    world.began = world.clock.wall()
    world.push(world.verdict(Level.CRITICAL, device="web-1", rule="server.cpu-busy"), more=True)
    world.advance(1.1)
    assert {(one.person, one.message.facts["rule"]) for one in world.told} >= {
        ("day", "environment.temperature"), ("day", "server.cpu-busy"),
    }  # fmt: skip


def test_a_backlog_begun_before_the_clock_was_set_back_does_not_last_longer(world: World) -> None:
    world.clock.now += 86_400
    world.push(world.verdict(Level.OK), more=True)
    world.clock.now -= 86_400
    world.push(world.verdict(Level.CRITICAL), more=True)
    for _ in range(31):
        world.clock.advance(10)
        world.push(world.verdict(Level.WARNING, device="web-1", rule="server.cpu-busy"), more=True)
    assert {one.message.facts["rule"] for one in world.told} == {"environment.temperature", "server.cpu-busy"}
