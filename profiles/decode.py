"""Turns raw values into readings. Pure, and on the hot path of every poll."""

import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from fractions import Fraction
from types import MappingProxyType
from typing import NamedTuple

from watchkeeper.model.plain import printable
from watchkeeper.model.reading import NOT_AVAILABLE, NOT_VALID, Missing, Reason, Value
from watchkeeper.profiles.cell import PER_CENT, Cell, per_cents
from watchkeeper.profiles.condition import Where
from watchkeeper.profiles.scalars import Pattern, RawUnit, number_in
from watchkeeper.profiles.shape import Way

Raw = int | float | bytes | str
"""A raw value as an SNMP engine returns it: numbers as int, OCTET STRING and Opaque as bytes, object identifiers and
addresses as dotted text. An answer leaves out the objects that the device does not have."""

Marked = float | str
"""A raw value that means something else than a number: as text, or as a number."""

LONGEST_TEXT = 1000  # of a raw value; a regular expression may take the third power of it (model/pattern.py)
LONGEST_SHOWN = 40  # characters of a raw value in a text
FLOAT, DOUBLE = b"\x9f\x78\x04", b"\x9f\x79\x08"
"""The first bytes of a number in an Opaque: tag and length (net-snmp's include/net-snmp/library/asn1.h,
ASN_OPAQUE_FLOAT and ASN_OPAQUE_DOUBLE)."""
NO_SCALE = Fraction(0)
"""The factor if the device gives a scale that its profile does not know."""


class RowCondition(NamedTuple):
    """A condition on one row: the names of the object and of the object that it is compared with. `fixed` is the text
    where the condition is on the row's index."""

    condition: Where
    oid: str
    limit: str
    fixed: str | None

    @property
    def oids(self) -> tuple[str, ...]:
        """The objects that must be read for it."""
        return tuple(filter(None, (self.oid, self.limit)))

    def holds(self, answer: Mapping[str, Raw]) -> bool:
        """Whether it holds for that answer."""
        limit = answer.get(self.limit) if self.limit else None
        return self.condition.holds(self.text(answer), None if limit is None else raw_text(limit))

    def text(self, answer: Mapping[str, Raw]) -> str | None:
        """The text that it is about; None if the device does not answer for it."""
        raw = answer.get(self.oid) if self.fixed is None else self.fixed
        return None if raw is None else raw_text(raw)


class Calculation(NamedTuple):
    """How several numbers become one: `combine` them; `sign` is written between their names."""

    sign: str
    combine: Callable[[Sequence[float]], float]


CALCULATIONS: Mapping[str, Calculation] = MappingProxyType(
    {
        "ratio": Calculation("/", lambda numbers: numbers[0] / numbers[1]),
        "difference": Calculation("-", lambda numbers: numbers[0] - math.fsum(numbers[1:])),
        "sum": Calculation("+", math.fsum),
        "product": Calculation("*", math.prod),
    }
)


@dataclass(frozen=True, slots=True)
class Special:
    """The parts of a `profiles.shape.Way` that a plain number does not need. `absent_if` are raw values that count as
    missing while all their conditions hold. A calculation has its `parts`, which have no other step's conditions."""

    states: Mapping[str, str] | None = None
    otherwise: str = ""
    unit: str = ""
    extract: Pattern | None = None
    bit: int | None = None
    signed: int | None = None
    unsigned: int | None = None
    guards: tuple[RowCondition, ...] = ()
    absent_if: tuple[tuple[frozenset[Marked], tuple[RowCondition, ...]], ...] = ()
    scaled: bool = True
    calculation: Calculation | None = None
    parts: "tuple[DecodeStep, ...]" = ()


class DecodeStep(NamedTuple):
    """How one object becomes one value: raw * multiply / divide + offset, which must be within `low`..`high`. `plain`
    means that an integer needs nothing else."""

    oid: str
    multiply: int
    divide: int
    offset: float
    low: float
    high: float
    absent: frozenset[Marked]
    plain: bool
    special: Special

    @property
    def oids(self) -> tuple[str, ...]:
        """Every object that must be read for it."""
        special = self.special
        own = [name for part in special.parts for name in part.oids] or [self.oid]
        conditions = (*special.guards, *(guard for _, guards in special.absent_if for guard in guards))
        return (*own, *(name for guard in conditions for name in guard.oids))

    @property
    def source(self) -> str:
        """Where the value is from: the object, or the calculation with its objects."""
        special = self.special
        if special.calculation is None:
            return self.oid
        parts = (f"({one.source})" if one.special.parts else one.source for one in special.parts)
        return f" {special.calculation.sign} ".join(parts)


def guard_of(condition: Where, index: str) -> RowCondition:
    """The condition on the table's row `index`; outside tables `index` is empty."""
    ref, limit = condition.ref, condition.comparand.ref if condition.comparand else None
    fixed = None if ref.oid else ref.row(index)
    return RowCondition(condition, ref.name(index) if ref.oid else "", limit.name(index) if limit else "", fixed)


def decode_step(
    way: Way,
    oid: str,
    index: str = "",
    factor: Fraction = Fraction(1),
    *,
    unit: RawUnit | None = None,
    guards: tuple[RowCondition, ...] = (),
) -> DecodeStep:
    """Prepare the decoding of the object `oid` (of a table's row `index`). `factor` is the product of the device's
    scales; `unit` is the raw unit where the device gives it, and `guards` are the conditions under which it is right."""
    special = Special(
        way.states or None,
        way.otherwise,
        guards=(*guards, *(guard_of(one, index) for one in way.only_if)),
        absent_if=tuple(
            (_marked(one.raw), tuple(guard_of(condition, index) for condition in one.when)) for one in way.absent_if
        ),
    )
    return _number_step(way, oid, factor, unit, special)


def part_step(cell: Cell, oid: str, factor: Fraction = Fraction(1), unit: RawUnit | None = None) -> DecodeStep:
    """Prepare the decoding of one operand, the object `oid`."""
    return _number_step(cell, oid, factor, unit, Special())


def calculation_step(
    cell: Cell, parts: tuple[DecodeStep, ...], unit: str | None = None, guards: tuple[RowCondition, ...] = ()
) -> DecodeStep:
    """Prepare a calculation with `parts`. `unit` is the unit of the result; None for a part of another calculation."""
    worth = Fraction(1) if unit is None else Fraction(100) ** ((unit == PER_CENT) - per_cents(cell))
    special = Special(unit=unit or "", guards=guards, calculation=CALCULATIONS[cell.operation], parts=parts)
    return DecodeStep(
        parts[0].oid, worth.numerator, worth.denominator, 0.0, *_limits(cell), frozenset(), plain=False, special=special
    )


def _number_step(cell: Cell, oid: str, factor: Fraction, unit: RawUnit | None, special: Special) -> DecodeStep:
    unit = unit or cell.raw_unit
    worth = Fraction(unit.multiply, unit.divide) * (factor or 1) if unit else Fraction(1)
    special = replace(
        special,
        unit=unit.dimension if unit else "",
        extract=cell.extract,
        bit=cell.bit,
        signed=cell.signed,
        unsigned=cell.unsigned,
        scaled=factor != NO_SCALE,
    )
    needs_more = special.states or special.extract or special.guards or special.absent_if
    whole = special.bit is None and special.signed is None and special.unsigned is None
    return DecodeStep(
        oid,
        worth.numerator,
        worth.denominator,
        unit.offset if unit else 0.0,
        *_limits(cell),
        _marked(cell.absent),
        special.scaled and not needs_more and whole,
        special,
    )


def _limits(cell: Cell) -> tuple[float, float]:
    plausible = cell.plausible
    return (plausible.low, plausible.high) if plausible else (-math.inf, math.inf)


def _marked(markers: Iterable[str]) -> frozenset[Marked]:
    """The markers, as texts and as numbers: `0.0` is 0."""
    numbers = (number_in(marker) for marker in markers)
    return frozenset((*markers, *(number for number in numbers if number is not None)))


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
    if special.calculation is not None:
        return _calculated(one, special.calculation, answer)
    if raw is None:
        return Missing(Reason.ABSENT, "the device does not answer for it")
    if isinstance(raw, bytes) and special.bit is None:
        raw = _unwrap_opaque(raw)
    inactive = inactive_reason(special, answer)
    if inactive is not None:
        return inactive
    text = raw_text(raw)
    part = _value_part(special, raw, text)
    absent = _absent_reason(one, {text, raw, part, number_in(str(part))}, text[:LONGEST_SHOWN], answer)
    if absent is not None:
        return absent
    if part is not None and special.states is not None:
        return special.states.get(str(part), special.otherwise)
    return _scaled_number(one, part, text)


def _absent_reason(
    one: DecodeStep, said: AbstractSet[Raw | None], shown: str, answer: Mapping[str, Raw]
) -> Missing | None:
    """Why the raw value, in all its forms `said`, means that there is no value; None if it does not."""
    detail = f"{NOT_AVAILABLE} {shown}, which means: not available"
    if not one.absent.isdisjoint(said):
        return Missing(Reason.ABSENT, detail)
    for markers, guards in one.special.absent_if:
        if not markers.isdisjoint(said) and all(guard.holds(answer) for guard in guards):
            told = " and ".join(f"`{(guard.text(answer) or '')[:LONGEST_SHOWN]}` for {guard.oid}" for guard in guards)
            return Missing(Reason.ABSENT, f"{detail} while it answers {told}")
    return None


def _calculated(one: DecodeStep, calculation: Calculation, answer: Mapping[str, Raw]) -> Value:
    """The value of a calculation. What is missing of it names its object."""
    inactive = inactive_reason(one.special, answer)
    if inactive is not None:
        return inactive
    numbers = []
    for part, value in zip(one.special.parts, decode(one.special.parts, answer), strict=True):
        if isinstance(value, Missing):
            return value if part.special.calculation else Missing(value.reason, f"{value.detail} ({part.oid})")
        numbers.append(float(value))
    try:
        result = calculation.combine(numbers)
    except ZeroDivisionError:
        return Missing(Reason.MALFORMED, f"{one.special.parts[1].source} is 0, which nothing can be divided by")
    except OverflowError:
        result = math.inf
    return _scaled_number(one, result, f"{result:g}")


def _unwrap_opaque(raw: bytes) -> bytes | float:
    """The number in an Opaque; a 32-bit float is rounded to its seven digits. Other bytes are returned as they are."""
    if raw.startswith(FLOAT) and len(raw) == len(FLOAT) + 4:
        return float(f"{struct.unpack('>f', raw[3:])[0]:.7g}")
    if raw.startswith(DOUBLE) and len(raw) == len(DOUBLE) + 8:
        return float(struct.unpack(">d", raw[3:])[0])
    return raw


def inactive_reason(special: Special, answer: Mapping[str, Raw]) -> Missing | None:
    """Why the value is not valid now, or None: the first condition that does not hold."""
    for guard in special.guards:
        if not guard.holds(answer):
            text = guard.text(answer)
            shown = "nothing" if text is None else f"`{text[:LONGEST_SHOWN]}`"
            return Missing(Reason.ABSENT, f"{NOT_VALID}: the device answers {shown} for {guard.oid or 'the index'}")
    return None


def _value_part(special: Special, raw: Raw, text: str) -> int | float | str | None:
    """The part of a raw value that is the value, by `extract`, `bit`, `signed` and `unsigned`; None if there is no such part."""
    part: int | float | str = raw if isinstance(raw, int | float) else text
    if special.extract:
        found = special.extract.search(text)
        if not found or found[1] is None:
            return None
        part = found[1]
    if special.bit is not None:
        return _bit_of(special.bit, raw if isinstance(raw, bytes) else part)
    if special.signed or special.unsigned:
        try:
            return _with_sign(int(part), special.signed, special.unsigned)
        except (ValueError, OverflowError):
            return None
    return part


def _with_sign(number: int, signed: int | None, unsigned: int | None) -> int:
    """A number whose sign the device gets wrong; one that does not fit into so many bits is left as it is."""
    span = 1 << (signed or unsigned or 0)
    if signed:
        return number - span if span // 2 <= number < span else number
    return number + span if -span // 2 <= number < 0 else number


def _bit_of(bit: int, part: Raw) -> int | None:
    """One bit. In BITS, bit 0 is the highest bit of the first byte (RFC 2578, 7.1.4); in a number, it is worth 1."""
    if isinstance(part, bytes):
        return part[bit // 8] >> (7 - bit % 8) & 1 if bit // 8 < len(part) else 0
    try:
        return int(part) >> bit & 1
    except (ValueError, OverflowError):
        return None


def _scaled_number(one: DecodeStep, part: float | str | None, text: str) -> Value:
    if part is None:
        return Missing(Reason.MALFORMED, f"`{text[:LONGEST_SHOWN]}` does not have the part that is the value")
    if not one.special.scaled:
        return Missing(Reason.MALFORMED, "the device gives a scale or unit that the profile does not know")
    number = part if isinstance(part, int | float) else number_in(part)
    try:
        value = math.nan if number is None else number * one.multiply / one.divide + one.offset
    except OverflowError:
        value = math.nan
    if not math.isfinite(value):
        return Missing(Reason.MALFORMED, f"`{text[:LONGEST_SHOWN]}` is not a number")
    unit = one.special.unit
    if not one.low <= value <= one.high:
        shown, limits = f"{value:g}", f"{one.low:g} .. {one.high:g}"
        return Missing(Reason.IMPLAUSIBLE, f"{_with_unit(shown, unit)} is outside {_with_unit(limits, unit)}")
    return value


def _with_unit(number: str, unit: str) -> str:
    return f"{number} {unit}".rstrip()


def raw_text(raw: Raw) -> str:
    """A raw value as printable text, at most LONGEST_TEXT long: for labels, markers and regular expressions."""
    if isinstance(raw, bytes | str):
        raw = raw[:LONGEST_TEXT]
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
    return printable(text.replace("\n", " "), unsafe=" ").strip()
