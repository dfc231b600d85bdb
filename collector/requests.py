"""What the collector would like of its agents, handed over with the answer to a push: the only way back."""

import threading

import sqlalchemy as sa

from collector.store.engine import Store
from collector.store.schema import request


class Requests:
    """Requests waiting for each agent, from memory; `refresh` reads what persons asked for since."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, list[dict[str, str]]] = {}
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Fetch new requests; each is handed over at most once, for asking again is a button away."""
        with self._store.read() as connection:
            if connection.execute(sa.select(request.c.id).limit(1)).first() is None:
                return
        with self._store.write() as connection:
            taken = sa.delete(request).returning(request.c.agent, request.c.kind, request.c.device)
            found = connection.execute(taken).all()
        with self._lock:
            for row in found:
                self._waiting.setdefault(row.agent, []).append({"kind": row.kind, "device": row.device})

    def take(self, agent: str) -> list[dict[str, str]]:
        """What waits for this agent, once."""
        if agent not in self._waiting:
            return []
        with self._lock:
            return self._waiting.pop(agent, [])
