"""The thread of the scheduled backups, on a fake clock: when it has one made, what it knows, and the finding that comes of it."""

import datetime
import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.story.world import NOON, World
from watchkeeper.collector.process.own.backups import BackupAge
from watchkeeper.collector.process.own.rules import OwnRules
from watchkeeper.collector.process.upkeep.backups import Backups, by_process
from watchkeeper.collector.site.settings import BackupConfig
from watchkeeper.collector.store.backups.folder import back_up
from watchkeeper.collector.store.backups.kept import Kept, listed
from watchkeeper.collector.store.backups.plan import BackupState

DAY_S = 86_400.0


class Nightly:
    """A world with scheduled backups. `fails` is why none can be made."""

    def __init__(self, tmp_path: Path) -> None:
        self.world = World(f"sqlite:///{tmp_path / 'its.db'}")
        self.clock, self.folder = self.world.clock, tmp_path / "kept"
        self.config = BackupConfig(str(self.folder))
        self.tries, self.fails, self.doubt, self.wrong_s = 0, "", False, 0.0
        self.backups = self.start()

    def start(self) -> Backups:
        """The thread after a start of the collector."""
        self.backups = Backups(
            self.config, self.folder, self.clock, lambda: datetime.UTC, self.make, in_doubt=lambda: self.doubt
        )
        return self.backups

    def make(self, now: float, _must_stop: Callable[[], bool]) -> str:
        self.tries += 1
        if not self.fails:
            back_up(self.world.store, self.folder, now + self.wrong_s, self.config, 0)
        return self.fails

    def minutes(self, count: float) -> None:
        """Let minutes pass; the thread looks once in each."""
        for _ in range(int(count)):
            self.clock.advance(minutes=1)
            self.backups.turn()


@pytest.fixture
def nightly(tmp_path: Path) -> Iterator[Nightly]:
    made = Nightly(tmp_path)
    yield made
    made.world.close()


def test_one_is_made_at_once_and_then_one_a_day(nightly: Nightly) -> None:
    assert nightly.backups.state() is None
    nightly.backups.turn()
    assert nightly.backups.state() is BackupState.OK
    nightly.minutes(3 * 24 * 60)
    assert nightly.tries == 4
    assert listed(nightly.folder)[0].taken_at == pytest.approx(NOON + 3 * DAY_S - 1800, abs=60)  # 03:30 UTC
    assert (nightly.backups.kept.good, nightly.backups.kept.damaged) == (4, 0)
    assert nightly.backups.age_s() == pytest.approx(1800, abs=60)


def test_a_restart_makes_no_further_one(nightly: Nightly) -> None:
    nightly.backups.turn()
    nightly.start().turn()
    assert nightly.tries == 1
    assert nightly.backups.state() is BackupState.OK


def test_after_a_failure_it_is_tried_again_each_quarter_of_an_hour(nightly: Nightly) -> None:
    nightly.fails = "the disk has 3 MB left"
    nightly.backups.turn()
    assert (nightly.tries, nightly.backups.state()) == (1, BackupState.NONE)
    nightly.minutes(44)
    assert (nightly.tries, nightly.backups.failures, nightly.backups.problem) == (3, 3, "the disk has 3 MB left")
    nightly.fails = ""
    nightly.minutes(1)
    assert (nightly.tries, nightly.backups.state(), nightly.backups.problem) == (4, BackupState.OK, "")


def test_while_the_clock_is_in_doubt_none_is_made(nightly: Nightly) -> None:
    nightly.doubt = True
    nightly.minutes(5)
    assert nightly.tries == 0
    nightly.doubt = False
    nightly.minutes(1)
    assert nightly.tries == 1


def test_backups_from_the_future_are_not_made_one_after_the_other(nightly: Nightly) -> None:
    nightly.wrong_s = DAY_S
    nightly.minutes(29)
    assert nightly.tries == 2
    assert nightly.backups.state() is BackupState.NONE


def test_a_damaged_newest_one_does_not_count_and_a_new_one_is_made(nightly: Nightly) -> None:
    nightly.backups.turn()
    nightly.minutes(24 * 60)
    newest = listed(nightly.folder)[0].file
    newest.write_bytes(newest.read_bytes()[:-1])
    nightly.backups.turn()
    assert nightly.tries == 3
    assert (nightly.backups.kept.good, nightly.backups.kept.damaged) == (2, 1)
    assert nightly.backups.state() is BackupState.OK


def test_a_file_is_read_again_after_a_day(nightly: Nightly) -> None:
    """The disk may change it without changing its time."""
    nightly.backups.turn()
    file = listed(nightly.folder)[0].file
    status, content = file.stat(), bytearray(file.read_bytes())
    content[50] ^= 4
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    nightly.backups.turn()
    assert nightly.backups.kept.damaged == 0
    nightly.minutes(24 * 60 + 1)
    assert nightly.backups.kept.damaged == 1


def test_a_folder_that_cannot_be_read_is_no_good_backup(nightly: Nightly) -> None:
    nightly.folder.write_text("a file")
    nightly.fails = "not a folder"
    nightly.backups.turn()
    assert nightly.backups.state() is BackupState.NONE
    assert nightly.backups.age_s() is None


def test_a_folder_that_is_away_for_a_while_is_late_only_when_its_backup_is_old(
    nightly: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    nightly.backups.turn()
    nightly.fails = "stale"

    def stale(_: Path) -> list[Kept]:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr("watchkeeper.collector.process.upkeep.backups.listed", stale)
    nightly.minutes(30 * 60)
    assert nightly.backups.state() is BackupState.OK
    nightly.minutes(2 * 60)
    assert nightly.backups.state() is BackupState.LATE


def test_a_thread_that_never_comes_back_is_late_after_ten_minutes(nightly: Nightly) -> None:
    nightly.clock.advance(minutes=10)
    assert nightly.backups.state() is None
    nightly.clock.advance(minutes=1)
    assert nightly.backups.state() is BackupState.NONE


# ---- the finding ----


def test_a_backup_that_is_late_opens_an_incident_and_a_new_one_ends_it(nightly: Nightly) -> None:
    world = nightly.world
    rules = OwnRules(world.runtime, [BackupAge("here", nightly.backups.state)])

    def hours(count: float) -> list[tuple[str, str, bool]]:
        for _ in range(int(count * 60)):
            nightly.minutes(1)
            rules.look()
        return [(one.rule, one.instance, one.open) for one in world.incidents()]

    assert hours(24) == []
    nightly.fails = "the disk is full"
    assert hours(24) == []
    assert hours(7) == [("watchkeeper.backup-late", "here", True)]
    nightly.fails = ""
    assert hours(1) == [("watchkeeper.backup-late", "here", False)]


# ---- the process ----


def test_the_collector_itself_loads_no_cryptography_of_backups() -> None:
    code = "import sys; import watchkeeper.collector.main; print('pyrage' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_what_a_failed_process_says_last_is_the_reason() -> None:
    said = by_process([sys.executable, "-c", "import sys; print('one\\nno space', file=sys.stderr); sys.exit(1)"], 60.0)
    assert said(0.0, lambda: False) == "no space"
    assert (
        by_process([sys.executable, "-c", "raise SystemExit(3)"], 60.0)(0.0, lambda: False)
        == "its process ended with 3"
    )
    assert by_process([sys.executable, "-c", ""], 60.0)(0.0, lambda: False) == ""


@pytest.mark.parametrize(("stop", "limit_s"), [(True, 60.0), (False, 0.0)])
def test_a_process_that_must_end_is_killed(stop: bool, limit_s: float) -> None:
    endless = by_process([sys.executable, "-c", "import time; time.sleep(1000)"], limit_s)
    assert endless(0.0, lambda: stop) == "its process ended with -9"
