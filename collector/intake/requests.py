"""Requests to agents. The answer to a push carries them: an agent has no other way to be reached."""

import threading
from typing import Any

import sqlalchemy as sa

from watchkeeper.collector.process import removals
from watchkeeper.collector.process.troubles.parents import ASK_EVERY_S
from watchkeeper.collector.site.inventory import COLLECTOR
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import request
from watchkeeper.model.clock import Clock


class Requests:
    """The requests waiting for each agent, in memory. `refresh` reads new ones from the store and deletes those that were sent.
    With several collectors each has all requests: an agent gets them from the one it pushes to. A confirmed removal is sent
    again and again, until the agent no longer reports the part. What the collector itself asked for stays in the store for
    `ASK_EVERY_S`, so that it is not asked for again; several collectors may each send it once."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._waiting: dict[str, dict[int, dict[str, str]]] = {}
        self._removed: dict[str, list[dict[str, str]]] = {}
        self._handed: set[int] = set()
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Delete the sent requests from the store, and read the others."""
        now = self._clock.wall()
        with self._lock:
            handed = set(self._handed)
        with self._store.read() as connection:
            found = connection.execute(sa.select(request).order_by(request.c.id)).all()
            done = removals.done(connection)
        kept = {row.id for row in found if row.id in handed and _asked_lately(row, now)}
        if sent := {row.id for row in found} & handed - kept:
            with self._store.write() as connection:
                connection.execute(sa.delete(request).where(request.c.id.in_(sent)))
        if done:
            with self._store.write() as connection:
                removals.finish(connection, done, now)
        with self._store.read() as connection:
            self._removed = removals.pending_requests(connection)
        with self._lock:
            waiting: dict[str, dict[int, dict[str, str]]] = {}
            for row in found:
                if row.id not in self._handed:
                    waiting.setdefault(row.agent, {})[row.id] = {"kind": row.kind, "device": row.device}
            self._waiting = waiting
            self._handed -= handed - kept

    def take(self, agent: str) -> list[dict[str, str]]:
        """The requests for this agent. Each is sent once, or twice if the collector is killed in between, which does no harm."""
        removed = self._removed.get(agent, [])
        if agent not in self._waiting:
            return list(removed)
        with self._lock:
            waiting = self._waiting.pop(agent, {})
            self._handed.update(waiting)
        return [*waiting.values(), *removed]


def _asked_lately(row: "sa.Row[Any]", now: float) -> bool:
    """Whether the collector itself asked, a short time ago."""
    asked_at: float = row.asked_at
    return bool(row.by == COLLECTOR) and now - ASK_EVERY_S < asked_at <= now
