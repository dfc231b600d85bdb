"""What both SNMP engines look like from outside, and what is the same for both: asking again, splitting, guarded walks.

Inside the probe a request that brings nothing raises NoAnswer; at the probe's door it becomes Missing.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agent.profiles.decode import Raw
from model.device import Snmp, SnmpVersion
from model.reading import Missing, Reason

PORT = 161
ROWS = 1024  # a table longer than that is a device gone wrong
WALK_TIMEOUTS = 10  # a walk may take so many times the timeout of one request

BAD_LOGIN = "authentication refused: user, password, protocol or security level wrong"
BAD_COMMUNITY = "no answer; community wrong, or device down"
NO_V3 = "no answer; SNMPv3 not enabled there, or device down"
NO_V3_PRIVACY = "no answer; privacy password or protocol wrong, SNMPv3 not enabled there, or device down"
DEAD_PORT = "nothing listens there (ICMP port unreachable)"


class NoAnswer(Exception):
    """A request brought nothing; `missing` says why, and never carries a secret."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.missing = Missing(reason, detail)
        super().__init__(detail)


@dataclass(frozen=True, slots=True)
class Login:
    """Where to ask, and with which secrets in the clear. Lives only while a session is opened; never shows itself."""

    host: str
    port: int
    timeout_s: float
    snmp: Snmp
    community: str = field(default="", repr=False)
    auth_password: str = field(default="", repr=False)
    priv_password: str = field(default="", repr=False)


class Session(Protocol):
    """One device's session. Every call is one attempt within the login's timeout, and raises NoAnswer."""

    async def get_many(self, oids: Sequence[str]) -> dict[str, Raw]:
        """Ask for the objects; those the device does not have are left out (with SNMPv1, one of them empties all)."""

    async def walk(self, base: str) -> list[tuple[str, Raw]]:
        """Return every object below `base`, in order."""

    def close(self) -> None:
        """Let go of the socket."""


async def ask(session: Session, oids: Sequence[str], version: SnmpVersion, retries: int) -> dict[str, Raw]:
    """Get the objects, asking again where nothing came, and in halves where one of them spoils the answer: in SNMPv1 a
    missing one (RFC 1157, 4.1.2), in the others an answer too big or refused as a whole."""
    answer = await patiently(session, oids, retries)
    holes = len(answer) < len(oids)
    if len(oids) > 1 and holes and (version is SnmpVersion.V1 or not answer):
        middle = len(oids) // 2
        return {
            **await ask(session, oids[:middle], version, retries),
            **await ask(session, oids[middle:], version, retries),
        }
    return answer


async def patiently(session: Session, oids: Sequence[str], retries: int) -> dict[str, Raw]:
    """One request, repeated `retries` times. A refusal is worth one more try: by it a device that restarted tells the
    engine its new time (RFC 3414, 3.2.7)."""
    refused = False
    while True:
        try:
            return await session.get_many(oids)
        except NoAnswer as nothing:
            if nothing.missing.reason is Reason.REFUSED and not refused:
                refused = True
            elif retries > 0:
                retries -= 1
            else:
                raise


async def table(session: Session, base: str, retries: int) -> list[tuple[str, Raw]]:
    """Walk a table, from the start again where nothing came."""
    for _ in range(retries):
        try:
            return await session.walk(base)
        except NoAnswer:
            continue
    return await session.walk(base)


async def guarded(rows: AsyncIterator[tuple[str, Raw]], base: str, timeout_s: float) -> list[tuple[str, Raw]]:
    """Collect the rows below `base`, each within the timeout, and stop where a device counts without end, goes
    backwards, or takes its time. Raises TimeoutError where nothing comes."""
    found: list[tuple[str, Raw]] = []
    last: tuple[int, ...] = ()
    clock = asyncio.get_running_loop().time
    deadline = clock() + WALK_TIMEOUTS * timeout_s
    while len(found) < ROWS and clock() < deadline:
        async with asyncio.timeout(timeout_s):
            row = await anext(rows, None)
        if row is None or not row[0].startswith(base + "."):
            break
        place = tuple(map(int, row[0].split(".")))
        if place <= last:
            break
        found.append(row)
        last = place
    return found


def silence(login: Login) -> NoAnswer:
    """What it means that nothing came: a device does not say that it was asked in the wrong way."""
    if login.snmp.version is not SnmpVersion.V3:
        return NoAnswer(Reason.TIMEOUT, BAD_COMMUNITY)
    return NoAnswer(Reason.TIMEOUT, NO_V3_PRIVACY if login.snmp.priv else NO_V3)


def host_and_port(address: str) -> tuple[str, int]:
    """`10.0.0.7`, `10.0.0.7:1161`, `ups.room`, `[fe80::1]:161` or `fe80::1`."""
    host, colon, port = address.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        host, port = address, str(PORT)
    return host.strip("[]"), int(port)


async def resolve(host: str, port: int, timeout_s: float) -> str:
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
