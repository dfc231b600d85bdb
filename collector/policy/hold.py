"""Why no rung of an incident is decided now. Pure; times in UTC seconds.

Each condition is written once, with operators that mean the same for Python values and for SQL columns (`&`, `>`, `<=`). So
`hold` answers for one incident in memory, and `held` gives the condition that a query needs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from watchkeeper.collector.policy.incidents import Incident
from watchkeeper.collector.policy.ladder import stopping_levels
from watchkeeper.collector.site.inventory import Ladders

BACKLOG_S, BACKLOG_LONGEST_S = 60.0, 300.0
"""How long a backlog of events may hold the rungs of an agent's incidents: after the last push that announced more, and in
all."""


class HoldReason(StrEnum):
    """What holds the rungs."""

    ENDED = "ended"  # the incident is resolved or withdrawn
    ACKNOWLEDGED = "acknowledged"  # and its ladder stops at that
    BACKLOG = "backlog"  # the agent has announced further events of the past


@dataclass(frozen=True, slots=True)
class Facts:
    """What the conditions look at: values, or columns of a query. Times are 0.0 where there is none."""

    ended: Any
    acknowledged_at: Any
    stops_at_acknowledged: Any
    backlog_since: Any = 0.0
    backlog_until: Any = 0.0


@dataclass(frozen=True, slots=True)
class Backlog:
    """Since when an agent announces further events, and until when its incidents wait for them."""

    since: float = 0.0
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class Hold:
    """The rungs of an incident are held for this reason; `until` is when it ends by itself, if it does."""

    reason: HoldReason
    until: float | None = None


def _ended(facts: Facts, _now: Any) -> Any:
    return facts.ended


def _acknowledged(facts: Facts, _now: Any) -> Any:
    return (facts.acknowledged_at > 0.0) & facts.stops_at_acknowledged


def _backlog(facts: Facts, now: Any) -> Any:
    # The upper limit: a time further ahead was written before our clock was set back.
    soon = (facts.backlog_until > now) & (facts.backlog_until <= now + BACKLOG_S)
    return soon & (facts.backlog_since > now - BACKLOG_LONGEST_S)


CONDITIONS: Mapping[HoldReason, Callable[[Facts, Any], Any]] = MappingProxyType(
    {HoldReason.ENDED: _ended, HoldReason.ACKNOWLEDGED: _acknowledged, HoldReason.BACKLOG: _backlog}
)


def hold(incident: Incident, ladders: Ladders, backlog: Backlog, now: float) -> Hold | None:
    """Why no rung of the incident is decided now; None where due rungs are."""
    facts = Facts(
        ended=not incident.open,
        acknowledged_at=incident.acknowledged_at or 0.0,
        stops_at_acknowledged=incident.level in stopping_levels(ladders),
        backlog_since=backlog.since,
        backlog_until=backlog.until,
    )
    for reason, holds in CONDITIONS.items():
        if holds(facts, now):
            return Hold(reason, backlog.until if reason is HoldReason.BACKLOG else None)
    return None


def held(facts: Facts, now: Any) -> Any:
    """The same question as one condition over columns: true where rungs are held."""
    conditions = [holds(facts, now) for holds in CONDITIONS.values()]
    whole = conditions[0]
    for condition in conditions[1:]:
        whole |= condition
    return whole
