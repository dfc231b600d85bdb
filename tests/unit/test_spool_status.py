"""What can be seen of a spool from outside: `agent status`, whether a lane is behind, and where a crash is tried."""

import contextlib
import json
from pathlib import Path

import pytest

from tests.agent_room import everything, fill, state, verdict
from watchkeeper.agent.spool import file as spoolfile
from watchkeeper.agent.spool import spool as spool_module
from watchkeeper.agent.spool.file import MEMORY
from watchkeeper.agent.spool.spool import Limits, Spool
from watchkeeper.agent.spool.status import LaneStatus, RefusedItems, read_status
from watchkeeper.model.batch import Lane
from watchkeeper.model.clock import FakeClock, boot_id
from watchkeeper.model.errors import SpoolError

KEY = ("box", "heat", "1")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


def opened(path: Path, clock: FakeClock) -> contextlib.closing[Spool]:
    return contextlib.closing(Spool(path, Limits(), clock, "boot-1"))


def test_a_lane_is_behind_until_the_collector_has_all_of_it(clock: FakeClock) -> None:
    with opened(MEMORY, clock) as spool:
        assert not spool.has_unsettled(Lane.READINGS)
        fill(spool, clock, 2)
        batch = everything(spool, Lane.READINGS)
        spool.settle(batch, 1)
        assert spool.has_unsettled(Lane.READINGS)
        spool.settle(batch, 2)
        assert not spool.has_unsettled(Lane.READINGS)


def test_the_points_where_a_crash_is_tried_are_passed_in_order(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tests/chaos/kills.py kills the agent at these names."""
    passed: list[str] = []
    monkeypatch.setattr(spool_module, "failpoint", passed.append)
    with opened(MEMORY, clock) as spool:
        fill(spool, clock, 1)
        assert passed == ["agent.readings.committed"]
        spool.add_events([verdict(1)], {})
        spool.settle(everything(spool, Lane.READINGS), 1)
        spool.flush()
    assert passed[1:] == ["agent.event.before-commit", "agent.event.committed", "agent.settled"]


def test_a_spool_knows_by_itself_which_boot_this_is(file: Path, clock: FakeClock) -> None:
    with contextlib.closing(Spool(file, Limits(), clock)) as spool:
        assert json.loads(spoolfile.get_note(spool._db, "boot") or "{}")["boot_id"] == boot_id()


def test_status_tells_everything_and_changes_nothing(file: Path, clock: FakeClock) -> None:
    with opened(file, clock) as spool:
        fill(spool, clock, 5)
        spool.settle(everything(spool, Lane.READINGS), 2)
        spool.add_events([], {KEY: state()})
        spool.note("answer", '{"through": 2}')
        spool.note("away", '{"since": 1}')
        spool.flush()
        spool.set_aside(spool.batch(Lane.READINGS, 1, 1), "400: bad")
        spool.flush()
        before = file.read_bytes()
        found = read_status(file, clock.boot() + 10)
        early = read_status(file, 0.0)
        assert file.read_bytes() == before
        assert found.file_bytes == sum(Path(f"{file}{suffix}").stat().st_size for suffix in ("", "-wal"))
    assert found.lanes == (LaneStatus("events", 0, None, 0, 0), LaneStatus("readings", 2, 11.0, 5, 3))
    assert early.lanes[1].oldest_s == 0.0, "another boot's clock: no age is below zero"
    assert (found.epoch, found.states) == (spool.epoch, 1)
    assert found.refused == (RefusedItems("readings", 1, "400: bad"),)
    assert (found.answer, found.away) == ({"through": 2}, {"since": 1})


def test_status_of_an_agent_that_was_never_answered_has_no_answer(file: Path, clock: FakeClock) -> None:
    with opened(file, clock):
        found = read_status(file, clock.boot())
    assert (found.answer, found.away) == ({}, {})


def test_status_of_rubbish_says_why(file: Path) -> None:
    file.write_bytes(b"this is no database at all" * 500)
    with pytest.raises(SpoolError, match=rf"^{file}: cannot be read: file is not a database"):
        read_status(file, 0.0)
