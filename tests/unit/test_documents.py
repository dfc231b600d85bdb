"""Operators' YAML: words stay words, every mistake is found in one pass and has its place, hostile text does no harm."""

import datetime
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.documents.bind import ITEM_OR_LIST, Spelling, bind, load, renamed, try_load
from watchkeeper.documents.nodes import (
    ALIASED_LIMIT,
    DEPTH_LIMIT,
    MappingNode,
    ScalarNode,
    SequenceNode,
    json_node,
    parse,
)
from watchkeeper.documents.scalars import PARSERS, ClockTime, duration_s, number_and_unit, size_bytes
from watchkeeper.model.errors import ConfigError


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


@dataclass(frozen=True, slots=True)
class Part:
    part: str
    colour: Colour = Colour.RED
    every_s: float = 30.0
    size_bytes: int = 0
    for_: bool = False
    depth_s: float | None = None

    def check(self) -> Iterator[tuple[str, str]]:
        if self.part == "forbidden":
            yield "part", "this part is forbidden"


@dataclass(frozen=True, slots=True)
class RackUnit:
    height: int


@dataclass(frozen=True, slots=True)
class Rack:
    a: RackUnit


@dataclass(frozen=True, slots=True)
class Whole:
    name: str
    parts: tuple[Part, ...] = ()
    at: ClockTime | None = None
    day: datetime.date | None = None
    zone: zoneinfo.ZoneInfo | None = None
    count: int = 0
    ratio: float = 0.0
    words: tuple[str, ...] = field(default=(), metadata=ITEM_OR_LIST)
    by_name: dict[str, int] = field(default_factory=dict)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, "f.yml", Whole)
    return str(caught.value).splitlines()


def test_a_word_is_a_word_and_a_time_a_time() -> None:
    whole = load("name: NO\nat: 17:00\nday: 2026-11-21\nzone: Asia/Shanghai\nwords: [yes, 1.0, ~, 0x10]", "f", Whole)
    assert whole.name == "NO"
    assert whole.at == datetime.time(17, 0)
    assert whole.day == datetime.date(2026, 11, 21)
    assert whole.zone == zoneinfo.ZoneInfo("Asia/Shanghai")
    assert whole.words == ("yes", "1.0", "~", "0x10")


def test_units_in_the_field_name_make_durations_and_sizes() -> None:
    (part,) = load("name: x\nparts: [{part: a, every: 10 min, size: 64 MB, for: yes}]", "f", Whole).parts
    assert part == Part("a", every_s=600.0, size_bytes=64_000_000, for_=True)


def test_a_single_item_needs_no_brackets_where_the_field_allows_it() -> None:
    assert load("name: x\nwords: one", "f", Whole).words == ("one",)
    assert problems("name: x\nwords:") == ["f.yml:2:7: expected a word, found nothing"]
    assert problems("name: x\nparts: one") == ["f.yml:2:8: expected a list, found `one`"]


def test_nothing_is_none_only_where_none_is_allowed() -> None:
    assert load("name: x\nat:", "f", Whole).at is None
    assert load("name: ''", "f", Whole).name == ""
    assert problems("name:\ncount:") == [
        "f.yml:1:6: expected a word, found nothing",
        "f.yml:2:7: expected a whole number, found nothing",
    ]


def test_every_mistake_of_a_file_is_found_at_once_with_its_place() -> None:
    text = """\
nme: hall
name: hall
parts:
  - {part: a, colour: gren}
  - {part: b, every: 10}
  - colour: red
  - part: forbidden
  - 温度: 3
    part: c
  - [1, 2]
at: 25:00
count: many
name: again
"""
    assert problems(text) == [
        "f.yml:1:1: unknown key `nme`; did you mean `name`?",
        "f.yml:4:23: `gren` is not one of red, green; did you mean `green`?",
        "f.yml:5:22: `10` is not a duration; write it like `10 min` (units: ms, s, sec, min, h, d, day, days)",
        "f.yml:6:5: a part needs `part`",
        "f.yml:7:11: this part is forbidden",
        "f.yml:8:5: unknown key `温度`; known keys: part, colour, every, size, for, depth",
        "f.yml:10:5: expected a part (keys and values), found a list",
        "f.yml:11:5: `25:00` is not a time of day; write it like `08:30`",
        "f.yml:12:8: `many` is not a whole number",
        "f.yml:13:1: `name` is written twice; the first is on line 2",
    ]


def test_messages_do_not_tell_the_names_of_classes() -> None:
    assert problems("[1, 2]") == ["f.yml:1:1: expected keys and values, found a list"]
    with pytest.raises(ConfigError, match=r"^f\.yml:1:4: expected a rack unit \(keys and values\), found a list$"):
        load("a: [1]", "f.yml", Rack)


def test_duplicate_keys_in_a_mapping_of_free_words_are_mistakes_too() -> None:
    assert problems("name: x\nby_name:\n  a: 1\n  b: 2\n  a: 3") == [
        "f.yml:5:3: `a` is written twice; the first is on line 3"
    ]


def test_what_could_be_made_is_returned_with_the_problems() -> None:
    bound = try_load("name: x\nparts:\n  - {part: a}\n  - {part: b, every: 5}\n  - {every: 5 s}\n", "f.yml", Whole)
    assert bound.value is None
    assert list(bound.made) == [
        Part("a"),
        Part("b"),
        Whole("x"),
    ]  # without the wrong key; a part that needs its key is not made
    assert [bound.mark(made).line for made in bound.made] == [3, 4, 1]
    assert len(bound.problems) == 2


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_says_so(text: str) -> None:
    assert len(problems(text)) == 1


def test_yaml_errors_have_their_place() -> None:
    assert problems("name: x\n\tparts: y")[0].startswith("f.yml:2:1: not YAML:")
    unended = "f.yml:3:1: not YAML: while parsing a flow sequence (begun on line 2) did not find expected ',' or ']'"
    assert problems("name: x\nparts: [a\n") == [unended]
    assert "expected a single document" in problems("name: x\n---\nname: y")[0]
    assert "undefined alias" in problems("name: *nobody")[0]
    assert problems("name: x\nparts: \x00") == ["f.yml:2:8: not YAML: the character U+0000 is not allowed"]
    assert problems("\ud800") == ["f.yml:1:1: not YAML: the character U+D800 is not allowed"]


def test_an_alias_is_replaced_by_what_it_names() -> None:
    whole = load("name: &n hall\nparts:\n  - &p {part: a, every: 1 s}\n  - *p\nwords: [*n]", "f", Whole)
    assert whole.words == ("hall",)
    assert whole.parts[0] == whole.parts[1]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: &a [*a]", "contains itself"),
        ("&a name: x\nby_name: &b {x: *b}", "contains itself"),
        ("[" * 100_000, f"nested deeper than {DEPTH_LIMIT} levels"),
        ("[" * 300_000 + "]" * 300_000, f"nested deeper than {DEPTH_LIMIT} levels"),
        ("{a: " * 100_000, f"nested deeper than {DEPTH_LIMIT} levels"),
        ("- " * 50_000 + "a", f"nested deeper than {DEPTH_LIMIT} levels"),
        ("name: !!python/object/apply:os.system [ls]", "remove the tag"),
        ("name: !secret x", "remove the tag `!secret`"),
        ("!!map {name: x}", "remove the tag"),
        ("? [a, b]\n: c\nname: x", "a key must be a plain word"),
        ("<<: {name: x}", "unknown key `<<`"),
    ],
    ids=lambda text: text[:20],
)
def test_hostile_yaml_is_refused(text: str, says: str) -> None:
    assert any(says in problem for problem in problems(text))


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    node, found = parse("\n".join(lines), "f.yml")
    assert node is None
    assert [problem.message for problem in found] == [
        f"aliases make this file larger by {ALIASED_LIMIT} values; write them out"
    ]


def test_quoted_and_plain_nothing_differ() -> None:
    node, _ = parse("a:\nb: ''\nc: x\nd: \"x\"", "f")
    assert isinstance(node, MappingNode)
    quoted = [item.quoted for item in node.items.values() if isinstance(item, ScalarNode)]
    assert quoted == [False, True, False, True]


@given(st.text(max_size=60))
def test_no_text_crashes_the_reader(text: str) -> None:
    bound = try_load(text, "f.yml", Whole)
    assert bound.value is not None or bound.problems
    assert all(problem.line >= 0 for problem in bound.problems)


@given(st.from_regex(r"\A[-+0-9. eE]{0,30} ?[a-zA-Z%°]{0,3}\Z"))
def test_words_give_a_value_or_a_sentence(text: str) -> None:
    for parser in (duration_s, size_bytes, number_and_unit):
        try:
            parser(text)
        except ValueError as error:
            assert "`" in str(error)  # noqa: PT017 -- any text may be right or wrong


@pytest.mark.parametrize("text", ["9" * 400 + " d", "1" + "0" * 5_000 + " GB", "-5 min", "5", "min", "５ min", "1,5 h"])
def test_a_duration_or_size_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        duration_s(text)
    with pytest.raises(ValueError, match="size"):
        size_bytes(text)


def test_zero_needs_no_unit() -> None:
    assert duration_s("0") == 0.0
    assert duration_s("1.5 h") == 5400.0
    assert size_bytes("1.5KiB") == 1536


# ---- a key that has another name now ----


@dataclass(frozen=True, slots=True)
class Moved:
    folder: str = field(metadata=renamed("books"))


def test_an_old_key_is_still_read_and_announced() -> None:
    bound = try_load("books: here", "f.yml", Moved)
    assert bound.value == Moved("here")
    assert not bound.problems
    assert [str(one) for one in bound.deprecated] == ["f.yml:1:1: `books` is called `folder` now; rename it"]


def test_an_old_key_beside_the_new_one_is_a_mistake() -> None:
    bound = try_load("folder: here\nbooks: there", "f.yml", Moved)
    assert bound.value is None
    assert [str(one) for one in bound.problems] == ["f.yml:2:1: unknown key `books`; known keys: folder"]
    assert not tuple(bound.deprecated)


def test_a_missing_key_is_reported_under_its_new_name() -> None:
    assert [str(one) for one in try_load("{}", "f.yml", Moved).problems] == ["f.yml:1:1: the file needs `folder`"]


# ---- other sources ----


def test_json_is_the_same_nodes_with_paths_for_places() -> None:
    node = json_node({"name": "x", "count": 3, "on": True, "off": None, "parts": [{"part": "a"}]}, "whole")
    assert isinstance(node, MappingNode)
    scalars = {key: item for key, item in node.items.items() if isinstance(item, ScalarNode)}
    assert {key: (item.text, item.quoted) for key, item in scalars.items()} == {
        "name": ("x", True), "count": ("3", False), "on": ("true", False), "off": ("", False),
    }  # fmt: skip
    parts = node.items["parts"]
    assert isinstance(parts, SequenceNode)
    assert [part.mark.file for part in parts.items] == ["whole.parts[0]"]


def test_a_spelling_without_units_keeps_the_names_of_the_fields() -> None:
    source = Spelling(PARSERS, "the source", skip_unknown=True)
    bound = bind(
        json_node({"name": "x", "parts": [{"part": "a", "every_s": 5, "size_bytes": 7, "colour": "green"}]}, ""),
        Whole,
        source,
    )
    assert bound.value == Whole("x", (Part("a", Colour.GREEN, 5.0, 7),))
    bound = bind(json_node({"nme": "x"}, ""), Whole, source)
    assert [(problem.file, problem.message) for problem in bound.problems] == [("", "the source needs `name`")]
