"""The UDP socket of an agent that hears traps. Only the source is looked at before anything else costs time."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable

DATAGRAMS_PER_TURN = 64
"""Datagrams read in one turn of the event loop: enough to empty the kernel's buffer faster than a device can fill it, few
enough that everything else has its turn."""

_LARGEST = 65_535
_KERNEL_BYTES = 4 * 2**20  # the kernel gives as much of it as net.core.rmem_max allows
_MAPPED = "::ffff:"  # an IPv4 address on an IPv6 socket


class TrapSocket:
    """See the module. `admit` says of each source whether it is heard; `take` gets what it sent, and may answer."""

    def __init__(self, admit: Callable[[str], bool], take: Callable[[bytes, str], bytes]) -> None:
        self._admit, self._take = admit, take
        self._socket: socket.socket | None = None
        self._buffer = bytearray(_LARGEST)

    @property
    def open(self) -> bool:
        """Whether it hears anything."""
        return self._socket is not None

    def listen(self, host: str, port: int) -> None:
        """Hear from now on. Raises OSError; `why` makes a sentence of it."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            if family is socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BYTES)
            made.bind((host, port))
        except OSError:
            made.close()
            raise
        self._socket = made
        asyncio.get_running_loop().add_reader(made, self._read, made)

    def close(self) -> None:
        """Hear nothing more."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _read(self, heard: socket.socket) -> None:
        for _ in range(DATAGRAMS_PER_TURN):
            try:
                size, sender = heard.recvfrom_into(self._buffer)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error of an answer of ours
                continue
            source = sender[0].removeprefix(_MAPPED)
            if self._admit(source) and (answer := self._take(bytes(self._buffer[:size]), source)):
                with contextlib.suppress(OSError):  # the sender asks again
                    heard.sendto(answer, sender)


def bind_problem(error: OSError, port: int) -> str:
    """What keeps an address from being heard at, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"another program has port {port} (`ss -ulnp 'sport = :{port}'` names it): stop it, or choose another"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} takes a right the agent does not have: see docs/traps.md, or choose one above 1023"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address: write `0.0.0.0` for all it has"
    return error.strerror or str(error)
