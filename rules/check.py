"""What `watchkeeper rules` tells an operator about files before they are used: problems, or the rules in force."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from watchkeeper.documents.files import read_documents
from watchkeeper.rules.language import Limit, MissingLimit, Rule
from watchkeeper.rules.load import RuleSet, load_rules, shipped

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def load_with_shipped(paths: Iterable[Path]) -> RuleSet:
    """The shipped library with the operator's files over it. Raises ConfigError."""
    return load_rules((*shipped(), *read_documents(paths)))


def table(rules: Sequence[Rule]) -> list[str]:
    """One line a rule, under a line of headings."""
    rows = [("RULE", "CLAUSE", "QUANTITY", "WARNING", "CRITICAL", "FILE")]
    rows += [
        (rule.rule, rule.clause, rule.quantity, said(rule.warning), said(rule.critical), rule.file) for rule in rules
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def said(limit: Limit | MissingLimit | None) -> str:
    """A limit in the operator's words: `above 85 % for 10 min`."""
    if limit is None:
        return "-"
    return f"{limit.text} for {duration(limit.for_s)}" if limit.for_s else limit.text


def duration(seconds: float) -> str:
    """600.0 -> `10 min`: the largest unit that leaves no fraction."""
    for size, unit in _UNITS:
        if seconds and seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:g} s"
