"""Decide the rungs that are due: each once, with its messages in the same transaction."""

import sqlalchemy as sa

from collector.ladder import Step
from collector.notices import Desk
from collector.store import rows
from collector.store.schema import agent, incident, rung
from model.failpoint import failpoint

_TURN = 200


def decide_due(desk: Desk, now: float) -> int:
    """Decide up to 200 rungs that are due at `now`, oldest first. Returns how many were found; call again while there
    are any. Incidents of an agent in the middle of a story wait for its end."""
    store = desk.store
    with store.read() as connection:
        if connection.execute(_due(now).limit(1)).first() is None:
            return 0
    with store.write() as connection:
        query = _due(now).limit(_TURN).with_for_update(of=rung, skip_locked=True)
        found = connection.execute(query).all()
        for row in found:
            step = Step(row.rung, row.number, row.ladder, row.due_at)
            known = rows.incident_of(row)
            if rows.claim_step(connection, known, step, now, "clock"):
                desk.page(connection, known, step, now)
        failpoint("collector.rung.before-commit")
    failpoint("collector.rung.committed")
    return len(found)


def _due(now: float) -> "sa.Select[sa.Row[tuple[object, ...]]]":
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
            sa.func.coalesce(agent.c.behind_until, 0.0) <= now,
        )
        .order_by(rung.c.due_at, rung.c.number)
    )
