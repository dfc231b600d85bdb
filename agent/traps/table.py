"""Which trap means what: `known.yml`, and what to make of one that does not stand there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from watchkeeper.agent.traps.events import CRITICAL, NONE, NOTICE, WARNING, Reply
from watchkeeper.agent.traps.message.decode import Trap, text_of
from watchkeeper.documents.bind import load
from watchkeeper.model.plain import one_line
from watchkeeper.profiles.scalars import SCALARS, Oid


class Meaning(StrEnum):
    """What a trap means: `poll` that a poll shows all there is, `none` that events are over, the others an event."""

    POLL = "poll"
    NONE = NONE
    NOTICE = NOTICE
    WARNING = WARNING
    CRITICAL = CRITICAL


@dataclass(frozen=True, slots=True)
class Known:
    """One line of the table. `key` is the column of the variable that tells several events of the same trap apart; `ends`
    are the traps whose events (of the same key) this one ends."""

    MESSAGE_NAME: ClassVar = "trap"

    trap: Oid
    meaning: Meaning
    title: str = ""
    key: Oid | None = None
    ends: tuple[Oid, ...] = ()

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if bool(self.ends) is not (self.meaning is Meaning.NONE):
            yield "ends", "stands where the trap means `none`, and only there"
        if bool(self.title) is not (self.meaning in _EVENTS):
            yield "title", "stands where the trap is an event, and only there"


_EVENTS = frozenset({Meaning.NOTICE, Meaning.WARNING, Meaning.CRITICAL})


@dataclass(frozen=True, slots=True)
class _File:
    traps: tuple[Known, ...]

    def check(self) -> Iterator[tuple[str, str]]:
        events = {known.trap for known in self.traps if known.meaning in _EVENTS}
        for known in self.traps:
            yield from (("traps", f"{one}, which is no event, is ended") for one in known.ends if one not in events)
        if len({known.trap for known in self.traps}) < len(self.traps):
            yield "traps", "a trap stands twice"


Table = Mapping[str, Known]


def shipped() -> Table:
    """The table that comes with Watchkeeper."""
    file = Path(__file__).with_name("known.yml")
    return {known.trap: known for known in load(file.read_text(encoding="utf-8"), file.name, _File, SCALARS).traps}


def events_of(trap: Trap, table: Table) -> list[Reply]:
    """The events that a trap tells of: none where a poll shows all there is. An unknown trap is a notice, so that it is seen
    and wakes nobody."""
    known = table.get(trap.trap)
    if known is None:
        name = one_line(trap.trap)
        return [Reply(name, name, NOTICE)]
    if known.meaning is Meaning.POLL:
        return []
    if known.meaning is Meaning.NONE:
        return [_told(table[one], trap, NONE) for one in known.ends]
    return [_told(known, trap, known.meaning.value)]


def _told(known: Known, trap: Trap, level: str) -> Reply:
    which = next((text_of(said) for name, said in trap.said if known.key and name.startswith(f"{known.key}.")), "")
    return Reply(one_line(f"{known.trap} {which}".strip()), one_line(f"{known.title} {which}".strip()), level)
