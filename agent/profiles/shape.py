"""What stands in a profile: where a family of devices keeps each quantity, in which unit, and what its numbers mean.

A profile is a YAML document; these dataclasses are its schema (docs/devices.md shows the keys). Object identifiers are
numeric, units are written out (`0.1 V`), and nothing here speaks SNMP.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from agent.profiles.scalars import INDEX, NOTHING, PLACEHOLDER, Marker, Oid, Pattern, Range, RawUnit, Template
from model.device import Category
from model.quantity import QUANTITIES, Quantity, Sort


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """How a device is known: every key that is written must hold. An OID in `sys_object_id` stands for itself and
    all below it; `sys_descr` is a regular expression found anywhere in it; `answers` is an object that must exist."""

    sys_object_id: tuple[Oid, ...] = ()
    sys_descr: Pattern | None = None
    answers: Oid | None = None

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if not (self.sys_object_id or self.sys_descr or self.answers):
            yield "", "a match needs `sys_object_id`, `sys_descr` or `answers`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to read a quantity: the object, and what its raw value means.

    A number needs `raw_unit` (`0.1 V`: what one step of the raw value is worth); it is converted to the quantity's unit.
    A state needs `states`, raw value -> the quantity's word; an unlisted raw value is `otherwise`. A raw value among the
    markers in `absent`, and a number outside `plausible`, become Missing. `source` names MIB and object.
    """

    oid: Oid | None = None
    source: str = ""
    raw_unit: RawUnit | None = None
    plausible: Range | None = None
    absent: tuple[Marker, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)
    otherwise: str = "unknown"

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if self.oid is None:
            yield "", "needs `oid`, the object to read"
        if not self.source:
            yield "", "needs `source`, the MIB and object the unit was taken from"


@dataclass(frozen=True, slots=True, kw_only=True)
class Each:
    """What a table's row is called: `instance` tells it apart and must be stable, `label` is what people read. In both,
    `{index}` stands for the row's index and `{OID}` for the text that column has in the row."""

    instance: Template = INDEX
    label: Template = NOTHING

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if not PLACEHOLDER.search(self.instance):
            yield "instance", "the rows of a table must be told apart; use `{index}` in it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted(Way):
    """One quantity: the object to read, or `any_of` several, the best first.

    With `each` the objects are columns of a table, and every row that has one gives a series. Without it there is one
    series; `instance` and `label` tell it from others of the same quantity.
    """

    quantity: str
    any_of: tuple[Way, ...] = ()
    each: Each | None = None
    instance: str = ""
    label: str = ""

    @property
    def ways(self) -> tuple[Way, ...]:
        """The ways to read it, the best first."""
        return self.any_of or (self,)

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        quantity = QUANTITIES.get(self.quantity)
        if quantity is None:
            yield "quantity", f"`{self.quantity}` is no quantity; docs/devices.md tells where they are listed"
            return
        if self.any_of and self.oid:
            yield "oid", "stands beside `any_of`; move it in there"
        elif not self.any_of:
            yield from Way.check(self)
        if self.each is not None and (self.instance or self.label):
            yield "instance" if self.instance else "label", "of a table's row is written inside `each`"
        if self.each is None and PLACEHOLDER.search(self.instance + self.label):
            yield "label", "a placeholder needs the row of a table; write it inside `each`"
        find_problems = _state_problems if quantity.sort is Sort.STATE else _number_problems
        for way in self.ways:
            yield from ((key if way is self else "any_of", text) for key, text in find_problems(way, quantity))


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
    if way.raw_unit or way.plausible:
        yield "raw_unit", f"{quantity.name} is a state; it has `states`, not `raw_unit` and `plausible`"
    if not way.states:
        yield "", f"{quantity.name} needs `states`, raw value to one of {', '.join(quantity.states)}"
    for word in (*way.states.values(), way.otherwise):
        if word not in quantity.states:
            yield "states", f"`{word}` is no state of {quantity.name}; known: {', '.join(quantity.states)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """On what a profile was seen to be right: the device, its firmware, and the recording that shows it."""

    model: str
    firmware: str = ""
    recording: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A family of devices. `extends` names a profile whose readings are taken over, but for the quantities named here.
    `verified` is an empty list where no device or recording has shown it right."""

    profile: str
    vendor: str
    category: Category
    verified: tuple[Verified, ...]
    readings: tuple[Wanted, ...] = ()
    match: tuple[Match, ...] = ()
    extends: str = ""

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", self.profile) or self.profile == "auto":
            yield "profile", f"`{self.profile}` cannot be a profile's name; use a-z, 0-9 and `-` (and not `auto`)"
        if not (self.readings or self.extends):
            yield "profile", "needs `readings`, or `extends`"
        names = Counter(
            (wanted.quantity, wanted.each.instance if wanted.each else wanted.instance) for wanted in self.readings
        )
        for (quantity, instance), count in names.items():
            if count > 1:
                yield "readings", f"{quantity} stands twice with the instance `{instance}`; tell them apart"
