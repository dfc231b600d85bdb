"""What `watchkeeper rules list` and `check` print: a table of the active rules with their limits as written."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from watchkeeper.documents.files import read_documents
from watchkeeper.rules.load import RuleSet, load_rules, shipped
from watchkeeper.rules.rule import Limit, MissingLimit, Rule, When

_DURATION_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def load_with_shipped(paths: Iterable[Path]) -> RuleSet:
    """Load the shipped library, then the operator's files. Raises ConfigError."""
    return load_rules((*shipped(), *read_documents(paths)))


def table(rules: Sequence[Rule]) -> list[str]:
    """A line of headings, and one line for each rule."""
    rows = [("RULE", "CLAUSE", "QUANTITY", "WARNING", "CRITICAL", "FILE", "WHEN")]
    rows += [
        (
            rule.rule, rule.clause, rule.quantity, limit_text(rule.warning), limit_text(rule.critical), rule.file,
            when_text(rule.when),
        )
        for rule in rules
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def limit_text(limit: Limit | MissingLimit | None) -> str:
    """A limit as the operator wrote it: `above 85 % for 10 min`."""
    if limit is None:
        return "-"
    return f"{limit.text} for {duration_text(limit.for_s)}" if limit.for_s else limit.text


def when_text(when: When) -> str:
    """The conditions of a rule as the operator wrote them."""
    return "; ".join(", or ".join(condition.text for condition in group) for group in when)


def duration_text(seconds: float) -> str:
    """600.0 -> `10 min`: the largest unit that leaves no fraction."""
    for size, unit in _DURATION_UNITS:
        if seconds and seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:g} s"
