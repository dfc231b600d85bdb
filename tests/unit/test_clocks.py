"""Which clock is right: the boot clock with its offset, or the reference that has jumped."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.collector.policy import clocks
from watchkeeper.collector.policy.clocks import Doubt, OtherClock, Others, OwnTime, begin, look, majority, observe

NOW = 1_800_000_000.0
BOOT = 5_000.0
HOUR = 3600.0
JUMPS = st.one_of(st.floats(-20 * 365 * 86_400, -60), st.floats(60, 20 * 365 * 86_400))


class Site:
    """A collector's clocks, looked at once a second. `agents` are offsets to our boot clock."""

    def __init__(self, agents: Mapping[str, float] = {}, *, follows: bool = False) -> None:
        self.boot, self.wall, self.follows = BOOT, NOW - BOOT, follows
        self.agents = {name: self.wall + skew for name, skew in agents.items()}
        self.guard = OwnTime(self.wall, sure=True)
        self.reference = OtherClock(self.wall, self.boot)
        self.heard = {name: OtherClock(offset_s, self.boot) for name, offset_s in self.agents.items()}
        self.peers = (0, 0)
        self.doubted_s, self.stepped_s = 0.0, 0.0

    def run(self, seconds: float) -> "Site":
        for _ in range(int(seconds)):
            self.boot += 1
            self.reference = observe(self.reference, self.wall, self.boot)
            for name, offset_s in self.agents.items():
                self.heard[name] = observe(self.heard.get(name), offset_s, self.boot)
            others = Others(self.heard, {}, *self.peers)
            self.guard = look(self.guard, self.reference, others, self.boot, follows=self.follows)
            self.doubted_s += self.guard.doubt is not None
            self.stepped_s += self.guard.step_s
        return self

    @property
    def error(self) -> float:
        return round(self.guard.offset_s - (NOW - BOOT), 3)


@given(jump=JUMPS, seconds=st.integers(1, 8), agents=st.integers(0, 4))
def test_a_wall_clock_that_jumps_and_comes_back_moves_nothing(jump: float, seconds: int, agents: int) -> None:
    site = Site({f"agent-{n}": 0.0 for n in range(agents)}).run(3)
    site.wall += jump
    site.run(seconds)
    site.wall -= jump
    site.run(30)
    assert (site.error, site.stepped_s, site.guard.doubt) == (0.0, 0.0, None)
    assert site.guard.jumps == 2
    assert 0 < site.doubted_s <= min(seconds, clocks.DOUBT_S)


@given(jump=JUMPS, skew=st.floats(-1e7, 1e7))
def test_agents_that_keep_their_time_outvote_the_wall_clock_for_ever(jump: float, skew: float) -> None:
    site = Site({"right": 0.0, "wrong but steady": skew}).run(3)
    site.wall += jump
    site.run(3 * clocks.STEADY_S)
    assert (site.error, site.stepped_s, site.guard.doubt) == (0.0, 0.0, None)
    assert abs(site.guard.gap_s - jump) < 1e-3
    assert site.doubted_s <= 2, "a majority was heard at once"


@given(jump=JUMPS)
def test_without_agents_the_boot_clock_is_believed_and_after_ten_minutes_the_wall_clock(jump: float) -> None:
    site = Site()
    site.wall += jump
    site.run(clocks.STEADY_S - 5)
    assert (site.error, site.guard.doubt) == (0.0, None)
    assert 1 <= site.doubted_s <= clocks.DOUBT_S
    site.run(10)
    assert site.stepped_s == pytest.approx(jump)
    assert site.error == pytest.approx(jump)


@given(st.lists(st.tuples(st.integers(1, 40), JUMPS), min_size=1, max_size=12))
def test_a_clock_that_goes_on_jumping_stops_no_decisions(jumps: list[tuple[int, float]]) -> None:
    site = Site({"agent": 0.0})
    for seconds, jump in jumps:
        site.wall = NOW - BOOT + jump
        site.run(seconds)
    assert site.doubted_s <= clocks.DOUBT_S
    assert site.stepped_s == 0.0


@given(lost=st.floats(20, 1e6))
def test_a_boot_clock_that_stood_still_is_seen_by_several_agents(lost: float) -> None:
    """A paused virtual machine: everybody else is ahead at once, by the same."""
    site = Site({"a": 0.0, "b": 5 * HOUR, "c": -90.0}).run(3)
    site.wall += lost
    site.agents = {name: offset_s + lost for name, offset_s in site.agents.items()}
    site.run(clocks.DOUBT_S + 2)
    assert site.stepped_s == pytest.approx(lost)
    assert site.guard.doubt is None


def test_an_agent_on_our_own_machine_does_not_make_its_wall_clock_right() -> None:
    site = Site({"here": 0.0}).run(3)
    site.wall += HOUR
    site.agents["here"] += HOUR
    site.run(60)
    assert (site.error, site.guard.doubt) == (0.0, None)


def test_small_differences_are_followed_without_a_jump() -> None:
    site = Site()
    site.wall += 2.5
    site.run(1)
    assert 0 < site.error <= clocks.SLEW_S
    site.run(60)
    assert site.error == pytest.approx(2.5)
    assert (site.guard.jumps, site.doubted_s, site.stepped_s) == (0, 0, 0.0)


# ---- the database's clock ----


@given(jump=JUMPS)
def test_a_database_whose_clock_jumps_is_outvoted_by_agents_and_by_peers(jump: float) -> None:
    for agents, peers in (({"a": 0.0}, (0, 0)), ({}, (1, 0))):
        site = Site(agents, follows=True).run(3)
        site.peers = peers
        site.wall += jump
        site.run(30)
        assert (site.error, site.stepped_s, site.guard.doubt) == (0.0, 0.0, None)
        assert site.guard.gap_s == pytest.approx(jump)


@given(jump=JUMPS)
def test_without_votes_the_database_is_right(jump: float) -> None:
    site = Site(follows=True)
    site.wall += jump
    site.run(clocks.DOUBT_S - 1)
    assert site.guard.doubt is Doubt.JUMP
    site.run(3)
    assert site.error == pytest.approx(jump)


@given(jump=JUMPS, before=st.booleans())
def test_a_collector_that_differs_from_database_and_peers_follows_them_at_once(jump: float, before: bool) -> None:
    site = Site({"a": 0.0}, follows=True)
    if before:
        site.wall += HOUR
        site.run(2)
        site.wall -= HOUR
        site.run(2)
    site.peers = (0, 1)
    site.wall += jump
    site.run(1)
    assert site.error == pytest.approx(jump)
    assert site.guard.doubt is None


@pytest.mark.parametrize(
    ("beats", "ours", "reference", "found"),
    [
        ([NOW - 4], NOW, NOW + HOUR, (1, 0)),
        ([NOW + HOUR - 4], NOW, NOW + HOUR, (0, 1)),
        ([NOW - 4, NOW - 40, NOW + 2 * HOUR], NOW, NOW + HOUR, (1, 0)),
        ([NOW - 4], NOW, NOW + 1, (0, 0)),
        ([NOW + 18], NOW, NOW + 20, (0, 1)),
    ],
)
def test_peers_vote_by_their_signs_of_life(
    beats: list[float], ours: float, reference: float, found: tuple[int, int]
) -> None:
    assert clocks.votes_of_peers(beats, ours, reference, 12.0) == found


# ---- a start in another boot of the machine ----


def started(
    guard: OwnTime, wall: float, agents: Mapping[str, float], skews: Mapping[str, float], looks: int
) -> OwnTime:
    """Look so often after a start at boot 10; every agent is heard before each look. Offsets and `wall` are times at boot 0."""
    moved_at = 10.0 if guard.gap_s else -math.inf
    for second in range(1, looks + 1):
        boot = 10.0 + second
        heard = {name: OtherClock(offset_s, boot) for name, offset_s in agents.items()}
        guard = look(guard, OtherClock(wall, boot, moved_at), Others(heard, skews, wall=wall), boot)
    return guard


@given(wrong=JUMPS)
def test_after_a_start_agents_that_knew_our_time_tell_it(wrong: float) -> None:
    skews = {"a": 0.2, "b": -300.0}
    seen_at, wall = NOW, NOW + 120 + wrong
    guard = begin(wall, 10.0, seen_at, skews)
    assert guard.doubt is Doubt.START
    right = NOW + 120 - 10
    agents = {name: right + skew for name, skew in skews.items()}
    guard = started(guard, wall - 10, agents, skews, 1)
    assert guard.offset_s == pytest.approx(right)
    assert (guard.doubt, guard.sure) == (None, True)


@given(wrong=JUMPS)
def test_after_a_start_nobody_is_sure_without_agents_and_no_time_goes_back_or_far_ahead(wrong: float) -> None:
    guard = started(
        begin(NOW + wrong, 10.0, NOW, {"a": 0.0}), NOW + wrong - 10, {}, {"a": 0.0}, int(clocks.START_S) + 1
    )
    assert (guard.doubt, guard.sure) == (None, False)
    assert -clocks.TOLERANCE_S <= guard.offset_s + 10 - NOW <= clocks.OFF_S


def test_one_of_many_agents_does_not_tell_the_time_alone() -> None:
    skews = {"a": 0.0, "b": 0.0, "c": 0.0}
    guard = started(begin(NOW, 10.0, NOW - 60, skews), NOW - 10, {"a": NOW + 9 * HOUR}, skews, 5)
    assert (guard.doubt, guard.offset_s) == (Doubt.START, NOW - 10)


def test_an_empty_store_believes_its_wall_clock_at_once_if_it_can_be_right() -> None:
    assert begin(NOW, 10.0, None, {}).doubt is None
    assert begin(1000.0, 10.0, None, {}).doubt is Doubt.START


def test_agents_heard_later_correct_a_time_that_nobody_had_confirmed() -> None:
    unsure = OwnTime(NOW + HOUR, sure=False)
    reference = OtherClock(NOW + HOUR, BOOT)
    one = {"a": OtherClock(NOW, BOOT)}
    assert look(unsure, reference, Others(one, {"a": 0.0}), BOOT).step_s == -HOUR
    assert look(unsure, reference, Others(one, {}, wall=NOW + HOUR), BOOT).step_s == 0.0, "one clock against another"
    two = {**one, "b": OtherClock(NOW + 1, BOOT)}
    found = look(unsure, reference, Others(two, {}, wall=NOW + HOUR), BOOT)
    assert (found.step_s, found.sure) == (0.5 - HOUR, True)
    assert look(replace(unsure, sure=True), reference, Others(two, {}), BOOT).step_s == 0.0


@given(st.lists(st.floats(0, 1e9), min_size=1), st.floats(0, 1e9))
def test_more_than_half_are_a_majority(others: list[float], one: float) -> None:
    found = majority([*others, *[one] * (len(others) + 1)])
    assert found is not None
    assert math.isclose(found, one, abs_tol=clocks.TOLERANCE_S)
    assert majority([one] * 3, expected=6) is None
