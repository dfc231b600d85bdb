"""What people answer to a trouble, with a fake clock: each answer once, and nothing that silences a fault."""

from collections.abc import Iterator

import pytest

from tests.story.world import LADDERS, World
from watchkeeper.collector.policy.troubles import TroubleState
from watchkeeper.collector.process import actions
from watchkeeper.model.errors import Conflict
from watchkeeper.model.verdict import Level

ON_SITE = LADDERS.replace("after: 20 min, tell: [owner, head]", "after: 20 min, tell: [owner, head], on_site: [owner]")


@pytest.fixture
def world(store_url: str) -> Iterator[World]:
    made = World(store_url, ladders=ON_SITE)
    yield made
    made.close()


def messages(world: World, kind: str) -> list[tuple[float, str]]:
    return [(one.minute, one.person) for one in world.told if one.kind == kind]


def test_the_owner_is_asked_every_ten_minutes_until_somebody_is_on_site(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.advance(45)
    assert messages(world, "on-site") == [(30.0, "olga"), (40.0, "olga")]
    world.act(actions.on_site, 1, "olga")
    world.advance(60)
    assert len(messages(world, "on-site")) == 2
    (trouble,) = world.troubles()
    assert (trouble.on_site_by, trouble.acknowledged_by) == ("olga", "olga"), "who is on site works on it"
    assert (60.0, "amy", "vendor") in world.pages("page"), "being on site stops no rung"
    assert world.happened() == ["opened", "on-site"]
    world.act(actions.on_site, 1, "olga")
    assert world.happened() == ["opened", "on-site"], "said twice, noted once"


def test_nobody_is_asked_to_come_while_no_fault_is_there(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.advance(25)
    world.push(world.verdict(Level.OK))
    world.advance(30)
    assert messages(world, "on-site") == []


def test_who_takes_over_is_told_to_the_person_who_worked_on_it(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.act(actions.acknowledge, 1, "day")
    world.act(actions.acknowledge, 1, "day")
    assert messages(world, "taken-over") == []
    world.act(actions.acknowledge, 1, "olga", "I am nearer")
    assert messages(world, "taken-over") == [(0.0, "day")]
    assert world.troubles()[0].acknowledged_by == "olga"
    assert world.happened() == ["opened", "acknowledged", "acknowledged", "taken-over"]


def test_an_escalation_to_a_rung_happens_once_however_often_and_by_whom_it_is_asked_for(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.advance(3)
    actions.escalate(world.runtime.notifier(), 1, "day", world.clock.wall(), "stuck", rung="owner")
    actions.escalate(world.runtime.notifier(), 1, "day", world.clock.wall(), "stuck", rung="owner")
    world.beat()
    assert world.pages("page") == [(0.0, "day", "duty"), (3.0, "olga", "owner")]
    world.advance(20)
    actions.escalate(world.runtime.notifier(), 1, "day", world.clock.wall(), rung="on-site")  # the clock was faster
    world.beat()
    assert [rung for _, _, rung in world.pages("page")] == ["duty", "owner", "on-site", "on-site"]
    assert world.happened() == ["opened", "escalated"]


def test_a_jump_to_a_rung_skips_none(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.advance(1)
    actions.escalate(world.runtime.notifier(), 1, "day", world.clock.wall(), "it burns", rung="vendor")
    world.beat()
    assert {rung for _, _, rung in world.pages("page")} == {"duty", "owner", "on-site", "vendor"}
    world.advance(9.5)
    assert messages(world, "on-site") == []
    world.advance(1)
    assert messages(world, "on-site") == [(11.0, "olga")], "a rung decided by hand wants somebody on site, too"
    with pytest.raises(Conflict, match="has no rung `boss`; it has duty, owner, on-site, vendor"):
        actions.escalate(world.runtime.notifier(), 1, "day", world.clock.wall(), rung="boss")


def test_a_comment_reaches_those_who_are_mentioned_also_when_it_is_over(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    actions.comment(world.runtime.notifier(), 1, "day", world.clock.wall(), "the fan is loud", mention=["hao"])
    world.beat()
    assert messages(world, "mentioned") == [(0.0, "hao")]
    assert "the fan is loud" in next(one.message.text for one in world.told if one.kind == "mentioned")
    world.push(world.verdict(Level.OK))
    world.advance(2)
    assert (1.0, "hao", "recovered") in world.pages("recovered"), "who was told of it is told of its end"
    world.act(actions.comment, 1, "day", "a new fan is ordered")
    assert world.happened() == ["opened", "commented", "resolved", "commented"]
    for note, mention, wrong in (("", (), "a comment needs a text"), ("x", ("nobody",), "there is no person `nobody`")):
        with pytest.raises(Conflict, match=wrong):
            actions.comment(world.runtime.notifier(), 1, "day", world.clock.wall(), note, mention=mention)


def test_the_vendor_s_ticket_stands_in_the_timeline_and_stops_nothing(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    actions.hand_to_vendor(world.runtime.notifier(), 1, "day", world.clock.wall(), "arrives at 9", ticket="C-17/4")
    world.advance(11)
    assert world.happened() == ["opened", "vendor"]
    assert (10.0, "olga", "owner") in world.pages("page")


def test_what_was_resolved_too_early_is_opened_again_and_climbs_on(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.push(world.verdict(Level.UNKNOWN))
    world.advance(5)
    resolved = actions.resolve(world.runtime.notifier(), 1, "day", world.clock.wall(), cause="a fuse", cure="replaced")
    assert resolved.state is TroubleState.RESOLVED
    world.beat()
    assert messages(world, "recovered") == [(5.0, "day")], "a person's word needs no minute"
    world.advance(30)
    world.act(actions.reopen, 1, "day", "it smells again")
    assert messages(world, "returned") == [(35.0, "day")]
    world.advance(6)
    assert world.pages("page")[1:] == [(40.0, "olga", "owner")], "5 minutes before, 5 minutes now"
    world.advance(60)
    assert world.troubles()[0].open, "no clock closes what a person has opened"
    world.act(actions.resolve, 1, "olga")
    assert not world.troubles()[0].open
    world.act(actions.reopen, 1)
    with pytest.raises(Conflict, match="only a resolved one can"):
        world.act(actions.reopen, 1)
