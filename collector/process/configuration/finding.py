"""Whether this collector's folder is what is in force, as a reading for the collector's own rules."""

from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.site.inventory import COLLECTOR
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.model.reading import Series, Value


class FolderInForce:
    """One series, whose instance is the collector's name: each of several collectors has a folder."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        name = runtime.identity.name
        self._series = Series(COLLECTOR, "collector.configuration", name, name, source="folder")

    def series(self, _snapshot: Snapshot) -> tuple[Series, ...]:
        """The one series."""
        return (self._series,)

    def values(self, _snapshot: Snapshot, _boot: float) -> dict[Series, Value]:
        """How the folder compares with what is in force."""
        return {self._series: self._runtime.standing.value}
