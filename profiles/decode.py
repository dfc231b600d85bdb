"""Turns raw values into readings. Pure, and on the hot path of every poll."""

import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from watchkeeper.model.reading import NOT_AVAILABLE, NOT_VALID, Missing, Reason, Value
from watchkeeper.profiles.scalars import Pattern
from watchkeeper.profiles.shape import Way, Where

Raw = int | float | bytes | str
"""A raw value as an SNMP engine returns it: numbers as int, OCTET STRING and Opaque as bytes, object identifiers and
addresses as dotted text. An answer leaves out the objects that the device does not have."""

LONGEST_SHOWN = 40  # characters of a raw value in a text
FLOAT, DOUBLE = b"\x9f\x78\x04", b"\x9f\x79\x08"
"""The first bytes of a number in an Opaque: tag and length (net-snmp's include/net-snmp/library/asn1.h,
ASN_OPAQUE_FLOAT and ASN_OPAQUE_DOUBLE)."""
NO_SCALE = Fraction(0)
"""The factor if the device gives a scale that its profile does not know."""


@dataclass(frozen=True, slots=True)
class Special:
    """The parts of a `profiles.shape.Way` that a plain number does not need. Each of `guards` is an object and the
    condition on it."""

    states: Mapping[str, str] | None
    otherwise: str
    unit: str
    extract: Pattern | None
    bit: int | None
    signed: int | None
    guards: tuple[tuple[str, Where], ...]
    scaled: bool


class DecodeStep(NamedTuple):
    """How one object becomes one value: raw * multiply / divide + offset, which must be within `low`..`high`. `plain`
    means that an integer needs nothing else."""

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
        """Every object that must be read for it."""
        return (self.oid, *(oid for oid, _ in self.special.guards))


def decode_step(way: Way, oid: str, index: str = "", factor: Fraction = Fraction(1)) -> DecodeStep:
    """Prepare the decoding of the object `oid` (of a table's row `index`); `factor` is the product of the device's
    scales."""
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
        frozenset(form for marker in way.absent for form in _marker_forms(marker)),
        special.scaled and not (way.states or way.extract or guards) and way.bit is None and way.signed is None,
        special,
    )


def _marker_forms(marker: str) -> tuple[int | str, ...]:
    try:
        return marker, int(marker)
    except ValueError:
        return (marker,)


def decode(steps: Iterable[DecodeStep], answer: Mapping[str, Raw]) -> list[Value]:
    """Make the values of one poll, in the order of the steps. A step without an answer is Missing(ABSENT)."""
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
        add(_decode_any(one, raw, answer))
    return values


def _decode_any(one: DecodeStep, raw: Raw | None, answer: Mapping[str, Raw]) -> Value:
    """Decode any raw value: the slow path."""
    special = one.special
    if raw is None:
        return Missing(Reason.ABSENT, "the device does not answer for it")
    if isinstance(raw, bytes) and special.bit is None:
        raw = _unwrap_opaque(raw)
    inactive = inactive_reason(special, answer)
    if inactive is not None:
        return inactive
    text = raw_text(raw)
    part = _value_part(special, raw, text)
    if not one.absent.isdisjoint((text, raw, part)):
        return Missing(Reason.ABSENT, f"{NOT_AVAILABLE} {text[:LONGEST_SHOWN]}, which means: not available")
    if part is None:
        return Missing(Reason.MALFORMED, f"`{text[:LONGEST_SHOWN]}` does not have the part that is the value")
    if special.states is not None:
        return special.states.get(str(part), special.otherwise)
    return _scaled_number(one, part, text)


def _unwrap_opaque(raw: bytes) -> bytes | float:
    """The number in an Opaque; a 32-bit float is rounded to its seven digits. Other bytes are returned as they are."""
    if raw.startswith(FLOAT) and len(raw) == len(FLOAT) + 4:
        return float(f"{struct.unpack('>f', raw[3:])[0]:.7g}")
    if raw.startswith(DOUBLE) and len(raw) == len(DOUBLE) + 8:
        return float(struct.unpack(">d", raw[3:])[0])
    return raw


def inactive_reason(special: Special, answer: Mapping[str, Raw]) -> Missing | None:
    """Why the value is not valid now, or None: the first condition that does not hold."""
    for oid, condition in special.guards:
        raw = answer.get(oid)
        text = None if raw is None else raw_text(raw)
        if not condition.holds(text):
            shown = "nothing" if text is None else f"`{text[:LONGEST_SHOWN]}`"
            return Missing(Reason.ABSENT, f"{NOT_VALID}: the device answers {shown} for {oid}")
    return None


def _value_part(special: Special, raw: Raw, text: str) -> int | float | str | None:
    """The part of a raw value that is the value, by `extract`, `bit` and `signed`; None if there is no such part."""
    part: int | float | str = raw if isinstance(raw, int | float) else text
    if special.extract:
        found = special.extract.search(text)
        if not found or found[1] is None:
            return None
        part = found[1]
    if special.bit is not None:
        return _bit_of(special.bit, raw if isinstance(raw, bytes) else part)
    if special.signed:
        try:
            number = int(part)
        except (ValueError, OverflowError):
            return None
        span = 1 << special.signed
        return number - span if span // 2 <= number < span else number
    return part


def _bit_of(bit: int, part: Raw) -> int | None:
    """One bit. In BITS, bit 0 is the highest bit of the first byte (RFC 2578, 7.1.4); in a number, it is worth 1."""
    if isinstance(part, bytes):
        return part[bit // 8] >> (7 - bit % 8) & 1 if bit // 8 < len(part) else 0
    try:
        return int(part) >> bit & 1
    except (ValueError, OverflowError):
        return None


def _scaled_number(one: DecodeStep, part: float | str, text: str) -> Value:
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
    """A raw value as printable text: for labels, and for the comparison with markers."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
    if not text.isprintable():
        text = "".join(sign if sign.isprintable() else " " for sign in text)
    return text.strip()
