"""Raw values into readings: pure, and on the hot path of every poll."""

import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from watchkeeper.model.reading import Missing, Reason, Value
from watchkeeper.profiles.scalars import Pattern
from watchkeeper.profiles.shape import Way, Where

Raw = int | float | bytes | str
"""A value as an SNMP engine hands it over: numbers as int, OCTET STRING and Opaque as bytes, object identifiers and
addresses as dotted text. What the device does not have is left out."""

LONGEST_SHOWN = 40
FLOAT, DOUBLE = b"\x9f\x78\x04", b"\x9f\x79\x08"
"""How a number in an Opaque begins: net-snmp's include/net-snmp/library/asn1.h, ASN_OPAQUE_FLOAT and ASN_OPAQUE_DOUBLE, and
the length."""
NO_SCALE = Fraction(0)
"""The factor where the device gives a scale that its profile does not know."""


@dataclass(frozen=True, slots=True)
class Special:
    """What a raw value needs that is not simply a number: see `profiles.shape.Way`. Each of `guards` is an object and
    the condition on it."""

    states: Mapping[str, str] | None
    otherwise: str
    unit: str
    extract: Pattern | None
    bit: int | None
    signed: int | None
    guards: tuple[tuple[str, Where], ...]
    scaled: bool


class DecodeStep(NamedTuple):
    """How one object becomes one value: raw * multiply / divide + offset, held against `low`..`high`. `plain` says that a
    whole number needs nothing else."""

    oid: str
    multiply: int
    divide: int
    offset: float
    low: float
    high: float
    absent: frozenset[int | str]
    plain: bool
    special: Special

    @property
    def oids(self) -> tuple[str, ...]:
        """Every object that is read for it."""
        return (self.oid, *(oid for oid, _ in self.special.guards))


def decode_step(way: Way, oid: str, index: str = "", factor: Fraction = Fraction(1)) -> DecodeStep:
    """Prepare the decoding of the object `oid` (in a table's row `index`), read this way, times the factor its `scale` gave."""
    unit, plausible = way.raw_unit, way.plausible
    guards = tuple((one.oid.name(index), one) for one in way.only_if)
    worth = Fraction(unit.multiply, unit.divide) * (factor or 1) if unit else Fraction(1)
    special = Special(
        way.states or None,
        way.otherwise,
        unit.dimension if unit else "",
        way.extract,
        way.bit,
        way.signed,
        guards,
        factor != NO_SCALE,
    )
    return DecodeStep(
        oid,
        worth.numerator,
        worth.denominator,
        unit.offset if unit else 0.0,
        plausible.low if plausible else -math.inf,
        plausible.high if plausible else math.inf,
        frozenset(form for marker in way.absent for form in _forms(marker)),
        special.scaled and not (way.states or way.extract or guards) and way.bit is None and way.signed is None,
        special,
    )


def _forms(marker: str) -> tuple[int | str, ...]:
    try:
        return marker, int(marker)
    except ValueError:
        return (marker,)


def decode(steps: Iterable[DecodeStep], answer: Mapping[str, Raw]) -> list[Value]:
    """Make the values of one poll, in the order of the steps; what is not in the answer is Missing(ABSENT)."""
    values: list[Value] = []
    add, find = values.append, answer.get
    for one in steps:
        oid, multiply, divide, offset, low, high, absent, plain, _ = one
        raw = find(oid)
        if raw.__class__ is int and plain and raw not in absent:
            value = raw * multiply / divide + offset
            if low <= value <= high:
                add(value)
                continue
        add(_carefully(one, raw, answer))
    return values


def _carefully(one: DecodeStep, raw: Raw | None, answer: Mapping[str, Raw]) -> Value:
    """Everything that is not simply a good whole number."""
    special = one.special
    if raw is None:
        return Missing(Reason.ABSENT, "the device does not answer for it")
    if isinstance(raw, bytes) and special.bit is None:
        raw = _unwrapped(raw)
    asleep = inactive_reason(special, answer)
    if asleep is not None:
        return asleep
    text = raw_text(raw)
    part = _part(special, raw, text)
    if not one.absent.isdisjoint((text, raw, part)):
        return Missing(Reason.ABSENT, f"the device answers {text[:LONGEST_SHOWN]}, which means: not available")
    if part is None:
        return Missing(Reason.MALFORMED, f"`{text[:LONGEST_SHOWN]}` does not have the part that is the value")
    if special.states is not None:
        return special.states.get(str(part), special.otherwise)
    return _number(one, part, text)


def _unwrapped(raw: bytes) -> bytes | float:
    """The number in an Opaque; one of 32 bits to the seven digits that it has. Anything else as it is."""
    if raw.startswith(FLOAT) and len(raw) == len(FLOAT) + 4:
        return float(f"{struct.unpack('>f', raw[3:])[0]:.7g}")
    if raw.startswith(DOUBLE) and len(raw) == len(DOUBLE) + 8:
        return float(struct.unpack(">d", raw[3:])[0])
    return raw


def inactive_reason(special: Special, answer: Mapping[str, Raw]) -> Missing | None:
    """The reason why the value does not count now, if one of its conditions does not hold."""
    for oid, condition in special.guards:
        there = answer.get(oid)
        text = None if there is None else raw_text(there)
        if not condition.holds(text):
            shown = "nothing" if text is None else f"`{text[:LONGEST_SHOWN]}`"
            return Missing(Reason.ABSENT, f"not valid now: the device answers {shown} for {oid}")
    return None


def _part(special: Special, raw: Raw, text: str) -> int | float | str | None:
    """The part of a raw value that is the value; None where it has no such part."""
    part: int | float | str = raw if isinstance(raw, int | float) else text
    if special.extract:
        found = special.extract.search(text)
        if not found or found[1] is None:
            return None
        part = found[1]
    if special.bit is not None:
        return _bit(special.bit, raw if isinstance(raw, bytes) else part)
    if special.signed:
        try:
            number = int(part)
        except (ValueError, OverflowError):
            return None
        span = 1 << special.signed
        return number - span if span // 2 <= number < span else number
    return part


def _bit(bit: int, part: Raw) -> int | None:
    """One bit: of BITS the first is the highest of the first byte (RFC 2578, 7.1.4), of a number 0 is worth 1."""
    if isinstance(part, bytes):
        return part[bit // 8] >> (7 - bit % 8) & 1 if bit // 8 < len(part) else 0
    try:
        return int(part) >> bit & 1
    except (ValueError, OverflowError):
        return None


def _number(one: DecodeStep, part: float | str, text: str) -> Value:
    if not one.special.scaled:
        return Missing(Reason.MALFORMED, "the device gives a scale that the profile does not know")
    try:
        value = float(part) * one.multiply / one.divide + one.offset
    except (ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        return Missing(Reason.MALFORMED, f"`{text[:LONGEST_SHOWN]}` is not a number")
    unit = one.special.unit
    if not one.low <= value <= one.high:
        limits = f"{one.low:g} .. {one.high:g} {unit}".rstrip()
        return Missing(Reason.IMPLAUSIBLE, f"{value:g} {unit}".rstrip() + f" is outside {limits}")
    return value


def raw_text(raw: Raw) -> str:
    """A raw value as text: what a device calls a row, or what a marker is compared with."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
    if not text.isprintable():
        text = "".join(sign if sign.isprintable() else " " for sign in text)
    return text.strip()
