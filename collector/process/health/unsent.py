"""Whether messages leave at all. If none does, only the heartbeat can tell it."""

import sqlalchemy as sa

from watchkeeper.collector.notify.notice import Urgency
from watchkeeper.collector.store.schema import outbox, receipt

UNSENT_AFTER_S = 600.0
SEEK_EVERY_S = 15.0
_RECENT_RECEIPTS = 200


def unsent(connection: sa.Connection, now: float) -> str:
    """Why no message leaves: a page has waited for ten minutes, and nothing was delivered since. Empty if messages leave."""
    waiting = sa.select(sa.func.min(outbox.c.created_at)).where(
        outbox.c.state == "pending", outbox.c.urgency < Urgency.NOTICE
    )
    oldest = connection.execute(waiting).scalar()
    if oldest is None or now - oldest < UNSENT_AFTER_S:
        return ""
    recent = sa.select(receipt.c.at, receipt.c.delivered).order_by(receipt.c.id.desc()).limit(_RECENT_RECEIPTS)
    if any(row.delivered and row.at > now - UNSENT_AFTER_S for row in connection.execute(recent)):
        return ""
    return f"no message could be delivered for {(now - oldest) / 60:.0f} min"
