"""Asks who answers at all: every address of a name, in SNMPv1 and v2c if the login has a community, on a socket that also
receives what another address sends."""

import asyncio
import contextlib
import ipaddress
import secrets
import socket
from collections.abc import Iterable
from typing import Any, NamedTuple

from watchkeeper.agent.probes.snmp.dialect.requests import SYS_UPTIME
from watchkeeper.agent.probes.snmp.engine import SnmpLogin
from watchkeeper.agent.snmpv3 import ber
from watchkeeper.agent.snmpv3.ber import Undecodable
from watchkeeper.agent.snmpv3.message import CommunityMessage, UsmMessage, open_message
from watchkeeper.agent.snmpv3.remote import discovery
from watchkeeper.model.device import SnmpVersion

_GETNEXT, _RESPONSE = 0xA1, 0xA2  # RFC 3416, 3
_ON_THE_WIRE = {SnmpVersion.V1: 0, SnmpVersion.V2C: 1}  # RFC 3584, 4.2


class HailAnswer(NamedTuple):
    """An answer: which address was asked, in which version, and which address and port answered."""

    address: str
    version: SnmpVersion
    sender: str
    port: int


def same_address(one: str, other: str) -> bool:
    """Whether two texts mean the same IP address."""
    return ipaddress.ip_address(one.partition("%")[0]) == ipaddress.ip_address(other.partition("%")[0])


async def hail(login: SnmpLogin, addresses: Iterable[str]) -> HailAnswer | None:
    """Ask all addresses at once: for their uptime in SNMPv1 and v2c, or which SNMPv3 engine is there. Returns the best
    answer that comes within the timeout: one in the login's version, from an address that was asked. None: no answer."""
    versions = (SnmpVersion.V3,) if login.snmp.version is SnmpVersion.V3 else _ON_THE_WIRE
    loop = asyncio.get_running_loop()
    protocol = _Hailing(login)
    opened: dict[int, asyncio.DatagramTransport] = {}
    try:
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with contextlib.suppress(OSError):  # a machine without IPv6, say
                if family not in opened:
                    local = "::" if family == socket.AF_INET6 else "0.0.0.0"
                    opened[family], _ = await loop.create_datagram_endpoint(lambda: protocol, (local, 0), family=family)
                for version in versions:
                    opened[family].sendto(protocol.request(address, version), (address, login.port))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(login.timeout_s):
                await protocol.enough.wait()
    finally:
        for transport in opened.values():
            transport.close()
    return min(protocol.heard, key=protocol.rank, default=None)


class _Hailing(asyncio.DatagramProtocol):
    """The requests of one hail, and the answers to them."""

    def __init__(self, login: SnmpLogin) -> None:
        self._login = login
        self._asked: dict[int, tuple[str, SnmpVersion]] = {}
        self.heard: list[HailAnswer] = []
        self.enough = asyncio.Event()

    def request(self, address: str, version: SnmpVersion) -> bytes:
        """GETNEXT for the uptime; in SNMPv3, the question for the engine (RFC 3414, 4)."""
        number = secrets.randbits(31)
        self._asked[number] = address, version
        if version is SnmpVersion.V3:
            return discovery(number).whole
        wanted = ber.tlv(ber.SEQUENCE, ber.oid(SYS_UPTIME), ber.tlv(ber.NULL))
        pdu = ber.tlv(_GETNEXT, ber.integer(number), ber.integer(0), ber.integer(0), ber.tlv(ber.SEQUENCE, wanted))
        community = ber.octets(self._login.community.encode())
        return ber.tlv(ber.SEQUENCE, ber.integer(_ON_THE_WIRE[version]), community, pdu)

    def rank(self, heard: HailAnswer) -> tuple[bool, bool, int]:
        """The best answer first: in the login's version, from the address that was asked, first in the name's order."""
        order = [address for address, _ in self._asked.values()]
        return (
            heard.version is not self._login.snmp.version,
            not same_address(heard.sender, heard.address),
            order.index(heard.address),
        )

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Implements `asyncio.DatagramProtocol`."""
        with contextlib.suppress(Undecodable):
            asked = self._question(open_message(data))
            if asked:
                self.heard.append(HailAnswer(*asked, addr[0], addr[1]))
                if self.rank(self.heard[-1])[:2] == (False, False):
                    self.enough.set()

    def _question(self, message: CommunityMessage | UsmMessage) -> tuple[str, SnmpVersion] | None:
        """The address that was asked, and the version, if the message is an answer."""
        if isinstance(message, UsmMessage):
            return self._asked.get(message.msg_id)
        tag, inner = message.pdu().next()
        asked = self._asked.get(inner.integer()) if tag == _RESPONSE else None
        return asked if asked and message.version == _ON_THE_WIRE.get(asked[1]) else None

    def error_received(self, exc: Exception) -> None:
        """Implements `asyncio.DatagramProtocol`. One address that is unreachable says nothing about the others."""
