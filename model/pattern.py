"""Regular expressions that operators write. Python's engine tries every way to match a text; for some expressions their
number grows without bound with the text, and the agent would stand still. Such expressions are refused.

The expression becomes a graph of its characters: which can follow which, and in how many ways. Three things are refused:

* a repeat inside which a text has several ways (`(a+)+`, `(a|a)*`): their number doubles with every character;
* a counted repeat of something that may be empty (`(a?){30}`);
* more than MAX_LOOPS repeats after each other that compete for the same characters (`.*a.*b.*c`): with n characters there
  are n to that power ways. A search that may begin anywhere counts as one repeat.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from re import _parser  # type: ignore[attr-defined]  # the parser of `re`, which has no public name
from types import MappingProxyType
from typing import Any

from watchkeeper.model.text import marked

MAX_LOOPS = 3
LONGEST_BY_LOOPS = (1 << 16, 1 << 16, 8192, 2048)
"""How many characters of a text are searched, by the number of repeats that compete: seconds at most."""
MAX_CHARACTERS = 250  # of the graph; more are not checked, but refused
CHARACTERS = ("LITERAL", "NOT_LITERAL", "ANY", "IN")
MAX_COPIES = 16
MAX_OPTIONAL_COPIES = 3
ALL_SIGNS = frozenset((*range(128), 0xE9, 0x0660, 0x2003, 0x4E2D, 0x1F600))
"""Characters that stand for all: ASCII, and one each of letters, digits, spaces, ideographs and symbols beyond it."""


@lru_cache(maxsize=512)
def checked_pattern(text: str) -> re.Pattern[str]:
    """Compile a regular expression. Raises ValueError if it is none, or if a match could take without bound."""
    try:
        compiled = re.compile(text)
        parsed = _parser.parse(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"`{text}` is not a regular expression: {error}") from None
    problem, _ = _examine(parsed, compiled.flags)
    if problem:
        raise ValueError(f"`{text}` can take without bound on some texts: {problem}")
    return compiled


@lru_cache(maxsize=512)
def longest_text(text: str) -> int:
    """How many characters of a text may be searched with this checked expression, so that a text that makes it go back all
    the time does not stop the program."""
    _, loops = _examine(_parser.parse(text), re.compile(text).flags)
    return LONGEST_BY_LOOPS[loops]


def _examine(parsed: Any, flags: int) -> tuple[str, int]:
    """What is wrong with the expression, and how many of its repeats compete. Of `^a|b` each side is a search of its own."""
    ignore_case = bool(flags & re.IGNORECASE)
    problem, loops = _problem(parsed, ignore_case, anywhere=False)
    sides = parsed[0][1][1] if len(parsed) == 1 and str(parsed[0][0]) == "BRANCH" else [parsed]
    found = [_problem(side, ignore_case, anywhere=not _is_anchored(side, flags)) for side in sides if not problem]
    return next((told for told, _ in found if told), problem), max((loops, *(count for _, count in found)))


def _is_anchored(parsed: Any, flags: int) -> bool:
    """Whether it can only match at the beginning of a text."""
    first = str(parsed[0][1]) if len(parsed) and str(parsed[0][0]) == "AT" else ""
    return first == "AT_BEGINNING_STRING" or (first == "AT_BEGINNING" and not flags & re.MULTILINE)


@dataclass(slots=True)
class _Graph:
    """The characters of an expression: the `signs` that each of them matches, of those in `all_signs`, and the number of
    ways from one to the next."""

    ignore_case: bool
    all_signs: frozenset[int]
    signs: list[frozenset[int]] = field(default_factory=list)
    ways: Counter[tuple[int, int]] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of an expression: the characters it can begin and end with, and in how many ways; and the number of ways in
    which it can be empty."""

    first: Counter[int]
    last: Counter[int]
    empty: int


_EMPTY = _Piece(Counter(), Counter(), 1)


def _problem(parsed: Iterable[Any], ignore_case: bool, *, anywhere: bool) -> tuple[str, int]:
    graph = _Graph(ignore_case, ALL_SIGNS.union(_written(parsed)))
    whole = _sequence(graph, parsed)
    if graph.problems:
        return graph.problems[0], MAX_LOOPS
    if len(graph.signs) > MAX_CHARACTERS:
        return marked("it is too long to be checked"), MAX_LOOPS
    after = [[] for _ in graph.signs]  # type: list[list[int]]
    for one, other in graph.ways:
        after[one].append(other)
    loops = _loops(after)
    for loop in loops:
        if _is_ambiguous(graph, after, loop):
            told = marked(
                "inside a repeat a text can be matched in several ways; write it without a repeat inside a repeat"
            )
            return told, MAX_LOOPS
    competing = _competing(graph, after, loops, whole.first if anywhere else ())
    if competing > MAX_LOOPS:
        told = marked(
            f"more than {MAX_LOOPS} repeats compete for the same characters; begin it with `^`, or use fewer `.*`"
        )
        return told, MAX_LOOPS
    return "", competing


def _written(parsed: Any) -> Iterator[int]:
    """The characters that an expression names, also as the ends of ranges: what two of its characters share contains one
    of them, or one of ALL_SIGNS."""
    if isinstance(parsed, tuple) and len(parsed) == 2 and str(parsed[0]) in ("LITERAL", "NOT_LITERAL"):  # noqa: PLR2004
        yield from _cases(parsed[1])
    elif isinstance(parsed, tuple) and len(parsed) == 2 and str(parsed[0]) == "RANGE":  # noqa: PLR2004
        yield from (sign for end in parsed[1] for sign in _cases(end))
    elif isinstance(parsed, tuple | list | _parser.SubPattern):
        for one in parsed:
            yield from _written(one)


def _cases(sign: int) -> set[int]:
    """The character in all its cases."""
    return {sign} | {ord(other) for other in (chr(sign).lower(), chr(sign).upper()) if len(other) == 1}


# ---- the graph ----


def _sequence(graph: _Graph, items: Iterable[Any]) -> _Piece:
    whole = _EMPTY
    for item in items:
        whole = _joined(graph, whole, _piece(graph, *item))
    return whole


def _joined(graph: _Graph, one: _Piece, other: _Piece) -> _Piece:
    _connect(graph, one, other)
    first, last = one.first + _times(other.first, one.empty), other.last + _times(one.last, other.empty)
    return _Piece(first, last, one.empty * other.empty)


def _times(ends: Counter[int], ways: int) -> Counter[int]:
    return Counter({end: count * ways for end, count in ends.items() if ways})


def _connect(graph: _Graph, one: _Piece, other: _Piece) -> None:
    for (end, ends), (begin, begins) in product(one.last.items(), other.first.items()):
        graph.ways[end, begin] += ends * begins


def _either(pieces: Iterable[_Piece]) -> _Piece:
    whole = _Piece(Counter(), Counter(), 0)
    for one in pieces:
        whole = _Piece(whole.first + one.first, whole.last + one.last, whole.empty + one.empty)
    return whole


def _piece(graph: _Graph, kind: Any, what: Any) -> _Piece:
    name = str(kind)
    if name in CHARACTERS:
        return _character(graph, _signs_of(name, what, graph.all_signs))
    if name.endswith("REPEAT"):
        return _repeated(graph, *what)
    if name == "SUBPATTERN" and what[1] & re.IGNORECASE and not graph.ignore_case:
        graph.ignore_case = True
        inside = _sequence(graph, what[3])
        graph.ignore_case = False
        return inside
    if name in _PARTS:
        return _either([_sequence(graph, one or ()) for one in _PARTS[name](what)])
    if name == "GROUPREF":
        return _star(graph, _character(graph, graph.all_signs))
    if name in ("ASSERT", "ASSERT_NOT"):  # a lookahead is tried by itself, at a place that is already known
        problem, _ = _problem(what[1], graph.ignore_case, anywhere=False)
        graph.problems.extend([problem] if problem else [])
    return _EMPTY  # an assertion or a place, such as `^`


_PARTS: Mapping[str, Callable[[Any], Sequence[Any]]] = MappingProxyType(
    {
        "SUBPATTERN": lambda what: (what[3],),
        "ATOMIC_GROUP": lambda what: (what,),
        "BRANCH": lambda what: what[1],
        "GROUPREF_EXISTS": lambda what: what[1:],
    }
)
"""The alternatives inside a part of an expression."""


def _character(graph: _Graph, signs: frozenset[int]) -> _Piece:
    if graph.ignore_case:
        wanted = signs.union(*map(_cases, signs))
        signs = wanted.union(sign for sign in graph.all_signs if not wanted.isdisjoint(_cases(sign)))
    graph.signs.append(signs)
    number = len(graph.signs) - 1
    return _Piece(Counter((number,)), Counter((number,)), 0)


def _repeated(graph: _Graph, least: int, most: Any, body: Any) -> _Piece:
    """A repeat of one character is written out, if it is short; any other is taken for one without an end."""
    if most == 0 or len(graph.signs) > MAX_CHARACTERS:
        return _EMPTY
    if most == 1:
        return _either([_sequence(graph, body), *([] if least else [_EMPTY])])
    single = len(body) == 1 and str(body[0][0]) in CHARACTERS
    if single and (least == most <= MAX_COPIES or most <= MAX_OPTIONAL_COPIES):
        whole = _EMPTY
        for copy in range(most):
            whole = _joined(graph, _sequence(graph, body), whole)
            whole = _either([whole, _EMPTY]) if copy < most - least else whole
        return whole
    inside = _sequence(graph, body)
    if inside.empty and most != _parser.MAXREPEAT:
        graph.problems.append(marked("it repeats something that may be empty"))
    star = _star(graph, inside)
    return star if not least else _Piece(star.first, star.last, inside.empty)


def _star(graph: _Graph, inside: _Piece) -> _Piece:
    """A repeat without an end. The engine tries one repeat of nothing after the last one."""
    _connect(graph, inside, inside)
    return _Piece(inside.first, _times(inside.last, 1 + inside.empty), 1 + inside.empty)


def _signs_of(name: str, what: Any, all_signs: frozenset[int]) -> frozenset[int]:
    if name == "ANY":
        return all_signs
    if name == "LITERAL":
        return frozenset((what,))
    if name == "NOT_LITERAL":
        return all_signs - {what}
    found: set[int] = set()
    negated = False
    for kind, value in what:
        negated |= str(kind) == "NEGATE"
        if str(kind) == "LITERAL":
            found.add(value)
        elif str(kind) == "RANGE":
            found |= {sign for sign in all_signs if value[0] <= sign <= value[1]}
        elif str(kind) == "CATEGORY":
            found |= {sign for sign in all_signs if _is_of(str(value), chr(sign))}
    return all_signs - found if negated else frozenset(found)


def _is_of(category: str, sign: str) -> bool:
    tests = {"DIGIT": sign.isdigit(), "SPACE": sign.isspace(), "WORD": sign.isalnum() or sign == "_"}
    word = category.rpartition("_")[2]
    return tests.get(word, True) is not ("_NOT_" in category)


# ---- what is refused ----


def _loops(after: Sequence[Sequence[int]]) -> list[frozenset[int]]:
    """The sets of characters that can be repeated together, in the order of the expression."""
    reached = [_reach(after, start) for start in range(len(after))]
    found = {
        frozenset(other for other in there if start in reached[other]): None
        for start, there in enumerate(reached)
        if start in there
    }
    return sorted(found, key=min)


def _reach(after: Sequence[Sequence[int]], start: int) -> set[int]:
    """The characters that can come after `start`, at once or later."""
    found: set[int] = set()
    rest = list(after[start])
    while rest:
        one = rest.pop()
        if one not in found:
            found.add(one)
            rest += after[one]
    return found


def _is_ambiguous(graph: _Graph, after: Sequence[Sequence[int]], loop: frozenset[int]) -> bool:
    """Whether the loop matches some text in two ways: two walks part from one character, and meet in one again."""
    if any(ways > 1 and one in loop and other in loop for (one, other), ways in graph.ways.items()):
        return True

    def next_pairs(pair: tuple[int, int]) -> Iterator[tuple[int, int]]:
        for one, other in product(*([name for name in after[side] if name in loop] for side in pair)):
            if graph.signs[one] & graph.signs[other]:
                yield (one, other) if one <= other else (other, one)

    seen: set[tuple[int, int]] = set()
    rest = [pair for start in loop for pair in next_pairs((start, start)) if pair[0] != pair[1]]
    while rest:
        pair = rest.pop()
        if pair[0] == pair[1]:
            return True
        if pair not in seen:
            seen.add(pair)
            rest += next_pairs(pair)
    return False


def _competing(
    graph: _Graph, after: Sequence[Sequence[int]], loops: Sequence[frozenset[int]], begins: Iterable[int]
) -> int:
    """The largest number of loops after each other, of which each can go on where the next one begins. `begins` are the
    first characters of a search that may begin anywhere: it is a loop too."""
    signs = [frozenset().union(*(graph.signs[one] for one in loop)) for loop in loops]
    longest = [0] * len(loops)
    for number in reversed(range(len(loops))):
        later = [
            longest[other]
            for other in range(len(loops))
            if other != number
            and _can_hand_over(graph, after, loops[number], loops[other], signs[number] & signs[other])
        ]
        longest[number] = 1 + max(later, default=0)
    starts = set(begins)
    first = [longest[number] for number, loop in enumerate(loops) if starts and _leads_to(after, starts, loop)]
    return max((*longest, *(one + 1 for one in first)), default=0)


def _can_hand_over(
    graph: _Graph, after: Sequence[Sequence[int]], one: frozenset[int], other: frozenset[int], shared: frozenset[int]
) -> bool:
    """Whether there is a way from one loop to the other over characters that both can match."""
    seen: set[int] = set()
    rest = [name for start in one for name in after[start] if name not in one]
    while rest:
        name = rest.pop()
        if name in seen or not graph.signs[name] & shared:
            continue
        if name in other:
            return True
        seen.add(name)
        rest += after[name]
    return False


def _leads_to(after: Sequence[Sequence[int]], starts: set[int], loop: frozenset[int]) -> bool:
    return bool(loop & starts) or any(loop & _reach(after, start) for start in starts)
