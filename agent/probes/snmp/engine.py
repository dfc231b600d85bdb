"""What both SNMP engines look like from outside, and what is the same for both: asking again, splitting, guarded walks.

Inside the probe a request that brings nothing raises NoAnswer; at the probe's door it becomes Missing. A device may answer
anything at all: what is kept of it is bounded here (rows) and in the engines (bytes).
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
MAX_TABLE_ROWS = 4096  # a table longer than that is a device gone wrong
WALK_TIMEOUTS = 10  # a walk may take so many times the timeout of one request
LONGEST_STRING = 4096  # bytes; what is longer is cut (gufo takes no datagram longer than that)
LONGEST_PLACE = 40
MAX_ARCS = 128  # of an object identifier (RFC 2578, 3.5); to ask for one of thousands takes pysnmp seconds
MAX_NULL_ANSWERS = 3  # a walk ends where so many answers in a row hold no value

BAD_LOGIN = "authentication refused: user, password, protocol or security level wrong"
BAD_COMMUNITY = "no answer; community wrong, or device down"
NO_V3 = "no answer; SNMPv3 not enabled there, or device down"
NO_V3_PRIVACY = "no answer; privacy password or protocol wrong, SNMPv3 not enabled there, or device down"
DEAD_PORT = "nothing listens there (ICMP port unreachable)"


class EngineBroken(NoAnswer):
    """The answer broke the engine itself; the other engine may take it."""


class WalkRows(list[tuple[str, T]]):
    """What a walk found, in order. `cut` says why that may not be all."""

    cut: Missing | None = None

    def each(self, change: Callable[[T], U]) -> "WalkRows[U]":
        """The same rows with other values."""
        made = WalkRows((name, change(value)) for name, value in self)
        made.cut = self.cut
        return made


class Reply(NamedTuple):
    """What a device told: its `answer`, the `requests` that it took to get it, and the objects that it cannot be asked for
    without an answer that makes no sense."""

    answer: dict[str, Raw]
    requests: tuple[tuple[str, ...], ...]
    spoilt: Mapping[str, Missing] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class SnmpLogin:
    """Where to ask, and with which secrets in the clear. Lives only while a session is opened; never shows itself."""

    host: str
    port: int
    timeout_s: float
    snmp: Snmp
    community: str = field(default="", repr=False)
    auth_password: str = field(default="", repr=False)
    priv_password: str = field(default="", repr=False)


class SnmpSession(Protocol):
    """One device's session. Every call is one attempt within the login's timeout, and raises NoAnswer."""

    async def get_many(self, oids: Sequence[str]) -> dict[str, Raw]:
        """Ask for the objects; those the device does not have are left out (with SNMPv1, one of them empties all)."""

    async def walk(self, base: str, rows: int = MAX_TABLE_ROWS) -> WalkRows[Raw]:
        """Return the objects below `base`, in order, at most so many."""

    def close(self) -> None:
        """Let go of the socket."""


async def get_objects(session: SnmpSession, oids: Sequence[str], version: SnmpVersion, retries: int) -> Reply:
    """Get the objects, asking again where nothing came, and in halves where one of them spoils the answer: in SNMPv1 a
    missing one (RFC 1157, 4.1.2), in the others an answer too big or refused as a whole, in all of them one that is not
    SNMP. Whoever asks in the `requests` of the answer next time need not find that out again."""
    request = tuple(oids)
    spoilt = False
    answer: dict[str, Raw] = {}
    try:
        answer = await get_with_retries(session, oids, retries)
    except NoAnswer as nothing:
        if not _is_spoilt(nothing):
            raise
        if len(oids) == 1:
            return Reply({}, (request,), {oids[0]: nothing.missing})
        spoilt = True
    if len(answer) != len(request):
        answer = {oid: answer[oid] for oid in request if oid in answer}
        if len(request) > 1 and (version is SnmpVersion.V1 or spoilt or not answer):
            middle = len(request) // 2
            first = await get_objects(session, request[:middle], version, retries)
            second = await get_objects(session, request[middle:], version, retries)
            return Reply(
                first.answer | second.answer, first.requests + second.requests, {**first.spoilt, **second.spoilt}
            )
    return Reply(answer, (request,))


def _is_spoilt(nothing: NoAnswer) -> bool:
    """Whether something came that makes no sense, and the engine can go on."""
    return nothing.missing.reason is Reason.MALFORMED and not isinstance(nothing, EngineBroken)


async def get_with_retries(session: SnmpSession, oids: Sequence[str], retries: int) -> dict[str, Raw]:
    """One request, repeated `retries` times where nothing comes. A refusal is worth one more try: by it a device that
    restarted tells the engine its new time (RFC 3414, 3.2.7). An answer that makes no sense is worth none."""
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


async def walk_table(session: SnmpSession, base: str, retries: int, rows: int = MAX_TABLE_ROWS) -> WalkRows[Raw]:
    """Walk a table, from the start again where something did not come. One that makes no sense comes out empty and `cut`."""
    while True:
        try:
            found = await session.walk(base, rows)
            if retries <= 0 or found.cut is None or found.cut.reason is not Reason.TIMEOUT:
                return found
        except NoAnswer as nothing:
            if _is_spoilt(nothing):
                empty: WalkRows[Raw] = WalkRows()
                empty.cut = nothing.missing
                return empty
            if retries <= 0 or isinstance(nothing, EngineBroken):
                raise
        retries -= 1


async def collect_walk(
    rows: AsyncIterator[tuple[str, T]], base: str, timeout_s: float, most: int = MAX_TABLE_ROWS
) -> WalkRows[T]:
    """Collect the rows below `base`, each within the timeout, and stop where a device counts without end, goes
    backwards, or takes its time. Raises TimeoutError where nothing comes at all."""
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
            found.cut = Missing(Reason.TIMEOUT, f"the device falls silent after {_shown(last)}")
            return found
        if row is None or not row[0].startswith(base + "."):
            return found
        place = tuple(map(int, row[0].split(".")))
        if len(place) > MAX_ARCS:
            found.cut = Missing(Reason.MALFORMED, f"{_shown(place)} is no object identifier")
            return found
        if place <= last:
            found.cut = Missing(Reason.MALFORMED, f"the table goes backwards after {_shown(last)}")
            return found
        found.append(row)
        last = place
        if clock() > deadline:
            found.cut = Missing(Reason.MALFORMED, f"the table is not through after {limit_s:g} s")
            return found
    if most >= MAX_TABLE_ROWS:
        found.cut = Missing(Reason.MALFORMED, f"the table has more than {most} rows")
    return found


def _shown(place: Sequence[int]) -> str:
    """An object identifier for a person: of a long one, which nobody reads, only the beginning."""
    return ".".join(map(str, place[:LONGEST_PLACE])) + (" ..." if len(place) > LONGEST_PLACE else "")


def no_answer(login: SnmpLogin) -> NoAnswer:
    """What it means that nothing came: a device does not say that it was asked in the wrong way."""
    if login.snmp.version is not SnmpVersion.V3:
        return NoAnswer(Reason.TIMEOUT, BAD_COMMUNITY)
    return NoAnswer(Reason.TIMEOUT, NO_V3_PRIVACY if login.snmp.priv else NO_V3)


async def resolve_host(host: str, port: int, timeout_s: float) -> str:
    """The address of a host, as text. Raises NoAnswer where the name is not known in time."""
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
