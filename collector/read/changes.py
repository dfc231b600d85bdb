"""Whether an open page is out of date. Read only."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from watchkeeper.collector.store.schema import agent, latest, outbox, receipt, transition, trouble


@dataclass(frozen=True, slots=True)
class Signature:
    """Differs from an earlier signature if an open page is out of date."""

    incidents: tuple[Any, ...]
    readings: tuple[Any, ...]


def signature(connection: sa.Connection) -> Signature:
    """The current signature. It costs a few index look-ups."""
    columns = (transition.c.id, outbox.c.id, receipt.c.id, trouble.c.trouble)
    newest = (sa.select(sa.func.max(column)).scalar_subquery() for column in columns)
    incidents = connection.execute(sa.select(*newest)).one()
    heard = sa.select(sa.func.max(agent.c.heard_at)).scalar_subquery()
    read = sa.select(sa.func.max(latest.c.at)).scalar_subquery()
    return Signature(tuple(incidents), tuple(connection.execute(sa.select(heard, read)).one()))
