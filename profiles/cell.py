"""What a number of a profile is read from: one object and the meaning of its raw value, or a calculation with several."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from watchkeeper.profiles.condition import Named, Scale, Speaks, UnitFrom, sole_speaker
from watchkeeper.profiles.scalars import Marker, Pattern, Range, RawUnit, Ref, Register

OPERATIONS = ("ratio", "difference", "sum", "product")
PAIR = 2
WORD_SIZES = (None, 8, 16, 32, 64)
PLAIN, CELSIUS = "", "°C"
PER_CENT = "%"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """An object and the meaning of its raw value, or a calculation.

    A number needs `raw_unit` (`0.1 V`: what one step of the raw value is worth) or `unit_from`, times the factors of
    `scale`. It is Missing if the raw value is a marker of `absent` or the number is outside `plausible`. Before that,
    `extract` takes the text of its group, `bit` one bit of a number (0 is worth 1) or of BITS (0 is the first);
    `signed` reads so many bits as two's complement, and `unsigned` a negative number as so many bits without a sign.
    One of `ratio`, `difference`, `sum` and `product` stands for the object where the value is calculated.
    """

    register: Register | None = None
    variable: Marker | None = None
    raw_unit: RawUnit | None = None
    unit_from: UnitFrom | None = None
    scale: tuple[Scale, ...] = ()
    plausible: Range | None = None
    absent: tuple[Marker, ...] = ()
    extract: Pattern | None = None
    bit: int | None = None
    signed: int | None = None
    unsigned: int | None = None
    ratio: "tuple[Operand, ...]" = ()
    difference: "tuple[Operand, ...]" = ()
    sum: "tuple[Operand, ...]" = ()
    product: "tuple[Operand, ...]" = ()

    @property
    def operation(self) -> str:
        """The name of the calculation; empty where the value is that of one object."""
        return next((name for name in OPERATIONS if getattr(self, name)), "")

    @property
    def operands(self) -> "tuple[Operand, ...]":
        """What is calculated with."""
        return self.ratio or self.difference or self.sum or self.product

    @property
    def leaves(self) -> "tuple[Operand, ...]":
        """The operands that are objects, also those of calculations inside."""
        return tuple(leaf for one in self.operands for leaf in (one.leaves or (one,)))

    @property
    def helpers(self) -> Iterator[Named]:
        """The objects that say what the raw value is worth."""
        yield from self.scale
        if self.unit_from:
            yield self.unit_from
        for one in self.operands:
            yield from one.helpers

    @property
    def helper_refs(self) -> "Iterator[Ref]":
        """The references of its operands, scales and units."""
        yield from (one.ref for one in self.leaves)
        yield from (one.ref for one in self.helpers)

    @property
    def name_ref(self) -> Ref:
        """The reference to its register or variable."""
        return Ref(self.register.name if self.register else self.variable or "", 0)

    def speaks_of(self, oid: object) -> Speaks | None:
        """The probe that can read it; None if it does not name exactly one object or calculation."""
        if not self.operation:
            return sole_speaker(oid, self.register, self.variable)
        kinds = {one.speaks for one in self.leaves}
        return kinds.pop() if len(kinds) == 1 and (oid, self.register, self.variable) == (None, None, None) else None

    def cell_problems(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if self.extract and self.extract.groups != 1:
            yield "extract", "needs exactly one group, the part that is the value: `Temp: ([-\\d.]+)`"
        for name in ("signed", "unsigned"):
            if getattr(self, name) not in WORD_SIZES:
                yield name, "is 8, 16, 32 or 64"
        if self.signed and self.unsigned:
            yield "unsigned", "cannot be used beside `signed`"
        if self.raw_unit and self.unit_from:
            yield "unit_from", "cannot be used beside `raw_unit`"
        if self.unit_from and len({one.dimension for one in self.unit_from.by.values()}) != 1:
            yield "unit_from", "must have units of one quantity; use `where` for rows of another one"
        if self.operation:
            yield from self._calculation_problems()

    def _calculation_problems(self) -> Iterator[tuple[str, str]]:
        if sum(bool(getattr(self, name)) for name in OPERATIONS) > 1:
            yield self.operation, f"only one of {', '.join(OPERATIONS)} can be used"
        if len(self.operands) < PAIR or (self.ratio and len(self.operands) > PAIR):
            yield self.operation, f"needs {'two' if self.ratio else 'two or more'} operands"
        alone = (self.raw_unit, self.unit_from, self.scale, self.absent, self.extract, self.signed, self.unsigned)
        if any(alone) or self.bit is not None:
            yield self.operation, "says how raw values are read: `raw_unit` and the like belong to its operands"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand(Cell):
    """A part of a calculation: an object with its raw unit, or a calculation again."""

    MESSAGE_NAME = "operand"

    oid: Ref | None = None

    @property
    def speaks(self) -> Speaks | None:
        """The probe that can read it; None if it does not name exactly one object or calculation."""
        return self.speaks_of(self.oid)

    @property
    def ref(self) -> Ref:
        """The reference to its object."""
        return self.oid or self.name_ref

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        yield from self.cell_problems()
        if self.speaks is None:
            yield "", "needs `oid`, the object to read (or one of `register`, `variable` and a calculation)"
        if not (self.operation or self.raw_unit or self.unit_from):
            yield "", "an operand needs `raw_unit`, what one step of the raw value is worth, such as `0.1 V` or `1`"
        units = units_of(self)
        if self.operation and not units:
            yield self.operation, f"of {_listed(self)} has no unit"
        if self.plausible and units and self.plausible.unit not in units:
            yield "plausible", f"must be in {' or '.join(sorted(units)) or 'plain numbers'}"


# ---- units ----

_PRODUCTS = {
    frozenset(("V", "A")): frozenset(("VA", "W", "var")),
    frozenset(("Ω", "A")): frozenset(("V",)),
}
_POWERS = frozenset(("W", "VA", "var"))


def units_of(cell: Cell) -> frozenset[str]:
    """The units that the number may have, as symbols of `model.quantity`; none if they do not go together."""
    if not cell.operation:
        unit = cell.raw_unit or _first_unit(cell)
        return frozenset((unit.dimension,)) if unit else frozenset()
    units = [units_of(one) for one in cell.operands]
    if cell.operation in ("sum", "difference"):
        same = frozenset.intersection(*units) if len(set(map(per_cents, cell.operands))) == 1 else frozenset()
        return same - {CELSIUS} if cell.sum else same
    combine = _quotient if cell.ratio else _product
    found = units[0]
    for more in units[1:]:
        found = frozenset(unit for one, other in product(found, more) for unit in combine(one, other))
    return found


def _first_unit(cell: Cell) -> RawUnit | None:
    return next(iter(cell.unit_from.by.values()), None) if cell.unit_from else None


def per_cents(cell: Cell) -> int:
    """How many hundreds the calculated number must be divided by: 1 for a percentage, 2 for a product of two."""
    if not cell.operation:
        return int(PER_CENT in units_of(cell))
    counts = [per_cents(one) for one in cell.operands]
    return sum(counts) if cell.product else counts[0] - counts[1] if cell.ratio else counts[0]


def _product(one: str, other: str) -> frozenset[str]:
    if CELSIUS in (one, other):
        return frozenset()
    if one in (PLAIN, PER_CENT) or other in (PLAIN, PER_CENT):
        rest = {one, other} - {PLAIN, PER_CENT}
        return frozenset(rest or (PLAIN, PER_CENT))
    return _PRODUCTS.get(frozenset((one, other)), frozenset())


def _quotient(one: str, other: str) -> frozenset[str]:
    if CELSIUS in (one, other):
        return frozenset()
    if one == other or {one, other} <= _POWERS or {one, other} == {PLAIN, PER_CENT}:
        return frozenset((PLAIN, PER_CENT))
    if other in (PLAIN, PER_CENT):
        return frozenset((one,))
    return frozenset(
        unit for pair, made in _PRODUCTS.items() if one in made and other in pair for unit in pair - {other}
    )


def _listed(cell: Cell) -> str:
    return " and ".join("/".join(sorted(units_of(one))) or "plain numbers" for one in cell.operands)


def unit_problems(cell: Cell, unit: str, quantity: str) -> Iterator[tuple[str, str]]:
    """Yield (field, what is wrong) where the number cannot be in that unit."""
    wanted = unit or "a plain number"
    if cell.operation:
        if all(units_of(one) for one in cell.operands) and unit not in units_of(cell):
            yield cell.operation, f"of {_listed(cell)} cannot become {wanted}, the unit of {quantity}"
    elif cell.raw_unit is None and cell.unit_from is None:
        example = f"0.1 {unit}" if unit else "1"
        yield "", f"{quantity} needs `raw_unit`, what one step of the raw value is worth, such as `{example}`"
    elif unit not in units_of(cell):
        key, given = ("raw_unit", cell.raw_unit) if cell.raw_unit else ("unit_from", _first_unit(cell))
        yield key, f"`{given.text if given else ''}` cannot become {wanted}, the unit of {quantity}"
