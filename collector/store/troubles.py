"""Reads and writes troubles and their rungs as rows."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from watchkeeper.collector.policy.incidents import IncidentState
from watchkeeper.collector.policy.ladder import ScheduledRung
from watchkeeper.collector.policy.troubles import Trouble, TroubleState
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import incident, rung, trouble
from watchkeeper.model.verdict import Level


def lock_all(store: Store, connection: sa.Connection) -> None:
    """Wait until no other transaction changes troubles, before any row is locked: two collectors must not begin two troubles
    for one cause, and transactions that lock rows in another sequence would stop each other."""
    store.lock_names(connection, ["troubles"])


def trouble_from_row(row: sa.Row[Any]) -> Trouble:
    """Make a trouble from a row of the table `trouble`."""
    return Trouble(
        trouble=row.trouble, cause=row.cause, agent=row.agent, state=TroubleState(row.state), level=Level(row.level),
        recurrence=row.recurrence, opened_at=row.opened_at, began_at=row.began_at, quiet_since=row.quiet_since,
        ended_at=row.ended_at, wait_until=row.wait_until, acknowledged_at=row.acknowledged_at,
        acknowledged_by=row.acknowledged_by, on_site_at=row.on_site_at, on_site_by=row.on_site_by, chase_at=row.chase_at,
        merged_into=row.merged_into, flapping_told=row.flapping_told,
    )  # fmt: skip


def _values(one: Trouble) -> dict[str, Any]:
    return {
        "cause": one.cause, "agent": one.agent, "state": one.state.value, "level": one.level.value,
        "recurrence": one.recurrence, "opened_at": one.opened_at, "began_at": one.began_at,
        "quiet_since": one.quiet_since, "ended_at": one.ended_at, "wait_until": one.wait_until,
        "acknowledged_at": one.acknowledged_at, "acknowledged_by": one.acknowledged_by, "on_site_at": one.on_site_at,
        "on_site_by": one.on_site_by, "chase_at": one.chase_at, "merged_into": one.merged_into, "flapping_told": one.flapping_told,
    }  # fmt: skip


def save(connection: sa.Connection, one: Trouble) -> Trouble:
    """Write a trouble. Returns it with its number."""
    if one.trouble:
        connection.execute(sa.update(trouble).where(trouble.c.trouble == one.trouble), _values(one))
        return one
    added = sa.insert(trouble).returning(trouble.c.trouble)
    return replace(one, trouble=int(connection.execute(added, _values(one)).scalar_one()))


def set_chase(connection: sa.Connection, one: Trouble) -> None:
    """Note when people are asked again whether they are on site."""
    connection.execute(sa.update(trouble).where(trouble.c.trouble == one.trouble), {"chase_at": one.chase_at})


def by_number(connection: sa.Connection, numbers: Iterable[int], *, lock: bool = False) -> dict[int, Trouble]:
    """The troubles of these numbers. With `lock`, the rows are locked until the transaction ends."""
    query = sa.select(trouble).where(trouble.c.trouble.in_(list(numbers))).order_by(trouble.c.trouble)
    query = query.with_for_update() if lock else query
    return {row.trouble: trouble_from_row(row) for row in connection.execute(query)}


def follow(connection: sa.Connection, number: int, *, lock: bool = False) -> Trouble | None:
    """The trouble of that number, or the one that it was merged into; None if there is none."""
    seen: set[int] = set()
    while number and number not in seen:
        seen.add(number)
        known = by_number(connection, [number], lock=lock).get(number)
        if known is None or not known.merged_into:
            return known
        number = known.merged_into
    return None


def numbers_of(connection: sa.Connection, number: int) -> list[int]:
    """The number of a trouble, and those of the troubles that were merged into it."""
    return list(merged_of(connection, [number]))


def merged_of(connection: sa.Connection, numbers: Iterable[int]) -> dict[int, int]:
    """These troubles and those that were merged into them: the number of each, and which of `numbers` it is part of now."""
    found = {number: number for number in numbers}
    wanted = list(found)
    while wanted:
        merged = trouble.c.merged_into != 0  # the condition of the index
        query = sa.select(trouble.c.trouble, trouble.c.merged_into).where(trouble.c.merged_into.in_(wanted), merged)
        new = {row.trouble: found[row.merged_into] for row in connection.execute(query) if row.trouble not in found}
        found |= new
        wanted = list(new)
    return found


_BAD = tuple(level.value for level in Level if level.bad)


@dataclass(frozen=True, slots=True)
class Standing:
    """The incidents of a trouble: how many are open, of how many of those the latest verdict is bad (of the others it is
    unknown), the worst level of the open ones, whether one was resolved (not withdrawn), and when the last one ended."""

    open: int
    bad: int
    worst: Level | None
    resolved: int
    last_end: float | None


def standing_of(connection: sa.Connection, numbers: Collection[int]) -> dict[int, Standing]:
    """How the incidents of these troubles stand."""
    is_open = incident.c.state == IncidentState.OPEN.value
    query = (
        sa.select(
            incident.c.trouble,
            sa.func.count().filter(is_open).label("open"),
            sa.func.count().filter(is_open, incident.c.verdict.in_(_BAD)).label("bad"),
            sa.func.count().filter(is_open, incident.c.level == Level.CRITICAL.value).label("critical"),
            sa.func.count().filter(incident.c.state == IncidentState.RESOLVED.value).label("resolved"),
            sa.func.max(incident.c.ended_at).label("last_end"),
        )
        .where(incident.c.trouble.in_(list(numbers)))
        .group_by(incident.c.trouble)
    )
    return {
        row.trouble: Standing(
            row.open,
            row.bad,
            None if not row.open else Level.CRITICAL if row.critical else Level.WARNING,
            row.resolved,
            row.last_end,
        )
        for row in connection.execute(query)
    }


# ---- rungs ----


def rungs_of(
    connection: sa.Connection, numbers: Sequence[int], *, lock: bool = False
) -> dict[int, list[ScheduledRung]]:
    """The rungs of these troubles, in the order of their numbers. With `lock`, the rows are locked until the transaction
    ends."""
    query = sa.select(rung).where(rung.c.trouble.in_(numbers)).order_by(rung.c.recurrence, rung.c.number)
    query = query.with_for_update() if lock else query
    found: dict[int, list[ScheduledRung]] = {}
    for row in connection.execute(query):
        step = ScheduledRung(row.rung, row.number, row.ladder, row.due_at, row.decided_at, row.decided_by)
        found.setdefault(row.trouble, []).append(step)
    return found


def replace_undecided(connection: sa.Connection, now: Trouble, steps: Iterable[ScheduledRung]) -> None:
    """Replace the undecided rungs of the trouble by the undecided rungs in `steps`, under its current recurrence."""
    drop_undecided(connection, now)
    add_rungs(connection, ((now, step) for step in steps if step.decided_at is None))


def add_rungs(connection: sa.Connection, steps: Iterable[tuple[Trouble, ScheduledRung]]) -> None:
    """Add undecided rungs of troubles that do not have them, each under the trouble's current recurrence."""
    rows = [
        {
            "trouble": one.trouble, "recurrence": one.recurrence, "rung": step.rung, "number": step.number,
            "ladder": step.ladder, "due_at": step.due_at, "decided_at": None, "decided_by": None,
        }
        for one, step in steps
    ]  # fmt: skip
    if rows:
        connection.execute(sa.insert(rung), rows)


def put_off(connection: sa.Connection, now: Trouble, seconds: float) -> None:
    """Move the undecided rungs of the trouble by the time in which no fault was there."""
    undecided = sa.update(rung).where(rung.c.trouble == now.trouble, rung.c.decided_at.is_(None))
    connection.execute(undecided.values(due_at=rung.c.due_at + seconds))


def drop_undecided(connection: sa.Connection, now: Trouble) -> None:
    """Delete the undecided rungs of the trouble."""
    connection.execute(sa.delete(rung).where(rung.c.trouble == now.trouble, rung.c.decided_at.is_(None)))


_CLAIM = (
    sa.update(rung)
    .where(rung.c.trouble == sa.bindparam("of"), rung.c.rung == sa.bindparam("name"), rung.c.decided_at.is_(None))
    .values(decided_at=sa.bindparam("at"), decided_by=sa.bindparam("who"))
)
"""Built once: a thousand rungs may be due at one moment."""


def claim_rung(connection: sa.Connection, now: Trouble, step: ScheduledRung, at: float, by: str) -> bool:
    """Mark a rung as decided. Returns False if another transaction has already decided it."""
    asked = {"of": now.trouble, "name": step.rung, "at": at, "who": by}
    return connection.execute(_CLAIM, asked).rowcount == 1
