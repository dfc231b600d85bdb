"""Actions of persons on troubles and devices, each in one transaction. The caller has authenticated the person."""

from collections.abc import Collection
from dataclasses import replace

import sqlalchemy as sa

from watchkeeper.collector.notify.enqueue import Notifier
from watchkeeper.collector.notify.message.draft import NoticeKind
from watchkeeper.collector.policy import incidents, ladder
from watchkeeper.collector.policy import troubles as policy
from watchkeeper.collector.policy.incidents import TransitionKind
from watchkeeper.collector.policy.troubles import Trouble, TroubleState
from watchkeeper.collector.process.due import decide
from watchkeeper.collector.process.troubles.follow_up import finish, follow_up, go_on
from watchkeeper.collector.store import rows, troubles
from watchkeeper.collector.store.schema import request
from watchkeeper.model.errors import Conflict, WatchkeeperError


class NotFound(WatchkeeperError):
    """There is no such trouble, incident or device."""


def acknowledge(notifier: Notifier, number: int, person: str, now: float, note: str = "") -> Trouble:
    """Note that `person` works on the trouble. The person who did before is told. Raises NotFound or Conflict."""
    with notifier.store.write() as connection:
        known = _locked(notifier, connection, number)
        taken = troubles.save(connection, policy.acknowledge(known, person, now))
        before = known.acknowledged_by
        if before in (None, person):
            _say(connection, taken, TransitionKind.ACKNOWLEDGED, person, now, note)
        else:
            _say(connection, taken, TransitionKind.TAKEN_OVER, person, now, note)
            notifier.tell(connection, NoticeKind.TAKEN_OVER, taken, [before], now)
        return taken


def on_site(notifier: Notifier, number: int, person: str, now: float, note: str = "") -> Trouble:
    """Note that `person` is on site; nobody is asked for it any more. Said again, it changes nothing. Raises NotFound or
    Conflict."""
    with notifier.store.write() as connection:
        known = _locked(notifier, connection, number)
        if known.on_site_by == person:
            return known
        there = policy.on_site(known, person, now)
        if there.acknowledged_by is None:
            there = policy.acknowledge(there, person, now)
        _say(connection, there, TransitionKind.ON_SITE, person, now, note)
        return troubles.save(connection, there)


def escalate(notifier: Notifier, number: int, person: str, now: float, note: str = "", *, rung: str = "") -> Trouble:
    """Decide the next rung at once, or every rung up to `rung`; later ones keep their own times. A `rung` that is decided
    already changes nothing: the clock, or a second click, was faster. Raises NotFound, or Conflict after the last rung."""
    with notifier.store.write() as connection:
        known = _locked(notifier, connection, number)
        policy.must_be_open(known, "escalated")
        if known.quiet:  # nobody is paged for what is well
            raise Conflict(f"trouble {known.trouble}: none of its faults is there now; it is over once that has held")
        held = troubles.rungs_of(connection, [known.trouble], lock=True).get(known.trouble, [])
        steps = ladder.up_to(held, rung)
        if not steps and not rung:
            raise Conflict(f"trouble {known.trouble}: every rung of its ladder has been decided")
        if rung and rung not in {step.rung for step in held}:
            raise Conflict(
                f"trouble {known.trouble} has no rung `{rung}`; it has {', '.join(step.rung for step in held)}"
            )
        for step in steps:
            _say(
                connection, known, TransitionKind.ESCALATED, person, now, f"{step.rung}: {note}" if note else step.rung
            )
            decide(connection, notifier, known, step, now, f"person:{person}")
        return known


def hand_to_vendor(
    notifier: Notifier, number: int, person: str, now: float, note: str = "", *, ticket: str = ""
) -> Trouble:
    """Note that the maintenance vendor works on it, with the number of the vendor's ticket. Raises NotFound or Conflict."""
    with notifier.store.write() as connection:
        known = _locked(notifier, connection, number)
        policy.must_be_open(known, "handed to the vendor")
        _say(connection, known, TransitionKind.VENDOR, person, now, "; ".join(filter(None, (ticket, note))))
        return known


def resolve(
    notifier: Notifier, number: int, person: str, now: float, note: str = "", *, cause: str = "", cure: str = ""
) -> Trouble:
    """End the incidents of a trouble that no verdict can end any more, and note cause and cure. Raises NotFound, or Conflict
    while a verdict is bad."""
    said = "; ".join(filter(None, (cause, cure, note)))
    with notifier.store.write() as connection:
        known = _locked(notifier, connection, number)
        policy.must_be_open(known, "resolved by hand")
        changes = {}
        for one in rows.incidents_of(connection, [known.trouble], only_open=True):
            change = incidents.resolve_by_hand(one, person, now, said)
            changes[one.incident] = [replace(change, incident=rows.save(connection, change, now))]
        follow_up(connection, notifier, changes, now)
        if not changes:  # no fault is there now, and the person need not wait until that has held
            _say(connection, known, TransitionKind.RESOLVED, person, now, said)
        quiet = troubles.by_number(connection, [known.trouble])[known.trouble]
        finish(connection, notifier, quiet, TroubleState.RESOLVED, now, at_once=True)
        return troubles.by_number(connection, [known.trouble])[known.trouble]


def reopen(notifier: Notifier, number: int, person: str, now: float, note: str = "") -> Trouble:
    """A person says that it is not fixed: the ladder goes on until somebody resolves it. Raises NotFound or Conflict."""
    with notifier.store.write() as connection:
        known = _locked(notifier, connection, number)
        again = troubles.save(connection, policy.reopened(known, now))
        go_on(connection, notifier, again)
        _say(connection, again, TransitionKind.REOPENED, person, now, note)
        notifier.tell_return(connection, again, now)
        return again


def comment(
    notifier: Notifier, number: int, person: str, now: float, note: str = "", *, mention: Collection[str] = ()
) -> Trouble:
    """Add a comment to the timeline, also of a trouble that is over; the persons in `mention` get it as a message. Raises
    NotFound, or Conflict for an unknown person."""
    known_people = {one.person for one in notifier.snapshot.configuration.contacts.people}
    if unknown := sorted(set(mention) - known_people):
        raise Conflict(f"there is no person `{unknown[0]}` in contacts.yml")
    if not note:
        raise Conflict("a comment needs a text")
    with notifier.store.write() as connection:
        known = _locked(notifier, connection, number)
        _say(connection, known, TransitionKind.COMMENTED, person, now, note)
        notifier.tell(connection, NoticeKind.MENTIONED, known, mention, now, f"{notifier.name_of(person)}: {note}")
        return known


def poll_now(notifier: Notifier, device: str, person: str, now: float) -> None:
    """Ask the device's agent to read it at once; the answer to its next push carries the request. Raises NotFound."""
    known = notifier.snapshot.devices.get(device)
    if known is None:
        raise NotFound(f"there is no device `{device}`")
    row = {"agent": known.agent, "kind": "poll-now", "device": device, "by": person, "asked_at": now}
    same = sa.select(request.c.id).where(*(request.c[name] == row[name] for name in ("agent", "kind", "device", "by")))
    with notifier.store.write() as connection:
        if connection.execute(same.limit(1)).first() is None:  # the agent may be silent for days
            connection.execute(sa.insert(request), row)


def _locked(notifier: Notifier, connection: sa.Connection, number: int) -> Trouble:
    troubles.lock_all(notifier.store, connection)
    known = troubles.follow(connection, number, lock=True)
    if known is None:
        raise NotFound(f"there is no trouble {number}")
    return known


def _say(  # noqa: PLR0917 -- positional, as every action
    connection: sa.Connection, known: Trouble, kind: TransitionKind, person: str, now: float, note: str
) -> None:
    """Note what a person did in the timeline of the trouble."""
    cause = rows.incident_by_number(connection, known.cause)
    if cause is not None:
        rows.add_transitions(connection, [incidents.said(cause, kind, person, now, note)], now)
