"""Texts from outside are made safe: controls go, the letters of all scripts stay."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.model.plain import LogFormatter, is_plain, one_line, plain_line, printable

HARMLESS = (
    "机房　一号 UPS（东）", "ß µ °C Ω ½", "שלום עולם", "مرحبا بالعالم", "ไทย हिन्दी", "👍🏽 ❤️ 🇨🇳 1️⃣", "👨‍👩‍👧 👩🏽‍🔬 🏳️‍🌈",
    "𠮷野家", "café", "\U0001fae9",
)  # fmt: skip


@pytest.mark.parametrize("text", HARMLESS)
def test_letters_signs_and_emoji_stay(text: str) -> None:
    assert one_line(text) == text


@pytest.mark.parametrize(
    "char",
    [
        *map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)),  # C0 without the line end below, DEL, C1
        *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A)), "\u200e", "\u200f", "\u061c",  # direction
        "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u180e",  # of no width
        "\u2028", "\u2029", "\u3164", "\u115f", "\u034f", "\ud800", "\U000e0041", "\ufff9",
    ],
)  # fmt: skip
def test_what_is_obeyed_instead_of_shown_goes(char: str) -> None:
    assert one_line(f"a{char}b") == "a\N{REPLACEMENT CHARACTER}b"
    assert printable(f"a{char}b") == ("a\nb" if char == "\n" else "a\N{REPLACEMENT CHARACTER}b")


def test_a_joiner_stays_only_between_two_emoji() -> None:
    assert one_line("👨\u200d👧") == "👨\u200d👧"
    for text in ("👨\u200d", "\u200d👧", "a\u200d👧", "👨\u200db", "👨\u200d\u200d👧"):
        assert "\u200d" not in one_line(text)


@given(st.text(st.characters(), max_size=80))
def test_a_line_is_one_line_and_stays_as_it_is_the_second_time(text: str) -> None:
    line = one_line(text)
    line.encode()
    assert len(line.splitlines()) <= 1
    assert len(plain_line(text)) == len(text)
    assert one_line(line) == line
    assert not is_plain(text) or line == text


def test_a_text_of_megabytes_costs_no_more_than_its_ends() -> None:
    assert 190 < len(one_line("\x1b" * 50_000_000)) <= 200


def test_a_log_record_cannot_write_escape_sequences_or_further_records() -> None:
    record = logging.LogRecord("x", 30, "x", 1, "ups\n%s", ("ERROR \x1b[2J\u202e\x9b",), None)
    assert LogFormatter("%(message)s").format(record) == "ups\n    ERROR \ufffd[2J\ufffd\ufffd"
