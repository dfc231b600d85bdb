"""What passes between engines before any trap or inform can be believed: whose engine is whose (RFC 3414, 4)."""

import asyncio
import secrets
import socket

from watchkeeper.agent.traps.message import ber
from watchkeeper.agent.traps.message.ber import Undecodable
from watchkeeper.agent.traps.message.decode import UsmMessage, open_message
from watchkeeper.agent.traps.message.usm import Keys, LocalEngine, build_message

UNKNOWN_ENGINE = "1.3.6.1.6.3.15.1.1.4.0"  # usmStatsUnknownEngineIDs.0
NOT_IN_WINDOW = "1.3.6.1.6.3.15.1.1.2.0"  # usmStatsNotInTimeWindows.0
_GET, _REPORT, _COUNTER = 0xA0, 0xA8, 0x41  # RFC 3416, 3
_NOBODY = LocalEngine(b"", 0, 0)
_LARGEST = 65_535


def build_report(here: LocalEngine, message: UsmMessage, keys: Keys, about: str, count: int) -> bytes:
    """Our answer to a message that cannot be taken as it is: by it the sender learns our engine id and time. `count` is how
    many of these there were."""
    listed = ber.tlv(ber.SEQUENCE, ber.oid(about), ber.integer(count, _COUNTER))
    return build_message(here, message.msg_id, message.user, keys, _scoped(here.engine, _REPORT, listed))


def _scoped(engine: bytes, tag: int, *listed: bytes) -> bytes:
    pdu = ber.tlv(tag, ber.integer(0), ber.integer(0), ber.integer(0), ber.tlv(ber.SEQUENCE, *listed))
    return ber.tlv(ber.SEQUENCE, ber.octets(engine), ber.octets(b""), pdu)


async def engine_of(host: str, port: int, timeout_s: float, retries: int) -> bytes:
    """The id of the engine that answers at an address, asked of itself; empty where none answers in time."""
    msg_id = secrets.randbelow(2**31)
    question = build_message(_NOBODY, msg_id, b"", Keys(), _scoped(b"", _GET), reportable=True)
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as asking:
        for _ in range(retries + 1):
            try:
                async with asyncio.timeout(timeout_s):
                    await loop.sock_connect(asking, (host, port))
                    await loop.sock_sendall(asking, question)
                    return await _answered(asking, msg_id)
            except OSError:  # with TimeoutError among them
                continue
    return b""


async def _answered(asking: socket.socket, msg_id: int) -> bytes:
    while True:
        datagram = await asyncio.get_running_loop().sock_recv(asking, _LARGEST)
        try:
            message = open_message(datagram)
        except Undecodable:
            continue
        if isinstance(message, UsmMessage) and message.msg_id == msg_id and message.engine:
            return message.engine
