"""Delivers what the outbox holds: at least once, each person's channels in order, then the next person.

A message is claimed by moving its `next_at` past a lease, so that two workers (or collectors) do not send it at once and
a killed one's work comes back. Messages of one incident reach a person in the order they were written.
"""

import json
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from channels.ports import Address, Channel, Message, Receipt
from collector.books import Person
from collector.messages import Kind
from collector.office import Office
from collector.store import rows
from collector.store.schema import outbox, receipt
from model.errors import WatchkeeperError
from model.failpoint import failpoint

log = logging.getLogger(__name__)

LEASE_S = 60.0
TRIES = 3
RETRY_S = (2.0, 10.0)
AGAIN_S = 300.0
"""Three tries on a channel, 2 and 10 seconds apart; then the next channel; after the last one, all again every 5 minutes."""

Opener = Callable[[Address], Channel]


@dataclass(frozen=True, slots=True)
class Next:
    """What becomes of a message after a failed try."""

    channel: int
    attempts: int
    wait_s: float
    exhausted: bool = False


def after_failure(channel: int, attempts: int, channels: int, *, permanent: bool) -> Next:
    """Decide: the same channel again, the next one, or, once all have failed, everything again later."""
    attempts += 1
    if not permanent and attempts < TRIES:
        return Next(channel, attempts, RETRY_S[attempts - 1])
    if channel + 1 < channels:
        return Next(channel + 1, 0, 0.0)
    return Next(0, 0, AGAIN_S, exhausted=True)


class Outbox:
    """Sends due messages from a few threads. `deliver` is one turn; `run` turns until it is stopped."""

    def __init__(self, office: Office, opener: Opener, workers: int = 8) -> None:
        self._office = office
        self._opener = opener
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="outbox")
        self._wake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self.beat = office.clock.boot()

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def stop(self) -> None:
        """Take nothing new; what is being sent ends or comes back after its lease."""
        self._stopped = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def wake(self) -> None:
        """There may be something to send."""
        self._wake.set()

    def _run(self) -> None:
        while not self._stopped:
            self._wake.wait(timeout=1.0)
            self._wake.clear()
            self.beat = self._office.clock.boot()
            try:
                for row in self.claim():
                    self._pool.submit(self._attempt, row)
            except Exception:
                log.exception("the outbox could not be read; it is tried again within a second")

    def _attempt(self, row: "sa.Row[Any]") -> None:
        try:
            self.attempt(row)
        except Exception:
            log.exception("message %s could not be tried; it comes back after its lease", row.key)
        finally:
            self.wake()

    def deliver(self) -> int:
        """Send everything that is due, in this thread; returns how many tries were made. For tests and `--once`."""
        tries = 0
        while claimed := self.claim():
            for row in claimed:
                self.attempt(row)
            tries += len(claimed)
        return tries

    def claim(self, most: int = 50) -> "Sequence[sa.Row[Any]]":
        """Lease due messages, none that has an older pending one of the same incident and person before it."""
        now = self._office.clock.wall()
        store = self._office.store
        with store.read() as connection:
            if connection.execute(_due(now).limit(1)).first() is None:
                return ()
        with store.write() as connection:
            found = connection.execute(_due(now).limit(most).with_for_update(skip_locked=True)).all()
            if found:
                ids = [row.id for row in found]
                connection.execute(sa.update(outbox).where(outbox.c.id.in_(ids)), {"next_at": now + LEASE_S})
        return found

    def attempt(self, row: "sa.Row[Any]") -> None:
        """Try one claimed message once, and write down what came back."""
        person = self._person(row.person)
        if person is None:
            self._give_up(row, "this person is no longer in contacts.yml")
            return
        index = row.channel if row.channel < len(person.channels) else 0
        address = person.channels[index]
        came_back = self._send(address, row)
        failpoint("collector.message.sent")
        self._record(row, person, index, address, came_back)
        failpoint("collector.receipt.committed")

    def _person(self, name: str) -> Person | None:
        return next((one for one in self._office.orders.books.contacts.people if one.person == name), None)

    def _send(self, address: Address, row: "sa.Row[Any]") -> Receipt:
        try:
            channel = self._opener(address)
        except WatchkeeperError as error:
            return Receipt(delivered=False, detail=str(error), permanent=True)
        try:
            return channel.send(Message(row.key, row.person, row.subject, row.text, json.loads(row.facts)))
        except Exception as error:  # noqa: BLE001 -- a channel's bug is a failed delivery, and the next channel's turn
            return Receipt(delivered=False, detail=f"the channel broke: {type(error).__name__}")

    def _record(self, row: "sa.Row[Any]", person: Person, index: int, address: Address, came_back: Receipt) -> None:
        now = self._office.clock.wall()
        mine = sa.update(outbox).where(outbox.c.id == row.id)
        with self._office.store.write() as connection:
            _write_receipt(connection, row, now, address, came_back)
            if came_back.delivered:
                connection.execute(mine, {"state": "delivered", "channel": index})
                return
            then = after_failure(index, row.attempts, len(person.channels), permanent=came_back.permanent)
            handed_on = row.handed_on
            if then.exhausted:
                if not self._still_matters(connection, row):
                    connection.execute(mine, {"state": "given-up"})
                    return
                handed_on = handed_on or self._hand_on(connection, row, now)
            values = {"channel": then.channel, "attempts": then.attempts, "handed_on": handed_on}
            connection.execute(mine, {**values, "next_at": now + then.wait_s})
        log.warning("message %s not delivered by %s: %s", row.key, address.via.value, came_back.detail)

    def _hand_on(self, connection: sa.Connection, row: "sa.Row[Any]", now: float) -> bool:
        """Nobody answers on any channel: page the next person instead."""
        known = rows.one(connection, row.incident)
        if known is None or row.kind != Kind.PAGE:
            return False
        return self._office.desk().instead(connection, known, row.rung, row.person, now)

    def _still_matters(self, connection: sa.Connection, row: "sa.Row[Any]") -> bool:
        known = rows.one(connection, row.incident)
        return known is not None and known.open

    def _give_up(self, row: "sa.Row[Any]", why: str) -> None:
        now = self._office.clock.wall()
        with self._office.store.write() as connection:
            connection.execute(sa.update(outbox).where(outbox.c.id == row.id), {"state": "given-up", "handed_on": True})
            if not row.handed_on:
                self._hand_on(connection, row, now)
        log.warning("message %s given up: %s", row.key, why)


def _due(now: float) -> "sa.Select[Any]":
    earlier = outbox.alias("earlier")
    waits = sa.exists().where(
        earlier.c.incident == outbox.c.incident,
        earlier.c.person == outbox.c.person,
        earlier.c.state == "pending",
        earlier.c.id < outbox.c.id,
    )
    return sa.select(outbox).where(outbox.c.state == "pending", outbox.c.next_at <= now, ~waits).order_by(outbox.c.id)


def _write_receipt(
    connection: sa.Connection, row: "sa.Row[Any]", now: float, address: Address, came_back: Receipt
) -> None:
    values = {
        "outbox": row.id, "at": now, "channel": address.via.value, "delivered": came_back.delivered,
        "detail": came_back.detail,
    }  # fmt: skip
    connection.execute(sa.insert(receipt), values)
