"""What travels from an agent to the collector: pushes, lanes, blocks, frames, and the answer. See docs/protocol.md.

Inside a push every time is an *age* in seconds before `sent_at`, so that a wrong wall clock shifts nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from typing import NamedTuple

from watchkeeper.model.device import Device
from watchkeeper.model.reading import Series, Value
from watchkeeper.model.verdict import Event

PROTOCOL = 1


class Lane(StrEnum):
    """Events are never dropped; readings may be, oldest first, leaving a tombstone. Each lane counts its own seq."""

    EVENTS = "events"
    READINGS = "readings"


@dataclass(frozen=True, slots=True)
class Block:
    """The columns of one device as one probe reads them, declared once an epoch under a number of the agent's choosing.
    A changed set of series is a new block under a new number. `every_s` is how often a frame is due, in seconds."""

    block: int
    device: str
    probe: str
    every_s: float
    series: tuple[Series, ...]


Blocks = dict[tuple[str, str, int], Block]
"""Blocks by (agent, epoch, number)."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One sweep's values under a declared block, as long as its series. `at` is on the clock of whoever holds it."""

    block: int
    at: float
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Readings that had to go because the spool was full: seqs `first`..(the item's own seq), that many frames."""

    first: int
    frames: int


class Item(NamedTuple):
    """One numbered thing of a lane: an Event in `events`, a Frame or Tombstone in `readings`."""

    seq: int
    body: Event | Frame | Tombstone


@dataclass(frozen=True, slots=True)
class Push:
    """One request from an agent. `more` says that the spool holds further items of this lane, so that nobody is paged on
    half a story. `bundle` is the version in force; `sent_at` (UTC seconds) only serves to notice a wrong clock."""

    agent: str
    epoch: str
    lane: Lane
    sent_at: float
    bundle: str = ""
    more: bool = False
    blocks: tuple[Block, ...] = ()
    items: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """What the collector would like of the agent; an unknown `kind` is ignored. `poll-now` names a device."""

    kind: str
    device: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The collector's word on a push: everything up to seq `through` of the lane is on its disk."""

    lane: Lane
    through: int
    bundle: str
    requests: tuple[Request, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Document:
    """One file of an operator's, whole: `name` is what error messages call it."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class TrapSettings:
    """Where an agent hears traps and informs: `listen` is ADDRESS:PORT of UDP, an IPv6 address in brackets."""

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
            fits = 0 < self.port < 65_536 and (":" in self.host) == self.listen.startswith("[")  # noqa: PLR2004 -- two bytes
            ip_address(self.host)
        except ValueError:
            fits = False
        if not fits:
            yield "listen", f"`{self.listen}` is no ADDRESS:PORT; write `0.0.0.0:1162`, or `[::]:1162` with IPv6"


@dataclass(frozen=True, slots=True)
class Bundle:
    """An agent's share, complete: its devices (without owners), all rules and the operator's own profiles.
    The agent pushes at least every `interval_s` seconds; after three of them without a word the collector calls it silent.
    It hears traps where `traps` says."""

    version: str
    agent: str
    interval_s: float
    devices: tuple[Device, ...] = ()
    rules: tuple[Document, ...] = ()
    profiles: tuple[Document, ...] = ()
    traps: TrapSettings | None = None
