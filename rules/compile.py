"""Compiles a rule entry into a rule: converts units to the quantity's unit, and reports everything that makes no sense.

Like the binder, it reports every problem of a rule, not only the first.
"""

from collections.abc import Callable
from math import inf

from watchkeeper.documents.nodes import Mark
from watchkeeper.documents.scalars import duration_s, size_bytes
from watchkeeper.model.errors import Problem
from watchkeeper.model.quantity import BYTE, NUMBER, PERCENT, SECOND, Quantity, QuantityType
from watchkeeper.model.verdict import Level
from watchkeeper.rules.entries import (
    Amount,
    AmountRange,
    ClearEntry,
    ConditionEntry,
    MissingEntry,
    Quantifier,
    RuleEntry,
    Same,
    ThresholdEntry,
    did_you_mean,
)  # fmt: skip
from watchkeeper.rules.rule import Band, Condition, Limit, MissingLimit, Rule, Scope, When

MarkOf = Callable[[object], Mark]
"""Tells where an entry is in its file."""


def compile_rule(entry: RuleEntry, mark_of: MarkOf, file: str) -> tuple[Rule | None, list[Problem]]:
    """Compile one entry. The rule is None if there are problems. `file` is the file that wrote or changed it last."""
    compiler = _Compiler(entry, mark_of, file)
    if entry.quantity.type is QuantityType.COUNTER:
        compiler.report(
            entry, "quantity", f"{entry.quantity.name} is a counter, which only grows; it cannot have a limit"
        )
        return None, compiler.problems
    margin = compiler.margin(entry.clear)
    before = len(compiler.problems)
    warning, critical = (
        compiler.limit(level, threshold, margin) if threshold else None
        for level, threshold in ((Level.WARNING, entry.warning), (Level.CRITICAL, entry.critical))
    )
    if warning and critical and entry.critical and len(compiler.problems) == before:
        warning = compiler.warning_below(critical, warning, entry.critical)
    when = tuple(tuple(map(compiler.condition, one.any_ or (one,))) for one in entry.when)
    if compiler.problems:
        return None, compiler.problems
    return _rule(entry, warning, critical, when, file), []


def in_unit_of(quantity: Quantity, amount: Amount) -> float:
    """The amount in the quantity's unit. Seconds may be written as a duration, bytes as a size. Raises ValueError."""
    unit = quantity.unit
    if amount.unit == unit.symbol:
        return amount.value
    if unit is SECOND:
        return duration_s(amount.text)
    if unit is BYTE:
        return float(size_bytes(amount.text))
    found = f"is in {amount.unit}" if amount.unit else "has no unit"
    wanted = "a plain number" if unit is NUMBER else f"measured in {unit.symbol}"
    raise ValueError(f"`{amount.text}` {found}, but {quantity.name} is {wanted}")


def _rule(entry: RuleEntry, warning: Limit | None, critical: Limit | None, when: When, file: str) -> Rule:
    bad = frozenset[str]().union(*(limit.states for limit in (warning, critical) if limit))
    applies = entry.applies
    return Rule(
        rule=entry.rule,
        clause=entry.clause,
        title=entry.title,
        advice=entry.advice,
        quantity=entry.quantity.name,
        scope=Scope(
            frozenset(applies.categories),
            applies.devices,
            applies.instances,
            applies.except_devices,
            applies.except_instances,
        ),
        warning=warning,
        critical=critical,
        missing=_missing_limit(entry.missing),
        clear_for_s=entry.clear.for_s,
        # The state `unknown` cannot be judged, unless the rule names it.
        known_states=frozenset(entry.quantity.states) - {"unknown"} | bad,
        file=file,
        when=when,
    )


def _missing_limit(entry: MissingEntry | None) -> MissingLimit | None:
    return MissingLimit(entry.level, entry.for_s, frozenset(entry.reasons)) if entry else None


class _Compiler:
    """Compiles the parts of one rule and collects their problems."""

    def __init__(self, rule: RuleEntry, mark_of: MarkOf, file: str) -> None:
        self.rule = rule
        self.quantity = rule.quantity
        self.mark_of = mark_of
        self.file = file
        self.problems: list[Problem] = []

    def report(self, part: object, key: str, message: str) -> None:
        """Note a problem of `part`. A part from an earlier file was correct until the last file changed the rest of the
        rule, so its problem is reported at the rule's entry in the last file."""
        mark = self.mark_of(part)
        self.problems.append((mark if mark.file == self.file else self.mark_of(self.rule)).problem(message, key))

    def margin(self, clear: ClearEntry) -> float:
        if clear.margin is None:
            return 0.0
        if self.quantity.type is QuantityType.STATE:
            self.report(clear, "margin", f"{self.quantity.name} is a state and has no margin; write only `for`")
            return 0.0
        margin = self.number(clear, "margin", clear.margin)
        if margin < 0:
            self.report(clear, "margin", f"`{clear.margin.text}`: a margin cannot be negative")
        return max(0.0, margin)

    def limit(self, level: Level, threshold: ThresholdEntry, margin: float) -> Limit | None:
        if (self.quantity.type is QuantityType.STATE) != bool(threshold.is_):
            self.report_wrong_sort(threshold)
            return None
        if threshold.is_:
            return self.state_limit(level, threshold)
        key, text, low, high = self.ends(threshold)
        allowed = Band(low, high)
        clear = allowed.shrunk(margin)
        possible = Band(0, 100) if self.quantity.unit is PERCENT else Band()
        if not self.problems and margin and (clear.low > min(clear.high, possible.high) or clear.high < possible.low):
            self.report(threshold, key, f"`{key}: {text}` can never clear: the margin leaves no value that clears it")
        return Limit(level, f"{key} {text}", threshold.for_s, allowed, clear)

    def ends(self, threshold: ThresholdEntry) -> tuple[str, str, float, float]:
        """(key, text, lowest allowed, highest allowed) of a threshold on numbers."""
        if threshold.above:
            return "above", threshold.above.text, -inf, self.number(threshold, "above", threshold.above)
        if threshold.below:
            return "below", threshold.below.text, self.number(threshold, "below", threshold.below), inf
        if threshold.outside is None:
            raise AssertionError("ThresholdEntry.check accepts no threshold without a limit")
        low, high = self.both_numbers(threshold, threshold.outside)
        return "outside", threshold.outside.text, low, high

    def report_wrong_sort(self, threshold: ThresholdEntry) -> None:
        name, states = self.quantity.name, ", ".join(self.quantity.states)
        if threshold.is_:
            self.report(threshold, "is", f"{name} is a number; use `above`, `below` or `outside`")
            return
        key = "above" if threshold.above else "below" if threshold.below else "outside"
        self.report(threshold, key, f"{name} is a state ({states}); use `is`")

    def state_limit(self, level: Level, threshold: ThresholdEntry) -> Limit:
        self.check_states(threshold, "is", self.quantity, threshold.is_)
        return Limit(level, _states_text(threshold.is_), threshold.for_s, states=frozenset(threshold.is_))

    def check_states(self, part: object, key: str, quantity: Quantity, states: tuple[str, ...]) -> None:
        for state in states:
            if state not in quantity.states:
                hint = did_you_mean(state, quantity.states)
                self.report(part, key, f"{quantity.name} has no state `{state}`; {hint}")

    def condition(self, entry: ConditionEntry) -> Condition:
        """One condition; reports a limit that its quantity cannot have."""
        quantity = entry.quantity
        if quantity is None:
            raise AssertionError("ConditionEntry.check accepts no condition without a quantity")
        key = "above" if entry.above else "below" if entry.below else "is" if entry.is_ else "is_not"
        named = entry.is_ or entry.is_not
        amount = entry.above or entry.below
        known = frozenset(quantity.states) - {"unknown"} | frozenset(named)
        unfulfilled = Band()
        if quantity.type is QuantityType.COUNTER:
            self.report(entry, key, f"{quantity.name} is a counter, which only grows; it cannot have a limit")
        elif (quantity.type is QuantityType.STATE) != bool(named):
            sort = f"a state ({', '.join(quantity.states)}); use `is`" if amount else "a number; use `above` or `below`"
            self.report(entry, key, f"{quantity.name} is {sort}")
        elif amount:
            edge = self.number(entry, key, amount, quantity)
            unfulfilled = Band(high=edge) if entry.above else Band(low=edge)
        else:
            self.check_states(entry, key, quantity, named)
        return Condition(
            quantity=quantity.name,
            text=_condition_text(entry, quantity, f"{key} {amount.text}" if amount else _states_text(named, key)),
            same_instance=entry.same is Same.INSTANCE,
            every=entry.series is Quantifier.ALL or (entry.series is None and key == "is_not"),
            or_missing=entry.or_missing,
            ever=entry.ever,
            negative=key == "is_not",
            unfulfilled=unfulfilled,
            states=known - frozenset(entry.is_not) if entry.is_not else frozenset(entry.is_),
            known_states=known if named else frozenset(),
        )

    def number(self, part: object, key: str, amount: Amount, quantity: Quantity | None = None) -> float:
        try:
            return in_unit_of(quantity or self.quantity, amount)
        except ValueError as error:
            self.report(part, key, str(error))
            return 0.0

    def both_numbers(self, part: object, outside: AmountRange) -> tuple[float, float]:
        before = len(self.problems)
        low, high = (
            self.number(part, "outside", Amount(value, outside.unit, f"{value:g} {outside.unit}".strip()))
            for value in (outside.low, outside.high)
        )
        del self.problems[before + 1 :]  # a wrong unit is one problem, not two
        return low, high

    def warning_below(self, critical: Limit, warning: Limit, threshold: ThresholdEntry) -> Limit:
        """The warning limit that every critical value breaks too: a warning on states also gets the critical states.
        Reports a critical limit (`threshold`) that is not worse than the warning."""
        longer = critical.for_s > warning.for_s
        if self.quantity.type is QuantityType.STATE:
            twice = sorted(warning.states & critical.states)
            if twice and not longer:
                self.report(threshold, "is", f"`{twice[0]}` is a warning as well; critical needs a longer `for` then")
            states = [state for state in self.quantity.states if state in warning.states | critical.states]
            return Limit(warning.level, _states_text(states), warning.for_s, states=frozenset(states))
        same = warning.allowed == critical.allowed
        if not critical.allowed.covers(warning.allowed) or (same and not longer):
            hint = "the same limit needs a longer `for`" if same else "a critical value must be a warning as well"
            message = f"critical ({critical.text}) is not worse than warning ({warning.text}); {hint}"
            self.report(threshold, critical.text.partition(" ")[0], message)
        return warning


def _states_text(states: tuple[str, ...] | list[str], key: str = "is") -> str:
    return f"{key.replace('_', ' ')} " + " or ".join(states)


def _condition_text(entry: ConditionEntry, quantity: Quantity, limit: str) -> str:
    """What the operator wrote, without the defaults: `output.source is battery`."""
    more = (
        "of the same instance" if entry.same is Same.INSTANCE else "",
        f"of {entry.series} series" if entry.series else "",
        "ever" if entry.ever else "",
        "and not missing" if not entry.or_missing else "",
    )
    return " ".join(filter(None, (quantity.name, limit, *more)))
