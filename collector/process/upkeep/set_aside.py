"""Pushes that could not be applied. They stay in the journal with the reason, until they are tried again or dropped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from watchkeeper.collector.store.schema import journal

FAULT_CHARACTERS = 1_000


@dataclass(frozen=True, slots=True)
class SetAside:
    """A push that is set aside, by its number in the journal. `fault` is why."""

    number: int
    agent: str
    received_at: float
    size_bytes: int
    fault: str


@dataclass(frozen=True, slots=True)
class Counted:
    """How many pushes of an agent are set aside, and why the newest is."""

    count: int
    fault: str


NONE_SET_ASIDE = Counted(0, "")
IS_SET_ASIDE = sa.and_(journal.c.fault.is_not(None), journal.c.dropped_at.is_(None))
WAITS = journal.c.fault.is_(None)
"""A push of the journal that is not applied yet."""


def mark(connection: sa.Connection, number: int, error: Exception) -> None:
    """Set a push aside, with the reason."""
    fault = f"{type(error).__name__}: {error}"[:FAULT_CHARACTERS].replace("\0", "")
    connection.execute(sa.update(journal).where(journal.c.id == number), {"fault": fault, "again": False})


def listed(connection: sa.Connection) -> list[SetAside]:
    """All pushes that are set aside, in the order in which they came."""
    columns = (journal.c.id, journal.c.agent, journal.c.received_at, sa.func.length(journal.c.body), journal.c.fault)
    return [
        SetAside(*row) for row in connection.execute(sa.select(*columns).where(IS_SET_ASIDE).order_by(journal.c.id))
    ]


def counted(connection: sa.Connection) -> dict[str, Counted]:
    """Which agents have pushes that are set aside."""
    found: dict[str, Counted] = {}
    query = sa.select(journal.c.agent, journal.c.fault).where(IS_SET_ASIDE).order_by(journal.c.id)
    for agent, fault in connection.execute(query):
        before = found.get(agent)
        found[agent] = Counted((before.count if before else 0) + 1, fault)
    return found


def ask_again(connection: sa.Connection, numbers: Sequence[int]) -> int:
    """Let the running collector apply these pushes again, within seconds. Returns how many there are."""
    mine = sa.update(journal).where(IS_SET_ASIDE, journal.c.id.in_(numbers))
    return connection.execute(mine, {"again": True}).rowcount


def drop(connection: sa.Connection, numbers: Sequence[int], by: str, why: str, now: float) -> int:
    """Give these pushes up. The rows stay for two months, as the record of what was dropped, by whom and why. Returns how many
    there are."""
    values: dict[str, Any] = {"dropped_at": now, "dropped_by": by, "dropped_why": why, "again": False}
    return connection.execute(sa.update(journal).where(IS_SET_ASIDE, journal.c.id.in_(numbers)), values).rowcount
