"""Whether the time is in doubt, and whether the wall clock of this collector's machine is right."""

from watchkeeper.collector.policy.clocks import Doubt
from watchkeeper.collector.process.guarded_clock import state_of
from watchkeeper.collector.site.inventory import COLLECTOR
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.model.clock import Clock
from watchkeeper.model.reading import Series, Value


class ClockTrust:
    """`doubt`: nothing is decided now; `wrong`: the wall clock of the machine, or the database's clock, differs by more than a minute
    from the collectors' time."""

    def __init__(self, clock: Clock, name: str) -> None:
        self._clock = clock
        self._series = Series(COLLECTOR, "collector.clock", name, source="CLOCK_BOOTTIME")

    def series(self, _snapshot: Snapshot) -> tuple[Series, ...]:
        """The one series of this collector."""
        return (self._series,)

    def values(self, _snapshot: Snapshot, _boot: float) -> dict[Series, Value]:
        """How it is now; not known for the seconds after a start in which the first agents tell the time."""
        state = state_of(self._clock)
        if state.doubt is Doubt.START:
            return {}
        return {self._series: "doubt" if state.doubt else "wrong" if state.wrong else "ok"}
