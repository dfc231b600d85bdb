"""Follows a text that is given to a sink (a `Missing`, a `Receipt`, a note ...) back to where it is written. An f-string becomes a
template: `f"no answer within {timeout_s:g} s"` is `no answer within {timeout_s} s`."""

import ast
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from watchkeeper.collector.notify.filled import NESTED

OF_PAGES = ("collector/notify/", "collector/web/")
"""Folders that translate while they write. (All marks in collector/ are extracted by Babel, for LANGUAGE.po.)"""

OF_CONFIGURATION = (
    "channels/ports.py", "collector/site/", "documents/", "model/device.py", "model/pattern.py", "profiles/", "rules/compile.py",
    "rules/entries.py", "rules/load.py",
)  # fmt: skip
"""Files that find mistakes in the site's configuration; the pages show them."""

# Each sink: its name, and the place and the name of the argument that is the text.
SINKS = {
    **dict.fromkeys(("Missing", "NoAnswer", "EngineBroken", "CheckFailed", "Receipt"), (1, "detail")),
    "Transition": (4, "note"),
    "Withdrawal": (-1, "reason"),
    **dict.fromkeys(
        (
            "AuthenticationRequired", "Conflict", "NotAllowed", "NotFound", "SecretError", "StoreError", "StoreFull",
            "StoreRefused", "Undecodable", "UsmRefused",
        ),
        (0, "message"),
    ),
}  # fmt: skip
PASSED_ON = frozenset({"__name__", "detail", "message", "note", "reason", "says", "state", "strerror", "verdict"})
"""Attributes whose content is found elsewhere: a text of a sink, the name of a class, a state."""

SHAPING = frozenset(
    {
        "decode",
        "format",
        "one_line",
        "plain_line",
        "printable",
        "removesuffix",
        "rstrip",
        "str",
        "strip",
        "_without_secrets",
    }
)
"""Calls that give their argument's text back, or their object's."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Option = str | ast.expr
"""What an expression may be: a text, or the expression itself where that cannot be told."""


@dataclass(frozen=True, slots=True)
class Found:
    """A template, or an expression that cannot be followed (`unknown`), with its place."""

    where: str
    text: str
    unknown: bool = False


@dataclass(slots=True)
class Module:
    """One file, with what is looked up in it by name. `within` is the innermost function around each node."""

    name: str
    tree: ast.Module
    functions: dict[str, Function] = field(default_factory=dict)
    constants: dict[str, ast.expr] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    within: dict[ast.AST, Function] = field(default_factory=dict)


def read_module(path: Path, root: Path) -> Module:
    """Parse a file."""
    module = Module(str(path.relative_to(root)), ast.parse(path.read_text(encoding="utf-8")))
    for node in ast.walk(module.tree):
        if isinstance(node, Function):
            module.functions[node.name] = node
            module.within.update(dict.fromkeys(ast.walk(node), node))  # the innermost one is written last
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("watchkeeper."):
            home = (node.module or "").removeprefix("watchkeeper.").replace(".", "/")
            module.imports |= {one.asname or one.name: home for one in node.names}
    for statement in module.tree.body:
        module.constants |= dict(_assigned(statement))
    return module


def _assigned(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The names that a statement gives a value to."""
    if isinstance(node, ast.AnnAssign | ast.NamedExpr) and isinstance(node.target, ast.Name) and node.value:
        yield node.target.id, node.value
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield target.id, node.value
            elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = zip(target.elts, node.value.elts, strict=True)
                yield from ((one.id, value) for one, value in pairs if isinstance(one, ast.Name))


class Finder:
    """Follows the arguments of sinks. A function whose parameter reaches a sink becomes a sink itself."""

    def __init__(self, modules: dict[str, Module]) -> None:
        self._modules = modules
        self._sinks: dict[tuple[str, str], tuple[int, str]] = {("", name): place for name, place in SINKS.items()}
        self._found: dict[Found, None] = {}
        self._followed: set[ast.AST] = set()  # what is being followed now: code may lead back to itself

    def find(self) -> list[Found]:
        """Every text, in the order of the files."""
        before = -1
        while before != len(self._sinks):  # until no further function has become a sink
            before = len(self._sinks)
            self._found.clear()
            for module in self._modules.values():
                for node in ast.walk(module.tree):
                    for argument in self._given(module, node):
                        self._follow(module, argument)
        return list(self._found)

    def _given(self, module: Module, node: ast.AST) -> Iterator[ast.expr]:
        """The arguments of a call that are texts. Whatever follows a `Reason` is one, also in a tuple."""
        parts = node.elts if isinstance(node, ast.Tuple) else node.args if isinstance(node, ast.Call) else []
        for reason, text in itertools.pairwise(parts):
            if ast.unparse(reason).startswith("Reason.") and not ast.unparse(text).startswith("Reason."):
                yield text
        if isinstance(node, ast.Yield) and module.name.startswith(OF_CONFIGURATION):
            match node.value:
                # The key of the value, and what is wrong with it
                case ast.Tuple(elts=[*_, ast.Constant(value=str()), text] | [_, ast.JoinedStr() as text]):
                    yield text
        if not isinstance(node, ast.Call):
            return
        name, of_pages = _name(node.func), module.name.startswith(OF_PAGES)
        if name == "marked" and not module.name.startswith("collector/"):
            yield node
        sink = self._sinks.get((module.name, name)) or self._sinks.get(("", name))
        spread = any(isinstance(one, ast.Starred) for one in node.args)
        if sink and sink[0] == -1:
            yield from node.args[-1:]
        elif sink and not spread:
            yield from node.args[sink[0] : sink[0] + 1]
        keyword = sink[1] if sink else "" if of_pages else "says"
        yield from (one.value for one in node.keywords if one.arg == keyword)
        if module.name.startswith(OF_CONFIGURATION):
            yield from _problem_in(node)

    def _follow(self, module: Module, argument: ast.expr) -> None:
        where = f"{module.name}:{argument.lineno}"
        for text in self._options(module, argument):
            if isinstance(text, str):
                if text:
                    self._found[Found(where, text)] = None
            elif not (isinstance(text, ast.Name) and self._becomes_sink(module, text)):
                self._found[Found(where, ast.unparse(text), unknown=True)] = None

    def _becomes_sink(self, module: Module, name: ast.Name) -> bool:
        """Whether it is a parameter. Then its function is a sink. (A class whose constructor has it is in SINKS.)"""
        within = module.within.get(name)
        if within is None or name.id not in _parameters(within):
            return False
        names = [one.arg for one in (*within.args.posonlyargs, *within.args.args)]
        place = names.index(name.id) - (names[0] in ("self", "cls")) if name.id in names else len(names)
        if within.name != "__init__":
            self._sinks[module.name if within.name.startswith("_") else "", within.name] = (place, name.id)
        return True

    # ---- what an expression may be ----

    def _options(self, module: Module, node: ast.expr) -> list[Option]:
        """All that an expression may be; nothing if what it passes on is found elsewhere."""
        if node in self._followed:
            return []
        self._followed.add(node)
        try:
            return list(self._branches(module, node))
        finally:
            self._followed.discard(node)

    def _branches(self, module: Module, node: ast.expr) -> Iterator[Option]:  # noqa: C901 -- one case for each kind of expression
        match node:
            case ast.Constant(value=str(text)):
                yield _escaped(text)
            case ast.Constant():
                pass
            case ast.JoinedStr():
                yield from self._joined(module, node)
            case ast.IfExp():
                yield from (*self._options(module, node.body), *self._options(module, node.orelse))
            case ast.BoolOp():
                yield from self._each(module, node.values)
            case ast.BinOp(op=ast.Add()):
                pairs = itertools.product(self._options(module, node.left), self._options(module, node.right))
                yield from (a + b if isinstance(a, str) and isinstance(b, str) else node for a, b in pairs)
            case ast.Subscript(slice=ast.Slice()):
                yield from self._options(module, node.value)
            case ast.Subscript():
                yield from self._table(module, node.value) or [node]
            case ast.Name():
                yield from self._named(module, node)
            case ast.Attribute():
                yield from self._attribute(module, node)
            case ast.Call():
                yield from self._called(module, node)
            case _:
                yield node

    def _each(self, module: Module, nodes: Sequence[ast.expr]) -> list[Option]:
        return [option for node in nodes for option in self._options(module, node)]

    def _joined(self, module: Module, node: ast.JoinedStr) -> Iterator[str]:
        """The templates of an f-string. A parameter that can only be one of some texts is none: there is a template for each."""
        parts: list[Sequence[str]] = []
        for value in node.values:
            if not isinstance(value, ast.FormattedValue):
                parts.append([_escaped(str(ast.literal_eval(value)))])
                continue
            name = _placeholder(value.value)
            follow = isinstance(value.value, ast.Name | ast.IfExp | ast.BoolOp) and name not in NESTED
            fixed = self._options(module, value.value) if follow else []
            texts = [one for one in fixed if isinstance(one, str)]
            parts.append(texts if texts and len(texts) == len(fixed) else [f"{{{name}}}"])
            if name in NESTED:
                self._follow(module, value.value)
        yield from map(_numbered, map("".join, itertools.product(*parts)))

    def _named(self, module: Module, node: ast.Name) -> list[Option]:
        within = module.within.get(node)
        if within is not None:
            values = [value for one in ast.walk(within) for name, value in _assigned(one) if name == node.id]
            if values:
                return self._each(module, values)
            if node.id in _parameters(within):
                return [node]
        if _caught(node, within):
            return []
        home = self._home(module, node.id)
        return self._options(home, home.constants[node.id]) if node.id in home.constants else [node]

    def _attribute(self, module: Module, node: ast.Attribute) -> list[Option]:
        """A text that is kept in an attribute: what the same file puts there."""
        if node.attr in PASSED_ON or ast.unparse(node).endswith(".reason.value"):
            return []
        assigned = (one for one in ast.walk(module.tree) if isinstance(one, ast.Assign))
        keywords = (one for one in ast.walk(module.tree) if isinstance(one, ast.keyword))
        kept = [one.value for one in assigned if _name(one.targets[0]) == node.attr]
        return self._each(module, [*kept, *(one.value for one in keywords if one.arg == node.attr)]) or [node]

    def _called(self, module: Module, node: ast.Call) -> list[Option]:
        name, owner = _name(node.func), node.func.value if isinstance(node.func, ast.Attribute) else None
        if name == "strerror":
            return []  # OS_ERRORS
        if name == "fromkeys":
            return self._options(module, node.args[1])
        if name == "get" and owner is not None:
            return [*self._table(module, owner), *self._each(module, node.args[1:])] or [node]
        if name == "marked" or name in SHAPING:
            inner = owner or node.args[0]
            raw = name in ("format", "marked") and isinstance(inner, ast.Constant)
            return [str(ast.literal_eval(inner))] if raw else self._options(module, inner)
        home = self._home(module, name)
        if name not in home.functions:
            return [node]
        returns = (one.value for one in ast.walk(home.functions[name]) if isinstance(one, ast.Return))
        return self._each(home, [one for one in returns if one])

    def _table(self, module: Module, node: ast.expr) -> list[Option]:
        """The values of a dictionary that is a constant."""
        table = module.constants.get(node.id) if isinstance(node, ast.Name) else None
        if isinstance(table, ast.Call) and table.args:
            table = table.args[0]  # MappingProxyType({...})
        return self._each(module, table.values) if isinstance(table, ast.Dict) else []

    def _home(self, module: Module, name: str) -> Module:
        """The file in which a name is defined."""
        if name in module.functions or name in module.constants or name not in module.imports:
            return module
        path = module.imports[name]
        return self._modules.get(f"{path}.py") or self._modules.get(f"{path}/__init__.py") or module


def _problem_in(call: ast.Call) -> Iterator[ast.expr]:
    """The text of a call that notes a mistake in the configuration."""
    match _name(call.func), call.args:
        case (
            ("problem", [_, _, text]) | ("report", [_, _, text]) | ("fail", [_, text]) | ("Problem", [_, _, _, text])
        ) if not (isinstance(text, ast.Starred)):
            yield text
        case ("problem", [ast.expr() as text, *_]) | ("ValueError", [text]) if not isinstance(text, ast.Starred):
            yield text


def _parameters(function: Function) -> set[str]:
    return {one.arg for one in ast.walk(function.args) if isinstance(one, ast.arg)}


def _caught(node: ast.Name, within: Function | None) -> bool:
    """Whether it is an error that was caught, and whose text is found where it is raised."""
    around = (one for one in ast.walk(within or ast.Pass()) if isinstance(one, ast.ExceptHandler))
    handlers = (one for one in around if one.name == node.id and node in ast.walk(one))
    types = [name for one in handlers if one.type for name in ast.unparse(one.type).strip("()").split(", ")]
    return bool(types) and all(name.split(".")[-1] in SINKS for name in types)


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _numbered(text: str) -> str:
    """The template with names that differ: a second `{name}` becomes `{name2}`."""
    used: Counter[str] = Counter()

    def name(found: re.Match[str]) -> str:
        used[found[1]] += 1
        return found[0] if used[found[1]] == 1 else f"{{{found[1]}{used[found[1]]}}}"

    return re.sub(r"(?<!{){([a-z_]+)}", name, text)


def _placeholder(node: ast.expr) -> str:
    """The name of a parameter in the template: the last name in its expression."""
    match node:
        case ast.Call(func=ast.Attribute(value=owner, attr=name)) if name in SHAPING:
            return _placeholder(owner)
        case ast.Call(func=function, args=[first, *_]) if _name(function) in ("join", *SHAPING):
            return _placeholder(first)
        case ast.Call(func=inner) | ast.Subscript(value=inner) | ast.BinOp(left=inner) | ast.BoolOp(values=[inner, *_]):
            return _placeholder(inner)
        case _:
            return _name(node).strip("_").lower() or "value"
