"""YAML nodes into frozen dataclasses: the dataclass is the schema, and every mistake is found in one reading.

* A field is a key of the same name. A float field called `every_s` is the key `every`, written as a duration; an int
  field called `size_bytes` is the key `size`, written as a size. `for_` is the key `for`.
* A field without a default must be written; an unknown key is an error that names the nearest known one.
* `Bound.mark(made)` tells where a dataclass was written, for problems that only the reader's room can see.
* A list whose field has the metadata `ITEM_OR_LIST` may be written without its brackets when it has one item.
* A list whose field has the metadata `NONE_OR_LIST` may be written `none` when it is empty, so that it is so on purpose.
* A field whose metadata is `renamed("old")` is still read under its old key; the file's `deprecated` then says so.
* `check(self)` of the class, if it has one, yields (field, message) for what no single field can see.
* `MESSAGE_NAME` of the class, if it has one, is what messages call it; else they use the name of the class.
* `scalars` adds parsers for a room's own words: type -> function of the text, raising ValueError with a sentence.
"""

import contextlib
import dataclasses
import difflib
import enum
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from watchkeeper.documents.nodes import Mark, Node, Scalar, Sequence, Table, parse
from watchkeeper.documents.scalars import PARSERS, duration_s, size_bytes
from watchkeeper.model.errors import ConfigError, Problem

Scalars = Mapping[Any, Callable[[str], Any]]
ITEM_OR_LIST: Mapping[str, bool] = types.MappingProxyType({"lone": True})
NONE_OR_LIST: Mapping[str, bool] = types.MappingProxyType({"none": True})
T = TypeVar("T")


def renamed(old: str) -> Mapping[str, str]:
    """Metadata of a field that had another key before, which is still read."""
    return types.MappingProxyType({"renamed": old})


class _Bad(Exception):
    """Nothing could be made of a node; its problems are already in the list."""


@dataclasses.dataclass(frozen=True, slots=True)
class Bound(Generic[T]):
    """What could be made of a file (`value` is None if nothing), every problem, and where each dataclass was written.
    `made` holds every dataclass that could be made, also inside a whole that could not; one with an unreadable key stands
    there without that key, if it needs it not. `deprecated` are old keys, which were read all the same."""

    value: T | None
    problems: list[Problem]
    places: Mapping[int, Mark]
    file: str
    made: Iterable[object] = ()
    deprecated: Iterable[Problem] = ()

    def mark(self, made: object) -> Mark:
        """The place of a dataclass inside `value`; a key's own place is in its `keys`."""
        return self.places.get(id(made), Mark(self.file))


def load(text: str, file: str, cls: type[T], scalars: Scalars | None = None) -> T:
    """Make one `cls` of a YAML text. Raises ConfigError with every problem of the file."""
    bound = try_load(text, file, cls, scalars)
    if bound.problems or bound.value is None:
        raise ConfigError(bound.problems)
    return bound.value


def try_load(text: str, file: str, cls: type[T], scalars: Scalars | None = None) -> Bound[T]:
    """The same without raising, for a reader that has problems of its own to add before it raises them all."""
    node, problems = parse(text, file)
    binder = _Binder({**PARSERS, **(scalars or {})}, problems, node)
    value: T | None = None
    if node is None:
        problems = problems or [Problem(file, 0, 0, "is empty")]
    else:
        with contextlib.suppress(_Bad):
            value = binder.bind(node, cls)
    return Bound(value, problems, binder.places, file, binder.made, binder.deprecated)


class _Binder:
    def __init__(self, scalars: Scalars, problems: list[Problem], root: Node | None) -> None:
        self.scalars = scalars
        self.problems = problems
        self.root = root
        self.places: dict[int, Mark] = {}
        self.made: list[object] = []
        self.deprecated: list[Problem] = []

    def bind(self, node: Node, wanted: Any) -> Any:
        """Make a `wanted` of the node, or note why not and raise _Bad."""
        origin = typing.get_origin(wanted)
        if wanted in self.scalars:
            return self.scalar(node, self.scalars[wanted], _name(wanted))
        if origin in (types.UnionType, typing.Union):
            return self.optional(node, wanted)
        if origin is tuple:
            return self.sequence(node, typing.get_args(wanted)[0])
        if origin in (dict, Mapping):
            return self.mapping(node, typing.get_args(wanted)[1])
        if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
            return self.scalar(node, lambda text: _member(wanted, text), _name(wanted))
        if dataclasses.is_dataclass(wanted):
            return self.record(node, wanted)
        raise TypeError(f"no way to read a {wanted!r} from YAML")

    def fail(self, mark: Mark, message: str) -> typing.NoReturn:
        self.problems.append(mark.problem(message))
        raise _Bad

    def scalar(self, node: Node, parser: Callable[[str], Any], what: str) -> Any:
        if not isinstance(node, Scalar):
            self.fail(node.mark, f"expected {what}, found {_kind(node)}")
        if not node.text and not node.quoted:
            self.fail(node.mark, f"expected {what}, found nothing")
        try:
            return parser(node.text)
        except ValueError as error:
            self.fail(node.mark, str(error))

    def optional(self, node: Node, wanted: Any) -> Any:
        options = [option for option in typing.get_args(wanted) if option is not type(None)]
        if len(options) != 1:
            raise TypeError(f"no way to tell the parts of {wanted!r} apart in YAML")
        if isinstance(node, Scalar) and not node.text and not node.quoted:
            return None
        return self.bind(node, options[0])

    def sequence(self, node: Node, item: Any) -> tuple[Any, ...]:
        if not isinstance(node, Sequence):
            self.fail(node.mark, f"expected a list, found {_kind(node)}")
        return tuple(self.bind_all(node.items, item))

    def mapping(self, node: Node, item: Any) -> dict[str, Any]:
        if not isinstance(node, Table):
            self.fail(node.mark, f"expected keys and values, found {_kind(node)}")
        return dict(zip(node.items, self.bind_all(node.items.values(), item), strict=True))

    def bind_all(self, nodes: Iterable[Node], wanted: Any) -> list[Any]:
        """Bind them all, so that every problem is found, and only then give up."""
        made, failed = [], False
        for node in nodes:
            try:
                made.append(self.bind(node, wanted))
            except _Bad:
                failed = True
        if failed:
            raise _Bad
        return made

    def record(self, node: Node, cls: Any) -> Any:
        if not isinstance(node, Table):
            self.fail(node.mark, f"expected {_name(cls)} (keys and values), found {_kind(node)}")
        hints = typing.get_type_hints(cls)
        fields = {_key(field.name, hints[field.name]): field for field in dataclasses.fields(cls) if field.init}
        values: dict[str, Any] = {}
        failed = False
        for written, value in node.items.items():
            key = self.present_key(node, written, fields)
            if key not in fields:
                self.problems.append(_unknown(node.places[written], key, fields))
                failed = True
                continue
            field = fields[key]
            try:
                values[field.name] = self.field(_listed(value, field.metadata), field.name, hints[field.name])
            except _Bad:
                failed = True
        failed |= self.absent(node, cls, fields)
        if failed:
            self.salvage(node, cls, values)
            raise _Bad
        return self.checked(node, cls, values)

    def present_key(self, node: Table, written: str, fields: "Mapping[str, dataclasses.Field[Any]]") -> str:
        """The key as it is called now."""
        for key, field in fields.items():
            if field.metadata.get("renamed") == written and key not in node.items:
                place = node.places[written]
                self.deprecated.append(place.problem(f"`{written}` is called `{key}` now; rename it"))
                return key
        return written

    def field(self, node: Node, name: str, hint: Any) -> Any:
        plain = _without_none(hint)
        if name.endswith("_s") and plain is float:
            return self.scalar(node, duration_s, "a duration like `10 min`")
        if name.endswith("_bytes") and plain is int:
            return self.scalar(node, size_bytes, "a size like `64 MB`")
        return self.bind(node, hint)

    def absent(self, node: Table, cls: Any, fields: Any) -> bool:
        what = "the file" if node is self.root else _name(cls)
        absent = [
            key for key, field in fields.items()
            if _required(field) and not {key, field.metadata.get("renamed")} & node.items.keys()
        ]  # fmt: skip
        self.problems.extend(node.mark.problem(f"{what} needs `{key}`") for key in absent)
        return bool(absent)

    def salvage(self, node: Table, cls: Any, values: dict[str, Any]) -> None:
        if all(field.name in values or not _required(field) for field in dataclasses.fields(cls)):
            made = cls(**values)
            self.places[id(made)] = node.mark
            self.made.append(made)

    def checked(self, node: Table, cls: Any, values: dict[str, Any]) -> Any:
        made = cls(**values)
        self.places[id(made)] = node.mark
        check = getattr(made, "check", None)
        found = [node.mark.problem(message, key) for key, message in check()] if check else []
        if found:
            self.problems.extend(found)
            raise _Bad
        self.made.append(made)
        return made


def _listed(node: Node, metadata: Mapping[Any, Any]) -> Node:
    """The node as a list where its field allows that no brackets are written."""
    if isinstance(node, Scalar) and metadata.get("lone"):
        return Sequence((node,), node.mark)
    if isinstance(node, Scalar) and metadata.get("none") and node.text == "none":
        return Sequence((), node.mark)
    return node


def _without_none(hint: Any) -> Any:
    options = [option for option in typing.get_args(hint) if option is not type(None)]
    return options[0] if typing.get_origin(hint) in (types.UnionType, typing.Union) and len(options) == 1 else hint


def _key(name: str, hint: Any) -> str:
    plain = _without_none(hint)
    if name.endswith("_s") and plain is float:
        return name.removesuffix("_s")
    if name.endswith("_bytes") and plain is int:
        return name.removesuffix("_bytes")
    return name.removesuffix("_")


def _required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _unknown(place: Mark, key: str, known: Iterable[str]) -> Problem:
    near = difflib.get_close_matches(key, known, 1)
    hint = f"; did you mean `{near[0]}`?" if near else f"; known keys: {', '.join(known)}"
    return place.problem(f"unknown key `{key}`{hint}")


def _member(wanted: type[enum.Enum], text: str) -> enum.Enum:
    for member in wanted:
        if member.value == text:
            return member
    words = [str(member.value) for member in wanted]
    near = difflib.get_close_matches(text, words, 1)
    raise ValueError(f"`{text}` is not one of {', '.join(words)}" + (f"; did you mean `{near[0]}`?" if near else ""))


def _kind(node: Node) -> str:
    if isinstance(node, Scalar):
        return f"`{node.text}`" if node.text or node.quoted else "nothing"
    return "a list" if isinstance(node, Sequence) else "keys and values"


_SAID = {str: "a word", int: "a whole number", float: "a number", bool: "yes or no"}


def _name(wanted: Any) -> str:
    if wanted in _SAID:
        return _SAID[wanted]
    name = getattr(wanted, "MESSAGE_NAME", "") or str(getattr(wanted, "__name__", wanted)).lower()
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
