"""What stands in a profile: where a family of devices keeps each quantity, in which unit, and what its numbers mean.

A profile is a YAML document; these dataclasses are its schema (docs/profiles.md shows the keys). Object identifiers are
numeric, units are written out (`0.1 V`), and nothing here speaks to a device.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from watchkeeper.documents.bind import ITEM_OR_LIST, NONE_OR_LIST
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
    """Which probe reads by a profile, and so what its readings name: objects, registers or variables."""

    SNMP = "snmp"
    MODBUS = "modbus"
    NUT = "nut"


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A condition: what stands at `oid` is one of `is`, or the pattern `matches` is found in its text; or it is none of `is_not`,
    which also holds where nothing stands there."""

    oid: Ref
    is_: tuple[Marker, ...] = field(default=(), metadata=ITEM_OR_LIST)
    is_not: tuple[Marker, ...] = field(default=(), metadata=ITEM_OR_LIST)
    matches: Pattern | None = None

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if sum(map(bool, (self.is_, self.is_not, self.matches))) != 1:
            yield "", "a condition needs one of `is`, `is_not` and `matches`"

    def holds(self, text: str | None) -> bool:
        """Whether it holds of that text; None is what is not there."""
        if self.is_not:
            return text not in self.is_not
        if text is None:
            return False
        return bool(self.matches.search(text)) if self.matches else text in self.is_


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """How a device is known: every key that is written must hold. An OID in `sys_object_id` stands for itself and
    all below it; `sys_descr` is a regular expression found anywhere in it; `answers` is an object that must exist, or
    something below it, and `says` a regular expression found in it."""

    sys_object_id: tuple[Oid, ...] = ()
    sys_descr: Pattern | None = None
    answers: Oid | None = None
    says: Pattern | None = None

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if not (self.sys_object_id or self.sys_descr or self.answers):
            yield "", "a match needs `sys_object_id`, `sys_descr` or `answers`"
        if self.says and not self.answers:
            yield "says", "needs `answers`, the object that says it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """A factor that the device tells: the object at `oid` has a raw value, and `by` says what each is worth."""

    oid: Ref
    by: Mapping[str, Factor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to read a quantity: the object (or Modbus register, or NUT variable), and what its raw value means.

    A number needs `raw_unit` (`0.1 V`: what one step of the raw value is worth), times what `scale` says; it is converted to
    the quantity's unit. A state needs `states`, raw value -> the quantity's word; an unlisted raw value is `otherwise`. A raw
    value among the markers in `absent`, and a number outside `plausible`, become Missing; so does everything while a
    condition of `only_if`, read at every poll, does not hold. Before all that, `extract` takes what its group finds in a
    text, `bit` one bit of a number (0 is worth 1) or of BITS (0 is the first), and `signed` reads so many bits as two's
    complement. `source` names MIB and object.
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
        """Which probe finds it, by what is named."""
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
    """What a table's row is called: `instance` tells it apart and must be stable, `label` is what people read. In both,
    `{index}` stands for the row's index and `{OID}` for the text that column has in the row."""

    instance: Template = INDEX
    label: Template = NOTHING

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if not self.instance.refs:
            yield "instance", "the rows of a table must be told apart; use `{index}` in it"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileReading(Way):
    """One quantity: the object to read, or `any_of` several, the best first.

    With `each` the objects are columns of a table, and every row that has one gives a series, or every row of which the
    conditions in `where` hold. Without it there is one series; `instance` and `label` tell it from others of the same quantity.
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
            yield "quantity", f"`{self.quantity}` is no quantity; docs/profiles.md tells where they are listed"
            return
        if self.any_of and self.speaks:
            yield "oid", "stands beside `any_of`; move it in there"
        elif not self.any_of:
            yield from Way.check(self)
        if self.each is not None and (self.instance or self.label.text):
            yield "instance" if self.instance else "label", "of a table's row is written inside `each`"
        if self.each is None and any(not one.oid for one in self.refs):
            yield "label", "`index` is that of a table's row; write it inside `each`"
        find_problems = _state_problems if quantity.type is QuantityType.STATE else _number_problems
        for way in self.ways:
            yield from ((key if way is self else "any_of", text) for key, text in find_problems(way, quantity))

    @property
    def refs(self) -> tuple[Ref, ...]:
        """What it refers to beside the objects themselves."""
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
        yield "plausible", f"is written in the unit of {quantity.name}: `{limits}`"


def _state_problems(way: Way, quantity: Quantity) -> Iterator[tuple[str, str]]:
    if way.raw_unit or way.plausible or way.scale:
        yield "raw_unit", f"{quantity.name} is a state; it has `states`, not `raw_unit`, `scale` and `plausible`"
    if not way.states:
        yield "", f"{quantity.name} needs `states`, raw value to one of {', '.join(quantity.states)}"
    for word in (*way.states.values(), way.otherwise):
        if word not in quantity.states:
            yield "states", f"`{word}` is no state of {quantity.name}; known: {', '.join(quantity.states)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirk:
    """Where `when` holds (a firmware version, say), `readings` take the place of those of the same quantity and instance, and
    the quantities in `without` are not read at all. `because` says what that firmware does wrong."""

    when: Where
    because: str
    readings: tuple[ProfileReading, ...] = ()
    without: tuple[str, ...] = field(default=(), metadata=ITEM_OR_LIST)

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if not (self.readings or self.without):
            yield "", "a quirk needs `readings` or `without`"
        if not self.when.oid.oid:
            yield "when", "names an object, not `index`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """On what a profile was seen to be right: the device, its firmware, and the recording that shows it."""

    model: str
    firmware: str = ""
    recording: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A family of devices, but for what is read of it. `extends` names profiles whose readings are taken over, but for the
    quantities named here (or in one named before); where they say `ROOT`, this profile's `root` is meant. `verified` is `none`
    where no device or recording has shown it right."""

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
    """A family of devices, and what is read of it."""

    readings: tuple[ProfileReading, ...] = ()
    quirks: tuple[Quirk, ...] = ()

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", self.profile) or self.profile == "auto":
            yield "profile", f"`{self.profile}` cannot be a profile's name; use a-z, 0-9 and `-` (and not `auto`)"
        if not (self.readings or self.extends):
            yield "profile", "needs `readings`, or `extends`"
        for (quantity, instance), count in Counter(reading.key for reading in self.readings).items():
            if count > 1:
                yield "readings", f"{quantity} stands twice with the instance `{instance}`; tell them apart"
        wrong = {way.speaks for wanted in self.readings for way in wanted.ways} - {self.speaks}
        if wrong:
            yield "speaks", f"a profile for {self.speaks} cannot read by {', '.join(sorted(map(str, wrong)))}"
