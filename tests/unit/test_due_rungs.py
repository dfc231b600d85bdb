"""Which rungs are due, in which order they are decided, and what happens to them when our clock was set back."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from tests.outbox_room import emptied
from tests.story.world import NOON, World
from watchkeeper.collector.policy.grouping import Joined, Membership
from watchkeeper.collector.policy.incidents import Incident, IncidentChange
from watchkeeper.collector.policy.ladder import ScheduledRung
from watchkeeper.collector.policy.troubles import Trouble, TroubleState
from watchkeeper.collector.process import due as due_module
from watchkeeper.collector.process.due import DECIDED_AT_ONCE, decide_due, due_rungs
from watchkeeper.collector.store import rows, troubles
from watchkeeper.collector.store.clock.pending import hasten_lost
from watchkeeper.collector.store.schema import outbox, rung
from watchkeeper.model.verdict import Evidence, Level

LONGEST_S = 3600.0  # the last rung of the world's ladder
CLOCKS_DIFFER_S = 3600.0
AHEAD_S = CLOCKS_DIFFER_S + 1.0
FAULT = Incident(
    "sensor-1", "environment.temperature", "", "room-1", Level.CRITICAL, Level.CRITICAL, "v1", NOON - 60.0,
    Evidence("temperature.ambient", 31.0),
)  # fmt: skip


@pytest.fixture(scope="module")
def made() -> Iterator[World]:
    one = World("sqlite://")
    yield one
    one.close()


@pytest.fixture
def world(made: World) -> World:
    return emptied(made)


def due(world: World, *steps: ScheduledRung, device: str = "sensor-1", **change: Any) -> Trouble:
    """A trouble of one incident, with these rungs."""
    with world.store.write() as connection:
        cause = rows.save(connection, IncidentChange(replace(FAULT, device=device)), NOON)
        one = Trouble(cause.incident, "room-1", Level.CRITICAL, cause.began_at, cause.began_at)
        saved = troubles.save(connection, replace(one, **change))
        rows.set_memberships(connection, {cause.incident: Membership(saved.trouble, Joined.FIRST)})
        troubles.replace_undecided(connection, saved, steps)
    return saved


def step(name: str, number: int, after_s: float) -> ScheduledRung:
    return ScheduledRung(name, number, "fault", NOON + after_s)


def found(world: World, now: float = NOON, **options: Any) -> list[tuple[str, str]]:
    with world.store.read() as connection:
        ladders = world.runtime.snapshot.configuration.ladders
        due_now = due_rungs(connection, ladders, now, **options)
        causes = rows.incidents_by_number(connection, {row.cause for row in due_now})
        return [(causes[row.cause].device, row.rung) for row in due_now]


def decided(world: World) -> dict[str, tuple[float | None, str | None]]:
    with world.store.read() as connection:
        return {row.rung: (row.decided_at, row.decided_by) for row in connection.execute(sa.select(rung))}


def due_at(world: World) -> dict[str, float]:
    with world.store.read() as connection:
        return {row.rung: row.due_at - NOON for row in connection.execute(sa.select(rung))}


# ---- which, and in which order ----


def test_the_rung_that_has_waited_longest_is_decided_first_and_of_equal_ones_the_lowest(world: World) -> None:
    due(world, step("vendor", 3, -10.0), step("owner", 1, -10.0), device="a")
    due(world, step("duty", 0, -20.0), step("on-site", 2, -5.0), device="b")
    order = [("b", "duty"), ("a", "owner"), ("a", "vendor"), ("b", "on-site")]
    assert found(world) == order
    assert found(world, lock=True) == order
    assert found(world, most=2) == order[:2], "the oldest, if not all can be decided at once"


def test_a_rung_is_due_at_its_time_and_not_before(world: World) -> None:
    due(world, step("duty", 0, 0.0), step("owner", 1, 0.5))
    assert found(world) == [("sensor-1", "duty")]
    assert found(world, NOON + 0.5) == [("sensor-1", "duty"), ("sensor-1", "owner")]


def test_what_is_decided_is_not_due(world: World) -> None:
    known = due(world, step("duty", 0, -60.0), step("owner", 1, -50.0))
    with world.store.write() as connection:
        assert troubles.claim_rung(connection, known, step("duty", 0, -60.0), NOON, "person:day")
    assert found(world) == [("sensor-1", "owner")]


def test_what_has_ended_is_not_due(world: World) -> None:
    due(world, step("duty", 0, -60.0), state=TroubleState.RESOLVED, ended_at=NOON)
    assert found(world) == []


def test_no_more_than_so_many_are_decided_at_once_and_the_rest_follows(world: World) -> None:
    due(world, *(step(f"r{number:03}", number, -10.0) for number in range(DECIDED_AT_ONCE + 1)))
    assert len(found(world)) == DECIDED_AT_ONCE
    assert len(found(world, lock=True)) == DECIDED_AT_ONCE


# ---- deciding ----


def test_a_decision_is_written_with_its_time_and_its_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[str] = []
    monkeypatch.setattr(due_module, "failpoint", passed.append)  # where tests/chaos/kills.py kills the collector
    due(world, step("duty", 0, -60.0), step("owner", 1, -30.0), step("on-site", 2, 600.0))
    assert decide_due(world.runtime.notifier(), NOON) == 2
    assert decided(world) == {"duty": (NOON, "clock"), "owner": (NOON, "clock"), "on-site": (None, None)}
    with world.store.read() as connection:
        pages = connection.execute(sa.select(outbox.c.rung, outbox.c.person, outbox.c.created_at)).all()
    assert [tuple(page) for page in pages] == [("duty", "day", NOON), ("owner", "olga", NOON)]
    assert passed == ["collector.rung.before-commit", "collector.rung.committed"]
    assert decide_due(world.runtime.notifier(), NOON) == 0
    assert len(passed) == 2, "nothing is written where nothing is due"


def test_a_rung_that_another_collector_has_decided_meanwhile_is_not_paged_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = due(world, step("duty", 0, -60.0))
    look = due_module.due_rungs

    def other_is_quicker(connection: sa.Connection, *args: Any, **options: Any) -> Any:
        rungs = look(connection, *args, **options)
        if options.get("lock"):
            assert troubles.claim_rung(connection, known, step("duty", 0, -60.0), NOON - 1.0, "person:olga")
        return rungs

    monkeypatch.setattr(due_module, "due_rungs", other_is_quicker)
    assert decide_due(world.runtime.notifier(), NOON) == 1
    assert decided(world) == {"duty": (NOON - 1.0, "person:olga")}
    with world.store.read() as connection:
        assert connection.execute(sa.select(outbox)).all() == []


TWO_LADDERS = """
ladders:
  - {ladder: calm, levels: [warning], fallback: [head], rungs: [{rung: duty, after: 0 min, tell: [amy]}]}
  - {ladder: urgent, levels: [critical], fallback: [head], rungs: [{rung: duty, after: 0 min, tell: [olga]}]}
"""


@pytest.mark.parametrize(("ladder", "person"), [("calm", "amy"), ("urgent", "olga"), ("gone", "olga")])
def test_a_rung_pages_whom_its_own_ladder_names_also_after_the_level_changed(ladder: str, person: str) -> None:
    """A ladder that is gone from ladders.yml is replaced by that of the level."""
    world = World("sqlite://", ladders=TWO_LADDERS)
    due(world, replace(step("duty", 0, -60.0), ladder=ladder))
    assert decide_due(world.runtime.notifier(), NOON) == 1
    with world.store.read() as connection:
        assert list(connection.execute(sa.select(outbox.c.person)).scalars()) == [person]
    world.close()


# ---- a clock that was set back ----


def hastened(world: World) -> int:
    with world.store.write() as connection:
        return hasten_lost(connection, NOON, LONGEST_S + CLOCKS_DIFFER_S)


def test_rungs_that_a_wrong_clock_put_far_ahead_are_made_due_now(world: World) -> None:
    far = LONGEST_S + AHEAD_S
    due(world, step("duty", 0, far), step("owner", 1, far + 600.0), began_at=NOON + AHEAD_S)
    assert hastened(world) == 2
    assert due_at(world) == {"duty": 0.0, "owner": 0.0}
    assert hastened(world) == 0


@pytest.mark.parametrize(
    ("after_s", "began_s"),
    [
        (LONGEST_S + CLOCKS_DIFFER_S, AHEAD_S),  # no later than a rung of a fault that a quick clock recorded
        (LONGEST_S + AHEAD_S, CLOCKS_DIFFER_S),  # another collector's clock may be so much ahead
        (LONGEST_S + AHEAD_S, -60.0),  # a fault of the past whose ladder was longer then
    ],
)
def test_rungs_that_may_be_right_keep_their_time(world: World, after_s: float, began_s: float) -> None:
    due(world, step("duty", 0, after_s), began_at=NOON + began_s)
    assert hastened(world) == 0
    assert due_at(world) == {"duty": after_s}


def test_only_the_rungs_of_the_fault_from_the_future_are_moved_and_none_that_was_decided(world: World) -> None:
    far = LONGEST_S + AHEAD_S
    due(world, step("vendor", 3, far))
    future = due(world, step("duty", 0, far), step("owner", 1, far), device="web-1", began_at=NOON + AHEAD_S)
    with world.store.write() as connection:
        troubles.claim_rung(connection, future, step("duty", 0, far), NOON, "person:day")
    assert hastened(world) == 1
    assert due_at(world) == {"vendor": far, "duty": far, "owner": 0.0}
