"""What is given up, who is paged instead of a person who cannot be reached, and tries that fail for reasons of our own."""

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.outbox_room import FAILED, REFUSED, SENT, Room
from tests.story.world import NOON, World
from watchkeeper.channels.ports import Message, Receipt
from watchkeeper.collector.notify import outbox as outbox_module
from watchkeeper.collector.notify.delivery.tries import NEXT_ROUND_AFTER_S
from watchkeeper.collector.notify.notice import LEASE_S, Urgency
from watchkeeper.collector.notify.outbox import Outbox
from watchkeeper.collector.store.schema import outbox
from watchkeeper.model.verdict import Level


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    made = World("sqlite://")
    yield made
    made.close()


@pytest.fixture
def room(world: World) -> Room:
    return Room(world)


def test_a_message_that_no_longer_matters_is_given_up_when_every_channel_has_failed(room: Room) -> None:
    room.phone.answers[""] = REFUSED
    room.put("day", expires_at=NOON)
    room.put("hao", expires_at=NOON + 1.0)
    room.put("olga", expires_at=NOON - 1.0)
    room.outbox.deliver()
    assert [room.row(number).state for number in (1, 2, 3)] == ["given-up", "pending", "given-up"]
    assert len(room.phone.sent) == 4, "each channel was tried once all the same"


def incident_page(room: Room, person: str, fallback: list[str], **values: Any) -> int:
    """A page about an incident that is there."""
    room.world.push(room.world.verdict(Level.CRITICAL))
    with room.world.store.write() as connection:
        connection.execute(sa.delete(outbox))
    room.phone.sent.clear()
    urgency = Urgency.CRITICAL.value
    return room.put(person, about_id=1, fallback=json.dumps(fallback), urgency=urgency, **values)


def test_whoever_cannot_be_reached_is_replaced_once_by_the_next_of_the_fallback(room: Room) -> None:
    room.phone.answers |= {"day": REFUSED, "hao": REFUSED}
    incident_page(room, "day", ["day", "head", "amy", "night"])
    room.outbox.deliver()
    assert [person for person, _ in room.phone.sent] == ["day", "hao", "amy"]
    assert [room.row(number).handed_on for number in (1, 2, 3)] == [True, True, False]
    room.world.clock.advance(NEXT_ROUND_AFTER_S)
    room.outbox.deliver()
    assert [person for person, _ in room.phone.sent[3:]] == ["day", "hao"], "nobody is paged a second time instead"


def test_where_nobody_is_left_to_be_paged_instead_it_is_looked_again_at_the_next_round(room: Room) -> None:
    room.phone.answers[""] = REFUSED
    incident_page(room, "day", ["day"])
    room.outbox.deliver()
    assert room.row(1).handed_on is False
    with room.world.store.write() as connection:
        connection.execute(sa.update(outbox), {"fallback": '["day", "amy"]'})
    room.world.clock.advance(NEXT_ROUND_AFTER_S)
    room.outbox.deliver()
    assert [person for person, _ in room.phone.sent] == ["day", "day", "amy"]


def test_nobody_is_paged_instead_before_every_channel_has_failed(room: Room) -> None:
    room.phone.answers["olga"] = FAILED
    incident_page(room, "olga", ["amy"])
    room.outbox.deliver()
    assert {person for person, _ in room.phone.sent} == {"olga"}


def test_a_person_who_is_gone_from_the_contacts_is_replaced_at_once(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    incident_page(room, "somebody", ["amy"])
    room.outbox.deliver()
    assert [person for person, _ in room.phone.sent] == ["amy"]
    assert (room.row(1).state, room.row(1).handed_on) == ("given-up", True)
    (told,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert all(word in told for word in ("k1", "contacts.yml"))


def test_a_person_who_is_gone_is_not_replaced_twice_nor_when_nobody_must_act(room: Room) -> None:
    incident_page(room, "somebody", ["amy"], handed_on=True)
    room.put("anybody", about_id=1, fallback='["amy"]', expires_at=NOON)
    room.outbox.deliver()
    assert room.phone.sent == []
    assert [room.row(number).state for number in (1, 2)] == ["given-up", "given-up"]


def test_the_person_on_duty_at_that_moment_is_paged_instead_where_the_fallback_says_duty(room: Room) -> None:
    room.phone.answers["hao"] = REFUSED
    incident_page(room, "hao", ["duty"])
    room.outbox.deliver()
    assert [person for person, _ in room.phone.sent] == ["hao", "day"]


def test_a_person_who_goes_while_the_channel_hangs_is_replaced_all_the_same(room: Room) -> None:
    incident_page(room, "somebody", ["amy"])
    room.outbox.claim()
    room.world.clock.advance(LEASE_S)
    room.outbox.abandon()
    assert (room.row(1).state, room.row(1).handed_on) == ("given-up", True)
    assert room.outbox.deliver() == 1
    assert [person for person, _ in room.phone.sent] == ["amy"]


# ---- the worker ----


def test_a_message_that_could_not_be_tried_is_told_and_tried_again_after_its_lease(
    room: Room, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError("disk full")

    room.put()
    (claim,) = room.outbox.claim()
    with monkeypatch.context() as patch:
        patch.setattr(outbox_module, "write_receipt", fails)
        room.outbox._attempt(claim)
    (told,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert "k1" in told.getMessage()
    assert told.exc_info is not None
    assert room.claimed() == []
    room.world.clock.advance(LEASE_S)
    assert room.claimed() == [1]


def test_the_points_where_a_crash_is_tried_are_passed_in_order(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """tests/chaos/kills.py kills the collector at these names."""
    passed: list[str] = []
    monkeypatch.setattr(outbox_module, "failpoint", passed.append)
    room.put()
    room.outbox.deliver()
    assert passed == ["collector.message.sent", "collector.receipt.committed"]


def test_stopping_does_not_wait_for_ever_for_a_channel_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does the end of the process: its thread is a daemon."""
    monkeypatch.setattr(outbox_module, "OUTBOX_STOP_S", 0.01)
    inside, release = threading.Event(), threading.Event()

    class Hangs:
        def send(self, message: Message) -> Receipt:
            inside.set()
            release.wait()
            return SENT

    room = Room(World(f"sqlite:///{tmp_path / 'collector.sqlite'}"))
    running = Outbox(room.world.runtime, lambda address: Hangs())
    room.put()
    running.start()
    inside.wait()
    (attempt,) = (thread for thread in threading.enumerate() if thread.name == "outbox attempt")
    assert attempt.daemon
    running.stop()
    assert attempt.is_alive()
    release.set()
    attempt.join()
    assert running._attempts == set(), "a thread that has ended is not kept"
    assert room.row().state == "delivered"
    room.world.close()
