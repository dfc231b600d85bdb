"""The HTTP server: uvicorn, with sockets that are accepted here, so that connections are limited before TLS and before any of
uvicorn's objects are made. A socket that says nothing costs one file, until it is shut."""

import asyncio
import contextlib
import errno
import logging
import resource
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from watchkeeper.collector.web.edge.limits import ConnectionLimits
from watchkeeper.collector.web.edge.places import ConnectionPlaces, PlaceLimits

log = logging.getLogger(__name__)

HANDSHAKE_S = 10.0
"""Within this time a TLS handshake must be complete."""

OPEN_FILES = 65_536
_ACCEPTED_AT_ONCE = 64
_NO_FILES_WAIT_S = 0.5
_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def raise_file_limit() -> int:
    """Let this process open as many files as it may, at most OPEN_FILES. Returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return OPEN_FILES if soft == resource.RLIM_INFINITY else soft


class Accepted:
    """A connection from the moment it was accepted."""

    __slots__ = ("_places", "_socket", "recognised")

    def __init__(self, places: ConnectionPlaces, connection: socket.socket) -> None:
        self._places, self._socket = places, connection
        self.recognised = False

    def shut(self) -> None:
        """End it, whatever it is doing: its transport sees the end of the stream."""
        with contextlib.suppress(OSError):  # it has ended already
            self._socket.shutdown(socket.SHUT_RDWR)

    def recognise(self, who: str) -> None:
        """An agent or a person has authenticated."""
        self.recognised = self._places.recognise(self, who)

    def leave(self) -> None:
        """It has ended."""
        self._places.leave(self)


class Listener:
    """Accepts connections from one listening socket. Uvicorn uses it as it uses an asyncio server."""

    def __init__(
        self,
        listening: socket.socket,
        places: ConnectionPlaces,
        make: Callable[[], ConnectionLimits],
        tls: ssl.SSLContext | None,
    ) -> None:
        listening.settimeout(0)
        self.sockets = (listening,)
        self._listening, self._places, self._make, self._tls = listening, places, make, tls
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._resume: asyncio.TimerHandle | None = None
        self._closed = False
        self._loop.add_reader(listening, self._accept)

    def close(self) -> None:
        """Accept no more."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._listening)
            if self._resume:
                self._resume.cancel()
            self._listening.close()
            for task in self._handshakes:
                task.cancel()

    async def wait_closed(self) -> None:
        """Wait for the handshakes under way."""
        await asyncio.gather(*self._handshakes, return_exceptions=True)

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, address = self._listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OUT_OF_FILES:
                    self._wait_for_files(error)
                    return
                continue  # accept(2): an error of this one connection
            connection.settimeout(0)
            accepted = Accepted(self._places, connection)
            self._places.enter(accepted, str(address[0]) if address else "")
            task = self._loop.create_task(self._connect(accepted, connection))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    def _wait_for_files(self, error: OSError) -> None:
        """Let the others go on. The connections wait in the kernel."""
        log.error("no connection can be accepted now: %s; this is tried again", error.strerror)
        self._loop.remove_reader(self._listening)
        self._resume = self._loop.call_later(_NO_FILES_WAIT_S, self._loop.add_reader, self._listening, self._accept)

    async def _connect(self, accepted: Accepted, connection: socket.socket) -> None:
        """Hand the connection to the protocol, after its TLS handshake."""

        def make() -> ConnectionLimits:
            protocol = self._make()
            protocol.accepted = accepted
            return protocol

        try:
            await self._loop.connect_accepted_socket(
                make, connection, ssl=self._tls, ssl_handshake_timeout=HANDSHAKE_S if self._tls else None
            )
        except (OSError, asyncio.CancelledError):  # ssl.SSLError is an OSError
            accepted.leave()
            connection.close()


class Server(uvicorn.Server):
    """Serves an application whose protocol is ConnectionLimits. `ending` is called when it must stop: it ends the connections
    of waiting pages at once."""

    def __init__(self, config: uvicorn.Config, ending: Callable[[], None], limits: PlaceLimits) -> None:
        super().__init__(config)
        self._ending = ending
        self.places = ConnectionPlaces(limits)

    async def startup(self, sockets: "list[socket.socket] | None" = None) -> None:
        """Listen at the address of the configuration, or at these sockets."""
        await self.lifespan.startup()
        if not self.config.loaded:
            self.config.load()
        try:
            listening = sockets or _listening(self.config.host, self.config.port, self.config.backlog)
        except OSError as error:
            where = f"{self.config.host} port {self.config.port}"
            log.error("cannot listen at %s: %s", where, error.strerror or error)  # noqa: TRY400 -- a sentence for the operator
            sys.exit(STARTUP_FAILURE)
        self.servers = [Listener(one, self.places, self._protocol, self.config.ssl) for one in listening]  # type: ignore[misc] # with all that uvicorn uses of a server
        self.started = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End waiting pages, then stop as uvicorn does."""
        self._ending()
        super().handle_exit(sig, frame)

    def _protocol(self) -> ConnectionLimits:
        make: Callable[..., Any] = self.config.http_protocol_class
        protocol = make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        if not isinstance(protocol, ConnectionLimits):
            raise TypeError("the protocol must be ConnectionLimits")
        return protocol


def _listening(host: str, port: int, backlog: int) -> Sequence[socket.socket]:
    """A listening socket for each address of the host. Raises OSError."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    opened: list[socket.socket] = []
    try:
        for family, address in sorted({(one[0], one[4]) for one in found}, key=str):
            opened.append(socket.create_server(address[:2], family=family, backlog=backlog))
    except OSError:
        for one in opened:
            one.close()
        raise
    return opened
