"""Channels that fail, hang or cannot be made: which messages are delayed, who is told instead, what is given up."""

import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from tests.story.world import CONTACTS, World
from watchkeeper.channels.ports import Address, Channel, Message, Receipt
from watchkeeper.collector.notify.delivery.robots import CRITICAL_EXTRA, DEADLINE_S, MAX_PER_PERSON
from watchkeeper.collector.notify.enqueue import RECOVERY_MATTERS_S
from watchkeeper.collector.notify.notice import LEASE_S
from watchkeeper.collector.notify.outbox import Outbox
from watchkeeper.collector.store.schema import outbox, receipt
from watchkeeper.model.verdict import Level

NIGHT_TOO = CONTACTS.replace("rotation: [day]", "rotation: [night]")


@pytest.fixture
def world(store_url: str) -> Iterator[World]:
    made = World(store_url)
    yield made
    made.close()


def states(world: World) -> list[tuple[str, str, str]]:
    with world.store.read() as connection:
        found = connection.execute(sa.select(outbox).order_by(outbox.c.id))
        return [(row.person, row.kind, row.state) for row in found]


class Hanging:
    """Channels that hang for some persons until the test releases them. For all others they deliver at once."""

    def __init__(self, *persons: str) -> None:
        self.persons = persons
        self.sent: list[tuple[str, str, str]] = []
        self.inside = 0
        self.arrived = threading.Condition()
        self.let_go = threading.Event()

    def __call__(self, address: Address) -> Channel:
        return _Channel(self, address)

    def wait(self, count: int) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.sent) >= count, timeout=10), self.sent


class _Channel:
    def __init__(self, all_: Hanging, address: Address) -> None:
        self._all, self._address = all_, address

    def send(self, message: Message) -> Receipt:
        hangs = message.person in self._all.persons
        if hangs:
            with self._all.arrived:
                self._all.inside += 1
                self._all.arrived.notify_all()
            self._all.let_go.wait(20)
        with self._all.arrived:
            self._all.sent.append((message.person, message.key, self._address.via.value))
            self._all.arrived.notify_all()
        return Receipt(delivered=not hangs, detail="", permanent=True)


def test_a_channel_that_hangs_delays_no_other_person(world: World) -> None:
    """There are a hundred pages for a person whose channel hangs, and then one for another person."""
    with world.store.write() as connection:
        for number in range(101):
            connection.execute(sa.insert(outbox), _message(number, "day" if number < 100 else "hao"))
    channels = Hanging("day")
    running = Outbox(world.runtime, channels)
    running.start()
    channels.wait(1)
    assert channels.sent[0][0] == "hao"
    with channels.arrived:
        assert channels.arrived.wait_for(lambda: channels.inside == MAX_PER_PERSON + CRITICAL_EXTRA, timeout=10)
    channels.let_go.set()
    running.stop()
    assert channels.inside == MAX_PER_PERSON + CRITICAL_EXTRA  # no further delivery was started


def _message(number: int, person: str) -> dict[str, object]:
    return {
        "key": f"k{number}", "about": "trouble", "about_id": number, "expires_at": None, "fallback": "[]", "recurrence": 1, "kind": "page", "rung": "duty", "person": person,
        "created_at": 0.0, "subject": "s", "text": "t", "facts": "{}", "state": "pending", "next_at": 0.0, "channel": 0,
        "attempts": 0, "handed_on": False, "urgency": 0,
    }  # fmt: skip


def test_a_channel_that_never_returns_has_failed_and_the_next_one_is_tried(world: World) -> None:
    channels = Hanging("olga")
    held = Outbox(world.runtime, channels)
    world.push(world.verdict(Level.CRITICAL))
    world.advance(9.9)
    world.clock.advance(20)
    world.outbox = held
    while _decided(world):
        pass
    (claim,) = [one for one in held.claim() if one.row.person == "olga"]
    stuck = threading.Thread(target=held.attempt, args=(claim,))
    stuck.start()
    with channels.arrived:
        assert channels.arrived.wait_for(lambda: channels.inside == 1, timeout=10)

    world.clock.advance(DEADLINE_S)
    held.abandon()
    channels.persons = ()
    assert held.deliver() == 1
    assert channels.sent[-1][2] == "console"  # her second channel
    channels.let_go.set()
    stuck.join()  # the late failure changes nothing
    assert ("olga", "page", "delivered") in states(world)
    assert held.claim() == ()


def _decided(world: World) -> int:
    from watchkeeper.collector.process.due import decide_due  # noqa: PLC0415 -- only used here

    return decide_due(world.runtime.notifier(), world.clock.wall())


def test_a_message_is_not_sent_twice_by_a_worker_whose_lease_expired(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL), more=True)
    world.clock.advance(61)
    _decided(world)
    (claim,) = world.outbox.claim()
    world.clock.now += 7200  # the wall clock jumps past the end of the lease
    assert world.outbox.claim() == ()
    world.outbox.attempt(claim)
    assert len(world.told) == 1


def test_another_collector_does_not_claim_a_message_before_its_lease_ends(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL), more=True)
    world.clock.advance(61)
    _decided(world)
    other = Outbox(world.runtime, world._open)
    (first,) = world.outbox.claim()
    world.clock.advance(LEASE_S - 1)
    assert other.claim() == ()
    world.clock.advance(1)
    (second,) = other.claim()
    other.attempt(second)
    world.broken = {"console"}
    world.outbox.attempt(first)  # fails, but its lease is lost, so the failure is ignored
    assert states(world) == [("day", "page", "delivered")]


def test_a_person_gets_the_messages_of_an_incident_in_order(world: World) -> None:
    world.broken = {"console", "webhook"}
    world.push(world.verdict(Level.CRITICAL))
    world.advance(22)
    world.broken = set()
    world.push(world.verdict(Level.OK))
    world.advance(1)
    assert [one.kind for one in world.told if one.person == "day"] == ["page", "recovered"]
    rungs = [one.rung or one.kind for one in world.told if one.person == "olga"]
    assert rungs == ["owner", "on-site", "recovered"]


def test_the_end_of_a_fault_is_reported_after_the_channels_were_down_for_hours(world: World) -> None:
    world.push(world.verdict(Level.CRITICAL))
    world.broken = {"console", "webhook"}
    world.push(world.verdict(Level.OK))
    world.advance(180, step_s=60)
    world.broken = set()
    world.advance(6)
    assert world.pages("recovered") == [(world.told[-1].minute, "day", "recovered")]


def test_a_fault_cleared_before_notification_is_reported_when_the_channels_are_back(world: World) -> None:
    world.broken = {"console", "webhook"}
    world.push(world.verdict(Level.CRITICAL, age_s=600), world.verdict(Level.OK, age_s=60))
    world.advance(20)
    world.broken = set()
    world.advance(6)
    assert [one.kind for one in world.told] == ["passed"]


def test_messages_about_an_ended_fault_are_given_up_after_some_time(world: World) -> None:
    world.broken = {"console", "webhook"}
    world.push(world.verdict(Level.CRITICAL))
    world.push(world.verdict(Level.OK))
    world.advance(RECOVERY_MATTERS_S / 60 + 60, step_s=3600)
    assert {state for _, _, state in states(world)} == {"given-up"}


def test_a_page_is_never_given_up_while_its_fault_is_open(world: World) -> None:
    world.broken = {"console", "webhook"}
    world.push(world.verdict(Level.CRITICAL))
    world.advance(2 * RECOVERY_MATTERS_S / 60, step_s=2 * 3600)
    assert {state for _, _, state in states(world)} == {"pending"}
    world.broken = set()
    world.advance(6)
    assert {one.rung for one in world.told} == {"duty", "owner", "on-site", "vendor"}


def test_a_new_rung_retries_postponed_pages_at_once(world: World) -> None:
    world.broken = {"console", "webhook"}
    world.push(world.verdict(Level.CRITICAL))
    world.advance(17)  # her page of the 10th minute has failed and is postponed
    world.broken = set()
    world.clock.advance(180)
    with world.store.write() as connection:  # so that it is not retried by time
        waits = sa.update(outbox).where(outbox.c.person == "olga")
        connection.execute(waits, {"next_at": world.clock.wall() + 200})
    world.beat()
    assert [one.rung for one in world.told if one.person == "olga"] == ["owner", "on-site"]


def test_the_replacements_continue_until_somebody_can_be_reached(store_url: str) -> None:
    contacts = CONTACTS.replace("console", "apprise, secret: s")
    contacts = contacts.replace(
        "name: Amy, channels: [{via: apprise, secret: s}]", "name: Amy, channels: [{via: console}]"
    )
    world = World(store_url, contacts=contacts)
    world.ladders = world.ladders.replace("fallback: [head]", "fallback: [head, assistant]")
    world.start()
    world.broken = {"apprise", "webhook"}
    world.push(world.verdict(Level.CRITICAL))
    world.advance(0.5)
    assert [(one.person, one.rung) for one in world.told] == [("amy", "duty")]
    assert "hao could not be reached" in world.told[0].message.text
    world.advance(9)
    assert len(world.told) == 1  # one message, although the others are retried
    world.close()


def test_a_person_paged_for_an_earlier_rung_also_replaces_another_person(store_url: str) -> None:
    """The assistant, who calls the vendor, cannot be reached. The head, paged in the 20th minute, must be told."""
    contacts = CONTACTS.replace(
        "name: Amy, channels: [{via: console}]", "name: Amy, channels: [{via: apprise, secret: s}]"
    )
    world = World(store_url, contacts=contacts)
    world.broken = {"apprise"}
    world.push(world.verdict(Level.CRITICAL))
    world.advance(61, step_s=60)
    told = [(one.rung, one.message.text) for one in world.told if one.person == "hao"]
    assert [rung for rung, _ in told] == ["on-site", "vendor"]
    assert "amy could not be reached" in told[-1][1]
    assert "Acme Cooling" in told[-1][1]
    world.close()


def test_a_removed_person_is_replaced_while_the_fault_is_open_and_not_after_it(world: World) -> None:
    gone = NIGHT_TOO.replace("  - {person: day, name: 张伟, language: zh, channels: [{via: console}]}\n", "")
    world.push(world.verdict(Level.CRITICAL), world.verdict(Level.CRITICAL, rule="environment.humidity"), more=True)
    world.clock.advance(61)
    _decided(world)
    claims = world.outbox.claim()
    world.push(world.verdict(Level.OK))
    world.adopt(contacts=gone)
    for claim in claims:
        world.outbox.attempt(claim)
    world.advance(1)
    assert [(one.person, one.message.facts["rule"]) for one in world.told] == [("hao", "environment.humidity")]
    assert {state for person, _, state in states(world) if person == "day"} == {"given-up"}


@pytest.mark.parametrize("error", [OSError("no such library"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "secret")])
def test_a_channel_that_cannot_be_created_has_failed(world: World, error: Exception) -> None:
    genuine = world._open

    def broken(address: Address) -> object:
        if address.via.value == "webhook":
            raise error
        return genuine(address)

    world.outbox = Outbox(world.runtime, broken)  # type: ignore[arg-type]
    world.push(world.verdict(Level.CRITICAL))
    world.advance(11)
    assert [(one.person, one.via) for one in world.told] == [("day", "console"), ("olga", "console")]
    with world.store.read() as connection:
        details = list(connection.execute(sa.select(receipt.c.detail).where(~receipt.c.delivered)).scalars())
    assert details
    assert all(detail == f"the channel failed: {type(error).__name__}" for detail in details)


def test_stopping_waits_for_running_deliveries(world: World) -> None:
    channels = Hanging("day")
    with world.store.write() as connection:
        connection.execute(sa.insert(outbox), _message(1, "day"))
    running = Outbox(world.runtime, channels)
    running.start()
    with channels.arrived:
        assert channels.arrived.wait_for(lambda: channels.inside == 1, timeout=10)
    channels.persons = ()
    stopping = threading.Thread(target=running.stop)
    stopping.start()
    channels.let_go.set()
    stopping.join()
    assert len(channels.sent) == 1
    with world.store.read() as connection:
        assert connection.execute(sa.select(receipt)).all()
