"""The collector's working place: store, clock, tokens and the orders in force, for everybody who acts on them."""

import contextlib
import logging
from pathlib import Path

from watchkeeper.collector.access.tokens import Tokens
from watchkeeper.collector.notify.enqueue import Notifier
from watchkeeper.collector.process.follow_up import withdraw_gone
from watchkeeper.collector.site.snapshot import Snapshot, read_snapshot
from watchkeeper.collector.store.engine import Store
from watchkeeper.model.clock import Clock
from watchkeeper.model.errors import ConfigError, StoreError

log = logging.getLogger(__name__)

_Signature = tuple[tuple[str, int, int], ...]
"""Names, times (ns) and sizes of the files."""


class Runtime:
    """Hands out the desk. New orders are taken whole or not at all: `problem` then says why the old ones stand."""

    def __init__(self, store: Store, clock: Clock, snapshot: Snapshot, url: str = "") -> None:
        self.store = store
        self.clock = clock
        self.tokens = Tokens(store, clock)
        self.started_at = clock.wall()
        self.problem = ""
        self._notifier = Notifier(store, snapshot, url)

    def notifier(self) -> Notifier:
        """The desk with the orders of this moment."""
        return self._notifier

    @property
    def snapshot(self) -> Snapshot:
        """The orders in force."""
        return self._notifier.snapshot

    def adopt(self, snapshot: Snapshot) -> None:
        """Let these be the orders; incidents of what they no longer name are withdrawn."""
        notifier = Notifier(self.store, snapshot, self._notifier.url)
        with self.store.write() as connection:
            withdraw_gone(connection, notifier, self.clock.wall())
        self._notifier = notifier
        self.problem = ""


class ConfigReloader:
    """Watches the operator's folder, and gives the office its new orders when a file has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last = self._signature()
        self._seen: _Signature | None = self._last

    def read(self) -> Snapshot:
        """Read the orders. Raises ConfigError."""
        return read_snapshot(self._folder)

    def again(self) -> None:
        """Let the next look read everything, changed or not."""
        self._seen = None

    def refresh(self, runtime: Runtime) -> None:
        """Adopt what changed, once it has stood still from one look to the next: half a file may make sense. A mistake
        leaves the old orders in force, and is said once. Raises StoreError, and then the next look tries again."""
        signature, before = self._signature(), self._last
        self._last = signature
        if signature != self._seen and signature == before:
            self._seen = signature
            try:
                self._adopt(runtime)
            except StoreError:
                self._seen = None
                raise

    def _adopt(self, runtime: Runtime) -> None:
        try:
            runtime.adopt(self.read())
            log.info("new orders are in force from %s", self._folder)
        except ConfigError as error:
            runtime.problem = str(error)
            log.error("the books have problems; the orders of before stay in force:\n%s", error)  # noqa: TRY400 -- for the operator, who has no use for a traceback

    def _signature(self) -> _Signature:
        """What stands there. A file that vanishes meanwhile is not there."""
        found = []
        for part in ("[!.]*.yml", "rules/[!.]*.yml", "profiles/[!.]*.yml"):
            for file in self._folder.glob(part):
                with contextlib.suppress(OSError):
                    status = file.stat()
                    found.append((str(file), status.st_mtime_ns, status.st_size))
        return tuple(sorted(found))
