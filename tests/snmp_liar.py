"""An SNMP responder for v1 and v2c that sends any bytes a test likes, well-formed or not; and sweeps of it."""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, NamedTuple

from watchkeeper.agent.probes.snmp.engine import SnmpSession
from watchkeeper.agent.probes.snmp.gufo_engine import GufoSession
from watchkeeper.agent.probes.snmp.opening import login_to
from watchkeeper.agent.probes.snmp.probe import SnmpProbe
from watchkeeper.agent.probes.snmp.pysnmp_engine import PysnmpSession
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.batch import Document
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device, Snmp, SnmpEngine, SnmpVersion
from watchkeeper.model.reading import Sweep, Value
from watchkeeper.profiles import Profiles, load_profiles

LARGEST = 65_507  # bytes of a UDP datagram
GET, GETNEXT, RESPONSE, GETBULK = 0xA0, 0xA1, 0xA2, 0xA5  # RFC 3416, 3
TOO_BIG, NO_SUCH_NAME = 1, 2
END_OF_VIEW, NO_SUCH_OBJECT, NULL = b"\x82\x00", b"\x80\x00", b"\x05\x00"

Responder = Callable[[bytes], Sequence[bytes]]
"""Returns the datagrams that answer a request."""


def tlv(tag: int, body: bytes) -> bytes:
    """Tag, length, value (X.690, 8.1)."""
    size = len(body)
    if size < 0x80:
        return bytes([tag, size]) + body
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + body


def integer(number: int, tag: int = 2) -> bytes:
    return tlv(tag, number.to_bytes((number.bit_length() + 8) // 8, "big", signed=True))


def text(what: bytes) -> bytes:
    return tlv(4, what)


def oid(name: str) -> bytes:
    first, second, *rest = map(int, name.split("."))
    body = bytearray([40 * first + second])
    for arc in rest:
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(arc & 0x7F | 0x80)
        body += bytes(reversed(septets))
    return tlv(6, bytes(body))


class Request(NamedTuple):
    """A parsed request."""

    version: int
    community: bytes
    kind: int
    request_id: int
    max_repetitions: int
    names: tuple[str, ...]


def parse_request(request: bytes) -> Request:
    _, message, _ = _open(request)
    _, version, message = _open(message)
    _, community, message = _open(message)
    kind, pdu, _ = _open(message)
    _, request_id, pdu = _open(pdu)
    _, _, pdu = _open(pdu)
    _, max_repetitions, pdu = _open(pdu)
    _, bindings, _ = _open(pdu)
    names = []
    while bindings:
        _, binding, bindings = _open(bindings)
        names.append(_name(_open(binding)[1]))
    number, repetitions = int.from_bytes(request_id, "big"), int.from_bytes(max_repetitions, "big")
    return Request(version[0], community, kind, number, repetitions, tuple(names))


def answer(request: bytes, rows: Sequence[tuple[str, bytes]], status: int = 0, off: int = 0) -> bytes:
    """A well-formed response with these encoded values, its request id off by `off`."""
    one = parse_request(request)
    bindings = b"".join(tlv(0x30, oid(name) + value) for name, value in rows)
    pdu = integer(one.request_id + off) + integer(status) + integer(0) + tlv(0x30, bindings)
    return tlv(0x30, integer(one.version) + text(one.community) + tlv(RESPONSE, pdu))


def agent(objects: Mapping[str, bytes], most: int = 1000) -> Responder:
    """A correct agent with these encoded values. It answers "too big" to a request for more than `most` objects."""
    names = sorted(objects, key=_arcs)
    sorted_arcs = [*map(_arcs, names)]

    def after(name: str, count: int) -> list[tuple[str, bytes]]:
        start = bisect_right(sorted_arcs, _arcs(name))
        found = [(one, objects[one]) for one in names[start : start + count]]
        return found if len(found) == count else [*found, (name, END_OF_VIEW)]

    def reply(request: bytes) -> list[bytes]:
        one = parse_request(request)
        if len(one.names) > most:
            return [answer(request, [], TOO_BIG)]
        if one.kind == GETBULK:
            found = after(one.names[0], one.max_repetitions)
            while len(whole := answer(request, found)) > LARGEST:
                found.pop()
            return [whole]
        if one.kind == GETNEXT:
            rows = after(one.names[0], 1)
        else:
            rows = [(name, objects.get(name, NO_SUCH_OBJECT)) for name in one.names]
        if one.version == 0 and any(value in (END_OF_VIEW, NO_SUCH_OBJECT) for _, value in rows):
            return [answer(request, [(name, NULL) for name in one.names], NO_SUCH_NAME)]
        return [answer(request, rows)]

    return reply


@asynccontextmanager
async def responding(reply: Responder, port: int = 0) -> AsyncIterator[str]:
    """Answer on a port of loopback (0: a free one); yields its address."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _UdpServer(reply), ("127.0.0.1", port))
    try:
        yield f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    finally:
        transport.close()


class _UdpServer(asyncio.DatagramProtocol):
    def __init__(self, reply: Responder) -> None:
        self.reply = reply

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if data:
            for datagram in self.reply(data):
                self.transport.sendto(datagram, addr)


def _open(octets: bytes) -> tuple[int, bytes, bytes]:
    """Tag and value of the first element, and the bytes after it."""
    size, start = octets[1], 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(octets[2:start], "big")
    return octets[0], octets[start : start + size], octets[start + size :]


def _name(body: bytes) -> str:
    arcs, arc = [body[0] // 40, body[0] % 40], 0
    for octet in body[1:]:
        arc = arc << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(arc)
            arc = 0
    return ".".join(map(str, arcs))


def _arcs(name: str) -> tuple[int, ...]:
    return tuple(map(int, name.split(".")))


UPS = "1.3.6.1.2.1.33.1."
COLUMN = f"{UPS}3.3.1.3"
OBJECTS = {
    "1.3.6.1.2.1.1.1.0": text(b"A UPS"),
    "1.3.6.1.2.1.1.2.0": oid("1.3.6.1.2.1.33"),
    "1.3.6.1.2.1.1.3.0": integer(360_000, 0x43),
    UPS + "2.4.0": integer(97),
    UPS + "2.5.0": integer(548),
    f"{COLUMN}.1": integer(231),
    f"{COLUMN}.2": integer(229),
}
BESIDE_VOLTAGE: dict[tuple[str, str, str], Value] = {
    ("device.answering", "", ""): "yes",
    ("uptime", "", ""): 3600.0,
    ("battery.charge", "", ""): 97.0,
    ("input.voltage", "1", "phase 1"): 231.0,
    ("input.voltage", "2", "phase 2"): 229.0,
}
"""The readings of OBJECTS without the battery's voltage."""
SYSTEM = ("1.3.6.1.2.1.1.1.0", "1.3.6.1.2.1.1.2.0")
SECRETS = Secrets(environ={"WATCHKEEPER_SECRET_C": "public"})


@cache
def profiles(*own: Document) -> Profiles:
    """The shipped profiles and these, loaded once."""
    return load_profiles(own)


def liar(
    address: str, engine: SnmpEngine, version: SnmpVersion = SnmpVersion.V2C, timeout_s: float = 0.15, **how: object
) -> Device:
    """A device at that address, read by the profile ups-mib."""
    snmp = Snmp(version, "c", engine=engine)
    how = {"profile": "ups-mib", "retries": 0} | how
    return Device("liar", "room", Category.UPS, "snmp", address, timeout_s=timeout_s, snmp=snmp, **how)  # type: ignore[arg-type]


def swept(  # noqa: PLR0917 -- short calls in tests
    reply: Responder,
    engine: SnmpEngine,
    version: SnmpVersion = SnmpVersion.V2C,
    timeout_s: float = 0.15,
    times: int = 1,
    own: Sequence[Document] = (),
    **how: object,
) -> list[Sweep]:
    """Sweep a device that answers by `reply`, `times` in a row."""

    async def run() -> list[Sweep]:
        probe = SnmpProbe(profiles(*own), SECRETS, FakeClock())
        async with responding(reply) as address:
            device = liar(address, engine, version, timeout_s, **how)
            try:
                return [await probe.sweep(device) for _ in range(times)]
            finally:
                await probe.close()

    return asyncio.run(run())


def readings_of(sweep: Sweep) -> dict[tuple[str, str, str], Value]:
    """(quantity, instance, label) -> value."""
    return {(one.series.quantity, one.series.instance, one.series.label): one.value for one in sweep.readings()}


async def opened(address: str, engine: SnmpEngine, version: SnmpVersion, timeout_s: float) -> SnmpSession:
    """A session to that address by that engine."""
    login = await login_to(liar(address, engine, version, timeout_s), SECRETS)
    return GufoSession(login) if engine is SnmpEngine.GUFO else PysnmpSession(login)
