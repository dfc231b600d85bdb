"""Whether an agent exceeds its limits: it floods the collector, declares more than it may, or reports too many faults of one device."""

from collections.abc import Callable, Iterator, Mapping

import sqlalchemy as sa

from watchkeeper.collector.process.apply import LEFT_OUT
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import tally
from watchkeeper.model.reading import Series, Value

REPORTED_AGAIN_S = 900.0
"""An agent reports its whole set of faults every ten minutes: then those beyond the limit are counted again."""


class LimitsKept:
    """`exceeded` tells which limit of its pushes an agent exceeded a short time ago."""

    def __init__(self, store: Store, exceeded: Callable[[str], str]) -> None:
        self._store, self._exceeded = store, exceeded
        self._counts: Mapping[str, int] | None = None
        self._grown_at: dict[str, float] = {}

    def series(self, snapshot: Snapshot) -> Iterator[Series]:
        """One for each agent."""
        return (_series(name) for name in snapshot.agents)

    def values(self, snapshot: Snapshot, boot: float) -> dict[Series, Value]:
        """`ok` or `exceeded`. Raises StoreError."""
        self._count(boot)
        return {_series(name): "exceeded" if self._exceeds(name, boot) else "ok" for name in snapshot.agents}

    def _exceeds(self, name: str, boot: float) -> bool:
        return bool(self._exceeded(name)) or boot - self._grown_at.get(name, float("-inf")) < REPORTED_AGAIN_S

    def _count(self, boot: float) -> None:
        query = sa.select(tally.c.name, tally.c.count).where(tally.c.name.startswith(LEFT_OUT, autoescape=True))
        with self._store.read() as connection:
            counts = {name.removeprefix(LEFT_OUT): count for name, count in connection.execute(query).all()}
        for name, count in counts.items():
            if self._counts is not None and count != self._counts.get(name, 0):
                self._grown_at[name] = boot
        self._counts = counts


def _series(name: str) -> Series:
    return Series(name, "agent.limits")
