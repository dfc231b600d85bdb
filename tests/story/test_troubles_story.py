"""One trouble, one page: what belongs together is said once, and a fault that stays is never hidden."""

from collections.abc import Iterator

import pytest

from tests.story.world import INVENTORY, LADDERS, World
from watchkeeper.collector.policy.grouping import Joined
from watchkeeper.collector.policy.troubles import TroubleState
from watchkeeper.collector.process import actions
from watchkeeper.model.errors import Conflict
from watchkeeper.model.verdict import Level, Verdict

SERVERS = 50
BEHIND = (
    INVENTORY
    + (
        "  - {device: switch-1, agent: room-1, category: network, probe: snmp, address: 10.0.1.254, owner: olga,\n"
        "     snmp: {version: 2c, community: c}}\n"
    )
    + "".join(
        f"  - {{device: s{number}, agent: room-1, category: server, probe: snmp, address: 10.0.1.{number}, owner: olga, depends_on: switch-1,\n"
        "     location: Row A, snmp: {version: 2c, community: c}}\n"
        for number in range(SERVERS)
    )
)
RULE_OF = {
    "output.source": "power.on-battery",
    "input.voltage": "power.input-lost",
    "psu.health": "hardware.power-supply",
}
SILENT = {"rule": "device.not-answering", "quantity": "device.answering"}


@pytest.fixture
def world(store_url: str) -> Iterator[World]:
    made = World(store_url, inventory=BEHIND)
    yield made
    made.close()


def silent(world: World, *devices: str, level: Level = Level.CRITICAL) -> None:
    """These devices answer no more, or again."""
    world.push(*(world.verdict(level, device=device, **SILENT) for device in devices))


def everybody() -> list[str]:
    return [f"s{number}" for number in range(SERVERS)]


def test_fifty_devices_behind_one_switch_are_one_page_and_one_recovery_a_person_and_rung(world: World) -> None:
    silent(world, *everybody()[:20])
    world.advance(0.1, step_s=3)
    silent(world, "switch-1")
    silent(world, *everybody()[20:])
    world.advance(25)
    silent(world, "switch-1", *everybody(), level=Level.OK)
    world.advance(2)
    assert world.pages("page") == [
        (0.1, "day", "duty"),
        (10.1, "olga", "owner"),
        (20.1, "olga", "on-site"),
        (20.1, "hao", "on-site"),
    ]
    assert sorted(person for _, person, _ in world.pages("recovered")) == ["day", "hao", "olga"]
    assert len(world.told) == 7
    first = world.told[0].message
    assert "switch-1" in first.subject, "the page names the probable cause"


def test_the_parent_pages_at_once_and_a_child_waits_ten_seconds_for_it(world: World) -> None:
    silent(world, "s1")
    assert world.told == []
    world.advance(10 / 60, step_s=5)
    assert [one.person for one in world.told] == ["day"], "nothing explains it"
    silent(world, "switch-1")
    world.advance(1)
    assert len(world.told) == 1, "duty knows the trouble; only its cause is known better now"
    assert [one.cause for one in world.troubles() if one.open] == [2]


def test_a_suppressed_incident_is_judged_and_visible_with_why(world: World) -> None:
    silent(world, "switch-1")
    silent(world, "s1")
    child = world.incidents()[-1]
    assert (child.device, child.open, child.joined, child.explained_by) == ("s1", True, Joined.EXPLAINED, 1)


def test_a_child_that_stays_bad_gets_its_own_ladder_from_its_own_beginning(world: World) -> None:
    silent(world, "switch-1")
    silent(world, "s1", "s2")
    world.advance(12)
    told = len(world.told)
    silent(world, "switch-1", "s2", level=Level.OK)
    world.advance(4)
    own = world.told[told:]
    pages = [(one.person, one.rung) for one in own if one.kind == "page"]
    assert pages == [("day", "duty"), ("olga", "owner")], "s1 has been silent for 14 minutes: both rungs are due"
    assert all("s1" in one.message.subject for one in own if one.kind == "page")
    assert {one.person for one in own if one.kind == "recovered"} == {"day", "olga"}, "the switch's trouble is over"
    world.advance(5)
    assert ("olga", "on-site") in {(one.person, one.rung) for one in world.told}


def test_an_unrelated_fault_behind_a_silent_switch_pages_for_itself(world: World) -> None:
    silent(world, "switch-1")
    world.act(actions.acknowledge, 1)
    world.advance(5)
    world.push(world.verdict(Level.CRITICAL, device="web-1", rule="server.disk-full", quantity="disk.usage"))
    assert [one.person for one in world.told if "web-1" in one.message.subject] == ["day"]


def test_two_rules_of_one_device_at_one_time_are_one_page(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL), world.verdict(Level.WARNING, rule="environment.humidity"))
    assert world.pages() == [(0.0, "day", "duty")]
    world.push(world.verdict(Level.OK))
    world.advance(15)
    assert world.pages("recovered") == [], "one of its faults is still there"
    assert ("olga", "owner") in {(person, rung) for _, person, rung in world.pages("page")}
    world.push(world.verdict(Level.OK, rule="environment.humidity"))
    world.advance(2)
    assert len(world.pages("recovered")) == 2


def test_a_critical_fault_that_joins_a_warning_rises_it(world: World) -> None:
    world.push(world.verdict(Level.WARNING, rule="environment.humidity"))
    world.advance(0.5)
    world.push(world.verdict(Level.CRITICAL))
    assert world.pages("risen") == [(0.5, "day", "risen")]


def test_a_recovery_names_the_cause_and_not_the_effect_that_ended_last(world: World) -> None:
    silent(world, "switch-1")
    silent(world, "s1", "s2")
    world.advance(1)
    silent(world, "switch-1", "s2", level=Level.OK)
    world.advance(0.5)
    silent(world, "s1", level=Level.OK)
    world.advance(2)
    assert ["switch-1" in one.message.subject for one in world.told if one.kind == "recovered"] == [True]


def test_what_joins_a_trouble_that_is_merged_in_the_same_push_goes_with_it(world: World) -> None:
    """Found by the state machine: the child stayed in a trouble that was over, where nobody saw it."""

    def verdict(device: str, quantity: str, level: Level = Level.CRITICAL) -> Verdict:
        return world.verdict(level, device=device, rule=RULE_OF[quantity], quantity=quantity)

    world.push(verdict("switch-1", "output.source"))
    world.push(verdict("switch-1", "output.source", Level.OK))
    world.advance(0.5)
    world.push(verdict("s1", "input.voltage"))
    world.push(verdict("switch-1", "output.source"), verdict("s1", "psu.health"))
    over = {one.trouble for one in world.troubles() if not one.open}
    assert over, "the trouble of s1 is part of that of its parent"
    assert not [one for one in world.incidents() if one.open and one.trouble in over]


# ---- one clock ----


def flap(world: World, bad_s: float, good_s: float, minutes: float) -> None:
    left = minutes * 60
    while left > 0:
        world.push(world.verdict(Level.CRITICAL))
        world.advance(bad_s / 60, step_s=5)
        world.push(world.verdict(Level.OK))
        world.advance(good_s / 60, step_s=5)
        left -= bad_s + good_s


def test_a_fault_that_comes_and_goes_pages_duty_twice_and_the_owner_after_ten_minutes_of_bad_time(world: World) -> None:
    flap(world, 150.0, 50.0, 28.0)
    day = [one.kind for one in world.told if one.person == "day"]
    assert day == ["page", "flapping"], "duty hears once that it flaps"
    (owner,) = (one for one in world.told if one.person == "olga" and one.rung == "owner")
    # 10 minutes of bad time are 4 rounds of 150 s: after 3 whole rounds of 200 s and 150 s more
    assert owner.minute == pytest.approx(12.5, abs=0.3)
    world.advance(11)
    assert [one.kind for one in world.told if one.person == "day"] == ["page", "flapping", "recovered"]


def test_a_recovery_is_told_when_it_has_held(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.advance(3)
    world.push(world.verdict(Level.OK))
    world.advance(0.5)
    assert world.pages("recovered") == []
    world.advance(0.75)
    assert world.pages("recovered") == [(4.0, "day", "recovered")]


def test_the_clock_and_the_acknowledgement_survive_a_round(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.advance(6)
    world.act(actions.acknowledge, 1)
    world.push(world.verdict(Level.OK))
    world.advance(3)
    world.push(world.verdict(Level.CRITICAL))
    assert world.pages("returned") == [(9.0, "day", "returned")], "the recovery was told"
    (trouble,) = world.troubles()
    assert (trouble.recurrence, trouble.acknowledged_by) == (2, "day")
    world.advance(3)
    assert world.pages("page") == [(0.0, "day", "duty")]
    world.advance(1.5)
    assert world.pages("page")[1:] == [(13.0, "olga", "owner")], "6 minutes before, 4 minutes now"


def test_a_fault_that_comes_back_for_another_shift_is_told_to_that(store_url: str) -> None:
    world = World(store_url)
    world.clock.now += 5 * 3600 - 180  # 16:57 at the site
    world.began = world.clock.wall()
    world.push(world.verdict(Level.CRITICAL))
    world.push(world.verdict(Level.OK))
    world.advance(5)
    world.push(world.verdict(Level.CRITICAL))
    assert sorted(person for _, person, _ in world.pages("returned")) == ["day", "night"]
    world.close()


def test_after_ten_good_minutes_a_fault_is_a_new_trouble(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.push(world.verdict(Level.OK))
    world.advance(11.5)
    world.push(world.verdict(Level.CRITICAL))
    assert [one.state for one in world.troubles()] == [TroubleState.RESOLVED, TroubleState.OPEN]
    assert [kind for _, _, kind in world.pages("page")] == ["duty", "duty"]


def test_a_restart_in_the_middle_of_a_round_changes_nothing(store_url: str) -> None:
    world = World(store_url, ladders=LADDERS)
    for _ in range(3):
        world.push(world.verdict(Level.CRITICAL))
        world.start()
        world.advance(4)
        world.push(world.verdict(Level.OK))
        world.start()
        world.advance(0.5)
        world.start()
    assert [(one.person, one.kind) for one in world.told] == [("day", "page"), ("day", "flapping"), ("olga", "page")]
    world.close()


# ---- what explains a fault, and what does not ----


def test_a_fault_that_the_switch_does_not_explain_is_not_hidden_behind_it(world: World) -> None:
    silent(world, "switch-1")
    full = world.verdict(Level.CRITICAL, device="s1", rule="server.disk-full", quantity="disk.usage")
    world.push(world.verdict(Level.CRITICAL, device="s1", **SILENT), full)
    assert [one.trouble for one in world.incidents()] == [1, 1, 2]
    assert any("s1" in one.message.subject for one in world.told if one.kind == "page")


def test_a_child_that_comes_back_behind_its_switch_is_explained_again(world: World) -> None:
    silent(world, "switch-1")
    silent(world, "s1")
    world.advance(2)
    silent(world, "s1", level=Level.OK)
    world.advance(0.5)
    silent(world, "s1")
    assert [(one.trouble, one.explained_by) for one in world.incidents()] == [(1, 0), (1, 1)]
    silent(world, "switch-1", level=Level.OK)
    world.advance(4)
    assert [one.trouble for one in world.incidents()] == [1, 2], "the switch is well: a trouble of its own"
    assert "s1" in [one for one in world.told if one.kind == "page"][-1].message.subject


def test_a_child_that_comes_back_joins_the_trouble_of_a_switch_that_is_silent_now(world: World) -> None:
    silent(world, "s1")
    world.advance(1)
    silent(world, "s1", level=Level.OK)
    silent(world, "switch-1")
    silent(world, "s1")
    first, second = world.troubles()
    assert (first.state, first.merged_into, second.state) == (TroubleState.MERGED, 2, TroubleState.OPEN)
    assert world.incidents()[0].explained_by == 2


def test_a_switch_that_comes_back_explains_what_failed_meanwhile(world: World) -> None:
    silent(world, "switch-1")
    silent(world, "switch-1", level=Level.OK)
    world.advance(0.5)
    silent(world, "s1")
    silent(world, "switch-1")
    assert [(one.trouble, one.explained_by) for one in world.incidents()] == [(1, 0), (1, 1)]
    world.advance(1)
    assert world.pages("page") == [(0.0, "day", "duty")]


def test_a_recovery_does_not_name_a_fault_that_is_still_there(world: World) -> None:
    silent(world, "switch-1")
    silent(world, "s1")
    world.advance(2)
    silent(world, "switch-1", level=Level.OK)
    world.advance(4)
    (over,) = (one.message.subject for one in world.told if one.kind == "recovered")
    assert "switch-1" in over


def test_of_two_faults_of_one_reading_only_one_explains_the_other(world: World) -> None:
    verdicts = [
        world.verdict(Level.CRITICAL, device="s1", rule="power.input-lost", quantity="input.state"),
        world.verdict(Level.CRITICAL, device="s1", rule="power.on-battery", quantity="output.source"),
    ]
    world.push(*verdicts)
    assert [one.explained_by for one in world.incidents()] == [0, 1]


def test_nobody_is_paged_by_hand_while_no_fault_is_there(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.push(world.verdict(Level.OK))
    with pytest.raises(Conflict, match="none of its faults is there now"):
        world.act(actions.escalate, 1)
    assert len(world.told) == 1
