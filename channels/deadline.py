"""One hard deadline for a whole delivery, and a limit of received bytes, whatever the receiver does.

The timeouts of requests, smtplib and others limit one wait for data. A receiver that sends a byte now and then can hold
its sender for ever; one that sends without end can fill its memory. So a delivery runs in a thread of its own, and the sockets that it connects are remembered. At the
deadline the caller stops waiting, all these sockets are shut down, and the delivery may connect no more: whatever it
waits for fails at once, and its thread ends. The same is done when they have received more than RECEIVED_LIMIT. Only a name lookup cannot be ended; the resolver limits it
(resolv.conf(5)).
"""

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")

RECEIVED_LIMIT = 8_000_000
"""Bytes that all connections of a delivery may receive. The longest honest ones are twenty mails of 100 kB."""

_COUNT_EVERY_S = 0.1
_BYTES_RECEIVED = struct.Struct("=Q"), 128  # tcpi_bytes_received in struct tcp_info, linux/tcp.h, since Linux 4.1


class TooMuchReceived(Exception):
    """The receiver has sent more than RECEIVED_LIMIT."""


@dataclass(slots=True)
class _Connections:
    """The sockets of one delivery. Each is held as a second descriptor of the same socket: the delivery may close its own, or
    wrap it in TLS, and no descriptor of somebody else can be hit."""

    held: list[int] = field(default_factory=list)
    over: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, descriptor: int) -> None:
        """Remember a socket before it is connected. Raises TimeoutError after the deadline."""
        with self.lock:
            if self.over:
                raise TimeoutError("the deadline of this delivery is over")
            self.held.append(os.dup(descriptor))

    def shut(self) -> None:
        """End every connection, and allow no more."""
        with self.lock:
            self.over = True
            self._release(shut=True)

    def received(self) -> int:
        """How many bytes they have received; 0 where the system does not say."""
        with self.lock:
            return sum(map(_received, self.held))

    def forget(self) -> None:
        """Close our descriptors; the delivery has closed its own, or keeps them for the next one."""
        with self.lock:
            self._release(shut=False)

    def _release(self, *, shut: bool) -> None:
        while self.held:
            with (
                socket.socket(fileno=self.held.pop()) as held,
                contextlib.suppress(OSError),
            ):  # it may be closed already
                if shut:
                    held.shutdown(socket.SHUT_RDWR)


def _received(descriptor: int) -> int:
    place, at = _BYTES_RECEIVED
    try:
        with socket.socket(fileno=os.dup(descriptor)) as one:
            told = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, at + place.size)
    except (OSError, AttributeError):  # not TCP, or not Linux
        return 0
    return int(place.unpack_from(told, at)[0]) if len(told) >= at + place.size else 0


_under_way: ContextVar[_Connections | None] = ContextVar("connections of the delivery under way", default=None)
_plain_connect = socket.socket.connect


def _connect(connection: socket.socket, address: Any, /) -> None:
    delivery = _under_way.get()
    if delivery is not None:
        delivery.add(connection.fileno())
    _plain_connect(connection, address)


# The libraries below Apprise make their sockets themselves and have no hook. Outside of a delivery nothing changes.
socket.socket.connect = _connect  # type: ignore[method-assign, assignment] # that is the purpose


class _Delivery(Generic[T]):
    """One call in a thread of its own."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self.connections = _Connections()
        self.done: Future[T] = Future()

    def run(self) -> None:
        _under_way.set(self.connections)
        try:
            self.done.set_result(self._call())
        except BaseException as error:  # noqa: BLE001 -- it is raised again in the thread that waits
            self.done.set_exception(error)
        finally:
            self.connections.forget()


def within(timeout_s: float, call: Callable[[], T]) -> T | None:
    """Return what `call` returns, or raise what it raises. None if it has not ended within `timeout_s`; then its
    connections are shut down. Raises TooMuchReceived; then they are as well."""
    delivery = _Delivery(call)
    thread = threading.Thread(target=copy_context().run, args=(delivery.run,), name="delivery", daemon=True)
    thread.start()
    until = time.monotonic() + timeout_s
    while not delivery.done.done() and (left_s := until - time.monotonic()) > 0:
        wait([delivery.done], min(left_s, _COUNT_EVERY_S))
        if not delivery.done.done() and delivery.connections.received() > RECEIVED_LIMIT:
            delivery.connections.shut()
            raise TooMuchReceived
    if not delivery.done.done():
        delivery.connections.shut()
        return None
    return delivery.done.result()
