"""The meaning of each trap, read from `known.yml`; a trap that is not listed there is a notice."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from watchkeeper.agent.traps.events import CRITICAL, NONE, NOTICE, WARNING, TrapEvent
from watchkeeper.agent.traps.message.decode import Trap, variable_text
from watchkeeper.documents.bind import load
from watchkeeper.model.plain import one_line
from watchkeeper.profiles.scalars import SCALARS, Oid


class TrapMeaning(StrEnum):
    """What a trap means. `poll`: a poll reads everything about it. `none`: it ends events. The others: an event of that
    level."""

    POLL = "poll"
    NONE = NONE
    NOTICE = NOTICE
    WARNING = WARNING
    CRITICAL = CRITICAL


@dataclass(frozen=True, slots=True)
class KnownTrap:
    """One line of the table. `key` is the column of the variable that distinguishes several events of the same trap.
    `ends` are the traps whose events (with the same key) this one ends."""

    MESSAGE_NAME: ClassVar = "trap"

    trap: Oid
    meaning: TrapMeaning
    title: str = ""
    key: Oid | None = None
    ends: tuple[Oid, ...] = ()

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if bool(self.ends) is not (self.meaning is TrapMeaning.NONE):
            yield "ends", "belongs to every trap that means `none`, and to no other"
        if bool(self.title) is not (self.meaning in _EVENT_MEANINGS):
            yield "title", "belongs to every trap that is an event, and to no other"


_EVENT_MEANINGS = frozenset({TrapMeaning.NOTICE, TrapMeaning.WARNING, TrapMeaning.CRITICAL})


@dataclass(frozen=True, slots=True)
class _TrapFile:
    traps: tuple[KnownTrap, ...]

    def check(self) -> Iterator[tuple[str, str]]:
        events = {known.trap for known in self.traps if known.meaning in _EVENT_MEANINGS}
        for known in self.traps:
            yield from (("traps", f"{one} is ended, but it is no event") for one in known.ends if one not in events)
        if len({known.trap for known in self.traps}) < len(self.traps):
            yield "traps", "a trap is listed twice"


TrapTable = Mapping[str, KnownTrap]


def shipped_traps() -> TrapTable:
    """The table that comes with Watchkeeper."""
    file = Path(__file__).with_name("known.yml")
    return {known.trap: known for known in load(file.read_text(encoding="utf-8"), file.name, _TrapFile, SCALARS).traps}


def events_of(trap: Trap, table: TrapTable) -> list[TrapEvent]:
    """The events that a trap reports; none if a poll reads everything about it. An unknown trap is a notice: it is
    shown, and pages nobody."""
    known = table.get(trap.trap)
    if known is None:
        name = one_line(trap.trap)
        return [TrapEvent(name, name, NOTICE)]
    if known.meaning is TrapMeaning.POLL:
        return []
    if known.meaning is TrapMeaning.NONE:
        return [_event(table[one], trap, NONE) for one in known.ends]
    return [_event(known, trap, known.meaning.value)]


def _event(known: KnownTrap, trap: Trap, level: str) -> TrapEvent:
    keys = (variable_text(value) for name, value in trap.variables if known.key and name.startswith(f"{known.key}."))
    key = next(keys, "")
    return TrapEvent(one_line(f"{known.trap} {key}".strip()), one_line(f"{known.title} {key}".strip()), level)
