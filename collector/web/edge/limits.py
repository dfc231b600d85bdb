"""Limits of time and size for one HTTP connection. Uvicorn alone limits neither the size of a request's head, nor the time until
a request is complete, nor the time until a response is taken. A slow or endless client must not use up the memory and the
sockets that are needed to send messages. How many connections there may be is decided in `places`."""

import asyncio
import threading
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from watchkeeper.collector.access.recognised import RECOGNISE
from watchkeeper.collector.intake.body import BODY_LIMIT


class AcceptedConnection(Protocol):
    """What the server knows of a connection. `recognised`: it is an agent's or a person's."""

    recognised: bool

    def recognise(self, who: str) -> None:
        """An agent or a person has authenticated on it."""

    def leave(self) -> None:
        """It has ended."""


class ConnectionLimits(HttpToolsProtocol):
    """One connection of an HTTP client. It is closed without a response if it exceeds a limit."""

    head_timeout_s = 15.0
    """The time until the head of a request is complete; on a new connection the wait for the first byte counts too."""
    request_timeout_s = 60.0
    """The time from there until the last byte of the request has come."""
    response_timeout_s = 60.0
    """The time in which the client must take some 50 kB of a response that waits for it."""
    head_limit = 32_000
    request_limit = 2 * BODY_LIMIT  # bytes, with chunks and trailers; a body below this gets its 413
    accepted: AcceptedConnection | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timeout: asyncio.TimerHandle | None = None
        self._write_timeout: asyncio.TimerHandle | None = None
        self._in_head = self._incomplete = True
        self._received = 0
        self._thread = threading.get_ident()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Start the timeout."""
        super().connection_made(transport)
        self._start_timeout(self.head_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timeouts, and leave the place."""
        self._stop_timeout()
        self._stop_write_timeout()
        if self.accepted is not None:
            self.accepted.leave()
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
            self._start_timeout(self.head_timeout_s if self._in_head else self.request_timeout_s)

    def on_message_begin(self) -> None:
        """The first byte of a request has come."""
        super().on_message_begin()
        self.scope["state"][RECOGNISE] = self._recognise
        self._in_head = self._incomplete = True
        self._received = 0

    def on_headers_complete(self) -> None:
        """The head of a request is complete."""
        self._in_head = False
        self._stop_timeout()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request is complete."""
        self._incomplete = False
        self._stop_timeout()
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The client does not take the response as fast as it is made."""
        super().pause_writing()
        self._stop_write_timeout()
        self._write_timeout = self.loop.call_later(self.response_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has taken most of what waited."""
        self._stop_write_timeout()
        super().resume_writing()

    def _recognise(self, who: str) -> None:
        if self.accepted is None or self.accepted.recognised:
            return
        if threading.get_ident() == self._thread:
            self.accepted.recognise(who)
        else:
            self.loop.call_soon_threadsafe(self.accepted.recognise, who)

    def _start_timeout(self, seconds: float) -> None:
        self._timeout = self.loop.call_later(seconds, self.transport.abort)

    def _stop_timeout(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    def _stop_write_timeout(self) -> None:
        if self._write_timeout is not None:
            self._write_timeout.cancel()
            self._write_timeout = None
