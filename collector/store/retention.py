"""What is kept for how long: readings as configured, what agents and persons did for 60 days and more."""

import sqlalchemy as sa

from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import block, history, lane, latest, token

LANES_S = 60 * 86_400.0
_AT_ONCE = 5_000
_FUTURE_S = 86_400.0


def delete_expired(store: Store, now: float, history_s: float) -> None:
    """Delete what is older than it is kept for. Incidents, transitions and receipts are kept for good."""
    while _forget_readings(store, now, history_s):
        pass
    with store.write() as connection:
        connection.execute(sa.delete(token).where(token.c.expires_at < now))
        old = sa.select(lane.c.agent, lane.c.epoch).where(lane.c.heard_at < now - LANES_S)
        live = sa.select(latest.c.epoch)
        connection.execute(
            sa.delete(block).where(sa.tuple_(block.c.agent, block.c.epoch).in_(old), block.c.epoch.not_in(live))
        )
        connection.execute(sa.delete(lane).where(lane.c.heard_at < now - LANES_S))


def _forget_readings(store: Store, now: float, history_s: float) -> int:
    """Some of those that came first, in a transaction of their own: nobody's push waits long for the store. What lies a
    day ahead was read by a wrong clock of ours."""
    oldest = sa.select(history.c.id).order_by(history.c.id).limit(_AT_ONCE).scalar_subquery()
    past = sa.or_(history.c.at < now - history_s, history.c.at > now + _FUTURE_S)
    with store.write() as connection:
        return connection.execute(sa.delete(history).where(history.c.id.in_(oldest), past)).rowcount
