"""The row of the collectors' common time, the database's own clock, and what else the store knows about the time."""

from dataclasses import asdict, dataclass

import sqlalchemy as sa

from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import agent, clock, collector, transition
from watchkeeper.model.clock import Clock

_ROW = "time"


@dataclass(frozen=True, slots=True)
class KeptTime:
    """The offset of the collectors' time: from the boot clock of this machine in the boot `boot_id`, or from the database's clock
    (`boot_id` is empty). Pending times later than `since` were written under this offset, and move when it is set. `sure`: other
    clocks have confirmed it. `settled_at`: when it was found, on the boot clock, or by the collectors' time with PostgreSQL. `steps` counts how often the time or the offset was set,
    `moved_s` is by how much the time was set in all."""

    boot_id: str
    offset_s: float
    since: float
    sure: bool
    settled_at: float
    steps: int = 0
    moved_s: float = 0.0


def read(connection: sa.Connection) -> KeptTime | None:
    """The row; None in a store that has none yet."""
    columns = [column for column in clock.columns if column is not clock.c.name]
    row = connection.execute(sa.select(*columns).where(clock.c.name == _ROW)).mappings().first()
    return None if row is None else KeptTime(**row)


def keep(store: Store, connection: sa.Connection, kept: KeptTime) -> None:
    """Write the row."""
    connection.execute(store.upsert(clock), {"name": _ROW, **asdict(kept)})


def first(store: Store, connection: sa.Connection, kept: KeptTime) -> KeptTime:
    """Write the row, unless there is one of a collector on the same clock; returns the row that is there then."""
    connection.execute(sa.delete(clock).where(clock.c.boot_id != kept.boot_id))  # restored from another kind of store
    connection.execute(store.insert_new(clock), {"name": _ROW, **asdict(kept)})
    return read(connection) or kept


def replace_step(connection: sa.Connection, kept: KeptTime) -> bool:
    """Write the row as the next step, unless another collector has set the time meanwhile. Returns whether it was written."""
    last = sa.update(clock).where(clock.c.name == _ROW, clock.c.steps == kept.steps - 1)
    return connection.execute(last, asdict(kept)).rowcount == 1


def seen_at(connection: sa.Connection) -> float | None:
    """The last time that the store has seen, by the collectors' time; None for an empty store."""
    newest = sa.select(transition.c.recorded_at).order_by(transition.c.id.desc()).limit(1).scalar_subquery()
    known = (sa.func.max(agent.c.heard_at), sa.func.max(collector.c.beat_at), newest)
    times = [connection.execute(sa.select(one)).scalar() for one in known]
    return max((one for one in times if one is not None), default=None)


def beats(connection: sa.Connection, name: str) -> list[float]:
    """The last signs of life of the other collectors."""
    return list(connection.execute(sa.select(collector.c.beat_at).where(collector.c.name != name)).scalars())


def skews(connection: sa.Connection) -> dict[str, float]:
    """What the clock of each agent was ahead of the collectors' time when it was heard last: of those heard in the last hour that
    the store has seen."""
    newest = sa.select(sa.func.max(agent.c.heard_at)).scalar_subquery()
    known = sa.select(agent.c.agent, agent.c.skew_s).where(agent.c.heard_at >= newest - 3600.0)
    return {row.agent: row.skew_s for row in connection.execute(known)}


def database_now(connection: sa.Connection) -> float:
    """The clock of a PostgreSQL server (UTC seconds); not the time at which the transaction began."""
    return float(connection.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())


def now(store: Store, machine: Clock, boot_id: str) -> float:
    """The collectors' time, for a command that looks once and ends. Raises StoreError."""
    with store.read() as connection:
        kept = read(connection)
        if store.embedded:
            return machine.boot() + kept.offset_s if kept and kept.boot_id == boot_id else machine.wall()
        return database_now(connection) + (kept.offset_s if kept else 0.0)
