"""Robots that fail, hang, limit or prove too little, as the outbox meets them: who waits, who is told instead, and what is said once."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa

from tests.outbox_room import FAILED, SENT, Room
from tests.story.world import CONTACTS, NOON, World
from watchkeeper.channels.ports import Channel, Proof, Tone, Via
from watchkeeper.collector.access.links import Link, Links
from watchkeeper.collector.notify.delivery.breaker import LONGEST_OPEN_S
from watchkeeper.collector.notify.delivery.claims import record_proof
from watchkeeper.collector.notify.delivery.plan import FLOOD_ABOVE, PAGES_PER_MIN
from watchkeeper.collector.notify.delivery.robots import SLOW_AFTER_S
from watchkeeper.collector.notify.notice import About, Notice, Urgency, write
from watchkeeper.collector.store.schema import outbox, receipt
from watchkeeper.model.verdict import Level

TWO_WEBHOOKS = CONTACTS.replace(
    "name: Hao, channels: [{via: console}]",
    "name: Hao, channels: [{via: webhook, url: 'http://127.0.0.1:1/hao', secret: s}]",
)
EXPECTING = CONTACTS.replace(
    "secret: s}, {via: console}]", "secret: s, expect: {proof: accepted, within: 60 s}}, {via: console}]"
)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    made = World("sqlite://", contacts=TWO_WEBHOOKS)
    yield made
    made.close()


@pytest.fixture
def room(world: World) -> Room:
    return Room(world)


@pytest.fixture
def expecting() -> Iterator[Room]:
    made = World("sqlite://", contacts=EXPECTING)
    yield Room(made)
    made.close()


def pages_of(room: Room, person: str, count: int, **values: object) -> None:
    for _ in range(count):
        room.put(person, **values)


def live(room: Room, seconds: float, step_s: float = 1.0) -> None:
    for _ in range(int(seconds / step_s)):
        room.world.clock.advance(step_s)
        room.outbox.deliver()


def states(room: Room) -> list[str]:
    with room.world.store.read() as connection:
        return list(connection.execute(sa.select(outbox.c.state).order_by(outbox.c.id)).scalars())


# ---- a robot that answers 500 for an hour ----


def test_an_hour_of_failures_costs_few_tries_delays_nobody_else_and_drains_in_order(room: Room) -> None:
    room.phone.answers["hao"] = FAILED
    pages_of(room, "hao", 50)
    room.put("amy")
    room.outbox.deliver()
    assert ("amy", Via.CONSOLE) in room.phone.sent
    live(room, 3600.0)
    tried = [person for person, _ in room.phone.sent].count("hao")
    assert tried <= 3600.0 / LONGEST_OPEN_S + 10, "a probe now and then"
    assert states(room)[:50] == ["pending"] * 50
    room.phone.answers["hao"] = SENT
    room.phone.messages.clear()
    live(room, 120.0)
    assert set(states(room)) == {"delivered"}
    told = [key for message in room.phone.messages for key in keys(message)]
    assert len(told) == len(set(told)) == 50
    assert len(room.phone.messages) <= 6, "a flood is joined"


def keys(message: object) -> list[str]:
    facts = message.facts  # type: ignore[attr-defined]
    return [one["key"] for one in facts["notices"]] if facts.get("kind") == "digest" else [message.key]  # type: ignore[attr-defined]


def test_an_open_breaker_sends_a_page_to_the_next_channel_without_a_try(room: Room) -> None:
    room.phone.answers["olga"] = FAILED
    pages_of(room, "olga", 3)
    room.outbox.deliver()
    room.phone.answers["olga"] = SENT
    room.phone.sent.clear()
    number = room.put("olga")
    room.outbox.deliver()
    assert ("olga", Via.CONSOLE) in room.phone.sent
    assert ("olga", Via.WEBHOOK) not in room.phone.sent
    assert [line[3] for line in room.receipts() if line[0] == number] == [True]


def test_where_no_channel_is_in_use_the_next_person_is_notified_at_once(room: Room) -> None:
    room.world.push(room.world.verdict(Level.CRITICAL))
    with room.world.store.write() as connection:
        connection.execute(sa.delete(outbox))
    room.phone.answers["hao"] = FAILED
    for number in range(3):
        room.put("hao", about_id=100 + number)
    room.outbox.deliver()
    room.phone.sent.clear()
    room.put("hao", about_id=1, fallback='["amy"]', urgency=Urgency.CRITICAL.value)
    room.outbox.deliver()
    assert room.phone.sent == [("amy", Via.CONSOLE)]
    assert room.row(4).handed_on
    live(room, LONGEST_OPEN_S + 5.0)
    assert [person for person, _ in room.phone.sent].count("amy") == 1


# ---- a critical page ----


def test_a_critical_page_overtakes_a_thousand_warnings(room: Room) -> None:
    pages_of(room, "hao", 40)
    critical = room.put("hao", urgency=Urgency.CRITICAL.value)
    assert room.claimed()[0] == critical


def test_a_critical_page_waits_three_seconds_for_a_channel_that_hangs_and_then_takes_the_next(room: Room) -> None:
    number = room.put("olga", urgency=Urgency.CRITICAL.value)
    (hanging,) = room.outbox.claim()
    room.world.clock.advance(SLOW_AFTER_S)
    room.outbox.abandon()
    assert room.next(number) == ("pending", 1, 1, 0.0)
    assert room.outbox.deliver() == 1
    assert room.phone.sent == [("olga", Via.CONSOLE)]
    room.phone.answers["olga"] = FAILED
    room.outbox.attempt(hanging)
    assert room.row(number).state == "delivered", "the late failure changes nothing"


# ---- limits ----


def test_a_robot_that_asks_us_to_wait_is_not_asked_again_and_no_try_is_counted(room: Room) -> None:
    room.phone.answers["hao"] = replace(FAILED, retry_after_s=30.0)
    room.put("hao")
    live(room, 29.0)
    assert room.phone.sent == [("hao", Via.WEBHOOK)]
    assert (room.row().attempts, room.row().state) == (0, "pending")
    room.phone.answers["hao"] = SENT
    live(room, 3.0)
    assert room.row().state == "delivered"


def test_a_page_takes_the_next_channel_while_the_first_is_limited_and_a_recovery_waits(room: Room) -> None:
    room.phone.answers["olga"] = replace(FAILED, retry_after_s=30.0)
    over = room.put("olga", kind="recovered", urgency=Urgency.END.value)
    room.outbox.deliver()
    room.phone.answers["olga"] = SENT
    page = room.put("olga")
    room.outbox.deliver()
    assert (room.row(page).state, room.row(page).channel) == ("delivered", 1)
    assert room.row(over).state == "pending"
    live(room, 31.0)
    assert (room.row(over).state, room.row(over).channel) == ("delivered", 0)


def test_a_storm_is_told_in_a_handful_of_messages_and_each_notice_has_its_receipt(room: Room) -> None:
    row = dict(room.row(room.put("hao"))._mapping)
    with room.world.store.write() as connection:
        rows = [row | {"id": n, "key": f"n{n}", "about_id": n, "subject": f"[warning] web-{n}"} for n in range(2, 1001)]
        connection.execute(sa.insert(outbox), rows)
    live(room, 60.0)
    assert set(states(room)) == {"delivered"}
    told = [key for message in room.phone.messages for key in keys(message)]
    assert sorted(told) == sorted(["k1", *(f"n{n}" for n in range(2, 1001))])
    assert len(room.phone.messages) == 3
    digest = room.phone.messages[-1]
    count = digest.facts["count"]
    assert digest.subject == f"{count} notices of faults"
    *_, line, page, last = digest.text.splitlines()
    assert (line, page, last) == ("12:00:00 [warning] web-1000", "http://room/troubles/1000", "http://room")
    lines = room.receipts()
    assert len(lines) == 1000
    assert lines[-1][4] == f"202; told in a digest of {count} notices"


def test_a_digest_is_in_the_language_of_its_reader(room: Room) -> None:
    pages_of(room, "day", FLOOD_ABOVE + 1)
    room.outbox.deliver()
    assert room.phone.messages[-1].subject == "9 条故障通知"
    pages_of(room, "day", FLOOD_ABOVE + 1, urgency=Urgency.END.value)
    room.outbox.deliver()
    live(room, 5.0)
    assert room.phone.messages[-1].subject == "另有 9 条通知"


def test_each_line_of_a_digest_has_the_link_of_its_reader_and_the_console_has_none(room: Room) -> None:
    links = Links(room.world.store, room.world.clock, "s" * 32)
    room.world.runtime._notifier = replace(room.world.runtime.notifier(), links=links)
    for person in ("hao", "day"):
        pages_of(room, person, FLOOD_ABOVE + 1)
    room.outbox.deliver()
    of_hao, of_day = (next(one for one in room.phone.messages if one.person == name) for name in ("hao", "day"))
    signed = [links.read(line.rpartition("/")[2]) for line in of_hao.text.splitlines() if "/t/" in line]
    assert signed == [Link("hao", "trouble", number, int(NOON)) for number in range(1, FLOOD_ABOVE + 2)]
    assert "/t/" not in of_day.text
    assert of_day.text.count("http://room/troubles/") == FLOOD_ABOVE + 1


def test_a_digest_fits_into_what_its_service_takes(room: Room) -> None:
    """A text that is too long for a service is cut off there, and what is cut off would count as told."""
    most = 1500
    opener = room.outbox._opener
    room.outbox._opener = lambda address: Narrow(opener(address), most)
    for _ in range(60):
        room.put("hao", subject="[warning] 机房 A · web-1: 温度 31.5 °C")
    live(room, 120.0)
    assert set(states(room)) == {"delivered"}
    assert max(len(f"{one.subject}\n{one.text}".encode()) for one in room.phone.messages) <= most
    assert sum(len(keys(one)) for one in room.phone.messages) == 60


class Narrow:
    """A channel whose service takes only so much text."""

    def __init__(self, channel: Channel, room_bytes: int) -> None:
        self.send, self.room_bytes = channel.send, room_bytes


def test_a_digest_looks_as_bad_as_the_worst_of_its_pages(room: Room) -> None:
    for urgency in (Urgency.PAGE, Urgency.END):
        pages_of(room, "hao", FLOOD_ABOVE + 1, urgency=urgency.value)
    room.outbox.deliver()
    live(room, 5.0)
    assert [one.tone for one in room.phone.messages] == [Tone.WARNING, Tone.INFO]
    pages_of(room, "hao", 100, urgency=Urgency.CRITICAL.value)
    live(room, 30.0)
    assert room.phone.messages[-1].facts["kind"] == "digest"
    assert room.phone.messages[-1].tone is Tone.FAILURE


def test_a_digest_that_fails_is_tried_again_with_what_it_has(room: Room) -> None:
    pages_of(room, "hao", FLOOD_ABOVE + 1)
    room.phone.answers["hao"] = FAILED
    room.outbox.deliver()
    assert [line[3] for line in room.receipts()] == [False] * (FLOOD_ABOVE + 1)
    room.phone.answers["hao"] = SENT
    live(room, 5.0)
    assert set(states(room)) == {"delivered"}
    assert len(room.phone.messages) == 2
    assert room.phone.messages[0].key == room.phone.messages[1].key


def test_a_trickle_is_joined_when_a_minutes_messages_are_used_up(room: Room) -> None:
    for _ in range(3 * PAGES_PER_MIN):
        room.put("hao")
        live(room, 0.25, 0.25)
    live(room, 30.0)
    assert set(states(room)) == {"delivered"}
    assert PAGES_PER_MIN <= len(room.phone.messages) <= PAGES_PER_MIN + 10


def test_a_page_hurries_what_it_must_follow(room: Room) -> None:
    """A recovery that would wait is told before the page of the same fault that came back."""
    room.phone.answers["hao"] = replace(FAILED, retry_after_s=5.0)
    notice = Notice(
        About.TROUBLE, 7, "over", None, (), 1, "recovered", "recovered", "hao", NOON, "s", "t", "{}",
    )  # fmt: skip
    page = replace(notice, key="again", kind="page", rung="duty", facts='{"level": "critical"}')
    for one in (notice, page):
        with room.world.store.write() as connection:
            write(room.world.store, connection, one)
    assert [room.row(number).urgency for number in (1, 2)] == [Urgency.CRITICAL, Urgency.CRITICAL]
    room.phone.answers["hao"] = SENT
    room.outbox.deliver()
    assert [message.key for message in room.phone.messages] == ["over", "again"]


# ---- proofs ----


def proofs(room: Room) -> list[str | None]:
    with room.world.store.read() as connection:
        return list(connection.execute(sa.select(receipt.c.proof).order_by(receipt.c.id)).scalars())


def test_a_receipt_says_what_is_proved(room: Room) -> None:
    room.phone.answers |= {"day": replace(SENT, proof=Proof.ACCEPTED), "amy": FAILED}
    for person in ("day", "hao", "amy"):
        room.put(person)
    room.outbox.deliver()
    assert proofs(room) == ["accepted", "handed-over", None]
    assert {room.row(number).prove_by for number in (1, 2)} == {None}, "without `expect` every success counts"


def test_a_page_that_is_not_proved_in_time_takes_the_next_channel_and_then_the_next_person(expecting: Room) -> None:
    room = expecting
    room.world.push(room.world.verdict(Level.CRITICAL))
    with room.world.store.write() as connection:
        connection.execute(sa.delete(outbox))
        connection.execute(sa.delete(receipt))
    room.phone.sent.clear()
    number = room.put("olga", about_id=1, fallback='["amy"]')
    live(room, 59.0)
    assert room.phone.sent == [("olga", Via.WEBHOOK)]
    assert room.row(number).prove_by == NOON + 61.0
    live(room, 3.0)
    assert room.phone.sent == [("olga", Via.WEBHOOK), ("olga", Via.CONSOLE)]
    assert (room.row(number).state, room.row(number).prove_by) == ("delivered", None)


def test_a_proof_that_comes_in_time_is_enough(expecting: Room) -> None:
    room = expecting
    number = room.put("olga")
    room.outbox.deliver()
    with room.world.store.write() as connection:
        record_proof(connection, number, NOON + 5.0, "webhook", Proof.READ, "opened")
    live(room, 65.0)
    assert room.phone.sent == [("olga", Via.WEBHOOK)]
    assert room.row(number).prove_by is None


def test_where_the_last_channel_proves_too_little_the_next_person_is_notified() -> None:
    only = EXPECTING.replace("within: 60 s}}, {via: console}]", "within: 60 s}}]")
    world = World("sqlite://", contacts=only)
    room = Room(world)
    world.push(world.verdict(Level.CRITICAL))
    with world.store.write() as connection:
        connection.execute(sa.delete(outbox))
    room.phone.sent.clear()
    number = room.put("olga", about_id=1, fallback='["amy"]')
    over = room.put("olga", about_id=2, fallback='["amy"]', expires_at=NOON)
    live(room, 65.0)
    assert [person for person, _ in room.phone.sent] == ["olga", "olga", "amy"]
    assert (room.row(number).handed_on, room.row(over).handed_on) == (True, False)
    live(room, 600.0)
    assert len(room.phone.sent) == 3
    world.close()


def test_json_facts_of_a_digest_have_the_facts_of_each_notice(room: Room) -> None:
    for number in range(11, 20):
        room.put("hao", facts=json.dumps({"incident": number}))
    room.outbox.deliver()
    (digest,) = room.phone.messages
    assert [one["incident"] for one in digest.facts["notices"]] == list(range(11, 20))
    assert digest.key == "digest/hao/1-9/9"
