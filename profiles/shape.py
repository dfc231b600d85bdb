"""The schema of a profile: where a family of devices keeps each quantity, in which unit, and what its numbers mean.

A profile is a YAML document that is bound to these dataclasses (docs/profiles.md lists the keys). Object identifiers
are numeric, and units are written out (`0.1 V`).
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from watchkeeper.documents.bind import DERIVED, ITEM_OR_LIST, NONE_OR_LIST
from watchkeeper.model.device import Category
from watchkeeper.model.quantity import QUANTITIES, Quantity, QuantityType
from watchkeeper.profiles.scalars import (
    INDEX,
    NOTHING,
    Factor,
    Marker,
    Oid,
    Pattern,
    Range,
    RawUnit,
    Ref,
    Register,
    Template,
)


class Speaks(StrEnum):
    """The probe that uses a profile, and so what its readings name: SNMP objects, Modbus registers or NUT variables."""

    SNMP = "snmp"
    MODBUS = "modbus"
    NUT = "nut"


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A condition on the object at `oid`: its text is one of `is`, or contains the pattern `matches`, or is none of
    `is_not` (which also holds if the object does not exist)."""

    oid: Ref
    is_: tuple[Marker, ...] = field(default=(), metadata=ITEM_OR_LIST)
    is_not: tuple[Marker, ...] = field(default=(), metadata=ITEM_OR_LIST)
    matches: Pattern | None = None

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if sum(map(bool, (self.is_, self.is_not, self.matches))) != 1:
            yield "", "a condition needs one of `is`, `is_not` and `matches`"

    def holds(self, text: str | None) -> bool:
        """Whether it holds for that text; None means that the object does not exist."""
        if self.is_not:
            return text not in self.is_not
        if text is None:
            return False
        return bool(self.matches.search(text)) if self.matches else text in self.is_


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
class Scale:
    """A factor that the device gives: `by` has the factor for each raw value of the object at `oid`."""

    oid: Ref
    by: Mapping[str, Factor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to read a quantity: the object (or Modbus register, or NUT variable), and what its raw value means.

    A number needs `raw_unit` (`0.1 V`: what one step of the raw value is worth), times the factors of `scale`; it is
    converted to the quantity's unit. A state needs `states` (raw value -> state of the quantity); a raw value that is
    not listed is `otherwise`. The value is Missing if the raw value is one of the markers in `absent`, if the number is
    outside `plausible`, or if a condition of `only_if`, read at every poll, does not hold. Before that, `extract` takes
    the text of its group, `bit` one bit of a number (0 is worth 1) or of BITS (0 is the first), and `signed` reads so
    many bits as two's complement. `source` names MIB and object.
    """

    oid: Oid | None = None
    register: Register | None = None
    variable: Marker | None = None
    source: str = ""
    raw_unit: RawUnit | None = None
    scale: tuple[Scale, ...] = ()
    plausible: Range | None = None
    absent: tuple[Marker, ...] = ()
    only_if: tuple[Where, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)
    otherwise: str = "unknown"
    extract: Pattern | None = None
    bit: int | None = None
    signed: int | None = None

    @property
    def speaks(self) -> Speaks | None:
        """The probe that can read it; None if not exactly one of `oid`, `register` and `variable` is given."""
        named = {Speaks.SNMP: self.oid, Speaks.MODBUS: self.register, Speaks.NUT: self.variable}
        given = [kind for kind, what in named.items() if what is not None]
        return given[0] if len(given) == 1 else None

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if self.speaks is None:
            yield "", "needs `oid`, the object to read (or one of `register` and `variable`)"
        if not self.source:
            yield "", "needs `source`, the MIB and object the unit was taken from"
        if self.extract and self.extract.groups != 1:
            yield "extract", "needs exactly one group, the part that is the value: `Temp: ([-\\d.]+)`"
        if self.signed not in (None, 8, 16, 32, 64):
            yield "signed", "is 8, 16, 32 or 64"


@dataclass(frozen=True, slots=True, kw_only=True)
class Each:
    """The names of a table's row: `instance` identifies it and must be stable, `label` is for people. In both,
    `{index}` is the row's index and `{OID}` the text of that column in the row."""

    instance: Template = INDEX
    label: Template = NOTHING

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

    @property
    def refs(self) -> tuple[Ref, ...]:
        """The references of its names, conditions and scales."""
        names = self.each.instance.refs + self.each.label.refs if self.each else self.label.refs
        return (*names, *(one.oid for one in self.where), *(one.oid for way in self.ways for one in way.scale))


def _number_problems(way: Way, quantity: Quantity) -> Iterator[tuple[str, str]]:
    unit = quantity.unit.symbol
    example = f"0.1 {unit}" if unit else "1"
    if way.states:
        yield "states", f"{quantity.name} is a number and has no states"
    if way.raw_unit is None:
        yield "", f"{quantity.name} needs `raw_unit`, what one step of the raw value is worth, such as `{example}`"
    elif way.raw_unit.dimension != unit:
        yield "raw_unit", f"`{way.raw_unit.text}` cannot become {unit or 'a plain number'}, the unit of {quantity.name}"
    if way.plausible and way.plausible.unit != unit:
        limits = f"{way.plausible.low:g} .. {way.plausible.high:g} {unit}".rstrip()
        yield "plausible", f"must be in the unit of {quantity.name}: `{limits}`"


def _state_problems(way: Way, quantity: Quantity) -> Iterator[tuple[str, str]]:
    if way.raw_unit or way.plausible or way.scale:
        yield "raw_unit", f"{quantity.name} is a state; it has `states`, not `raw_unit`, `scale` and `plausible`"
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
        if not self.when.oid.oid:
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
        wrong = {way.speaks for reading in self.readings for way in reading.ways} - {self.speaks}
        if wrong:
            yield "speaks", f"a profile for {self.speaks} cannot read by {', '.join(sorted(map(str, wrong)))}"
