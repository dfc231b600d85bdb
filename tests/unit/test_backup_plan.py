"""When a backup is due or late, and which are deleted."""

import datetime
import re
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.collector.site.settings import BackupConfig, CollectorConfig, KeepBackups, read_config
from watchkeeper.collector.store.backups.plan import BackupState, expired, is_due, state, usable
from watchkeeper.documents.bind import load, try_load
from watchkeeper.documents.scalars import ClockTime

HOUR_S, DAY_S = 3600.0, 86_400.0
SHANGHAI, BERLIN = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin")
DAILY = BackupConfig("kept")


def at(text: str, zone: ZoneInfo = SHANGHAI) -> float:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def test_the_first_is_due_at_once() -> None:
    assert is_due(None, at("2026-11-30 12:00"), DAILY, SHANGHAI)


@pytest.mark.parametrize(
    ("newest", "now", "due"),
    [
        ("2026-11-30 03:30", "2026-12-01 03:29", False),
        ("2026-11-30 03:30", "2026-12-01 03:30", True),
        ("2026-11-30 12:00", "2026-12-01 03:29", False),  # one that was made by hand counts until the next time of day
        ("2026-11-30 12:00", "2026-12-01 03:31", True),
        ("2026-11-30 03:29", "2026-11-30 03:31", True),
        ("2026-11-30 03:31", "2026-12-09 00:00", True),
    ],
)
def test_a_daily_backup_is_due_once_a_day_at_its_time(newest: str, now: str, due: bool) -> None:
    assert is_due(at(newest), at(now), DAILY, SHANGHAI) is due


def test_other_intervals_count_from_the_time_of_day() -> None:
    config = BackupConfig("kept", every_s=6 * HOUR_S, at=ClockTime(datetime.time(1, 0)))
    assert not is_due(at("2026-11-30 13:00"), at("2026-11-30 18:59"), config, SHANGHAI)
    assert is_due(at("2026-11-30 13:00"), at("2026-11-30 19:00"), config, SHANGHAI)


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_a_change_of_the_clocks_makes_one_backup_a_day(day: str) -> None:
    config = BackupConfig("kept", at=ClockTime(datetime.time(2, 30)))
    now, newest, made = at(f"{day} 00:00", BERLIN), at(f"{day} 00:00", BERLIN) - HOUR_S, 0
    for _ in range(24 * 60):
        now += 60
        if is_due(newest, now, config, BERLIN):
            newest, made = now, made + 1
    assert made == 1


def test_it_is_late_after_a_quarter_more_than_the_interval() -> None:
    taken = at("2026-11-30 03:30")
    assert state(None, taken, DAILY) is BackupState.NONE
    assert state(taken, taken + 31 * HOUR_S, DAILY) is BackupState.OK
    assert state(taken, taken + 31 * HOUR_S + 1, DAILY) is BackupState.LATE
    weekly = BackupConfig("kept", every_s=7 * DAY_S)
    assert state(taken, taken + 8 * DAY_S, weekly) is BackupState.OK


def test_one_from_the_future_is_not_believed() -> None:
    assert usable(1000.0, 1000.0 - HOUR_S)
    assert not usable(1000.0, 999.0 - HOUR_S)


@given(
    st.lists(st.floats(0, 1e7), min_size=1, max_size=40).map(lambda all_: sorted(all_, reverse=True)),
    st.floats(-1e8, 1e9),
    st.integers(-3, 50),
    st.floats(0, 1e7),
)
def test_whatever_the_clock_says_the_newest_ones_stay(
    taken: list[float], now: float, number: int, age_s: float
) -> None:
    gone = expired(taken, now, KeepBackups(number, age_s))
    assert not set(gone) & set(range(max(1, number)))
    for place in set(range(len(taken))) - set(gone):
        assert place < max(1, number) or now - taken[place] <= age_s


# ---- collector.yml ----

PUBLIC = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"


def test_the_settings_are_read() -> None:
    bound = try_load(
        f'folder: kept\nevery: 12 h\nat: "04:15"\nkeep: {{number: 3, age: 7 days}}\nencrypt_to: {PUBLIC}\n',
        "x.yml",
        BackupConfig,
    )
    assert not bound.problems
    assert bound.value == BackupConfig(
        "kept", 12 * HOUR_S, ClockTime(datetime.time(4, 15)), KeepBackups(3, 7 * DAY_S), (PUBLIC,)
    )


def test_the_settings_that_the_page_shows_are_accepted() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "backup.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert load(shown, "backup.md", CollectorConfig).backup


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("every: 1 min", "use 1 h to 31 days"),
        ("keep: {number: 0}", "at least one backup is kept"),
        ("encrypt_to: [ssh-ed25519]", "`ssh-ed25519` is not a public key of age"),
        ("encrypt_to: [AGE-SECRET-KEY-1ABC]", "this is a private key, and must not be here"),
        ("folders: x", "did you mean `folder`"),
    ],
)
def test_mistakes_are_named(text: str, said: str) -> None:
    bound = try_load(f"folder: kept\n{text}\n", "x.yml", BackupConfig)
    (problem,) = bound.problems
    assert said in str(problem)
    assert "SECRET-KEY" not in str(problem)


def test_the_file_is_known_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.yml"
    file.write_text("port: 8760\n")
    assert read_config(file).file_name == "mine.yml"
