"""The state of each channel of each person: whether its robot is in use, and the result of the last test. Read only."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from watchkeeper.collector.notify.delivery.breaker import BreakerState
from watchkeeper.collector.notify.delivery.robots import Robots, robot_key
from watchkeeper.collector.notify.notice import About
from watchkeeper.collector.site.inventory import Person, PersonAddress
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store.schema import outbox, receipt


@dataclass(frozen=True, slots=True)
class ChannelStatus:
    """A channel of a person. `robot` names its robot, `breaker` is the state of that. The rest is about its last test: when
    (UTC seconds; None: it was never tested), the state of the message, and the last receipt."""

    person: Person
    number: int
    address: PersonAddress
    robot: str
    breaker: BreakerState
    tested_at: float | None = None
    test: str = ""
    detail: str = ""
    proof: str = ""


def channel_statuses(
    connection: sa.Connection, snapshot: Snapshot, robots: Robots, boot: float, among: Collection[str] | None = None
) -> list[ChannelStatus]:
    """Every channel, in the order of contacts.yml, or those of these persons. `boot` is the time on the boot clock."""
    tests = {(row.person, row.about_id): row for row in connection.execute(_LAST_TESTS)}
    results = {row.outbox: row for row in connection.execute(_RESULTS, {"tests": [row.id for row in tests.values()]})}
    people = [one for one in snapshot.configuration.contacts.people if among is None or one.person in among]
    return list(_statuses(people, robots, boot, tests, results))


def _statuses(
    people: Iterable[Person],
    robots: Robots,
    boot: float,
    tests: Mapping[tuple[str, int], Any],
    results: Mapping[int, Any],
) -> Iterator[ChannelStatus]:
    for person in people:
        for number, address in enumerate(person.channels):
            label, state = robot_key(address).label, robots.status(address, boot).state
            row = tests.get((person.person, number))
            if row is None or json.loads(row.facts).get("robot") != label:  # another channel had this place then
                yield ChannelStatus(person, number, address, label, state)
                continue
            got = results.get(row.id)
            words = (got.detail, got.proof or "") if got else ()
            yield ChannelStatus(person, number, address, label, state, row.created_at, row.state, *words)


_LAST = (
    sa.select(sa.func.max(outbox.c.id))
    .where(outbox.c.about == About.TEST.value)
    .group_by(outbox.c.person, outbox.c.about_id)
)
_LAST_TESTS = sa.select(
    outbox.c.id, outbox.c.person, outbox.c.about_id, outbox.c.created_at, outbox.c.state, outbox.c.facts
).where(outbox.c.id.in_(_LAST))
_RESULTS = (
    sa.select(receipt.c.outbox, receipt.c.detail, receipt.c.proof)
    .where(receipt.c.outbox.in_(sa.bindparam("tests", expanding=True)))
    .order_by(receipt.c.id)
)
