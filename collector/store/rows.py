"""Reads and writes incidents and their transitions as rows."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from watchkeeper.collector.policy.grouping import Joined, Membership
from watchkeeper.collector.policy.incidents import Incident, IncidentChange, IncidentState, Transition, TransitionKind
from watchkeeper.collector.store.schema import incident, transition
from watchkeeper.model.plain import printable
from watchkeeper.model.verdict import Evidence, Key, Level
from watchkeeper.model.wire import decode_evidence, encode_evidence

_KEYS_PER_QUERY = 200
_KEY = (incident.c.device, incident.c.rule, incident.c.instance)


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
        recurrence=row.recurrence, began_at=row.began_at, ended_at=row.ended_at, evidence=evidence_from_json(row.evidence),
        trouble=row.trouble, joined=Joined(row.joined), explained_by=row.explained_by,
    )  # fmt: skip


def _values(one: Incident) -> dict[str, Any]:
    return {
        "device": one.device, "rule": one.rule, "instance": one.instance, "agent": one.agent, "state": one.state.value,
        "level": one.level.value, "verdict": one.verdict.value, "verdict_id": one.verdict_id,
        "recurrence": one.recurrence, "began_at": one.began_at, "ended_at": one.ended_at,
        "evidence": evidence_to_json(one.evidence), "trouble": one.trouble, "joined": one.joined.value,
        "explained_by": one.explained_by,
    }  # fmt: skip


def lock_latest_incidents(connection: sa.Connection, keys: Iterable[Key]) -> dict[Key, Incident]:
    """The newest incident of each key, open or not. Keys that never had an incident are absent. The rows are locked
    until the transaction ends."""
    found: dict[Key, Incident] = {}
    wanted = set(keys)
    ordered = sorted(wanted)
    for start in range(0, len(ordered), _KEYS_PER_QUERY):
        part = ordered[start : start + _KEYS_PER_QUERY]
        # Columns one by one, and more keys than wanted: SQLite searches no index for a list of tuples.
        newest = (
            sa.select(sa.func.max(incident.c.incident).label("newest"), *_KEY)
            .where(incident.c.device.in_({key[0] for key in part}), incident.c.rule.in_({key[1] for key in part}))
            .group_by(*_KEY)
        )
        numbers = [row.newest for row in connection.execute(newest) if (row.device, row.rule, row.instance) in wanted]
        query = sa.select(incident).where(incident.c.incident.in_(numbers)).order_by(incident.c.incident)
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
    now = save_incident(connection, change.incident)
    add_transitions(connection, [replace(change, incident=now)], recorded_at)
    return now


def save_incident(connection: sa.Connection, now: Incident) -> Incident:
    """Write an incident without transitions. Returns it with its number."""
    if now.incident:
        connection.execute(sa.update(incident).where(incident.c.incident == now.incident), _values(now))
    else:
        added = sa.insert(incident).returning(incident.c.incident)
        now = replace(now, incident=int(connection.execute(added, _values(now)).scalar_one()))
    return now


def add_transitions(connection: sa.Connection, changes: Iterable[IncidentChange], recorded_at: float) -> None:
    """Write the new transitions alone."""
    rows = [row for change in changes for row in _transition_rows(change, recorded_at)]
    if rows:
        connection.execute(sa.insert(transition), rows)


def _transition_rows(change: IncidentChange, recorded_at: float) -> list[dict[str, Any]]:
    now = change.incident
    if not change.transitions:
        return []
    evidence = evidence_to_json(now.evidence)
    return [
        {
            "incident": now.incident, "recurrence": now.recurrence, "kind": step.kind.value, "at": step.at,
            "recorded_at": recorded_at, "by": step.by, "level": step.level.value, "note": printable(step.note),
            "evidence": evidence,
        }
        for step in change.transitions
    ]  # fmt: skip


def transitions_of(
    connection: sa.Connection, number: int, most: int | None = None, before: float | None = None
) -> list[tuple[Transition, float]]:
    """The transitions of an incident, oldest first, each with the time when it was recorded: all, or the newest of those that
    happened before a time."""
    query = sa.select(transition).where(transition.c.incident == number)
    if before is not None:
        query = query.where(transition.c.at < before)
    found = connection.execute(query.order_by(transition.c.id.desc()).limit(most)).all()
    return [
        (Transition(TransitionKind(row.kind), row.at, row.by, Level(row.level), row.note), row.recorded_at)
        for row in reversed(found)
    ]


def told_transitions(
    connection: sa.Connection, troubles: Collection[int], leads: Collection[int]
) -> list[tuple[int, int, Transition]]:
    """What persons did about these troubles, and the bad verdicts of the incidents in `leads`, as (trouble, incident,
    transition), oldest first."""
    persons = [
        TransitionKind.ACKNOWLEDGED, TransitionKind.TAKEN_OVER, TransitionKind.ESCALATED, TransitionKind.ON_SITE,
        TransitionKind.VENDOR, TransitionKind.RESOLVED,
    ]  # fmt: skip
    verdicts = [TransitionKind.OPENED, TransitionKind.REOPENED, TransitionKind.RISEN, TransitionKind.EASED]
    wanted = sa.or_(
        sa.and_(transition.c.kind.in_([kind.value for kind in persons]), transition.c.by.startswith("person:")),
        sa.and_(transition.c.kind.in_([kind.value for kind in verdicts]), incident.c.incident.in_(list(leads))),
    )
    columns = (transition.c.kind, transition.c.at, transition.c.by, transition.c.level, transition.c.note)
    query = (
        sa.select(incident.c.trouble, incident.c.incident, *columns)
        .join(incident, incident.c.incident == transition.c.incident)
        .where(incident.c.trouble.in_(list(troubles)), wanted)
        .order_by(transition.c.id)
    )
    return [
        (row.trouble, row.incident, Transition(TransitionKind(row.kind), row.at, row.by, Level(row.level), row.note))
        for row in connection.execute(query)
    ]


def incidents_of(connection: sa.Connection, troubles: Iterable[int], *, only_open: bool = False) -> list[Incident]:
    """The incidents of these troubles, oldest first."""
    query = sa.select(incident).where(incident.c.trouble.in_(list(troubles))).order_by(incident.c.incident)
    if only_open:
        query = query.where(incident.c.state == IncidentState.OPEN.value)
    return [incident_from_row(row) for row in connection.execute(query)]


def incidents_by_number(connection: sa.Connection, numbers: Iterable[int]) -> dict[int, Incident]:
    """The incidents of these numbers."""
    query = sa.select(incident).where(incident.c.incident.in_(list(numbers)))
    return {row.incident: incident_from_row(row) for row in connection.execute(query)}


def set_memberships(connection: sa.Connection, memberships: Mapping[int, Membership]) -> None:
    """Note which trouble each incident is part of, and why."""
    if not memberships:
        return
    statement = (
        sa.update(incident)
        .where(incident.c.incident == sa.bindparam("number"))
        .values(trouble=sa.bindparam("of"), joined=sa.bindparam("why"), explained_by=sa.bindparam("cause"))
    )
    rows = [
        {"number": number, "of": one.trouble, "why": one.joined.value, "cause": one.explained_by}
        for number, one in memberships.items()
    ]
    connection.execute(statement, rows)
