"""The two clocks. Deadlines live on the wall (UTC); ages and intervals inside a machine on the boot clock."""

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """What the main modules hand to everybody who needs the time."""

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC; may jump."""

    def boot(self) -> float:
        """Seconds since this machine started, suspended time included; never jumps, survives our own restarts."""


class SystemClock:
    """The kernel's clocks."""

    def wall(self) -> float:
        """See `Clock.wall`."""
        return time.time()

    def boot(self) -> float:
        """See `Clock.boot`."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(slots=True)
class FakeClock:
    """A clock that moves when told to: for tests and replays."""

    now: float = 1_800_000_000.0
    since_boot: float = 1_000.0

    def wall(self) -> float:
        """See `Clock.wall`."""
        return self.now

    def boot(self) -> float:
        """See `Clock.boot`."""
        return self.since_boot

    def advance(self, seconds: float = 0.0, *, minutes: float = 0.0) -> None:
        """Let both clocks move on."""
        self.now += seconds + 60 * minutes
        self.since_boot += seconds + 60 * minutes
