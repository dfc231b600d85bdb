"""The runtime context of the collector: store, clock, tokens and the active configuration. Also its reload on
changes."""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from watchkeeper.channels.ports import Address
from watchkeeper.collector.access.links import Links
from watchkeeper.collector.access.refusals import Refusals
from watchkeeper.collector.access.tokens import Tokens
from watchkeeper.collector.notify.delivery.robots import Robots
from watchkeeper.collector.notify.enqueue import Notifier
from watchkeeper.collector.notify.message.answer_line import WayBack
from watchkeeper.collector.process.health.health import Health
from watchkeeper.collector.process.health.heartbeat import Heartbeat
from watchkeeper.collector.process.troubles.follow_up import withdraw_gone
from watchkeeper.collector.site.snapshot import Snapshot, read_snapshot
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.peers import CollectorIdentity
from watchkeeper.model.clock import Clock
from watchkeeper.model.errors import ConfigError, StoreError

log = logging.getLogger(__name__)

_FileStats = tuple[tuple[str, int, int], ...]
"""Name, modification time (ns) and size of each file."""


class Runtime:
    """What every part of the collector shares. A new configuration becomes active as a whole or not at all. `problem`
    says why the newest files were refused; it is empty if they are active."""

    def __init__(  # noqa: PLR0917 -- what the collector is made of
        self,
        store: Store,
        clock: Clock,
        snapshot: Snapshot,
        url: str = "",
        links: Links | None = None,
        way_back: Callable[[Address], WayBack] = lambda _: WayBack.NONE,
        identity: CollectorIdentity | None = None,
        health: Health | None = None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.identity = identity or CollectorIdentity()
        self.tokens = Tokens(store, clock)
        self.robots = Robots()
        self.health = health or Health(clock)
        self.refusals = Refusals(clock)
        self.heartbeat: Heartbeat | None = None
        self.started_at = clock.wall()
        self.problem = ""
        self._notifier = Notifier(store, snapshot, url, links, way_back)

    def notifier(self) -> Notifier:
        """The notifier under the active configuration."""
        return self._notifier

    @property
    def snapshot(self) -> Snapshot:
        """The active configuration."""
        return self._notifier.snapshot

    @property
    def links(self) -> Links | None:
        """What signs personal links; None where no secret does."""
        return self._notifier.links

    def activate(self, snapshot: Snapshot) -> None:
        """Make this configuration active. Incidents about devices and rules that it no longer has are withdrawn."""
        notifier = replace(self._notifier, snapshot=snapshot)
        with self.store.write() as connection:
            withdraw_gone(connection, notifier, self.clock.wall())
        self._notifier = notifier
        self.problem = ""


class ConfigReloader:
    """Watches the folder of the site's configuration, and activates it when a file has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last = self._stats()
        self._tried: _FileStats | None = self._last

    def read(self) -> Snapshot:
        """Read the configuration. Raises ConfigError with every problem."""
        return read_snapshot(self._folder)

    def reload(self) -> None:
        """Let the next `refresh` read everything, changed or not. Safe in a signal handler."""
        self._tried = None

    def refresh(self, runtime: Runtime) -> None:
        """Activate changed files once they are the same in two calls, because a file that is still being written may be
        valid too. If they have errors, the previous configuration stays active, and the errors are logged once. Raises
        StoreError; the next call then tries again."""
        stats, before = self._stats(), self._last
        self._last = stats
        if stats != self._tried and stats == before:
            self._tried = stats
            try:
                self._activate(runtime)
            except StoreError:
                self._tried = None
                raise

    def _activate(self, runtime: Runtime) -> None:
        try:
            runtime.activate(self.read())
            log.info("new configuration active from %s", self._folder)
        except ConfigError as error:
            runtime.problem = str(error)
            log.error(  # noqa: TRY400 -- a message for the operator; a traceback does not help
                "the configuration has errors; the previous configuration stays active:\n%s", error
            )

    def _stats(self) -> _FileStats:
        """The files of the folder. A file that is deleted meanwhile is left out."""
        found = []
        for part in ("[!.]*.yml", "rules/[!.]*.yml", "profiles/[!.]*.yml"):
            for file in self._folder.glob(part):
                with contextlib.suppress(OSError):
                    status = file.stat()
                    found.append((str(file), status.st_mtime_ns, status.st_size))
        return tuple(sorted(found))
