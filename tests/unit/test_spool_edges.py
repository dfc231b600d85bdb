"""The spool at its edges: what exactly it drops, what it keeps over a restart, and what it does with a place it cannot use."""

import contextlib
import fcntl
import logging
import math
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent_room import columns, everything, fill, items, state, verdict
from watchkeeper.agent.spool import file as spoolfile
from watchkeeper.agent.spool import records
from watchkeeper.agent.spool.file import MEMORY
from watchkeeper.agent.spool.records import Record
from watchkeeper.agent.spool.spool import Limits, Spool
from watchkeeper.model.batch import Block, Lane
from watchkeeper.model.clock import FakeClock, boot_id
from watchkeeper.model.errors import SpoolError
from watchkeeper.model.wire import to_json

KEY = ("box", "heat", "1")
TEN_YEARS_S = 10 * 366 * 86_400.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "var" / "lib" / "spool.db"


@contextlib.contextmanager
def opened(path: Path, clock: FakeClock, limits: Limits | None = None) -> Iterator[Spool]:
    with contextlib.closing(Spool(path, limits or Limits(), clock, "boot-1")) as spool:
        yield spool


# ---- the place ----


def test_the_folders_are_made_for_the_owner_alone(file: Path, clock: FakeClock) -> None:
    with opened(file, clock):
        assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_sound_spool_is_opened_without_a_word(file: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for path in (file, file, MEMORY):
        with opened(path, clock) as spool:
            fill(spool, clock, 1)
    assert caplog.records == []


def test_a_spool_in_memory_leaves_no_file(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with opened(MEMORY, clock) as spool:
        fill(spool, clock, 1)
    assert list(tmp_path.iterdir()) == []


def test_the_lock_has_the_name_that_every_version_of_the_agent_uses(file: Path, clock: FakeClock) -> None:
    file.parent.mkdir(parents=True)
    with file.with_name("spool.db.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(SpoolError, match="another agent"), opened(file, clock):
            pass


def test_what_is_in_the_way_but_no_broken_spool_is_left_alone(file: Path, clock: FakeClock) -> None:
    """A folder of that name, a full disk, a missing right: none of them is a reason to move anything."""
    file.mkdir(parents=True)
    with pytest.raises(SpoolError, match=rf"^{file}: unable to open.*folder"), opened(file, clock):
        pass
    assert [path.name for path in file.parent.iterdir() if path.suffix != ".lock"] == ["spool.db"]


def test_a_link_to_nowhere_is_told_at_once(file: Path, clock: FakeClock) -> None:
    file.parent.mkdir(parents=True)
    file.symlink_to(file.parent / "gone" / "spool.db")
    with pytest.raises(SpoolError, match=rf"^{file}: unable to open"), opened(file, clock):
        pass


def test_every_thread_may_use_it(file: Path, clock: FakeClock) -> None:
    """The poller hands in, a thread of its own writes, the pusher reads."""
    with opened(file, clock) as spool:
        block = spool.declare("box", "fake", 30.0, columns("box", "leak"))
        spool.add_frame(block, clock.boot(), ("yes", "dry"))
        flushed: list[bool] = []
        thread = threading.Thread(target=lambda: flushed.append(spool.flush()))
        thread.start()
        thread.join()
        assert flushed == [True]
        assert len(everything(spool, Lane.READINGS).items) == 1


def test_the_id_of_a_boot_is_the_kernels_and_stays_the_same() -> None:
    assert boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


# ---- putting aside ----


def garbage(file: Path, suffixes: tuple[str, ...] = ("",)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    for suffix in suffixes:
        Path(f"{file}{suffix}").write_bytes(b"this is no database at all" * 500)


def names(file: Path) -> list[str]:
    return sorted(path.name for path in file.parent.iterdir())


def test_a_wreck_keeps_its_write_ahead_log_and_the_clock_of_its_name_is_utc(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log may hold what can still be saved by hand; left in place it would be mixed into the new file."""
    garbage(file, ("", "-wal", "-shm"))
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Shanghai")
        time.tzset()
        wreck = spoolfile.quarantine(file, 1_800_000_000.25)
    time.tzset()
    assert wreck.name == "spool.db.corrupt-20270115T080000.250000Z"
    assert names(file) == [wreck.name, f"{wreck.name}-shm", f"{wreck.name}-wal"]


def test_of_many_wrecks_the_newest_three_are_kept_with_all_their_parts(file: Path) -> None:
    wrecks = []
    for number in range(5):
        garbage(file, ("", "-wal", "-shm"))
        wrecks.append(spoolfile.quarantine(file, 1_800_000_000.0 + number).name)
    assert names(file) == sorted(f"{wreck}{suffix}" for wreck in wrecks[2:] for suffix in ("", "-wal", "-shm"))


def test_a_wreck_that_cannot_be_moved_is_told(file: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    garbage(file)

    def refuse(self: Path, target: object) -> Path:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(SpoolError, match=rf"^{file}: .*Read-only file system"), opened(file, clock):
        pass


def test_a_place_that_takes_no_new_file_after_the_wreck_is_told(
    file: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    garbage(file)
    aside = spoolfile.quarantine

    def quarantined(path: Path, at_utc: float) -> Path:
        wreck = aside(path, at_utc)
        path.mkdir()  # somebody takes the place
        return wreck

    monkeypatch.setattr(spoolfile, "quarantine", quarantined)
    with pytest.raises(SpoolError, match=rf"^{file}: unable to open.*folder"), opened(file, clock):
        pass


HARM = {
    "DROP TABLE set_aside": "tables",
    "DELETE FROM meta WHERE name = 'epoch'": "epoch",
    "PRAGMA user_version = 99": "99",
}


@pytest.mark.parametrize("harm", HARM)
def test_what_is_wrong_with_a_spool_put_aside_is_said(
    harm: str, file: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(file, clock):
        pass
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute(harm)
    with opened(file, clock):
        pass
    (told,) = caplog.messages
    assert f"{file} could not be read (" in told
    assert HARM[harm] in told


def test_why_a_file_cannot_be_read_is_said(file: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    garbage(file)
    with opened(file, clock):
        pass
    assert "could not be read (file is not a database)" in caplog.text


def test_what_the_check_of_a_damaged_file_found_is_said(
    file: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(file, clock) as spool:
        fill(spool, clock, 1)
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_schema SET sql = replace(sql, 'at REAL NOT NULL', 'at TEXT NOT NULL')")
        db.execute("INSERT INTO sqlite_schema SELECT type, 'copy', 'copy', rootpage, replace(sql, 'events', 'copy')"
                   " FROM sqlite_schema WHERE name = 'events'")  # fmt: skip
    with opened(file, clock):
        pass
    (told,) = caplog.messages
    assert "could not be read (" in told
    assert "2nd reference to page" in told


# ---- what is kept over a restart ----


def test_what_was_declared_is_known_after_a_restart_and_keeps_its_number(file: Path, clock: FakeClock) -> None:
    with opened(file, clock) as spool:
        block = fill(spool, clock, 1)
    with opened(file, clock) as spool:
        (told,) = everything(spool, Lane.READINGS).blocks
        assert told == Block(block, "box", "fake", 30.0, columns("box", "temperature.ambient"))
        assert spool.declare("box", "fake", 30.0, columns("box", "temperature.ambient")) == block
        assert spool.declare("box", "fake", 30.0, columns("box", "leak")) == block + 1


def test_a_declaration_alone_is_written(file: Path, clock: FakeClock) -> None:
    """Nothing else may be handed in before the power fails."""
    with opened(file, clock) as spool:
        spool.declare("box", "fake", 30.0, columns("box", "leak"))
    with opened(file, clock) as spool:
        assert spool.declare("box", "fake", 30.0, columns("box", "temperature.ambient")) == 2


def test_what_the_collector_knows_or_forgot_is_remembered(file: Path, clock: FakeClock) -> None:
    with opened(file, clock) as spool:
        block = fill(spool, clock, 2)
        spool.settle(spool.batch(Lane.READINGS, 1, 1), 0)  # it has the block, and none of the frames
    with opened(file, clock) as spool:
        assert everything(spool, Lane.READINGS).blocks == ()
        spool.redeclare([block, 99])
    with opened(file, clock) as spool:
        assert [one.block for one in everything(spool, Lane.READINGS).blocks] == [block]


def test_columns_declared_before_the_file_broke_keep_their_number_after_a_restart(file: Path, clock: FakeClock) -> None:
    with opened(file, clock) as spool:
        fill(spool, clock, 300)
        block = spool.declare("box", "fake", 30.0, columns("box", "leak"))
        spool.flush()
        spool._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        spool._db.execute("PRAGMA shrink_memory")
        whole = bytearray(file.read_bytes())
        for page in range(4096, len(whole), 4096):
            whole[page : page + 512] = b"\xa5" * 512
        file.write_bytes(whole)
        spool.add_events([verdict(1)], {KEY: state()})
        assert spool.flush()
    with opened(file, clock) as spool:
        assert spool.declare("box", "fake", 30.0, columns("box", "leak")) == block


# ---- what is dropped: exactly so much, and only what must go ----


def rows(*ats: float, size_bytes: int = 100) -> list[Record]:
    return [Record(seq, at, 1, 0, 0, "x" * (size_bytes - records.RECORD_BYTES)) for seq, at in enumerate(ats, 1)]


@pytest.mark.parametrize(("excess_bytes", "gone"), [(1, 1), (100, 1), (101, 2), (200, 2), (201, 3)])
def test_no_more_readings_go_than_their_bytes_ask_for(excess_bytes: int, gone: int) -> None:
    assert records.tombstone(rows(1.0, 2.0, 3.0, 4.0), excess_bytes) == (
        Record(gone, float(gone), 0, 1, gone, ""),
        gone,
    )


def test_a_reading_exactly_as_old_as_allowed_stays() -> None:
    assert records.tombstone(rows(1.0, 2.0, 3.0), 0, before=2.0) == (Record(1, 1.0, 0, 1, 1, ""), 1)
    assert records.tombstone(rows(2.0, 3.0), 0, before=2.0) is None


def test_a_tombstone_alone_is_not_made_again() -> None:
    """Each would be a write to the disk, every minute."""
    stone = Record(5, 1.0, 0, 2, 4, "")
    assert records.tombstone([stone, *rows(9.0)], 0, before=2.0) is None
    assert records.tombstone([stone, Record(6, 1.5, 1, 0, 0, ""), Record(7, 9.0, 1, 0, 0, "")], 0, before=2.0) == (
        Record(6, 1.5, 0, 2, 5, ""), 1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("size_bytes", "age_s", "gone"),
    [(200, 1000.0, 0), (199, 1000.0, 1), (1000, 10.0, 1), (150, 10.0, 1), (1000, 11.0, 0)],
)
def test_both_limits_hold_each_by_itself(size_bytes: int, age_s: float, gone: int) -> None:
    """Two readings of 100 bytes, one of them 11 s old, at 20."""
    found = records.tombstone(rows(9.0, 15.0), 200 - size_bytes, before=20.0 - age_s)
    assert (found[1] if found else 0) == gone


def test_nothing_is_said_of_dropping_where_nothing_is_dropped(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(MEMORY, clock, Limits(age_s=3600)) as spool:
        fill(spool, clock, 10)
        clock.advance(minutes=59)
        fill(spool, clock, 1)
        assert caplog.messages == []
        clock.advance(minutes=2)
        fill(spool, clock, 1)
    (told,) = caplog.messages
    assert " 10 " in told


# ---- how it leaves ----


@pytest.mark.parametrize(("ago_s", "age_s"), [(0.123_456, 0.123), (-5.0, 0.0), (TEN_YEARS_S + 5, TEN_YEARS_S)])
def test_an_age_is_in_milliseconds_and_one_the_collector_can_take(ago_s: float, age_s: float) -> None:
    with contextlib.closing(Spool(MEMORY, Limits(age_s=math.inf), clock := FakeClock(), "boot-1")) as spool:
        block = spool.declare("box", "fake", 30.0, columns("box"))
        spool.add_frame(block, clock.boot() - ago_s, ("yes",))
        spool.add_events([verdict(1, since=clock.boot() - ago_s)], {})
        spool.flush()
        (frame,), (event,) = items(everything(spool, Lane.READINGS)), items(everything(spool, Lane.EVENTS))
    assert (frame["age_s"], event["age_s"]) == (age_s, age_s)


def test_what_is_kept_and_sent_is_small_and_json_that_anybody_can_read() -> None:
    assert to_json({"a": [1, "b"]}) == '{"a":[1,"b"]}'
    with pytest.raises(ValueError, match="JSON"):
        to_json(math.nan)


def test_what_changed_while_it_was_written_is_written_again() -> None:
    old, new = state(), state(since=2000.0)
    held = {"same": old, "changed": new, "newer": new}
    records.subtract(held, {"same": old, "changed": old, "gone": old})
    assert held == {"changed": new, "newer": new}
