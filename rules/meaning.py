"""From what is written to what it means: units turned into the quantity's own, and everything that makes no sense named.

Like the binder, it finds every problem of a rule before it gives up on it.
"""

from collections.abc import Callable
from math import inf

from watchkeeper.documents.nodes import Mark
from watchkeeper.documents.scalars import duration_s, size_bytes
from watchkeeper.model.errors import Problem
from watchkeeper.model.quantity import BYTE, NUMBER, PERCENT, SECOND, Quantity, QuantityType
from watchkeeper.model.verdict import Level
from watchkeeper.rules.language import Band, Limit, MissingLimit, Rule, Scope
from watchkeeper.rules.written import Amount, Clear, Span, Threshold, Unread, WrittenRule, did_you_mean

Place = Callable[[object], Mark]
"""Where a written thing stands."""


def understand(written: WrittenRule, place: Place, file: str) -> tuple[Rule | None, list[Problem]]:
    """Make the rule, or tell everything that is wrong with it."""
    meaning = _Meaning(written, place, file)
    if written.quantity.type is QuantityType.COUNTER:
        meaning.wrong(written, "quantity", f"{written.quantity.name} is a counter, which only grows; no limit fits it")
        return None, meaning.problems
    margin = meaning.margin(written.clear)
    before = len(meaning.problems)
    warning, critical = (
        meaning.limit(level, threshold, margin) if threshold else None
        for level, threshold in ((Level.WARNING, written.warning), (Level.CRITICAL, written.critical))
    )
    if warning and critical and written.critical and len(meaning.problems) == before:
        warning = meaning.milder(warning, critical, written.critical)
    if meaning.problems:
        return None, meaning.problems
    return _rule(written, warning, critical, file), []


def in_unit_of(quantity: Quantity, written: Amount) -> float:
    """The amount in the quantity's unit; seconds and bytes may be written as durations and sizes. Raises ValueError."""
    unit = quantity.unit
    if written.unit == unit.symbol:
        return written.value
    if unit is SECOND:
        return duration_s(written.text)
    if unit is BYTE:
        return float(size_bytes(written.text))
    said = f"is in {written.unit}" if written.unit else "has no unit"
    wanted = "a plain number" if unit is NUMBER else f"measured in {unit.symbol}"
    raise ValueError(f"`{written.text}` {said}, but {quantity.name} is {wanted}")


def _rule(written: WrittenRule, warning: Limit | None, critical: Limit | None, file: str) -> Rule:
    bad = frozenset[str]().union(*(limit.states for limit in (warning, critical) if limit))
    applies = written.applies
    return Rule(
        rule=written.rule,
        clause=written.clause,
        title=written.title,
        advice=written.advice,
        quantity=written.quantity.name,
        scope=Scope(
            frozenset(applies.categories),
            applies.devices,
            applies.instances,
            applies.except_devices,
            applies.except_instances,
        ),
        warning=warning,
        critical=critical,
        missing=_missing(written.missing),
        clear_for_s=written.clear.for_s,
        # a device that says `unknown` has said nothing, unless the rule names that very word
        known=frozenset(written.quantity.states) - {"unknown"} | bad,
        file=file,
    )


def _missing(unread: Unread | None) -> MissingLimit | None:
    return MissingLimit(unread.level, unread.for_s, frozenset(unread.reasons)) if unread else None


class _Meaning:
    """Understands the parts of one rule and collects what is wrong with them."""

    def __init__(self, rule: WrittenRule, place: Place, file: str) -> None:
        self.rule = rule
        self.quantity = rule.quantity
        self.place = place
        self.file = file
        self.problems: list[Problem] = []

    def wrong(self, part: object, key: str, message: str) -> None:
        """Note a problem of `part`; one of an earlier file was in order until the rule's last file changed the rest."""
        mark = self.place(part)
        self.problems.append((mark if mark.file == self.file else self.place(self.rule)).problem(message, key))

    def margin(self, clear: Clear) -> float:
        if clear.margin is None:
            return 0.0
        if self.quantity.type is QuantityType.STATE:
            self.wrong(clear, "margin", f"{self.quantity.name} is a state, which has no margin; `for` alone clears it")
            return 0.0
        margin = self.number(clear, "margin", clear.margin)
        if margin < 0:
            self.wrong(clear, "margin", f"`{clear.margin.text}`: a margin is never negative")
        return max(0.0, margin)

    def limit(self, level: Level, written: Threshold, margin: float) -> Limit | None:
        if (self.quantity.type is QuantityType.STATE) != bool(written.is_):
            self.wrong_kind(written)
            return None
        if written.is_:
            return self.state_limit(level, written)
        key, text, low, high = self.ends(written)
        allowed = Band(low, high)
        clear = allowed.shrunk(margin)
        whole = Band(0, 100) if self.quantity.unit is PERCENT else Band()
        if not self.problems and margin and (clear.low > min(clear.high, whole.high) or clear.high < whole.low):
            self.wrong(written, key, f"`{key}: {text}` could never clear: the margin leaves nothing to come back to")
        return Limit(level, f"{key} {text}", written.for_s, allowed, clear)

    def ends(self, written: Threshold) -> tuple[str, str, float, float]:
        """(key, text, lowest allowed, highest allowed) of a threshold on numbers."""
        if written.above:
            return "above", written.above.text, -inf, self.number(written, "above", written.above)
        if written.below:
            return "below", written.below.text, self.number(written, "below", written.below), inf
        if written.outside is None:
            raise AssertionError("Threshold.check lets none through without a limit")
        low, high = self.both(written, written.outside)
        return "outside", written.outside.text, low, high

    def wrong_kind(self, written: Threshold) -> None:
        name, states = self.quantity.name, ", ".join(self.quantity.states)
        if written.is_:
            self.wrong(written, "is", f"{name} is a number; use `above`, `below` or `outside`")
            return
        key = "above" if written.above else "below" if written.below else "outside"
        self.wrong(written, key, f"{name} is a state ({states}); use `is`")

    def state_limit(self, level: Level, written: Threshold) -> Limit:
        for state in written.is_:
            if state not in self.quantity.states:
                hint = did_you_mean(state, self.quantity.states)
                self.wrong(written, "is", f"{self.quantity.name} has no state `{state}`; {hint}")
        return Limit(level, _is(written.is_), written.for_s, states=frozenset(written.is_))

    def number(self, part: object, key: str, written: Amount) -> float:
        try:
            return in_unit_of(self.quantity, written)
        except ValueError as error:
            self.wrong(part, key, str(error))
            return 0.0

    def both(self, part: object, written: Span) -> tuple[float, float]:
        before = len(self.problems)
        low, high = (
            self.number(part, "outside", Amount(value, written.unit, f"{value:g} {written.unit}".strip()))
            for value in (written.low, written.high)
        )
        del self.problems[before + 1 :]  # one wrong unit is one problem
        return low, high

    def milder(self, warning: Limit, critical: Limit, written: Threshold) -> Limit:
        """The warning, which a critical value always breaks as well; so a warning state names the critical ones too."""
        longer = critical.for_s > warning.for_s
        if self.quantity.type is QuantityType.STATE:
            twice = sorted(warning.states & critical.states)
            if twice and not longer:
                self.wrong(written, "is", f"`{twice[0]}` is a warning as well; critical needs a longer `for` then")
            states = [state for state in self.quantity.states if state in warning.states | critical.states]
            return Limit(warning.level, _is(states), warning.for_s, states=frozenset(states))
        same = warning.allowed == critical.allowed
        if not critical.allowed.covers(warning.allowed) or (same and not longer):
            hint = "the same limit needs a longer `for`" if same else "a critical value must be a warning as well"
            message = f"critical ({critical.text}) is not worse than warning ({warning.text}); {hint}"
            self.wrong(written, critical.text.partition(" ")[0], message)
        return warning


def _is(states: tuple[str, ...] | list[str]) -> str:
    return "is " + " or ".join(states)
