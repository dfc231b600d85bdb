"""The spool's file: read again after a restart, another boot or a crash; set aside when it is broken."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from tests.agent_room import everything, fill, items, state, verdict
from watchkeeper.agent.spool import spool as spool_module
from watchkeeper.agent.spool.spool import Limits, Spool
from watchkeeper.agent.spool.status import read_status
from watchkeeper.model.batch import Lane
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.errors import SpoolError
from watchkeeper.model.verdict import ActiveVerdicts

KEY = ("box", "heat", "1")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "spool.db"


def opened(file: Path, clock: FakeClock, boot_id: str = "boot-1") -> contextlib.closing[Spool]:
    return contextlib.closing(Spool(file, Limits(), clock, boot_id))


def test_a_restart_finds_everything_again(file: Path, clock: FakeClock) -> None:
    with opened(file, clock) as spool:
        epoch = spool.epoch
        fill(spool, clock, 3)
        batch = everything(spool, Lane.READINGS)
        spool.settle(batch, 2)
        spool.add_events([verdict(1), ActiveVerdicts(clock.boot())], {KEY: state()})
    with opened(file, clock) as spool:
        assert spool.epoch == epoch
        assert not spool.fresh
        assert [item["seq"] for item in items(everything(spool, Lane.READINGS))] == [3]
        assert everything(spool, Lane.READINGS).blocks == (), "declared once an epoch"
        assert spool.states() == {KEY: state()}
        assert spool.given_before == {Lane.EVENTS: 2, Lane.READINGS: 3}
        fill(spool, clock, 1)
        assert [item["seq"] for item in items(everything(spool, Lane.READINGS))] == [3, 4]


def test_seqs_go_on_even_when_everything_was_settled(file: Path, clock: FakeClock) -> None:
    with opened(file, clock) as spool:
        fill(spool, clock, 3)
        spool.settle(everything(spool, Lane.READINGS), 3)
    with opened(file, clock) as spool:
        fill(spool, clock, 1)
        assert [item["seq"] for item in items(everything(spool, Lane.READINGS))] == [4]


def test_a_spool_is_fresh_until_a_report_of_active_verdicts_is_on_disk(file: Path, clock: FakeClock) -> None:
    for _ in range(2):
        with opened(file, clock) as spool:
            assert spool.fresh
            spool.add_events([verdict(1)], {KEY: state()})
    with opened(file, clock) as spool:
        spool.add_events([ActiveVerdicts(clock.boot())], {})
    with opened(file, clock) as spool:
        assert not spool.fresh


def _garbage(file: Path) -> None:
    file.write_bytes(b"this is no database at all" * 500)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2 + 100])


def _page(file: Path) -> None:
    whole = bytearray(file.read_bytes())
    for page in range(4096, len(whole), 4096):
        whole[page : page + 512] = b"\xa5" * 512
    file.write_bytes(whole)


def _schema(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version = 99")


def _foreign(file: Path) -> None:
    file.unlink()
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("CREATE TABLE somebody_elses (x)")


@pytest.mark.parametrize("harm", [_garbage, _cut, _page, _schema, _foreign])
def test_a_broken_file_is_set_aside_and_logged(
    harm: object, file: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(file, clock) as spool:
        before = spool.epoch
        fill(spool, clock, 300)
    assert callable(harm)
    harm(file)
    with opened(file, clock) as spool:
        assert spool.epoch != before
        assert spool.fresh
        fill(spool, clock, 1)
        assert len(everything(spool, Lane.READINGS).items) == 1
    broken = list(file.parent.glob("spool.db.corrupt-*Z"))
    assert len(broken) == 1
    assert str(broken[0]) in caplog.text


def test_only_the_newest_broken_files_are_kept(file: Path, clock: FakeClock) -> None:
    for _ in range(6):
        with opened(file, clock):
            clock.advance(60)
        _garbage(file)
    assert len(list(file.parent.glob("spool.db.corrupt-*Z"))) == 3


def test_a_file_that_breaks_while_in_use_loses_only_what_was_in_it(
    file: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(file, clock) as spool:
        before = spool.epoch
        fill(spool, clock, 300)
        spool._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        spool._db.execute("PRAGMA shrink_memory")
        _page(file)
        spool.add_events([verdict(1)], {KEY: state()})
        assert spool.flush()
        assert spool.epoch != before
        assert [item["id"] for item in items(everything(spool, Lane.EVENTS))] == ["id-1"]
        assert "is broken" in caplog.text
        block = fill(spool, clock, 1)
        assert [one.block for one in everything(spool, Lane.READINGS).blocks] == [block], "declared again"


def test_a_folder_that_cannot_be_written_is_reported_at_once(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="folder"):
        Spool(tmp_path / "file" / "spool.db", Limits(), clock, "boot-1")


def test_two_agents_do_not_share_a_spool(file: Path, clock: FakeClock) -> None:
    with opened(file, clock), pytest.raises(SpoolError, match="another agent"):
        Spool(file, Limits(), clock, "boot-1")


def test_only_its_owner_can_read_the_spool(file: Path, clock: FakeClock) -> None:
    with opened(file, clock) as spool:
        fill(spool, clock, 1)
        modes = {
            path.name: path.stat().st_mode & 0o077 for path in file.parent.glob("spool.db*") if "lock" not in path.name
        }
    assert set(modes.values()) == {0}, modes


def test_memory_is_bounded_while_the_disk_is_full(
    file: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(spool_module, "MEMORY_BYTES", 20_000)
    with opened(file, clock) as spool:
        block = fill(spool, clock, 1)
        spool._db.execute(f"PRAGMA max_page_count = {spool._db.execute('PRAGMA page_count').fetchone()[0]}")
        for _ in range(20):
            for _ in range(100):
                spool.add_frame(block, clock.boot(), ("yes", 20.0))
            spool.flush()
        found = items(everything(spool, Lane.READINGS))
        (stone,) = (item for item in found if "first" in item)
        assert stone["frames"] == stone["seq"] - stone["first"] + 1 > 1000
        seqs = [item["seq"] for item in found]
        assert seqs == [*range(1, stone["first"]), *range(stone["seq"], 2002)], "in order, and every seq accounted for"
        assert caplog.text.count("cannot be written") == 1, "logged once"
        spool._db.execute("PRAGMA max_page_count = 100000")


def test_status_reads_beside_a_running_agent(file: Path, clock: FakeClock) -> None:
    with pytest.raises(SpoolError, match="there is no spool"):
        read_status(file, 0.0)
    with opened(file, clock) as spool:
        fill(spool, clock, 3)
        spool.add_events([verdict(1)], {KEY: state()})
        spool.set_aside(spool.batch(Lane.READINGS, 1, 1), "400: bad")
        spool.note("answer", '{"through": 7}')
        spool.flush()
        found = read_status(file, clock.boot() + 10)
    events, readings = found.lanes
    assert (events.waiting, readings.waiting, readings.oldest_s) == (1, 2, 11.0)
    assert (found.states, found.answer) == (1, {"through": 7})
    assert [(refused.lane, refused.items, refused.reason) for refused in found.refused] == [("readings", 1, "400: bad")]


@pytest.mark.parametrize("how", ["file", "folder", "replaced"])
def test_a_file_that_is_removed_under_us_is_put_back_with_everything(file: Path, clock: FakeClock, how: str) -> None:
    with opened(file, clock) as spool:
        fill(spool, clock, 3)
        epoch = spool.epoch
        if how == "replaced":
            other = file.with_name("other")
            other.write_text("no spool")
            other.replace(file)
        elif how == "file":
            file.unlink()
        else:
            file.parent.rename(file.parent.with_name("elsewhere"))
        assert spool.moved
        fill(spool, clock, 1)
        assert not spool.moved
        assert not spool.disk_error
    with opened(file, clock) as spool:
        assert spool.epoch == epoch
        assert [item["seq"] for item in items(everything(spool, Lane.READINGS))] == [1, 2, 3, 4]
    assert len(list(file.parent.glob("*.replaced-*Z"))) == (how == "replaced")
    assert file.stat().st_mode & 0o077 == 0


def test_where_another_agent_uses_the_place_everything_stays_in_memory(file: Path, clock: FakeClock) -> None:
    with opened(file, clock) as spool:
        fill(spool, clock, 1)
        file.parent.rename(file.parent.with_name("elsewhere"))
        with opened(file, clock) as other:
            spool.add_events([verdict(1)], {})
            assert not spool.flush()
            assert "another agent" in spool.disk_error
            assert len(everything(spool, Lane.EVENTS).items) == 1
            assert everything(other, Lane.EVENTS).items == ()
        assert spool.flush()
    with opened(file, clock) as spool:
        assert len(everything(spool, Lane.EVENTS).items) == 1
