"""The UDP socket for traps. Each datagram is admitted by its source before any other work is done for it."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable

DATAGRAMS_PER_TURN = 64
"""Datagrams read in one turn of the event loop: enough to empty the kernel's buffer faster than a device can fill it,
and few enough to let other work run."""

TURN_S = 0.005
"""After so long other work runs too, even if more datagrams wait: a flood must not delay polls."""

_MAX_DATAGRAM_BYTES = 65_535
_KERNEL_BUFFER_BYTES = 4 * 2**20  # the kernel gives at most net.core.rmem_max
_MAPPED_PREFIX = "::ffff:"  # an IPv4 address on an IPv6 socket


class TrapSocket:
    """Receives datagrams. `admit` decides by the source; `take` gets the datagram and returns the answer, or b""."""

    def __init__(self, admit: Callable[[str], bool], take: Callable[[bytes, str], bytes]) -> None:
        self._admit, self._take = admit, take
        self._socket: socket.socket | None = None
        self._buffer = bytearray(_MAX_DATAGRAM_BYTES)

    @property
    def open(self) -> bool:
        """Whether it listens."""
        return self._socket is not None

    def listen(self, host: str, port: int) -> None:
        """Start to listen. Raises OSError, which `bind_problem` explains."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            if family is socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BUFFER_BYTES)
            opened.bind((host, port))
        except OSError:
            opened.close()
            raise
        self._socket = opened
        asyncio.get_running_loop().add_reader(opened, self._read, opened)

    def close(self) -> None:
        """Stop listening and free the port."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _read(self, opened: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + TURN_S
        for _ in range(DATAGRAMS_PER_TURN):
            if loop.time() >= until:
                return
            try:
                size, sender = opened.recvfrom_into(self._buffer)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error for one of our answers
                continue
            source = sender[0].removeprefix(_MAPPED_PREFIX)
            if self._admit(source) and (answer := self._take(bytes(self._buffer[:size]), source)):
                with contextlib.suppress(OSError):  # the sender repeats its inform
                    opened.sendto(answer, sender)


def bind_problem(error: OSError, port: int) -> str:
    """Why the agent cannot listen there, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"another program has port {port} (`ss -ulnp 'sport = :{port}'` names it): stop it, or choose another"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} needs a right the agent does not have: see docs/traps.md, or choose one above 1023"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address: write `0.0.0.0` for all its addresses"
    return error.strerror or str(error)
