"""Spool, pusher and the real HTTP client against a collector that misbehaves in every way: nothing lost, nothing doubled."""

import logging
import random
from collections.abc import Iterator

import pytest

from tests.agent_room import (
    TOKEN,
    FakeCollector,
    bundle,
    columns,
    device,
    everything,
    fill,
    forgets_blocks,
    hangs_up,
    items,
    says,
    serving,
    takes_and_hangs_up,
    verdict,
)
from watchkeeper.agent.push.pusher import Pusher
from watchkeeper.agent.push.uplink import Uplink
from watchkeeper.agent.spool.file import MEMORY
from watchkeeper.agent.spool.spool import Limits, Spool
from watchkeeper.documents.secrets import Secret
from watchkeeper.model.batch import Bundle, Frame, Lane, Push, Request, Tombstone
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.errors import ConfigError, Problem


class World:
    """Spool, pusher and HTTP client of an agent, stepped by hand."""

    def __init__(self, collector: FakeCollector) -> None:
        self.collector = collector
        self.clock = FakeClock()
        self.spool = Spool(MEMORY, Limits(), self.clock, "boot-1")
        self.uplink = Uplink(f"http://127.0.0.1:{collector.port}", "room-1", Secret(TOKEN))
        self.bundles: list[Bundle] = []
        self.requests: list[Request] = []
        self.pusher = self.new_pusher()

    def new_pusher(self) -> Pusher:
        return Pusher(
            self.spool, self.uplink, self.clock, "room-1",
            on_bundle=self.bundles.append, on_request=self.requests.append, chance=lambda: 0.0,
        )  # fmt: skip

    def work(self, steps: int) -> None:
        for _ in range(steps):
            self.clock.advance(self.pusher.step() + 0.001)
            self.spool.flush()

    def fill(self, events: int, frames: int) -> None:
        fill(self.spool, self.clock, frames)
        self.spool.add_events([verdict(number) for number in range(events)], {})
        self.spool.flush()

    def empty(self) -> bool:
        return not any(everything(self.spool, lane).items for lane in Lane)


@pytest.fixture
def collector() -> Iterator[FakeCollector]:
    with serving(FakeCollector()) as found:
        yield found


@pytest.fixture
def world(collector: FakeCollector) -> Iterator[World]:
    found = World(collector)
    yield found
    found.uplink.close()
    found.spool.close()


def test_a_good_collector_gets_everything_once(world: World, collector: FakeCollector) -> None:
    world.fill(events=3, frames=5)
    world.work(1)
    assert collector.seqs(Lane.EVENTS) == [1, 2, 3]
    assert collector.seqs(Lane.READINGS) == [1, 2, 3, 4, 5]
    assert world.empty()
    assert collector.tokens == {f"Bearer {TOKEN}"}
    assert [block.block for push in collector.pushes for block in push.blocks] == [1]


@pytest.mark.parametrize(
    "misbehaviour",
    [
        says(500),
        says(502, b"<html>a proxy speaks</html>"),
        says(503, Retry_After="7"),
        says(429, Retry_After="7"),
        says(429, Retry_After="soon"),
        says(200, b"certainly no JSON"),
        says(200, {"lane": "readings"}),
        says(200, {"lane": "somewhere", "through": 99}),
        says(200, {"lane": "events", "through": "99"}),
        says(200, [1]),
        says(302, Location="http://127.0.0.1:1/"),
        says(401),
        says(418),
        hangs_up,
        takes_and_hangs_up,
        forgets_blocks,
    ],
)
def test_whatever_the_collector_does_nothing_is_lost_or_doubled(
    world: World, collector: FakeCollector, misbehaviour: object
) -> None:
    assert callable(misbehaviour)
    world.work(1)  # greeted
    for _ in range(3):
        collector.behave += [misbehaviour, misbehaviour]
        world.fill(events=2, frames=3)
        world.work(8)
    assert collector.seqs(Lane.EVENTS) == list(range(1, 7))
    assert collector.seqs(Lane.READINGS) == list(range(1, 10))
    assert world.empty()


def test_a_misbehaving_collector_in_any_order(world: World, collector: FakeCollector) -> None:
    seed = random.randrange(10**6)  # noqa: S311 -- dice
    chance = random.Random(seed)  # noqa: S311 -- dice
    ways = [says(500), says(503, Retry_After="3"), says(200, b"?"), says(409, {"error": "no", "blocks": [1]}), hangs_up,
            takes_and_hangs_up, forgets_blocks]  # fmt: skip
    for _ in range(25):
        collector.behave += chance.choices(ways, k=chance.randrange(4))
        world.fill(events=chance.randrange(3), frames=chance.randrange(1, 4))
        world.work(chance.randrange(1, 6))
    collector.behave.clear()
    world.work(20)
    assert world.empty(), seed
    for lane in Lane:
        assert collector.seqs(lane) == list(range(1, world.spool.batch(lane, 0, 0).last + 1)), seed


def test_a_collector_that_accepts_only_a_part_is_given_time(world: World, collector: FakeCollector) -> None:
    world.work(1)  # greeted
    world.fill(events=3, frames=0)
    collector.behave += [says(200, {"lane": "events", "through": 1, "bundle": "", "requests": []})]
    assert world.pusher.step() == pytest.approx(0.25)
    world.work(2)
    assert collector.seqs(Lane.EVENTS) == [2, 3]
    assert world.empty()


def test_retry_after_is_honoured(world: World, collector: FakeCollector) -> None:
    collector.behave += [says(503, Retry_After="40")]
    assert world.pusher.step() == 40
    world.clock.advance(39)
    assert world.pusher.step() == pytest.approx(1)
    assert collector.pushes == []


def test_without_retry_after_the_waits_double_up_to_a_minute(world: World, collector: FakeCollector) -> None:
    collector.behave += [hangs_up] * 20
    waits = []
    for _ in range(12):
        waits.append(world.pusher.step())
        world.clock.advance(waits[-1])
    assert waits[:4] == [0.25, 0.5, 1.0, 2.0]
    assert max(waits) <= 60
    assert waits[-1] == 30, "with no jitter at all; with all of it, a minute"


def test_a_token_that_is_not_accepted_is_tried_every_minute_and_logged_once(
    world: World, collector: FakeCollector, caplog: pytest.LogCaptureFixture
) -> None:
    collector.behave += [says(401)] * 5
    world.fill(events=1, frames=1)
    for _ in range(5):
        assert world.pusher.step() == 60
        world.clock.advance(60)
    assert caplog.text.count("token") == 1
    assert TOKEN not in caplog.text
    world.work(2)
    assert world.empty()


def test_one_bad_event_is_set_aside_and_the_others_go(world: World, collector: FakeCollector) -> None:
    collector.refuse = lambda push: 400 if any(item.seq == 5 for item in push.items) else 0
    world.fill(events=9, frames=2)
    world.work(20)
    assert collector.seqs(Lane.EVENTS) == [1, 2, 3, 4, 6, 7, 8, 9]
    assert collector.seqs(Lane.READINGS) == [1, 2]
    aside = world.spool._db.execute("SELECT lane, seq, reason FROM set_aside").fetchall()
    assert aside == [("events", 5, "400: no: 400")]


def test_frames_of_a_device_that_belongs_to_another_agent_are_set_aside_and_the_bundle_is_fetched(
    world: World, collector: FakeCollector
) -> None:
    other = world.spool.declare("other", "fake", 30.0, columns("other"))
    world.fill(events=0, frames=2)
    world.spool.add_frame(other, world.clock.boot(), ("yes",))
    world.fill(events=0, frames=2)
    collector.served = bundle(device(), version="v2")
    collector.refuse = lambda push: 403 if any(block.device == "other" for block in push.blocks) else 0
    world.work(20)
    assert collector.seqs(Lane.READINGS) == [1, 2, 4, 5]
    assert [found.version for found in world.bundles] == ["v2"]


def test_a_batch_that_is_too_large_is_halved(world: World, collector: FakeCollector) -> None:
    collector.refuse = lambda push: 413 if len(push.items) > 3 else 0
    world.fill(events=0, frames=20)
    world.work(40)
    assert collector.seqs(Lane.READINGS) == list(range(1, 21))
    assert world.empty()


def test_a_collector_that_refuses_everything_is_asked_seldom(world: World, collector: FakeCollector) -> None:
    world.work(1)
    collector.pushes.clear()
    collector.refuse = lambda push: 400 if push.items else 0
    world.fill(events=100, frames=100)
    before = world.clock.boot()
    while world.clock.boot() < before + 600:
        world.work(1)
    assert len(collector.pushes) < 100
    assert len(everything(world.spool, Lane.EVENTS).items) > 50


def test_unknown_blocks_are_declared_and_sent_again(world: World, collector: FakeCollector) -> None:
    world.fill(events=0, frames=1)
    world.work(1)
    collector.blocks.clear()
    world.fill(events=0, frames=1)
    world.work(2)
    assert collector.seqs(Lane.READINGS) == [1, 2]


def test_a_spool_restored_from_a_backup_begins_a_new_epoch_and_loses_nothing(
    world: World, collector: FakeCollector
) -> None:
    epoch = world.spool.epoch
    collector.through[epoch, Lane.EVENTS] = 50  # it has 50 of us; this spool, from a backup, has given out none
    world.fill(events=3, frames=1)
    world.work(3)
    assert world.spool.epoch != epoch
    assert sorted(collector.taken[world.spool.epoch, Lane.EVENTS]) == [1, 2, 3]


def test_more_is_true_while_more_waits(world: World, collector: FakeCollector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watchkeeper.agent.push.pusher.BATCH_BYTES", 2_000)
    world.fill(events=30, frames=0)
    world.work(3)
    said = [push.more for push in collector.pushes if push.items]
    assert len(said) > 2
    assert said == [True] * (len(said) - 1) + [False]


def test_events_go_before_readings_and_at_once(world: World, collector: FakeCollector) -> None:
    world.work(1)
    world.fill(events=0, frames=1)
    world.work(1)
    collector.pushes.clear()
    world.spool.add_events([verdict(1)], {})
    world.spool.flush()
    world.pusher.step()
    assert [push.lane for push in collector.pushes if push.items] == [Lane.EVENTS]


def test_readings_wait_for_their_second(world: World, collector: FakeCollector) -> None:
    world.work(1)
    for _ in range(10):
        block = world.spool.declare("box", "fake", 30.0, ())
        world.spool.add_frame(block, world.clock.boot(), ())
        world.spool.flush()
        world.pusher.step()
        world.clock.advance(0.1)
    assert len([push for push in collector.pushes if push.items]) == 1


def test_an_idle_agent_gives_a_sign_of_life_every_interval(world: World, collector: FakeCollector) -> None:
    world.pusher.set_bundle(bundle(interval_s=5.0))
    world.work(1)
    collector.pushes.clear()
    before = world.clock.boot()
    while world.clock.boot() < before + 50:
        world.work(1)
    assert 10 <= len(collector.pushes) <= 11


def test_ages_are_right_after_a_jump_of_the_wall_clock(world: World, collector: FakeCollector) -> None:
    world.fill(events=1, frames=1)
    world.clock.advance(100)
    world.clock.now += 7200
    world.work(1)
    frame = next(push.items[0].body for push in collector.pushes if push.items and push.lane is Lane.READINGS)
    assert isinstance(frame, Frame)
    assert 1e6 - frame.at == pytest.approx(100, abs=0.01)


def test_a_tombstone_arrives(world: World, collector: FakeCollector) -> None:
    world.fill(events=0, frames=3)
    world.clock.advance(8 * 86_400)
    world.fill(events=0, frames=1)
    world.work(1)
    assert next(item.body for push in collector.pushes for item in push.items) == Tombstone(1, 3)


# ---- the bundle ----


def test_a_new_bundle_is_fetched(world: World, collector: FakeCollector) -> None:
    collector.served = bundle(device(), version="v1")
    world.work(2)
    assert [found.version for found in world.bundles] == ["v1"]
    world.work(3)
    assert collector.fetched == 1
    collector.served = bundle(device(), device("two"), version="v2")
    world.work(3)
    assert [found.version for found in world.bundles] == ["v1", "v2"]
    assert collector.pushes[-1].bundle == "v2"


def test_a_bundle_that_cannot_be_used_is_logged_once_and_the_previous_one_stays_active(
    world: World, collector: FakeCollector, caplog: pytest.LogCaptureFixture
) -> None:
    def take(found: Bundle) -> None:
        if found.version == "bad":
            raise ConfigError([Problem("power.yml", 3, 1, "no such quantity")])
        world.bundles.append(found)

    world.pusher = Pusher(
        world.spool, world.uplink, world.clock, "room-1", on_bundle=take, on_request=world.requests.append
    )
    collector.served = bundle(device(), version="good")
    world.work(3)
    collector.served = bundle(device(), version="bad")
    world.work(10)
    assert collector.fetched == 2
    assert caplog.text.count("power.yml:3:1") == 1
    assert collector.pushes[-1].bundle == "good"
    collector.served = bundle(device(), version="better")
    world.work(3)
    assert world.bundles[-1].version == "better"


@pytest.mark.parametrize("field", ["agent", "devices"])
def test_another_agents_bundle_is_refused(
    world: World, collector: FakeCollector, field: str, caplog: pytest.LogCaptureFixture
) -> None:
    foreign = device(agent="room-2")
    collector.served = bundle(foreign) if field == "devices" else Bundle("v1", "room-2", 15.0)
    world.work(5)
    assert world.bundles == []
    assert "room-2" in caplog.text


def test_requests_are_passed_on(world: World, collector: FakeCollector) -> None:
    collector.requests = [{"kind": "poll-now", "device": "box"}, {"kind": "dance"}]
    world.pusher.step()
    assert world.requests[:2] == [Request("poll-now", "box"), Request("dance")]


def test_a_collector_that_is_away_is_logged_once_and_its_return_too(
    world: World, collector: FakeCollector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    collector.served = bundle(device())
    collector.behave += [hangs_up] * 4
    world.work(6)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert TOKEN not in caplog.text


def test_a_batch_on_its_way_when_readings_are_dropped_is_not_sent_twice(world: World, collector: FakeCollector) -> None:
    world.fill(events=0, frames=4)
    real = world.uplink.push

    def meanwhile(push: Push, bodies: tuple[str, ...]) -> object:
        answer = real(push, bodies)
        if push.lane is Lane.READINGS and push.items == () and bodies:
            world.clock.advance(8 * 86_400)
            fill(world.spool, world.clock, 1)
        return answer

    world.uplink.push = meanwhile  # type: ignore[method-assign, assignment]
    world.pusher.step()
    assert [item["seq"] for item in items(everything(world.spool, Lane.READINGS))] == [5]
