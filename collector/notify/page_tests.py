"""Test pages: a message to a person through each real channel, marked as a test. One a week is automatic. None counts as a page."""

import datetime
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from watchkeeper.channels.ports import Message, Receipt
from watchkeeper.collector.notify.delivery.direct import send_directly
from watchkeeper.collector.notify.delivery.robots import robot_key
from watchkeeper.collector.notify.enqueue import Notifier
from watchkeeper.collector.notify.notice import About, Notice, Urgency, write
from watchkeeper.collector.notify.outbox import Opener
from watchkeeper.collector.site.inventory import Person, PersonAddress
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import outbox, receipt
from watchkeeper.model.clock import Clock

SUBJECT = "[test] Watchkeeper: test page · [测试] 通知渠道测试"
TEXT = (
    "This is a test of your channel ({via}). No device has a fault, and you need do nothing.\n"
    "这是通知渠道测试（{via}）。没有设备发生故障，无需处理。"
)
"""In both languages, because nobody may take a test for a page."""

WEEKDAY, HOURS = 1, range(10, 17)
"""The weekly tests leave on a Tuesday between 10:00 and 17:00 in site time; where nobody could send them then, later in the week
in these hours."""


@dataclass(frozen=True, slots=True)
class TestResult:
    """What one channel answered to a test, and after how long."""

    address: PersonAddress
    receipt: Receipt
    took_s: float


def write_weekly(notifier: Notifier, now: float) -> int:
    """Put this week's tests into the outbox, one for each channel of each person, if it is time. Those that are there already
    are left alone. Returns how many channels are tested this week so far; 0 outside the hours."""
    site = notifier.snapshot.configuration.inventory.site
    local = datetime.datetime.fromtimestamp(now, site.timezone)
    if local.weekday() < WEEKDAY or local.hour not in HOURS:
        return 0
    year, week, _ = local.isocalendar()
    people = notifier.snapshot.configuration.contacts.people
    tests = [_notice(one, number, f"{year}-W{week:02}", now) for one in people for number in range(len(one.channels))]
    known = sa.select(outbox.c.key).where(outbox.c.key.in_([test.key for test in tests]))
    with notifier.store.read() as connection:
        there = set(connection.execute(known).scalars())
    if any(test.key not in there for test in tests):
        with notifier.store.write() as connection:
            for test in tests:
                if test.key not in there:
                    write(notifier.store, connection, test, channel=test.id)
    return len(tests)


def _notice(person: Person, number: int, when: str, now: float) -> Notice:
    """The test of one channel. It has no fallback, and is not tried again after its tries on that channel."""
    address = person.channels[number]
    facts = {"kind": About.TEST.value, "rung": "", "person": person.person, "robot": robot_key(address).label}
    return Notice(
        about=About.TEST, id=number, key=f"{About.TEST.value}/{when}/{person.person}/{number}", expires_at=now, fallback=(),
        recurrence=1, kind=About.TEST.value, rung="", person=person.person, created_at=now, subject=SUBJECT,
        text=TEXT.format(via=address.via.value), facts=json.dumps(facts, ensure_ascii=False),
    )  # fmt: skip


def test_now(
    person: Person, numbers: Iterator[int] | range, opener: Opener, clock: Clock, store: Store
) -> Iterator[TestResult]:
    """Send a test by these channels of a person, one after another, and write down the results."""
    for number in numbers:
        notice = _notice(person, number, uuid.uuid4().hex, clock.wall())
        began = clock.boot()
        message = Message(notice.key, notice.person, notice.subject, notice.text, json.loads(notice.facts))
        outcome = send_directly(person.channels[number], message, opener)
        _write_down(store, notice, person.channels[number], outcome, clock.wall())
        yield TestResult(person.channels[number], outcome, clock.boot() - began)


def _write_down(store: Store, notice: Notice, address: PersonAddress, outcome: Receipt, now: float) -> None:
    """Write a test that is over, with its receipt."""
    row = {
        "about": notice.about.value, "about_id": notice.id, "key": notice.key, "expires_at": notice.expires_at,
        "fallback": "[]", "recurrence": 1, "kind": notice.kind, "rung": "", "person": notice.person,
        "created_at": notice.created_at, "subject": notice.subject, "text": notice.text, "facts": notice.facts,
        "state": "delivered" if outcome.delivered else "given-up", "next_at": now, "channel": notice.id, "attempts": 1,
        "handed_on": False, "urgency": Urgency.TEST.value,
    }  # fmt: skip
    with store.write() as connection:
        number = connection.execute(sa.insert(outbox).values(row).returning(outbox.c.id)).scalar_one()
        values = {
            "outbox": number, "at": now, "channel": address.via.value, "delivered": outcome.delivered,
            "detail": outcome.detail, "proof": outcome.proof.value if outcome.delivered else None,
        }  # fmt: skip
        connection.execute(sa.insert(receipt), values)
