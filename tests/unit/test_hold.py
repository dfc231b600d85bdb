"""Why no rung is decided now: one definition, and the answers in memory and in SQL are the same."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from watchkeeper.collector.policy.hold import AWAITED_S, BACKLOG_LONGEST_S, BACKLOG_S, Backlog, Hold, HoldReason, hold
from watchkeeper.collector.policy.ladder import ScheduledRung
from watchkeeper.collector.policy.troubles import PARENT_READ_S, Trouble, TroubleState
from watchkeeper.collector.process.due import due_rungs
from watchkeeper.collector.site.inventory import Ladder, Ladders, Rung, StopsAt
from watchkeeper.collector.store import troubles
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.migrate import migrate
from watchkeeper.collector.store.schema import agent, awaited
from watchkeeper.model.verdict import Level

NOW = 1_800_000_000.0
RUNGS = (Rung("duty", 0.0, ("duty",)),)
CLIMBS = Ladders((Ladder("all", RUNGS, ("head",)),))
STOPS = Ladders((Ladder("all", RUNGS, ("head",), stops_at=StopsAt.ACKNOWLEDGED),))
MIXED = Ladders(
    (
        Ladder("calm", RUNGS, ("head",), levels=(Level.WARNING,), stops_at=StopsAt.ACKNOWLEDGED),
        Ladder("urgent", RUNGS, ("head",), levels=(Level.CRITICAL,)),
    )
)
FAULT = Trouble(cause=1, agent="room-1", level=Level.CRITICAL, opened_at=NOW - 60.0, began_at=NOW - 60.0)
ACKNOWLEDGED = replace(FAULT, acknowledged_at=NOW - 30.0, acknowledged_by="day")


def test_an_open_fault_is_not_held() -> None:
    assert hold(FAULT, CLIMBS, Backlog(), NOW) is None
    assert hold(ACKNOWLEDGED, CLIMBS, Backlog(), NOW) is None, "an acknowledgement stops nothing by itself"


@pytest.mark.parametrize("state", [TroubleState.RESOLVED, TroubleState.WITHDRAWN, TroubleState.MERGED])
def test_what_has_ended_is_held_for_good(state: TroubleState) -> None:
    assert hold(replace(FAULT, state=state, ended_at=NOW), CLIMBS, Backlog(), NOW) == Hold(HoldReason.ENDED)


def test_while_no_fault_is_there_nothing_is_decided() -> None:
    quiet = replace(FAULT, quiet_since=NOW - 5.0)
    assert hold(quiet, CLIMBS, Backlog(), NOW) == Hold(HoldReason.QUIET)


def test_a_first_rung_waits_for_its_parent_and_no_longer_than_ten_seconds() -> None:
    waiting = replace(FAULT, wait_until=NOW + PARENT_READ_S)
    assert hold(waiting, CLIMBS, Backlog(), NOW) == Hold(HoldReason.PARENT, until=NOW + PARENT_READ_S)
    assert hold(waiting, CLIMBS, Backlog(), NOW + PARENT_READ_S) is None
    assert hold(replace(FAULT, wait_until=NOW + PARENT_READ_S + 1.0), CLIMBS, Backlog(), NOW) is None, (
        "our clock was set back"
    )


def test_an_acknowledgement_holds_where_the_ladder_of_that_level_says_so() -> None:
    assert hold(ACKNOWLEDGED, STOPS, Backlog(), NOW) == Hold(HoldReason.ACKNOWLEDGED)
    assert hold(FAULT, STOPS, Backlog(), NOW) is None
    assert hold(replace(ACKNOWLEDGED, level=Level.WARNING), MIXED, Backlog(), NOW) == Hold(HoldReason.ACKNOWLEDGED)
    assert hold(ACKNOWLEDGED, MIXED, Backlog(), NOW) is None


def test_a_backlog_holds_for_a_minute_after_the_last_push_and_five_in_all() -> None:
    fresh = Backlog(NOW - 10.0, NOW + BACKLOG_S)
    assert hold(FAULT, CLIMBS, fresh, NOW) == Hold(HoldReason.BACKLOG, until=NOW + BACKLOG_S)
    assert hold(FAULT, CLIMBS, fresh, NOW + BACKLOG_S) is None, "its end is not part of it"
    assert hold(FAULT, CLIMBS, Backlog(NOW - BACKLOG_LONGEST_S, NOW + BACKLOG_S), NOW) is None
    assert hold(FAULT, CLIMBS, Backlog(NOW - BACKLOG_LONGEST_S + 0.5, NOW + 1.0), NOW) is not None


def test_a_backlog_from_before_our_clock_was_set_back_holds_nothing() -> None:
    assert hold(FAULT, CLIMBS, Backlog(NOW, NOW + BACKLOG_S + 0.5), NOW) is None


def test_older_troubles_wait_for_the_standing_verdicts_and_no_longer_than_two_minutes() -> None:
    waits = Backlog(awaited_since=NOW - 1.0, awaited_until=NOW + AWAITED_S)
    assert hold(FAULT, CLIMBS, waits, NOW) == Hold(HoldReason.AWAITED, until=NOW + AWAITED_S)
    assert hold(FAULT, CLIMBS, waits, NOW + AWAITED_S) is None
    assert hold(replace(FAULT, opened_at=NOW - 1.0), CLIMBS, waits, NOW) is None, "it began since"
    assert hold(FAULT, CLIMBS, replace(waits, awaited_until=NOW + AWAITED_S + 0.5), NOW) is None, (
        "our clock was set back"
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder: Path = tmp_path_factory.mktemp("hold")
    made = Store(f"sqlite:///{folder / 'collector.sqlite'}")
    migrate(made)
    yield made
    made.close()


BACKLOGS = (
    None, Backlog(), Backlog(NOW - 10.0, NOW + 1.0), Backlog(NOW - 10.0, NOW), Backlog(NOW - BACKLOG_LONGEST_S, NOW + 1.0),
    Backlog(NOW - BACKLOG_LONGEST_S + 0.5, NOW + BACKLOG_S), Backlog(NOW, NOW + BACKLOG_S + 0.5),
    Backlog(awaited_since=NOW, awaited_until=NOW + AWAITED_S), Backlog(awaited_since=NOW - 60.0, awaited_until=NOW + 1.0),
    Backlog(awaited_since=NOW, awaited_until=NOW), Backlog(awaited_since=NOW, awaited_until=NOW + AWAITED_S + 0.5),
)  # fmt: skip
CASES = tuple(
    itertools.product(
        tuple(TroubleState),
        (None, NOW - 30.0),
        (Level.WARNING, Level.CRITICAL),
        BACKLOGS,
        (None, NOW - 5.0),
        (0.0, NOW + 5.0),
    )
)


def test_the_query_and_the_function_agree(store: Store) -> None:
    """Every combination of what the conditions look at, under every kind of ladders."""
    expected: dict[int, tuple[Trouble, Backlog]] = {}
    with store.write() as connection:
        for number, (state, acknowledged_at, level, backlog, quiet_since, wait_until) in enumerate(CASES):
            name = f"agent-{number}"
            ended_at = None if state is TroubleState.OPEN else NOW - 1.0
            one = replace(
                FAULT, agent=name, state=state, ended_at=ended_at, level=level, acknowledged_at=acknowledged_at,
                quiet_since=quiet_since, wait_until=wait_until,
            )  # fmt: skip
            saved = troubles.save(connection, one)
            troubles.replace_undecided(connection, saved, [ScheduledRung("duty", 0, "all", NOW - 60.0)])
            expected[saved.trouble] = (saved, backlog or Backlog())
            if backlog:
                connection.execute(sa.insert(agent), {
                    "agent": name, "epoch": "e", "heard_at": NOW, "skew_s": 0.0, "bundle": "",
                    "backlog_since": backlog.since, "backlog_until": backlog.until,
                })  # fmt: skip
            if backlog and backlog.awaited_until:
                waits = {"agent": name, "since": backlog.awaited_since, "until": backlog.awaited_until}
                connection.execute(sa.insert(awaited), waits)
    for ladders in (CLIMBS, STOPS, MIXED):
        free = {number for number, (one, backlog) in expected.items() if hold(one, ladders, backlog, NOW) is None}
        with store.read() as connection:
            assert {row.trouble for row in due_rungs(connection, ladders, NOW, most=1000)} == free
        assert 0 < len(free) < len(expected)
