"""Calls into the kernel that may never return: a dead network mount, a sensor behind a stuck bus."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

from watchkeeper.model.reading import Missing, Reason

T = TypeVar("T")


class BoundedCalls(Generic[T]):
    """Runs each call in its own daemon thread and waits for it only so long. A call that hangs is not made again until
    its thread returns: a dead mount costs one thread, however often it is swept."""

    def __init__(self) -> None:
        self._hanging: set[Hashable] = set()

    async def run(self, calls: Mapping[str, Callable[[], T]], timeout_s: float) -> dict[str, T | Missing]:
        """Make all calls at once. A call that does not return in time is Missing(HUNG), an OSError Missing(ABSENT)."""
        loop = asyncio.get_running_loop()
        finished = asyncio.Event()
        results: dict[str, T | Missing] = {}
        started = [key for key in calls if key not in self._hanging]

        def count() -> None:
            if len(results) == len(started):
                finished.set()

        def run(key: str) -> None:
            result = _result_of(calls[key])
            self._hanging.discard(key)
            results[key] = result
            with contextlib.suppress(RuntimeError):  # the loop was closed while this call hung
                loop.call_soon_threadsafe(count)

        for key in started:
            self._hanging.add(key)
            threading.Thread(target=run, args=(key,), daemon=True, name=f"bounded {key}").start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await (finished.wait() if started else asyncio.sleep(0))
        hung = Missing(Reason.HUNG, f"no answer from the kernel within {timeout_s:g} s")
        return {key: results.get(key, hung) for key in calls}


def _result_of(call: Callable[[], T]) -> T | Missing:
    try:
        return call()
    except OSError as error:
        return Missing(Reason.ABSENT, error.strerror or type(error).__name__)
