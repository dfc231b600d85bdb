"""Delivers the notices of the outbox: at least once, on each channel of the person in order, then to the next person.

A message is claimed by moving its `next_at` to the end of a lease. So two workers (or collectors) do not send it at the same
time, and the message of a killed worker is sent again. Messages about one incident reach a person in the order in which they
were written. Each person has only a few messages under way, so that a person whose channels hang delays nobody else.
"""

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from watchkeeper.channels.ports import Address, Channel, Message, Receipt, Via
from watchkeeper.collector.notify.enqueue import Notifiers
from watchkeeper.collector.notify.notice import LEASE_S, people_notified, read
from watchkeeper.collector.policy.roster import people_of
from watchkeeper.collector.site.inventory import Person
from watchkeeper.collector.store.schema import outbox, receipt
from watchkeeper.model.errors import WatchkeeperError
from watchkeeper.model.failpoint import failpoint
from watchkeeper.model.worker import Worker

log = logging.getLogger(__name__)

TRIES = 3
TRY_AGAIN_AFTER_S = (2.0, 10.0)
NEXT_ROUND_AFTER_S = 300.0
"""Three tries on a channel, 2 and 10 seconds apart, then the next channel. After the last channel everything is tried again
every 5 minutes."""

MAX_PER_PERSON, MAX_UNDER_WAY = 4, 64
"""How many messages may be under way: to one person, and in all."""

CLAIMED_AT_ONCE = 200
OUTBOX_LOOK_S = 1.0
"""How often the outbox looks without being woken."""

OUTBOX_STOP_S = 5.0

Opener = Callable[[Address], Channel]


@dataclass(frozen=True, slots=True)
class NextTry:
    """What happens to a message after a failed try."""

    channel: int
    attempts: int
    wait_s: float
    exhausted: bool = False


def after_failure(channel: int, attempts: int, channels: int, *, permanent: bool) -> NextTry:
    """Decide what comes next: the same channel again, the next channel, or, once all have failed, all of them again later."""
    attempts += 1
    if not permanent and attempts < TRIES:
        return NextTry(channel, attempts, TRY_AGAIN_AFTER_S[attempts - 1])
    if channel + 1 < channels:
        return NextTry(channel + 1, 0, 0.0)
    return NextTry(0, 0, NEXT_ROUND_AFTER_S, exhausted=True)


@dataclass(frozen=True, slots=True)
class Claim:
    """A message that this worker may send until `lease` (UTC seconds). `began` is on the boot clock."""

    row: "sa.Row[Any]"
    lease: float
    began: float


class Outbox:
    """Sends due messages, each from a thread of its own."""

    def __init__(self, runtime: Notifiers, opener: Opener) -> None:
        self._runtime = runtime
        self._opener = opener
        self._under_way: dict[int, Claim] = {}
        self._lock = threading.Lock()  # of `_under_way`
        self._attempts: set[threading.Thread] = set()
        self.worker = Worker("outbox", self._turn, runtime.clock)

    def start(self) -> None:
        """Begin to deliver."""
        self.worker.start()

    def stop(self) -> None:
        """Claim nothing more. A message that is being sent either ends within seconds or is sent again after its lease."""
        until = self._runtime.clock.boot() + OUTBOX_STOP_S
        self.worker.stop(OUTBOX_STOP_S)
        for thread in tuple(self._attempts):
            thread.join(max(0.0, until - self._runtime.clock.boot()))

    def wake(self) -> None:
        """Look at once: there may be something to send."""
        self.worker.wake()

    def _turn(self) -> float:
        self.abandon()
        while not self.worker.stopping and (claimed := self.claim()):
            for claim in claimed:
                thread = threading.Thread(target=self._attempt, args=(claim,), name="outbox attempt", daemon=True)
                self._attempts.add(thread)
                thread.start()
        return OUTBOX_LOOK_S

    def _attempt(self, claim: Claim) -> None:
        try:
            self.attempt(claim)
        except Exception:
            log.exception("message %s could not be tried; it is tried again after its lease", claim.row.key)
        finally:
            self._attempts.discard(threading.current_thread())
            self.wake()

    def deliver(self) -> int:
        """Send everything that is due, in the calling thread; returns how many tries were made. For tests."""
        tries = 0
        while claimed := self.claim():
            for claim in claimed:
                self.attempt(claim)
            tries += len(claimed)
        return tries

    def claim(self) -> Sequence[Claim]:
        """Lease due messages: none while an older one of the same incident and person is pending, and only as many of one
        person as may be under way."""
        now = self._runtime.clock.wall()
        store = self._runtime.store
        with self._lock:
            busy = Counter(claim.row.person for claim in self._under_way.values())
            asked = {
                "now": now,
                "busy": [person for person, count in busy.items() if count >= MAX_PER_PERSON],
                "under_way": list(self._under_way),
            }
            with store.read() as connection:
                if connection.execute(_ANY_DUE, asked).first() is None:
                    return ()
            with store.write() as connection:
                found = connection.execute(_DUE, asked).all()
                mine = list(_fair_share(found, busy))
                ids = [row.id for row in mine]
                connection.execute(sa.update(outbox).where(outbox.c.id.in_(ids)), {"next_at": now + LEASE_S})
            claims = [Claim(row, now + LEASE_S, self._runtime.clock.boot()) for row in mine]
            self._under_way.update({claim.row.id: claim for claim in claims})
        return claims

    def abandon(self) -> None:
        """Record a failed try for each channel that has not returned when the lease ends. Its thread may still wait."""
        now = self._runtime.clock.boot()
        with self._lock:
            hanging = [claim for claim in self._under_way.values() if now - claim.began >= LEASE_S]
        for claim in hanging:
            outcome = Receipt(delivered=False, detail=f"no answer within {LEASE_S:.0f} s", permanent=True)
            self._write(claim, outcome)
            self._forget(claim)

    def attempt(self, claim: Claim) -> None:
        """Try one claimed message once, and write the receipt."""
        try:
            person = self._person(claim.row.person)
            outcome = self._send(_address(claim.row, person), claim.row) if person else None
            failpoint("collector.message.sent")
            self._write(claim, outcome)
        finally:
            self._forget(claim)
        failpoint("collector.receipt.committed")

    def _write(self, claim: Claim, outcome: Receipt | None) -> None:
        """Write the receipt (None: the person is not in contacts.yml)."""
        person = self._person(claim.row.person)
        if person is None or outcome is None:
            self._give_up(claim.row, "this person is no longer in contacts.yml")
        else:
            self._record(claim, person, outcome)

    def _forget(self, claim: Claim) -> None:
        with self._lock:
            if self._under_way.get(claim.row.id) is claim:
                del self._under_way[claim.row.id]

    def _person(self, name: str) -> Person | None:
        return next(
            (one for one in self._runtime.notifier().snapshot.configuration.contacts.people if one.person == name), None
        )

    def _send(self, address: Address, row: "sa.Row[Any]") -> Receipt:
        try:
            channel = self._opener(address)
            message = Message(row.key, row.person, row.subject, row.text, json.loads(row.facts))
            if address.via is not Via.CONSOLE:  # the console is a log: a link that lets a person act must not be there
                message = self._runtime.notifier().personal(message, row.created_at)
                message = self._runtime.notifier().answerable(message, address)
            return channel.send(message)
        except WatchkeeperError as error:  # for instance: its secret is missing
            return Receipt(delivered=False, detail=str(error), permanent=True)
        except Exception as error:  # noqa: BLE001 -- a bug in a channel is a failed try: the next channel is tried
            return Receipt(delivered=False, detail=f"the channel failed: {type(error).__name__}")

    def _record(self, claim: Claim, person: Person, outcome: Receipt) -> None:
        now, row = self._runtime.clock.wall(), claim.row
        address = _address(row, person)
        mine = sa.update(outbox).where(outbox.c.id == row.id, outbox.c.state == "pending")
        with self._runtime.store.write() as connection:
            _write_receipt(connection, row, now, address, outcome)
            if outcome.delivered:
                connection.execute(mine, {"state": "delivered", "channel": row.channel})
                return
            if not connection.execute(mine.where(outbox.c.next_at == claim.lease), {"next_at": now}).rowcount:
                return  # the lease had ended, and another worker has claimed it
            values = self._after_failure(connection, row, person, now, permanent=outcome.permanent)
            connection.execute(mine, values)
        log.warning("message %s not delivered by %s: %s", row.key, address.via.value, outcome.detail)

    def _after_failure(
        self, connection: sa.Connection, row: "sa.Row[Any]", person: Person, now: float, *, permanent: bool
    ) -> dict[str, Any]:
        then = after_failure(_index(row, person), row.attempts, len(person.channels), permanent=permanent)
        handed_on = row.handed_on
        if then.exhausted:
            if _expired(connection, row, now):
                return {"state": "given-up"}
            handed_on = handed_on or self._hand_on(connection, row, now)
        next_at = now + then.wait_s
        return {"channel": then.channel, "attempts": then.attempts, "handed_on": handed_on, "next_at": next_at}

    def _hand_on(self, connection: sa.Connection, row: "sa.Row[Any]", now: float) -> bool:
        """This person cannot be reached on any channel: notify the next person of the fallback who has not been. False if
        there is none, or if nobody needs to act any more."""
        if _expired(connection, row, now):
            return False
        notice, notifier = read(row), self._runtime.notifier()
        told = people_notified(connection, notice)
        for person in people_of(notice.fallback, notifier.snapshot.configuration, "", now):
            if person.person not in told:
                notifier.page_instead(connection, notice, person, now)
                return True
        return False

    def _give_up(self, row: "sa.Row[Any]", why: str) -> None:
        now = self._runtime.clock.wall()
        with self._runtime.store.write() as connection:
            connection.execute(sa.update(outbox).where(outbox.c.id == row.id), {"state": "given-up", "handed_on": True})
            if not row.handed_on:
                self._hand_on(connection, row, now)
        log.warning("message %s given up: %s", row.key, why)


def _expired(connection: sa.Connection, row: "sa.Row[Any]", now: float) -> bool:
    """Whether the message is no longer worth another round of tries. Its incident may have ended since it was claimed."""
    expires_at = connection.execute(sa.select(outbox.c.expires_at).where(outbox.c.id == row.id)).scalar()
    return expires_at is not None and bool(now >= expires_at)


def _fair_share(found: Sequence["sa.Row[Any]"], busy: Counter[str]) -> Iterator["sa.Row[Any]"]:
    """The messages that may be sent now. `busy` counts the messages under way by person, these included."""
    for row in found:
        if busy[row.person] < MAX_PER_PERSON and busy.total() < MAX_UNDER_WAY:
            busy[row.person] += 1
            yield row


def _index(row: "sa.Row[Any]", person: Person) -> int:
    return row.channel if row.channel < len(person.channels) else 0


def _address(row: "sa.Row[Any]", person: Person) -> Address:
    return person.channels[_index(row, person)]


def _due() -> "sa.Select[Any]":
    now = sa.bindparam("now", type_=sa.Double)
    earlier = outbox.alias("earlier")
    waits = sa.exists().where(
        earlier.c.about == outbox.c.about,
        earlier.c.about_id == outbox.c.about_id,
        earlier.c.person == outbox.c.person,
        earlier.c.state == "pending",
        earlier.c.id < outbox.c.id,
    )
    # No message is put off for longer than this. One that seems to be was written before our clock was set back.
    due = sa.or_(outbox.c.next_at <= now, outbox.c.next_at > now + (NEXT_ROUND_AFTER_S + LEASE_S))
    free = sa.and_(
        outbox.c.person.not_in(sa.bindparam("busy", expanding=True)),
        outbox.c.id.not_in(sa.bindparam("under_way", expanding=True)),
    )
    return (
        sa.select(outbox).where(outbox.c.state == "pending", due, ~waits, free).order_by(outbox.c.next_at, outbox.c.id)
    )


# Built once: building takes longer than executing, and it is executed after every message.
_ANY_DUE = _due().limit(1)
_DUE = _due().limit(CLAIMED_AT_ONCE).with_for_update(skip_locked=True)


def _write_receipt(
    connection: sa.Connection, row: "sa.Row[Any]", now: float, address: Address, outcome: Receipt
) -> None:
    values = {
        "outbox": row.id, "at": now, "channel": address.via.value, "delivered": outcome.delivered,
        "detail": outcome.detail,
    }  # fmt: skip
    connection.execute(sa.insert(receipt), values)
