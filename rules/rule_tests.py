"""An operator's tests of rules (`watchkeeper rules test`): readings at times, and the expected levels. Pure.

rules: my-rules.yml
tests:
  - test: one busy minute is no fault, ten are
    rule: server.cpu-busy
    steps:
      - {at: 0 min, value: 97 %, level: unknown}
      - {at: 10 min, value: 97 %, level: critical}
  - test: a short runtime counts on battery
    rule: power.battery-runtime
    steps:
      - {at: 0 min, value: 0 s, with: {output.source: mains, battery.charge: 100 %}, level: ok}
      - {at: 1 min, value: 4 min, with: {output.source: battery}, level: critical}
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from watchkeeper.documents.bind import ITEM_OR_LIST, try_load
from watchkeeper.documents.files import read_documents
from watchkeeper.documents.nodes import Mark
from watchkeeper.model.errors import ConfigError, Problem
from watchkeeper.model.quantity import QUANTITIES, Quantity, QuantityType
from watchkeeper.model.reading import Missing, Reason, Series, Value
from watchkeeper.model.verdict import Level
from watchkeeper.rules.compile import in_unit_of
from watchkeeper.rules.conditions import apply, find_columns
from watchkeeper.rules.entries import RULE_SCALARS, RuleName, amount, did_you_mean
from watchkeeper.rules.evaluate import RuleState, evaluate_when
from watchkeeper.rules.listing import duration_text, limit_text, load_with_shipped, when_text
from watchkeeper.rules.load import RuleSet
from watchkeeper.rules.rule import Rule

MISSING = "missing"
"""The word for a companion that could not be read."""


@dataclass(frozen=True, slots=True)
class RuleTestStep:
    """One reading `at_s` seconds after the start. `with_` are the readings that the rule's conditions look at, by quantity or
    by quantity and instance (`output.source`, `input.voltage 2`), `missing` for one that is missing. They stay until a
    later step changes them. `level` is the level that the rule should give, or None for any."""

    MESSAGE_NAME: ClassVar = "step"

    at_s: float
    value: str = ""
    missing: Reason | None = None
    with_: Mapping[str, str] = field(default_factory=dict)
    level: Level | None = None

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if bool(self.value) == bool(self.missing):
            yield "at", "a step needs either a `value`, or `missing` with the reason"


@dataclass(frozen=True, slots=True)
class RuleTest:
    """One test of one rule on one series, that of `instance`."""

    MESSAGE_NAME: ClassVar = "test"

    test: str
    rule: RuleName
    steps: tuple[RuleTestStep, ...]
    instance: str = ""

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        times = [step.at_s for step in self.steps]
        if times != sorted(times):
            yield "steps", "the steps must be in the order of their `at`"
        if not any(step.level for step in self.steps):
            yield "steps", "no step says which `level` it expects, so the test cannot fail; add one"


@dataclass(frozen=True, slots=True)
class RuleTestFile:
    """A file of tests. `rules` are rule files in the same folder, read after the shipped library."""

    tests: tuple[RuleTest, ...]
    rules: tuple[str, ...] = field(default=(), metadata=ITEM_OR_LIST)


@dataclass(frozen=True, slots=True)
class RuleTestResult:
    """The result of a test: the level after each step."""

    test: RuleTest
    rule: Rule
    mark: Mark
    levels: tuple[Level, ...]

    @property
    def passed(self) -> bool:
        """Whether every level is the expected one."""
        return all(step.level in (None, level) for step, level in zip(self.test.steps, self.levels, strict=True))


def run(path: Path) -> list[RuleTestResult]:
    """Run every test of a file. Raises ConfigError with every problem of the file, or of the rule files it names."""
    (document,) = read_documents([path])
    bound = try_load(document.text, document.name, RuleTestFile, RULE_SCALARS)
    if bound.problems or bound.value is None:
        raise ConfigError(bound.problems)
    rules = load_with_shipped(path.parent / name for name in bound.value.rules)
    problems: list[Problem] = []
    results = [_run_one(test, rules, bound.mark, problems) for test in bound.value.tests]
    if problems:
        raise ConfigError(problems)
    return [result for result in results if result]


def _run_one(
    test: RuleTest, rules: RuleSet, mark_of: Callable[[object], Mark], problems: list[Problem]
) -> RuleTestResult | None:
    rule = rules.named(test.rule)
    if rule is None:
        off = rules.off.get(test.rule)
        hint = f"it is switched off: {off}" if off else did_you_mean(test.rule, [one.rule for one in rules.rules])
        problems.append(mark_of(test).problem(f"there is no rule `{test.rule}`; {hint}", "rule"))
        return None
    judged = Series("", rule.quantity, test.instance)
    readings: dict[Series, Value] = {judged: Missing(Reason.ABSENT)}
    state: RuleState | None = None
    levels: list[Level] = []
    for step in test.steps:
        key = "value"
        try:
            readings[judged] = _value(QUANTITIES[rule.quantity], step.value, step.missing)
            key = "with"
            readings.update(_companion(rule, judged, *item) for item in step.with_.items())
        except ValueError as error:
            problems.append(mark_of(step).problem(str(error), key))
            continue
        state = _judged(rule, state, readings, step.at_s)
        levels.append(state.level)
    return RuleTestResult(test, rule, mark_of(test), tuple(levels)) if len(levels) == len(test.steps) else None


def _judged(rule: Rule, state: RuleState | None, readings: Mapping[Series, Value], at: float) -> RuleState:
    """The state after the first of the readings, with the others as its companions."""
    series, values = tuple(readings), tuple(readings.values())
    applied = apply(rule.when, find_columns(rule.when, series, 0), values, state.held if state else frozenset())
    return evaluate_when(rule, state, values[0], at, str, "", applied)


def _value(quantity: Quantity, text: str, missing: Reason | None = None) -> Value:
    if missing:
        return Missing(missing)
    if quantity.type is not QuantityType.STATE:
        return in_unit_of(quantity, amount(text))
    if text not in quantity.states:
        raise ValueError(f"{quantity.name} has no state `{text}`; {did_you_mean(text, quantity.states)}")
    return text


def _companion(rule: Rule, judged: Series, name: str, text: str) -> tuple[Series, Value]:
    """A reading of `with`: `input.voltage 2` is instance 2 of input.voltage."""
    quantity, _, instance = name.partition(" ")
    wanted = sorted({condition.quantity for group in rule.when for condition in group})
    if quantity not in wanted:
        hint = did_you_mean(quantity, wanted) if wanted else "it has no `when`"
        raise ValueError(f"no condition of rule `{rule.rule}` looks at `{quantity}`; {hint}")
    series = Series(judged.device, quantity, instance.strip())
    if series == judged:
        raise ValueError(f"`{name}` is the reading that the rule judges; write it as `value`")
    return series, _value(QUANTITIES[quantity], text, Reason.TIMEOUT if text == MISSING else None)


def report(result: RuleTestResult) -> list[str]:
    """One line for a test that passed. For a test that failed, every step with its expected and its actual level."""
    if result.passed:
        return [f"passed  {result.test.test}"]
    rule, mark = result.rule, result.mark
    limits = ((limit.level, limit_text(limit)) for limit in (rule.warning, rule.critical, rule.missing) if limit)
    lines = [
        f"FAILED  {result.test.test}  ({mark.file}:{mark.line})",
        f"        {rule.rule}: " + "; ".join(f"{level} {text}" for level, text in limits),
        *([f"        when {when_text(rule.when)}"] if rule.when else []),
        f"        {'AT':>8}  {'VALUE':<16} {'EXPECTED':<9} ACTUAL",
    ]
    for step, level in zip(result.test.steps, result.levels, strict=True):
        value = f"missing: {step.missing}" if step.missing else step.value
        value += "".join(f", {name} {text}" for name, text in step.with_.items())
        wrong = "" if step.level in (None, level) else "   <-- not as expected"
        lines.append(f"        {duration_text(step.at_s):>8}  {value:<16} {step.level or '':<9} {level}{wrong}")
    return lines
