"""Moves the times that are still awaited when the collectors' time is set. So nothing becomes due earlier or later because a clock
was wrong: a rung that was due in seven minutes is due in seven minutes."""

import sqlalchemy as sa

from watchkeeper.collector.store.schema import (
    agent,
    incident,
    journal,
    lane,
    latest,
    outbox,
    rung,
    sign_in,
    token,
    trouble,
)

_OPEN_TROUBLE = trouble.c.state == "open"
_COLUMNS: "tuple[tuple[sa.Column[float | None], sa.ColumnElement[bool]], ...]" = (
    *(
        (trouble.c[name], _OPEN_TROUBLE)
        for name in ("opened_at", "began_at", "quiet_since", "wait_until", "acknowledged_at", "on_site_at", "chase_at")
    ),
    (incident.c.began_at, incident.c.state == "open"),
    *((outbox.c[name], outbox.c.state == "pending") for name in ("created_at", "next_at", "expires_at")),
    (outbox.c.prove_by, outbox.c.prove_by.is_not(None)),
    *((agent.c[name], sa.true()) for name in ("heard_at", "backlog_since", "backlog_until")),
    (lane.c.heard_at, sa.true()),
    (latest.c.at, sa.true()),
    (journal.c.received_at, sa.true()),
    (sign_in.c.asked_at, sign_in.c.used_at.is_(None)),
)


def move_pending(connection: sa.Connection, seconds: float, since: float) -> None:
    """Add `seconds` to every pending time that is later than `since`."""
    lately = sa.select(trouble.c.trouble).where(_OPEN_TROUBLE, trouble.c.began_at > since)
    moved = sa.update(rung).where(rung.c.decided_at.is_(None), rung.c.trouble.in_(lately))
    connection.execute(moved.values(due_at=rung.c.due_at + seconds))
    minted = sa.update(token).where(token.c.created_at > since)
    connection.execute(minted.values(created_at=token.c.created_at + seconds, expires_at=token.c.expires_at + seconds))
    for column, pending in _COLUMNS:
        later = sa.update(column.table).where(pending, column > since)
        connection.execute(later.values({column.name: column + seconds}))


def hasten_lost(connection: sa.Connection, now: float, longest_s: float) -> int:
    """Make the rungs due that were written while a clock was years ahead: they are due later than any ladder takes, of troubles
    that begin in the future. Returns how many there were."""
    ahead = sa.exists().where(trouble.c.trouble == rung.c.trouble, trouble.c.began_at > now + 3600.0)
    lost = (rung.c.decided_at.is_(None), rung.c.due_at > now + longest_s, ahead)
    return connection.execute(sa.update(rung).where(*lost), {"due_at": now}).rowcount
