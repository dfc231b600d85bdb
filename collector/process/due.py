"""Decides the rungs that are due: each once, with its notices in the same transaction. Ends the troubles that are over."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from watchkeeper.collector.notify.enqueue import Notifier
from watchkeeper.collector.notify.message.draft import Lead
from watchkeeper.collector.policy import troubles as policy
from watchkeeper.collector.policy.hold import Facts, held
from watchkeeper.collector.policy.ladder import ScheduledRung, stopping_levels
from watchkeeper.collector.policy.troubles import FLAPPING_RECOVERED_AFTER_S, RECOVERED_AFTER_S, Trouble, TroubleState
from watchkeeper.collector.process.troubles.follow_up import finish
from watchkeeper.collector.site.inventory import Ladders
from watchkeeper.collector.store import troubles
from watchkeeper.collector.store.schema import agent, awaited, rung, trouble
from watchkeeper.model.failpoint import failpoint

DECIDED_AT_ONCE = 200


def decide_due(notifier: Notifier, now: float) -> int:
    """Decide up to DECIDED_AT_ONCE rungs that are due at `now` and not held, oldest first. Returns how many were found: call
    again until it is 0."""
    store, ladders = notifier.store, notifier.snapshot.configuration.ladders
    with store.read() as connection:
        if not due_rungs(connection, ladders, now, most=1):
            return 0
    with store.write() as connection:
        found = due_rungs(connection, ladders, now, lock=True)
        about = {row.trouble: troubles.trouble_from_row(row) for row in found}
        leads = notifier.leads(connection, about.values(), now)
        for row in found:
            step = ScheduledRung(row.rung, row.number, row.ladder, row.due_at)
            # A second rung of the trouble gathers anew: the first one has notified people.
            decide(connection, notifier, about[row.trouble], step, now, "clock", leads.pop(row.trouble, None))
        failpoint("collector.rung.before-commit")
    failpoint("collector.rung.committed")
    return len(found)


def decide(  # noqa: PLR0917 -- connection and notifier come first in every function of this folder
    connection: sa.Connection,
    notifier: Notifier,
    known: Trouble,
    step: ScheduledRung,
    now: float,
    by: str,
    lead: Lead | None = None,
) -> bool:
    """Decide one rung, and page its people. False if somebody else has decided it. `lead` is what its messages tell, if that was
    gathered already."""
    if not troubles.claim_rung(connection, known, step, now, by):
        return False
    notifier.page(connection, known, step, now, lead)
    if notifier.wants_on_site(known, step):
        troubles.set_chase(connection, policy.chased(known, now))
    return True


def chase(notifier: Notifier, now: float) -> int:
    """Ask again the people who must be on site. Returns how many troubles were looked at."""
    with notifier.store.read() as connection:
        if connection.execute(_CHASED.limit(1), {"now": now}).first() is None:
            return 0
    with notifier.store.write() as connection:
        troubles.lock_all(notifier.store, connection)
        found = connection.execute(_CHASED.limit(DECIDED_AT_ONCE).with_for_update(), {"now": now}).all()
        for row in found:
            known = troubles.trouble_from_row(row)
            notifier.chase(connection, known, now)
            troubles.set_chase(connection, policy.chased(known, now))
    return len(found)


def due_rungs(
    connection: sa.Connection, ladders: Ladders, now: float, *, most: int = DECIDED_AT_ONCE, lock: bool = False
) -> "Sequence[sa.Row[Any]]":
    """Undecided rungs that are due at `now` and not held, each with its trouble, oldest first. With `lock`, nobody else
    decides them before our transaction ends; those that somebody else has locked are left out."""
    asked = {"now": now, "stopping_levels": sorted(stopping_levels(ladders)), "most": most}
    return connection.execute(_DUE_LOCKED if lock else _DUE, asked).all()


def end_quiet(notifier: Notifier, now: float) -> int:
    """End the troubles whose faults have stayed away, and tell people. Returns how many ended."""
    with notifier.store.read() as connection:
        if connection.execute(_QUIET.limit(1), {"now": now}).first() is None:
            return 0
    with notifier.store.write() as connection:
        troubles.lock_all(notifier.store, connection)
        found = [row.trouble for row in connection.execute(_QUIET.limit(DECIDED_AT_ONCE), {"now": now})]
        known = troubles.by_number(connection, found, lock=True)
        standing = troubles.standing_of(connection, found)
        for number, one in known.items():
            resolved = standing[number].resolved if number in standing else 1
            finish(connection, notifier, one, TroubleState.RESOLVED if resolved else TroubleState.WITHDRAWN, now)
    return len(known)


def _quiet() -> "sa.Select[tuple[int]]":
    now = sa.bindparam("now", type_=sa.Double)
    stay = sa.case((trouble.c.recurrence == 1, RECOVERED_AFTER_S), else_=FLAPPING_RECOVERED_AFTER_S)
    return (
        sa.select(trouble.c.trouble)
        .where(trouble.c.state == TroubleState.OPEN.value, trouble.c.quiet_since.is_not(None))
        .where(trouble.c.quiet_since <= now - stay)
        .order_by(trouble.c.quiet_since)
    )


_QUIET = _quiet()
_CHASED = sa.select(trouble).where(
    trouble.c.chase_at <= sa.bindparam("now", type_=sa.Double),
    trouble.c.state == TroubleState.OPEN.value,
    trouble.c.quiet_since.is_(None),
)

_COLUMNS = Facts(
    ended=trouble.c.state != TroubleState.OPEN.value,
    quiet_since=sa.func.coalesce(trouble.c.quiet_since, 0.0),
    acknowledged_at=sa.func.coalesce(trouble.c.acknowledged_at, 0.0),
    stops_at_acknowledged=trouble.c.level.in_(sa.bindparam("stopping_levels", expanding=True)),
    backlog_since=sa.func.coalesce(agent.c.backlog_since, 0.0),
    backlog_until=sa.func.coalesce(agent.c.backlog_until, 0.0),
    wait_until=trouble.c.wait_until,
    opened_at=trouble.c.opened_at,
    awaited_since=sa.func.coalesce(awaited.c.since, 0.0),
    awaited_until=sa.func.coalesce(awaited.c.until, 0.0),
)


def _due() -> "sa.Select[Any]":
    now = sa.bindparam("now", type_=sa.Double)
    joined = rung.join(trouble, rung.c.trouble == trouble.c.trouble).outerjoin(agent, agent.c.agent == trouble.c.agent)
    joined = joined.outerjoin(awaited, awaited.c.agent == trouble.c.agent)
    steps = (rung.c.rung, rung.c.number, rung.c.ladder, rung.c.due_at)
    return (
        sa.select(trouble, *steps)
        .select_from(joined)
        .where(rung.c.decided_at.is_(None), rung.c.due_at <= now, ~held(_COLUMNS, now))
        .order_by(rung.c.due_at, rung.c.number)
        .limit(sa.bindparam("most", type_=sa.Integer))
    )


# Built once: building takes longer than executing, and it is executed after every group of pushes.
_DUE = _due()
_DUE_LOCKED = _DUE.with_for_update(of=rung, skip_locked=True)
