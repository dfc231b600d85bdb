"""A compiled rule and its limits. rules/compile makes them, rules/evaluate uses them."""

import sys
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from math import inf, isfinite

from watchkeeper.model.device import Category
from watchkeeper.model.reading import Missing, Reason, Series, Value
from watchkeeper.model.verdict import Level


class Comparison(Enum):
    """The result of comparing a value with a limit. IN_MARGIN is within the limit, but not by the margin that clears it.
    NONE means that the value cannot be compared: it is missing, or a state that the quantity does not know."""

    BAD = "bad"
    IN_MARGIN = "in margin"
    CLEAR = "clear"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Band:
    """The numbers from `low` to `high`, both included, in the quantity's unit."""

    low: float = -inf
    high: float = inf

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def covers(self, other: "Band") -> bool:
        """Whether this band contains the whole other one."""
        return self.low <= other.low and other.high <= self.high

    def shrunk(self, margin: float) -> "Band":
        """This band, smaller by `margin` at each end."""
        return Band(self.low + margin, self.high - margin)


ANY_NUMBER = Band()


@dataclass(frozen=True, slots=True)
class Limit:
    """A value is `level` when it is a number outside `allowed`, or one of `states`, for `for_s` seconds. A number clears
    the limit inside `clear`. `text` is what the operator wrote: `above 85 %`."""

    level: Level
    text: str
    for_s: float
    allowed: Band = ANY_NUMBER
    clear: Band = ANY_NUMBER
    states: frozenset[str] = frozenset()

    def compare(self, value: float | str) -> Comparison:
        """Compare a value that the rule can judge."""
        if isinstance(value, str):
            return Comparison.BAD if value in self.states else Comparison.CLEAR
        if value not in self.allowed:
            return Comparison.BAD
        return Comparison.CLEAR if value in self.clear else Comparison.IN_MARGIN


@dataclass(frozen=True, slots=True)
class MissingLimit:
    """A value is `level` when it is missing for one of `reasons` for `for_s` seconds."""

    level: Level
    for_s: float
    reasons: frozenset[Reason]
    text: str = "missing"


@dataclass(frozen=True, slots=True)
class Condition:
    """What must be true of another quantity of the device. A value fulfils it when it is a number outside `unfulfilled`, or
    one of `states`. `same_instance`: only the series of the judged instance counts, otherwise every series of the quantity
    except the judged one. `every`: all these series must fulfil it, otherwise one is enough. `or_missing`: it is fulfilled
    when it cannot be told. `ever`: it stays fulfilled once it was. `text` is what the operator wrote."""

    quantity: str
    text: str
    same_instance: bool = False
    every: bool = False
    or_missing: bool = True
    ever: bool = False
    negative: bool = False  # written as `is_not`: that it holds is nothing to tell
    unfulfilled: Band = ANY_NUMBER
    states: frozenset[str] = frozenset()
    known_states: frozenset[str] = frozenset()

    def fulfilled_by(self, value: Value) -> bool | None:
        """Whether one value fulfils it; None if it cannot be told: the value is missing, or an unknown state."""
        if isinstance(value, str):
            return value in self.states if value in self.known_states else None
        if isinstance(value, Missing) or self.known_states or not isfinite(value):
            return None
        return value not in self.unfulfilled


When = tuple[tuple[Condition, ...], ...]
"""When the limits of a rule count: of each group at least one condition must be fulfilled."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The series that a rule judges. An empty field matches everything. Patterns are shell patterns."""

    categories: frozenset[Category] = frozenset()
    devices: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    except_devices: tuple[str, ...] = ()
    except_instances: tuple[str, ...] = ()

    def matches(self, series: Series, category: Category) -> bool:
        """Whether the rule judges this series. An instance pattern is compared with the instance and with its label."""
        instance = (series.instance, series.label)
        return (
            (not self.categories or category in self.categories)
            and (not self.devices or _any_match(self.devices, series.device))
            and (not self.instances or _any_match(self.instances, *instance))
            and not _any_match(self.except_devices, series.device)
            and not _any_match(self.except_instances, *instance)
        )


def _any_match(patterns: tuple[str, ...], *words: str) -> bool:
    return any(fnmatchcase(word, pattern) for pattern in patterns for word in words)


@dataclass(frozen=True, slots=True)
class Rule:
    """A compiled rule. A number from `low` to `high`, or a state of `ok_states`, breaks no limit, so the hot path decides
    with one comparison. `known_states` are all states that the rule can judge, empty for a rule on numbers. `file` is the
    file that wrote or changed the rule last. `when` is empty for a rule whose limits always count; `remembers` are its conditions with `ever`."""

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
    known_states: frozenset[str]
    file: str
    when: When = ()
    low: float = field(init=False)
    high: float = field(init=False)
    ok_states: frozenset[str] = field(init=False)
    remembers: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        limits = [limit for limit in (self.warning, self.critical) if limit]
        set_once = object.__setattr__  # a frozen dataclass computes its own fields this way
        low = max((limit.allowed.low for limit in limits), default=-inf)
        high = min((limit.allowed.high for limit in limits), default=inf)
        # An empty range for a rule on states: no number is ok there. Infinity is outside the range of a rule on numbers.
        set_once(self, "low", inf if self.known_states else max(low, -sys.float_info.max))
        set_once(self, "high", -inf if self.known_states else min(high, sys.float_info.max))
        ever = (one.text for group in self.when for one in group if one.ever)
        set_once(self, "remembers", frozenset(ever))
        set_once(self, "ok_states", self.known_states.difference(*(limit.states for limit in limits)))

    def breaks_none(self, value: Value) -> bool:
        """Whether the value is judged and breaks no limit."""
        if type(value) is float:
            return self.low <= value <= self.high
        return type(value) is str and value in self.ok_states

    def can_judge(self, value: Value) -> bool:
        """Whether the value is a number (for a rule on numbers) or a known state (for a rule on states)."""
        if isinstance(value, str):
            return value in self.known_states
        return not self.known_states and not isinstance(value, Missing)
