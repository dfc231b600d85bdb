"""A device's words stay words: what each kind of service is given, and how a text is shortened."""

import importlib.util

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.channels.ports import Message, Tone
from watchkeeper.channels.words import STYLES, as_markdown, inert, shorten, style_of, utf8_bytes, without_tags

LINK = "http://room.example/incidents/1?a=b_c_d"


def test_markdown_is_escaped_but_not_the_link() -> None:
    text = f"# no heading\n- no list\n1. no number\n*a* _b_ `c` [d](http://e) <f> ~~g~~ |h| @everyone\n{LINK}"
    assert as_markdown(text).split("\n") == [
        "\\# no heading",
        "\\- no list",
        "1\\. no number",
        "\\*a\\* \\_b\\_ \\`c\\` \\[d\\](http://e) \\<f\\> \\~\\~g\\~\\~ \\|h\\| @\u200beveryone",
        LINK,
    ]


def test_a_link_with_other_characters_is_escaped_too() -> None:
    assert as_markdown("http://evil.example/[x](y)") != "http://evil.example/[x](y)"


def test_ordinary_words_are_not_touched() -> None:
    text = "Room temperature: 31.5 °C (outside 18 .. 27 °C), < 5 %, 3 > 2, call a, b; 机房过热!"
    assert inert(text) == text
    assert as_markdown("31.5 °C (outside 18 .. 27 °C)") == "31.5 °C (outside 18 .. 27 °C)"


@pytest.mark.parametrize("call", ["@everyone", "@all", "@here", "@所有人", "<@123>", "<@&9>", "@**all**", "@room"])
def test_nobody_is_called(call: str) -> None:
    for service in ("discord", "mattermost", "matrix", "rocketchat", "somebody-new"):
        for only_markdown in (True, False):
            style = style_of(service, only_markdown=only_markdown, title_apart=True)
            assert call not in style.title(f"x {call} y") + style.text(f"x {call} y")


@pytest.mark.parametrize("tag", ['<at user_id="all">all</at>', "<!channel>", "<http://a|b>", "<b>"])
def test_no_tag_is_left(tag: str) -> None:
    assert tag not in inert(tag)
    assert tag not in without_tags(tag)
    assert f"\\{tag}"[:2] == as_markdown(tag)[:2]


def test_a_masked_link_is_not_one_anywhere() -> None:
    assert "](" not in inert("[ok](http://evil.example)")
    assert "\\](" in as_markdown("[ok](http://evil.example)")
    assert "[CQ:" not in inert("[CQ:at,qq=all]")


def test_every_service_with_a_way_of_its_own_is_one_of_apprise() -> None:
    assert not [name for name in STYLES if importlib.util.find_spec(f"apprise.plugins.{name}") is None]


def test_a_long_text_keeps_its_beginning_and_its_link() -> None:
    text = "subject\n" + "\n".join(f"line {number}" for number in range(100)) + "\n" + LINK
    short = shorten(text, 100)
    assert len(short) <= 100
    assert short.startswith("subject\nline 0\n")
    assert short.endswith(f"…\n{LINK}")
    assert shorten("机" * 50, 30, utf8_bytes) == "机" * 9 + "…"
    assert shorten("short", 100) == "short"


@given(st.text(max_size=60), st.integers(min_value=3, max_value=80))
def test_a_shortened_text_fits(text: str, room: int) -> None:
    for measure in (len, utf8_bytes):
        assert measure(shorten(text, room, measure)) <= room


@pytest.mark.parametrize(
    ("facts", "tone"),
    [
        ({"kind": "page", "level": "critical"}, Tone.FAILURE),
        ({"kind": "page", "level": "warning"}, Tone.WARNING),
        ({"kind": "page", "level": "unknown"}, Tone.WARNING),
        ({"kind": "risen", "level": "critical"}, Tone.FAILURE),
        ({"kind": "recovered", "level": "critical"}, Tone.SUCCESS),
        ({"kind": "passed", "level": "warning"}, Tone.SUCCESS),
        ({"kind": "withdrawn", "level": "critical"}, Tone.INFO),
        ({"kind": "something new", "level": "critical"}, Tone.FAILURE),
        ({"level": "critical"}, Tone.FAILURE),
        ({}, Tone.INFO),
    ],
)
def test_a_message_has_the_tone_of_what_it_says(facts: dict[str, str], tone: Tone) -> None:
    assert Message("k", "p", "s", "t", facts).tone is tone
