"""What must never happen: a silenced fault, a lost page, a message that is not true."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa

from tests.story.world import INVENTORY, World
from watchkeeper.channels.ports import Receipt
from watchkeeper.collector.intake.turns import Waiting
from watchkeeper.collector.policy.hold import BACKLOG_LONGEST_S, BACKLOG_S
from watchkeeper.collector.process import actions
from watchkeeper.collector.store.schema import metadata, rung
from watchkeeper.model.errors import Conflict, StoreError, StoreFull
from watchkeeper.model.verdict import Evidence, Level, Withdrawal
from watchkeeper.model.wire import decode_push

TWO_AGENTS = INVENTORY.replace("devices:", "  - {agent: room-2, owner: olga}\ndevices:")
MOVED = TWO_AGENTS.replace("{device: sensor-1, agent: room-1", "{device: sensor-1, agent: room-2")


@pytest.fixture
def world(store_url: str) -> Iterator[World]:
    made = World(store_url)
    yield made
    made.close()


@pytest.fixture
def pair(store_url: str) -> Iterator[World]:
    made = World(store_url, inventory=TWO_AGENTS)
    yield made
    made.close()


def undecided(world: World) -> list[tuple[int, int, str]]:
    with world.store.read() as connection:
        found = connection.execute(sa.select(rung).where(rung.c.decided_at.is_(None)).order_by(rung.c.due_at))
        return [(row.trouble, row.recurrence, row.rung) for row in found]


# ---- several changes in one push ----


def test_a_fault_that_ended_and_another_of_the_same_kind_are_two_faults_in_one_push(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.advance(12)
    world.told.clear()
    world.push(world.verdict(Level.OK, age_s=700), world.verdict(Level.CRITICAL, age_s=30))
    assert [(one.incident, one.open) for one in world.incidents()] == [(1, False), (2, True)]
    assert sorted(world.pages("recovered")) == [(12.0, "day", "recovered"), (12.0, "olga", "recovered")]
    assert world.pages("page") == [(12.0, "day", "duty")]
    assert {trouble for trouble, _, _ in undecided(world)} == {2}


def test_a_fault_that_came_and_went_before_another_is_also_reported(world: World) -> None:
    world.push(
        world.verdict(Level.CRITICAL, age_s=7200), world.verdict(Level.OK, age_s=3600), world.verdict(Level.CRITICAL)
    )
    told = [(one.kind, one.message.facts["incident"]) for one in world.told]
    assert told == [("page", 2), ("passed", 1)], "the fault that is there goes first"


def test_a_fault_that_ends_and_comes_back_in_one_push_continues_its_ladder(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.advance(5)
    world.push(world.verdict(Level.OK, age_s=60), world.verdict(Level.WARNING))
    assert world.happened() == ["opened", "resolved", "reopened"]
    assert [rung for _, _, rung in undecided(world)] == ["owner", "on-site", "vendor"]
    world.advance(11)
    assert world.pages("page") == [(0.0, "day", "duty"), (11.0, "olga", "owner")], "the minute between does not count"


def test_rise_ease_and_rise_repeat_no_rung_and_delay_none(world: World) -> None:
    for level in (Level.WARNING, Level.CRITICAL, Level.WARNING, Level.UNKNOWN, Level.CRITICAL):
        world.push(world.verdict(level))
        world.advance(3)
    world.advance(46)
    assert [page[0] for page in world.pages("page")] == [0.0, 10.0, 20.0, 20.0, 60.0]
    assert world.happened() == ["opened", "risen", "eased", "unseen", "risen"]
    # Duty has been told that it is critical; the owner had only the warning.
    assert world.pages("risen") == [(3.0, "day", "risen"), (12.0, "olga", "risen")]


def test_an_acknowledgement_that_stops_the_ladder_does_not_outlive_the_trouble(store_url: str) -> None:
    world = World(store_url)
    world.ladders = world.ladders.replace("    rungs:", "    stops_at: acknowledged\n    rungs:")
    world.start()
    world.push(world.verdict(Level.CRITICAL))
    world.act(actions.acknowledge, 1)
    world.advance(1)
    world.push(world.verdict(Level.OK))
    world.advance(2)
    world.push(world.verdict(Level.CRITICAL))  # the fault recurs
    assert world.troubles()[0].acknowledged_by is None
    assert world.pages("returned") == [(3.0, "day", "returned")]
    world.advance(11)
    assert world.pages("page")[-1] == (12.0, "olga", "owner")
    world.close()


def test_a_resolved_incident_cannot_be_acknowledged_or_escalated(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.push(world.verdict(Level.OK))
    world.advance(1)
    for action in (actions.acknowledge, actions.escalate, actions.resolve):
        with pytest.raises(Conflict, match="resolved already"):
            world.act(action, 1)
    assert world.happened() == ["opened", "resolved"]


# ---- the set of non-ok verdicts ----


def test_unknown_in_the_set_neither_opens_nor_closes(world: World) -> None:
    bad = world.verdict(Level.CRITICAL)
    other = world.verdict(Level.UNKNOWN, rule="environment.humidity")
    world.push(bad)
    world.push(world.standing(world.verdict(Level.UNKNOWN), other))
    (one,) = world.incidents()
    assert (one.rule, one.open, one.verdict, one.level) == (bad.rule, True, Level.UNKNOWN, Level.CRITICAL)
    assert world.tally("reconciled") == 1
    world.push(world.verdict(Level.UNKNOWN))
    assert world.happened() == ["opened", "unseen"]
    world.act(actions.resolve, 1)  # the state is unknown, so a person may resolve it
    assert not world.incidents()[0].open


def test_the_set_says_that_a_fault_is_visible_again(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL), world.verdict(Level.UNKNOWN))
    world.push(world.standing(world.verdict(Level.CRITICAL)))
    assert world.incidents()[0].verdict is Level.CRITICAL
    with pytest.raises(Conflict):
        world.act(actions.resolve, 1)


def test_the_set_of_one_agent_does_not_affect_the_faults_of_another(pair: World) -> None:
    bodies = (pair.body(pair.verdict(Level.CRITICAL)), pair.body(pair.standing(), agent="room-2"))
    now = pair.clock.wall()
    pair.journal.turn([Waiting(decode_push(json.loads(body), now), body, now, lambda _: None) for body in bodies])
    assert [one.open for one in pair.incidents()] == [True]


def test_the_set_of_a_new_epoch_continues_the_open_incidents(world: World) -> None:
    known = world.verdict(Level.CRITICAL)
    world.push(known)
    world.epoch = "epoch-2"
    world.push(world.standing(known))
    world.advance(11)
    assert world.happened() == ["opened"]
    assert [page[1] for page in world.pages()] == ["day", "olga"]
    world.epoch = "epoch-3"  # this one lost the end of a fault
    world.push(world.standing())
    assert world.happened() == ["opened", "resolved"]


def test_a_verdict_after_the_set_counts(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.push(world.standing(), world.verdict(Level.CRITICAL))
    assert world.incidents()[0].open
    assert world.happened() == ["opened", "resolved", "reopened"]


def test_a_withdrawal_closes_and_says_why(world: World) -> None:
    fault = world.verdict(Level.CRITICAL)
    world.push(fault)
    world.push(Withdrawal("w", *fault.key, world.clock.boot(), "the disk was pulled"))
    assert world.happened() == ["opened", "withdrawn"]
    assert "the disk was pulled" in world.told[-1].message.text
    world.push(Withdrawal("again", *fault.key, world.clock.boot(), "the disk was pulled"))
    assert world.happened() == ["opened", "withdrawn"]
    world.advance(70)
    assert world.pages() == [(0.0, "day", "duty"), (0.0, "day", "withdrawn")]


# ---- the inventory changes ----


def test_a_device_that_moves_to_another_agent_is_judged_there_from_the_start(pair: World) -> None:
    pair.push(pair.verdict(Level.CRITICAL))
    pair.adopt(MOVED)
    assert pair.happened() == ["opened", "withdrawn"]
    assert "room-2" in pair.told[-1].message.text

    pair.push(pair.standing())  # of room-1, without the device
    pair.push(pair.verdict(Level.CRITICAL), agent="room-1")  # sent before it got the new bundle
    assert len(pair.incidents()) == 1
    pair.push(pair.verdict(Level.CRITICAL, age_s=60), agent="room-2")
    assert [(one.agent, one.open) for one in pair.incidents()] == [("room-1", False), ("room-2", True)]
    pair.push(pair.standing())
    assert pair.incidents()[1].open


def test_a_verdict_about_another_agent_s_device_in_the_set_is_ignored(pair: World) -> None:
    pair.adopt(MOVED)
    pair.push(pair.standing(pair.verdict(Level.CRITICAL)), agent="room-1")
    pair.push(Withdrawal("w", "web-1", "server.cpu-busy", "", pair.clock.boot(), "not mine"), agent="room-2")
    assert pair.incidents() == []


def test_the_incidents_of_a_removed_agent_are_withdrawn(pair: World) -> None:
    pair.look(1)
    assert {one.device for one in pair.incidents()} == {"room-1", "room-2"}
    pair.adopt(INVENTORY)
    assert [(one.device, one.open) for one in pair.incidents()] == [("room-1", True), ("room-2", False)]


def test_a_journalled_verdict_of_a_device_removed_meanwhile_opens_nothing(world: World) -> None:
    """The collector is killed between journal and incident, and starts again with another configuration."""
    world.push(world.verdict(Level.CRITICAL, device="web-1", rule="server.cpu-busy"))
    inventory = "\n".join(line for line in world.inventory.splitlines() if "web-1" not in line)
    world.adopt(inventory)
    world.push(world.verdict(Level.CRITICAL, device="web-1", rule="server.cpu-busy"))
    assert [one.open for one in world.incidents()] == [False]


# ---- an incomplete backlog ----


def test_an_agent_that_always_announces_more_cannot_hold_its_ladder_for_ever(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL), more=True)
    while world.clock.wall() - world.began < BACKLOG_LONGEST_S - 20:
        world.clock.advance(10)
        world.push(world.verdict(Level.WARNING, rule="environment.humidity"), more=True)
    assert world.told == []
    for _ in range(6):
        world.clock.advance(10)
        world.push(world.verdict(Level.WARNING, rule="environment.humidity"), more=True)
    assert world.pages()[0] == (BACKLOG_LONGEST_S / 60, "day", "duty")


def test_a_second_long_backlog_holds_the_ladder_like_the_first(world: World) -> None:
    world.push(world.verdict(Level.OK), more=True)
    world.advance(30)  # it ended in the middle of the backlog, and starts again
    world.push(world.verdict(Level.CRITICAL, age_s=900), more=True)
    assert world.told == []
    world.advance(BACKLOG_S / 60 + 0.1)
    assert len(world.told) == 2


def test_an_incomplete_backlog_does_not_hide_a_silent_agent(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL), more=True)
    world.look(0.92)
    assert [one.message.facts["rule"] for one in world.told] == ["watchkeeper.agent-silent"]


# ---- the collector's own rules ----


def test_after_a_restart_a_silent_agent_has_not_recovered(world: World) -> None:
    world.look(1)
    told = len(world.told)
    for _ in range(3):
        world.start()
        world.look(0.5)
    assert world.happened() == ["opened"]
    world.look(2)
    assert world.happened() == ["opened"]
    assert len(world.told) == told
    world.push(world.verdict(Level.OK))
    world.look(0.1)
    assert world.happened() == ["opened", "resolved"]


@pytest.mark.parametrize("jump_s", [7200.0, -7200.0, 86_400.0 * 3650])
def test_a_jump_of_the_wall_clock_makes_no_agent_silent_and_hides_no_silent_agent(world: World, jump_s: float) -> None:
    for _ in range(4):
        world.push(world.verdict(Level.OK))
        world.look(0.5)
    world.clock.now += jump_s
    world.look(0.2)
    assert world.incidents() == []
    world.look(0.8)
    assert [one.rule for one in world.incidents()] == ["watchkeeper.agent-silent"]
    assert abs(world.incidents()[0].began_at - world.clock.wall()) < 60


def test_an_unavailable_store_makes_no_agent_silent(world: World) -> None:
    world.look(0.5)
    world.push(world.verdict(Level.OK))
    world.look(0.1)
    world.clock.advance(300)  # the collector could not read the store, nor accept pushes
    world.look(0.5)
    assert world.incidents() == []


def test_a_verdict_that_the_store_did_not_accept_is_judged_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.look(0.8)

    def full(*_: object) -> None:
        raise StoreFull("no room")

    with monkeypatch.context() as patched:
        patched.setattr("watchkeeper.collector.process.own.rules.apply_events", full)
        world.clock.advance(8)
        with pytest.raises(StoreFull):
            world.own_rules.look()
    assert world.incidents() == []
    world.look(0.1)
    assert [one.rule for one in world.incidents()] == ["watchkeeper.agent-silent"]


def test_a_full_disk_makes_no_agent_silent_because_its_pushes_are_refused(world: World) -> None:
    world.look(0.2)
    world.disk.reserve_bytes = 2**62
    world.look(5)
    found = [one.rule for one in world.incidents()]
    # A PostgreSQL store is not on our disk, so the collector does not look at it.
    assert found in (["watchkeeper.disk-full"], ["watchkeeper.agent-silent"])
    assert (found == ["watchkeeper.disk-full"]) is world.store.embedded


def test_a_rule_switched_off_and_on_again_still_sees_the_fault(world: World) -> None:
    world.look(1)
    world.adopt(rules="off: [{rule: watchkeeper.agent-silent, because: we know}]")
    assert world.happened() == ["opened", "withdrawn"]
    world.look(1)
    world.adopt()
    world.look(0.1)
    assert [(one.rule, one.open) for one in world.incidents()] == [
        ("watchkeeper.agent-silent", False), ("watchkeeper.agent-silent", True),
    ]  # fmt: skip


# ---- texts ----


def test_a_page_that_cannot_be_composed_is_sent_with_a_minimal_text(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("watchkeeper.collector.notify.compose.value_line", lambda *_: str.format("{"))
    world.push(
        world.verdict(Level.CRITICAL), world.verdict(Level.CRITICAL, device="web-1", rule="no {rule} of ours\nat all")
    )
    assert [one.message.subject for one in world.told] == [
        "[page: critical] sensor-1: environment.temperature", "[page: critical] web-1: no {rule} of ours\ufffdat all",
    ]  # fmt: skip
    assert world.told[0].message.facts["incident"] == 1
    assert "could not be composed" in caplog.text


def test_names_with_hyphens_do_not_merge_two_messages(store_url: str) -> None:
    world = World(store_url)
    world.contacts = world.contacts.replace("  - {person: amy,", "  - {person: b, name: B, channels: [{via: console}]}\n"
                                            "  - {person: x-b, name: XB, channels: [{via: console}]}\n  - {person: amy,")  # fmt: skip
    world.ladders = world.ladders.replace(
        "      - {rung: owner, after: 10 min, tell: [owner]}\n",
        "      - {rung: a, after: 1 min, tell: [x-b]}\n      - {rung: a-x, after: 2 min, tell: [b]}\n",
    )
    world.start()
    world.push(world.verdict(Level.CRITICAL))
    world.advance(3)
    assert [(one.person, one.rung) for one in world.told[1:]] == [("x-b", "a"), ("b", "a-x")]
    world.close()


def test_an_error_of_the_store_while_a_rung_is_decided_decides_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.push(world.verdict(Level.CRITICAL), more=True)

    def broken(*_: object, **__: object) -> Receipt:
        raise StoreError("gone")

    world.clock.advance(61)
    with monkeypatch.context() as patched:
        patched.setattr("watchkeeper.collector.notify.enqueue.Notifier._put", broken)
        with pytest.raises(StoreError):
            world.beat()
    with world.store.read() as connection:
        assert connection.execute(sa.select(metadata.tables["outbox"])).all() == []
    world.beat()
    assert [one.rung for one in world.told] == ["duty"]


def test_a_page_says_why_the_service_is_down(world: World) -> None:
    down = replace(
        world.verdict(Level.CRITICAL, rule="service.down"),
        evidence=Evidence("service.state", "down", "is down", says="connection refused: nothing listens on port 5432"),
    )
    world.push(down)
    (told,) = world.told
    assert "原因：connection refused: nothing listens on port 5432" in told.message.text
