"""The machine of an agent is started anew, with whatever wall clock: unsent verdicts keep their age, or get the smallest that is possible."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.agent_room import everything, fill, items, state, verdict
from watchkeeper.agent.spool import boots
from watchkeeper.agent.spool.spool import Limits, Spool
from watchkeeper.model.batch import Lane
from watchkeeper.model.clock import FakeClock
from watchkeeper.rules.evaluate import FirstBad, Latch, Latches

KEY = ("box", "heat", "")
DAY = 86_400.0
TEN_YEARS = 10 * 365 * DAY


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@contextlib.contextmanager
def opened(file: Path, clock: FakeClock, boot_id: str = "boot-1") -> Iterator[Spool]:
    with contextlib.closing(Spool(file, Limits(), clock, boot_id)) as spool:
        yield spool


def written(file: Path, collector_s: float | None = 0.0) -> FakeClock:
    """A spool with a frame, and a verdict that began ten seconds ago. The collectors' time was that much ahead of ours."""
    clock = FakeClock()
    with opened(file, clock) as spool:
        if collector_s is not None:
            spool.learn_time(clock.wall() + collector_s)
        fill(spool, clock, 1)
        since = clock.boot() - 10
        spool.add_events([verdict(1, since=since)], {KEY: state(since=since)})
    return clock


def after(clock: FakeClock, off_s: float, wrong_s: float = 0.0) -> FakeClock:
    """Half a minute after the machine was started, which was off for so long."""
    return FakeClock(now=clock.now + off_s + 30 + wrong_s, since_boot=30.0)


def event_age(spool: Spool) -> float:
    (event,) = items(everything(spool, Lane.EVENTS))
    assert event["evidence"]["first_age_s"] == pytest.approx(event["age_s"] + 60, abs=0.01)
    return float(event["age_s"])


def test_a_wall_clock_that_may_be_right_is_believed(file: Path) -> None:
    later = after(written(file, collector_s=None), off_s=90.0)
    with opened(file, later, "boot-2") as spool:
        assert event_age(spool) == 130
        assert items(everything(spool, Lane.READINGS))[0]["age_s"] == 120
    later.advance(5)
    with opened(file, later, "boot-2") as spool:
        assert items(everything(spool, Lane.READINGS))[0]["age_s"] == 125, "converted once, not at every opening"


@pytest.mark.parametrize("wrong_s", [TEN_YEARS, -TEN_YEARS, -3600.0, 8 * DAY])
def test_a_wall_clock_that_cannot_be_right_invents_no_age_and_nothing_is_lost(file: Path, wrong_s: float) -> None:
    clock = written(file, collector_s=None)
    with opened(file, after(clock, 90.0, wrong_s), "boot-2") as spool:
        assert event_age(spool) == 40, "written before this boot began"
        assert spool.flush()
        assert items(everything(spool, Lane.READINGS))[0]["age_s"] == 30, "not dropped as too old"


@pytest.mark.parametrize("wrong_s", [0.0, 3600.0, -3600.0, TEN_YEARS, -TEN_YEARS])
@pytest.mark.parametrize("collector_s", [0.0, 7200.0])
def test_the_first_answer_of_the_collector_gives_everything_its_true_age(
    file: Path, wrong_s: float, collector_s: float
) -> None:
    clock = written(file, collector_s)
    true = after(clock, 300.0)
    later = after(clock, 300.0, wrong_s)
    with opened(file, later, "boot-2") as spool:
        block = fill(spool, later, 1)
        spool.learn_time(true.wall() + 1 + collector_s)
        assert event_age(spool) == pytest.approx(341)
        assert [item["age_s"] for item in items(everything(spool, Lane.READINGS))] == pytest.approx([331, 0])
        spool.add_frame(block, later.boot(), ("yes", 20.0))
        spool.learn_time(true.wall() + 100)
        assert event_age(spool) == pytest.approx(341), "corrected once"


def test_a_second_boot_before_the_first_answer_keeps_the_true_age(file: Path) -> None:
    clock = written(file)
    with opened(file, after(clock, 300.0, 5 * DAY), "boot-2") as spool:
        spool.add_events([verdict(2, since=25.0)], {})
        assert spool.flush()
    with opened(file, after(clock, 1000.0, -TEN_YEARS), "boot-3") as spool:
        spool.learn_time(clock.wall() + 1030)
        first, second = items(everything(spool, Lane.EVENTS))
        assert first["age_s"] == pytest.approx(1040)
        assert second["age_s"] == pytest.approx(35), "nobody knows more of it"
    with opened(file, after(clock, 1000.0), "boot-3") as spool:
        spool.learn_time(clock.wall() + 1030)
        assert items(everything(spool, Lane.EVENTS))[0]["age_s"] == pytest.approx(1040)


def test_a_collector_whose_time_cannot_be_right_corrects_nothing(file: Path) -> None:
    clock = written(file)
    with opened(file, after(clock, 90.0), "boot-2") as spool:
        spool.learn_time(clock.wall() + TEN_YEARS)
        assert event_age(spool) == 130


def test_a_restart_in_the_same_boot_knows_the_collectors_time(file: Path) -> None:
    clock = written(file)
    with opened(file, clock) as spool:
        spool.note("answer", "{}")
    with opened(file, after(clock, 200.0, TEN_YEARS), "boot-2") as spool:
        spool.learn_time(clock.wall() + 230)
        assert event_age(spool) == pytest.approx(240)


def test_no_limit_is_reached_because_of_time_that_nobody_watched(file: Path) -> None:
    clock = FakeClock()
    waiting = state(since=500.0)
    first = Latches(critical=Latch(first=FirstBad(clock.boot() - 20, 31.0)))
    with opened(file, clock) as spool:
        spool.add_events([], {KEY: type(waiting)(waiting.level, 500.0, "id-1", waiting.evidence, first)})
    with opened(file, after(clock, 3600.0), "boot-2") as spool:
        found = spool.states()[KEY].latches.critical.first
        assert found is not None
        assert 30.0 - found.at == 50.0


@given(
    off_s=st.floats(0, 300 * DAY), up_s=st.floats(1, 1000), wrong_s=st.floats(-2 * TEN_YEARS, 2 * TEN_YEARS),
    collector_s=st.floats(-TEN_YEARS, TEN_YEARS), age_s=st.floats(0, 900),
)  # fmt: skip
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_wall_clock_says_the_age_is_right_in_the_end_and_never_years(  # noqa: PLR0917 -- what is generated
    tmp_path_factory: pytest.TempPathFactory,
    off_s: float,
    up_s: float,
    wrong_s: float,
    collector_s: float,
    age_s: float,
) -> None:
    file = tmp_path_factory.mktemp("spool") / "spool.db"
    clock = FakeClock()
    with opened(file, clock) as spool:
        spool.learn_time(clock.wall() + collector_s)
        spool.add_events([verdict(1, since=clock.boot() - age_s)], {})
    later = FakeClock(now=clock.now + off_s + up_s + wrong_s, since_boot=up_s)
    with opened(file, later, "boot-2") as spool:
        at_first = items(everything(spool, Lane.EVENTS))[0]["age_s"]
        assert age_s + up_s - 0.01 <= at_first <= age_s + up_s + boots.OFF_S + 0.01
        spool.learn_time(clock.wall() + off_s + up_s + collector_s)
        found = items(everything(spool, Lane.EVENTS))[0]["age_s"]
        assert found == pytest.approx(age_s + off_s + up_s, abs=0.01)
