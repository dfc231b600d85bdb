"""The collectors that share the store: which there are, and when each was last at work."""

import secrets
from dataclasses import dataclass, field

import sqlalchemy as sa

from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import collector
from watchkeeper.model.errors import Conflict

BEAT_EVERY_S = 5.0
RUNS_S = 30.0
"""A collector whose last beat is younger than this is taken to run."""


@dataclass(frozen=True, slots=True)
class CollectorIdentity:
    """Which collector this is: its name, the same after a restart, and its process, which is new with every start."""

    name: str = "collector"
    process: str = field(default_factory=lambda: secrets.token_hex(8))


@dataclass(frozen=True, slots=True)
class PeerCollector:
    """A collector as the store knows it. Times are UTC seconds. `stopped_at`: it was stopped in order, or forgotten."""

    name: str
    process: str
    started_at: float
    beat_at: float
    release: str
    stopped_at: float | None = None


def enter(store: Store, own: CollectorIdentity, release: str, now: float) -> None:
    """Enter this process as the collector of its name. Raises StoreError."""
    row = {
        "name": own.name,
        "process": own.process,
        "started_at": now,
        "beat_at": now,
        "release": release,
        "stopped_at": None,
    }
    with store.write() as connection:
        store.write_many(connection, collector, [row], keep=())


def beat(store: Store, own: CollectorIdentity, now: float) -> bool:
    """Note that this collector is at work. False if another process has entered under its name. Raises StoreError."""
    mine = (collector.c.name == own.name) & (collector.c.process == own.process)
    with store.write() as connection:
        return connection.execute(sa.update(collector).where(mine), {"beat_at": now}).rowcount == 1


def leave(store: Store, own: CollectorIdentity, now: float) -> None:
    """Say goodbye: this collector is stopped in order. Raises StoreError."""
    mine = (collector.c.name == own.name) & (collector.c.process == own.process)
    with store.write() as connection:
        connection.execute(sa.update(collector).where(mine), {"stopped_at": now})


def forget(store: Store, name: str, now: float) -> bool:
    """Take a collector that is gone as stopped. False if the store has none of that name. Raises Conflict if it has beaten
    lately, StoreError."""
    same = collector.c.name == name
    with store.write() as connection:
        row = connection.execute(sa.select(collector).where(same)).first()
        if row is None:
            return False
        if row.stopped_at is None and abs(now - row.beat_at) < RUNS_S:
            raise Conflict(f"collector `{name}` is at work; stop it first")
        connection.execute(sa.update(collector).where(same), {"stopped_at": now})
    return True


def peers(connection: sa.Connection) -> list[PeerCollector]:
    """All collectors that the store knows, by name."""
    rows = connection.execute(sa.select(collector).order_by(collector.c.name))
    return [
        PeerCollector(row.name, row.process, row.started_at, row.beat_at, row.release, row.stopped_at) for row in rows
    ]
