"""The two clocks. Deadlines use the wall clock (UTC); ages and intervals inside a machine use the boot clock."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """The source of time. Only the main modules build a real one."""

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC; may jump."""

    def boot(self) -> float:
        """Seconds since this machine started, including time suspended. It never jumps and is the same after a restart
        of the process."""


class SystemClock:
    """The kernel's clocks."""

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return time.time()

    def boot(self) -> float:
        """Seconds since this machine started (CLOCK_BOOTTIME, clock_gettime(2))."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(slots=True)
class FakeClock:
    """A clock that moves only by `advance`: for tests and replays."""

    now: float = 1_800_000_000.0
    since_boot: float = 1_000.0

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return self.now

    def boot(self) -> float:
        """Seconds since the machine started."""
        return self.since_boot

    def advance(self, seconds: float = 0.0, *, minutes: float = 0.0) -> None:
        """Move both clocks forward."""
        self.now += seconds + 60 * minutes
        self.since_boot += seconds + 60 * minutes


def boot_id() -> str:
    """The kernel's id of this boot of the machine (proc(5), random/boot_id)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
