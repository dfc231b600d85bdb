"""Rule files into a RuleSet: the shipped library first, then the operator's own, which may change it or switch it off."""

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
from watchkeeper.rules.language import Rule
from watchkeeper.rules.meaning import understand
from watchkeeper.rules.written import SCALARS, Change, Off, RuleFile, WrittenRule, did_you_mean


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules in force, in the order written. `off` names those switched off, and why."""

    rules: tuple[Rule, ...]
    off: Mapping[str, str] = field(default_factory=dict)
    _by_quantity: dict[str, list[Rule]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for rule in self.rules:
            self._by_quantity.setdefault(rule.quantity, []).append(rule)

    def of(self, series: Series, category: Category) -> tuple[Rule, ...]:
        """The rules that judge a series of a device of that category."""
        candidates = self._by_quantity.get(series.quantity, ())
        return tuple(rule for rule in candidates if rule.scope.holds(series, category))

    def named(self, name: str) -> Rule | None:
        """The rule in force of that name."""
        return next((rule for rule in self.rules if rule.rule == name), None)


def shipped() -> tuple[Document, ...]:
    """The library that comes with Watchkeeper. Raises BrokenInstallation where it is not there."""
    files = packaged(Path(__file__).parent / "library")
    return tuple(Document(f"library/{file.name}", file.read_text(encoding="utf-8")) for file in files)


def load_rules(documents: Iterable[Document]) -> RuleSet:
    """Read rule files together, later ones over earlier ones. Raises one ConfigError with every problem of them all."""
    reader = _Reader()
    for document in documents:
        reader.read(document)
    return reader.rule_set()


@dataclass(frozen=True, slots=True)
class _Standing:
    """A rule as the files read so far leave it, and where it was written first and last."""

    written: WrittenRule
    first: Mark
    last: Mark


class _Reader:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.standing: dict[str, _Standing] = {}
        self.off: dict[str, str] = {}
        self.parts: list[object] = []  # keeps what the marks below speak of alive, so that an id means one thing
        self.marks: dict[int, Mark] = {}

    def read(self, document: Document) -> None:
        bound: Bound[RuleFile] = try_load(document.text, document.name, RuleFile, SCALARS)
        readable = not self.problems
        self.problems += bound.problems
        self.parts += bound.made
        self.marks.update((id(part), bound.mark(part)) for part in bound.made)
        for part in bound.made:
            if isinstance(part, Change | Off):
                self.alter(part, readable=readable)
        for part in bound.made:
            if isinstance(part, WrittenRule):
                self.add(part)

    def place(self, part: object) -> Mark:
        return self.marks.get(id(part), Mark())

    def add(self, rule: WrittenRule) -> None:
        mark = self.place(rule)
        if before := self.standing.get(rule.rule):
            first = f"{before.first.file}:{before.first.line}"
            hint = "to alter it, use `changes:`" if before.first.file != mark.file else "give one of them another name"
            self.problems.append(mark.problem(f"rule `{rule.rule}` stands already at {first}; {hint}", "rule"))
        else:
            self.standing[rule.rule] = _Standing(rule, mark, mark)

    def alter(self, part: Change | Off, *, readable: bool) -> None:
        mark = self.place(part)
        before = self.standing.get(part.rule)
        if part.rule in self.off:
            self.problems.append(mark.problem(f"rule `{part.rule}` is switched off already", "rule"))
        elif before is None:
            if readable:  # otherwise the rule may stand where nothing could be read
                hint = did_you_mean(part.rule, self.standing)
                self.problems.append(mark.problem(f"no file before this one has a rule `{part.rule}`; {hint}", "rule"))
        elif isinstance(part, Off):
            self.off[part.rule] = part.because
        else:
            self.standing[part.rule] = _Standing(part.applied_to(before.written), before.first, mark)

    def rule_set(self) -> RuleSet:
        rules: list[Rule] = []
        for name, standing in self.standing.items():
            self.marks.setdefault(id(standing.written), standing.last)
            rule, problems = understand(standing.written, self.place, standing.last.file)
            self.problems += problems
            if rule and name not in self.off:
                rules.append(rule)
        if self.problems:
            raise ConfigError(self.problems)
        return RuleSet(tuple(rules), self.off)
