"""The port of both SNMP engines, and what they share: retries, splitting of requests, and bounded walks.

A request that fails raises NoAnswer; the probe turns it into Missing. A device may answer anything, so the size of what
is kept is bounded: rows here, bytes in the engines.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeVar

from watchkeeper.agent.ports import NoAnswer
from watchkeeper.model.device import Snmp, SnmpVersion
from watchkeeper.model.reading import Missing, Reason
from watchkeeper.profiles.decode import Raw

T = TypeVar("T")
U = TypeVar("U")

SNMP_PORT = 161
MAX_TABLE_ROWS = 4096  # a longer table is a fault of the device
WALK_TIMEOUTS = 10  # a walk may take ten times the timeout of one request
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
    secrets."""

    host: str
    port: int
    timeout_s: float
    snmp: Snmp
    community: str = field(default="", repr=False)
    auth_password: str = field(default="", repr=False)
    priv_password: str = field(default="", repr=False)


class SnmpSession(Protocol):
    """The session to one device. Every call is one attempt within the login's timeout, and raises NoAnswer."""

    async def get_many(self, oids: Sequence[str]) -> dict[str, Raw]:
        """Get the objects. Those that the device does not have are left out; with SNMPv1, one of them empties the
        answer."""

    async def walk(self, base: str, rows: int = MAX_TABLE_ROWS) -> WalkRows[Raw]:
        """Return at most `rows` objects below `base`, in order."""

    async def next_object(self, after: str) -> tuple[str, Raw] | None:
        """Return the first object after `after`, wherever it is (GETNEXT); None at the end of all objects."""

    def close(self) -> None:
        """Close the socket."""


async def get_objects(session: SnmpSession, oids: Sequence[str], version: SnmpVersion, retries: int) -> Reply:
    """Get the objects, with retries. If one object makes the whole answer unusable, the request is split in halves. In
    SNMPv1 a missing object does that (RFC 1157, 4.1.2); in v2c and v3 an answer that is too big or refused as a whole;
    in all versions an answer that is not SNMP. The reply's `requests` are the parts that worked: use them next time."""
    request = tuple(oids)
    malformed = False
    answer: dict[str, Raw] = {}
    try:
        answer = await get_with_retries(session, oids, retries)
    except NoAnswer as nothing:
        if not _is_malformed(nothing):
            raise
        if len(oids) == 1:
            return Reply({}, (request,), {oids[0]: nothing.missing})
        malformed = True
    if len(answer) != len(request):
        answer = {oid: answer[oid] for oid in request if oid in answer}
        if len(request) > 1 and (version is SnmpVersion.V1 or malformed or not answer):
            middle = len(request) // 2
            first = await get_objects(session, request[:middle], version, retries)
            second = await get_objects(session, request[middle:], version, retries)
            return Reply(
                first.answer | second.answer,
                first.requests + second.requests,
                {**first.unreadable, **second.unreadable},
            )
    return Reply(answer, (request,))


def _is_malformed(nothing: NoAnswer) -> bool:
    """Whether an answer came that makes no sense, and the engine still works."""
    return nothing.missing.reason is Reason.MALFORMED and not isinstance(nothing, EngineBroken)


async def get_with_retries(session: SnmpSession, oids: Sequence[str], retries: int) -> dict[str, Raw]:
    """Send one request, and repeat it `retries` times if no answer comes. After a refusal it is sent once more: with
    the refusal, a device that restarted tells the engine its new time (RFC 3414, 3.2.7). After an answer that makes no
    sense it is not repeated."""
    refused = False
    while True:
        try:
            return await session.get_many(oids)
        except NoAnswer as nothing:
            if nothing.missing.reason is Reason.REFUSED and not refused:
                refused = True
            elif retries > 0 and nothing.missing.reason is not Reason.MALFORMED:
                retries -= 1
            else:
                raise


async def next_object(session: SnmpSession, after: str, retries: int) -> tuple[str, Raw] | None:
    """The first object after `after`, with retries. None at the end of all objects, and for an answer that makes no
    sense. Raises NoAnswer."""
    while True:
        try:
            return await session.next_object(after)
        except NoAnswer as nothing:
            if _is_malformed(nothing):
                return None
            if retries <= 0 or isinstance(nothing, EngineBroken):
                raise
        retries -= 1


async def walk_table(session: SnmpSession, base: str, retries: int, rows: int = MAX_TABLE_ROWS) -> WalkRows[Raw]:
    """Walk a table, and start again if an answer did not come. A table that makes no sense is returned empty and
    `cut`."""
    while True:
        try:
            found = await session.walk(base, rows)
            if retries <= 0 or found.cut is None or found.cut.reason is not Reason.TIMEOUT:
                return found
        except NoAnswer as nothing:
            if _is_malformed(nothing):
                empty: WalkRows[Raw] = WalkRows()
                empty.cut = nothing.missing
                return empty
            if retries <= 0 or isinstance(nothing, EngineBroken):
                raise
        retries -= 1


async def collect_walk(
    rows: AsyncIterator[tuple[str, T]], base: str, timeout_s: float, most: int = MAX_TABLE_ROWS
) -> WalkRows[T]:
    """Collect the rows below `base`, each within the timeout. Stops at a device that lists rows without end, goes
    backwards, or is too slow. Raises TimeoutError if no row comes at all."""
    found: WalkRows[T] = WalkRows()
    last: tuple[int, ...] = ()
    clock = asyncio.get_running_loop().time
    limit_s = WALK_TIMEOUTS * timeout_s * max(1, most / MAX_TABLE_ROWS)
    deadline = clock() + limit_s
    while len(found) < most:
        try:
            async with asyncio.timeout(timeout_s):
                row = await anext(rows, None)
        except (TimeoutError, NoAnswer) as nothing:
            if not found or (isinstance(nothing, NoAnswer) and nothing.missing.reason is not Reason.TIMEOUT):
                raise
            found.cut = Missing(Reason.TIMEOUT, f"the device stops answering after {_short_oid(last)}")
            return found
        if row is None or not row[0].startswith(base + "."):
            return found
        arcs = tuple(map(int, row[0].split(".")))
        if len(arcs) > MAX_ARCS:
            found.cut = Missing(Reason.MALFORMED, f"{_short_oid(arcs)} is no object identifier")
            return found
        if arcs <= last:
            found.cut = Missing(Reason.MALFORMED, f"the table goes backwards after {_short_oid(last)}")
            return found
        found.append(row)
        last = arcs
        if clock() > deadline:
            found.cut = Missing(Reason.MALFORMED, f"the table is not at its end after {limit_s:g} s")
            return found
    if most >= MAX_TABLE_ROWS:
        found.cut = Missing(Reason.MALFORMED, f"the table has more than {most} rows")
    return found


def _short_oid(arcs: Sequence[int]) -> str:
    """An object identifier as text; only the beginning of a long one."""
    return ".".join(map(str, arcs[:LONGEST_SHOWN_OID])) + (" ..." if len(arcs) > LONGEST_SHOWN_OID else "")


def no_answer(login: SnmpLogin) -> NoAnswer:
    """The failure if no answer came. A device also stays silent if community, user or protocol is wrong."""
    if login.snmp.version is not SnmpVersion.V3:
        return NoAnswer(Reason.TIMEOUT, BAD_COMMUNITY)
    return NoAnswer(Reason.TIMEOUT, NO_V3_PRIVACY if login.snmp.priv else NO_V3)


async def resolve_host(host: str, port: int, timeout_s: float) -> str:
    """The address of a host, as text. Raises NoAnswer if the name is not known in time."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        raise NoAnswer(Reason.UNREACHABLE, f"the name {host} is not known to the resolver") from None
    return str(found[0][4][0])
