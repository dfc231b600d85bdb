"""YAML text as nodes that know their place. Scalars stay text (`NO` is a word, `17:00` a time); a key may stand once.

The text may be hostile (rules travel in bundles): depth is bounded before libyaml recurses over it, aliases before they
multiply, and tags are refused, for they would mean nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml
from yaml.reader import Reader

from watchkeeper.model.errors import Problem

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DEPTH_LIMIT = 40
ALIASED_LIMIT = 100_000  # nodes that aliases may add to those written out


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file (counted from 1), and the places of the keys below it when it is a mapping's."""

    file: str = ""
    line: int = 0
    column: int = 0
    keys: Mapping[str, "Mark"] = field(default_factory=dict, compare=False)

    def problem(self, message: str, key: str = "") -> Problem:
        """A problem at this place, or at the value of `key` where that key was written."""
        spot = self.keys.get(key, self)
        return Problem(spot.file, spot.line, spot.column, message)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A word as written. `quoted` tells `"1"` from `1`; an empty unquoted one is YAML's null."""

    text: str
    mark: Mark
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: tuple["Node", ...]
    mark: Mark


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping of words to nodes, in the order written; `places` says where each key stands, `mark.keys` each value."""

    items: Mapping[str, "Node"]
    mark: Mark
    places: Mapping[str, Mark]


Node = Scalar | Sequence | Table


def parse(text: str, file: str) -> tuple[Node | None, list[Problem]]:
    """Read one YAML document. The node is None where nothing (or nothing readable) is there."""
    if odd := Reader.NON_PRINTABLE.search(text):
        line, column = text.count("\n", 0, odd.start()) + 1, odd.start() - text.rfind("\n", 0, odd.start())
        return None, [Problem(file, line, column, f"not YAML: the character U+{ord(odd[0]):04X} may not stand here")]
    try:
        refused = _refused(text, file)
        root = None if refused else yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        spot = error.problem_mark or error.context_mark
        line, column = (spot.line + 1, spot.column + 1) if spot else (0, 0)
        begun = f"(begun on line {error.context_mark.line + 1})" if error.context and error.context_mark else None
        reason = " ".join(filter(None, (error.context, begun, error.problem)))
        return None, [Problem(file, line, column, f"not YAML: {reason}")]
    except yaml.YAMLError as error:
        return None, [Problem(file, 0, 0, f"not YAML: {str(error).splitlines()[0]}")]
    if root is None:
        return None, refused
    reader = _Reader(file, len(text) + ALIASED_LIMIT)
    node = reader.node(root, set())
    return (None if reader.spent else node), reader.problems


def _refused(text: str, file: str) -> list[Problem]:
    """What is wrong with the text before anything recurses over it: libyaml's composer has no limit of its own."""
    found: list[Problem] = []
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        spot = event.start_mark
        place = Mark(file, spot.line + 1, spot.column + 1) if spot else Mark(file)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_LIMIT:
            return [place.problem(f"nested deeper than {DEPTH_LIMIT} levels")]
        if tag := getattr(event, "tag", None):
            found.append(place.problem(f"remove the tag `{tag}`; tags mean nothing here"))
    return found


class _Reader:
    """Turns PyYAML's nodes into ours, at most `budget` of them."""

    def __init__(self, file: str, budget: int) -> None:
        self.file = file
        self.budget = budget
        self.problems: list[Problem] = []

    @property
    def spent(self) -> bool:
        return self.budget < 0

    def node(self, raw: yaml.Node, above: set[int]) -> Node:
        mark = Mark(self.file, raw.start_mark.line + 1, raw.start_mark.column + 1)
        self.budget -= 1
        if self.budget == -1:
            self.problems.append(
                mark.problem(f"aliases make this file larger by {ALIASED_LIMIT} values; write them out")
            )
        if id(raw) in above:
            self.problems.append(mark.problem("an alias that contains itself"))
        if self.spent or id(raw) in above:
            return Scalar("", mark)
        if isinstance(raw, yaml.ScalarNode):
            return Scalar(raw.value, mark, quoted=bool(raw.style))
        above = above | {id(raw)}
        if isinstance(raw, yaml.SequenceNode):
            return Sequence(tuple(self.node(item, above) for item in raw.value), mark)
        if not isinstance(raw, yaml.MappingNode):
            raise TypeError(f"a YAML node of an unknown kind: {raw!r}")
        return self.table(raw, mark, above)

    def table(self, raw: yaml.MappingNode, mark: Mark, above: set[int]) -> Table:
        items: dict[str, Node] = {}
        places: dict[str, Mark] = {}
        for raw_key, raw_value in raw.value:
            place = Mark(self.file, raw_key.start_mark.line + 1, raw_key.start_mark.column + 1)
            if not isinstance(raw_key, yaml.ScalarNode):
                self.problems.append(place.problem("a key must be a plain word"))
                continue
            key = raw_key.value
            if key in items:
                first = places[key].line
                self.problems.append(place.problem(f"`{key}` stands twice; the first is on line {first}"))
                continue
            places[key] = place
            items[key] = self.node(raw_value, above)
        values = {key: _place(node) for key, node in items.items()}
        return Table(items, Mark(mark.file, mark.line, mark.column, values), places)


def _place(node: Node) -> Mark:
    return Mark(node.mark.file, node.mark.line, node.mark.column)
