"""The collectors that share the store: which there are, and when each was last at work."""

import secrets
from dataclasses import dataclass, field

import sqlalchemy as sa

from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import collector

BEAT_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class CollectorIdentity:
    """Which collector this is: its name, the same after a restart, and its process, which is new with every start."""

    name: str = "collector"
    process: str = field(default_factory=lambda: secrets.token_hex(8))


@dataclass(frozen=True, slots=True)
class PeerCollector:
    """A collector as the store knows it. Times are UTC seconds."""

    name: str
    process: str
    started_at: float
    beat_at: float
    release: str


def enter(store: Store, own: CollectorIdentity, release: str, now: float) -> None:
    """Enter this process as the collector of its name. Raises StoreError."""
    row = {"name": own.name, "process": own.process, "started_at": now, "beat_at": now, "release": release}
    with store.write() as connection:
        store.write_many(connection, collector, [row], keep=())


def beat(store: Store, own: CollectorIdentity, now: float) -> bool:
    """Note that this collector is at work. False if another process has entered under its name. Raises StoreError."""
    mine = (collector.c.name == own.name) & (collector.c.process == own.process)
    with store.write() as connection:
        return connection.execute(sa.update(collector).where(mine), {"beat_at": now}).rowcount == 1


def peers(connection: sa.Connection) -> list[PeerCollector]:
    """All collectors that the store knows, by name."""
    rows = connection.execute(sa.select(collector).order_by(collector.c.name))
    return [PeerCollector(row.name, row.process, row.started_at, row.beat_at, row.release) for row in rows]
