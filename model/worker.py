"""A thread that does one thing again and again: the collector's journal, ticker and outbox, the agent's pusher."""

import logging
import threading
from collections.abc import Callable

from watchkeeper.model.clock import Clock

log = logging.getLogger(__name__)


class Worker:
    """Calls `turn` from a daemon thread until it is stopped. `turn` returns the seconds to wait before the next turn; `wake`
    ends the wait. A turn that raises is logged, and comes again after `retry_s`. `beat_at` is when the thread last showed
    that it works (boot clock): after each turn, and wherever a long turn calls `beat`."""

    def __init__(self, name: str, turn: Callable[[], float], clock: Clock, *, retry_s: float = 1.0) -> None:
        self._name, self._turn, self._clock, self._retry_s = name, turn, clock, retry_s
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.stopping = False
        self.beat_at = clock.boot()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Let the next turn begin at once. Callable from any thread, also before `start`."""
        self._woken.set()

    def stop(self, timeout_s: float) -> None:
        """Begin no further turn, and wait so long for the one under way."""
        self.stopping = True
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def beat(self) -> float:
        """Show that the thread works. Returns the time on the boot clock."""
        self.beat_at = self._clock.boot()
        return self.beat_at

    def _run(self) -> None:
        while not self.stopping:
            try:
                wait_s = self._turn()
            except Exception:
                log.exception("%s: a turn failed; the next one is in %g s", self._name, self._retry_s)
                wait_s = self._retry_s
            self.beat()
            self._woken.wait(wait_s)
            self._woken.clear()
