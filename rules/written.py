"""What an operator writes in a rule file, as written; rules/meaning.py says what it means. See docs/rules.md."""

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
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
class Span:
    """Two numbers with their unit: `21 .. 23 °C`."""

    low: float
    high: float
    unit: str
    text: str


@dataclass(frozen=True, slots=True)
class Threshold:
    """When a level begins: exactly one limit, broken for `for_s` seconds."""

    above: Amount | None = None
    below: Amount | None = None
    outside: Span | None = None
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
class Clear:
    """When a level ends: back inside by `margin`, for `for_s` seconds without a break."""

    margin: Amount | None = None
    for_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Unread:
    """What a reading that stays missing amounts to. `reasons` count; any other missing value is merely unknown."""

    level: Level
    for_s: float = 0.0
    reasons: tuple[Reason, ...] = field(
        default=tuple(reason for reason in Reason if reason not in (Reason.ABSENT, Reason.WARMING_UP)),
        metadata=ITEM_OR_LIST,
    )

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if not self.level.bad:
            yield "level", f"`{self.level}` is what a missing value is anyway; write warning or critical"


@dataclass(frozen=True, slots=True)
class Applies:
    """Where a rule applies; nothing written means everywhere. `devices` are patterns of device names, `instances` of an
    instance or its label (`/var`, `phase *`); the `except_` patterns win."""

    categories: tuple[Category, ...] = field(default=(), metadata=ITEM_OR_LIST)
    devices: tuple[str, ...] = field(default=(), metadata=ITEM_OR_LIST)
    instances: tuple[str, ...] = field(default=(), metadata=ITEM_OR_LIST)
    except_devices: tuple[str, ...] = field(default=(), metadata=ITEM_OR_LIST)
    except_instances: tuple[str, ...] = field(default=(), metadata=ITEM_OR_LIST)


@dataclass(frozen=True, slots=True)
class WrittenRule:
    """A new rule. `title` and `advice` are English and translated where a person reads them."""

    MESSAGE_NAME: ClassVar = "rule"

    rule: RuleName
    clause: str
    title: str
    advice: str
    quantity: Quantity
    warning: Threshold | None = None
    critical: Threshold | None = None
    clear: Clear = field(default_factory=Clear)
    missing: Unread | None = None
    applies: Applies = field(default_factory=Applies)

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        for key in ("clause", "title", "advice"):
            if not getattr(self, key).strip():
                yield key, f"`{key}` is empty"
        if not (self.warning or self.critical or self.missing):
            yield "rule", f"`{self.rule}` can never be bad; give it `warning`, `critical` or `missing`"


@dataclass(frozen=True, slots=True)
class Change:
    """A rule of an earlier file with other words: a key that stands here replaces that key whole."""

    rule: RuleName
    because: str
    clause: str | None = None
    title: str | None = None
    advice: str | None = None
    warning: Threshold | None = None
    critical: Threshold | None = None
    clear: Clear | None = None
    missing: Unread | None = None
    applies: Applies | None = None

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if not self.words():
            yield "rule", f"nothing is changed; write what shall be different of `{self.rule}`"

    def words(self) -> dict[str, Any]:
        """What it puts in place of the old."""
        new = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("rule", "because")}
        return {name: value for name, value in new.items() if value is not None}

    def applied_to(self, rule: WrittenRule) -> WrittenRule:
        """The rule as it then stands."""
        return replace(rule, **self.words())


@dataclass(frozen=True, slots=True)
class Off:
    """A rule of an earlier file that shall not judge here."""

    rule: RuleName
    because: str


@dataclass(frozen=True, slots=True)
class RuleFile:
    """A rule file."""

    rules: tuple[WrittenRule, ...] = ()
    changes: tuple[Change, ...] = ()
    off: tuple[Off, ...] = ()


# ---- words ----


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Name the nearest known word, or all of them where none is near."""
    words = tuple(known)
    near = difflib.get_close_matches(word, words, 1)
    return f"did you mean `{near[0]}`?" if near else f"known are {', '.join(words)}"


def _rule_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]+([.-][a-z0-9]+)*", text, re.ASCII):
        raise ValueError(f"`{text}` cannot be a rule's name; write it like `server.cpu-busy` (a-z, 0-9, `.` and `-`)")
    return text


def _quantity(text: str) -> Quantity:
    if text not in QUANTITIES:
        raise ValueError(f"there is no quantity `{text}`; {did_you_mean(text, QUANTITIES)}")
    return QUANTITIES[text]


def amount(text: str) -> Amount:
    """Read `85 %`. What an input method writes as `℃` or `％` is read as `°C` and `%`. Raises ValueError."""
    plain = unicodedata.normalize("NFKC", text).strip()
    try:
        value, unit = number_and_unit(plain)
    except ValueError as error:
        raise ValueError(f"{error}; write it like `85 %`") from None
    return Amount(value, unit, plain)


def span(text: str) -> Span:
    """Read `21 .. 23 °C`; the first unit may be left out. Raises ValueError."""
    plain = unicodedata.normalize("NFKC", text).strip()
    left, dots, right = plain.partition("..")
    if not dots:
        raise ValueError(f"`{text}` is not a range; write it like `21 .. 23 °C`")
    low, high = amount(left), amount(right)
    if low.unit not in ("", high.unit):
        raise ValueError(f"`{text}` has two units; write it like `21 .. 23 °C`")
    if low.value >= high.value:
        raise ValueError(f"`{text}` holds nothing; write the lower end first, like `21 .. 23 °C`")
    return Span(low.value, high.value, high.unit, plain)


SCALARS: Mapping[Any, Callable[[str], Any]] = {
    RuleName: _rule_name,
    Quantity: _quantity,
    Amount: amount,
    Span: span,
}
