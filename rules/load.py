"""Loads rule files into a RuleSet: the shipped library first, then the operator's files, which may change it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from watchkeeper.documents.bind import Bound, try_load
from watchkeeper.documents.files import packaged
from watchkeeper.documents.nodes import Mark
from watchkeeper.model.batch import Document
from watchkeeper.model.device import Category
from watchkeeper.model.errors import ConfigError, Problem
from watchkeeper.model.reading import Series
from watchkeeper.rules.compile import compile_rule
from watchkeeper.rules.entries import RULE_SCALARS, ChangeEntry, OffEntry, RuleEntry, RuleFile, did_you_mean
from watchkeeper.rules.rule import Rule


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All active rules, in the order written. `off` maps the name of each rule that is switched off to the reason."""

    rules: tuple[Rule, ...]
    off: Mapping[str, str] = field(default_factory=dict)
    _by_quantity: dict[str, list[Rule]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for rule in self.rules:
            self._by_quantity.setdefault(rule.quantity, []).append(rule)

    def of(self, series: Series, category: Category) -> tuple[Rule, ...]:
        """The rules that judge a series of a device of that category."""
        candidates = self._by_quantity.get(series.quantity, ())
        return tuple(rule for rule in candidates if rule.scope.matches(series, category))

    def named(self, name: str) -> Rule | None:
        """The active rule of that name."""
        return next((rule for rule in self.rules if rule.rule == name), None)


def shipped() -> tuple[Document, ...]:
    """The rule library that is part of Watchkeeper. Raises BrokenInstallation if its files are missing."""
    files = packaged(Path(__file__).parent / "library")
    return tuple(Document(f"library/{file.name}", file.read_text(encoding="utf-8")) for file in files)


def load_rules(documents: Iterable[Document]) -> RuleSet:
    """Read rule files together, later ones over earlier ones. Raises one ConfigError with every problem of all files."""
    merger = _RuleMerger()
    for document in documents:
        merger.read(document)
    return merger.rule_set()


@dataclass(frozen=True, slots=True)
class _MergedEntry:
    """A rule with the changes of all files read so far, and where it was written first and last."""

    entry: RuleEntry
    first: Mark
    last: Mark


class _RuleMerger:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.merged: dict[str, _MergedEntry] = {}
        self.off: dict[str, str] = {}
        self.parts: list[object] = []  # keeps the objects of `marks` alive, so that their ids stay unique
        self.marks: dict[int, Mark] = {}

    def read(self, document: Document) -> None:
        bound: Bound[RuleFile] = try_load(document.text, document.name, RuleFile, RULE_SCALARS)
        all_readable = not self.problems
        self.problems += bound.problems
        self.parts += bound.made
        self.marks.update((id(part), bound.mark(part)) for part in bound.made)
        for part in bound.made:
            if isinstance(part, ChangeEntry | OffEntry):
                self.alter(part, all_readable=all_readable)
        for part in bound.made:
            if isinstance(part, RuleEntry):
                self.add(part)

    def mark_of(self, part: object) -> Mark:
        return self.marks.get(id(part), Mark())

    def add(self, rule: RuleEntry) -> None:
        mark = self.mark_of(rule)
        if before := self.merged.get(rule.rule):
            first = f"{before.first.file}:{before.first.line}"
            hint = "to change it, use `changes:`" if before.first.file != mark.file else "give one of them another name"
            self.problems.append(mark.problem(f"rule `{rule.rule}` is already at {first}; {hint}", "rule"))
        else:
            self.merged[rule.rule] = _MergedEntry(rule, mark, mark)

    def alter(self, part: ChangeEntry | OffEntry, *, all_readable: bool) -> None:
        mark = self.mark_of(part)
        before = self.merged.get(part.rule)
        if part.rule in self.off:
            self.problems.append(mark.problem(f"rule `{part.rule}` is already switched off", "rule"))
        elif before is None:
            if all_readable:  # otherwise the rule may be in a part of an earlier file that could not be read
                hint = did_you_mean(part.rule, self.merged)
                self.problems.append(mark.problem(f"no file before this one has a rule `{part.rule}`; {hint}", "rule"))
        elif isinstance(part, OffEntry):
            self.off[part.rule] = part.because
        else:
            self.merged[part.rule] = _MergedEntry(part.applied_to(before.entry), before.first, mark)

    def rule_set(self) -> RuleSet:
        rules: list[Rule] = []
        for name, merged in self.merged.items():
            self.marks.setdefault(id(merged.entry), merged.last)
            rule, problems = compile_rule(merged.entry, self.mark_of, merged.last.file)
            self.problems += problems
            if rule and name not in self.off:
                rules.append(rule)
        if self.problems:
            raise ConfigError(self.problems)
        return RuleSet(tuple(rules), self.off)
