"""Agents: when each was last heard, and what came over its lanes. Read only; `now` and all times are UTC seconds."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from watchkeeper.collector.policy import freshness
from watchkeeper.collector.process.upkeep.set_aside import NONE_SET_ASIDE, Counted, counted
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store.schema import agent, lane


@dataclass(frozen=True, slots=True)
class LaneCounts:
    """What came over one lane of an agent: `seq` of the current epoch, and the counts of all epochs in the store."""

    lane: str
    seq: int
    items: int
    gaps: int
    dropped: int


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """An agent of the inventory. `heard_at` is None if it was never heard. `skew_s` is its wall clock minus the
    collector's. `bundle` is the version of its active bundle; `current` tells whether that is the newest. `set_aside` is what of
    it could not be applied."""

    agent: str
    heard_at: float | None
    age_s: float
    silent: bool
    skew_s: float
    bundle: str
    current: bool
    lanes: tuple[LaneCounts, ...]
    set_aside: Counted = NONE_SET_ASIDE


def agent_statuses(
    connection: sa.Connection,
    snapshot: Snapshot,
    now: float,
    started_at: float,
    among: Sequence[str] | None = None,
) -> list[AgentStatus]:
    """The agents of the inventory, or those of these names. Time before the start of the collector does not count as silence."""
    heard = {row.agent: row for row in connection.execute(sa.select(agent))}
    epochs = {name: row.epoch for name, row in heard.items()}
    lanes, set_aside = _lane_counts(connection, epochs), counted(connection)
    found = []
    for name, configured in snapshot.agents.items():
        if among is not None and name not in among:
            continue
        row = heard.get(name)
        heard_at = row.heard_at if row else None
        silent = freshness.silent(now - max(heard_at or 0.0, started_at), configured.interval_s)
        bundle, skew = (row.bundle, row.skew_s) if row else ("", 0.0)
        age = max(0.0, now - (started_at if heard_at is None else heard_at))
        current = bundle == snapshot.bundles[name].version
        counts, aside = tuple(lanes.get(name, ())), set_aside.get(name, NONE_SET_ASIDE)
        found.append(AgentStatus(name, heard_at, age, silent, skew, bundle, current, counts, aside))
    return found


def _lane_counts(connection: sa.Connection, epochs: dict[str, str]) -> dict[str, list[LaneCounts]]:
    counts: dict[tuple[str, str], LaneCounts] = {}
    for row in connection.execute(sa.select(lane).order_by(lane.c.agent, lane.c.lane)):
        before = counts.get((row.agent, row.lane)) or LaneCounts(row.lane, 0, 0, 0, 0)
        counts[row.agent, row.lane] = LaneCounts(
            row.lane,
            row.seq if row.epoch == epochs.get(row.agent) else before.seq,
            before.items + row.items,
            before.gaps + row.gaps,
            before.dropped + row.dropped,
        )
    found: dict[str, list[LaneCounts]] = {}
    for (name, _), lane_counts in counts.items():
        found.setdefault(name, []).append(lane_counts)
    return found
