"""Whether the collector hears its agents."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import sqlalchemy as sa

from watchkeeper.collector.policy import freshness
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import agent
from watchkeeper.model.reading import Series, Value

AWAY_S = 10.0
"""The collector looks twice a second. After a longer pause it was stopped, or without its store: then no agent counts as
silent because of that time."""


class _Contact(NamedTuple):
    """The last contact with an agent: its time as stored, when this collector first saw that (boot clock), and whether the
    agent was heard since this collector began to listen."""

    heard_at: float
    seen_at: float
    fresh: bool


class AgentsHeard:
    """Goes by the boot clock, so that a wall clock that jumps makes no agent silent or heard. After a start no agent is judged
    before it is heard, or has had its time to be. `deaf` tells that no push is accepted now."""

    def __init__(self, store: Store, deaf: Callable[[], bool]) -> None:
        self._store, self._deaf = store, deaf
        self._contacts: dict[str, _Contact] = {}
        self._listened_at = float("-inf")

    def series(self, snapshot: Snapshot) -> Iterator[Series]:
        """One for each agent."""
        return (_series(name) for name in snapshot.agents)

    def values(self, snapshot: Snapshot, boot: float) -> dict[Series, Value]:
        """`yes` or `no`; none for an agent that may still report. Raises StoreError."""
        self._listen(snapshot, boot)
        found: dict[Series, Value] = {}
        for name, contact in self._contacts.items():
            if freshness.silent(boot - contact.seen_at, snapshot.agents[name].interval_s):
                found[_series(name)] = "no"
            elif contact.fresh:
                found[_series(name)] = "yes"
        return found

    def _listen(self, snapshot: Snapshot, boot: float) -> None:
        with self._store.read() as connection:
            heard = {row.agent: row.heard_at for row in connection.execute(sa.select(agent.c.agent, agent.c.heard_at))}
        away = self._deaf() or boot - self._listened_at > AWAY_S
        before, self._contacts, self._listened_at = {} if away else self._contacts, {}, boot
        for name in snapshot.agents:
            known, heard_at = before.get(name), heard.get(name, 0.0)
            if known is None or known.heard_at != heard_at:
                known = _Contact(heard_at, boot, fresh=known is not None)
            self._contacts[name] = known


def _series(name: str) -> Series:
    return Series(name, "agent.heard")
