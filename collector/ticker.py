"""The collector's background loop: reloads the configuration, judges its own rules, refreshes requests, decides due
rungs.

It is one thread. `wake` decides rungs at once, because a first rung is due as soon as its incident is opened. All other
tasks run twice a second, however often `wake` is called.
"""

import logging
from collections.abc import Callable

from watchkeeper.collector.intake.requests import Requests
from watchkeeper.collector.notify.enqueue import Notifier
from watchkeeper.collector.notify.outbox import Outbox
from watchkeeper.collector.process.configuration.reload import ConfigReloader
from watchkeeper.collector.process.due import chase, decide_due, end_quiet
from watchkeeper.collector.process.guarded_clock import state_of
from watchkeeper.collector.process.health.health import TURN, WRITE
from watchkeeper.collector.process.health.unsent import SEEK_EVERY_S, unsent
from watchkeeper.collector.process.own.rules import OwnRules
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.process.troubles.separate import separate
from watchkeeper.collector.process.upkeep.set_back import HeldMessages
from watchkeeper.collector.store.life.identity import beside, next_turn
from watchkeeper.collector.store.peers import BEAT_EVERY_S, beat
from watchkeeper.model.errors import StoreError
from watchkeeper.model.worker import Worker

log = logging.getLogger(__name__)
_INTERVAL_S = 0.5
_STOP_TIMEOUT_S = 5.0


class Ticker:
    """Runs its tasks twice a second. A task that fails is logged and does not stop the others."""

    def __init__(
        self, runtime: Runtime, reloader: ConfigReloader, own_rules: OwnRules, requests: Requests, outbox: Outbox
    ) -> None:
        self._runtime = runtime
        self._outbox = outbox
        held = HeldMessages(runtime.store)
        self._beside, self._mark_failed = beside(runtime.store), False
        self._tasks: tuple[Callable[[], object], ...] = (
            lambda: reloader.refresh(runtime),
            self._beat,
            self._seek_unsent,
            own_rules.look,
            requests.refresh,
            self._by_the_clock(lambda _, now: held.look(now)),
            self._by_the_clock(separate),
            self._by_the_clock(chase),
            self._by_the_clock(end_quiet),
            self.decide,
        )
        self._turn_at = self._beat_at = self._unsent_at = runtime.clock.boot()
        self.worker = Worker("ticker", self._next, runtime.clock)

    def start(self) -> None:
        """Start the thread."""
        self.worker.start()

    def stop(self) -> None:
        """Stop after the current turn."""
        self.worker.stop(_STOP_TIMEOUT_S)

    def wake(self) -> None:
        """Decide rungs now: a push was applied, and rungs may be due."""
        self.worker.wake()

    def decide(self) -> None:
        """Decide every rung that is due, and wake the outbox."""
        if state_of(self._runtime.clock).doubt:
            return
        decided = 0
        while found := decide_due(self._runtime.notifier(), self._runtime.clock.wall()):
            decided += found
            self.worker.beat()  # many faults at the same time take a while
            self._runtime.health.done(TURN)
        self._runtime.health.done(TURN)
        if decided:
            self._outbox.wake()

    def turn(self) -> None:
        """Run every task once."""
        for task in self._tasks:
            _guarded(task)
            self.worker.beat()  # each may wait for a database that does not answer
        self._outbox.wake()

    def _by_the_clock(self, task: Callable[[Notifier, float], object]) -> Callable[[], None]:
        """A task that decides by the time: not while that is in doubt."""
        runtime = self._runtime

        def decide() -> None:
            if not state_of(runtime.clock).doubt:
                task(runtime.notifier(), runtime.clock.wall())

        return decide

    def _beat(self) -> None:
        """Note in the store that this collector is at work."""
        clock, own = self._runtime.clock, self._runtime.identity
        if clock.boot() < self._beat_at:
            return
        if not beat(self._runtime.store, own, clock.wall()):
            log.error("another collector runs under the name `%s`; give each its own `name` in collector.yml", own.name)
        self._runtime.health.done(WRITE)
        self._beat_at = clock.boot() + BEAT_EVERY_S
        self._remember_turn()

    def _remember_turn(self) -> None:
        """Remember beside the store how far it is."""
        now = next_turn(self._runtime.store)
        try:
            if now is not None:
                self._beside.write_mark(now)
            self._mark_failed = False
        except OSError as error:
            if not self._mark_failed:
                log.error("%s: %s; a store that is set back may not be noticed", error.filename, error.strerror)  # noqa: TRY400 -- a sentence for the operator needs no traceback
            self._mark_failed = True

    def _seek_unsent(self) -> None:
        """Note whether messages leave."""
        clock = self._runtime.clock
        if clock.boot() >= self._unsent_at:
            with self._runtime.store.read() as connection:
                self._runtime.health.unsent = unsent(connection, clock.wall())
            self._unsent_at = clock.boot() + SEEK_EVERY_S

    def _next(self) -> float:
        """A full turn when it is due. Before that, only the rungs. Returns the seconds until the next full turn."""
        clock = self._runtime.clock
        if clock.boot() < self._turn_at:
            _guarded(self.decide)
            self._outbox.wake()
        else:
            self.turn()
            self._turn_at = clock.boot() + _INTERVAL_S
        return max(0.0, self._turn_at - clock.boot())


def _guarded(task: Callable[[], object]) -> None:
    try:
        task()
    except StoreError as error:
        log.warning("a background task waits for the store: %s", error)
    except Exception:
        log.exception("a background task failed; it is tried again within a second")
