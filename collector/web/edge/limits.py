"""How long the server waits, how much it takes in, and for how many: uvicorn alone bounds neither a request's head, nor the
time a request takes to come, nor the connections that stand open. Whoever is slow, endless or many must not take the
memory and the sockets that pages need to go out."""

import asyncio
import resource
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from watchkeeper.collector.intake.endpoint import BODY_LIMIT

_MANY = 30_000


def _half_of_the_files() -> int:
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MANY if most == resource.RLIM_INFINITY else min(_MANY, most // 2)


class ConnectionLimits(HttpToolsProtocol):
    """One connection of an HTTP client. It is cut off, without a word, where it asks too much."""

    whole_within_s = 60.0
    """How long a request may take to come, to its last byte; on a new connection the wait for it counts as well."""
    head_limit = 32_000
    request_limit = 2 * BODY_LIMIT  # bytes with what chunks and trailers add; a smaller body gets its 413
    most = _half_of_the_files()
    """How many connections stand open at once; the other half of the files is for the store and for channels."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._late: asyncio.TimerHandle | None = None
        self._in_head = self._unfinished = True
        self._came = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begin to wait; with too many already, do not."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take some bytes."""
        super().data_received(data)
        if not self._unfinished:
            return
        self._came += len(data)
        if self._came > (self.head_limit if self._in_head else self.request_limit):
            self.transport.abort()
        elif self._late is None:
            self._wait()

    def on_message_begin(self) -> None:
        """A request's first byte."""
        super().on_message_begin()
        self._in_head = self._unfinished = True
        self._came = 0

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """It is whole."""
        self._unfinished = False
        self._wait_no_more()
        super().on_message_complete()

    def _wait(self) -> None:
        self._late = self.loop.call_later(self.whole_within_s, self.transport.abort)

    def _wait_no_more(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
