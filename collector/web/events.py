"""`/events`: server-sent events that tell an open page when it would show something else."""

import asyncio
from collections.abc import AsyncIterator, Callable

from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.read import changes as read_changes
from watchkeeper.collector.read.changes import Signature

CHECK_S = 1.0
HEARTBEAT_S = 15.0
RETRY_MS = 3000


class ChangeFeed:
    """Reads the store's signature at most once a second, for any number of open pages, and only while one is open."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._signature: Signature | None = None
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()

    async def stream(self, closing: Callable[[], bool]) -> AsyncIterator[bytes]:
        """The events of one page, `incidents` and `readings`, until the page is closed or `closing()` is true."""
        yield f"retry: {RETRY_MS}\n\n".encode()
        before = await self._latest()
        quiet_s = 0.0
        while not closing():
            await asyncio.sleep(CHECK_S)
            now = await self._latest()
            changed = [name for name in ("incidents", "readings") if getattr(now, name) != getattr(before, name)]
            before = now
            for name in changed:
                yield f"event: {name}\ndata: changed\n\n".encode()
            quiet_s = 0.0 if changed else quiet_s + CHECK_S
            if quiet_s >= HEARTBEAT_S:
                quiet_s = 0.0
                yield b": still here\n\n"

    async def _latest(self) -> Signature:
        async with self._lock:
            now = self._runtime.clock.boot()
            if self._signature is None or now - self._read_at >= CHECK_S / 2:
                self._signature = await asyncio.to_thread(self._read)
                self._read_at = now
            return self._signature

    def _read(self) -> Signature:
        with self._runtime.store.read() as connection:
            return read_changes.signature(connection)
