"""The collector's working place: store, clock, tokens and the orders in force, for everybody who acts on them."""

import contextlib
import logging
from pathlib import Path

from watchkeeper.collector.access.tokens import Tokens
from watchkeeper.collector.notify.enqueue import Desk
from watchkeeper.collector.process.apply import withdraw_gone
from watchkeeper.collector.site.snapshot import Orders, read_orders
from watchkeeper.collector.store.engine import Store
from watchkeeper.model.clock import Clock
from watchkeeper.model.errors import ConfigError, StoreError

log = logging.getLogger(__name__)

_Signature = tuple[tuple[str, int, int], ...]
"""Names, times (ns) and sizes of the files."""


class Office:
    """Hands out the desk. New orders are taken whole or not at all: `problem` then says why the old ones stand."""

    def __init__(self, store: Store, clock: Clock, orders: Orders, url: str = "") -> None:
        self.store = store
        self.clock = clock
        self.tokens = Tokens(store, clock)
        self.started_at = clock.wall()
        self.problem = ""
        self._desk = Desk(store, orders, url)

    def desk(self) -> Desk:
        """The desk with the orders of this moment."""
        return self._desk

    @property
    def orders(self) -> Orders:
        """The orders in force."""
        return self._desk.orders

    def adopt(self, orders: Orders) -> None:
        """Let these be the orders; incidents of what they no longer name are withdrawn."""
        desk = Desk(self.store, orders, self._desk.url)
        with self.store.write() as connection:
            withdraw_gone(connection, desk, self.clock.wall())
        self._desk = desk
        self.problem = ""


class Books:
    """Watches the operator's folder, and gives the office its new orders when a file has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last = self._signature()
        self._seen: _Signature | None = self._last

    def read(self) -> Orders:
        """Read the orders. Raises ConfigError."""
        return read_orders(self._folder)

    def again(self) -> None:
        """Let the next look read everything, changed or not."""
        self._seen = None

    def refresh(self, office: Office) -> None:
        """Adopt what changed, once it has stood still from one look to the next: half a file may make sense. A mistake
        leaves the old orders in force, and is said once. Raises StoreError, and then the next look tries again."""
        signature, before = self._signature(), self._last
        self._last = signature
        if signature != self._seen and signature == before:
            self._seen = signature
            try:
                self._adopt(office)
            except StoreError:
                self._seen = None
                raise

    def _adopt(self, office: Office) -> None:
        try:
            office.adopt(self.read())
            log.info("new orders are in force from %s", self._folder)
        except ConfigError as error:
            office.problem = str(error)
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
