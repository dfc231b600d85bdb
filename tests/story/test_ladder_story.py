"""The ladder of the regulation, with a fake clock, on SQLite and PostgreSQL."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.story.world import CONTACTS, LADDERS, World, older
from watchkeeper.collector.policy.hold import Hold, HoldReason
from watchkeeper.collector.process import actions
from watchkeeper.collector.read import incidents as read_incidents
from watchkeeper.collector.site.load import parse_configuration
from watchkeeper.collector.site.snapshot import make_snapshot
from watchkeeper.model.errors import Conflict
from watchkeeper.model.verdict import Level

WHOLE_LADDER = [(0.0, "day", "duty"), (10.0, "olga", "owner"), (20.0, "olga", "on-site"), (20.0, "hao", "on-site"),
                (60.0, "amy", "vendor")]  # fmt: skip


@pytest.fixture
def world(store_url: str) -> Iterator[World]:
    made = World(store_url)
    yield made
    made.close()


def test_an_unresolved_fault_climbs_the_whole_ladder_and_everybody_paged_is_told_of_the_recovery(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.advance(5)
    world.act(actions.acknowledge, 1)  # says who is working on it; it does not stop the ladder
    world.advance(85)

    assert world.pages() == WHOLE_LADDER
    assert len({one.message.key for one in world.told}) == len(world.told)
    vendor = world.told[-1].message
    assert "400 100 2000" in vendor.text
    assert vendor.facts["vendor"]["contract"] == "C-17"

    world.push(world.verdict(Level.OK))
    world.advance(1)
    assert sorted(world.pages("recovered")) == [(91.0, person, "recovered") for person in ("amy", "day", "hao", "olga")]
    world.advance(120)
    assert len(world.told) == len(WHOLE_LADDER) + 4  # no page after resolution
    assert world.happened() == ["opened", "acknowledged", "resolved"]


def test_messages_are_in_the_reader_s_language_and_the_site_s_time(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.advance(20)
    chinese, english = world.told[0].message, world.told[1].message
    assert "sensor-1" in chinese.subject
    assert "critical" not in chinese.subject
    assert "2027-01-15 12:00:00" in english.text  # Shanghai, not UTC
    assert "24.5 °C" in english.text
    assert "outside 21 to 23 °C" in english.text
    assert "unresolved for 10 min" in english.text


def test_only_paged_people_are_told_of_the_recovery(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.advance(12)
    world.push(world.verdict(Level.OK))
    world.advance(1)
    assert sorted(world.pages("recovered")) == [(13.0, "day", "recovered"), (13.0, "olga", "recovered")]
    last = "Worst: 24.5 °C at 12:00:00.\nFrom 2027-01-15 12:00:00 to 12:12:00, 12 min\n"
    assert last in world.told[-1].message.text


def test_a_restart_changes_no_message(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    for _ in range(8):
        world.advance(10)
        world.start()
    assert world.pages() == WHOLE_LADDER


def test_the_collector_was_down_for_longer_than_a_rung(world: World) -> None:
    """An open fault reaches its current level at once; the time counts from the fault."""
    world.push(world.verdict(Level.CRITICAL, age_s=25 * 60))
    assert sorted(world.pages()) == [(0.0, "day", "duty"), (0.0, "hao", "on-site"), (0.0, "olga", "on-site"),
                                     (0.0, "olga", "owner")]  # fmt: skip
    assert [one.rung for one in world.told if one.person == "olga"] == ["owner", "on-site"]
    world.advance(34)
    assert len(world.told) == 4
    world.advance(2)
    assert world.pages()[-1] == (35.0, "amy", "vendor")


def test_a_fault_cleared_before_notification_is_reported_to_duty_once_and_not_climbed(world: World) -> None:
    bad, good = world.verdict(Level.CRITICAL, age_s=50 * 60), world.verdict(Level.OK, age_s=5 * 60)
    world.push(bad, good)
    world.advance(120)
    assert world.pages() == [(0.0, "day", "passed")]
    assert world.happened() == ["opened", "resolved"]
    assert world.incidents()[0].ended_at == pytest.approx(world.began - 300)


def test_an_incomplete_backlog_pages_nobody(world: World) -> None:
    """The backlog is larger than one push: the end of the fault is in the next push."""
    world.push(world.verdict(Level.CRITICAL, age_s=50 * 60), more=True)
    world.advance(0.5)
    assert world.told == []
    world.push(world.verdict(Level.OK, age_s=60))
    world.advance(30)
    assert world.pages() == [(0.5, "day", "passed")]


def test_the_end_of_the_backlog_pages_at_once(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL), more=True)
    world.push(world.verdict(Level.WARNING, device="web-1", rule="server.cpu-busy"))
    assert [one.rung for one in world.told] == ["duty", "duty"]


def test_an_agent_that_ends_in_the_middle_of_its_backlog_cannot_silence_the_fault(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL, age_s=11 * 60), more=True)
    world.advance(2)
    assert world.pages() == [(1.0, "day", "duty"), (1.0, "olga", "owner")]


def test_a_replayed_batch_is_a_no_op(world: World) -> None:
    body = world.body(world.verdict(Level.CRITICAL))
    assert [world.deliver(body) for _ in range(3)] == [1, 1, 1]
    world.advance(11)
    world.deliver(body)
    assert world.pages() == [(0.0, "day", "duty"), (10.0, "olga", "owner")]
    assert world.happened() == ["opened"]


def test_only_the_new_items_of_a_partly_repeated_push_count(world: World) -> None:
    bad, good = world.verdict(Level.CRITICAL), world.verdict(Level.OK)
    world.push(bad, good)
    world.seqs.clear()
    world.push(bad, good, world.verdict(Level.WARNING, device="web-1", rule="server.cpu-busy"))
    assert world.happened() == ["opened", "resolved"]
    world.advance(1)
    assert [(one.message.facts["rule"], one.kind) for one in world.told] == [
        ("server.cpu-busy", "page"), ("environment.temperature", "passed"),
    ]  # fmt: skip


def test_a_wrong_wall_clock_of_the_agent_shifts_no_time(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL), wrong_by_s=3600)
    world.advance(61)
    assert world.pages() == WHOLE_LADDER


def test_a_rise_to_critical_stays_one_incident_and_repeats_no_rung(world: World) -> None:
    world.push(world.verdict(Level.WARNING))
    world.advance(12)
    world.push(world.verdict(Level.CRITICAL))
    world.advance(60)
    assert world.pages("page") == WHOLE_LADDER  # the rise delays no page
    assert sorted(world.pages("risen")) == [(12.0, "day", "risen"), (12.0, "olga", "risen")]
    assert world.happened() == ["opened", "risen"]
    world.push(world.verdict(Level.OK))
    world.advance(1)
    assert {one[1] for one in world.pages("recovered")} == {"day", "olga", "hao", "amy"}


def test_the_times_of_the_critical_ladder_count_from_the_rise(store_url: str) -> None:
    warning = (
        LADDERS
        + "  - {ladder: soft, levels: [warning], fallback: [head], rungs: [{rung: duty, after: 0 min, tell: [duty]}]}\n"
    )
    ladders = warning.replace("    fallback: [head]\n", "    fallback: [head]\n    levels: [critical]\n", 1)
    world = World(store_url, ladders=ladders)
    world.push(world.verdict(Level.WARNING))
    world.advance(30)
    world.push(world.verdict(Level.CRITICAL))
    world.advance(61)
    assert world.pages("page") == [(0.0, "day", "duty"), (40.0, "olga", "owner"), (50.0, "olga", "on-site"),
                                   (50.0, "hao", "on-site"), (90.0, "amy", "vendor")]  # fmt: skip
    world.close()


def test_escalate_now_climbs_one_rung_and_later_rungs_keep_their_times(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.advance(3)
    world.act(actions.escalate, 1, note="the compressor is seized")
    world.advance(60)
    assert world.pages() == [(0.0, "day", "duty"), (3.0, "olga", "owner"), *WHOLE_LADDER[2:]]
    with pytest.raises(Conflict, match="every rung of its ladder has been decided"):
        world.act(actions.escalate, 1)


def test_resolving_by_hand_is_refused_while_the_verdict_is_bad(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    with pytest.raises(Conflict, match="still critical"):
        world.act(actions.resolve, 1)
    world.push(world.verdict(Level.UNKNOWN))
    world.advance(11)
    assert world.pages() == WHOLE_LADDER[:2]  # unknown neither closes the incident nor stops the ladder
    assert world.act(actions.resolve, 1, note="the sensor was scrapped").state == "resolved"
    assert world.happened() == ["opened", "unseen", "resolved"]
    world.advance(60)
    assert world.pages("page") == WHOLE_LADDER[:2]


def test_a_fault_that_comes_back_soon_is_the_same_incident_and_climbs_again(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.advance(2)
    world.push(world.verdict(Level.OK))
    world.advance(3)
    world.push(world.verdict(Level.CRITICAL))
    world.advance(11)
    assert world.pages("page", "returned") == [(0.0, "day", "duty"), (5.0, "day", "returned"), (13.0, "olga", "owner")]
    assert world.happened() == ["opened", "resolved", "reopened"]
    assert len({one.message.key for one in world.told}) == len(world.told)


def test_everybody_paged_before_a_recurrence_is_told_of_the_end_once_it_has_held(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.advance(11)
    world.push(world.verdict(Level.OK))
    world.push(world.verdict(Level.CRITICAL))
    world.advance(2)
    world.push(world.verdict(Level.OK))
    world.advance(11)
    assert sorted(world.pages("recovered")) == [(23.0, "day", "recovered"), (23.0, "olga", "recovered")]


def test_a_fault_that_comes_and_goes_twice_is_reported_twice(world: World) -> None:
    for _ in range(2):
        world.push(world.verdict(Level.CRITICAL, age_s=60), world.verdict(Level.OK, age_s=30))
        world.advance(1)
    world.advance(10)
    assert [(one.minute, one.kind) for one in world.told] == [(0.5, "passed"), (10.5, "passed")]


def test_a_fault_that_comes_back_late_is_a_new_incident(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.push(world.verdict(Level.OK))
    world.advance(30)
    world.push(world.verdict(Level.CRITICAL))
    assert [one.incident for one in world.incidents()] == [1, 2]


def test_the_shift_changes_between_two_rungs(store_url: str) -> None:
    world = World(store_url)
    world.clock.now += 5 * 3600 - 60  # 16:59 at the site
    world.began = world.clock.wall()
    world.push(world.verdict(Level.CRITICAL))
    world.advance(2)
    world.push(world.verdict(Level.WARNING, rule="environment.humidity"))
    assert world.pages() == [(0.0, "day", "duty"), (2.0, "night", "duty")]
    world.close()


def test_a_role_without_a_person_pages_the_fallback_and_says_so(store_url: str) -> None:
    ladders = LADDERS.replace("tell: [assistant]", "tell: [assistant, owner]")
    world = World(store_url, ladders=ladders)
    world.push(world.verdict(Level.CRITICAL))
    snapshot = world.runtime.snapshot
    contacts = snapshot.configuration.contacts
    world.runtime.activate(
        replace(
            snapshot,
            configuration=replace(snapshot.configuration, contacts=replace(contacts, roles={"head": ("hao",)})),
        )
    )
    world.advance(61)
    assert world.pages()[-2:] == [(60.0, "olga", "vendor"), (60.0, "hao", "vendor")]
    assert "nobody has the role: assistant" in world.told[-1].message.text
    world.close()


def test_an_undelivered_page_tries_the_next_channel_then_the_next_person(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.broken = {"webhook"}
    world.advance(10.5)
    assert [(one.person, one.via) for one in world.told[1:]] == [("olga", "console")]
    keys = {one.message.key for one in world.told}

    world.broken = {"webhook", "console"}
    world.advance(10)  # on-site: neither owner nor head can be reached
    world.broken = {"webhook"}
    world.advance(6)  # all channels are tried again
    reached = {(one.person, one.rung) for one in world.told if one.message.key not in keys}
    assert reached == {("olga", "on-site"), ("hao", "on-site")}


def test_the_fallback_replaces_a_person_who_cannot_be_reached(store_url: str) -> None:
    only_webhook = (
        'channels: [{via: webhook, url: "http://127.0.0.1:1/owner", secret: s}, {via: console}]',
        'channels: [{via: webhook, url: "http://127.0.0.1:1/owner", secret: s}]',
    )  # fmt: skip
    world = World(store_url, contacts=CONTACTS.replace(*only_webhook))
    world.broken = {"webhook"}
    world.push(world.verdict(Level.CRITICAL))
    world.advance(11)
    assert [(one.person, one.rung) for one in world.told] == [("day", "duty"), ("hao", "owner")]
    assert "olga could not be reached" in world.told[-1].message.text
    world.close()


def test_the_agent_s_set_of_verdicts_reconciles_lost_changes(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL), world.verdict(Level.WARNING, rule="environment.humidity"))
    known = world.verdict(Level.CRITICAL)
    missed = world.verdict(Level.CRITICAL, device="web-1", rule="server.cpu-busy", age_s=120)
    world.push(world.standing(known, missed))
    states = {(one.rule, one.state.value) for one in world.incidents()}
    assert states == {
        ("environment.temperature", "open"), ("environment.humidity", "resolved"), ("server.cpu-busy", "open"),
    }  # fmt: skip
    assert world.tally("reconciled") == 2
    world.push(world.standing(known, missed))
    assert world.tally("reconciled") == 2  # agent and collector agree now


def test_a_silent_agent_is_an_incident_and_the_faults_of_its_devices_stay_open(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.look(1)
    silent = world.incidents()[-1]
    assert (silent.device, silent.rule, silent.open) == ("room-1", "watchkeeper.agent-silent", True)
    assert world.incidents()[0].open

    world.push(world.standing(world.verdict(Level.CRITICAL)))
    world.look(0.1)
    assert [one.open for one in world.incidents()] == [True, False]


def test_after_its_own_downtime_a_collector_reports_no_agent_as_silent(world: World) -> None:
    world.push(world.verdict(Level.OK))
    world.clock.advance(minutes=180)
    world.start()
    world.look(0.7)
    assert world.incidents() == []
    world.look(0.3)  # the agent has been silent for long enough now
    assert [one.rule for one in world.incidents()] == ["watchkeeper.agent-silent"]


def test_an_incident_whose_device_is_removed_is_withdrawn_and_reported(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    inventory = "\n".join(
        line for line in world.inventory.splitlines() if "sensor-1" not in line and "Row A" not in line
    )
    world.runtime.activate(make_snapshot(parse_configuration(inventory, world.contacts, world.ladders)))
    world.beat()
    assert world.happened() == ["opened", "withdrawn"]
    assert world.pages("withdrawn") == [(0.0, "day", "withdrawn")]


def test_a_ladder_can_be_configured_to_stop_at_an_acknowledgement(store_url: str) -> None:
    world = World(store_url, ladders=LADDERS.replace("    rungs:", "    stops_at: acknowledged\n    rungs:"))
    world.push(world.verdict(Level.CRITICAL))
    world.advance(5)
    world.act(actions.acknowledge, 1)
    world.advance(90)
    assert world.pages("page") == WHOLE_LADDER[:1]
    with world.store.read() as connection:
        (held,) = read_incidents.open_incidents(connection, world.runtime.snapshot, world.clock.wall())
    assert held.hold == Hold(HoldReason.ACKNOWLEDGED)
    assert held.upcoming is None
    world.act(actions.escalate, 1)  # "escalate now" still decides the next rung
    world.advance(90)
    assert world.pages("page")[1:] == [(95.0, "olga", "owner")]
    world.close()


def test_an_older_verdict_opens_an_incident_that_ended_before_it_arrived(world: World) -> None:
    first = world.verdict(Level.CRITICAL)
    world.push(older(first, 3600), world.verdict(Level.OK, age_s=7200))  # a clock was set back
    assert world.incidents()[0].ended_at == world.incidents()[0].began_at


CALM_STOPS = """
ladders:
  - ladder: calm
    levels: [warning]
    stops_at: acknowledged
    fallback: [head]
    rungs:
      - {rung: duty, after: 0 min, tell: [duty]}
      - {rung: owner, after: 10 min, tell: [owner]}
  - ladder: urgent
    levels: [critical]
    fallback: [head]
    rungs:
      - {rung: duty, after: 0 min, tell: [duty]}
      - {rung: owner, after: 10 min, tell: [owner]}
"""


def test_a_warning_held_by_its_acknowledgement_climbs_the_critical_ladder_from_the_rise(store_url: str) -> None:
    """The owner was due 20 minutes ago on the ladder of warnings, where the acknowledgement held it."""
    world = World(store_url, ladders=CALM_STOPS)
    world.push(world.verdict(Level.WARNING))
    world.advance(5)
    world.act(actions.acknowledge, 1)
    world.advance(25)
    assert world.pages("page") == [(0.0, "day", "duty")]
    world.push(world.verdict(Level.CRITICAL))
    world.advance(9)
    assert world.pages("page") == [(0.0, "day", "duty")]
    world.advance(2)
    assert world.pages("page")[1:] == [(40.0, "olga", "owner")]
    world.close()
