"""The rules of delivery: tries and channels, order, how much is under way, and whose a message is."""

import logging
from collections import Counter
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from tests.outbox_room import FAILED, REFUSED, SENT, Room
from tests.story.world import NOON, World
from watchkeeper.channels.ports import Message, Via
from watchkeeper.collector.notify.delivery import plan as plan_module
from watchkeeper.collector.notify.delivery import robots as robots_module
from watchkeeper.collector.notify.delivery.claims import READ_AT_ONCE
from watchkeeper.collector.notify.delivery.robots import CRITICAL_EXTRA, DEADLINE_S, MAX_PER_PERSON, MAX_PER_ROBOT
from watchkeeper.collector.notify.delivery.tries import NEXT_ROUND_AFTER_S, NextTry, after_failure
from watchkeeper.collector.notify.notice import LEASE_S, Urgency
from watchkeeper.collector.notify.outbox import MAX_UNDER_WAY, Outbox
from watchkeeper.collector.store.schema import outbox
from watchkeeper.model.errors import WatchkeeperError


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    made = World("sqlite://")
    yield made
    made.close()


@pytest.fixture
def room(world: World) -> Room:
    return Room(world)


# ---- tries and channels ----


def test_each_channel_is_tried_three_times_and_then_everything_again_after_five_minutes() -> None:
    def then(channel: int, attempts: int, *, permanent: bool = False) -> NextTry:
        return after_failure(channel, attempts, 2, permanent=permanent)

    assert then(0, 0) == NextTry(0, 1, 2.0)
    assert then(0, 1) == NextTry(0, 2, 10.0)
    assert then(0, 2) == NextTry(1, 0, 0.0), "the next channel at once, with all its tries"
    assert then(0, 0, permanent=True) == NextTry(1, 0, 0.0)
    assert then(1, 1) == NextTry(1, 2, 10.0)
    assert then(1, 2) == NextTry(0, 0, 300.0, exhausted=True)
    assert then(1, 0, permanent=True) == NextTry(0, 0, 300.0, exhausted=True)


def test_a_message_is_tried_on_every_channel_before_it_is_put_off(room: Room) -> None:
    room.phone.answers[""] = FAILED
    room.put()
    waits = []
    for _ in range(6):
        room.outbox.deliver()
        waits.append(room.next()[3])
        room.world.clock.advance(max(waits[-1], 0.0))
    tried = [via for _, via in room.phone.sent]
    assert tried[:6] == [Via.WEBHOOK] * 3 + [Via.CONSOLE] * 3
    assert [wait for wait in waits if wait] == [2.0, 10.0, 2.0, 10.0, 300.0, 2.0]


def test_a_channel_that_refuses_for_good_is_tried_once(room: Room) -> None:
    room.phone.answers[""] = REFUSED
    room.put()
    assert room.outbox.deliver() == 2
    assert [via for _, via in room.phone.sent] == [Via.WEBHOOK, Via.CONSOLE]
    assert room.next() == ("pending", 0, 0, NEXT_ROUND_AFTER_S)


def test_a_failure_is_written_down_and_logged_with_the_channel_and_why(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    room.phone.answers[""] = FAILED
    room.put("day")
    room.outbox.deliver()
    assert room.receipts() == [(1, NOON, "console", False, "no route to host")]
    assert room.next() == ("pending", 0, 1, 2.0)
    (told,) = (record for record in caplog.records if record.levelno == logging.WARNING)
    assert all(word in told.getMessage() for word in ("k1", "console", "no route to host"))


def test_what_is_delivered_is_delivered_once_and_written_down(room: Room) -> None:
    room.put(facts='{"rung": "duty"}')
    assert room.outbox.deliver() == 1
    assert room.outbox.deliver() == 0
    assert room.phone.messages == [Message("k1", "olga", "s", "t", {"rung": "duty"})]
    assert room.receipts() == [(1, NOON, "webhook", True, "202")]
    assert (room.row().state, room.row().channel) == ("delivered", 0)


def test_a_message_whose_channel_is_gone_from_the_contacts_begins_with_the_first(room: Room) -> None:
    room.phone.answers[""] = FAILED
    room.put("day", channel=1)
    room.outbox.deliver()
    assert room.phone.sent == [("day", Via.CONSOLE)]
    room.put("olga", channel=2)
    room.put("olga", channel=1, about_id=99)
    room.outbox.deliver()
    assert room.phone.sent[1:] == [("olga", Via.WEBHOOK), ("olga", Via.CONSOLE)]


@pytest.mark.parametrize(
    ("error", "detail", "then"),
    [
        (WatchkeeperError("the secret `pager` is missing"), "the secret `pager` is missing", (1, 0)),
        (ZeroDivisionError("token=s3cret"), "the channel failed: ZeroDivisionError", (0, 1)),
    ],
)
def test_an_error_of_a_channel_is_a_failed_try_and_shows_no_secret(
    room: Room, error: Exception, detail: str, then: tuple[int, int]
) -> None:
    room.phone.answers[""] = error
    room.put()
    (claim,) = room.outbox.claim()
    room.outbox.attempt(claim)
    assert room.receipts() == [(1, NOON, "webhook", False, detail)]
    assert (room.row().channel, room.row().attempts) == then


# ---- order, and how much is under way ----


def test_the_message_that_has_waited_longest_goes_first_and_of_equal_ones_the_older(room: Room) -> None:
    for number, waited_s in enumerate((5.0, 60.0, 5.0, 30.0)):
        room.put(("day", "night", "olga", "hao")[number], next_at=NOON - waited_s)
    assert room.claimed() == [2, 4, 1, 3]


def test_a_later_message_about_an_incident_waits_for_the_earlier_one_to_the_same_person(room: Room) -> None:
    room.put("day", about_id=7, next_at=NOON + 100.0)
    room.put("day", about_id=7)
    room.put("day", about_id=8)
    room.put("hao", about_id=7)
    room.put("day", about="drill", about_id=7)
    assert room.claimed() == [3, 4, 5]
    with room.world.store.write() as connection:
        connection.execute(sa.update(outbox).where(outbox.c.id == 1), {"state": "given-up"})
    assert room.claimed() == [2]


def test_what_is_not_pending_or_not_due_is_left_alone(room: Room) -> None:
    for values in (
        {"state": "delivered"}, {"state": "given-up"}, {"next_at": NOON + 0.5},
        {"next_at": NOON + NEXT_ROUND_AFTER_S + LEASE_S},
    ):  # fmt: skip
        room.put(**values)
    assert room.claimed() == []


def test_a_message_put_off_for_longer_than_ever_was_written_before_our_clock_was_set_back(room: Room) -> None:
    room.put(next_at=NOON + NEXT_ROUND_AFTER_S + LEASE_S + 1.0)
    assert room.claimed() == [1]


def test_one_person_and_one_robot_have_only_so_many_under_way(room: Room) -> None:
    """The console is one robot for everybody but olga."""
    people = ("olga", "day", "night", "hao", "amy")
    for person in people:
        for _ in range(MAX_PER_PERSON + 1):
            room.put(person)
    claims = room.outbox.claim()
    under_way = Counter(claim.row.person for claim in claims)
    assert under_way == {"olga": MAX_PER_PERSON, "day": MAX_PER_PERSON, "night": MAX_PER_ROBOT - MAX_PER_PERSON}
    assert room.claimed() == []
    room.outbox.attempt(claims[0])
    assert room.claimed() == [MAX_PER_PERSON + 1], "the fifth of the person who has four left"


def test_no_more_than_so_many_are_under_way_in_all(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_PER_PERSON", "MAX_PER_ROBOT"):
        monkeypatch.setattr(robots_module, name, 1000)
    monkeypatch.setattr(plan_module, "CRITICAL_PER_MIN", 1000)
    for _ in range(MAX_UNDER_WAY + 1):
        room.put("day", urgency=Urgency.CRITICAL.value)
    claims = room.outbox.claim()
    assert len(claims) == MAX_UNDER_WAY
    assert room.claimed() == []
    for claim in claims[:2]:
        room.outbox.attempt(claim)
    assert room.claimed() == [MAX_UNDER_WAY + 1]


def test_what_is_left_for_later_can_be_taken_by_another_collector_at_once(room: Room) -> None:
    for _ in range(MAX_PER_PERSON + 1):
        room.put("day")
    assert len(room.claimed()) == MAX_PER_PERSON
    other = Outbox(room.world.runtime, room.phone)
    assert [claim.row.id for claim in other.claim()] == [MAX_PER_PERSON + 1]


def test_many_messages_to_a_person_who_has_enough_under_way_hide_nobody_elses(room: Room) -> None:
    first = [room.put("olga", urgency=Urgency.CRITICAL.value) for _ in range(MAX_PER_PERSON + CRITICAL_EXTRA)]
    row = dict(room.row(first[0])._mapping)
    with room.world.store.write() as connection:
        rows = [
            row | {"id": 100 + n, "key": f"d{n}", "about_id": 100 + n, "urgency": Urgency.PAGE.value}
            for n in range(READ_AT_ONCE)
        ]
        connection.execute(sa.insert(outbox), rows)
    last = room.put("hao", id=100 + READ_AT_ONCE, next_at=NOON)
    assert room.claimed() == [*first, last]
    assert room.claimed() == []


# ---- leases ----


def test_a_claimed_message_belongs_to_its_worker_for_a_minute(room: Room) -> None:
    room.put()
    (claim,) = room.outbox.claim()
    assert claim.lease == NOON + LEASE_S
    assert room.next() == ("pending", 0, 0, LEASE_S)
    other = Outbox(room.world.runtime, room.phone)
    room.world.clock.advance(LEASE_S - 0.5)
    assert other.claim() == ()
    room.world.clock.advance(0.5)
    assert [one.row.id for one in other.claim()] == [1]


def test_a_failure_after_the_lease_does_not_touch_what_another_worker_has_claimed(room: Room) -> None:
    room.put()
    room.phone.answers[""] = FAILED
    (late,) = room.outbox.claim()
    room.world.clock.advance(LEASE_S + 1.0)
    other = Outbox(room.world.runtime, room.phone)
    (mine,) = other.claim()
    room.outbox.attempt(late)
    assert room.next() == ("pending", 0, 0, LEASE_S), "neither its lease nor its tries"
    assert len(room.receipts()) == 1, "the try itself is written down"
    other.attempt(mine)
    assert room.next() == ("pending", 0, 1, 2.0)


def test_a_delivery_after_the_lease_counts(room: Room) -> None:
    room.put()
    (late,) = room.outbox.claim()
    room.world.clock.advance(LEASE_S + 1.0)
    other = Outbox(room.world.runtime, room.phone)
    (mine,) = other.claim()
    room.outbox.attempt(late)
    assert room.row().state == "delivered"
    room.phone.answers[""] = FAILED
    other.attempt(mine)
    assert room.row().state == "delivered"


def test_a_delivery_after_the_lease_is_shown_on_the_channel_that_delivered(room: Room) -> None:
    room.put()
    (late,) = room.outbox.claim()
    room.world.clock.advance(LEASE_S + 1.0)
    other = Outbox(room.world.runtime, room.phone)
    (mine,) = other.claim()
    room.phone.answers[""] = REFUSED
    other.attempt(mine)
    assert room.row().channel == 1
    room.phone.answers[""] = SENT
    room.outbox.attempt(late)
    assert (room.row().state, room.row().channel) == ("delivered", 0)


def test_a_channel_that_does_not_return_within_its_deadline_has_failed_for_good(room: Room) -> None:
    room.put()
    room.put("day")
    room.outbox.claim()
    room.world.clock.advance(DEADLINE_S - 0.5)
    room.outbox.abandon()
    assert room.receipts() == []
    room.world.clock.advance(0.5)
    room.outbox.abandon()
    assert [line[2:] for line in room.receipts()] == [
        ("webhook", False, "no answer within 15 s"), ("console", False, "no answer within 15 s"),
    ]  # fmt: skip
    assert room.next(1) == ("pending", 1, 0, 0.0)
    assert room.claimed() == [1], "and it is nobody's any more"
