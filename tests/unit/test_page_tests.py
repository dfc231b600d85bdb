"""Tests of channels: one a week for each, or asked for; what is written down and shown; and that none counts as a page."""

import datetime
import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from tests.outbox_room import FAILED, REFUSED, SENT, Room
from tests.story.world import World
from watchkeeper.channels.ports import Address, Message, Receipt
from watchkeeper.collector.notify.delivery import direct
from watchkeeper.collector.notify.delivery.breaker import BreakerState
from watchkeeper.collector.notify.delivery.channel_status import ChannelStatus, channel_statuses
from watchkeeper.collector.notify.page_tests import test_now as send_tests
from watchkeeper.collector.notify.page_tests import write_weekly
from watchkeeper.collector.store.schema import outbox
from watchkeeper.model.errors import SecretError
from watchkeeper.model.verdict import Level

TUESDAY = datetime.datetime(2027, 1, 19, 2, 0, tzinfo=datetime.UTC).timestamp()  # 10:00 in Shanghai
HOUR_S, DAY_S = 3600.0, 86_400.0


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    made = World("sqlite://")
    yield made
    made.close()


@pytest.fixture
def room(world: World) -> Room:
    return Room(world)


def statuses(room: Room) -> list[ChannelStatus]:
    with room.world.store.read() as connection:
        return channel_statuses(connection, room.world.runtime.snapshot, room.outbox.robots, room.world.clock.boot())


def shown(room: Room) -> dict[tuple[str, int], tuple[str, str, str]]:
    return {(one.person.person, one.number): (one.test, one.proof, one.detail) for one in statuses(room)}


def test_every_channel_is_tested_once_a_week_in_working_hours(room: Room) -> None:
    notifier = room.world.runtime.notifier()
    for early in (-DAY_S, -1.0, 7 * HOUR_S):  # Monday; Tuesday 09:59; Tuesday 17:00
        assert write_weekly(notifier, TUESDAY + early) == 0
    assert write_weekly(notifier, TUESDAY) == 6
    assert write_weekly(notifier, TUESDAY + 3 * DAY_S) == 6, "later in the week those that are there are left alone"
    with room.world.store.read() as connection:
        found = connection.execute(sa.select(outbox.c.person, outbox.c.channel)).all()
    assert sorted((row.person, row.channel) for row in found) == [
        ("amy", 0), ("day", 0), ("hao", 0), ("night", 0), ("olga", 0), ("olga", 1),
    ]  # fmt: skip
    write_weekly(notifier, TUESDAY + 7 * DAY_S)
    with room.world.store.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(outbox)).scalar_one() == 12


def test_a_test_that_was_missed_is_made_up_later_in_the_week(room: Room) -> None:
    assert write_weekly(room.world.runtime.notifier(), TUESDAY + 2 * DAY_S + HOUR_S) == 6


def test_each_test_goes_by_its_own_channel_and_says_that_it_is_one_in_both_languages(room: Room) -> None:
    room.world.clock.now = TUESDAY
    assert {one.test for one in statuses(room)} == {""}
    write_weekly(room.world.runtime.notifier(), TUESDAY)
    room.phone.answers["hao"] = REFUSED
    room.outbox.deliver()
    assert [via.value for person, via in room.phone.sent if person == "olga"] == ["webhook", "console"]
    for message in room.phone.messages:
        assert "[test]" in message.subject
        assert "测试" in message.subject
        assert "No device has a fault" in message.text
        assert message.facts["kind"] == "test"
    assert shown(room)["olga", 1] == ("delivered", "handed-over", "202")
    assert shown(room)["hao", 0] == ("given-up", "", "no such number")


def test_a_test_that_fails_is_tried_three_times_and_nobody_is_told_instead(room: Room) -> None:
    room.world.clock.now = TUESDAY
    write_weekly(room.world.runtime.notifier(), TUESDAY)
    room.phone.answers["olga"] = FAILED
    for _ in range(100):
        room.outbox.deliver()
        room.world.clock.advance(1.0)
    assert [person for person, _ in room.phone.sent].count("olga") == 6
    assert shown(room)["olga", 0] == ("given-up", "", "no route to host")
    assert sorted({person for person, _ in room.phone.sent}) == ["amy", "day", "hao", "night", "olga"]


def test_a_test_never_delays_or_replaces_a_page(room: Room) -> None:
    room.world.clock.now = TUESDAY
    write_weekly(room.world.runtime.notifier(), TUESDAY)
    room.world.outbox = room.outbox
    room.world.push(room.world.verdict(Level.CRITICAL))
    assert room.phone.messages[0].facts["kind"] == "page"


def test_the_robot_of_a_channel_is_shown_with_its_breaker(room: Room) -> None:
    room.phone.answers["olga"] = FAILED
    for _ in range(3):
        room.put("olga")
    room.outbox.deliver()
    of_olga = [(one.robot, one.breaker) for one in statuses(room) if one.person.person == "olga"]
    assert of_olga == [("webhook:s", BreakerState.OPEN), ("console", BreakerState.CLOSED)]


def test_a_test_of_another_channel_that_had_this_place_is_not_shown(room: Room) -> None:
    room.world.clock.now = TUESDAY
    write_weekly(room.world.runtime.notifier(), TUESDAY)
    room.outbox.deliver()
    room.world.adopt(
        contacts=room.world.contacts.replace("secret: s}, {via: console}]", "secret: other}, {via: console}]")
    )
    assert shown(room)["olga", 0] == ("", "", "")
    assert shown(room)["olga", 1][0] == "delivered"
    room.world.adopt()


# ---- asked for ----


class _Opener:
    def __init__(self, answer: Receipt | Exception) -> None:
        self.answer = answer

    def __call__(self, address: Address) -> "_Opener":
        return self

    def send(self, message: Message) -> Receipt:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "test", "detail"),
    [
        (SENT, "delivered", "202"),
        (FAILED, "given-up", "no route to host"),
        (SecretError("the secret `s` is missing"), "given-up", "the secret `s` is missing"),
        (ZeroDivisionError("token=s3cret"), "given-up", "the channel failed: ZeroDivisionError"),
    ],
)
def test_a_test_that_was_asked_for_is_written_down(
    room: Room, answer: Receipt | Exception, test: str, detail: str
) -> None:
    people = room.world.runtime.snapshot.configuration.contacts.people
    olga = next(one for one in people if one.person == "olga")
    results = list(send_tests(olga, range(2), _Opener(answer), room.world.clock, room.world.store))
    assert [one.receipt.detail for one in results] == [detail] * 2
    assert shown(room)["olga", 1][0::2] == (test, detail)
    assert room.outbox.deliver() == 0


def test_a_test_ends_although_the_channel_hangs(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "deadline_of", lambda _: 0.01)
    release = threading.Event()

    class Hangs:
        def send(self, message: Message) -> Receipt:
            release.wait()
            return SENT

    people = room.world.runtime.snapshot.configuration.contacts.people
    (result,) = send_tests(people[0], range(1), lambda _: Hangs(), room.world.clock, room.world.store)
    release.set()
    assert not result.receipt.delivered
    assert "no answer" in result.receipt.detail
