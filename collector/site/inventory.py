"""The site's configuration as plain data: agents and devices (inventory), people, shifts and vendors (contacts), and
escalation ladders. `collector/site/load` reads and cross-checks it."""

import datetime
import re
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from watchkeeper.channels.ports import Address, Proof
from watchkeeper.documents.bind import ITEM_OR_LIST
from watchkeeper.documents.scalars import ClockTime
from watchkeeper.model.batch import TrapSettings
from watchkeeper.model.device import Device
from watchkeeper.model.errors import Problem
from watchkeeper.model.verdict import Level

_RUNG_NAME_LIMIT = 100

COLLECTOR = "collector"
"""The name under which the collector judges its own rules, and of the device that these rules are about."""

DUTY, OWNER = "duty", "owner"
"""The roles that are computed, from shifts and from the inventory. All other roles are written in contacts.yml."""


@dataclass(frozen=True, slots=True)
class Site:
    """The site's name and time zone."""

    name: str
    timezone: zoneinfo.ZoneInfo


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent and the interval at which it must push. Its `owner` is notified when it is silent. `traps` is where it
    listens for SNMP traps. `depends_on` are names of devices and unmonitored things."""

    agent: str
    interval_s: float = 15.0
    owner: str = ""
    location: str = ""
    traps: TrapSettings | None = None
    depends_on: tuple[str, ...] = field(default=(), metadata=ITEM_OR_LIST)


@dataclass(frozen=True, slots=True)
class Unmonitored:
    """What devices depend on and no agent reads: a mains feed, a breaker, a rack, a plain switch. It has no incidents."""

    MESSAGE_NAME: ClassVar = "unmonitored thing"

    name: str
    depends_on: tuple[str, ...] = field(default=(), metadata=ITEM_OR_LIST)
    location: str = ""


@dataclass(frozen=True, slots=True)
class Inventory:
    """inventory.yml: the only list of agents, devices and their owners (4.1.4). `unmonitored` are further names for
    `depends_on`."""

    site: Site
    agents: tuple[Agent, ...]
    devices: tuple[Device, ...]
    unmonitored: tuple[Unmonitored, ...] = ()


class Language(StrEnum):
    """The language of a person's notices."""

    ENGLISH = "en"
    CHINESE = "zh"


@dataclass(frozen=True, slots=True)
class Expect:
    """The proof of a page that a channel must give `within` this time. Otherwise the next channel is tried."""

    proof: Proof
    within_s: float = 60.0


@dataclass(frozen=True, slots=True)
class PersonAddress(Address):
    """One channel of a person. `limit` is how many messages its robot may send (`20/min`), for all persons who share it.
    `expect` is the proof that a page needs; without it, every success counts."""

    MESSAGE_NAME: ClassVar[str] = "address"

    limit: str = ""
    expect: Expect | None = None

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        yield from Address.check(self)
        if self.limit and not self.limit_per_min:
            yield "limit", f"`{self.limit}` is not a limit; write messages a minute, like `20/min`"

    @property
    def limit_per_min(self) -> int:
        """`limit` as a number; 0 without one."""
        found = re.fullmatch(r"(\d{1,4})\s*/\s*min", self.limit.strip(), re.ASCII)
        return int(found[1]) if found else 0


@dataclass(frozen=True, slots=True)
class Person:
    """A person who can be paged. `channels` are tried in this order. `mail` is the address from which their replies come."""

    person: str
    name: str
    channels: tuple[PersonAddress, ...]
    language: Language = Language.ENGLISH
    phone: str = ""
    mail: str = ""


@dataclass(frozen=True, slots=True)
class Vendor:
    """A maintenance vendor or manufacturer that the IT assistant calls (4.2.6.4)."""

    vendor: str
    name: str
    phone: str
    contract: str = ""
    hours: str = ""


class Turn(StrEnum):
    """How often a rotation moves on to its next person."""

    DAY = "day"
    WEEK = "week"


@dataclass(frozen=True, slots=True)
class Shift:
    """A duty shift from `start` to `end` in site time (over midnight if end <= start). `rotation` moves on by one
    person every `turn`. The first person has the shift that begins on `since`."""

    shift: str
    start: ClockTime
    end: ClockTime
    rotation: tuple[str, ...]
    turn: Turn = Turn.DAY
    since: datetime.date = datetime.date(2026, 1, 5)


@dataclass(frozen=True, slots=True)
class Swap:
    """`person` takes over `shift` on `date`, the day on which the shift begins."""

    date: datetime.date
    shift: str
    person: str


@dataclass(frozen=True, slots=True)
class Contacts:
    """contacts.yml. `roles` are fixed roles (head, assistant ...); `duty` and `owner` are computed."""

    people: tuple[Person, ...]
    shifts: tuple[Shift, ...]
    swaps: tuple[Swap, ...] = ()
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    vendors: tuple[Vendor, ...] = ()


class StopsAt(StrEnum):
    """What stops a ladder: the end of the fault, or an acknowledgement."""

    RESOLVED = "resolved"
    ACKNOWLEDGED = "acknowledged"


@dataclass(frozen=True, slots=True)
class Rung:
    """One escalation level: after `after_s` of unresolved time, everybody in `tell` (roles or persons) is paged with
    the instruction `say`. With `vendor_contact`, the page names the device's vendor. `on_site` (roles or persons) must
    come: they are asked again until somebody says that he is on site."""

    rung: str
    after_s: float
    tell: tuple[str, ...]
    say: str = ""
    vendor_contact: bool = False
    on_site: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ladder:
    """An escalation policy: who is paged while a fault is unresolved. `fallback` (roles or persons) is paged where a
    role has no person."""

    ladder: str
    rungs: tuple[Rung, ...]
    fallback: tuple[str, ...]
    levels: tuple[Level, ...] = (Level.WARNING, Level.CRITICAL)
    stops_at: StopsAt = StopsAt.RESOLVED

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, message) for each problem."""
        times = [rung.after_s for rung in self.rungs]
        names = [rung.rung for rung in self.rungs]
        if not times or times[0] != 0:
            yield "rungs", "the first rung must have `after: 0 min`: duty staff start at once (4.2.6.1)"
        if times != sorted(times):
            yield "rungs", "rungs must be in the order of their `after`"
        if len(set(names)) != len(names):
            yield "rungs", "two rungs have the same name; give each its own name"
        if not all(0 < len(name) <= _RUNG_NAME_LIMIT for name in names):
            yield "rungs", f"the name of a rung must have 1 to {_RUNG_NAME_LIMIT} characters"
        if not self.fallback:
            yield "fallback", "name at least one role or person, so that there is always somebody to page"


@dataclass(frozen=True, slots=True)
class Ladders:
    """ladders.yml: an incident of a level uses the first ladder that lists this level."""

    ladders: tuple[Ladder, ...]


@dataclass(frozen=True, slots=True)
class Configuration:
    """Inventory, contacts and ladders, cross-checked: every name that one of them uses is defined. `warnings` are about what
    may be meant."""

    inventory: Inventory
    contacts: Contacts
    ladders: Ladders
    warnings: tuple[Problem, ...] = ()
