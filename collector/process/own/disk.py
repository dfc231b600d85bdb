"""Whether the collector's disk is full."""

import shutil

from watchkeeper.collector.site.inventory import COLLECTOR
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store.engine import Store
from watchkeeper.model.reading import Series, Value

_DISK = Series(COLLECTOR, "collector.disk", source="disk_usage")


class DiskSpace:
    """`full`: the disk of an embedded store had less free space than `reserve_bytes` at the last look. The rest is for incidents
    and pages. `short`: less than twice as much."""

    def __init__(self, store: Store, reserve_bytes: int) -> None:
        self._store, self.reserve_bytes = store, reserve_bytes
        self.full = self.short = False

    def series(self, _snapshot: Snapshot) -> tuple[Series, ...]:
        """The one series."""
        return (_DISK,)

    def values(self, _snapshot: Snapshot, _boot: float) -> dict[Series, Value]:
        """Look at the disk."""
        folder = self._store.folder
        free = shutil.disk_usage(folder).free if folder is not None else None
        self.full = free is not None and free < self.reserve_bytes
        self.short = free is not None and free < 2 * self.reserve_bytes
        return {_DISK: "full" if self.full else "ok"}
