"""Limits of time, size and number for HTTP connections. Uvicorn alone limits neither the size of a request's head, nor the
time until a request is complete, nor the number of open connections. A slow, endless or numerous client must not use up
the memory and the sockets that are needed to send messages."""

import asyncio
import resource
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from watchkeeper.collector.intake.endpoint import BODY_LIMIT

_CONNECTION_LIMIT = 30_000


def _half_of_the_files() -> int:
    open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _CONNECTION_LIMIT if open_files == resource.RLIM_INFINITY else min(_CONNECTION_LIMIT, open_files // 2)


class ConnectionLimits(HttpToolsProtocol):
    """One connection of an HTTP client. It is closed without a response if it exceeds a limit."""

    request_timeout_s = 60.0
    """The time until the last byte of a request has come; on a new connection the wait for the first byte counts too."""
    head_limit = 32_000
    request_limit = 2 * BODY_LIMIT  # bytes, with chunks and trailers; a body below this gets its 413
    connection_limit = _half_of_the_files()
    """How many connections may be open at once. The other half of the files is for the store and for channels."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timeout: asyncio.TimerHandle | None = None
        self._in_head = self._incomplete = True
        self._received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Start the timeout, or close the connection if there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.connection_limit:
            transport.abort()
        else:
            self._start_timeout()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timeout."""
        self._stop_timeout()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a request."""
        super().data_received(data)
        if not self._incomplete:
            return
        self._received += len(data)
        if self._received > (self.head_limit if self._in_head else self.request_limit):
            self.transport.abort()
        elif self._timeout is None:
            self._start_timeout()

    def on_message_begin(self) -> None:
        """The first byte of a request has come."""
        super().on_message_begin()
        self._in_head = self._incomplete = True
        self._received = 0

    def on_headers_complete(self) -> None:
        """The head of a request is complete."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request is complete."""
        self._incomplete = False
        self._stop_timeout()
        super().on_message_complete()

    def _start_timeout(self) -> None:
        self._timeout = self.loop.call_later(self.request_timeout_s, self.transport.abort)

    def _stop_timeout(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None
