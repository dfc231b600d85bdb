"""Whether two processes push as one agent."""

from collections.abc import Iterator

import sqlalchemy as sa

from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import agent_session
from watchkeeper.model.reading import Series, Value

TWIN_HOLDS_S = 120.0
"""For how long after both were seen at work they count as twins."""

_NAME_CHARACTERS = 90


class TwinAgents:
    """Goes by the boot clock from when it first saw a note of twins. A note that is there at the start counts as new."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: dict[
            str, tuple[float, float]
        ] = {}  # agent: when twins were noted (as stored), and when we saw that

    def series(self, snapshot: Snapshot) -> Iterator[Series]:
        """One for each agent."""
        return (Series(name, "agent.twin") for name in snapshot.agents)

    def values(self, snapshot: Snapshot, boot: float) -> dict[Series, Value]:
        """`yes` with the names of both, or `no`. Raises StoreError."""
        with self._store.read() as connection:
            rows = {row.agent: row for row in connection.execute(sa.select(agent_session))}
        found: dict[Series, Value] = {}
        for name in snapshot.agents:
            row = rows.get(name)
            if row is None or not self._recent(name, row.twin_at, boot):
                found[Series(name, "agent.twin")] = "no"
                continue
            both = f"{_told(row.session, row.address)}; {_told(row.rival, row.rival_address)}"
            found[Series(name, "agent.twin", label=both)] = "yes"
        return found

    def _recent(self, name: str, noted_at: float, boot: float) -> bool:
        known = self._seen.get(name)
        if known is None or known[0] != noted_at:
            known = self._seen[name] = (noted_at, boot)
        return noted_at > 0.0 and boot - known[1] < TWIN_HOLDS_S


def _told(session: str, address: str) -> str:
    return f"{session} @ {address}"[:_NAME_CHARACTERS]
