"""A thread that repeats one task: the collector's journal, ticker and outbox, the agent's pusher."""

import logging
import threading
from collections.abc import Callable

from watchkeeper.model.clock import Clock
from watchkeeper.model.errors import WatchkeeperError

log = logging.getLogger(__name__)


class Worker:
    """Calls `turn` from a daemon thread until `stop`. `turn` returns the seconds to wait before the next call; `wake`
    ends the wait. If it raises, the error is logged and the next call follows after `retry_s`. `beat_at` is the last
    sign of life (boot clock): after each turn, and where a long turn calls `beat`. `done_at` is the end of the last turn that
    did not raise."""

    def __init__(self, name: str, turn: Callable[[], float], clock: Clock, *, retry_s: float = 1.0) -> None:
        self._name, self._turn, self._clock, self._retry_s = name, turn, clock, retry_s
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.stopping = False
        self.beat_at = self.done_at = clock.boot()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Start the next turn at once. May be called from any thread, also before `start`."""
        self._woken.set()

    def stop(self, timeout_s: float) -> None:
        """Start no further turn, and wait up to `timeout_s` for the present one."""
        self.stopping = True
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def beat(self) -> float:
        """Give a sign of life. Returns the time on the boot clock."""
        self.beat_at = self._clock.boot()
        return self.beat_at

    def _run(self) -> None:
        while not self.stopping:
            try:
                wait_s = self._turn()
                self.done_at = self._clock.boot()
            except WatchkeeperError as error:  # the database is away, say: a sentence says it all
                log.error("%s: a turn failed (%s); the next one is in %g s", self._name, error, self._retry_s)  # noqa: TRY400 -- as said
                wait_s = self._retry_s
            except Exception:
                log.exception("%s: a turn failed; the next one is in %g s", self._name, self._retry_s)
                wait_s = self._retry_s
            self.beat()
            self._woken.wait(wait_s)
            self._woken.clear()
