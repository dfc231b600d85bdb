"""Loads what grouping compares a new incident with: the incidents of troubles that are not over."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from watchkeeper.collector.policy.grouping import SAME_PLACE_S, Candidates, Fault
from watchkeeper.collector.policy.incidents import Incident, IncidentState, TransitionKind
from watchkeeper.collector.policy.troubles import Trouble, TroubleState
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store.schema import incident, transition, trouble

_NAMES_PER_QUERY = 500


def fault_of(one: Incident, snapshot: Snapshot) -> Fault:
    """The incident as grouping sees it."""
    return Fault(
        one.incident, one.device, one.rule, one.evidence.quantity, _place(one.device, snapshot), one.began_at,
        one.trouble, one.open, one.explained_by,
    )  # fmt: skip


def load(
    connection: sa.Connection, snapshot: Snapshot, new: Sequence[Incident], *, also_themselves: bool = False
) -> Candidates:
    """The incidents that the new ones may belong to."""
    chain = snapshot.dependencies
    devices = {one.device for one in new}
    devices |= {name for one in devices for name in (*chain.ancestors(one), *chain.dependants(one))}
    first, last = min(one.began_at for one in new), max(one.began_at for one in new)
    same_rule = sa.and_(
        incident.c.rule.in_({one.rule for one in new}),
        incident.c.began_at.between(first - SAME_PLACE_S, last + SAME_PLACE_S),
    )
    numbers = set() if also_themselves else {one.incident for one in new}
    found = Candidates(chain)
    seen: set[int] = set()
    names = sorted(devices)
    parts = [
        incident.c.device.in_(names[start : start + _NAMES_PER_QUERY])
        for start in range(0, len(names), _NAMES_PER_QUERY)
    ]
    for where in (*parts, same_rule):
        for row in connection.execute(_QUERY.where(where)):
            if row.incident not in seen and row.incident not in numbers:
                seen.add(row.incident)
                found.add(_fault(row, snapshot))
    return found


_QUERY = (
    sa.select(
        incident.c.incident,
        incident.c.device,
        incident.c.rule,
        incident.c.began_at,
        incident.c.trouble,
        incident.c.state,
        incident.c.explained_by,
    )
    .join(trouble, trouble.c.trouble == incident.c.trouble)
    .where(trouble.c.state == TroubleState.OPEN.value)
    .order_by(incident.c.incident)
)


def _fault(row: Any, snapshot: Snapshot) -> Fault:
    rule = snapshot.rules.named(row.rule)
    return Fault(
        row.incident, row.device, row.rule, rule.quantity if rule else "", _place(row.device, snapshot), row.began_at,
        row.trouble, row.state == IncidentState.OPEN.value, row.explained_by,
    )  # fmt: skip


def _place(name: str, snapshot: Snapshot) -> str:
    """The location of a device; its agent, if it has none."""
    device = snapshot.device(name)
    if device is None:
        return ""
    return device.location or (device.agent if name in snapshot.devices else "")


def with_cause(connection: sa.Connection, known: Trouble) -> Trouble:
    """The trouble with its probable cause: the present one while it is open; then an open one that explains others; then the
    oldest open one; then, if none is open, the present one, or the oldest where that has become part of another trouble."""
    rows = connection.execute(_MEMBERS, {"trouble": known.trouble}).all()
    present = next((row for row in rows if row.incident == known.cause), None)
    open_ones = [row for row in rows if row.state == IncidentState.OPEN.value]
    if not rows or (present is not None and (present in open_ones or not open_ones)):
        return known
    explaining = {row.explained_by for row in open_ones}
    found = next((row for row in open_ones if row.incident in explaining), (open_ones or rows)[0])
    return replace(known, cause=found.incident, agent=found.agent)


_MEMBERS = (
    sa.select(incident.c.incident, incident.c.state, incident.c.explained_by, incident.c.agent)
    .where(incident.c.trouble == sa.bindparam("trouble"))
    .order_by(incident.c.began_at, incident.c.incident)
)


def rose_at(connection: sa.Connection, known: Trouble) -> float:
    """When the trouble became critical: the latest time at which one of its open incidents did."""
    query = (
        sa.select(sa.func.max(transition.c.at))
        .join(incident, incident.c.incident == transition.c.incident)
        .where(
            incident.c.trouble == known.trouble,
            incident.c.state == IncidentState.OPEN.value,
            transition.c.kind.in_([TransitionKind.OPENED, TransitionKind.REOPENED, TransitionKind.RISEN]),
            transition.c.level == known.level.value,
        )
    )
    return float(connection.execute(query).scalar() or known.began_at)
