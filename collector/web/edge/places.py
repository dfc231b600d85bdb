"""Who may hold a connection, decided when it is accepted, before TLS. Pure: a connection is anything that can be shut.

Nobody is known at that moment. So each connection is a stranger's at first, and there are few places for strangers: of one address,
and in all. Where there are too many, the oldest one is shut. A client that wants something has asked for it long before. A
connection on which an agent or a person has authenticated is no stranger's any more, and is shut for nobody. Strangers from
addresses of which some connection was recognised have places of their own, so that an agent comes in through a flood.
"""

import ipaddress
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Protocol

OF_ONE_ADDRESS, OF_STRANGERS = 512, 1_024
"""For strangers: of one address; of all addresses; and as many again of addresses that are known. A connection that has not begun
TLS takes 54 kB."""

OF_ONE_NAME = 64
"""How many connections one agent or person may have that are shut for nobody."""

_KNOWN_ADDRESSES = 10_000
_IPV6_SITE = 64  # bits: what one customer gets, RFC 6177


class Shutable(Protocol):
    """A connection, as far as it matters here."""

    def shut(self) -> None:
        """End it, soon. It then leaves its place."""


@dataclass(frozen=True, slots=True)
class PlaceLimits:
    """How many connections may be open: `all_`; those of strangers in each of two pools, and of one address."""

    all_: int
    strangers: int
    address: int
    name: int = OF_ONE_NAME

    @classmethod
    def within(cls, files: int) -> "PlaceLimits":
        """The limits of a process that may open so many files. Half of them are for the store, channels and pages."""
        most = files // 2
        strangers = min(OF_STRANGERS, most // 4)
        return cls(most, strangers, min(OF_ONE_ADDRESS, max(1, strangers // 2)))


@dataclass(slots=True)
class _Held:
    address: str
    known: bool
    who: str = ""


class ConnectionPlaces:
    """The connections that are open."""

    def __init__(self, limits: PlaceLimits) -> None:
        self.limits = limits
        self.shut = 0
        self._held: dict[Shutable, _Held] = {}
        self._strangers: dict[bool, OrderedDict[Shutable, None]] = {True: OrderedDict(), False: OrderedDict()}
        self._of_address: dict[str, OrderedDict[Shutable, None]] = {}
        self._of_name: Counter[str] = Counter()
        self._known: OrderedDict[str, None] = OrderedDict()

    def enter(self, one: Shutable, host: str) -> None:
        """A connection was accepted from this host. An older stranger may be shut for it."""
        address = site_of(host)
        held = self._held[one] = _Held(address, address in self._known)
        pool = self._strangers[held.known]
        mine = self._of_address.setdefault(address, OrderedDict())
        pool[one] = mine[one] = None
        if len(mine) > self.limits.address:
            self._shut(next(iter(mine)))
        elif len(pool) > self.limits.strangers or len(self._held) > self.limits.all_:
            self._shut(next(iter(pool)))

    def recognise(self, one: Shutable, who: str) -> bool:
        """An agent or a person has authenticated on this connection. With too many of that name it stays a stranger's. Returns
        whether its place is safe."""
        held = self._held.get(one)
        if held is None or held.who:
            return held is not None
        if self._of_name[who] >= self.limits.name:
            return False
        self._forget_stranger(one, held)
        held.who = who
        self._of_name[who] += 1
        self._known[held.address] = None
        self._known.move_to_end(held.address)
        if len(self._known) > _KNOWN_ADDRESSES:
            self._known.popitem(last=False)
        return True

    def leave(self, one: Shutable) -> None:
        """The connection has ended. Said twice, it changes nothing."""
        held = self._held.pop(one, None)
        if held is None:
            return
        if held.who:
            self._of_name[held.who] -= 1
            if not self._of_name[held.who]:
                del self._of_name[held.who]
        else:
            self._forget_stranger(one, held)

    @property
    def count(self) -> int:
        """How many connections are open."""
        return len(self._held)

    @property
    def strangers(self) -> int:
        """How many of them are of strangers."""
        return sum(map(len, self._strangers.values()))

    def _shut(self, one: Shutable) -> None:
        self.shut += 1
        self.leave(one)
        one.shut()

    def _forget_stranger(self, one: Shutable, held: _Held) -> None:
        self._strangers[held.known].pop(one, None)
        mine = self._of_address.get(held.address)
        if mine is not None:
            mine.pop(one, None)
            if not mine:
                del self._of_address[held.address]


def site_of(host: str) -> str:
    """What counts as one address: for IPv6 the network of a customer, who has 2**64 addresses."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), _IPV6_SITE), strict=False))
