"""The ICMP probe: sends echos (RFC 792; RFC 4443, 4) to many devices, by one socket for each address family.

Linux gives an unprivileged process an ICMP datagram socket if its group is in net.ipv4.ping_group_range. Otherwise the
probe opens a raw socket, which needs CAP_NET_RAW.
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
from watchkeeper.agent.probes.series import SeriesCache
from watchkeeper.agent.probes.services.check import CheckFailed, SocketAddress, endpoint, look_up
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device
from watchkeeper.model.reading import Missing, Reason, Sweep, Value

ECHOS = 3  # for each sweep
ECHO_REQUEST = {socket.AF_INET: 8, socket.AF_INET6: 128}
ECHO_REPLY = {socket.AF_INET: 0, socket.AF_INET6: 129}
ICMP_HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence number
NOT_ALLOWED = "the kernel lets this agent send no echo: set net.ipv4.ping_group_range to include its group, or give it CAP_NET_RAW"
_BUFFER_BYTES = 1 << 20  # room for the replies of all devices at once
_PACKETS_PER_TURN = 64  # then the event loop serves others

SocketOpener = Callable[[socket.AddressFamily], socket.socket]
"""Opens a socket for echos of that family. Raises CheckFailed."""


def checksum(packet: bytes) -> int:
    """The Internet checksum (RFC 1071): the complement of the one's complement sum of 16-bit words."""
    total: int = sum(struct.unpack(f"!{(len(packet) + 1) // 2}H", packet + b"\0" * (len(packet) % 2)))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def echo_request(family: socket.AddressFamily, number: int, token: bytes) -> bytes:
    """An echo request. For ICMPv6 the kernel adds the checksum (RFC 3542, 3.1); a datagram socket sets the
    identifier."""
    identifier = token[0] << 8 | token[1]
    unsummed = ICMP_HEADER.pack(ECHO_REQUEST[family], 0, 0, identifier, number) + token
    return ICMP_HEADER.pack(ECHO_REQUEST[family], 0, checksum(unsummed), identifier, number) + token


def answered_request(packet: bytes, family: socket.AddressFamily, kind: int, token: bytes) -> int | None:
    """The number of our request that the packet answers. None for any other packet: a raw socket also receives replies
    to other programs, which do not carry our token."""
    if family == socket.AF_INET and kind == socket.SOCK_RAW and packet:
        packet = packet[4 * (packet[0] & 0x0F) :]  # skip the IP header (RFC 791, 3.1)
    if len(packet) < ICMP_HEADER.size or packet[ICMP_HEADER.size :] != token:
        return None
    message_type, _, _, _, number = ICMP_HEADER.unpack_from(packet)
    return int(number) if message_type == ECHO_REPLY[family] else None


def open_socket(family: socket.AddressFamily) -> socket.socket:
    """Open a socket for echos. Raises CheckFailed if the kernel gives none."""
    protocol = socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            opened = socket.socket(family, kind, protocol)
        except PermissionError:
            continue
        except OSError as error:
            raise CheckFailed(Reason.UNREACHABLE, f"the network reports: {error.strerror}") from None
        opened.settimeout(0)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        return opened
    raise CheckFailed(Reason.REFUSED, NOT_ALLOWED)


class IcmpProbe:
    """Implements `agent.ports.Probe`. All calls must come from one event loop."""

    def __init__(self, clock: Clock, opener: SocketOpener = open_socket) -> None:
        self._clock = clock
        self._opener = opener
        self._series = SeriesCache()
        self._sockets: dict[socket.AddressFamily, socket.socket] = {}
        self._token = os.urandom(48)
        self._numbers = itertools.cycle(range(1 << 16))
        self._awaited: dict[tuple[int, str], asyncio.Future[float]] = {}  # time of the reply, by number and address

    async def sweep(self, device: Device) -> Sweep:
        """Implements `Probe.sweep`. `retries` has no effect here: three echos are always sent."""
        series = self._series.of(device, ("packet.loss", "", "ICMP echo"), ("response.time", "", "ICMP echo"))
        values: tuple[Value, Value]
        try:
            times = await self._echo_times(device)
        except CheckFailed as failed:
            times, values = [], (failed.missing, failed.missing)
        else:
            silence = Missing(Reason.TIMEOUT, f"none of {ECHOS} echos came back within {device.timeout_s:g} s")
            values = (100 * (1 - len(times) / ECHOS), fmean(times)) if times else (silence, silence)
        return Sweep(device.device, self._clock.boot(), series, ("yes" if times else "no", *values))

    async def forget(self, device: str) -> None:
        """Implements `Probe.forget`."""
        self._series.forget(device)

    async def close(self) -> None:
        """Implements `Probe.close`."""
        for opened in self._sockets.values():
            asyncio.get_running_loop().remove_reader(opened)
            opened.close()
        self._sockets.clear()

    async def _echo_times(self, device: Device) -> list[float]:
        """The round-trip time of each echo that came back, in seconds. The echos are spread over the first half of the
        timeout: one short disturbance does not lose them all. Raises CheckFailed."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + device.timeout_s
        host, _ = endpoint(device, 1)
        try:
            async with asyncio.timeout_at(deadline):
                family, address = (await look_up(host, 0, socket.SOCK_DGRAM))[0]
        except TimeoutError:
            raise CheckFailed(
                Reason.TIMEOUT, f"the resolver gives no answer for {host} within {device.timeout_s:g} s"
            ) from None
        opened = self._socket_for(family)
        sent: dict[tuple[int, str], tuple[float, asyncio.Future[float]]] = {}
        try:
            for nth in range(ECHOS):
                await asyncio.sleep(device.timeout_s / 2 / ECHOS if nth else 0)
                key = next(self._numbers), _without_interface(address[0])
                future = self._awaited[key] = loop.create_future()
                sent[key] = self._clock.boot(), future
                self._send(opened, key[0], address)
            futures = [future for _, future in sent.values()]
            await asyncio.wait(futures, timeout=max(0.0, deadline - loop.time()))
        finally:
            for key in sent:
                del self._awaited[key]
        return [future.result() - at for at, future in sent.values() if future.done()]

    def _send(self, opened: socket.socket, number: int, address: SocketAddress) -> None:
        try:
            opened.sendto(echo_request(socket.AddressFamily(opened.family), number, self._token), address)
        except BlockingIOError:
            pass  # the kernel's queue is full: this echo counts as lost
        except OSError as error:
            strerror = os.strerror(error.errno or errno.EHOSTUNREACH)
            raise CheckFailed(Reason.UNREACHABLE, f"the network reports: {strerror}") from None

    def _socket_for(self, family: socket.AddressFamily) -> socket.socket:
        opened = self._sockets.get(family)
        if opened is None:
            opened = self._sockets[family] = self._opener(family)
            asyncio.get_running_loop().add_reader(opened, self._receive, opened)
        return opened

    def _receive(self, opened: socket.socket) -> None:
        for packet, host in _waiting_packets(opened):
            number = answered_request(packet, socket.AddressFamily(opened.family), opened.type, self._token)
            future = self._awaited.get((number, _without_interface(host))) if number is not None else None
            if future is not None and not future.done():
                future.set_result(self._clock.boot())


def _waiting_packets(opened: socket.socket) -> Iterator[tuple[bytes, str]]:
    """The packets that wait in the socket, each with its sender's address."""
    for _ in range(_PACKETS_PER_TURN):
        try:
            packet, address = opened.recvfrom(2048)
        except OSError:
            return
        yield packet, address[0]


def _without_interface(host: str) -> str:
    """The address without the interface's name (`%eth0`) of a link-local one."""
    return host.partition("%")[0]


def build(context: ProbeContext) -> IcmpProbe:
    """Build the probe."""
    return IcmpProbe(context.clock)
