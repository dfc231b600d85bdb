"""Delivers the notices of the outbox: at least once, on each channel of the person in order, then to the next person.

A message is claimed by moving its `next_at` to the end of a lease. So two workers (or collectors) do not send it at the same
time, and the message of a killed worker is sent again: as soon as a collector of its name starts, or after the lease. Messages about one trouble reach a person in the order in which they
were written. A robot has only a few messages under way, and is left out while it fails (`delivery/robots.py`): one that hangs
delays nobody else, and keeps no more than these few threads.
"""

import functools
import itertools
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from watchkeeper.channels.ports import Address, Channel, Receipt, Via
from watchkeeper.collector.notify.delivery import claims
from watchkeeper.collector.notify.delivery.claims import PROOFS, Claim, write_receipt
from watchkeeper.collector.notify.delivery.digest import line_bytes, message_of, room_of
from watchkeeper.collector.notify.delivery.plan import Load, Plan, Sending, plan
from watchkeeper.collector.notify.delivery.robots import (
    Availability,
    Readiness,
    RobotKey,
    Robots,
    deadline_of,
    limits_of,
    robot_key,
    wait_for,
)
from watchkeeper.collector.notify.delivery.tries import NEXT_ROUND_AFTER_S, after_failure
from watchkeeper.collector.notify.enqueue import Notifiers
from watchkeeper.collector.notify.notice import LEASE_S, About, Urgency, people_notified, read
from watchkeeper.collector.policy.roster import people_of
from watchkeeper.collector.site.inventory import Person, PersonAddress
from watchkeeper.collector.store.schema import outbox
from watchkeeper.model.errors import WatchkeeperError
from watchkeeper.model.failpoint import failpoint
from watchkeeper.model.worker import Worker

log = logging.getLogger(__name__)

MAX_UNDER_WAY = 64
"""How many messages may be under way in all."""

PUT_OFF_AT_ONCE = 50
OUTBOX_LOOK_S = 1.0
"""How often the outbox looks without being woken."""

OUTBOX_STOP_S = 5.0

Opener = Callable[[Address], Channel]


@dataclass(frozen=True, slots=True)
class _PersonPlan:
    """What happens to the due messages of one person (None: gone from the contacts) now."""

    person: Person | None
    plan: Plan
    ready: Sequence[Availability] = ()


class Outbox:
    """Sends due messages, each claim from a thread of its own, which ends with it."""

    def __init__(self, runtime: Notifiers, opener: Opener, robots: Robots | None = None, collector: str = "") -> None:
        """`collector` is the name in which messages are leased; none of an earlier process are taken back without it."""
        self._runtime, self._collector = runtime, collector
        self._returned = not collector
        self._opener = opener
        self.robots = robots or Robots()
        self._numbers = itertools.count(1)
        self._loads: dict[str, Load] = {}
        self._under_way: dict[int, Claim] = {}
        self._lock = threading.Lock()  # of `_loads` and `_under_way`
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

    def take_back(self) -> None:
        """Once after a start: what an earlier process of this collector was sending is due now."""
        if not self._returned:
            with self._runtime.store.write() as connection:
                count = claims.take_back(connection, self._collector, self._runtime.clock.wall())
            self._returned = True
            if count:
                log.info("%d messages that an earlier process was sending are sent again", count)

    def _turn(self) -> float:
        self.take_back()
        self.abandon()
        self.seek_proofs()
        self.seek_probes()
        moved = True
        while moved and not self.worker.stopping:
            claimed, moved = self._claim()
            for claim in claimed:
                thread = threading.Thread(target=self._attempt, args=(claim,), name="outbox attempt", daemon=True)
                self._attempts.add(thread)
                thread.start()
        now = self._runtime.clock.boot()
        with self._lock:
            ends = [claim.began + claim.deadline_s - now for claim in self._under_way.values()]
        return max(0.0, min([OUTBOX_LOOK_S, *ends]))

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
        tries, moved = 0, True
        self.take_back()
        self.seek_proofs()
        self.seek_probes()
        while moved:
            claimed, moved = self._claim()
            for claim in claimed:
                self.attempt(claim)
            tries += len(claimed)
        return tries

    # ---- what is sent now ----

    def claim(self) -> Sequence[Claim]:
        """Lease the messages that go out now, the most urgent first."""
        return self._claim()[0]

    def _claim(self) -> tuple[Sequence[Claim], bool]:
        """The claims, and whether to look again: something was claimed, or handed on to another person."""
        now, store = self._runtime.clock.wall(), self._runtime.store
        with self._lock:
            under_way = [number for claim in self._under_way.values() for number in claim.ids]
            with store.read() as connection:
                plans = list(self._plans(connection, now, under_way))
            if not plans:
                return (), False
            with store.write() as connection:
                claimed = [claim for one in plans for claim in self._take(connection, one, now)]
                put_off = [
                    self._put_off(connection, row, wait_s, now) for one in plans for row, wait_s in one.plan.blocked
                ]
            claimed.sort(key=lambda claim: (claim.row.urgency, claim.row.next_at, claim.row.id))
            for claim in claimed:
                self._begin(claim)
        return tuple(claimed), bool(claimed) or any(put_off)

    def _plans(self, connection: sa.Connection, now: float, under_way: Sequence[int]) -> Iterator[_PersonPlan]:
        boot = self._runtime.clock.boot()
        budget = MAX_UNDER_WAY - self.robots.under_way(boot)
        planned: Counter[RobotKey] = Counter()
        limits = limits_of(address for one in self._people() for address in one.channels)
        for name in claims.due_people(connection, now, under_way):
            person = self._person(name)
            if person is None:
                gone = claims.due_rows(connection, name, now, under_way, PUT_OFF_AT_ONCE)
                yield _PersonPlan(None, Plan(tuple(Sending((row,), row.channel) for row in gone)))
                continue
            keys = [robot_key(one) for one in person.channels]
            ready = [self.robots.availability(key, name, limits.get(key), boot, planned[key]) for key in keys]
            if all(one.readiness is Readiness.BUSY and one.critical_slots <= 0 for one in ready):
                continue
            rows = claims.due_rows(connection, name, now, under_way)
            found = plan(
                rows, ready, functools.partial(room_of, person.channels, self._opener), self._loads.get(name, Load()), boot, now,
                line_bytes=line_bytes(self._runtime.notifier().url, name),
            )  # fmt: skip
            found = Plan(found.sendings[: max(0, budget)], found.blocked[:PUT_OFF_AT_ONCE])
            budget -= len(found.sendings)
            planned.update(keys[sending.channel] for sending in found.sendings)
            if found.sendings or found.blocked:
                yield _PersonPlan(person, found, ready)

    def _take(self, connection: sa.Connection, one: _PersonPlan, now: float) -> Iterator[Claim]:
        """Lease the messages of a plan, as far as no other collector has them by now."""
        boot = self._runtime.clock.boot()
        for sending in one.plan.sendings:
            mine = claims.take(connection, (row.id for row in sending.rows), sending.channel, now, self._collector)
            rows = tuple(row for row in sending.rows if row.id in mine)
            if rows:
                address = one.person.channels[sending.channel] if one.person else None
                wait_s = wait_for(address, one.ready[sending.channel + 1 :], urgent=rows[0].urgency < Urgency.PAGE)
                yield Claim(
                    next(self._numbers), rows, sending.channel, address, now + LEASE_S, boot, wait_s, sending.joined
                )

    def _begin(self, claim: Claim) -> None:
        """Count a claim for its robot and its person."""
        self._under_way[claim.row.id] = claim
        if claim.address is None:
            return
        self.robots.begin(claim.address, claim.number, claim.row.person, claim.began)
        load = self._loads.get(claim.row.person, Load())
        self._loads[claim.row.person] = load.after(claim.row.urgency, claim.began, joined=claim.joined)

    def _put_off(self, connection: sa.Connection, row: "sa.Row[Any]", wait_s: float, now: float) -> bool:
        """No channel of the person can be used for some time: the next person of the fallback is notified. True if somebody is."""
        mine = sa.update(outbox).where(
            outbox.c.id == row.id, outbox.c.state == "pending", outbox.c.next_at == row.next_at
        )
        attempts = 0 if row.channel else row.attempts
        values = {"next_at": now + min(wait_s, NEXT_ROUND_AFTER_S), "channel": 0, "attempts": attempts}
        if not connection.execute(mine, values).rowcount or row.handed_on:
            return False
        handed_on = self._hand_on(connection, row, now)
        connection.execute(sa.update(outbox).where(outbox.c.id == row.id), {"handed_on": handed_on})
        return handed_on

    # ---- one try ----

    def abandon(self) -> None:
        """Record a failed try for each channel that has not returned within its deadline. Its thread may still wait; it keeps
        its place among those of its robot."""
        now = self._runtime.clock.boot()
        with self._lock:
            hanging = [claim for claim in self._under_way.values() if now - claim.began >= claim.deadline_s]
        for claim in hanging:
            last = claim.address is None or claim.deadline_s >= deadline_of(claim.address)
            outcome = Receipt(delivered=False, detail=f"no answer within {claim.deadline_s:.0f} s", permanent=last)
            if last and claim.address:
                self.robots.note(claim.address, Receipt(delivered=False, detail=outcome.detail), now)
            self._write(claim, outcome)
            self._forget(claim)

    def attempt(self, claim: Claim) -> None:
        """Try one claim once, and write the receipt."""
        try:
            outcome = self._send(claim.address, claim) if claim.address else None
            failpoint("collector.message.sent")
            self._write(claim, outcome)
        finally:
            self._forget(claim)
            if claim.address:
                self.robots.end(claim.address, claim.number)
        failpoint("collector.receipt.committed")

    def _send(self, address: PersonAddress, claim: Claim) -> Receipt:
        outcome = self._receipt(address, claim)
        if self.robots.note(address, outcome, self._runtime.clock.boot()):
            self._retry_put_off([one.person for one in self._people() if address in one.channels])
        return outcome

    def _receipt(self, address: PersonAddress, claim: Claim) -> Receipt:
        try:
            notifier, person = self._runtime.notifier(), self._person(claim.row.person)
            if person is None:
                return Receipt(delivered=False, detail="the person is no longer in contacts.yml", permanent=True)
            message = message_of(claim.rows, person, notifier.snapshot, notifier.url)
            if address.via is not Via.CONSOLE:  # the console is a log: a link that lets a person act must not be there
                message = notifier.answerable(notifier.personal(message, claim.row.created_at), address)
            channel = self._opener(address)
            self.robots.learn(address, getattr(channel, "service", ""))
            return channel.send(message)
        except WatchkeeperError as error:  # for instance: its secret is missing
            return Receipt(delivered=False, detail=str(error), permanent=True)
        except Exception as error:  # noqa: BLE001 -- a bug in a channel is a failed try: the next channel is tried
            return Receipt(delivered=False, detail=f"the channel failed: {type(error).__name__}")

    def seek_probes(self) -> None:
        """A robot that failed is tried again, also where every message of its is put off for minutes: one is due now."""
        for key in self.robots.awaiting_probe(self._runtime.clock.boot()):
            self._retry_put_off([one.person for one in self._people() if robot_key(one.channels[0]) == key], most=1)

    def _retry_put_off(self, people: Sequence[str], most: int | None = None) -> None:
        """Messages to these persons that are put off for minutes are due now: all, or so many."""
        now, store = self._runtime.clock.wall(), self._runtime.store
        with store.read() as connection:
            ids = claims.put_off(connection, people, now, most)
        if ids:
            with store.write() as connection:
                claims.hasten(connection, ids, now)

    def _write(self, claim: Claim, outcome: Receipt | None) -> None:
        """Write the receipt (None: the person is not in contacts.yml)."""
        person = self._person(claim.row.person)
        if person is None or outcome is None:
            for row in claim.rows:
                self._give_up(row, "this person is no longer in contacts.yml")
        else:
            self._record(claim, person, outcome)

    def _forget(self, claim: Claim) -> None:
        with self._lock:
            if self._under_way.get(claim.row.id) is claim:
                del self._under_way[claim.row.id]

    def _people(self) -> tuple[Person, ...]:
        return self._runtime.notifier().snapshot.configuration.contacts.people

    def _person(self, name: str) -> Person | None:
        return next((one for one in self._people() if one.person == name), None)

    # ---- what follows ----

    def _record(self, claim: Claim, person: Person, outcome: Receipt) -> None:
        now, via = self._runtime.clock.wall(), claim.address.via.value if claim.address else ""
        with self._runtime.store.write() as connection:
            write_receipt(self._runtime.store, connection, claim, now, via, outcome)
            if outcome.delivered:
                claims.mark_delivered(connection, claim, now, outcome.proof)
                return
            for row in claim.rows:
                mine = sa.update(outbox).where(outbox.c.id == row.id, outbox.c.state == "pending")
                ours = mine.where(outbox.c.next_at == claim.lease)
                if connection.execute(ours, {"next_at": now, "leased_by": None}).rowcount:
                    connection.execute(mine, self._after_failure(connection, claim, row, person, outcome))
                # else the lease had ended, and another worker has claimed it
        log.warning("message %s not delivered by %s: %s", claim.row.key, via, outcome.detail)

    def _after_failure(
        self, connection: sa.Connection, claim: Claim, row: "sa.Row[Any]", person: Person, outcome: Receipt
    ) -> dict[str, Any]:
        now = self._runtime.clock.wall()
        if outcome.retry_after_s is not None:  # no try is counted: the robot waits, and the next plan knows that
            return {"next_at": now}
        count, channel = len(person.channels), min(claim.channel, len(person.channels) - 1)
        attempts = row.attempts if row.channel == claim.channel else 0
        if row.about == About.TEST:
            then = after_failure(0, attempts, 1, permanent=outcome.permanent)
            state = "given-up" if then.exhausted else "pending"
            return {"state": state, "attempts": then.attempts, "next_at": now + then.wait_s}
        urgent = row.urgency < Urgency.PAGE
        attempts = row.attempts if urgent else attempts
        then = after_failure(channel, attempts, count, permanent=outcome.permanent, urgent=urgent)
        handed_on = row.handed_on
        if then.exhausted:
            if claims.expired(connection, row, now):
                return {"state": "given-up"}
            handed_on = handed_on or self._hand_on(connection, row, now)
        next_at = now + then.wait_s
        return {"channel": then.channel, "attempts": then.attempts, "handed_on": handed_on, "next_at": next_at}

    def seek_proofs(self) -> None:
        """Pages whose channel did not prove in time what it must: the next channel, and after the last the next person."""
        now = self._runtime.clock.wall()
        with self._runtime.store.read() as connection:
            if not claims.unproved(connection, now):
                return
        with self._runtime.store.write() as connection:
            for row in claims.unproved(connection, now):
                values = self._without_proof(connection, row, now)
                same = (outbox.c.id == row.id, outbox.c.prove_by == row.prove_by)
                connection.execute(sa.update(outbox).where(*same), {"prove_by": None, **values})

    def _without_proof(self, connection: sa.Connection, row: "sa.Row[Any]", now: float) -> dict[str, Any]:
        person = self._person(row.person)
        expect = person.channels[row.channel].expect if person and row.channel < len(person.channels) else None
        if expect and claims.strongest_proof(connection, row.id) >= PROOFS.index(expect.proof):
            return {}
        if claims.expired(connection, row, now):
            return {}
        if person and row.channel + 1 < len(person.channels):
            return {"state": "pending", "channel": row.channel + 1, "attempts": 0, "next_at": now}
        return {"handed_on": row.handed_on or self._hand_on(connection, row, now)}

    def _hand_on(self, connection: sa.Connection, row: "sa.Row[Any]", now: float) -> bool:
        """This person cannot be reached on any channel: notify the next person of the fallback who has not been. False if
        there is none, or if nobody needs to act any more."""
        if claims.expired(connection, row, now):
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
