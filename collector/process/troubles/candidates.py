"""Loads what grouping compares a new incident with: the incidents of troubles that are not over."""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
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
    found = Candidates(chain)
    seen = set() if also_themselves else {one.incident for one in new}
    names = sorted(
        {name for one in new for name in (one.device, *chain.ancestors(one.device), *chain.dependants(one.device))}
    )
    for start in range(0, len(names), _NAMES_PER_QUERY):
        for row in connection.execute(_QUERY.where(incident.c.device.in_(names[start : start + _NAMES_PER_QUERY]))):
            if row.incident not in seen:
                seen.add(row.incident)
                found.add(_fault(row, snapshot))
    for row in _same_rule_and_place(connection, snapshot, new, seen):
        found.add(_fault(row, snapshot))
    return found


def _same_rule_and_place(
    connection: sa.Connection, snapshot: Snapshot, new: Sequence[Incident], seen: Container[int]
) -> Iterator[Any]:
    """The failures of the same rules in the same places at the same time. Of those of one trouble that begin within
    2 * SAME_PLACE_S only the first and the last are needed: a fault at the time of one between them is at the time of one of
    these two."""
    first, last = min(one.began_at for one in new), max(one.began_at for one in new)
    wanted = {(one.rule, _place(one.device, snapshot)) for one in new}
    same_rule = sa.and_(
        incident.c.rule.in_({rule for rule, _ in wanted}),
        incident.c.began_at.between(first - SAME_PLACE_S, last + SAME_PLACE_S),
        incident.c.explained_by == 0,
    )
    kept: dict[tuple[str, str, int], list[Any]] = {}
    for row in connection.execute(
        _QUERY.where(same_rule).order_by(None).order_by(incident.c.rule, incident.c.began_at)
    ):
        place = _place(row.device, snapshot)
        if row.incident in seen or (row.rule, place) not in wanted:
            continue
        mine = kept.setdefault((row.rule, place, row.trouble), [])
        if len(mine) > 1 and row.began_at - mine[-2].began_at <= 2 * SAME_PLACE_S:
            mine.pop()
        mine.append(row)
    for mine in kept.values():
        yield from mine


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


def open_causes(connection: sa.Connection, known: Iterable[Trouble]) -> set[int]:
    """Those of the causes of these troubles that are open, and part of them."""
    of = {one.cause: one.trouble for one in known}
    query = sa.select(incident.c.incident, incident.c.trouble).where(
        incident.c.incident.in_(list(of)), incident.c.state == IncidentState.OPEN.value
    )
    return {row.incident for row in connection.execute(query) if of[row.incident] == row.trouble}


def with_cause(connection: sa.Connection, known: Trouble) -> Trouble:
    """The trouble with its probable cause: the present one while it is open; then an open one that explains others; then the
    oldest open one. If none is open: the one that explains the most of them, else the present one, or the oldest where that
    has become part of another trouble."""
    rows = connection.execute(_MEMBERS, {"trouble": known.trouble}).all()
    present = next((row for row in rows if row.incident == known.cause), None)
    open_ones = [row for row in rows if row.state == IncidentState.OPEN.value]
    if not rows or (present is not None and present in open_ones):
        return known
    if not open_ones:
        explained = Counter(row.explained_by for row in rows)
        root = max(rows, key=lambda row: explained[row.incident])  # the oldest of several
        chosen = root if explained[root.incident] or present is None else present
        return replace(known, cause=chosen.incident, agent=chosen.agent)
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
