"""What the collector would like of its agents, handed over with the answer to a push: the only way back."""

import threading

import sqlalchemy as sa

from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import request


class Requests:
    """Requests waiting for each agent, from memory; `refresh` brings them in step with what persons asked for since, and
    what was handed over. Of several collectors each knows all: an agent hears from the one it speaks to."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, dict[int, dict[str, str]]] = {}
        self._handed: set[int] = set()
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Forget in the store what was handed over, and fetch the rest."""
        with self._lock:
            handed = set(self._handed)
        if handed:
            with self._store.write() as connection:
                connection.execute(sa.delete(request).where(request.c.id.in_(handed)))
        with self._store.read() as connection:
            found = connection.execute(sa.select(request).order_by(request.c.id)).all()
        with self._lock:
            waiting: dict[str, dict[int, dict[str, str]]] = {}
            for row in found:
                if row.id not in self._handed:
                    waiting.setdefault(row.agent, {})[row.id] = {"kind": row.kind, "device": row.device}
            self._waiting = waiting
            self._handed -= handed

    def take(self, agent: str) -> list[dict[str, str]]:
        """What waits for this agent; each is handed over once, or again where we die, for asking twice does no harm."""
        if agent not in self._waiting:
            return []
        with self._lock:
            waiting = self._waiting.pop(agent, {})
            self._handed.update(waiting)
        return list(waiting.values())
