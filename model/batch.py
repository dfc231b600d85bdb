"""What an agent and the collector send each other: pushes with lanes, blocks and frames, answers, bundles.

docs/protocol.md is the specification. On the wire every time is an *age* in seconds before `sent_at`, so a wrong wall
clock shifts no time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, NamedTuple

from watchkeeper.model.device import Device
from watchkeeper.model.origin import NOWHERE, Origin
from watchkeeper.model.reading import Series
from watchkeeper.model.verdict import Event

PROTOCOL = 1

STANDING = "standing"
"""The kind of a request for all verdicts that are not ok."""


class Lane(StrEnum):
    """Events are never dropped. Readings may be, oldest first, leaving a tombstone. Each lane has its own seq."""

    EVENTS = "events"
    READINGS = "readings"


Facts = tuple[tuple[str, str], ...]
"""What an agent tells about how it reads a device, as (name, text): by which `profile` and `why`, over which `transport`."""


@dataclass(frozen=True, slots=True)
class Block:
    """The columns that one probe reads of one device, declared once per epoch under a number that the agent chooses. A
    changed set of series, or changed facts, is a new block with a new number. A frame is due every `every_s` seconds."""

    block: int
    device: str
    probe: str
    every_s: float
    series: tuple[Series, ...]
    facts: Facts = ()


Blocks = dict[tuple[str, str, int], Block]
"""Blocks by (agent, epoch, number)."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The values of one sweep, in the order of the block's series. `at` is in UTC seconds. `columns` are the members `values`
    and `missing` as the push had them, checked: they are stored as they are, and decoded only where somebody reads them."""

    block: int
    at: float
    columns: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Readings dropped because the spool was full: `frames` frames, from seq `first` to the item's own."""

    first: int
    frames: int


class Item(NamedTuple):
    """A numbered item of a lane: an Event in `events`, a Frame or Tombstone in `readings`."""

    seq: int
    body: Event | Frame | Tombstone


@dataclass(frozen=True, slots=True)
class Push:
    """One push from an agent. `more` says that the spool has further items of this lane: nobody is paged before they
    arrive. `bundle` is the active version. `sent_at` (UTC seconds) is only used to notice a wrong clock. `origin` tells which
    process sends it."""

    agent: str
    epoch: str
    lane: Lane
    sent_at: float
    bundle: str = ""
    more: bool = False
    blocks: tuple[Block, ...] = ()
    items: tuple[Item, ...] = ()
    origin: Origin = NOWHERE


@dataclass(frozen=True, slots=True)
class Request:
    """What the collector asks of the agent: `poll-now` names a device; `removed` a `part` of it that the person `by`
    removed; `standing` asks for all verdicts that are not ok. An unknown `kind` is ignored."""

    kind: str
    device: str = ""
    part: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The collector's answer to a push: everything up to seq `through` of the lane is on its disk. `store` is the identity of
    its store (empty: not told), `generation` how often a collector has begun to use that. `now` is the collectors' time (UTC
    seconds); None from a collector that does not tell it."""

    lane: Lane
    through: int
    bundle: str
    requests: tuple[Request, ...] = field(default=())
    store: str = ""
    generation: int = 0
    now: float | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """The text of one file. Error messages call it `name`."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class TrapSettings:
    """The UDP socket on which an agent receives traps and informs: ADDRESS:PORT, an IPv6 address in brackets."""

    listen: str = "0.0.0.0:1162"

    @property
    def host(self) -> str:
        """The address, without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port."""
        return int(self.listen.rpartition(":")[2])

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        try:
            fits = 0 < self.port < 65_536 and (":" in self.host) == self.listen.startswith("[")  # noqa: PLR2004 -- a port has two bytes
            ip_address(self.host)
        except ValueError:
            fits = False
        if not fits:
            yield "listen", f"`{self.listen}` is not ADDRESS:PORT; write `0.0.0.0:1162`, or `[::]:1162` for IPv6"


@dataclass(frozen=True, slots=True)
class Bundle:
    """An agent's configuration: its devices (without owners), all rules and the operator's own profiles. The agent
    pushes at least every `interval_s` seconds; the collector reports it silent after three intervals without a push."""

    version: str
    agent: str
    interval_s: float
    devices: tuple[Device, ...] = ()
    rules: tuple[Document, ...] = ()
    profiles: tuple[Document, ...] = ()
    traps: TrapSettings | None = None
