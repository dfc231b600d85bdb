"""Whether the heartbeat is taken by its address outside, and how many tokens and sign-ins were refused lately."""

from watchkeeper.collector.access.refusals import Refusals
from watchkeeper.collector.process.health.heartbeat import Heartbeat
from watchkeeper.collector.site.inventory import COLLECTOR
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.model.reading import Series, Value

FAILS_AFTER_S = 600.0


class HeartbeatTaken:
    """The heartbeat of this collector. It fails when nothing was taken for ten minutes, or three beats."""

    def __init__(self, heartbeat: Heartbeat, own_name: str) -> None:
        self._heartbeat = heartbeat
        self._series = Series(COLLECTOR, "collector.heartbeat", own_name)

    def series(self, _snapshot: Snapshot) -> tuple[Series, ...]:
        """The one series."""
        return (self._series,)

    def values(self, _snapshot: Snapshot, boot: float) -> dict[Series, Value]:
        """Look at the last signal that was taken."""
        untaken_s = boot - self._heartbeat.taken_at
        failing = bool(self._heartbeat.wrong) and untaken_s > max(FAILS_AFTER_S, 3 * self._heartbeat.every_s)
        return {self._series: "failing" if failing else "ok"}


class RefusalsCounted:
    """How many tokens, links and signatures this collector has refused in the last five minutes."""

    def __init__(self, refusals: Refusals, own_name: str) -> None:
        self._refusals = refusals
        self._series = Series(COLLECTOR, "collector.refused", own_name)

    def series(self, _snapshot: Snapshot) -> tuple[Series, ...]:
        """The one series."""
        return (self._series,)

    def values(self, _snapshot: Snapshot, _boot: float) -> dict[Series, Value]:
        """Count them."""
        return {self._series: float(self._refusals.recent().total())}
