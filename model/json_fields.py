"""Checked parts of parsed JSON, each with the place that a WireError names (`items[3].seq`)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from watchkeeper.model.errors import WireError
from watchkeeper.model.plain import plain_line

Json = dict[str, Any]

NAME_LIMIT, TEXT_LIMIT = 200, 4_000  # characters
MAX_AGE_S = 10 * 366 * 86_400.0


def object_(raw: Any, where: str) -> Json:
    """An object. Raises WireError."""
    if not isinstance(raw, dict):
        raise WireError(f"{where}: expected an object")
    return raw


def array(raw: Any, where: str) -> list[Any]:
    """An array. Raises WireError."""
    if not isinstance(raw, list):
        raise WireError(f"{where}: expected an array")
    return raw


def text_field(raw: Mapping[str, Any], key: str, where: str, limit: int) -> str:
    """A text of at most `limit` characters. Raises WireError."""
    value = raw.get(key)
    if not isinstance(value, str):
        raise WireError(f"{where}{key}: expected text")
    return limited_text(value, where + key, limit)


def limited_text(text: str, where: str, limit: int) -> str:
    """The text in one line without control characters, if it is not too long and can be stored. Raises WireError."""
    if len(text) > limit:
        raise WireError(f"{where}: longer than {limit} characters")
    if "\0" in text:  # PostgreSQL and mail cannot carry it
        raise WireError(f"{where}: contains the character U+0000")
    return plain_line(text)


def name_field(raw: Mapping[str, Any], key: str, where: str) -> str:
    """A name: a text that is not empty. Raises WireError."""
    value = text_field(raw, key, where, NAME_LIMIT)
    if not value:
        raise WireError(f"{where}{key}: is empty")
    return value


def number_field(raw: Mapping[str, Any], key: str, where: str) -> float:
    """A finite number. Raises WireError."""
    value = raw.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e15 < value < 1e15:  # noqa: PLR2004 -- beyond any time or interval
        raise WireError(f"{where}{key}: expected a finite number")
    return float(value)


def age_field(raw: Mapping[str, Any], key: str, where: str) -> float:
    """An age in seconds, from 0 to ten years. Raises WireError."""
    value = number_field(raw, key, where)
    if not 0 <= value <= MAX_AGE_S:
        raise WireError(f"{where}{key}: an age must be between 0 and ten years, in seconds")
    return value


def positive_field(raw: Mapping[str, Any], key: str, where: str) -> int:
    """A whole number above 0. Raises WireError."""
    value = raw.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**62:
        raise WireError(f"{where}{key}: expected a whole number above 0")
    return value


def count_field(raw: Mapping[str, Any], key: str, where: str) -> int:
    """A whole number of at least 0. Raises WireError."""
    value = raw.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**62:
        raise WireError(f"{where}{key}: expected a whole number of at least 0")
    return value


def flag_field(raw: Mapping[str, Any], key: str, where: str = "") -> bool:
    """True or false; false where it is absent. Raises WireError."""
    value = raw.get(key, False)
    if not isinstance(value, bool):
        raise WireError(f"{where}{key}: expected true or false")
    return value


def word_field(raw: Mapping[str, Any], key: str, words: Iterable[str], where: str) -> str:
    """One of these words. Raises WireError."""
    return word_of(raw.get(key), tuple(words), where + key)


def word_of(value: Any, words: Sequence[str], where: str) -> str:
    """The value, if it is one of these words. Raises WireError."""
    if not isinstance(value, str) or value not in words:
        raise WireError(f"{where}: expected one of {', '.join(words)}")
    return value
