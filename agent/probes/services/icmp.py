"""The ICMP probe: echos (RFC 792; RFC 4443, 4) to many devices by one socket an address family.

Linux gives unprivileged processes ICMP datagram sockets where the group is in net.ipv4.ping_group_range; else a raw
socket does, which needs CAP_NET_RAW.
"""

import asyncio
import errno
import itertools
import os
import socket
import struct
from collections.abc import Callable, Iterator
from statistics import fmean

from watchkeeper.agent.ports import ProbeContext
from watchkeeper.agent.probes.services.check import CheckFailed, Columns, SocketAddress, endpoint, look_up
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device
from watchkeeper.model.reading import Missing, Reason, Sweep, Value

ECHOS = 3  # a sweep
REQUEST = {socket.AF_INET: 8, socket.AF_INET6: 128}
REPLY = {socket.AF_INET: 0, socket.AF_INET6: 129}
HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence number
NOT_ALLOWED = "the kernel lets this agent send no echo: set net.ipv4.ping_group_range to include its group, or give it CAP_NET_RAW"
_BUFFER_BYTES = 1 << 20  # the replies of all devices, should they come at once

SocketOpener = Callable[[socket.AddressFamily], socket.socket]


def checksum(packet: bytes) -> int:
    """RFC 1071: the complement of the one's complement sum of 16-bit words."""
    total: int = sum(struct.unpack(f"!{(len(packet) + 1) // 2}H", packet + b"\0" * (len(packet) % 2)))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def request(family: socket.AddressFamily, number: int, token: bytes) -> bytes:
    """An echo request. For ICMPv6 the kernel adds the checksum (RFC 3542, 3.1); a datagram socket sets the identifier."""
    identifier = token[0] << 8 | token[1]
    bare = HEADER.pack(REQUEST[family], 0, 0, identifier, number) + token
    return HEADER.pack(REQUEST[family], 0, checksum(bare), identifier, number) + token


def reply_to(packet: bytes, family: socket.AddressFamily, kind: int, token: bytes) -> int | None:
    """The number of the request of ours that this answers, None where it is something else. The token tells: a raw socket
    hears what is meant for others, too."""
    if family == socket.AF_INET and kind == socket.SOCK_RAW and packet:
        packet = packet[4 * (packet[0] & 0x0F) :]  # behind the IP header (RFC 791, 3.1)
    if len(packet) < HEADER.size or packet[HEADER.size :] != token:
        return None
    what, _, _, _, number = HEADER.unpack_from(packet)
    return int(number) if what == REPLY[family] else None


def open_socket(family: socket.AddressFamily) -> socket.socket:
    """A socket for echos. Raises Unwell where the kernel gives none."""
    protocol = socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            line = socket.socket(family, kind, protocol)
        except PermissionError:
            continue
        except OSError as error:
            raise CheckFailed(Reason.UNREACHABLE, f"no way there: {error.strerror}") from None
        line.settimeout(0)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        return line
    raise CheckFailed(Reason.REFUSED, NOT_ALLOWED)


class IcmpProbe:
    """See `agent.ports.Probe`. All calls come from one event loop."""

    def __init__(self, clock: Clock, opener: SocketOpener = open_socket) -> None:
        self._clock = clock
        self._opener = opener
        self._columns = Columns()
        self._lines: dict[socket.AddressFamily, socket.socket] = {}
        self._token = os.urandom(48)
        self._numbers = itertools.cycle(range(1 << 16))
        self._awaited: dict[tuple[int, str], asyncio.Future[float]] = {}  # when it came, by number and address

    async def sweep(self, device: Device) -> Sweep:
        """See `Probe.sweep`. `retries` say nothing here: three echos are sent as it is."""
        series = self._columns.of(device, ("packet.loss", "", "ICMP echo"), ("response.time", "", "ICMP echo"))
        values: tuple[Value, Value]
        try:
            times = await self._echos(device)
        except CheckFailed as trouble:
            times, values = [], (trouble.missing, trouble.missing)
        else:
            silence = Missing(Reason.TIMEOUT, f"none of {ECHOS} echos came back within {device.timeout_s:g} s")
            values = (100 * (1 - len(times) / ECHOS), fmean(times)) if times else (silence, silence)
        return Sweep(device.device, self._clock.boot(), series, ("yes" if times else "no", *values))

    async def forget(self, device: str) -> None:
        """See `Probe.forget`."""
        self._columns.forget(device)

    async def close(self) -> None:
        """See `Probe.close`."""
        for line in self._lines.values():
            asyncio.get_running_loop().remove_reader(line)
            line.close()
        self._lines.clear()

    async def _echos(self, device: Device) -> list[float]:
        """How long each echo took that came back, in seconds. They are sent within the first half of the timeout, so that
        one short trouble does not swallow all. Raises Unwell."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + device.timeout_s
        host, _ = endpoint(device, 1)
        try:
            async with asyncio.timeout_at(deadline):
                family, place = (await look_up(host, 0, socket.SOCK_DGRAM))[0]
        except TimeoutError:
            raise CheckFailed(
                Reason.TIMEOUT, f"the resolver does not tell {host} within {device.timeout_s:g} s"
            ) from None
        line = self._line(family)
        sent: dict[tuple[int, str], tuple[float, asyncio.Future[float]]] = {}
        try:
            for nth in range(ECHOS):
                await asyncio.sleep(device.timeout_s / 2 / ECHOS if nth else 0)
                key = next(self._numbers), _bare(place[0])
                future = self._awaited[key] = loop.create_future()
                sent[key] = self._clock.boot(), future
                self._send(line, key[0], place)
            futures = [future for _, future in sent.values()]
            await asyncio.wait(futures, timeout=max(0.0, deadline - loop.time()))
        finally:
            for key in sent:
                del self._awaited[key]
        return [future.result() - at for at, future in sent.values() if future.done()]

    def _send(self, line: socket.socket, number: int, place: SocketAddress) -> None:
        try:
            line.sendto(request(socket.AddressFamily(line.family), number, self._token), place)
        except BlockingIOError:
            pass  # the kernel's queue is full: an echo lost as any other
        except OSError as error:
            why = os.strerror(error.errno or errno.EHOSTUNREACH)
            raise CheckFailed(Reason.UNREACHABLE, f"no way there: {why}") from None

    def _line(self, family: socket.AddressFamily) -> socket.socket:
        line = self._lines.get(family)
        if line is None:
            line = self._lines[family] = self._opener(family)
            asyncio.get_running_loop().add_reader(line, self._hear, line)
        return line

    def _hear(self, line: socket.socket) -> None:
        for packet, host in _packets(line):
            number = reply_to(packet, socket.AddressFamily(line.family), line.type, self._token)
            future = self._awaited.get((number, _bare(host))) if number is not None else None
            if future is not None and not future.done():
                future.set_result(self._clock.boot())


def _packets(line: socket.socket) -> Iterator[tuple[bytes, str]]:
    """What waits in the socket, and from whom."""
    for _ in range(64):  # others want the loop as well
        try:
            packet, place = line.recvfrom(2048)
        except OSError:
            return
        yield packet, place[0]


def _bare(host: str) -> str:
    """The address without the name of the interface it is reached by."""
    return host.partition("%")[0]


def build(context: ProbeContext) -> IcmpProbe:
    """See `agent.ports.ProbeContext`."""
    return IcmpProbe(context.clock)
