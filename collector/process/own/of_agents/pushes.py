"""Whether pushes of an agent are set aside, because they could not be applied."""

from collections.abc import Iterator

from watchkeeper.collector.process.upkeep import set_aside
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store.engine import Store
from watchkeeper.model.reading import Series, Value

LOOK_EVERY_S = 5.0


class PushesSetAside:
    """`set-aside` while the journal has pushes of an agent that were set aside, else `ok`. All collectors of a store see the
    same."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._agents: frozenset[str] = frozenset()
        self._looked_at = float("-inf")

    def series(self, snapshot: Snapshot) -> Iterator[Series]:
        """One for each agent."""
        return (_series(name) for name in snapshot.agents)

    def values(self, snapshot: Snapshot, boot: float) -> dict[Series, Value]:
        """Of every agent. Reads the store every few seconds. Raises StoreError."""
        if boot - self._looked_at >= LOOK_EVERY_S:
            with self._store.read() as connection:
                self._agents = frozenset(set_aside.counted(connection))
            self._looked_at = boot
        return {_series(name): "set-aside" if name in self._agents else "ok" for name in snapshot.agents}


def _series(name: str) -> Series:
    return Series(name, "agent.pushes")
