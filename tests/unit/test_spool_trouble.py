"""The spool when something goes wrong: a full disk, a file that breaks in use, a collector that forgot."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent_room import columns, everything, fill, items, state, verdict
from watchkeeper.agent.spool import file as spoolfile
from watchkeeper.agent.spool import records
from watchkeeper.agent.spool import spool as spool_module
from watchkeeper.agent.spool.file import MEMORY
from watchkeeper.agent.spool.spool import Limits, Spool
from watchkeeper.model.batch import Block, Frame, Lane
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.errors import SpoolError

KEY = ("box", "heat", "1")
FULL = "database or disk is full"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@contextlib.contextmanager
def opened(path: Path, clock: FakeClock, limits: Limits | None = None) -> Iterator[Spool]:
    with contextlib.closing(Spool(path, limits or Limits(), clock, "boot-1")) as spool:
        yield spool


def fill_disk(spool: Spool) -> None:
    pages = spool._db.execute("PRAGMA page_count").fetchone()[0]
    spool._db.execute(f"PRAGMA max_page_count = {pages}")


def make_room(spool: Spool) -> None:
    spool._db.execute("PRAGMA max_page_count = 1000000")


def damage(spool: Spool, file: Path) -> None:
    """Make rubbish of the file while it is in use."""
    spool._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    spool._db.execute("PRAGMA shrink_memory")
    whole = bytearray(file.read_bytes())
    for page in range(4096, len(whole), 4096):
        whole[page : page + 512] = b"\xa5" * 512
    file.write_bytes(whole)


def wrecks(file: Path) -> list[Path]:
    return list(file.parent.glob("spool.db.corrupt-*Z"))


# ---- a full disk ----


def test_a_full_disk_is_told_with_what_to_do_and_its_end_too(
    file: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(file, clock) as spool:
        assert spool.disk_error == ""
        fill(spool, clock, 1)
        fill_disk(spool)
        spool.add_events([verdict(number) for number in range(100)], {})
        assert not spool.flush()
        assert spool.disk_error == FULL
        make_room(spool)
        assert spool.flush()
        assert spool.disk_error == ""
        assert len(everything(spool, Lane.EVENTS).items) == 100
    full, again = caplog.messages
    assert str(file) in full
    assert f"({FULL})" in full
    assert str(file) in again


def test_readings_that_fit_into_memory_are_kept_while_the_disk_is_full(
    file: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "MEMORY_BYTES", 20_000)
    with opened(file, clock) as spool:
        block = fill(spool, clock, 1)
        fill_disk(spool)
        for _ in range(300):
            spool.add_frame(Frame(block, clock.boot(), ("yes", 20.0)))
        assert not spool.flush()
        found = items(everything(spool, Lane.READINGS))
        assert [item["seq"] for item in found] == list(range(1, 302))
        assert all("first" not in item for item in found)
        make_room(spool)


def test_of_readings_that_do_not_fit_into_memory_the_oldest_quarter_goes(
    file: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "MEMORY_BYTES", 20_000)
    with opened(file, clock) as spool:
        block = fill(spool, clock, 1)
        (size_bytes,) = (row.size_bytes for row in records.read(spool._db, Lane.READINGS, 0))
        fill_disk(spool)
        for _ in range(20_000 // size_bytes + 1):
            spool.add_frame(Frame(block, clock.boot(), ("yes", 20.0)))
        spool.flush()
        kept = [item for item in items(everything(spool, Lane.READINGS))[1:] if "first" not in item]
        assert 15_000 - size_bytes <= len(kept) * size_bytes <= 15_000
        make_room(spool)


def test_a_flush_without_anything_to_write_has_succeeded(clock: FakeClock) -> None:
    with opened(MEMORY, clock) as spool:
        assert spool.flush()
        fill(spool, clock, 1)
        assert spool.flush()


# ---- a file that breaks in use ----


def test_a_file_that_breaks_is_told_and_the_next_epoch_is_the_one_on_disk(
    file: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(file, clock) as spool:
        before = spool.epoch
        fill(spool, clock, 300)
        damage(spool, file)
        spool.add_events([verdict(1)], {KEY: state()})
        assert spool.flush()
        epoch = spool.epoch
        assert everything(spool, Lane.EVENTS).epoch == epoch != before
    (told,) = caplog.messages
    (wreck,) = wrecks(file)
    assert f"{file} is broken (database disk image is malformed)" in told
    assert str(wreck) in told
    with opened(file, clock) as spool:
        assert spool.epoch == epoch


def test_a_file_that_is_found_broken_when_it_is_read_is_replaced(
    file: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(file, clock) as spool:
        fill(spool, clock, 300)
        damage(spool, file)
        everything(spool, Lane.READINGS)
        assert "is broken" in caplog.text
        fill(spool, clock, 1)
        assert [item["seq"] for item in items(everything(spool, Lane.READINGS))] == [301]


def test_an_epoch_begun_on_a_broken_file_is_not_mixed_with_that_of_the_new_one(file: Path, clock: FakeClock) -> None:
    with opened(file, clock) as spool:
        fill(spool, clock, 300)
        damage(spool, file)
        spool.begin_epoch()
        epoch = spool.epoch
    with opened(file, clock) as spool:
        assert spool.epoch == epoch


def test_where_no_new_file_can_be_made_it_is_tried_again(
    file: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(file, clock) as spool:
        fill(spool, clock, 300)
        damage(spool, file)
        spool.add_events([verdict(1)], {KEY: state()})
        with monkeypatch.context() as patch:

            def refuse(path: Path, at_utc: float) -> None:
                raise SpoolError(f"{path}: the folder is gone")

            patch.setattr(spoolfile, "open_spool", refuse)
            assert not spool.flush()
            assert spool.disk_error == "database disk image is malformed"
            assert f"{file}: the folder is gone" in caplog.text
        assert spool.flush()
        assert [item["id"] for item in items(everything(spool, Lane.EVENTS))] == ["id-1"]


def test_a_full_disk_after_a_broken_file_breaks_nothing_more(file: Path, clock: FakeClock) -> None:
    with opened(file, clock) as spool:
        fill(spool, clock, 300)
        damage(spool, file)
        fill(spool, clock, 1)
        epoch = spool.epoch
        fill_disk(spool)
        spool.add_events([verdict(number) for number in range(100)], {})
        assert not spool.flush()
        make_room(spool)
        assert spool.flush()
        assert spool.epoch == epoch
    assert len(wrecks(file)) == 1


def test_a_place_where_every_new_file_breaks_is_no_success(
    file: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise sqlite3.DatabaseError("no file holds here")

    with opened(file, clock) as spool, monkeypatch.context() as patch:
        patch.setattr(records, "write", breaks)
        patch.setattr(spoolfile, "is_broken", lambda error: True)
        spool.add_events([verdict(1)], {})
        assert not spool.flush()
        assert spool.disk_error == "no file holds here"


def test_a_state_that_cannot_be_read_is_named_and_the_others_are_read(
    file: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(file, clock) as spool:
        spool.add_events([], {KEY: state(), ("ups-7", "power", "phase 2"): state()})
        spool.flush()
        spool._db.execute("UPDATE states SET body = '{}' WHERE device = 'ups-7'")
        assert spool.states() == {KEY: state()}
    (told,) = caplog.messages
    assert "power on ups-7 phase 2" in told
    assert "not the state of a rule" in told


# ---- limits ----


def test_the_file_is_within_its_limit_after_every_flush_and_room_is_made_for_many(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(MEMORY, clock, Limits(size_bytes=160_000)) as spool:
        for _ in range(300):
            fill(spool, clock, 1, value="x" * 1000)
            assert records.used_bytes(spool._db) <= 160_000
        flushes_over = 300 - items(everything(spool, Lane.READINGS))[0]["first"] - 100
    assert 3 <= len(caplog.messages) <= flushes_over / 5, "not the oldest one at every flush"


def test_a_spool_that_is_nearly_full_drops_nothing(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    with opened(MEMORY, clock, Limits(size_bytes=160_000)) as spool:
        while records.used_bytes(spool._db) <= 160_000 - 8_000:
            fill(spool, clock, 1, value="x" * 1000)
        clock.advance(120)
        fill(spool, clock, 1)
    assert caplog.messages == []


def test_old_readings_are_looked_for_once_a_minute(clock: FakeClock) -> None:
    with opened(MEMORY, clock, Limits(age_s=10)) as spool:
        fill(spool, clock, 1)
        clock.advance(57)
        fill(spool, clock, 1)  # at 59 s
        assert "first" not in items(everything(spool, Lane.READINGS))[0]
        fill(spool, clock, 1)  # at 60 s
        assert items(everything(spool, Lane.READINGS))[0] == {"seq": 1, "first": 1, "frames": 1}


def test_an_eighth_of_the_spool_is_kept_of_what_was_refused(clock: FakeClock) -> None:
    with opened(MEMORY, clock, Limits(size_bytes=80_000)) as spool:
        for _ in range(20):
            fill(spool, clock, 10, value="x" * 60)
            spool.set_aside(everything(spool, Lane.READINGS), "")
        spool.flush()
        (kept_bytes,) = spool._db.execute("SELECT sum(length(body)) FROM set_aside").fetchone()
        assert 9_500 < kept_bytes <= 10_000
        assert spool._db.execute("SELECT DISTINCT reason FROM set_aside").fetchall() == [("refused",)]


@pytest.mark.parametrize(("spare_bytes", "taken"), [(0, 2), (-1, 1), (1, 2)])
def test_a_batch_is_exactly_as_large_as_asked_for(spare_bytes: int, taken: int, clock: FakeClock) -> None:
    with opened(MEMORY, clock) as spool:
        fill(spool, clock, 4)
        two_bytes = sum(row.size_bytes for row in list(records.read(spool._db, Lane.READINGS, 0))[:2])
        batch = spool.batch(Lane.READINGS, 100, two_bytes + spare_bytes)
        assert (len(batch.items), batch.through, batch.more) == (taken, taken, True)


# ---- blocks ----


def test_a_block_belongs_to_one_device_as_one_probe_reads_it(clock: FakeClock) -> None:
    same = columns("box", "leak")
    with opened(MEMORY, clock) as spool:
        blocks = [spool.declare(device, probe, 30.0, same) for device, probe in (("a", "x"), ("b", "x"), ("a", "y"))]
        assert blocks == [1, 2, 3]
        spool.add_frame(Frame(3, clock.boot(), ("yes", "dry")))
        spool.flush()
        assert everything(spool, Lane.READINGS).blocks == (Block(3, "a", "y", 30.0, same),)


def test_columns_that_come_back_after_many_others_are_known_after_a_restart(file: Path, clock: FakeClock) -> None:
    """Of a device that changes its columns again and again only a few blocks are kept."""

    def read(spool: Spool, quantity: str) -> int:
        block = spool.declare("box", "fake", 30.0, columns("box", quantity))
        spool.add_frame(Frame(block, clock.boot(), ("yes", 1.0)))
        spool.flush()
        return block

    with opened(file, clock) as spool:
        for number in range(10):
            read(spool, f"q{number}")
            batch = everything(spool, Lane.READINGS)
            spool.settle(batch, batch.through)
        last = read(spool, "q0")
    with opened(file, clock) as spool:
        assert [block.block for block in everything(spool, Lane.READINGS).blocks] == [last]


def test_only_the_blocks_that_the_collector_lacks_are_declared_again(clock: FakeClock) -> None:
    with opened(MEMORY, clock) as spool:
        for name in ("a", "b"):
            spool.add_frame(
                Frame(spool.declare(name, "fake", 30.0, columns(name, "leak")), clock.boot(), ("yes", "dry"))
            )
        spool.flush()
        spool.settle(everything(spool, Lane.READINGS), 0)
        spool.redeclare([2, 99])
        assert [block.device for block in everything(spool, Lane.READINGS).blocks] == ["b"]


def test_a_new_epoch_is_on_disk_and_everything_is_declared_in_it(file: Path, clock: FakeClock) -> None:
    with opened(file, clock) as spool:
        block = fill(spool, clock, 1)
        spool.settle(everything(spool, Lane.READINGS), 0)
        spool.begin_epoch()
        assert spool.disk_error == ""
        epoch = spool.epoch
    with opened(file, clock) as spool:
        assert spool.epoch == epoch
        assert [one.block for one in everything(spool, Lane.READINGS).blocks] == [block]
