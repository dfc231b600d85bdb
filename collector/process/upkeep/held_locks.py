"""Frees the locks of collectors that are gone. PostgreSQL's own limit for a silent client does not count while it expects more of
a message, and psycopg's pipeline leaves it in that state."""

import logging

from watchkeeper.collector.store.engine import Store
from watchkeeper.model.clock import Clock
from watchkeeper.model.errors import StoreError
from watchkeeper.model.worker import Worker

log = logging.getLogger(__name__)
FREE_EVERY_S = 3.0
_STOP_S = 5.0


class HeldLocks:
    """A thread of its own, because every other one may wait for such a lock. For an embedded store it does nothing."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._worker = Worker("held locks", self.look, clock, retry_s=FREE_EVERY_S)

    def start(self) -> None:
        """Start the thread."""
        if not self._store.embedded:
            self._worker.start()

    def stop(self) -> None:
        """Stop it."""
        self._worker.stop(_STOP_S)

    def look(self) -> float:
        """Look once. Returns the seconds until the next look."""
        try:
            if count := self._store.free_locks():
                log.warning(
                    "%d sessions of collectors that are gone had locks that others waited for; they are ended", count
                )
        except StoreError as error:
            log.warning("it is not known who has the locks of the store: %s", error)
        return FREE_EVERY_S
