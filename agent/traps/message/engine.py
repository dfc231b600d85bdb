"""Discovery of SNMPv3 engines, which must come before any trap or inform can be authenticated (RFC 3414, 4)."""

import asyncio
import secrets
import socket

from watchkeeper.agent.snmpv3 import ber
from watchkeeper.agent.snmpv3.ber import Undecodable
from watchkeeper.agent.snmpv3.message import UsmMessage, open_message
from watchkeeper.agent.snmpv3.pdu import REPORT
from watchkeeper.agent.snmpv3.remote import discovery
from watchkeeper.agent.snmpv3.usm import EngineTime, Keys, build_message

_COUNTER = 0x41  # RFC 3416, 3
_RECEIVE_BYTES = 65_535


def build_report(at: EngineTime, message: UsmMessage, keys: Keys, about: str, count: int) -> bytes:
    """A report for a message that cannot be accepted as it is: it tells the sender our engine id and time. `about` is
    the statistics object (OID) that was counted, `count` its value."""
    listed = ber.tlv(ber.SEQUENCE, ber.oid(about), ber.integer(count, _COUNTER))
    pdu = ber.tlv(REPORT, ber.integer(0), ber.integer(0), ber.integer(0), ber.tlv(ber.SEQUENCE, listed))
    scoped = ber.tlv(ber.SEQUENCE, ber.octets(at.engine), ber.octets(b""), pdu)
    return build_message(at, message.msg_id, message.user, keys, scoped)


async def engine_of(host: str, port: int, timeout_s: float, retries: int) -> bytes:
    """Ask the engine at an address for its engine id. Empty if none answers in time."""
    msg_id = secrets.randbelow(2**31)
    question = discovery(msg_id).whole
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as opened:
        for _ in range(retries + 1):
            try:
                async with asyncio.timeout(timeout_s):
                    await loop.sock_connect(opened, (host, port))
                    await loop.sock_sendall(opened, question)
                    return await _answering_engine(opened, msg_id)
            except OSError:  # also TimeoutError
                continue
    return b""


async def _answering_engine(opened: socket.socket, msg_id: int) -> bytes:
    while True:
        datagram = await asyncio.get_running_loop().sock_recv(opened, _RECEIVE_BYTES)
        try:
            message = open_message(datagram)
        except Undecodable:
            continue
        if isinstance(message, UsmMessage) and message.msg_id == msg_id and message.engine:
            return message.engine
