"""An operator's own tests of rules: readings at times, and the levels they should give. Pure; `watchkeeper rules test`.

rules: my-rules.yml
tests:
  - test: a busy minute is no fault, ten are
    rule: server.cpu-busy
    steps:
      - {at: 0 min, value: 97 %, level: unknown}
      - {at: 10 min, value: 97 %, level: critical}
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from watchkeeper.documents.bind import ITEM_OR_LIST, try_load
from watchkeeper.documents.files import read_documents
from watchkeeper.documents.nodes import Mark
from watchkeeper.model.errors import ConfigError, Problem
from watchkeeper.model.quantity import QUANTITIES, QuantityType
from watchkeeper.model.reading import Missing, Reason, Value
from watchkeeper.model.verdict import Level
from watchkeeper.rules.check import duration, load_with_shipped, said
from watchkeeper.rules.evaluate import State, evaluate
from watchkeeper.rules.language import Rule
from watchkeeper.rules.load import RuleSet
from watchkeeper.rules.meaning import in_unit_of
from watchkeeper.rules.written import SCALARS, RuleName, amount, did_you_mean


@dataclass(frozen=True, slots=True)
class Step:
    """One reading `at_s` seconds, and the level the rule should give then, if that matters."""

    at_s: float
    value: str = ""
    missing: Reason | None = None
    level: Level | None = None

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if bool(self.value) == bool(self.missing):
            yield "at", "a step has a `value`, or `missing` and the reason"


@dataclass(frozen=True, slots=True)
class Trial:
    """One test of one rule, on one device."""

    test: str
    rule: RuleName
    steps: tuple[Step, ...]

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        times = [step.at_s for step in self.steps]
        if times != sorted(times):
            yield "steps", "steps stand in the order of their `at`"
        if not any(step.level for step in self.steps):
            yield "steps", "no step says which `level` it expects; the test could not fail"


@dataclass(frozen=True, slots=True)
class TrialFile:
    """A file of tests. `rules` are rule files beside it; the shipped library always stands below them."""

    tests: tuple[Trial, ...]
    rules: tuple[str, ...] = field(default=(), metadata=ITEM_OR_LIST)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a test: the level after each step."""

    trial: Trial
    rule: Rule
    place: Mark
    levels: tuple[Level, ...]

    @property
    def passed(self) -> bool:
        """Whether every level was as expected."""
        return all(step.level in (None, level) for step, level in zip(self.trial.steps, self.levels, strict=True))


def run(path: Path) -> list[Outcome]:
    """Run every test of a file. Raises ConfigError with every problem of it, or of the rule files it names."""
    (document,) = read_documents([path])
    bound = try_load(document.text, document.name, TrialFile, SCALARS)
    if bound.problems or bound.value is None:
        raise ConfigError(bound.problems)
    rules = load_with_shipped(path.parent / name for name in bound.value.rules)
    problems: list[Problem] = []
    outcomes = [_try(trial, rules, bound.mark, problems) for trial in bound.value.tests]
    if problems:
        raise ConfigError(problems)
    return [outcome for outcome in outcomes if outcome]


def _try(trial: Trial, rules: RuleSet, place: Callable[[object], Mark], problems: list[Problem]) -> Outcome | None:
    rule = rules.named(trial.rule)
    if rule is None:
        off = rules.off.get(trial.rule)
        hint = f"it is switched off: {off}" if off else did_you_mean(trial.rule, [one.rule for one in rules.rules])
        problems.append(place(trial).problem(f"there is no rule `{trial.rule}`; {hint}", "rule"))
        return None
    state: State | None = None
    levels: list[Level] = []
    for step in trial.steps:
        try:
            state = evaluate(rule, state, _value(rule, step), step.at_s, str)
        except ValueError as error:
            problems.append(place(step).problem(str(error), "value"))
            continue
        levels.append(state.level)
    return Outcome(trial, rule, place(trial), tuple(levels)) if len(levels) == len(trial.steps) else None


def _value(rule: Rule, step: Step) -> Value:
    if step.missing:
        return Missing(step.missing)
    quantity = QUANTITIES[rule.quantity]
    if quantity.type is not QuantityType.STATE:
        return in_unit_of(quantity, amount(step.value))
    if step.value not in quantity.states:
        raise ValueError(f"{quantity.name} has no state `{step.value}`; {did_you_mean(step.value, quantity.states)}")
    return step.value


def report(outcome: Outcome) -> list[str]:
    """One line for a test that passed; for one that failed, every step with what was expected and what was."""
    if outcome.passed:
        return [f"passed  {outcome.trial.test}"]
    rule, place = outcome.rule, outcome.place
    limits = ((limit.level, said(limit)) for limit in (rule.warning, rule.critical, rule.missing) if limit)
    lines = [
        f"FAILED  {outcome.trial.test}  ({place.file}:{place.line})",
        f"        {rule.rule}: " + "; ".join(f"{level} {text}" for level, text in limits),
        f"        {'AT':>8}  {'VALUE':<16} {'EXPECTED':<9} WAS",
    ]
    for step, level in zip(outcome.trial.steps, outcome.levels, strict=True):
        value = f"missing: {step.missing}" if step.missing else step.value
        wrong = "" if step.level in (None, level) else "   <-- not as expected"
        lines.append(f"        {duration(step.at_s):>8}  {value:<16} {step.level or '':<9} {level}{wrong}")
    return lines
