"""Actions of persons on troubles and devices, each in one transaction. The caller has authenticated the person."""

from dataclasses import replace

import sqlalchemy as sa

from watchkeeper.collector.notify.enqueue import Notifier
from watchkeeper.collector.policy import incidents, ladder
from watchkeeper.collector.policy import troubles as policy
from watchkeeper.collector.policy.incidents import TransitionKind
from watchkeeper.collector.policy.troubles import Trouble, TroubleState
from watchkeeper.collector.process.troubles.follow_up import finish, follow_up
from watchkeeper.collector.store import rows, troubles
from watchkeeper.collector.store.schema import request
from watchkeeper.model.errors import Conflict, WatchkeeperError


class NotFound(WatchkeeperError):
    """There is no such trouble, incident or device."""


def acknowledge(notifier: Notifier, number: int, person: str, now: float, note: str = "") -> Trouble:
    """Note that `person` works on the trouble. Raises NotFound or Conflict."""
    with notifier.store.write() as connection:
        known = _locked(notifier, connection, number)
        taken = troubles.save(connection, policy.acknowledge(known, person, now))
        _say(connection, taken, TransitionKind.ACKNOWLEDGED, person, now, note)
        return taken


def resolve(notifier: Notifier, number: int, person: str, now: float, note: str = "") -> Trouble:
    """End the incidents of a trouble that no verdict can end any more. Raises NotFound, or Conflict while a verdict is bad."""
    with notifier.store.write() as connection:
        known = _locked(notifier, connection, number)
        policy.must_be_open(known, "resolved")
        changes = {}
        for one in rows.incidents_of(connection, [known.trouble], only_open=True):
            change = incidents.resolve_by_hand(one, person, now, note)
            changes[one.incident] = [replace(change, incident=rows.save(connection, change, now))]
        follow_up(connection, notifier, changes, now)
        if not changes:  # no fault is there now, and the person need not wait until that has held
            _say(connection, known, TransitionKind.RESOLVED, person, now, note)
        quiet = troubles.by_number(connection, [known.trouble])[known.trouble]
        finish(connection, notifier, quiet, TroubleState.RESOLVED, now, at_once=True)
        return troubles.by_number(connection, [known.trouble])[known.trouble]


def escalate(notifier: Notifier, number: int, person: str, now: float, note: str = "") -> Trouble:
    """Decide the next rung at once; later rungs keep their own times. Raises NotFound, or Conflict after the last
    rung and while no fault is there."""
    with notifier.store.write() as connection:
        known = _locked(notifier, connection, number)
        policy.must_be_open(known, "escalated")
        if known.quiet:  # nobody is paged for what is well
            raise Conflict(f"trouble {known.trouble}: none of its faults is there now; it is over once that has held")
        held = troubles.rungs_of(connection, [known.trouble], lock=True).get(known.trouble, [])
        step = ladder.upcoming(held)
        if step is None:
            raise Conflict(f"trouble {known.trouble}: every rung of its ladder has been decided")
        _say(connection, known, TransitionKind.ESCALATED, person, now, f"{step.rung}: {note}" if note else step.rung)
        if troubles.claim_rung(connection, known, step, now, f"person:{person}"):
            notifier.page(connection, known, step, now)
        return known


def poll_now(notifier: Notifier, device: str, person: str, now: float) -> None:
    """Ask the device's agent to read it at once; the answer to its next push carries the request. Raises NotFound."""
    known = notifier.snapshot.devices.get(device)
    if known is None:
        raise NotFound(f"there is no device `{device}`")
    row = {"agent": known.agent, "kind": "poll-now", "device": device, "by": person, "asked_at": now}
    with notifier.store.write() as connection:
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
