"""What waits to be journalled, and in which order: one push of each agent in turn, so that a long queue of one delays no other."""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from watchkeeper.model.batch import Push
from watchkeeper.model.errors import WatchkeeperError

T = TypeVar("T")

Answer = int | WatchkeeperError
"""The seq up to which the lane is on disk; or UnknownBlocks, TooManyDeclared, BadPush, TwinAgent, StaleEpoch, StoreFull, StoreError."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A push and its body as received. `answer` is called from the journal's thread with the outcome."""

    push: Push
    body: bytes
    received_at: float
    answer: Callable[[Answer], None]
    address: str = ""


class Turns(Generic[T]):
    """What waits, by agent. The oldest of each agent comes first. Any thread may call it."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[T]] = OrderedDict()
        self._count = 0
        self._lock = threading.Lock()

    def put(self, agent: str, one: T) -> None:
        """Add one of an agent."""
        with self._lock:
            queue = self._waiting.get(agent)
            if queue is None:
                queue = self._waiting[agent] = deque()
            queue.append(one)
            self._count += 1

    def next(self) -> T | None:
        """Take the oldest one of the agent whose turn it is; None if nothing waits."""
        with self._lock:
            if not self._count:
                return None
            agent, queue = self._waiting.popitem(last=False)
            one = queue.popleft()
            if queue:
                self._waiting[agent] = queue  # behind all others
            self._count -= 1
            return one

    def __len__(self) -> int:
        return self._count
