"""Actions of persons on incidents and devices, each in one transaction. The caller has authenticated the person."""

from dataclasses import replace

import sqlalchemy as sa

from watchkeeper.collector.notify.enqueue import Notifier
from watchkeeper.collector.policy import incidents, ladder
from watchkeeper.collector.policy.incidents import Incident, IncidentChange
from watchkeeper.collector.process.follow_up import follow_up
from watchkeeper.collector.store import rows
from watchkeeper.collector.store.schema import request
from watchkeeper.model.errors import Conflict, WatchkeeperError


class NotFound(WatchkeeperError):
    """There is no such incident or device."""


def acknowledge(notifier: Notifier, number: int, person: str, now: float, note: str = "") -> Incident:
    """Note that `person` works on the incident. Raises NotFound or Conflict."""
    with notifier.store.write() as connection:
        change = incidents.acknowledge(_locked(connection, number), person, now, note)
        return _save(connection, notifier, change, now)


def resolve(notifier: Notifier, number: int, person: str, now: float, note: str = "") -> Incident:
    """End an incident that no verdict can end any more. Raises NotFound, or Conflict while its verdict is bad."""
    with notifier.store.write() as connection:
        change = incidents.resolve_by_hand(_locked(connection, number), person, now, note)
        return _save(connection, notifier, change, now)


def escalate(notifier: Notifier, number: int, person: str, now: float, note: str = "") -> Incident:
    """Decide the next rung at once; later rungs keep their own times. Raises NotFound, or Conflict after the last rung."""
    with notifier.store.write() as connection:
        known = _locked(connection, number)
        held = rows.rungs_of(connection, [number], lock=True).get((number, known.recurrence), [])
        step = ladder.upcoming(held)
        change = incidents.escalate(known, person, step.rung if step else "", now, note)
        if step is None:
            raise Conflict(f"incident {number}: every rung of its ladder has been decided")
        saved = rows.save(connection, change, now)
        if rows.claim_rung(connection, saved, step, now, f"person:{person}"):
            notifier.page(connection, saved, step, now)
        return saved


def poll_now(notifier: Notifier, device: str, person: str, now: float) -> None:
    """Ask the device's agent to read it at once; the answer to its next push carries the request. Raises NotFound."""
    known = notifier.snapshot.devices.get(device)
    if known is None:
        raise NotFound(f"there is no device `{device}`")
    row = {"agent": known.agent, "kind": "poll-now", "device": device, "by": person, "asked_at": now}
    with notifier.store.write() as connection:
        connection.execute(sa.insert(request), row)


def _locked(connection: sa.Connection, number: int) -> Incident:
    known = rows.incident_by_number(connection, number, lock=True)
    if known is None:
        raise NotFound(f"there is no incident {number}")
    return known


def _save(connection: sa.Connection, notifier: Notifier, change: IncidentChange, now: float) -> Incident:
    saved = rows.save(connection, change, now)
    follow_up(connection, notifier, saved, [replace(change, incident=saved)], now)
    return saved
