"""Raw values into readings: pure, and on the hot path of every poll."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from agent.profiles.shape import Way
from model.reading import Missing, Reason, Value

Raw = int | float | bytes | str
"""A value as an SNMP engine hands it over: numbers as int, OCTET STRING and Opaque as bytes, object identifiers and
addresses as dotted text. What the device does not have is left out."""

LONGEST_SHOWN = 40


class Step(NamedTuple):
    """How one object becomes one value: raw * multiply / divide + offset, held against `low`..`high`; or `states`."""

    oid: str
    multiply: int
    divide: int
    offset: float
    low: float
    high: float
    absent: frozenset[int | str]
    states: Mapping[str, str] | None
    otherwise: str
    unit: str


def step(way: Way, oid: str) -> Step:
    """Prepare the decoding of the object `oid`, read this way."""
    unit, plausible = way.raw_unit, way.plausible
    return Step(
        oid,
        unit.multiply if unit else 1,
        unit.divide if unit else 1,
        unit.offset if unit else 0.0,
        plausible.low if plausible else -math.inf,
        plausible.high if plausible else math.inf,
        frozenset(form for marker in way.absent for form in _forms(marker)),
        way.states or None,
        way.otherwise,
        unit.dimension if unit else "",
    )


def _forms(marker: str) -> tuple[int | str, ...]:
    try:
        return marker, int(marker)
    except ValueError:
        return (marker,)


def decode(steps: Iterable[Step], answer: Mapping[str, Raw]) -> list[Value]:
    """Make the values of one poll, in the order of the steps; what is not in the answer is Missing(ABSENT)."""
    values: list[Value] = []
    add, find = values.append, answer.get
    for one in steps:
        oid, multiply, divide, offset, low, high, absent, states, _, _ = one
        raw = find(oid)
        if raw.__class__ is int and states is None and raw not in absent:
            value = raw * multiply / divide + offset
            if low <= value <= high:
                add(value)
                continue
        add(_carefully(one, raw))
    return values


def _carefully(one: Step, raw: Raw | None) -> Value:
    """Everything that is not simply a good whole number."""
    if raw is None:
        return Missing(Reason.ABSENT, "the device does not answer for it")
    text = said(raw)
    if text in one.absent or raw in one.absent:
        return Missing(Reason.ABSENT, f"the device answers {text}, which means: not available")
    if one.states is not None:
        return one.states.get(text, one.otherwise)
    try:
        number = float(text) if isinstance(raw, bytes | str) else raw
        value = number * one.multiply / one.divide + one.offset
    except (ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        return Missing(Reason.MALFORMED, f"`{text[:LONGEST_SHOWN]}` is not a number")
    if not one.low <= value <= one.high:
        limits = f"{one.low:g} .. {one.high:g} {one.unit}".rstrip()
        return Missing(Reason.IMPLAUSIBLE, f"{value:g} {one.unit}".rstrip() + f" is outside {limits}")
    return value


def said(raw: Raw) -> str:
    """A raw value as text: what a device calls a row, or what a marker is compared with."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
    return "".join(sign if sign.isprintable() else " " for sign in text).strip()
