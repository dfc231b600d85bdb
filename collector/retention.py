"""What is kept for how long: readings as configured, what agents and persons did for 60 days and more."""

import sqlalchemy as sa

from collector.store.engine import Store
from collector.store.schema import block, history, lane, latest, token

LANES_S = 60 * 86_400.0


def forget_old(store: Store, now: float, history_s: float) -> None:
    """Delete what is older than it is kept for. Incidents, transitions and receipts are kept for good."""
    with store.write() as connection:
        connection.execute(sa.delete(history).where(history.c.at < now - history_s))
        connection.execute(sa.delete(token).where(token.c.expires_at < now))
        old = sa.select(lane.c.agent, lane.c.epoch).where(lane.c.heard_at < now - LANES_S)
        live = sa.select(latest.c.epoch)
        connection.execute(
            sa.delete(block).where(sa.tuple_(block.c.agent, block.c.epoch).in_(old), block.c.epoch.not_in(live))
        )
        connection.execute(sa.delete(lane).where(lane.c.heard_at < now - LANES_S))
