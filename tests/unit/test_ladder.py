"""The rungs of an incident: which there are, when each is due, and which is the current and the next one."""

import itertools

from watchkeeper.collector.policy.ladder import (
    ScheduledRung,
    current,
    ladder_for,
    schedule_rungs,
    stopping_levels,
    upcoming,
)
from watchkeeper.collector.site.inventory import Ladder, Ladders, Rung, StopsAt
from watchkeeper.model.verdict import Level


def ladder(name: str, levels: tuple[Level, ...], stops_at: StopsAt, **rungs: float) -> Ladder:
    steps = tuple(Rung(rung, after_s, ("duty",)) for rung, after_s in rungs.items())
    return Ladder(name, steps, ("head",), levels=levels, stops_at=stops_at)


WARNING, CRITICAL = (Level.WARNING,), (Level.CRITICAL,)
SOFT = ladder("soft", WARNING, StopsAt.ACKNOWLEDGED, duty=0.0, mail=60.0, owner=600.0)
HARD = ladder("hard", CRITICAL, StopsAt.RESOLVED, duty=0.0, owner=300.0, head=900.0)
BOTH = ladder("both", WARNING + CRITICAL, StopsAt.ACKNOWLEDGED, duty=0.0)


def rung(name: str, number: int, due_at: float, decided_at: float | None = None) -> ScheduledRung:
    return ScheduledRung(name, number, "hard", due_at, decided_at, None if decided_at is None else "clock")


def test_a_level_climbs_the_first_ladder_that_lists_it() -> None:
    ladders = Ladders((SOFT, HARD, BOTH))
    assert [ladder_for(level, ladders).ladder for level in (Level.WARNING, Level.CRITICAL)] == ["soft", "hard"]
    assert ladder_for(Level.CRITICAL, Ladders((SOFT, BOTH, HARD))).ladder == "both"


def test_only_a_level_whose_ladder_stops_at_an_acknowledgement_stops_at_it() -> None:
    assert stopping_levels(Ladders((SOFT, HARD))) == {Level.WARNING}
    assert stopping_levels(Ladders((BOTH,))) == {Level.WARNING, Level.CRITICAL}
    assert stopping_levels(Ladders((HARD, BOTH))) == {Level.WARNING}


def test_the_rungs_of_a_new_incident_count_from_its_beginning() -> None:
    assert schedule_rungs(HARD, 1000.0) == (rung("duty", 0, 1000.0), rung("owner", 1, 1300.0), rung("head", 2, 1900.0))


def test_a_rung_of_both_ladders_keeps_the_earlier_of_its_times() -> None:
    later, earlier = rung("owner", 5, 2000.0), rung("owner", 5, 1200.0)
    assert schedule_rungs(HARD, 1000.0, [later])[1] == rung("owner", 1, 1300.0)
    assert schedule_rungs(HARD, 1000.0, [earlier])[1] == rung("owner", 1, 1200.0)


def test_a_decided_rung_stays_as_it_was_decided_even_at_the_very_first_second() -> None:
    done = [rung("owner", 5, 7.0, decided_at=0.0), rung("mail", 1, 5.0, decided_at=6.0), rung("cellar", 2, 9.0)]
    assert schedule_rungs(HARD, 1000.0, done) == (
        *done[:2], rung("duty", 0, 1000.0), rung("head", 2, 1900.0),
    )  # fmt: skip


def test_of_rungs_due_at_the_same_time_the_lower_comes_first_in_whatever_order_they_are_kept() -> None:
    steps = [rung("duty", 0, 50.0), rung("owner", 1, 50.0), rung("head", 2, 50.0), rung("vendor", 3, 60.0)]
    for order in itertools.permutations(steps):
        assert upcoming(order) == steps[0]
    decided = [rung(one.rung, one.number, one.due_at, decided_at=0.0) for one in steps[:3]]
    for order in itertools.permutations([*decided, steps[3]]):
        assert current(order) == decided[2]
        assert upcoming(order) == steps[3]


def test_the_rung_that_is_due_first_comes_first_whatever_its_number() -> None:
    early, late = rung("owner", 3, 40.0), rung("duty", 0, 50.0)
    assert upcoming([late, early]) == early
    assert current([rung("owner", 3, 40.0, 41.0), rung("duty", 0, 50.0, 51.0)]) == rung("duty", 0, 50.0, 51.0)


def test_before_the_first_rung_there_is_no_current_one_and_after_the_last_no_next_one() -> None:
    assert current([rung("duty", 0, 50.0)]) is None
    assert upcoming([rung("duty", 0, 50.0, 50.0)]) is None
    assert current([]) is None
    assert upcoming([]) is None
