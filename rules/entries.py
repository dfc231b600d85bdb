"""The entries of a rule file as an operator writes them (docs/rules.md). rules/compile turns them into rules."""

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, ClassVar, NewType

from watchkeeper.documents.bind import ITEM_OR_LIST
from watchkeeper.documents.scalars import number_and_unit
from watchkeeper.model.device import Category
from watchkeeper.model.quantity import QUANTITIES, Quantity
from watchkeeper.model.reading import Reason
from watchkeeper.model.verdict import Level

RuleName = NewType("RuleName", str)
"""A rule's name: `server.cpu-busy`."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A number with its unit: `85 %`, `10 min`."""

    value: float
    unit: str
    text: str


@dataclass(frozen=True, slots=True)
class AmountRange:
    """Two numbers with their unit: `21 .. 23 °C`."""

    MESSAGE_NAME: ClassVar = "range"

    low: float
    high: float
    unit: str
    text: str


@dataclass(frozen=True, slots=True)
class ThresholdEntry:
    """When a level begins: exactly one limit, broken for `for_s` seconds."""

    MESSAGE_NAME: ClassVar = "threshold"

    above: Amount | None = None
    below: Amount | None = None
    outside: AmountRange | None = None
    is_: tuple[str, ...] = field(default=(), metadata=ITEM_OR_LIST)
    for_s: float = 0.0

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        limits = {"above": self.above, "below": self.below, "outside": self.outside, "is": self.is_}
        written = [key for key, limit in limits.items() if limit]
        if not written:
            yield "", "a threshold needs one of `above`, `below`, `outside` or `is`"
        elif len(written) > 1:
            yield written[1], f"a threshold has one limit; this one has {' and '.join(f'`{key}`' for key in written)}"


@dataclass(frozen=True, slots=True)
class ClearEntry:
    """When a level ends: the value is back inside by `margin`, for `for_s` seconds without interruption."""

    MESSAGE_NAME: ClassVar = "clear entry"

    margin: Amount | None = None
    for_s: float = 0.0


@dataclass(frozen=True, slots=True)
class MissingEntry:
    """The level of a reading that stays missing for one of `reasons`. For any other reason it is only unknown."""

    MESSAGE_NAME: ClassVar = "missing entry"

    level: Level
    for_s: float = 0.0
    reasons: tuple[Reason, ...] = field(
        default=tuple(reason for reason in Reason if reason not in (Reason.ABSENT, Reason.WARMING_UP)),
        metadata=ITEM_OR_LIST,
    )

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if not self.level.bad:
            yield "level", f"`level: {self.level}` has no effect on a missing value; write warning or critical"


@dataclass(frozen=True, slots=True)
class AppliesEntry:
    """Where a rule applies; an empty entry means everywhere. `devices` are patterns of device names, `instances` are
    patterns of an instance or its label (`/var`, `phase *`). The `except_` patterns take precedence."""

    MESSAGE_NAME: ClassVar = "applies entry"

    categories: tuple[Category, ...] = field(default=(), metadata=ITEM_OR_LIST)
    devices: tuple[str, ...] = field(default=(), metadata=ITEM_OR_LIST)
    instances: tuple[str, ...] = field(default=(), metadata=ITEM_OR_LIST)
    except_devices: tuple[str, ...] = field(default=(), metadata=ITEM_OR_LIST)
    except_instances: tuple[str, ...] = field(default=(), metadata=ITEM_OR_LIST)


class Same(StrEnum):
    """Whose readings a condition looks at: those of the judged device, or only those of the judged instance."""

    DEVICE = "device"
    INSTANCE = "instance"


class Quantifier(StrEnum):
    """How many of several series must fulfil a condition."""

    ANY = "any"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class ConditionEntry:
    """What must be true of another quantity of the device, so that the rule's limits count; or `any` of several such
    conditions. Without `series`, one series is enough, but `is_not` must be true of all."""

    MESSAGE_NAME: ClassVar = "condition"

    quantity: Quantity | None = None
    any_: tuple["ConditionEntry", ...] = ()
    above: Amount | None = None
    below: Amount | None = None
    is_: tuple[str, ...] = field(default=(), metadata=ITEM_OR_LIST)
    is_not: tuple[str, ...] = field(default=(), metadata=ITEM_OR_LIST)
    same: Same = Same.DEVICE
    series: Quantifier | None = None
    or_missing: bool = True
    ever: bool = False

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        limits = {"above": self.above, "below": self.below, "is": self.is_, "is_not": self.is_not}
        written = [key for key, limit in limits.items() if limit]
        if self.any_:
            if self.quantity or written:
                yield "any", "`any` has no other keys beside it; write the quantity and its limit into the list"
            if any(one.any_ for one in self.any_):
                yield "any", "an `any` inside an `any` is one list; write all conditions into the outer one"
        elif not self.quantity:
            yield "", "a condition needs a `quantity`"
        elif not written:
            yield "quantity", "a condition needs one of `above`, `below`, `is` or `is_not`"
        elif len(written) > 1:
            yield written[1], f"a condition has one limit; this one has {' and '.join(f'`{key}`' for key in written)}"


@dataclass(frozen=True, slots=True)
class RuleEntry:
    """A new rule. `title` and `advice` are English; they are translated when they are shown."""

    MESSAGE_NAME: ClassVar = "rule"

    rule: RuleName
    clause: str
    title: str
    advice: str
    quantity: Quantity
    warning: ThresholdEntry | None = None
    critical: ThresholdEntry | None = None
    clear: ClearEntry = field(default_factory=ClearEntry)
    missing: MissingEntry | None = None
    when: tuple[ConditionEntry, ...] = ()
    applies: AppliesEntry = field(default_factory=AppliesEntry)

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        for key in ("clause", "title", "advice"):
            if not getattr(self, key).strip():
                yield key, f"`{key}` is empty"
        if not (self.warning or self.critical or self.missing):
            yield "rule", f"`{self.rule}` can never be bad; give it `warning`, `critical` or `missing`"


@dataclass(frozen=True, slots=True)
class ChangeEntry:
    """A change of a rule from an earlier file. A key in this entry replaces that key of the rule completely."""

    MESSAGE_NAME: ClassVar = "change"

    rule: RuleName
    because: str
    clause: str | None = None
    title: str | None = None
    advice: str | None = None
    warning: ThresholdEntry | None = None
    critical: ThresholdEntry | None = None
    clear: ClearEntry | None = None
    missing: MissingEntry | None = None
    when: tuple[ConditionEntry, ...] | None = None
    applies: AppliesEntry | None = None

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if not self.new_values():
            yield "rule", f"this changes nothing; write the keys of `{self.rule}` that must be different"

    def new_values(self) -> dict[str, Any]:
        """The fields that this entry replaces."""
        new = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("rule", "because")}
        return {name: value for name, value in new.items() if value is not None}

    def applied_to(self, rule: RuleEntry) -> RuleEntry:
        """The rule after the change."""
        return replace(rule, **self.new_values())


@dataclass(frozen=True, slots=True)
class OffEntry:
    """A rule of an earlier file that is switched off."""

    MESSAGE_NAME: ClassVar = "off entry"

    rule: RuleName
    because: str


@dataclass(frozen=True, slots=True)
class RuleFile:
    """A whole rule file."""

    rules: tuple[RuleEntry, ...] = ()
    changes: tuple[ChangeEntry, ...] = ()
    off: tuple[OffEntry, ...] = ()


# ---- scalars ----


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known word, or all of them if none is near."""
    words = tuple(known)
    near = difflib.get_close_matches(word, words, 1)
    return f"did you mean `{near[0]}`?" if near else f"known: {', '.join(words)}"


def _rule_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]+([.-][a-z0-9]+)*", text, re.ASCII):
        raise ValueError(f"`{text}` cannot be a rule's name; write it like `server.cpu-busy` (a-z, 0-9, `.` and `-`)")
    return text


def _quantity(text: str) -> Quantity:
    if text not in QUANTITIES:
        raise ValueError(f"there is no quantity `{text}`; {did_you_mean(text, QUANTITIES)}")
    return QUANTITIES[text]


def amount(text: str) -> Amount:
    """Read `85 %`. `℃` and `％`, as a Chinese input method writes them, mean `°C` and `%`. Raises ValueError."""
    plain = unicodedata.normalize("NFKC", text).strip()
    try:
        value, unit = number_and_unit(plain)
    except ValueError as error:
        raise ValueError(f"{error}; write it like `85 %`") from None
    return Amount(value, unit, plain)


def amount_range(text: str) -> AmountRange:
    """Read `21 .. 23 °C`; the first unit may be left out. Raises ValueError."""
    plain = unicodedata.normalize("NFKC", text).strip()
    left, dots, right = plain.partition("..")
    if not dots:
        raise ValueError(f"`{text}` is not a range; write it like `21 .. 23 °C`")
    low, high = amount(left), amount(right)
    if low.unit not in ("", high.unit):
        raise ValueError(f"`{text}` has two units; write it like `21 .. 23 °C`")
    if low.value >= high.value:
        raise ValueError(f"`{text}` is an empty range; write the lower end first, like `21 .. 23 °C`")
    return AmountRange(low.value, high.value, high.unit, plain)


RULE_SCALARS: Mapping[Any, Callable[[str], Any]] = {
    RuleName: _rule_name,
    Quantity: _quantity,
    Amount: amount,
    AmountRange: amount_range,
}
