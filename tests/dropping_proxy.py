"""A TCP proxy on the loopback that behaves like a bad network: it goes silent in either direction, loses connections without a
word, resets them, or is slow. Behind it is a TCP address or a Unix socket."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

Target = tuple[str, int] | str
"""(host, port), or the path of a Unix socket."""


@dataclass(slots=True)
class _Link:
    """One connection through the proxy. What is lost never goes on, not even its end."""

    near: socket.socket
    far: socket.socket
    lost: bool = False
    pumps: tuple[threading.Thread, ...] = ()


class DroppingProxy:
    """Forwards until it is told otherwise. `up` is towards the target. What a silent direction holds back is forwarded by
    `resume`, as TCP sends again what a cable has lost."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._open = {way: threading.Event() for way in ("up", "down")}
        self._links: list[_Link] = []
        self._lock = threading.Lock()
        self.delay_s = 0.0
        self.resume()

    @classmethod
    @contextlib.contextmanager
    def to(cls, target: Target) -> Iterator[Self]:
        """Run a proxy."""
        made = cls(target)
        made.start()
        try:
            yield made
        finally:
            made.close()

    def start(self) -> None:
        """Accept connections."""
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    # ---- what may happen to a network ----

    def silence(self, *, up: bool = True, down: bool = True) -> None:
        """Nothing arrives any more in these directions, on old and new connections, and no end either."""
        for way, wanted in (("up", up), ("down", down)):
            if wanted:
                self._open[way].clear()

    def resume(self) -> None:
        """Forward again, first what was held back."""
        for gate in self._open.values():
            gate.set()

    def lose(self) -> None:
        """The connections of now are silent for ever; later ones are not."""
        with self._lock:
            for link in self._links:
                link.lost = True
        self.resume()

    def reset(self) -> None:
        """End all connections at once, with RST."""
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            link.lost = True
            for one in (link.near, link.far):
                _close(one, reset=True)
            for pump in link.pumps:
                if all(gate.is_set() for gate in self._open.values()):
                    pump.join()  # the kernel sends RST when nobody reads any more

    def close(self) -> None:
        """End the proxy and its connections."""
        _close(self._listener)
        self.reset()
        self.resume()

    # ---- forwarding ----

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                link = _Link(near, _connect(self._target))
            except OSError:
                _close(near, reset=True)
                continue
            ways = {"up": (link.near, link.far), "down": (link.far, link.near)}
            link.pumps = tuple(
                threading.Thread(target=self._pump, args=(link, way, *ends), daemon=True) for way, ends in ways.items()
            )
            with self._lock:
                self._links.append(link)
            for pump in link.pumps:
                pump.start()

    def _pump(self, link: _Link, way: str, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                data = source.recv(65_536)
                self._open[way].wait()
                if link.lost:
                    if not data:
                        return
                    continue
                if self.delay_s:
                    threading.Event().wait(self.delay_s)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)


def _connect(target: Target) -> socket.socket:
    if isinstance(target, tuple):
        return socket.create_connection(target, timeout=None)
    made = socket.socket(socket.AF_UNIX)
    try:
        made.connect(target)
    except OSError:
        made.close()
        raise
    return made


def _close(one: socket.socket, *, reset: bool = False) -> None:
    """Close a socket, and wake the thread that reads it. With `reset` TCP tells the other side that all is lost."""
    with contextlib.suppress(OSError):
        if reset and one.family == socket.AF_INET:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.shutdown(socket.SHUT_RD)
        else:
            one.shutdown(socket.SHUT_RDWR)
    one.close()
