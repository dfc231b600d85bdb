"""Decide the rungs that are due: each once, with its messages in the same transaction."""

import sqlalchemy as sa

from watchkeeper.collector.notify.enqueue import Notifier
from watchkeeper.collector.policy.ladder import Step
from watchkeeper.collector.process.apply import BEHIND_MOST_S, BEHIND_S
from watchkeeper.collector.store import rows
from watchkeeper.collector.store.schema import agent, incident, rung
from watchkeeper.model.failpoint import failpoint

_TURN = 200
_SLACK_S = 3600.0
"""By how much collectors that share a store may differ in time."""


def decide_due(notifier: Notifier, now: float) -> int:
    """Decide up to 200 rungs that are due at `now`, oldest first. Returns how many were found; call again while there
    are any. Incidents of an agent in the middle of a story wait for its end."""
    store = notifier.store
    with store.read() as connection:
        if connection.execute(_ANY_DUE, {"now": now}).first() is None:
            return 0
    with store.write() as connection:
        found = connection.execute(_DUE, {"now": now}).all()
        for row in found:
            step = Step(row.rung, row.number, row.ladder, row.due_at)
            known = rows.incident_of(row)
            if rows.claim_step(connection, known, step, now, "clock"):
                notifier.page(connection, known, step, now)
        failpoint("collector.rung.before-commit")
    failpoint("collector.rung.committed")
    return len(found)


def catch_up(notifier: Notifier, now: float) -> int:
    """A fault that begins in the future was heard of before our clock was set back. Those of its rungs that are due later
    than its ladder is long would wait for as long as the clock had been wrong: they are due now. Returns how many were."""
    longest = max(one.after_s for ladder in notifier.snapshot.configuration.ladders.ladders for one in ladder.rungs)
    ahead = sa.exists().where(incident.c.incident == rung.c.incident, incident.c.began_at > now + _SLACK_S)
    late = rung.c.due_at > now + longest + _SLACK_S
    lost = sa.and_(rung.c.decided_at.is_(None), late, ahead)
    with notifier.store.read() as connection:
        if connection.execute(sa.select(rung.c.rung).where(lost).limit(1)).first() is None:
            return 0
    with notifier.store.write() as connection:
        return connection.execute(sa.update(rung).where(lost), {"due_at": now}).rowcount


def _due() -> "sa.Select[sa.Row[tuple[object, ...]]]":
    now = sa.bindparam("now", type_=sa.Double)
    in_a_story = sa.and_(
        agent.c.behind_until > now, agent.c.behind_until <= now + BEHIND_S, agent.c.behind_since > now - BEHIND_MOST_S
    )
    joined = rung.join(incident, rung.c.incident == incident.c.incident).outerjoin(
        agent, agent.c.agent == incident.c.agent
    )
    steps = (rung.c.rung, rung.c.number, rung.c.ladder, rung.c.due_at)
    return (
        sa.select(incident, *steps)
        .select_from(joined)
        .where(
            rung.c.decided_at.is_(None),
            rung.c.due_at <= now,
            incident.c.state == "open",
            incident.c.round == rung.c.round,
            ~sa.func.coalesce(in_a_story, sa.false()),
        )
        .order_by(rung.c.due_at, rung.c.number)
    )


# Built once: that takes longer than asking, and is asked after every group of pushes.
_ANY_DUE = _due().limit(1)
_DUE = _due().limit(_TURN).with_for_update(of=rung, skip_locked=True)
