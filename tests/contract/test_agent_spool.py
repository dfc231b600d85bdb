"""The contract of a spool, on the disk and in memory."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.agent_room import columns, everything, fill, items, state, verdict
from watchkeeper.agent.spool.file import MEMORY
from watchkeeper.agent.spool.spool import Limits, Spool
from watchkeeper.model.batch import Lane
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.reading import Missing, Reason
from watchkeeper.model.verdict import ActiveVerdicts, Level, Withdrawal

Make = Callable[..., Spool]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["disk", "memory"])
def make(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Iterator[Make]:
    made: list[Spool] = []

    def build(limits: Limits | None = None) -> Spool:
        path = tmp_path / "spool.db" if request.param == "disk" else MEMORY
        made.append(Spool(path, limits or Limits(), clock, "boot-1"))
        return made[-1]

    yield build
    for spool in made:
        spool.close()


def test_each_lane_counts_from_one_and_keeps_its_order(make: Make, clock: FakeClock) -> None:
    spool = make()
    fill(spool, clock, 3)
    spool.add_events([verdict(1), verdict(2)], {})
    assert spool.flush()
    assert [item["seq"] for item in items(everything(spool, Lane.READINGS))] == [1, 2, 3]
    assert [item["seq"] for item in items(everything(spool, Lane.EVENTS))] == [1, 2]


def test_nothing_is_sent_before_it_is_committed(make: Make, clock: FakeClock) -> None:
    spool = make()
    spool.add_events([verdict(1)], {})
    assert everything(spool, Lane.EVENTS).items == ()
    spool.flush()
    assert len(everything(spool, Lane.EVENTS).items) == 1


def test_ages_are_those_at_the_time_of_sending(make: Make, clock: FakeClock) -> None:
    spool = make()
    fill(spool, clock, 1)
    spool.add_events(
        [verdict(1, since=clock.boot() - 5), ActiveVerdicts(clock.boot(), (verdict(2, since=clock.boot() - 7),))], {}
    )
    spool.flush()
    clock.advance(100)
    clock.now += 3600  # the wall clock jumps; ages do not
    first, standing = items(everything(spool, Lane.EVENTS))
    assert (first["age_s"], first["evidence"]["first_age_s"]) == (105, 165)
    assert (standing["age_s"], standing["verdicts"][0]["age_s"]) == (100, 107)
    assert items(everything(spool, Lane.READINGS))[0]["age_s"] == 100


def test_a_frame_has_its_values_and_the_reason_of_a_missing_one(make: Make, clock: FakeClock) -> None:
    spool = make()
    block = spool.declare("box", "fake", 30.0, columns("box", "temperature.ambient"))
    spool.add_frame(block, clock.boot(), ("yes", Missing(Reason.TIMEOUT, "no answer")))
    spool.flush()
    (frame,) = items(everything(spool, Lane.READINGS))
    assert frame == {
        "seq": 1, "age_s": 0.0, "block": block, "values": ["yes", None], "missing": {"1": ["timeout", "no answer"]},
    }  # fmt: skip


def test_settled_items_are_gone_and_the_others_are_sent_again(make: Make, clock: FakeClock) -> None:
    spool = make()
    fill(spool, clock, 5)
    batch = spool.batch(Lane.READINGS, 3, 10**6)
    assert batch.more
    assert batch.through == 3
    spool.settle(batch, 2)
    assert [item["seq"] for item in items(everything(spool, Lane.READINGS))] == [3, 4, 5]
    spool.flush()
    rest = everything(spool, Lane.READINGS)
    assert [item["seq"] for item in items(rest)] == [3, 4, 5]
    spool.settle(rest, rest.through)
    assert everything(spool, Lane.READINGS).items == ()
    fill(spool, clock, 1)
    assert [item["seq"] for item in items(everything(spool, Lane.READINGS))] == [6]


def test_a_batch_keeps_to_its_limits_but_has_at_least_one_item(make: Make, clock: FakeClock) -> None:
    spool = make()
    fill(spool, clock, 5)
    assert len(spool.batch(Lane.READINGS, 1000, 1).items) == 1
    assert len(spool.batch(Lane.READINGS, 2, 10**6).items) == 2
    assert spool.batch(Lane.READINGS, 0, 10**6).items == ()
    assert not spool.batch(Lane.READINGS, 5, 10**6).more


def test_a_block_is_declared_until_the_collector_has_it(make: Make, clock: FakeClock) -> None:
    spool = make()
    number = fill(spool, clock, 2)
    batch = spool.batch(Lane.READINGS, 1, 10**6)
    assert [block.block for block in batch.blocks] == [number]
    assert batch.blocks[0].series == columns("box", "temperature.ambient")
    spool.settle(batch, batch.through)
    assert everything(spool, Lane.READINGS).blocks == ()
    spool.redeclare([number])
    assert len(everything(spool, Lane.READINGS).blocks) == 1


def test_equal_columns_are_one_block(make: Make) -> None:
    spool = make()
    one = spool.declare("box", "fake", 30.0, columns("box", "temperature.ambient"))
    assert spool.declare("box", "fake", 30.0, columns("box", "temperature.ambient")) == one
    assert spool.declare("box", "fake", 60.0, columns("box", "temperature.ambient")) != one
    assert spool.declare("box", "fake", 30.0, columns("box", "leak")) != one


def test_a_device_that_changes_its_columns_for_ever_does_not_fill_the_spool(make: Make, clock: FakeClock) -> None:
    spool = make()
    for round_ in range(50):
        block = spool.declare("box", "fake", 30.0, columns("box", f"q{round_}"))
        spool.add_frame(block, clock.boot(), ("yes", 1.0))
        spool.flush()
        batch = everything(spool, Lane.READINGS)
        assert [one.series[1].quantity for one in batch.blocks] == [f"q{round_}"]
        spool.settle(batch, batch.through)
    spool.flush()
    assert spool._db.execute("SELECT count(*) FROM blocks").fetchone()[0] < 10


def test_a_full_spool_drops_the_oldest_readings_and_leaves_one_tombstone(make: Make, clock: FakeClock) -> None:
    spool = make(Limits(size_bytes=300_000))
    spool.add_events([verdict(number) for number in range(20)], {})
    for _ in range(60):
        fill(spool, clock, 100, value="x" * 100)
    stone, *frames = items(everything(spool, Lane.READINGS))
    assert stone["first"] == 1
    assert stone["frames"] == stone["seq"] > 1000
    assert [frame["seq"] for frame in frames] == list(range(stone["seq"] + 1, 6001))
    assert len(frames) > 500
    assert len(everything(spool, Lane.EVENTS).items) == 20, "events are never dropped"


def test_the_file_stays_within_its_limit(make: Make, clock: FakeClock, tmp_path: Path) -> None:
    spool = make(Limits(size_bytes=300_000))
    for _ in range(60):
        fill(spool, clock, 100, value="x" * 100)
    file = tmp_path / "spool.db"
    assert not file.exists() or file.stat().st_size < 400_000


def test_too_old_readings_are_dropped_and_events_stay(make: Make, clock: FakeClock) -> None:
    spool = make(Limits(age_s=3600))
    spool.add_events([verdict(1)], {})
    fill(spool, clock, 10)
    clock.advance(minutes=61)
    fill(spool, clock, 1)
    stone, frame = items(everything(spool, Lane.READINGS))
    assert stone == {"seq": 10, "first": 1, "frames": 10}
    assert frame["seq"] == 11
    clock.advance(minutes=61)
    fill(spool, clock, 1)
    assert items(everything(spool, Lane.READINGS))[0] == {"seq": 11, "first": 1, "frames": 11}, "adjacent ones merge"
    assert len(everything(spool, Lane.EVENTS).items) == 1


def test_a_tombstone_settled_in_part_counts_the_rest(make: Make, clock: FakeClock) -> None:
    spool = make(Limits(age_s=3600))
    fill(spool, clock, 10)
    on_its_way = spool.batch(Lane.READINGS, 4, 10**6)
    clock.advance(minutes=61)
    fill(spool, clock, 1)
    spool.settle(on_its_way, 4)
    spool.flush()
    assert items(everything(spool, Lane.READINGS))[0] == {"seq": 10, "first": 5, "frames": 6}


def test_refused_items_are_set_aside_with_the_reason(make: Make, clock: FakeClock) -> None:
    spool = make()
    fill(spool, clock, 3)
    spool.set_aside(spool.batch(Lane.READINGS, 2, 10**6), "400: bad")
    assert [item["seq"] for item in items(everything(spool, Lane.READINGS))] == [3]
    spool.flush()
    aside = spool._db.execute("SELECT lane, seq, reason FROM set_aside").fetchall()
    assert aside == [("readings", 1, "400: bad"), ("readings", 2, "400: bad")]


def test_items_set_aside_are_limited_too(make: Make, clock: FakeClock) -> None:
    spool = make(Limits(size_bytes=80_000))
    for _ in range(100):
        fill(spool, clock, 10, value="x" * 100)
        spool.set_aside(everything(spool, Lane.READINGS), "400: bad")
    spool.flush()
    weight, last = spool._db.execute("SELECT sum(length(body)), max(seq) FROM set_aside").fetchone()
    assert weight <= 10_000
    assert last == 1000


def test_states_are_committed_with_their_events(make: Make, clock: FakeClock) -> None:
    spool = make()
    key = ("box", "heat", "1")
    spool.add_events([verdict(1)], {key: state()})
    assert spool.states() == {}
    spool.flush()
    assert spool.states() == {key: state()}
    spool.add_events([], {key: None})
    spool.flush()
    assert spool.states() == {}


def test_a_new_epoch_declares_all_blocks_again_and_loses_nothing(make: Make, clock: FakeClock) -> None:
    spool = make()
    fill(spool, clock, 2)
    spool.settle(spool.batch(Lane.READINGS, 1, 10**6), 1)
    before = spool.epoch
    spool.begin_epoch()
    batch = everything(spool, Lane.READINGS)
    assert batch.epoch != before
    assert [item["seq"] for item in items(batch)] == [2]
    assert len(batch.blocks) == 1


def test_an_answer_for_another_epoch_declares_nothing(make: Make, clock: FakeClock) -> None:
    spool = make()
    fill(spool, clock, 2)
    late = spool.batch(Lane.READINGS, 1, 10**6)
    spool.begin_epoch()
    spool.settle(late, late.through)
    assert len(everything(spool, Lane.READINGS).blocks) == 1


def test_a_withdrawal_is_sent_as_the_protocol_says(make: Make, clock: FakeClock) -> None:
    spool = make()
    spool.add_events([Withdrawal("id", "box", "heat", "", clock.boot() - 2, "the rule is gone")], {})
    spool.flush()
    (item,) = items(everything(spool, Lane.EVENTS))
    assert (item["kind"], item["age_s"], item["reason"]) == ("withdrawn", 2.0, "the rule is gone")


def test_a_full_disk_keeps_everything_in_memory_and_sends_from_there(make: Make, clock: FakeClock) -> None:
    spool = make()
    fill(spool, clock, 5)
    pages = spool._db.execute("PRAGMA page_count").fetchone()[0]
    spool._db.execute(f"PRAGMA max_page_count = {pages}")
    for number in range(400):
        spool.add_events([verdict(number)], {("box", "heat", str(number)): state(Level.WARNING)})
    assert not spool.flush()
    assert "full" in spool.disk_error
    batch = everything(spool, Lane.EVENTS)
    assert len(batch.items) == 400
    spool.settle(batch, 100)
    assert len(everything(spool, Lane.EVENTS).items) == 300
    spool._db.execute("PRAGMA max_page_count = 1000000")
    assert spool.flush()
    assert not spool.disk_error
    assert [item["seq"] for item in items(everything(spool, Lane.EVENTS))] == list(range(101, 401))
    assert len(spool.states()) == 400


def test_notes_are_on_disk_for_agent_status(make: Make, clock: FakeClock) -> None:
    spool = make()
    spool.note("answer", json.dumps({"through": 1}))
    spool.flush()
    assert spool._db.execute("SELECT value FROM meta WHERE name = 'answer'").fetchone() == ('{"through": 1}',)
