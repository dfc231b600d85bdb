"""The collector's own watch: rungs decided when they are due, silence and disk judged, orders and requests refreshed.

One thread. `wake` decides rungs at once, because a first rung is due the moment its incident is opened; however often
it comes, everything else has its turn twice a second.
"""

import logging
from collections.abc import Callable

from watchkeeper.collector.intake.requests import Requests
from watchkeeper.collector.notify.outbox import Outbox
from watchkeeper.collector.process.due import catch_up, decide_due
from watchkeeper.collector.process.own_rules import Judge
from watchkeeper.collector.process.runtime import ConfigReloader, Runtime
from watchkeeper.model.errors import StoreError
from watchkeeper.model.worker import Worker

log = logging.getLogger(__name__)
_BEAT_S = 0.5


class Ticker:
    """Turns twice a second. A part that fails is logged and does not stop the others."""

    def __init__(
        self, runtime: Runtime, reloader: ConfigReloader, judge: Judge, requests: Requests, outbox: Outbox
    ) -> None:
        self._runtime = runtime
        self._outbox = outbox
        self._parts: tuple[Callable[[], object], ...] = (
            lambda: reloader.refresh(runtime),
            judge.look,
            requests.refresh,
            lambda: catch_up(runtime.notifier(), runtime.clock.wall()),
            self.decide,
        )
        self._turn_at = runtime.clock.boot()
        self.worker = Worker("ticker", self._next, runtime.clock)

    def start(self) -> None:
        """Begin."""
        self.worker.start()

    def stop(self) -> None:
        """End after the present turn."""
        self.worker.stop(5)

    def wake(self) -> None:
        """Something was applied: rungs may be due."""
        self.worker.wake()

    def decide(self) -> None:
        """Decide every rung that is due, and let the outbox know."""
        decided = 0
        while found := decide_due(self._runtime.notifier(), self._runtime.clock.wall()):
            decided += found
            self.worker.beat()  # many faults at once take their time
        if decided:
            self._outbox.wake()

    def turn(self) -> None:
        """Do every part once."""
        for part in self._parts:
            _guarded(part)
        self._outbox.wake()

    def _next(self) -> float:
        """A whole turn when one is due; woken before that, only the rungs."""
        clock = self._runtime.clock
        if clock.boot() < self._turn_at:
            _guarded(self.decide)
            self._outbox.wake()
        else:
            self.turn()
            self._turn_at = clock.boot() + _BEAT_S
        return max(0.0, self._turn_at - clock.boot())


def _guarded(part: Callable[[], object]) -> None:
    try:
        part()
    except StoreError as error:
        log.warning("the watch waits for the store: %s", error)
    except Exception:
        log.exception("a part of the collector's watch failed; it is tried again within a second")
