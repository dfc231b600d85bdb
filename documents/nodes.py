"""YAML text as nodes that know their place, and parsed JSON as the same nodes. A YAML scalar stays text: `NO` is a
word, `17:00` is not a number. A key may be written only once.

The text may be hostile, because rules travel in bundles: the depth is checked before libyaml recurses, the values that
aliases add are limited, and tags are refused because they have no meaning here.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import yaml
from yaml.reader import Reader

from watchkeeper.model.errors import Problem

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DEPTH_LIMIT = 40
ALIASED_LIMIT = 100_000  # nodes that aliases may add to those written out


T = TypeVar("T")
_NO_KEYS: Mapping[str, "Mark"] = MappingProxyType({})


class Mark(NamedTuple):
    """A place in a file (line and column count from 1); for a mapping also the places of its values."""

    file: str = ""
    line: int = 0
    column: int = 0
    keys: Mapping[str, "Mark"] = _NO_KEYS

    def problem(self, message: str, key: str = "") -> Problem:
        """A problem at this place, or at the value of `key` if that key was written."""
        place = self.keys.get(key, self)
        return Problem(place.file, place.line, place.column, message)


class ScalarNode(NamedTuple):
    """One value as text. `quoted` tells `"1"` from `1`; an empty unquoted one is null."""

    text: str
    mark: Mark
    quoted: bool = False


class SequenceNode(NamedTuple):
    """A list."""

    items: Iterable["Node"]
    mark: Mark


class MappingNode(NamedTuple):
    """Keys and nodes in the order written. `places` has the place of each key, `mark.keys` that of each value."""

    items: Mapping[str, "Node"]
    mark: Mark
    places: Mapping[str, Mark]


Node = ScalarNode | SequenceNode | MappingNode


class _Lazy(Mapping[str, T]):
    """A mapping that makes each value when it is asked for: of a large bundle, nodes of one value exist at a time."""

    def __init__(self, keys: Collection[str], make: Callable[[str], T]) -> None:
        self._keys, self._make = keys, make

    def __getitem__(self, key: str) -> T:
        if key not in self._keys:
            raise KeyError(key)
        return self._make(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def json_node(value: Any, where: str) -> Node:
    """The nodes of parsed JSON. A mark's file is the path from `where` on: `bundle.devices[3].every_s`; a key has the
    place of its object."""
    if isinstance(value, dict):

        def path(key: str) -> str:
            return f"{where}.{key}" if where else key

        mark = Mark(where, keys=_Lazy(value, lambda key: Mark(path(key))))
        items = _Lazy(value, lambda key: json_node(value[key], path(key)))
        return MappingNode(items, mark, _Lazy(value, lambda _: mark))
    mark = Mark(where)
    if isinstance(value, list):
        return SequenceNode((json_node(item, f"{where}[{index}]") for index, item in enumerate(value)), mark)
    if isinstance(value, str):
        return ScalarNode(value, mark, quoted=True)
    return ScalarNode("" if value is None else str(value).lower(), mark)  # true, false; 1e-05


def parse(text: str, file: str) -> tuple[Node | None, list[Problem]]:
    """Read one YAML document. The node is None where the file is empty or cannot be read."""
    if odd := Reader.NON_PRINTABLE.search(text):
        line, column = text.count("\n", 0, odd.start()) + 1, odd.start() - text.rfind("\n", 0, odd.start())
        return None, [Problem(file, line, column, f"not YAML: the character U+{ord(odd[0]):04X} is not allowed")]
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
    builder = _NodeBuilder(file, len(text) + ALIASED_LIMIT)
    node = builder.node(root, set())
    return (None if builder.over_budget else node), builder.problems


def _refused(text: str, file: str) -> list[Problem]:
    """What is wrong with the text before anything recurses over it: libyaml's composer has no limit of its own."""
    problems: list[Problem] = []
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
            problems.append(place.problem(f"remove the tag `{tag}`; tags have no meaning here"))
    return problems


class _NodeBuilder:
    """Turns PyYAML's nodes into ours, at most `budget` of them."""

    def __init__(self, file: str, budget: int) -> None:
        self.file = file
        self.budget = budget
        self.problems: list[Problem] = []

    @property
    def over_budget(self) -> bool:
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
        if self.over_budget or id(raw) in above:
            return ScalarNode("", mark)
        if isinstance(raw, yaml.ScalarNode):
            return ScalarNode(raw.value, mark, quoted=bool(raw.style))
        above = above | {id(raw)}
        if isinstance(raw, yaml.SequenceNode):
            return SequenceNode(tuple(self.node(item, above) for item in raw.value), mark)
        if not isinstance(raw, yaml.MappingNode):
            raise TypeError(f"a YAML node of an unknown kind: {raw!r}")
        return self.mapping(raw, mark, above)

    def mapping(self, raw: yaml.MappingNode, mark: Mark, above: set[int]) -> MappingNode:
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
                self.problems.append(place.problem(f"`{key}` is written twice; the first is on line {first}"))
                continue
            places[key] = place
            items[key] = self.node(raw_value, above)
        values = {key: Mark(self.file, node.mark.line, node.mark.column) for key, node in items.items()}
        return MappingNode(items, Mark(mark.file, mark.line, mark.column, values), places)
