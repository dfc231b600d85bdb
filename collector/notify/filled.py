"""Texts that were made elsewhere and come with their parameters filled in: a probe's reason, a receipt, a note. On the wire and in
the database they are English. Here they are found again among the catalogue's templates, and filled in once more. Pure."""

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

NESTED = frozenset(
    {
        "detail", "did_you_mean", "done", "error", "error_name", "hint", "kind", "message", "problem", "reason", "state", "strerror",
        "system_error", "type_name", "verdict", "verify_message", "wrong",
    }
)  # fmt: skip
"""Placeholders whose content is itself such a text, and is translated if it is known. The content of any other is the words of a
device, a name or a number, and stays as it is."""

_WORD, _PLACEHOLDER = re.compile(r"[^\W\d_]{3}"), re.compile(r"(?<!{){\w+}")
_NO_WORDS: Mapping[str, str] = MappingProxyType({})
_DEEPEST = 4  # texts within texts; a device may send any text
_CACHED = 4096
_LONGEST = 2000  # characters; longer texts are no templates of ours


@dataclass(frozen=True, slots=True)
class TextPattern:
    """A msgid with placeholders, cut at them: the text begins with the first literal, ends with the last one, and has the others in
    this order between them."""

    literals: tuple[str, ...]
    names: tuple[str, ...]
    translation: str
    has_words: bool

    @property
    def weight(self) -> int:
        """How much of the text is its own."""
        return sum(map(len, self.literals))

    def match(self, text: str) -> dict[str, str] | None:
        """The content of each placeholder, at least one character; None for another text. One pass, without backtracking: for the
        literals in between, the first place is always as good as any other."""
        first, *between, last = self.literals
        at, end = len(first), len(text) - len(last)
        if end <= at or not text.startswith(first) or not text.endswith(last):
            return None
        found: list[str] = []
        for literal in between:
            place = text.find(literal, at + 1, end)
            if place < 0:
                return None
            found.append(text[at:place])
            at = place + len(literal)
        return dict(zip(self.names, (*found, text[at:end]), strict=True)) if at < end else None


def has_words(msgid: str) -> bool:
    """Whether a template has a word of its own. One that has none, such as `{name}: {reason}`, fits many texts: it counts only if what
    is inside is known."""
    return bool(_WORD.search(_PLACEHOLDER.sub("", msgid)))


def text_pattern(msgid: str, translation: str) -> TextPattern | None:
    """The template of a msgid; None for one without placeholders, and for one that cannot be found again in a filled-in text, because
    two placeholders have the same name or nothing between them."""
    literals, names = [""], []
    for literal, name, _, _ in string.Formatter().parse(msgid):
        literals[-1] += literal
        if name is not None:
            names.append(name)
            literals.append("")
    if not names or len(set(names)) < len(names) or "" in literals[1:-1]:
        return None
    return TextPattern(tuple(literals), tuple(names), translation, has_words(msgid))


def _plain(text: str) -> str:
    return text.replace("{{", "{").replace("}}", "}")


class FilledTexts:
    """The texts of one catalogue (msgid -> translation). The template with the most text of its own wins. `words` are further texts that
    may be inside of one that has words of its own."""

    def __init__(self, catalogue: Mapping[str, str], words: Mapping[str, str] = _NO_WORDS) -> None:
        self._words = words
        self._exact = {
            _plain(msgid): _plain(text) for msgid, text in catalogue.items() if not _PLACEHOLDER.search(msgid)
        }
        found = (text_pattern(msgid, text) for msgid, text in catalogue.items())
        self._templates = sorted((one for one in found if one), key=lambda one: one.weight, reverse=True)
        self.translate = lru_cache(_CACHED)(self._translate)

    def _translate(self, text: str, depth: int = 0) -> str:
        """The text in the catalogue's language; an unknown one as it is."""
        if known := self._exact.get(text):
            return known
        if depth >= _DEEPEST or len(text) > _LONGEST:
            return text
        for one in self._templates:
            found = one.match(text)
            if found is None:
                continue
            words = self._words if one.has_words else _NO_WORDS
            inner = {
                name: self._inner(value, depth, words) if name in NESTED else value for name, value in found.items()
            }
            if one.has_words or inner != found:
                return one.translation.format_map(inner)
        return text

    def _inner(self, text: str, depth: int, words: Mapping[str, str]) -> str:
        return words.get(text) or self._translate(text, depth + 1)
