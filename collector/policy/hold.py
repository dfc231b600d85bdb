"""Why no rung of a trouble is decided now. Pure; times in UTC seconds.

Each condition is written once, with operators that mean the same for Python values and for SQL columns (`&`, `>`, `<=`). So
`hold` answers for one trouble in memory, and `held` gives the condition that a query needs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from watchkeeper.collector.policy.ladder import stopping_levels
from watchkeeper.collector.policy.troubles import PARENT_READ_S, Trouble
from watchkeeper.collector.site.inventory import Ladders

BACKLOG_S, BACKLOG_LONGEST_S = 60.0, 300.0
"""How long a backlog of events may hold the rungs of an agent's incidents: after the last push that announced more, and in
all."""

AWAITED_S = 120.0
"""How long older troubles of an agent wait for its standing verdicts, after the collector was away or its store was set back.
An agent that cannot reach the collector tries again within a minute."""


class HoldReason(StrEnum):
    """What holds the rungs."""

    ENDED = "ended"  # the trouble is over
    QUIET = "quiet"  # no fault of it is there now
    ACKNOWLEDGED = "acknowledged"  # and its ladder stops at that
    BACKLOG = "backlog"  # the agent has announced further events of the past
    PARENT = "parent"  # what it depends on is read again
    AWAITED = "awaited"  # the agent must say first what is still there


@dataclass(frozen=True, slots=True)
class Facts:
    """What the conditions look at: values, or columns of a query. Times are 0.0 where there is none."""

    ended: Any
    quiet_since: Any
    acknowledged_at: Any
    stops_at_acknowledged: Any
    backlog_since: Any = 0.0
    backlog_until: Any = 0.0
    wait_until: Any = 0.0
    opened_at: Any = 0.0
    awaited_since: Any = 0.0
    awaited_until: Any = 0.0


@dataclass(frozen=True, slots=True)
class Backlog:
    """Since when an agent announces further events, and until when its incidents wait for them; and the same for its standing
    verdicts."""

    since: float = 0.0
    until: float = 0.0
    awaited_since: float = 0.0
    awaited_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Hold:
    """The rungs of a trouble are held for this reason; `until` is when it ends by itself, if it does."""

    reason: HoldReason
    until: float | None = None


def _ended(facts: Facts, _now: Any) -> Any:
    return facts.ended


def _quiet(facts: Facts, _now: Any) -> Any:
    return facts.quiet_since > 0.0


def _acknowledged(facts: Facts, _now: Any) -> Any:
    return (facts.acknowledged_at > 0.0) & facts.stops_at_acknowledged


def _backlog(facts: Facts, now: Any) -> Any:
    # The upper limit: a time further ahead was written before our clock was set back.
    soon = (facts.backlog_until > now) & (facts.backlog_until <= now + BACKLOG_S)
    return soon & (facts.backlog_since > now - BACKLOG_LONGEST_S)


def _parent(facts: Facts, now: Any) -> Any:
    return (facts.wait_until > now) & (facts.wait_until <= now + PARENT_READ_S)


def _awaited(facts: Facts, now: Any) -> Any:
    older = facts.opened_at < facts.awaited_since
    return older & (facts.awaited_until > now) & (facts.awaited_until <= now + AWAITED_S)


CONDITIONS: Mapping[HoldReason, Callable[[Facts, Any], Any]] = MappingProxyType(
    {
        HoldReason.ENDED: _ended,
        HoldReason.QUIET: _quiet,
        HoldReason.ACKNOWLEDGED: _acknowledged,
        HoldReason.BACKLOG: _backlog,
        HoldReason.PARENT: _parent,
        HoldReason.AWAITED: _awaited,
    }
)


def hold(trouble: Trouble, ladders: Ladders, backlog: Backlog, now: float) -> Hold | None:
    """Why no rung of the trouble is decided now; None where due rungs are."""
    facts = Facts(
        ended=not trouble.open,
        quiet_since=trouble.quiet_since or 0.0,
        acknowledged_at=trouble.acknowledged_at or 0.0,
        stops_at_acknowledged=trouble.level in stopping_levels(ladders),
        backlog_since=backlog.since,
        backlog_until=backlog.until,
        wait_until=trouble.wait_until,
        opened_at=trouble.opened_at,
        awaited_since=backlog.awaited_since,
        awaited_until=backlog.awaited_until,
    )
    until = {
        HoldReason.BACKLOG: backlog.until,
        HoldReason.PARENT: trouble.wait_until,
        HoldReason.AWAITED: backlog.awaited_until,
    }
    for reason, holds in CONDITIONS.items():
        if holds(facts, now):
            return Hold(reason, until.get(reason))
    return None


def held(facts: Facts, now: Any) -> Any:
    """The same question as one condition over columns: true where rungs are held."""
    conditions = [holds(facts, now) for holds in CONDITIONS.values()]
    whole = conditions[0]
    for condition in conditions[1:]:
        whole |= condition
    return whole
