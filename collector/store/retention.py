"""Deletes old rows: readings after the configured time; lanes, and pushes that a person has dropped, after 60 days; blocks that no
frame is under any more; tests of channels after a month; tokens when they have expired; collectors a week after they were stopped.
Incidents, transitions, and what was said about them are never deleted; of the failed tries of a message the first and the newest
are kept (`notify/delivery/claims.py`)."""

from collections.abc import Collection, Iterator

import sqlalchemy as sa

from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import (
    block,
    collector,
    history,
    journal,
    lane,
    latest,
    outbox,
    receipt,
    sign_in,
    token,
)

LANE_RETENTION_S = 60 * 86_400.0
STOPPED_KEPT_S = 7 * 86_400.0
EPOCHS_OF_AGENT = 50
"""The newest epochs of an agent whose lanes are kept. An agent of ours begins one when its spool is lost."""

TEST_RETENTION_S = 30 * 86_400.0

BLOCKS_OF_DEVICE = 8
"""As many blocks of a device in a living epoch stay, however long they are unused. More are looked at one by one."""

IDLE_S = 3600.0
"""A block that is found unused is deleted so long afterwards. Meanwhile every collector forgets it (`intake/sequences.py`), so that
an agent which uses it again is asked to declare it."""

_DEAD_AFTER_S = 86_400.0
_IN_JOURNAL_S = 600.0
_DELETE_BATCH_ROWS = 5_000
_FUTURE_LIMIT_S = 86_400.0


def delete_expired(store: Store, now: float, history_s: float) -> None:
    """Delete expired rows. `history_s` is how long readings are kept."""
    while _delete_readings(store, now, history_s):
        pass
    with store.write(long=True) as connection:
        connection.execute(sa.delete(journal).where(journal.c.dropped_at < now - LANE_RETENTION_S))
        connection.execute(sa.delete(token).where(token.c.expires_at < now))
        connection.execute(sa.delete(sign_in).where(sign_in.c.asked_at < now - LANE_RETENTION_S))
        connection.execute(sa.delete(lane).where(lane.c.heard_at < now - LANE_RETENTION_S))
        connection.execute(sa.delete(collector).where(collector.c.stopped_at < now - STOPPED_KEPT_S))
        _delete_old_epochs(connection)
    with store.read() as connection:
        waiting = sa.select(journal.c.agent).where(journal.c.received_at < now - _IN_JOURNAL_S)
        needed = set(connection.execute(waiting.distinct()).scalars())  # by their pushes in the journal
    _delete_dead_blocks(store, now - history_s - _DEAD_AFTER_S, needed)
    _delete_unused_blocks(store, now, needed)
    while _delete_tests(store, now):
        pass


def _delete_readings(store: Store, now: float, history_s: float) -> int:
    """Delete the expired readings among the oldest rows, one batch in one transaction, so that no push waits long for
    the store. Readings more than a day in the future were written while the collector's clock was wrong: they are
    deleted too. Returns the number of deleted rows."""
    oldest = sa.select(history.c.id).order_by(history.c.id).limit(_DELETE_BATCH_ROWS).scalar_subquery()
    past = sa.or_(history.c.at < now - history_s, history.c.at > now + _FUTURE_LIMIT_S)
    with store.write() as connection:
        return connection.execute(sa.delete(history).where(history.c.id.in_(oldest), past)).rowcount


def _delete_old_epochs(connection: sa.Connection) -> None:
    """Delete the lanes of all but the newest epochs of an agent that begins many."""
    counted = sa.select(lane.c.agent).group_by(lane.c.agent).having(sa.func.count() > 2 * EPOCHS_OF_AGENT)
    for name in connection.execute(counted).scalars().all():
        heard = sa.func.max(lane.c.heard_at).desc()
        newest = sa.select(lane.c.epoch).where(lane.c.agent == name).group_by(lane.c.epoch).order_by(heard)
        kept = connection.execute(newest.limit(EPOCHS_OF_AGENT)).scalars().all()
        connection.execute(sa.delete(lane).where(lane.c.agent == name, lane.c.epoch.not_in(kept)))


# ---- blocks ----

_NEWEST = (
    sa.exists()
    .where(latest.c.device == block.c.device, latest.c.probe == block.c.probe)
    .where(latest.c.agent == block.c.agent, latest.c.epoch == block.c.epoch, latest.c.block == block.c.block)
)
"""The newest frame of the block's device is under it."""


def _delete_dead_blocks(store: Store, since: float, needed: Collection[str]) -> None:
    """Delete the blocks of epochs that were last heard before `since`: no reading is as old. One transaction for each epoch."""
    heard = sa.exists().where(lane.c.agent == block.c.agent, lane.c.epoch == block.c.epoch, lane.c.heard_at >= since)
    with store.read() as connection:
        dead = connection.execute(sa.select(block.c.agent, block.c.epoch).where(~heard).distinct()).all()
    for who, epoch in dead:
        if who in needed:
            continue
        mine = sa.delete(block).where(block.c.agent == who, block.c.epoch == epoch, ~_NEWEST)
        with store.write() as connection:
            connection.execute(mine.where(~heard))


def _delete_unused_blocks(store: Store, now: float, needed: Collection[str]) -> None:
    """Of each device with many blocks in one epoch: note those that no frame is under, and delete those noted long before."""
    columns = (block.c.agent, block.c.epoch, block.c.device)
    many = sa.select(*columns).group_by(*columns).having(sa.func.count() > BLOCKS_OF_DEVICE)
    with store.read() as connection:
        crowded = connection.execute(many).all()
    for who, epoch, device in crowded:
        if who in needed:
            continue
        with store.read() as connection:
            idle, old, used = _sorted_out(connection, (who, epoch, device), now)
        mine = sa.and_(block.c.agent == who, block.c.epoch == epoch)
        for numbers, statement in (
            (old, sa.delete(block)),
            (idle, sa.update(block).values(idle_at=now)),
            (used, sa.update(block).values(idle_at=None)),
        ):
            for part in _parts(numbers):
                with store.write() as connection:
                    connection.execute(statement.where(mine, block.c.block.in_(part)))


def _sorted_out(
    connection: sa.Connection, where: tuple[str, str, str], now: float
) -> tuple[list[int], list[int], list[int]]:
    """The blocks of a device in an epoch: those found unused now, those found unused long ago, and those in use again."""
    who, epoch, device = where
    frames = sa.select(history.c.block).where(
        history.c.device == device, history.c.agent == who, history.c.epoch == epoch
    )
    in_use = set(connection.execute(frames.distinct()).scalars())
    query = sa.select(block.c.block, block.c.idle_at, _NEWEST.label("newest")).where(
        block.c.agent == who, block.c.epoch == epoch, block.c.device == device
    )
    rows = connection.execute(query.order_by(block.c.block.desc())).all()
    in_use |= {row.block for place, row in enumerate(rows) if row.newest or place < BLOCKS_OF_DEVICE}
    unused = [row for row in rows if row.block not in in_use]
    idle = [row.block for row in unused if row.idle_at is None or row.idle_at > now]
    old = [row.block for row in unused if row.idle_at is not None and row.idle_at <= now - IDLE_S]
    return idle, old, [row.block for row in rows if row.block in in_use and row.idle_at is not None]


def _parts(numbers: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(numbers), 500):
        yield numbers[start : start + 500]


# ---- tests of channels ----


def _delete_tests(store: Store, now: float) -> int:
    """Delete old tests of channels with their receipts, one batch in one transaction. The newest of each channel stays. Returns how
    many were deleted."""
    tests = outbox.c.about == "test"
    newest = sa.select(sa.func.max(outbox.c.id)).where(tests).group_by(outbox.c.person, outbox.c.about_id)
    old = sa.select(outbox.c.id).where(tests, outbox.c.state != "pending", outbox.c.created_at < now - TEST_RETENTION_S)
    with store.write() as connection:
        ids = connection.execute(old.where(outbox.c.id.not_in(newest)).limit(500)).scalars().all()
        connection.execute(sa.delete(receipt).where(receipt.c.outbox.in_(ids)))
        connection.execute(sa.delete(outbox).where(outbox.c.id.in_(ids)))
    return len(ids)
