"""Whether there is a good backup that is new enough."""

from collections.abc import Callable

from watchkeeper.collector.site.inventory import COLLECTOR
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store.backups.plan import BackupState
from watchkeeper.model.reading import Series, Value


class BackupAge:
    """What the collector `name` knows of its scheduled backups. It only repeats what their own thread has found, because a folder
    may not answer."""

    def __init__(self, name: str, state: Callable[[], BackupState | None]) -> None:
        self._series, self._state = Series(COLLECTOR, "collector.backup", name), state

    def series(self, _snapshot: Snapshot) -> tuple[Series, ...]:
        """The one series."""
        return (self._series,)

    def values(self, _snapshot: Snapshot, _boot: float) -> dict[Series, Value]:
        """`ok`, `late` or `none`; no value until the folder was read."""
        state = self._state()
        return {} if state is None else {self._series: state.value}
