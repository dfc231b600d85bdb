"""Deletes old rows: readings after the configured time, lanes and blocks after 60 days, tokens when they have expired,
collectors a week after they were stopped. Incidents, transitions, notices and receipts are never deleted."""

import sqlalchemy as sa

from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import block, collector, history, lane, latest, token

LANE_RETENTION_S = 60 * 86_400.0
STOPPED_KEPT_S = 7 * 86_400.0
_DELETE_BATCH_ROWS = 5_000
_FUTURE_LIMIT_S = 86_400.0


def delete_expired(store: Store, now: float, history_s: float) -> None:
    """Delete expired rows. `history_s` is how long readings are kept."""
    while _delete_readings(store, now, history_s):
        pass
    with store.write() as connection:
        connection.execute(sa.delete(token).where(token.c.expires_at < now))
        old = sa.select(lane.c.agent, lane.c.epoch).where(lane.c.heard_at < now - LANE_RETENTION_S)
        live = sa.select(latest.c.epoch)
        connection.execute(
            sa.delete(block).where(sa.tuple_(block.c.agent, block.c.epoch).in_(old), block.c.epoch.not_in(live))
        )
        connection.execute(sa.delete(lane).where(lane.c.heard_at < now - LANE_RETENTION_S))
        connection.execute(sa.delete(collector).where(collector.c.stopped_at < now - STOPPED_KEPT_S))


def _delete_readings(store: Store, now: float, history_s: float) -> int:
    """Delete the expired readings among the oldest rows, one batch in one transaction, so that no push waits long for
    the store. Readings more than a day in the future were written while the collector's clock was wrong: they are
    deleted too. Returns the number of deleted rows."""
    oldest = sa.select(history.c.id).order_by(history.c.id).limit(_DELETE_BATCH_ROWS).scalar_subquery()
    past = sa.or_(history.c.at < now - history_s, history.c.at > now + _FUTURE_LIMIT_S)
    with store.write() as connection:
        return connection.execute(sa.delete(history).where(history.c.id.in_(oldest), past)).rowcount
