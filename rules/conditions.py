"""The conditions of a rule (`when`): whether its limits count now, given the readings of the same sweep. Pure.

A condition is fulfilled, not fulfilled, or it cannot be told. With `or_missing`, the default, what cannot be told counts as
fulfilled, so that a missing companion hides no fault.
"""

from collections.abc import Iterator, Sequence
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from watchkeeper.model.reading import Series, Value
from watchkeeper.model.verdict import Companion
from watchkeeper.rules.rule import Condition, When

MAX_COMPANIONS = 4
"""A verdict tells so many companions: one of a condition is enough to understand it."""


class Counts(Enum):
    """Whether the limits of a rule count now. NO: the value is no fault, whatever it is. UNKNOWN: a bad value says nothing,
    neither that a fault begins nor that it ends."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Applied(NamedTuple):
    """The conditions of a rule at one moment. `held` are the texts of those with `ever` that have been fulfilled by now."""

    counts: Counts
    held: frozenset[str] = frozenset()


ALWAYS = Applied(Counts.YES)
"""For a rule without conditions."""

Columns = tuple[tuple[tuple[int, ...], ...], ...]
"""For each condition of a `When`, the indices of the series that it looks at."""


def find_columns(when: When, series: Sequence[Series], judged: int) -> Columns:
    """Find the series that each condition looks at. `judged` is the index of the series that the rule judges."""
    return _shared(tuple(tuple(tuple(_matching(one, series, judged)) for one in group) for group in when))


@lru_cache(maxsize=4096)
def _shared(columns: Columns) -> Columns:
    """The same columns as one object: they are equal on a thousand equal devices."""
    return columns


def _matching(condition: Condition, series: Sequence[Series], judged: int) -> Iterator[int]:
    for index, one in enumerate(series):
        if one.quantity != condition.quantity:
            continue
        if one.instance == series[judged].instance if condition.same_instance else index != judged:
            yield index


def apply(when: When, columns: Columns, values: Sequence[Value], held: frozenset[str]) -> Applied:
    """Whether the limits count with these values. `held` are the conditions with `ever` that were fulfilled before."""
    counts = Counts.YES
    for group, indices in zip(when, columns, strict=True):
        results = []
        for condition, found in zip(group, indices, strict=True):
            result = _fulfilled(condition, found, values)
            if condition.ever:
                if result:
                    held = held if condition.text in held else held | {condition.text}
                result = condition.text in held or None
            elif result is None and condition.or_missing:
                result = True
            results.append(result)
        if True in results:
            continue
        if None not in results:
            counts = Counts.NO
        elif counts is Counts.YES:
            counts = Counts.UNKNOWN
    return Applied(counts, held)


def _fulfilled(condition: Condition, indices: tuple[int, ...], values: Sequence[Value]) -> bool | None:
    """Whether the series at `indices` fulfil the condition; None if it cannot be told."""
    unknown = not indices
    for index in indices:
        result = condition.fulfilled_by(values[index])
        if result is None:
            unknown = True
        elif result is not condition.every:
            return result
    return None if unknown else condition.every


def tell(
    when: When, columns: Columns, series: Sequence[Series], values: Sequence[Value], *, holds: bool
) -> tuple[Companion, ...]:
    """The companions that a person must know of: those by which the limits count (`holds`), or by which they do not. A
    condition that looks at the judged series itself, or was fulfilled earlier, tells nothing."""
    told = []
    for group, indices in zip(when, columns, strict=True):
        pairs = list(zip(group, indices, strict=True))
        if not holds and any(one.ever or _fulfilled(one, found, values) is not False for one, found in pairs):
            continue
        for condition, found in pairs:
            if condition.ever or (holds and condition.negative):
                continue
            said = next((index for index in found if condition.fulfilled_by(values[index]) is holds), None)
            if said is not None:
                told.append(Companion(condition.quantity, values[said], series[said].label, holds))
    return tuple(dict.fromkeys(told))[:MAX_COMPANIONS]
