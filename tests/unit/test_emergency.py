"""When a collector cannot page, it tells people directly: once, in the order of the ladder, and when it is over."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.story.world import World
from watchkeeper.channels.ports import Address, Message, Receipt, Via
from watchkeeper.collector.process.health.emergency import QUIET_S, Emergency
from watchkeeper.collector.process.health.health import TURN, WRITE, Health


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(f"sqlite:///{tmp_path}/emergency.db")
    yield world
    world.close()


class Watch:
    """An emergency that looks every second; the collector works, or does not."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.health = Health(world.clock)
        self.health.expect(WRITE)
        self.health.expect(TURN)
        self.unreached: set[str] = set()
        self.tried: list[str] = []
        self.emergency = self.restarted()

    def restarted(self) -> Emergency:
        world = self.world
        made = Emergency(
            self.health,
            world.clock,
            lambda address: _Taker(self, address.via.value),
            "alpha",
            lambda: world.runtime.snapshot,
        )
        made.peers = lambda: ["beta"]
        return made

    def work(self, seconds: int) -> None:
        for _ in range(seconds):
            self.world.clock.advance(1)
            self.health.done(WRITE)
            self.health.done(TURN)
            self.emergency.look()

    def lapse(self, seconds: int) -> None:
        for _ in range(seconds):
            self.world.clock.advance(1)
            self.health.done(TURN)
            self.emergency.look()

    def told(self) -> list[tuple[float, str, str]]:
        return [(one.minute, one.person, one.kind) for one in self.world.told]

    @property
    def last(self) -> Message:
        return self.world.told[-1].message


class _Taker:
    def __init__(self, watch: Watch, via: str) -> None:
        self._watch, self._via = watch, via

    def send(self, message: Message) -> Receipt:
        self._watch.tried.append(message.person)
        if message.person in self._watch.unreached:
            return Receipt(delivered=False, detail="broken")
        return self._watch.world._receive(Address(Via(self._via)), message)


@pytest.fixture
def watch(world: World) -> Watch:
    return Watch(world)


def test_a_lapse_of_a_minute_is_told_once_to_duty_and_its_end_too(watch: Watch) -> None:
    watch.lapse(60)
    assert watch.told() == []
    watch.lapse(2)
    assert watch.told() == [(1.02, "day", "emergency")]
    watch.lapse(300)
    assert len(watch.told()) == 1
    watch.work(60)
    assert len(watch.told()) == 1
    watch.work(1)
    assert watch.told()[1:] == [(7.05, "day", "recovered")]
    watch.work(600)
    assert len(watch.told()) == 2


def test_the_message_says_what_is_wrong_in_the_language_of_the_person(watch: Watch) -> None:
    watch.lapse(62)
    assert watch.last.subject == "【紧急】Watchkeeper 无法通知：采集中心 alpha"
    assert "自 12:00:00：61 秒内未能写入存储" in watch.last.text.replace("2027-01-15 ", "")
    assert "beta" in watch.last.text


def test_it_climbs_the_ladder_and_tells_nobody_twice(watch: Watch) -> None:
    watch.lapse(61 * 60 + 5)
    people = [person for _, person, _ in watch.told()]
    assert people == ["day", "hao", "amy"], "the collector has no owner, so that the fallback takes that rung"


def test_who_takes_over_the_watch_is_told_too(watch: Watch) -> None:
    watch.world.ladders = ""
    watch.lapse(62)
    watch.world.clock.now += 6 * 3600  # 18:00, the night shift
    watch.lapse(1)
    assert [person for _, person, _ in watch.told()] == ["day", "night"]


def test_where_duty_cannot_be_reached_the_fallback_is_told_and_duty_tried_each_minute(watch: Watch) -> None:
    watch.unreached = {"day"}
    watch.lapse(63)
    assert watch.told() == [(1.03, "hao", "emergency")]
    watch.lapse(120)
    assert watch.tried.count("day") == 3
    watch.unreached = set()
    watch.lapse(60)
    assert [person for _, person, _ in watch.told()] == ["hao", "day"]


def test_where_nobody_can_be_reached_all_are_tried_again(watch: Watch) -> None:
    watch.world.broken = {"console"}
    watch.lapse(63)
    assert watch.told() == []
    watch.world.broken = set()
    watch.lapse(60)
    assert watch.told()


def test_a_store_that_comes_and_goes_is_told_every_half_hour_at_most(watch: Watch) -> None:
    for _ in range(10):
        watch.lapse(90)
        watch.work(90)
    kinds = [kind for _, _, kind in watch.told()]
    assert kinds == ["emergency", "recovered"]
    watch.work(int(QUIET_S))
    watch.lapse(90)
    assert [kind for _, _, kind in watch.told()] == [*kinds, "emergency"]


def test_a_short_return_is_no_end(watch: Watch) -> None:
    watch.lapse(70)
    for _ in range(5):
        watch.work(20)
        watch.lapse(60)
    assert [kind for _, _, kind in watch.told()] == ["emergency"]


def test_nothing_is_told_of_a_pause_of_the_whole_process(watch: Watch) -> None:
    """A machine that slept, or a process that was stopped, finds everything undone when it wakes."""
    watch.work(5)
    watch.world.clock.advance(3600)
    watch.emergency.look()
    watch.world.clock.advance(1)
    watch.emergency.look()
    watch.work(60)
    assert watch.told() == []
    watch.lapse(45)
    watch.world.clock.advance(3600)
    watch.lapse(25)
    assert watch.told() == []


def test_a_long_lapse_right_after_a_pause_is_told(watch: Watch) -> None:
    watch.world.clock.advance(3600)
    watch.lapse(31)
    assert [kind for _, _, kind in watch.told()] == ["emergency"]
