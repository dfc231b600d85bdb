"""Moves the times that are still awaited when the collectors' time is set. So nothing becomes due earlier or later because a clock
was wrong: a rung that was due in seven minutes is due in seven minutes."""

from typing import Any

import sqlalchemy as sa

from watchkeeper.collector.store.life.awaited import HELD
from watchkeeper.collector.store.schema import (
    agent,
    awaited,
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
_STAMPS: "tuple[tuple[sa.Column[Any], sa.ColumnElement[bool]], ...]" = (
    *((trouble.c[name], _OPEN_TROUBLE) for name in ("quiet_since", "acknowledged_at", "on_site_at")),
    (lane.c.heard_at, sa.true()),
    (latest.c.at, sa.true()),
    (journal.c.received_at, sa.true()),
    (sign_in.c.asked_at, sign_in.c.used_at.is_(None)),
)
"""When something happened: each moves if it is later than the clock was found."""

_AWAITED: "tuple[tuple[sa.Column[Any], sa.ColumnElement[bool], tuple[str, ...]], ...]" = (
    (trouble.c.began_at, _OPEN_TROUBLE, ("opened_at", "wait_until", "chase_at")),
    (incident.c.began_at, incident.c.state == "open", ()),
    (outbox.c.created_at, sa.or_(outbox.c.state.in_(("pending", HELD)), outbox.c.prove_by.is_not(None)),
     ("next_at", "expires_at", "prove_by")),
    (agent.c.heard_at, sa.true(), ("backlog_since", "backlog_until")),
    (awaited.c.since, sa.true(), ("until",)),
    (token.c.created_at, sa.true(), ("expires_at",)),
)  # fmt: skip
"""When something began, and the deadlines that were counted from it: all of them move if that is later."""


def move_pending(connection: sa.Connection, seconds: float, since: float) -> None:
    """Add `seconds` to every pending time that was written after `since`."""
    lately = sa.select(trouble.c.trouble).where(_OPEN_TROUBLE, trouble.c.began_at > since)
    moved = sa.update(rung).where(rung.c.decided_at.is_(None), rung.c.trouble.in_(lately))
    connection.execute(moved.values(due_at=rung.c.due_at + seconds))
    for column, pending in _STAMPS:
        later = sa.update(column.table).where(pending, column > since)
        connection.execute(later.values({column.name: column + seconds}))
    for began, pending, deadlines in _AWAITED:
        table = began.table
        # 0.0 is no time (`wait_until`, `backlog_until`)
        values = {
            name: sa.case((table.c[name] > 0.0, table.c[name] + seconds), else_=table.c[name]) for name in deadlines
        }
        later = sa.update(table).where(pending, began > since)
        connection.execute(later.values({**values, began.name: began + seconds}))


def hasten_lost(connection: sa.Connection, now: float, longest_s: float) -> int:
    """Make the rungs due that were written while a clock was years ahead: they are due later than any ladder takes, of troubles
    that begin in the future. Returns how many there were."""
    ahead = sa.exists().where(trouble.c.trouble == rung.c.trouble, trouble.c.began_at > now + 3600.0)
    lost = (rung.c.decided_at.is_(None), rung.c.due_at > now + longest_s, ahead)
    return connection.execute(sa.update(rung).where(*lost), {"due_at": now}).rowcount
