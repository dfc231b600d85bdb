"""Gives a fault that is still there after its cause has gone a trouble of its own, with a ladder from its own beginning."""

from collections.abc import Sequence

import sqlalchemy as sa

from watchkeeper.collector.notify.enqueue import Notifier
from watchkeeper.collector.policy.grouping import Fault, Joined, Membership
from watchkeeper.collector.policy.incidents import Incident, IncidentState
from watchkeeper.collector.policy.troubles import CHILD_STAYS_S
from watchkeeper.collector.process.troubles import candidates
from watchkeeper.collector.process.troubles.follow_up import begin_apart
from watchkeeper.collector.store import rows, troubles
from watchkeeper.collector.store.schema import incident

SEPARATED_AT_ONCE = 1000

_CAUSE = incident.alias("cause")
_LEFT = (
    sa.select(incident)
    .join(_CAUSE, _CAUSE.c.incident == incident.c.explained_by)
    .where(
        incident.c.explained_by != 0,
        incident.c.state == IncidentState.OPEN.value,
        _CAUSE.c.state != IncidentState.OPEN.value,
        _CAUSE.c.ended_at <= sa.bindparam("ended", type_=sa.Double),
    )
    .order_by(incident.c.began_at, incident.c.incident)
)


def separate(notifier: Notifier, now: float) -> int:
    """Find the open faults whose cause ended CHILD_STAYS_S ago. What another open fault explains stays with that; the others
    begin troubles of their own, one for each rule and place. Returns how many faults were found."""
    asked = {"ended": now - CHILD_STAYS_S}
    with notifier.store.read() as connection:
        if connection.execute(_LEFT.limit(1), asked).first() is None:
            return 0
    with notifier.store.write() as connection:
        troubles.lock_all(notifier.store, connection)
        found = [rows.incident_from_row(row) for row in connection.execute(_LEFT.limit(SEPARATED_AT_ONCE), asked)]
        begin_apart(connection, notifier, _by_explanation(connection, notifier, found), now)
    return len(found)


def _by_explanation(
    connection: sa.Connection, notifier: Notifier, left: Sequence[Incident]
) -> list[tuple[Membership | None, list[Incident]]]:
    """The faults that another one explains, each with its new membership; and the others in groups, without one."""
    snapshot = notifier.snapshot
    known = candidates.load(connection, snapshot, left, also_themselves=True)
    explained: list[tuple[Membership | None, list[Incident]]] = []
    apart: dict[tuple[str, str, int], list[Incident]] = {}
    for one in left:
        fault: Fault = candidates.fault_of(one, snapshot)
        cause = known.explanation(fault)
        if cause is not None:
            explained.append((Membership(cause.trouble, Joined.EXPLAINED, cause.incident), [one]))
        else:
            apart.setdefault((fault.rule, fault.place, one.trouble), []).append(one)
    return explained + [(None, group) for group in apart.values()]
