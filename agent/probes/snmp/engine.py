"""The port of the SNMP engines, their login, and their limits.

A request that fails raises NoAnswer; the probe turns it into Missing. A device may answer anything, so the size of what
is kept is bounded: rows in `dialect.walk`, bytes in the engines.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeVar

from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.snmp.dialect.habits import Dialect
from watchkeeper.model.device import Snmp, SnmpVersion
from watchkeeper.model.reading import Missing, Reason
from watchkeeper.profiles.decode import Raw

T = TypeVar("T")
U = TypeVar("U")

SNMP_PORT = 161
MAX_TABLE_ROWS = 4096  # a longer table is a fault of the device
MAX_TABLE_BYTES = 2_000_000  # of the names and strings of one table; more are a fault of the device
LONGEST_STRING = 4096  # bytes; longer strings are cut (gufo reads no longer datagram)
LONGEST_SHOWN_OID = 40  # arcs of an object identifier in a text
WHOLE_TREE = "1.3"  # every object that a device can have is below it
MAX_ARCS = 128  # of an object identifier (RFC 2578, 3.5); pysnmp takes seconds for one with thousands
MAX_NULL_ANSWERS = 3  # a walk ends after so many answers in a row without a value

BAD_LOGIN = "authentication refused: user, password, protocol or security level wrong"
BAD_COMMUNITY = "no answer; community wrong, or device down"
NO_V3 = "no answer; SNMPv3 not enabled there, or device down"
NO_V3_PRIVACY = "no answer; privacy password or protocol wrong, SNMPv3 not enabled there, or device down"
DEAD_PORT = "nothing listens there (ICMP port unreachable)"


class EngineBroken(NoAnswer):
    """The answer broke the engine itself; the other engine may be able to read it."""


class WalkRows(list[tuple[str, T]]):
    """The rows that a walk found, in order. `cut` says why they may not be all."""

    cut: Missing | None = None

    def each(self, change: Callable[[T], U]) -> "WalkRows[U]":
        """The same rows with other values."""
        made = WalkRows((name, change(value)) for name, value in self)
        made.cut = self.cut
        return made


class Reply(NamedTuple):
    """A device's answer; the requests that were needed to get it; and the objects for which the device sends an answer
    that makes no sense."""

    answer: dict[str, Raw]
    requests: tuple[tuple[str, ...], ...]
    unreadable: Mapping[str, Missing] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class SnmpLogin:
    """The address and the secrets in the clear. Kept only while a session is opened; its repr leaves out the
    secrets. `others` are further addresses of the same name."""

    host: str
    port: int
    timeout_s: float
    snmp: Snmp
    community: str = field(default="", repr=False)
    auth_password: str = field(default="", repr=False)
    priv_password: str = field(default="", repr=False)
    others: tuple[str, ...] = ()


class SnmpSession(Protocol):
    """The session to one device. Every request is one attempt within the login's timeout, and raises NoAnswer. `dialect`
    is what is known of the device; the probe may set another."""

    dialect: Dialect

    async def get_many(self, oids: Sequence[str]) -> dict[str, Raw]:
        """Get the objects. Those that the device does not have are left out; with SNMPv1, one of them empties the
        answer."""

    async def walk(self, base: str, rows: int = MAX_TABLE_ROWS) -> WalkRows[Raw]:
        """Return at most `rows` objects below `base`, in order."""

    async def next_object(self, after: str) -> tuple[str, Raw] | None:
        """Return the first object after `after`, wherever it is (GETNEXT); None at the end of all objects."""

    def close(self) -> None:
        """Close the socket."""


def is_malformed(nothing: NoAnswer) -> bool:
    """Whether an answer came that makes no sense, and the engine still works."""
    return nothing.missing.reason is Reason.MALFORMED and not isinstance(nothing, EngineBroken)


async def next_object(session: SnmpSession, after: str, retries: int) -> tuple[str, Raw] | None:
    """The first object after `after`, with retries. None at the end of all objects, and for an answer that makes no
    sense. Raises NoAnswer."""
    while True:
        try:
            return await session.next_object(after)
        except NoAnswer as nothing:
            if is_malformed(nothing):
                return None
            if retries <= 0 or isinstance(nothing, EngineBroken):
                raise
        retries -= 1


def short_oid(arcs: Sequence[int]) -> str:
    """An object identifier as text; only the beginning of a long one."""
    return ".".join(map(str, arcs[:LONGEST_SHOWN_OID])) + (" ..." if len(arcs) > LONGEST_SHOWN_OID else "")


def no_answer(login: SnmpLogin) -> NoAnswer:
    """The failure if no answer came. A device also stays silent if community, user or protocol is wrong."""
    if login.snmp.version is not SnmpVersion.V3:
        return NoAnswer(Reason.TIMEOUT, BAD_COMMUNITY)
    return NoAnswer(Reason.TIMEOUT, NO_V3_PRIVACY if login.snmp.priv else NO_V3)


def other_sender(address: str, port: int) -> str:
    """The text of a failure if only another address answers."""
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return (
        f"no answer from there, but one from {where}; if that is the same device, write `answers_from: {address}`"
        " under `snmp`"
    )


async def resolve_host(host: str, port: int, timeout_s: float) -> tuple[str, ...]:
    """The addresses of a host, as text. Raises NoAnswer if the name is not known in time."""
    try:
        return (str(ipaddress.ip_address(host)),)
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        raise NoAnswer(Reason.UNREACHABLE, f"the name {host} is not known to the resolver") from None
    return tuple(dict.fromkeys(str(one[4][0]) for one in found))
