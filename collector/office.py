"""The collector's working place: store, clock, tokens and the orders in force, for everybody who acts on them."""

import logging
from pathlib import Path

from collector.apply import withdraw_gone
from collector.notices import Desk
from collector.orders import Orders, read_orders
from collector.store.engine import Store
from collector.tokens import Tokens
from model.clock import Clock
from model.errors import ConfigError

log = logging.getLogger(__name__)


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
        self._seen = self._signature()

    def read(self) -> Orders:
        """Read the orders. Raises ConfigError."""
        return read_orders(self._folder)

    def refresh(self, office: Office, *, force: bool = False) -> None:
        """Adopt what changed since the last look; a mistake leaves the old orders in force, and is said once."""
        signature = self._signature()
        if signature == self._seen and not force:
            return
        self._seen = signature
        try:
            office.adopt(self.read())
            log.info("new orders are in force from %s", self._folder)
        except (ConfigError, OSError) as error:
            office.problem = str(error)
            log.error("the books have problems; the orders of before stay in force:\n%s", error)  # noqa: TRY400 -- for the operator, who has no use for a traceback

    def _signature(self) -> tuple[tuple[str, int, int], ...]:
        files = (*self._folder.glob("*.yml"), *self._folder.glob("rules/*.yml"), *self._folder.glob("profiles/*.yml"))
        return tuple(sorted((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files))
