"""Is between a database's driver and its server, and lets no more than a budget of bytes through from the server.

A driver believes what a server says: that a string has two gigabytes, that rows never end. Each keeps what it has received so
far. We cannot limit that in three libraries, but none can keep more than it is given. The bytes pass as they are, so TLS is
between driver and server as before.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Self

from watchkeeper.agent.ports import NoAnswer
from watchkeeper.model.reading import Reason

SERVER_BYTES = 256 * 1024
"""What a server may send in one attempt. A login, `SELECT 1` and the number of connections take a few kilobytes."""

LOOPBACK = "127.0.0.1"
_RELAYED_BYTES = 16 * 1024


class Relay:
    """The relay of one attempt: `async with Relay(dial) as relay`; `dial` connects with the server, and is called at once. At
    the end all sockets are closed, and a failure is explained if the server sent too much."""

    def __init__(self, dial: Callable[[], Awaitable[socket.socket]], budget_bytes: int = SERVER_BYTES) -> None:
        self._dial = dial
        self._budget_bytes = self._left_bytes = budget_bytes
        self._server: socket.socket | None = None  # connected, and not joined with a driver yet
        self._sockets: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Connect with the server. Raises what `dial` raises."""
        self._server = await self._dialled()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for one in self._sockets:
            one.close()
        if self._left_bytes < 0 and isinstance(error, Exception):
            raise NoAnswer(
                Reason.MALFORMED, f"the server sends more than {self._budget_bytes // 1024} kB for a login and a query"
            ) from None

    async def connected(self) -> socket.socket:
        """A socket that is connected with the server through the relay; non-blocking. The caller closes it."""
        with socket.create_server((LOOPBACK, 0)) as listener:
            driver = socket.create_connection(listener.getsockname())
            driver.settimeout(0)
            try:
                while True:  # another program on this machine may be faster
                    ours, caller = listener.accept()
                    if caller == driver.getsockname():
                        break
                    ours.close()
            except BaseException:
                driver.close()
                raise
        await self._join(ours)
        return driver

    def listen(self, caller: Callable[[], tuple[str, int]]) -> int:
        """Accept connections of the socket whose own address `caller` tells, at the port that is returned: for a driver that
        connects by itself."""
        listener = socket.create_server((LOOPBACK, 0))
        listener.settimeout(0)
        self._sockets.append(listener)
        self._start(self._accept(listener, caller))
        return int(listener.getsockname()[1])

    def cut(self) -> None:
        """Let nothing more through in either direction. Driver and server see the end of the connection."""
        for one in self._sockets:
            with contextlib.suppress(OSError):  # it is not connected any more
                one.shutdown(socket.SHUT_RDWR)

    async def _dialled(self) -> socket.socket:
        server = await self._dial()
        self._sockets.append(server)
        return server

    async def _accept(self, listener: socket.socket, caller: Callable[[], tuple[str, int]]) -> None:
        while True:
            ours, address = await asyncio.get_running_loop().sock_accept(listener)
            if address != caller():
                ours.close()  # another program on this machine
                continue
            try:
                await self._join(ours)
            except (NoAnswer, OSError):
                ours.close()

    async def _join(self, ours: socket.socket) -> None:
        """Pass bytes between a driver's connection and one to the server."""
        self._sockets.append(ours)
        ours.settimeout(0)
        server, self._server = self._server or await self._dialled(), None
        self._start(self._pass_on(ours, server, counted=False))
        self._start(self._pass_on(server, ours, counted=True))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.get_running_loop().create_task(work))

    async def _pass_on(self, source: socket.socket, sink: socket.socket, *, counted: bool) -> None:
        loop = asyncio.get_running_loop()
        try:
            while data := await loop.sock_recv(source, _RELAYED_BYTES):
                if counted:
                    self._left_bytes -= len(data)
                    if self._left_bytes < 0:
                        break
                await loop.sock_sendall(sink, data)
            else:
                sink.shutdown(socket.SHUT_WR)  # the other direction may go on
                return
        except OSError:
            pass
        self.cut()
