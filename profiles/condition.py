"""The parts of a profile that look at another object: conditions, scales and units that the device itself gives."""

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from watchkeeper.documents.bind import ITEM_OR_LIST
from watchkeeper.profiles.scalars import Comparand, Factor, Marker, Pattern, RawUnit, Ref, Register, number_in


class Speaks(StrEnum):
    """The probe that uses a profile, and so what its readings name: SNMP objects, Modbus registers or NUT variables."""

    SNMP = "snmp"
    MODBUS = "modbus"
    NUT = "nut"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Something that names one object: an SNMP object (in a table: a column of the same row), a Modbus register or a
    NUT variable."""

    oid: Ref | None = None
    register: Register | None = None
    variable: Marker | None = None

    @property
    def speaks(self) -> Speaks | None:
        """The probe that can read it; None if not exactly one of `oid`, `register` and `variable` is given."""
        return sole_speaker(self.oid, self.register, self.variable)

    @property
    def ref(self) -> Ref:
        """The reference to the object, by its name in an answer."""
        if self.oid is not None:
            return self.oid
        return Ref(self.register.name if self.register else self.variable or "", 0)

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if self.speaks is None:
            yield "", "needs `oid`, the object to read (or one of `register` and `variable`)"


def sole_speaker(oid: object, register: object, variable: object) -> Speaks | None:
    """The probe that reads the one of the three that is given; None if not exactly one is."""
    named = {Speaks.SNMP: oid, Speaks.MODBUS: register, Speaks.NUT: variable}
    given = [kind for kind, what in named.items() if what is not None]
    return given[0] if len(given) == 1 else None


_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {"above": operator.gt, "below": operator.lt, "at_least": operator.ge, "at_most": operator.le}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Where(Named):
    """A condition on an object: its text is one of `is`, or contains the pattern `matches`, or is none of `is_not`
    (which also holds if the object does not exist); or its number is `above`, `below`, `at_least` or `at_most` a limit.
    What is no number does not hold. A limit that is an object which does not exist, or is no number, is no limit."""

    is_: tuple[Marker, ...] = field(default=(), metadata=ITEM_OR_LIST)
    is_not: tuple[Marker, ...] = field(default=(), metadata=ITEM_OR_LIST)
    matches: Pattern | None = None
    above: Comparand | None = None
    below: Comparand | None = None
    at_least: Comparand | None = None
    at_most: Comparand | None = None

    @property
    def comparand(self) -> Comparand | None:
        """The right side of the comparison, if it is one."""
        return self.above or self.below or self.at_least or self.at_most

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        yield from Named.check(self)
        tests = (self.is_, self.is_not, self.matches, self.above, self.below, self.at_least, self.at_most)
        if sum(map(bool, tests)) != 1:
            yield "", "a condition needs one of `is`, `is_not`, `matches`, `above`, `below`, `at_least` and `at_most`"
        elif self.comparand and self.comparand.ref and self.comparand.speaks != self.speaks:
            yield "", f"the limit `{self.comparand.ref.oid}` is not read by {self.speaks} like the object before it"

    def holds(self, text: str | None, limit: str | None = None) -> bool:
        """Whether it holds for that text; None means that the object does not exist. `limit` is the text of the object
        that is the limit."""
        if self.is_not:
            return text not in self.is_not
        if text is None:
            return False
        if self.matches:
            return bool(self.matches.search(text))
        return self._compares(text, limit) if self.comparand else text in self.is_

    def _compares(self, text: str, limit_text: str | None) -> bool:
        number = number_in(text)
        if number is None:
            return False
        for name, compare in _COMPARISONS.items():
            limit: Comparand | None = getattr(self, name)
            if limit is not None:
                other = number_in(limit_text or "") if limit.ref else limit.number
                return other is None or compare(number, other)
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsentIf:
    """Raw values that mean "not available" while all conditions of `when` hold, read at every poll."""

    raw: tuple[Marker, ...] = field(metadata=ITEM_OR_LIST)
    when: tuple[Where, ...]

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if not self.raw:
            yield "raw", "must name at least one raw value"
        if not self.when:
            yield "when", "must have at least one condition; raw values that are never valid belong into `absent`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale(Named):
    """A factor that the device gives: `by` has the factor for each raw value of the object."""

    by: Mapping[str, Factor]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFrom(Named):
    """A unit that the device gives: `by` has the raw unit for each raw value of the object."""

    by: Mapping[str, RawUnit]
