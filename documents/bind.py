"""Nodes into frozen dataclasses: the dataclass is the schema, and one pass finds every mistake. Operators' YAML, the
JSON of a bundle and the options of a URL are all read here; a `Spelling` says how they differ.

* A field is a key of the same name, without a trailing `_`: `for_` is the key `for`.
* A field without a default must be written. An unknown key is an error that names the nearest known one.
* `check(self)` of the class, if it has one, yields (field, message) for mistakes that no single field shows.
* `MESSAGE_NAME` of the class, if it has one, is what messages call it; else they use the name of the class.

In YAML also:

* A float field `every_s` is the key `every`, written as a duration; an int field `size_bytes` is the key `size`,
  written as a size.
* A list field with the metadata `ITEM_OR_LIST` may be written without brackets when it has one item.
* A list field with the metadata `NONE_OR_LIST` may be written `none`, to show that it is empty on purpose.
* A field with the metadata `DERIVED` is no key: the program sets it after binding.
* A field with the metadata `renamed("old")` is still read under its old key, and `Bound.deprecated` then reports it.
"""

import contextlib
import dataclasses
import difflib
import enum
import functools
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from watchkeeper.documents.nodes import MappingNode, Mark, Node, ScalarNode, SequenceNode, parse
from watchkeeper.documents.scalars import PARSERS, Bytes, Seconds
from watchkeeper.model.errors import ConfigError, Problem

Scalars = Mapping[Any, Callable[[str], Any]]
"""A parser for each type that is written as one value. It raises ValueError with a sentence."""

ITEM_OR_LIST: Mapping[str, bool] = types.MappingProxyType({"item": True})
NONE_OR_LIST: Mapping[str, bool] = types.MappingProxyType({"none": True})
DERIVED: Mapping[str, bool] = types.MappingProxyType({"derived": True})
T = TypeVar("T")


def renamed(old: str) -> Mapping[str, str]:
    """Metadata of a field that had another key before; the old key is still read."""
    return types.MappingProxyType({"renamed": old})


@dataclasses.dataclass(frozen=True, slots=True)
class Spelling:
    """How a source writes a dataclass. `whole` is what messages call the outermost one. `units`: keys have no unit,
    values have. `typed`: text is quoted and nothing else is, as in JSON. `skip_unknown`: unknown keys are ignored."""

    scalars: Scalars
    whole: str
    units: bool = False
    typed: bool = False
    skip_unknown: bool = False


YAML = Spelling(PARSERS, "the file", units=True)


class _Unbound(Exception):
    """A node could not be bound; its problems are already in the list."""


@dataclasses.dataclass(frozen=True, slots=True)
class Bound(Generic[T]):
    """The result of binding: the `value` (None if it has a mistake), every problem, and the place of each dataclass.
    `made` has every dataclass that could be made, also those inside a value that has a mistake, and those that lack
    only a field with a default. `deprecated` are old keys, which were read nevertheless."""

    value: T | None
    problems: list[Problem]
    places: Mapping[int, Mark]
    file: str
    made: Iterable[object] = ()
    deprecated: Iterable[Problem] = ()

    def mark(self, made: object) -> Mark:
        """The place of a dataclass inside `value`; the places of its values are in `keys`."""
        return self.places.get(id(made), Mark(self.file))


def load(text: str, file: str, cls: type[T], scalars: Scalars | None = None) -> T:
    """Make a `cls` of a YAML text. `scalars` adds parsers. Raises ConfigError with every problem of the file."""
    bound = try_load(text, file, cls, scalars)
    if bound.problems or bound.value is None:
        raise ConfigError(bound.problems)
    return bound.value


def try_load(text: str, file: str, cls: type[T], scalars: Scalars | None = None) -> Bound[T]:
    """Make a `cls` of a YAML text without raising, for a caller that adds problems of its own."""
    node, problems = parse(text, file)
    if node is None:
        return Bound(None, problems or [Problem(file, 0, 0, "is empty")], {}, file)
    spelling = dataclasses.replace(YAML, scalars={**PARSERS, **scalars}) if scalars else YAML
    return bind(node, cls, spelling, problems)


def bind(node: Node, cls: type[T], spelling: Spelling, problems: Iterable[Problem] = ()) -> Bound[T]:
    """Make a `cls` of a node. `problems` are those already found."""
    binder = _Binder(spelling, node, problems)
    value: T | None = None
    with contextlib.suppress(_Unbound):
        value = binder.bind(node, cls)
    return Bound(value, binder.problems, binder.places, node.mark.file, binder.made, binder.deprecated)


class _Binder:
    def __init__(self, spelling: Spelling, root: Node, problems: Iterable[Problem]) -> None:
        self.spelling = spelling
        self.root = root
        self.problems = list(problems)
        self.places: dict[int, Mark] = {}
        self.made: list[object] = []
        self.deprecated: list[Problem] = []

    def bind(self, node: Node, wanted: Any) -> Any:
        """Make a `wanted` of the node, or note the problem and raise _Unbound."""
        origin = typing.get_origin(wanted)
        if wanted in self.spelling.scalars:
            return self.scalar(node, wanted, self.spelling.scalars[wanted])
        if origin in (types.UnionType, typing.Union):
            return self.optional(node, wanted)
        if origin is tuple:
            return self.sequence(node, typing.get_args(wanted)[0])
        if origin in (dict, Mapping):
            return self.mapping(node, typing.get_args(wanted)[1])
        if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
            return self.scalar(node, wanted, lambda text: _member(wanted, text))
        if dataclasses.is_dataclass(wanted):
            return self.record(node, wanted)
        raise TypeError(f"no way to read a {wanted!r} from a node")

    def fail(self, mark: Mark, message: str) -> typing.NoReturn:
        self.problems.append(mark.problem(message))
        raise _Unbound

    def scalar(self, node: Node, wanted: Any, parser: Callable[[str], Any]) -> Any:
        if not isinstance(node, ScalarNode) or not (node.text or node.quoted):
            self.fail(node.mark, f"expected {_type_name(wanted)}, found {_kind(node)}")
        if self.spelling.typed and node.quoted is not issubclass(wanted, str):
            self.fail(node.mark, f"expected {_type_name(wanted)}, found {_kind(node)}")
        try:
            return parser(node.text)
        except ValueError as error:
            self.fail(node.mark, str(error))

    def optional(self, node: Node, wanted: Any) -> Any:
        options = [option for option in typing.get_args(wanted) if option is not type(None)]
        if len(options) != 1:
            raise TypeError(f"no way to tell the parts of {wanted!r} apart in a node")
        if isinstance(node, ScalarNode) and not (node.text or node.quoted):
            return None
        return self.bind(node, options[0])

    def sequence(self, node: Node, item: Any) -> tuple[Any, ...]:
        if not isinstance(node, SequenceNode):
            self.fail(node.mark, f"expected a list, found {_kind(node)}")
        return tuple(self.bind_all(node.items, item))

    def mapping(self, node: Node, item: Any) -> dict[str, Any]:
        if not isinstance(node, MappingNode):
            self.fail(node.mark, f"expected keys and values, found {_kind(node)}")
        return dict(zip(node.items, self.bind_all(node.items.values(), item), strict=True))

    def bind_all(self, nodes: Iterable[Node], wanted: Any) -> list[Any]:
        """Bind them all, so that every problem is found, and only then fail."""
        made, failed = [], False
        for node in nodes:
            try:
                made.append(self.bind(node, wanted))
            except _Unbound:
                failed = True
        if failed:
            raise _Unbound
        return made

    def record(self, node: Node, cls: Any) -> Any:
        if not isinstance(node, MappingNode):
            wanted = "keys and values" if node is self.root else f"{_type_name(cls)} (keys and values)"
            self.fail(node.mark, f"expected {wanted}, found {_kind(node)}")
        fields = _fields(cls, units=self.spelling.units)
        values: dict[str, Any] = {}
        failed = False
        for written, value in node.items.items():
            key = written if written in fields else self.renamed_key(node, written, fields)
            if key not in fields:
                if not self.spelling.skip_unknown:
                    self.problems.append(_unknown(node.places[written], key, fields))
                    failed = True
                continue
            field = fields[key]
            try:
                values[field.name] = self.bind(
                    _listed(value, field.metadata) if field.metadata else value, field.wanted
                )
            except _Unbound:
                failed = True
        failed |= self.absent(node, cls, fields)
        if failed:
            self.salvage(node, cls, fields, values)
            raise _Unbound
        return self.checked(node, cls, values)

    def renamed_key(self, node: MappingNode, written: str, fields: "Mapping[str, _Field]") -> str:
        """The present key of a field whose old key was written."""
        for key, field in fields.items():
            if field.metadata.get("renamed") == written and key not in node.items:
                place = node.places[written]
                self.deprecated.append(place.problem(f"`{written}` is called `{key}` now; rename it"))
                return key
        return written

    def absent(self, node: MappingNode, cls: Any, fields: "Mapping[str, _Field]") -> bool:
        absent = [
            key for key, field in fields.items()
            if field.required and not {key, field.metadata.get("renamed")} & node.items.keys()
        ]  # fmt: skip
        what = self.spelling.whole if node is self.root else _type_name(cls)
        self.problems.extend(node.mark.problem(f"{what} needs `{key}`") for key in absent)
        return bool(absent)

    def salvage(self, node: MappingNode, cls: Any, fields: "Mapping[str, _Field]", values: dict[str, Any]) -> None:
        if all(field.name in values for field in fields.values() if field.required):
            self.keep(node, cls(**values))

    def checked(self, node: MappingNode, cls: Any, values: dict[str, Any]) -> Any:
        made = cls(**values)
        check = getattr(made, "check", None)
        found = [node.mark.problem(message, key) for key, message in check()] if check else []
        if found:
            self.problems.extend(found)
            raise _Unbound
        self.keep(node, made)
        return made

    def keep(self, node: MappingNode, made: object) -> None:
        self.places[id(made)] = node.mark
        self.made.append(made)


class _Field(NamedTuple):
    """A field of a dataclass as a source may write it. `wanted` is its type, or a duration or size."""

    name: str
    wanted: Any
    required: bool
    metadata: Mapping[Any, Any]


@functools.cache
def _fields(cls: Any, *, units: bool) -> Mapping[str, _Field]:
    """The fields of a dataclass by their keys."""
    hints = typing.get_type_hints(cls)
    found = {}
    for field in dataclasses.fields(cls):
        if field.init and not field.metadata.get("derived"):
            suffix, wanted = _unit(field.name, hints[field.name]) if units else ("", hints[field.name])
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            key = field.name.removesuffix(suffix or "_")
            found[key] = _Field(field.name, wanted, required, field.metadata)
    return found


def _unit(name: str, hint: Any) -> tuple[str, Any]:
    """The suffix that the key goes without, and the type that the value is read as."""
    plain = [option for option in typing.get_args(hint) or (hint,) if option is not type(None)]
    if name.endswith("_s") and plain == [float]:
        return "_s", Seconds
    if name.endswith("_bytes") and plain == [int]:
        return "_bytes", Bytes
    return "", hint


def _listed(node: Node, metadata: Mapping[Any, Any]) -> Node:
    """The node as a list where its field may be written without brackets."""
    if isinstance(node, ScalarNode) and metadata.get("item"):
        return SequenceNode((node,), node.mark)
    if isinstance(node, ScalarNode) and metadata.get("none") and node.text == "none":
        return SequenceNode((), node.mark)
    return node


def _unknown(place: Mark, key: str, known: Iterable[str]) -> Problem:
    near = difflib.get_close_matches(key, known, 1)
    hint = f"; did you mean `{near[0]}`?" if near else f"; known keys: {', '.join(known)}"
    return place.problem(f"unknown key `{key}`{hint}")


def _member(wanted: type[enum.Enum], text: str) -> enum.Enum:
    with contextlib.suppress(ValueError):
        return wanted(text)
    words = [str(member.value) for member in wanted]
    near = difflib.get_close_matches(text, words, 1)
    raise ValueError(f"`{text}` is not one of {', '.join(words)}" + (f"; did you mean `{near[0]}`?" if near else ""))


def _kind(node: Node) -> str:
    if isinstance(node, ScalarNode):
        return f"`{node.text}`" if node.text or node.quoted else "nothing"
    return "a list" if isinstance(node, SequenceNode) else "keys and values"


_TYPE_NAMES = {
    str: "a word", int: "a whole number", float: "a number", bool: "yes or no",
    Seconds: "a duration like `10 min`", Bytes: "a size like `64 MB`",
}  # fmt: skip


_CAPITAL = re.compile("(?<=[a-z])(?=[A-Z])")


def _type_name(wanted: Any) -> str:
    if wanted in _TYPE_NAMES:
        return _TYPE_NAMES[wanted]
    name = getattr(wanted, "MESSAGE_NAME", "") or _CAPITAL.sub(" ", str(getattr(wanted, "__name__", wanted))).lower()
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
