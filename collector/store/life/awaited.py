"""Agents that must send their standing verdicts before rungs of their older troubles are decided (`policy.hold`)."""

from collections.abc import Iterable

import sqlalchemy as sa

from watchkeeper.collector.policy.hold import AWAITED_S
from watchkeeper.collector.site.inventory import COLLECTOR
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import agent, awaited, outbox, trouble

HELD = "held"
"""The state of a message that a store which was set back holds as pending: it may have been sent long ago."""


def await_agents(store: Store, connection: sa.Connection, agents: Iterable[str], now: float) -> None:
    """Wait for the standing verdicts of these agents, from now on."""
    rows = [{"agent": name, "since": now, "until": now + AWAITED_S} for name in sorted(set(agents))]
    store.write_many(connection, awaited, rows, keep=())


def await_all(store: Store, connection: sa.Connection, now: float) -> None:
    """Wait for all agents, and for the collector's own rules; nobody is asked before whether he is on site."""
    known = connection.execute(sa.select(agent.c.agent)).scalars().all()
    await_agents(store, connection, [*known, COLLECTOR], now)
    soon = sa.and_(trouble.c.chase_at.is_not(None), trouble.c.chase_at < now + AWAITED_S)
    connection.execute(sa.update(trouble).where(soon), {"chase_at": now + AWAITED_S})


def has_come(connection: sa.Connection, agents: Iterable[str]) -> None:
    """The standing verdicts of these agents have been applied."""
    names = sorted(set(agents))
    if names:
        connection.execute(sa.delete(awaited).where(awaited.c.agent.in_(names)))


def awaited_agents(connection: sa.Connection, now: float) -> set[str]:
    """The agents whose standing verdicts have not come, and for which we still wait."""
    waiting = sa.and_(awaited.c.until > now, awaited.c.until <= now + AWAITED_S)
    return set(connection.execute(sa.select(awaited.c.agent).where(waiting)).scalars())


def any_held(connection: sa.Connection) -> bool:
    """Whether messages are held."""
    return connection.execute(sa.select(outbox.c.id).where(outbox.c.state == HELD).limit(1)).first() is not None
