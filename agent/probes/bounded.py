"""Questions to the kernel that may never be answered: a dead network mount, a sensor behind a stuck bus."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

from watchkeeper.model.reading import Missing, Reason

T = TypeVar("T")


class BoundedCalls(Generic[T]):
    """Asks each question in a daemon thread of its own and waits only so long. What still hangs is not asked again
    before its thread has come back, so that a dead mount costs one thread, however often it is swept."""

    def __init__(self) -> None:
        self._hanging: set[Hashable] = set()

    async def ask(self, questions: Mapping[str, Callable[[], T]], timeout_s: float) -> dict[str, T | Missing]:
        """Ask everything at once; what does not come back in time is Missing(HUNG), an OSError Missing(ABSENT)."""
        loop = asyncio.get_running_loop()
        finished = asyncio.Event()
        answers: dict[str, T | Missing] = {}
        asked = [key for key in questions if key not in self._hanging]

        def count() -> None:
            if len(answers) == len(asked):
                finished.set()

        def run(key: str) -> None:
            answer = _answered(questions[key])
            self._hanging.discard(key)
            answers[key] = answer
            with contextlib.suppress(RuntimeError):  # the loop has closed while we hung
                loop.call_soon_threadsafe(count)

        for key in asked:
            self._hanging.add(key)
            threading.Thread(target=run, args=(key,), daemon=True, name=f"ask {key}").start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await (finished.wait() if asked else asyncio.sleep(0))
        hung = Missing(Reason.HUNG, f"the kernel does not come back in {timeout_s:g} s")
        return {key: answers.get(key, hung) for key in questions}


def _answered(question: Callable[[], T]) -> T | Missing:
    try:
        return question()
    except OSError as error:
        return Missing(Reason.ABSENT, error.strerror or type(error).__name__)
