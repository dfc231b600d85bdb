"""Reads and writes incidents, transitions and rungs as rows."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from watchkeeper.collector.policy.incidents import Incident, IncidentChange, IncidentState, Transition, TransitionKind
from watchkeeper.collector.policy.ladder import ScheduledRung
from watchkeeper.collector.store.schema import incident, rung, transition
from watchkeeper.model.verdict import Evidence, Key, Level
from watchkeeper.model.wire import decode_evidence, encode_evidence

_KEYS_PER_QUERY = 200


def evidence_to_json(evidence: Evidence) -> str:
    """Evidence as JSON: the wire form, with `first_at` (UTC seconds) as the time of the first bad value. Its
    `first_age_s` is always 0."""
    body = encode_evidence(evidence, 0.0)
    if "first_age_s" in body:
        body["first_at"] = evidence.first_at
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def evidence_from_json(text: str) -> Evidence:
    """The inverse of `evidence_to_json`."""
    body = json.loads(text)
    body["first_age_s"] = 0.0
    return decode_evidence(body, body.get("first_at", 0.0))


def incident_from_row(row: sa.Row[Any]) -> Incident:
    """Make an incident from a row of the table `incident`."""
    return Incident(
        incident=row.incident, device=row.device, rule=row.rule, instance=row.instance, agent=row.agent,
        state=IncidentState(row.state), level=Level(row.level), verdict=Level(row.verdict), verdict_id=row.verdict_id,
        recurrence=row.recurrence, began_at=row.began_at, ended_at=row.ended_at, acknowledged_at=row.acknowledged_at,
        acknowledged_by=row.acknowledged_by, evidence=evidence_from_json(row.evidence),
    )  # fmt: skip


def _values(one: Incident) -> dict[str, Any]:
    return {
        "device": one.device, "rule": one.rule, "instance": one.instance, "agent": one.agent, "state": one.state.value,
        "level": one.level.value, "verdict": one.verdict.value, "verdict_id": one.verdict_id,
        "recurrence": one.recurrence, "began_at": one.began_at, "ended_at": one.ended_at,
        "acknowledged_at": one.acknowledged_at, "acknowledged_by": one.acknowledged_by,
        "evidence": evidence_to_json(one.evidence),
    }  # fmt: skip


def lock_latest_incidents(connection: sa.Connection, keys: Iterable[Key]) -> dict[Key, Incident]:
    """The newest incident of each key, open or not. Keys that never had an incident are absent. The rows are locked
    until the transaction ends."""
    found: dict[Key, Incident] = {}
    wanted = list(keys)
    for start in range(0, len(wanted), _KEYS_PER_QUERY):
        part = wanted[start : start + _KEYS_PER_QUERY]
        newest = (
            sa.select(sa.func.max(incident.c.incident))
            .where(sa.tuple_(incident.c.device, incident.c.rule, incident.c.instance).in_(part))
            .group_by(incident.c.device, incident.c.rule, incident.c.instance)
        )
        query = sa.select(incident).where(incident.c.incident.in_(newest)).order_by(incident.c.incident)
        for row in connection.execute(query.with_for_update()):
            one = incident_from_row(row)
            found[one.key] = one
    return found


def lock_open_incidents(connection: sa.Connection, agent: str | None = None) -> list[Incident]:
    """The open incidents of one agent or of all, oldest first. The rows are locked until the transaction ends."""
    query = sa.select(incident).where(incident.c.state == IncidentState.OPEN.value).order_by(incident.c.incident)
    if agent is not None:
        query = query.where(incident.c.agent == agent)
    return [incident_from_row(row) for row in connection.execute(query.with_for_update())]


def incident_by_number(connection: sa.Connection, number: int, *, lock: bool = False) -> Incident | None:
    """The incident of that number, or None. With `lock`, the row is locked until the transaction ends."""
    query = sa.select(incident).where(incident.c.incident == number)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return incident_from_row(row) if row else None


def save(connection: sa.Connection, change: IncidentChange, recorded_at: float) -> Incident:
    """Write an incident and its new transitions. Returns the incident with its number."""
    now = change.incident
    if now.incident:
        connection.execute(sa.update(incident).where(incident.c.incident == now.incident), _values(now))
        number = now.incident
    else:
        added = sa.insert(incident).returning(incident.c.incident)
        number = int(connection.execute(added, _values(now)).scalar_one())
    rows = [
        {
            "incident": number, "recurrence": now.recurrence, "kind": step.kind.value, "at": step.at,
            "recorded_at": recorded_at, "by": step.by, "level": step.level.value, "note": step.note,
            "evidence": evidence_to_json(now.evidence),
        }
        for step in change.transitions
    ]  # fmt: skip
    if rows:
        connection.execute(sa.insert(transition), rows)
    return now if now.incident else replace(now, incident=number)


def transitions_of(connection: sa.Connection, number: int) -> list[tuple[Transition, float]]:
    """The transitions of an incident, oldest first, each with the time when it was recorded."""
    query = sa.select(transition).where(transition.c.incident == number).order_by(transition.c.id)
    return [
        (Transition(TransitionKind(row.kind), row.at, row.by, Level(row.level), row.note), row.recorded_at)
        for row in connection.execute(query)
    ]


def present_transitions(connection: sa.Connection, incidents: Collection[Incident]) -> dict[int, list[Transition]]:
    """The transitions of these incidents by their number, oldest first: those of the present recurrence, and of earlier ones
    when they began and ended."""
    found: dict[int, list[Transition]] = {one.incident: [] for one in incidents}
    present = {one.incident: one.recurrence for one in incidents}
    always = {TransitionKind.OPENED.value, TransitionKind.REOPENED.value, TransitionKind.RESOLVED.value}
    columns = (transition.c.incident, transition.c.recurrence, transition.c.kind, transition.c.at, transition.c.by,
               transition.c.level, transition.c.note)  # fmt: skip
    query = sa.select(*columns).where(transition.c.incident.in_(list(found))).order_by(transition.c.id)
    for row in connection.execute(query):
        if row.kind in always or row.recurrence == present[row.incident]:
            found[row.incident].append(Transition(TransitionKind(row.kind), row.at, row.by, Level(row.level), row.note))
    return found


def rungs_of(
    connection: sa.Connection, numbers: Sequence[int], *, lock: bool = False
) -> dict[tuple[int, int], list[ScheduledRung]]:
    """The rungs of these incidents by (incident, recurrence), in the order of their numbers. With `lock`, the rows are
    locked until the transaction ends."""
    query = sa.select(rung).where(rung.c.incident.in_(numbers)).order_by(rung.c.number)
    query = query.with_for_update() if lock else query
    found: dict[tuple[int, int], list[ScheduledRung]] = {}
    for row in connection.execute(query):
        step = ScheduledRung(row.rung, row.number, row.ladder, row.due_at, row.decided_at, row.decided_by)
        found.setdefault((row.incident, row.recurrence), []).append(step)
    return found


def replace_undecided(connection: sa.Connection, now: Incident, steps: Iterable[ScheduledRung]) -> None:
    """Replace the undecided rungs of the incident by the undecided rungs in `steps`, under its current recurrence."""
    drop_undecided(connection, now)
    rows = [
        {
            "incident": now.incident, "recurrence": now.recurrence, "rung": step.rung, "number": step.number,
            "ladder": step.ladder, "due_at": step.due_at, "decided_at": None, "decided_by": None,
        }
        for step in steps
        if step.decided_at is None
    ]  # fmt: skip
    if rows:
        connection.execute(sa.insert(rung), rows)


def drop_undecided(connection: sa.Connection, now: Incident) -> None:
    """Delete the undecided rungs of the incident, of all recurrences."""
    connection.execute(sa.delete(rung).where(rung.c.incident == now.incident, rung.c.decided_at.is_(None)))


def claim_rung(connection: sa.Connection, now: Incident, step: ScheduledRung, at: float, by: str) -> bool:
    """Mark a rung as decided. Returns False if another transaction has already decided it."""
    query = sa.update(rung).where(
        rung.c.incident == now.incident,
        rung.c.recurrence == now.recurrence,
        rung.c.rung == step.rung,
        rung.c.decided_at.is_(None),
    )
    return connection.execute(query, {"decided_at": at, "decided_by": by}).rowcount == 1
