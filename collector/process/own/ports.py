"""The interface of what the collector observes itself."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.model.reading import Series, Value


class OwnSource(Protocol):
    """Something that the collector observes itself. The device of its series is an agent, or `COLLECTOR`; `instance` is the
    collector's name where each of several collectors observes its own."""

    def series(self, snapshot: Snapshot) -> Iterable[Series]:
        """All series that it may give under this configuration."""

    def values(self, snapshot: Snapshot, boot: float) -> Mapping[Series, Value]:
        """The values at `boot` (seconds on the boot clock). A series that is left out is not judged now: its open incident
        stays open. Raises StoreError."""
