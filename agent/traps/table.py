"""Which trap means what: `known.yml`, and what to make of one that does not stand there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from watchkeeper.agent.traps.events import CRITICAL, NONE, NOTICE, WARNING, TrapEvent
from watchkeeper.agent.traps.message.decode import Trap, text_of
from watchkeeper.documents.bind import load
from watchkeeper.model.plain import word
from watchkeeper.profiles.scalars import SCALARS, Oid


class TrapMeaning(StrEnum):
    """What a trap means: `poll` that a poll shows all there is, `none` that events are over, the others an event."""

    POLL = "poll"
    NONE = NONE
    NOTICE = NOTICE
    WARNING = WARNING
    CRITICAL = CRITICAL


@dataclass(frozen=True, slots=True)
class KnownTrap:
    """One line of the table. `key` is the column of the variable that tells several events of the same trap apart; `ends`
    are the traps whose events (of the same key) this one ends."""

    WORD: ClassVar = "trap"

    trap: Oid
    meaning: TrapMeaning
    title: str = ""
    key: Oid | None = None
    ends: tuple[Oid, ...] = ()

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if bool(self.ends) is not (self.meaning is TrapMeaning.NONE):
            yield "ends", "stands where the trap means `none`, and only there"
        if bool(self.title) is not (self.meaning in _EVENTS):
            yield "title", "stands where the trap is an event, and only there"


_EVENTS = frozenset({TrapMeaning.NOTICE, TrapMeaning.WARNING, TrapMeaning.CRITICAL})


@dataclass(frozen=True, slots=True)
class _File:
    traps: tuple[KnownTrap, ...]

    def check(self) -> Iterator[tuple[str, str]]:
        events = {known.trap for known in self.traps if known.meaning in _EVENTS}
        for known in self.traps:
            yield from (("traps", f"{one}, which is no event, is ended") for one in known.ends if one not in events)
        if len({known.trap for known in self.traps}) < len(self.traps):
            yield "traps", "a trap stands twice"


TrapTable = Mapping[str, KnownTrap]


def shipped_traps() -> TrapTable:
    """The table that comes with Watchkeeper."""
    file = Path(__file__).with_name("known.yml")
    return {known.trap: known for known in load(file.read_text(encoding="utf-8"), file.name, _File, SCALARS).traps}


def events_of(trap: Trap, table: TrapTable) -> list[TrapEvent]:
    """The events that a trap tells of: none where a poll shows all there is. An unknown trap is a notice, so that it is seen
    and wakes nobody."""
    known = table.get(trap.trap)
    if known is None:
        name = word(trap.trap)
        return [TrapEvent(name, name, NOTICE)]
    if known.meaning is TrapMeaning.POLL:
        return []
    if known.meaning is TrapMeaning.NONE:
        return [_told(table[one], trap, NONE) for one in known.ends]
    return [_told(known, trap, known.meaning.value)]


def _told(known: KnownTrap, trap: Trap, level: str) -> TrapEvent:
    which = next((text_of(said) for name, said in trap.said if known.key and name.startswith(f"{known.key}.")), "")
    return TrapEvent(word(f"{known.trap} {which}".strip()), word(f"{known.title} {which}".strip()), level)
