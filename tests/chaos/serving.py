"""When a collector served, seen from outside."""

import threading
import time
from collections.abc import Sequence

import requests

LONGEST_GAP_S = 1.0  # between two answers of a collector that serves without interruption


class Serving:
    """Asks the collector ten times a second whether it serves, so that the comparison knows when it was down: a busy
    machine may need ten seconds to start it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._answers: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        while not self._over.wait(0.1):
            try:
                if requests.get(f"{self._url}/healthz", timeout=LONGEST_GAP_S).ok:
                    self._answers.append(time.time())
            except requests.RequestException:
                continue

    def stop(self) -> None:
        """Ask no more."""
        self._over.set()
        self._thread.join()

    def without_interruption(self, begin: float, end: float) -> float:
        """The longest time (seconds) between `begin` and `end` in which it served without interruption."""
        return longest_run([at for at in self._answers if begin <= at <= end], LONGEST_GAP_S)


def longest_run(times: Sequence[float], gap: float) -> float:
    """The longest stretch of ascending times in which no two neighbours are further apart than `gap`."""
    longest = 0.0
    first = previous = times[0] if times else 0.0
    for at in times:
        if at - previous > gap:
            first = at
        longest = max(longest, at - first)
        previous = at
    return longest
