"""How a device answers otherwise than its protocol's standard says: what a probe has learnt, and what people are told.

On the wire it is in the source of `device.answering`: the kind of probe, then one word for each habit, `NAME` or
`NAME=VALUE` (docs/protocol.md).
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from watchkeeper.model.json_fields import NAME_LIMIT

HABITS: Mapping[str, str] = MappingProxyType(
    {
        "version": "it answers SNMP version {value} only: write `version: {value}`",
        "address": "of the addresses of its name it answers at {value}",
        "no-get": "GET gives no object: objects are read by GETNEXT or GETBULK",
        "no-getbulk": "GETBULK is not answered, or not in full: tables are read by GETNEXT",
        "most": "objects in one request: at most {value}",
        "unsorted": "the rows of a table are not in order",
        "repeats": "after its last row a table begins again",
        "mute": "a request for {value} gets no answer",
        "any-id": "its answers do not repeat the transaction id of the request",
    }
)
"""The sentence for each habit."""


def source_with(probe: str, words: Iterable[str]) -> str:
    """The source of `device.answering`: the probe, and as many of the habits as fit in."""
    source = probe
    for word in words:
        if len(source) + 1 + len(word) > NAME_LIMIT:
            break
        source += f" {word}"
    return source


def words_of(source: str) -> list[tuple[str, str]]:
    """The habits in the source of `device.answering`: name and value ("" for none)."""
    pairs = (word.partition("=") for word in source.split()[1:])
    return [(name, value) for name, _, value in pairs]


def sentence(word: str) -> str:
    """The sentence for a word; an unknown word is returned as it is."""
    name, _, value = word.partition("=")
    return HABITS.get(name, word).replace("{value}", value)
