"""Which agents must send their standing verdicts, because the store no longer has what they sent. Used by the journal's
thread, inside its transaction."""

import logging

import sqlalchemy as sa

from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.life.awaited import await_agents, awaited_agents
from watchkeeper.collector.store.life.identity import StoreIdentity, identity_of
from watchkeeper.model.batch import Lane, Push
from watchkeeper.model.verdict import ActiveVerdicts

log = logging.getLogger(__name__)

AWAITED_AGAIN_S = 600.0
"""How long after such a wait the rungs of an agent wait again: an agent that always seems set back silences nothing."""


class StandingRequests:
    """`wanted` are the agents that are asked with each answer; `identity` is that of the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.wanted: frozenset[str] = frozenset()
        self.identity: StoreIdentity | None = None
        self._awaited_at: dict[str, float] = {}
        self._read = False
        self._doubted: set[str] = set()
        self._come: set[str] = set()

    def open(self, connection: sa.Connection, now: float) -> None:
        """Read who is awaited. With several collectors another one may have changed it."""
        self._doubted, self._come = set(), set()
        if not self._read or not self._store.embedded:
            self.wanted = frozenset(awaited_agents(connection, now))
            self.identity = identity_of(connection)
            self._read = True

    def look(self, push: Push, before: int) -> None:
        """Look at a push that is accepted. `before` is the highest seq of its lane that the store had."""
        if push.lane is not Lane.EVENTS:
            return
        settled, first = push.origin.settled, push.items[0].seq if push.items else 0
        if (settled is not None and settled > before) or (before and first > before + 1):
            self._doubted.add(push.agent)
        if any(isinstance(item.body, ActiveVerdicts) and item.seq > before for item in push.items):
            self._doubted.discard(push.agent)
            self._come.add(push.agent)

    def close(self, connection: sa.Connection, now: float) -> None:
        """Write whom we wait for."""
        self.wanted = self.wanted - self._come | self._doubted
        fresh = [
            name for name in self._doubted if now - self._awaited_at.get(name, -AWAITED_AGAIN_S) >= AWAITED_AGAIN_S
        ]
        for name in fresh:
            log.warning(
                "agent %s has sent events that this store does not have; all its active verdicts are asked for", name
            )
            self._awaited_at[name] = now
        await_agents(self._store, connection, fresh, now)

    def forget(self) -> None:
        """Read everything again after a transaction that failed."""
        self._read = False
