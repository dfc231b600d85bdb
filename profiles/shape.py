"""The schema of a profile: where a family of devices keeps each quantity, in which unit, and what its numbers mean.

A profile is a YAML document that is bound to these dataclasses (docs/profiles.md lists the keys). Object identifiers
are numeric, and units are written out (`0.1 V`).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from watchkeeper.documents.bind import DERIVED, ITEM_OR_LIST, NONE_OR_LIST
from watchkeeper.model.device import Category
from watchkeeper.model.quantity import QUANTITIES, Quantity, QuantityType
from watchkeeper.profiles.cell import Cell, Operand, unit_problems
from watchkeeper.profiles.condition import AbsentIf, Named, Speaks, Where
from watchkeeper.profiles.scalars import INDEX, NOTHING, Oid, Pattern, Ref, Register, Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """How a device is recognised: every key that is given must hold. `sys_object_id` matches an identifier and all
    below it; `sys_descr` is a regular expression; `answers` is an object or a subtree: it, or one object below it, must
    exist, and `says` is a regular expression for the text of one of them."""

    sys_object_id: tuple[Oid, ...] = ()
    sys_descr: Pattern | None = None
    answers: Oid | None = None
    says: Pattern | None = None

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if not (self.sys_object_id or self.sys_descr or self.answers):
            yield "", "a match needs `sys_object_id`, `sys_descr` or `answers`"
        if self.says and not self.answers:
            yield "says", "needs `answers`, the object whose text it is"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way(Cell):
    """One way to read a quantity: the object (or Modbus register, or NUT variable) or the calculation, and what its raw
    value means.

    A state needs `states` (raw value -> state of the quantity); a raw value that is not listed is `otherwise`. The
    value is Missing if the raw value is a marker of `absent`, or one of `absent_if` whose conditions hold, or if a
    condition of `only_if` does not hold; conditions are read at every poll. `source` names MIB and object.
    """

    oid: Oid | None = None
    source: str = ""
    absent_if: tuple[AbsentIf, ...] = ()
    only_if: tuple[Where, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)
    otherwise: str = "unknown"

    @property
    def speaks(self) -> Speaks | None:
        """The probe that can read it; None if it does not name exactly one object or calculation."""
        return self.speaks_of(self.oid)

    @property
    def ref(self) -> Ref:
        """The reference to its object; of a calculation, to the first object that differs from row to row."""
        if self.operation:
            own = [one.ref for one in self.leaves]
            return next((one for one in own if one.arcs is None), own[0])
        return Ref(self.oid) if self.oid else self.name_ref

    @property
    def conditions(self) -> Iterator[Where]:
        """All conditions that are read at every poll."""
        yield from self.only_if
        for one in self.absent_if:
            yield from one.when

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        yield from self.cell_problems()
        if self.speaks is None:
            yield "", "needs `oid`, the object to read (or one of `register`, `variable` and a calculation)"
        if not self.source:
            yield "", "needs `source`, the MIB and object the unit was taken from"
        if self.operation and self.absent_if:
            yield "absent_if", "of a calculation is not possible; use `absent` inside its operands"


@dataclass(frozen=True, slots=True, kw_only=True)
class Each:
    """The names of a table's row: `instance` identifies it and must be stable, `label` is for people. In both,
    `{index}` is the row's index and `{OID}` the text of that column in the row. With `once`, a row is left out whose
    instance an earlier row or reading of the quantity has."""

    instance: Template = INDEX
    label: Template = NOTHING
    once: bool = False

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if not self.instance.refs:
            yield "instance", "must differ from row to row; use `{index}` in it"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileReading(Way):
    """One reading of a profile: its quantity and the object to read, or several ways in `any_of`, the best first.

    With `each`, the objects are columns of a table: every row gives a series, or only the rows for which the conditions
    in `where` hold. Without `each` there is one series, and `instance` and `label` distinguish it from others of the
    quantity.
    """

    quantity: str
    any_of: tuple[Way, ...] = ()
    each: Each | None = None
    where: tuple[Where, ...] = ()
    instance: str = ""
    label: Template = NOTHING

    @property
    def ways(self) -> tuple[Way, ...]:
        """The ways to read it, the best first."""
        return self.any_of or (self,)

    @property
    def unit(self) -> str:
        """The symbol of the quantity's unit."""
        return QUANTITIES[self.quantity].unit.symbol

    @property
    def key(self) -> tuple[str, str]:
        """What distinguishes it from the profile's other readings: quantity and instance."""
        return self.quantity, self.each.instance.text if self.each else self.instance

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        quantity = QUANTITIES.get(self.quantity)
        if quantity is None:
            yield "quantity", f"`{self.quantity}` is no quantity; docs/profiles.md says where they are listed"
            return
        if self.any_of and self.speaks:
            yield "oid", "cannot be used beside `any_of`; move it in there"
        elif not self.any_of:
            yield from Way.check(self)
        if self.each is not None and (self.instance or self.label.text):
            yield "instance" if self.instance else "label", "of a table's row belongs inside `each`"
        if self.each is None and any(not one.oid for one in self.refs):
            yield "label", "`index` is the index of a table's row; write it inside `each`"
        find_problems = _state_problems if quantity.type is QuantityType.STATE else _number_problems
        for way in self.ways:
            yield from ((key if way is self else "any_of", text) for key, text in find_problems(way, quantity))
            if self.each and way.operation and all(one.ref.arcs == 0 for one in way.leaves):
                yield way.operation, "of a table needs a column of it among its operands"

    @property
    def refs(self) -> tuple[Ref, ...]:
        """The references of its names, conditions, scales, units and operands, by which its rows are planned."""
        names = self.each.instance.refs + self.each.label.refs if self.each else self.label.refs
        helpers = (ref for way in self.ways for ref in way.helper_refs)
        return (*names, *_where_refs(self.where), *helpers)

    @property
    def named(self) -> "Iterator[Named | Way | Operand]":
        """Everything in it that names an object."""
        yield from self.where
        for way in self.ways:
            yield from (*(way.leaves or (way,)), *way.helpers, *way.conditions)

    @property
    def registers(self) -> Iterator[Register]:
        """The Modbus registers to read for it."""
        yield from (one.register for one in self.named if one.register)
        conditions = (*self.where, *(one for way in self.ways for one in way.conditions))
        yield from (one.comparand.register for one in conditions if one.comparand and one.comparand.register)


def _where_refs(conditions: Iterable[Where]) -> Iterator[Ref]:
    for one in conditions:
        yield one.ref
        if one.comparand and one.comparand.ref:
            yield one.comparand.ref


def _number_problems(way: Way, quantity: Quantity) -> Iterator[tuple[str, str]]:
    unit = quantity.unit.symbol
    if way.states:
        yield "states", f"{quantity.name} is a number and has no states"
    yield from unit_problems(way, unit, quantity.name)
    if way.plausible and way.plausible.unit != unit:
        limits = f"{way.plausible.low:g} .. {way.plausible.high:g} {unit}".rstrip()
        yield "plausible", f"must be in the unit of {quantity.name}: `{limits}`"


def _state_problems(way: Way, quantity: Quantity) -> Iterator[tuple[str, str]]:
    if way.raw_unit or way.unit_from or way.plausible or way.scale:
        yield "raw_unit", f"{quantity.name} is a state; it has `states`, not `raw_unit`, `scale` and `plausible`"
    if way.operation:
        yield way.operation, f"{quantity.name} is a state and cannot be calculated"
    if not way.states:
        yield "", f"{quantity.name} needs `states`: raw value to one of {', '.join(quantity.states)}"
    for word in (*way.states.values(), way.otherwise):
        if word not in quantity.states:
            yield "states", f"`{word}` is no state of {quantity.name}; known: {', '.join(quantity.states)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirk:
    """A correction for devices on which `when` holds, for example a firmware version. `readings` replace those of the
    same quantity and instance; the quantities in `without` are not read. `because` says what the firmware does
    wrong."""

    when: Where
    because: str
    readings: tuple[ProfileReading, ...] = ()
    without: tuple[str, ...] = field(default=(), metadata=ITEM_OR_LIST)

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if not (self.readings or self.without):
            yield "", "a quirk needs `readings` or `without`"
        if not self.when.ref.oid:
            yield "when", "must name an object, not `index`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A device on which the profile was verified: its model, its firmware, and the recording that proves it."""

    model: str
    firmware: str = ""
    recording: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A family of devices, without its readings. `extends` names profiles whose readings are added, except for
    quantities that this profile (or an earlier one in `extends`) reads itself; in them, `ROOT` means this profile's
    `root`. `verified` is `none` if the profile was not verified on a device or recording."""

    profile: str
    vendor: str
    category: Category
    verified: tuple[Verified, ...] = field(metadata=NONE_OR_LIST)
    speaks: Speaks = Speaks.SNMP
    root: Oid | None = None
    match: tuple[Match, ...] = ()
    extends: tuple[str, ...] = field(default=(), metadata=ITEM_OR_LIST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(Head):
    """A family of devices, with its readings. `hidden` are readings of extended profiles, for quantities that this one
    reads itself: each layer is used for the quantities of which nothing before it gives a value."""

    readings: tuple[ProfileReading, ...] = ()
    quirks: tuple[Quirk, ...] = ()
    hidden: tuple[tuple[ProfileReading, ...], ...] = field(default=(), metadata=DERIVED)

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", self.profile) or self.profile == "auto":
            yield "profile", f"`{self.profile}` cannot be a profile's name; use a-z, 0-9 and `-` (and not `auto`)"
        if not (self.readings or self.extends):
            yield "profile", "needs `readings`, or `extends`"
        for (quantity, instance), count in Counter(reading.key for reading in self.readings).items():
            if count > 1:
                yield "readings", f"{quantity} is there twice with the instance `{instance}`; give them different ones"
        wrong = {one.speaks for reading in self.readings for one in reading.named} - {self.speaks}
        if wrong:
            yield "speaks", f"a profile for {self.speaks} cannot read by {', '.join(sorted(map(str, wrong)))}"
