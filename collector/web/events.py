"""`/events`: a tick when an open page would show something else (server-sent events)."""

import asyncio
from collections.abc import AsyncIterator, Callable

from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.read import changes as read_changes
from watchkeeper.collector.read.changes import Signature

LOOK_S = 1.0
HEARTBEAT_S = 15.0
RETRY_MS = 3000


class Ticker:
    """Looks at the store once a second at most, however many pages are open, and only while one is."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._seen: Signature | None = None
        self._seen_at = float("-inf")
        self._lock = asyncio.Lock()

    async def stream(self, closing: Callable[[], bool]) -> AsyncIterator[bytes]:
        """One page's events, `incidents` and `readings`, until it is closed or we are closing."""
        yield f"retry: {RETRY_MS}\n\n".encode()
        before = await self._look()
        quiet_s = 0.0
        while not closing():
            await asyncio.sleep(LOOK_S)
            now = await self._look()
            news = [name for name in ("incidents", "readings") if getattr(now, name) != getattr(before, name)]
            before = now
            for name in news:
                yield f"event: {name}\ndata: changed\n\n".encode()
            quiet_s = 0.0 if news else quiet_s + LOOK_S
            if quiet_s >= HEARTBEAT_S:
                quiet_s = 0.0
                yield b": still here\n\n"

    async def _look(self) -> Signature:
        async with self._lock:
            now = self._runtime.clock.boot()
            if self._seen is None or now - self._seen_at >= LOOK_S / 2:
                self._seen = await asyncio.to_thread(self._read)
                self._seen_at = now
            return self._seen

    def _read(self) -> Signature:
        with self._runtime.store.read() as connection:
            return read_changes.signature(connection)
