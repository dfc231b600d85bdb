"""One hard deadline for a whole delivery, whatever the receiver does.

The timeouts of requests, smtplib and others limit one wait for data. A receiver that sends a byte now and then can hold
its sender for ever. So a delivery runs in a thread of its own, and the sockets that it connects are remembered. At the
deadline the caller stops waiting, all these sockets are shut down, and the delivery may connect no more: whatever it
waits for fails at once, and its thread ends. Only a name lookup cannot be ended; the resolver limits it
(resolv.conf(5)).
"""

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


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
    connections are shut down."""
    delivery = _Delivery(call)
    thread = threading.Thread(target=copy_context().run, args=(delivery.run,), name="delivery", daemon=True)
    thread.start()
    wait([delivery.done], timeout_s)
    if not delivery.done.done():
        delivery.connections.shut()
        return None
    return delivery.done.result()
