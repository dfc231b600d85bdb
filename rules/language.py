"""A rule ready to judge, and what a limit says of a value. Made by rules/load, used by rules/evaluate."""

import sys
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from math import inf

from watchkeeper.model.device import Category
from watchkeeper.model.reading import Missing, Reason, Series, Value
from watchkeeper.model.verdict import Level


class Says(Enum):
    """What a limit says of one value. BETWEEN is inside the limit, but not by the margin that clears it; NOTHING is a
    value that tells neither way: a missing one, or a state the quantity does not know."""

    BAD = "bad"
    BETWEEN = "between"
    CLEAR = "clear"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Band:
    """Numbers `low` to `high`, ends included, in the quantity's unit."""

    low: float = -inf
    high: float = inf

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def covers(self, other: "Band") -> bool:
        """Whether every number of the other is one of this."""
        return self.low <= other.low and other.high <= self.high

    def shrunk(self, margin: float) -> "Band":
        """The same, closer by `margin` at each end."""
        return Band(self.low + margin, self.high - margin)


EVERYTHING = Band()


@dataclass(frozen=True, slots=True)
class Limit:
    """When `level` holds: a number outside `allowed`, or one of `states`, for `for_s` seconds. A number is clear of it
    inside `clear`. `text` is what the operator wrote: `above 85 %`."""

    level: Level
    text: str
    for_s: float
    allowed: Band = EVERYTHING
    clear: Band = EVERYTHING
    states: frozenset[str] = frozenset()

    def says(self, value: float | str) -> Says:
        """Judge a value that the rule can read."""
        if isinstance(value, str):
            return Says.BAD if value in self.states else Says.CLEAR
        if value not in self.allowed:
            return Says.BAD
        return Says.CLEAR if value in self.clear else Says.BETWEEN


@dataclass(frozen=True, slots=True)
class MissingLimit:
    """When a value that stays missing for one of `reasons` becomes bad."""

    level: Level
    for_s: float
    reasons: frozenset[Reason]
    text: str = "missing"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which series a rule judges. Empty parts match everything; patterns are those of a shell."""

    categories: frozenset[Category] = frozenset()
    devices: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    except_devices: tuple[str, ...] = ()
    except_instances: tuple[str, ...] = ()

    def holds(self, series: Series, category: Category) -> bool:
        """Whether the series is one of them. An instance is also matched by its label."""
        instance = (series.instance, series.label)
        return (
            (not self.categories or category in self.categories)
            and (not self.devices or _matches(self.devices, series.device))
            and (not self.instances or _matches(self.instances, *instance))
            and not _matches(self.except_devices, series.device)
            and not _matches(self.except_instances, *instance)
        )


def _matches(patterns: tuple[str, ...], *words: str) -> bool:
    return any(fnmatchcase(word, pattern) for pattern in patterns for word in words)


@dataclass(frozen=True, slots=True)
class Rule:
    """What is judged, and how. A number from `low` to `high`, or a state among `fine`, breaks nothing, so that the hot
    path decides with one comparison. `known` are all states the rule can read; `file` is where the rule stands."""

    rule: str
    clause: str
    title: str
    advice: str
    quantity: str
    scope: Scope
    warning: Limit | None
    critical: Limit | None
    missing: MissingLimit | None
    clear_for_s: float
    known: frozenset[str]
    file: str
    low: float = field(init=False)
    high: float = field(init=False)
    fine: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        limits = [limit for limit in (self.warning, self.critical) if limit]
        set_once = object.__setattr__  # the way of a frozen dataclass to work something out once
        low = max((limit.allowed.low for limit in limits), default=-inf)
        high = min((limit.allowed.high for limit in limits), default=inf)
        # no number is calm for a rule of states, and infinity is none for a rule of numbers
        set_once(self, "low", inf if self.known else max(low, -sys.float_info.max))
        set_once(self, "high", -inf if self.known else min(high, sys.float_info.max))
        set_once(self, "fine", self.known.difference(*(limit.states for limit in limits)))

    def reads(self, value: Value) -> bool:
        """Whether the value tells anything: a number for a rule of numbers, a known state for one of states."""
        if isinstance(value, str):
            return value in self.known
        return not self.known and not isinstance(value, Missing)
