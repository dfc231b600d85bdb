"""The operator's books: who and what there is (inventory), who can be reached how (contacts), and who is told when
(ladders). Plain nouns here; collector/site/load reads and cross-checks them."""

import datetime
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from watchkeeper.channels.ports import Address
from watchkeeper.documents.scalars import ClockTime
from watchkeeper.model.batch import TrapSettings
from watchkeeper.model.device import Device
from watchkeeper.model.verdict import Level

_NAME_LIMIT = 100

COLLECTOR = "collector"
"""Who judges our own rules, and the device they speak of."""

DUTY, OWNER = "duty", "owner"
"""The roles that are worked out; every other is written in contacts.yml."""


@dataclass(frozen=True, slots=True)
class Site:
    """The place, and the clock on its wall."""

    name: str
    timezone: zoneinfo.ZoneInfo


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent and how often it must be heard. Its `owner` is told when it falls silent. `traps` is where it hears them."""

    agent: str
    interval_s: float = 15.0
    owner: str = ""
    location: str = ""
    traps: TrapSettings | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """inventory.yml: the only list of agents and devices, and of who owns what (4.1.4)."""

    site: Site
    agents: tuple[Agent, ...]
    devices: tuple[Device, ...]


class Language(StrEnum):
    """What a person reads."""

    ENGLISH = "en"
    CHINESE = "zh"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can be paged. `channels` are tried in order."""

    person: str
    name: str
    channels: tuple[Address, ...]
    language: Language = Language.ENGLISH
    phone: str = ""


@dataclass(frozen=True, slots=True)
class Vendor:
    """A maintenance vendor or manufacturer the assistant calls (4.2.6.4)."""

    vendor: str
    name: str
    phone: str
    contract: str = ""
    hours: str = ""


class Turn(StrEnum):
    """How often the rotation moves on."""

    DAY = "day"
    WEEK = "week"


@dataclass(frozen=True, slots=True)
class Shift:
    """A watch from `start` to `end` on the site's clock (over midnight if end <= start). `rotation` moves on by one
    person every `turn`, counted from `since`, whose shift is the first person's."""

    shift: str
    start: ClockTime
    end: ClockTime
    rotation: tuple[str, ...]
    turn: Turn = Turn.DAY
    since: datetime.date = datetime.date(2026, 1, 5)


@dataclass(frozen=True, slots=True)
class Swap:
    """On `date` (the day the shift begins) `person` takes `shift` instead of whose turn it is."""

    date: datetime.date
    shift: str
    person: str


@dataclass(frozen=True, slots=True)
class Contacts:
    """contacts.yml. `roles` are standing roles (head, assistant ...); `duty` and `owner` are worked out."""

    people: tuple[Person, ...]
    shifts: tuple[Shift, ...]
    swaps: tuple[Swap, ...] = ()
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    vendors: tuple[Vendor, ...] = ()


class StopsAt(StrEnum):
    """What ends a climb."""

    RESOLVED = "resolved"
    ACKNOWLEDGED = "acknowledged"


@dataclass(frozen=True, slots=True)
class Rung:
    """One step: `after_s` of unresolved time, everybody in `tell` (roles or persons) hears `say`."""

    rung: str
    after_s: float
    tell: tuple[str, ...]
    say: str = ""
    vendor_contact: bool = False


@dataclass(frozen=True, slots=True)
class Ladder:
    """What happens while a fault is not resolved. `fallback` (roles or persons) is paged where a role is nobody."""

    ladder: str
    rungs: tuple[Rung, ...]
    fallback: tuple[str, ...]
    levels: tuple[Level, ...] = (Level.WARNING, Level.CRITICAL)
    stops_at: StopsAt = StopsAt.RESOLVED

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        times = [rung.after_s for rung in self.rungs]
        names = [rung.rung for rung in self.rungs]
        if not times or times[0] != 0:
            yield "rungs", "the first rung stands at `after: 0 min`: duty staff start at once (4.2.6.1)"
        if times != sorted(times):
            yield "rungs", "rungs stand in the order of their `after`"
        if len(set(names)) != len(names):
            yield "rungs", "every rung needs a name of its own"
        if not all(0 < len(name) <= _NAME_LIMIT for name in names):
            yield "rungs", f"the name of a rung has 1 to {_NAME_LIMIT} characters"
        if not self.fallback:
            yield "fallback", "name at least one person; nobody is never an answer"


@dataclass(frozen=True, slots=True)
class Ladders:
    """ladders.yml: each level climbs the first ladder that lists it."""

    ladders: tuple[Ladder, ...]


@dataclass(frozen=True, slots=True)
class Configuration:
    """All of them, cross-checked: every name used in one stands in another."""

    inventory: Inventory
    contacts: Contacts
    ladders: Ladders
