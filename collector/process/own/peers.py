"""Whether the other collectors on the same store are at work."""

from collections.abc import Iterator
from typing import NamedTuple

from watchkeeper.collector.process.own.of_agents.heard import AWAY_S
from watchkeeper.collector.site.inventory import COLLECTOR
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.peers import PeerCollector, peers
from watchkeeper.model.reading import Series, Value

SILENT_AFTER_S = 60.0
"""A collector writes its beat every five seconds. A restart takes less than this."""


class _Beat(NamedTuple):
    """The last beat of a collector as stored, and when this collector first saw it (boot clock)."""

    process: str
    beat_at: float
    seen_at: float
    fresh: bool


class PeersHeard:
    """Goes by the boot clock and by whether a beat changes: neither this collector's wall clock nor the other's matters. After a
    start no collector is judged before it was heard, or had its time to be."""

    def __init__(self, store: Store, own_name: str) -> None:
        self._store, self._own_name = store, own_name
        self._beats: dict[str, _Beat] = {}
        self._looked_at = float("-inf")
        self.working: tuple[str, ...] = ()
        """The other collectors that are at work, as far as this one knows."""

    def series(self, _snapshot: Snapshot) -> Iterator[Series]:
        """One for each collector that the store knows. Raises StoreError."""
        return (_heard(one.name) for one in self._known())

    def values(self, _snapshot: Snapshot, boot: float) -> dict[Series, Value]:
        """`yes`, `no`, or `stopped` for one that was stopped in order. Raises StoreError."""
        known = self._known()
        before, self._looked_at = ({} if boot - self._looked_at > AWAY_S else self._beats), boot
        self._beats = {one.name: _beat(one, before.get(one.name), boot) for one in known}
        found: dict[Series, Value] = {}
        for one in known:
            state = self._state(one, self._beats[one.name], boot)
            if state:
                found[_heard(one.name)] = state
        own = _heard(self._own_name)
        self.working = tuple(one.instance for one, state in found.items() if state == "yes" and one != own)
        return found

    def _state(self, one: PeerCollector, beat: _Beat, boot: float) -> str:
        if one.name == self._own_name:
            return "yes"
        if (
            one.stopped_at is not None or self._store.embedded
        ):  # an embedded store has one collector; its name may have changed
            return "stopped"
        if boot - beat.seen_at > SILENT_AFTER_S:
            return "no"
        return "yes" if beat.fresh else ""

    def _known(self) -> list[PeerCollector]:
        with self._store.read() as connection:
            return peers(connection)


def _heard(name: str) -> Series:
    return Series(COLLECTOR, "collector.heard", name)


def _beat(one: PeerCollector, before: _Beat | None, boot: float) -> _Beat:
    if before and (before.process, before.beat_at) == (one.process, one.beat_at):
        return before
    return _Beat(one.process, one.beat_at, boot, fresh=before is not None)
