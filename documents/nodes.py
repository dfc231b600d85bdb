"""YAML text as nodes that know their place. Scalars stay text (`NO` is a word, `17:00` a time); a key may stand once."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

from model.errors import Problem

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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
    problems: list[Problem] = []
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        spot = error.problem_mark or error.context_mark
        line, column = (spot.line + 1, spot.column + 1) if spot else (0, 0)
        reason = " ".join(filter(None, (error.context, error.problem)))
        return None, [Problem(file, line, column, f"not YAML: {reason}")]
    except (yaml.YAMLError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error).splitlines()[0]
        return None, [Problem(file, 0, 0, f"not YAML: {reason}")]
    if root is None:
        return None, []
    return _node(root, file, problems, set()), problems


def _node(raw: yaml.Node, file: str, problems: list[Problem], above: set[int]) -> Node:
    mark = Mark(file, raw.start_mark.line + 1, raw.start_mark.column + 1)
    if id(raw) in above:
        problems.append(mark.problem("an alias that contains itself"))
        return Scalar("", mark)
    if isinstance(raw, yaml.ScalarNode):
        return Scalar(raw.value, mark, quoted=raw.style is not None)
    above = above | {id(raw)}
    if isinstance(raw, yaml.SequenceNode):
        return Sequence(tuple(_node(item, file, problems, above) for item in raw.value), mark)
    if not isinstance(raw, yaml.MappingNode):
        raise TypeError(f"a YAML node of an unknown kind: {raw!r}")
    return _table(raw, mark, problems, above)


def _table(raw: yaml.MappingNode, mark: Mark, problems: list[Problem], above: set[int]) -> Table:
    items: dict[str, Node] = {}
    places: dict[str, Mark] = {}
    for raw_key, raw_value in raw.value:
        place = Mark(mark.file, raw_key.start_mark.line + 1, raw_key.start_mark.column + 1)
        if not isinstance(raw_key, yaml.ScalarNode):
            problems.append(place.problem("a key must be a plain word"))
            continue
        key = raw_key.value
        if key in items:
            problems.append(place.problem(f"`{key}` stands twice; the first is on line {places[key].line}"))
            continue
        places[key] = place
        items[key] = _node(raw_value, mark.file, problems, above)
    values = {key: _place(node) for key, node in items.items()}
    return Table(items, Mark(mark.file, mark.line, mark.column, values), places)


def _place(node: Node) -> Mark:
    return Mark(node.mark.file, node.mark.line, node.mark.column)
