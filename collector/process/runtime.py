"""The runtime context of the collector: store, clock, tokens and the active configuration."""

from collections.abc import Callable
from dataclasses import replace

import sqlalchemy as sa

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
from watchkeeper.collector.site.in_force import FolderStanding
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store.configurations.activations import newest_number
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.peers import CollectorIdentity
from watchkeeper.model.clock import Clock
from watchkeeper.model.errors import StoreError


class Runtime:
    """What every part of the collector shares. A new configuration becomes active as a whole or not at all. `problem`
    says why the newest files were refused; it is empty if they are active. `number` is that of the active configuration (0: the
    store has none), `unusable` a newer one that this collector cannot use. `standing` says how the collector's folder compares
    with what is in force, and `notice` what to do about it."""

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
        self.problem = self.notice = ""
        self.number = self.unusable = 0
        self.standing = FolderStanding.IN_FORCE
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

    def activate(self, snapshot: Snapshot, record: Callable[[sa.Connection], object] = lambda _: None) -> None:
        """Make this configuration active. Incidents about devices and rules that it no longer has are withdrawn, in the
        transaction of `record`, which comes first; if it raises, nothing is changed."""
        notifier = replace(self._notifier, snapshot=snapshot)
        with self.store.write() as connection:
            record(connection)
            withdraw_gone(connection, notifier, self.clock.wall())
        self._notifier = notifier

    def note_folder(self, standing: FolderStanding, *, says: str) -> None:
        """Note how the collector's folder compares with what is in force, and what to do about it."""
        self.standing, self.notice = standing, says

    def is_behind(self) -> bool:
        """Whether another configuration is in force, which this collector has not taken over yet. Raises StoreError."""
        with self.store.read() as connection:
            return self._is_behind(connection)

    def current(self, connection: sa.Connection) -> Notifier:
        """The notifier under what is in force. Raises StoreError while this collector has not taken it over: then what agents
        report may be about devices that it does not know yet."""
        if self._is_behind(connection):
            raise StoreError("another configuration is in force; this collector takes it over first")
        return self._notifier

    def _is_behind(self, connection: sa.Connection) -> bool:
        if self.store.embedded:  # no other collector has it, so no agent knows more than this one
            return False
        return newest_number(connection) not in (self.number, self.unusable)
