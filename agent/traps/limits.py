"""Limits on traps, and which drops are logged. Pure.

Anybody can write the address of a device into a datagram. So the budget of a device is charged only for what proves to be the
device's own: by digest or by community. What proves nothing has a budget of its own, and can mute nobody."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from enum import StrEnum

BUCKET_SIZE = 100.0
"""How many traps of one device are accepted at once: a large PDU sends one for each of its outlets."""

REFILL_PER_S = 2.0
"""How many traps of one device are accepted per second after that."""

DOUBTFUL_AT_ONCE, DOUBTFUL_PER_S = 20.0, 1.0
"""How many datagrams that prove nothing get an answer, or make us ask the device for its engine: from one address."""


@dataclass(slots=True)
class _Bucket:
    size: float
    refill_per_s: float
    tokens: float
    at: float = 0.0

    def take(self, now: float) -> bool:
        """Take a token at boot time `now`. Returns whether there was one."""
        self.tokens = min(self.size, self.tokens + (now - self.at) * self.refill_per_s)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class TrapLimiter:
    """A token bucket for each device, and one for each known address. Nothing is kept for unknown addresses. The cost is the
    same for every datagram."""

    def __init__(self) -> None:
        self._devices: dict[str, _Bucket] = {}
        self._sources: dict[str, _Bucket] = {}

    def know(self, devices: Iterable[str], sources: Iterable[str]) -> None:
        """Set the devices and the known addresses. Those that were known before keep their bucket."""
        self._devices = {
            one: self._devices.get(one) or _Bucket(BUCKET_SIZE, REFILL_PER_S, BUCKET_SIZE) for one in devices
        }
        self._sources = {
            one: self._sources.get(one) or _Bucket(DOUBTFUL_AT_ONCE, DOUBTFUL_PER_S, DOUBTFUL_AT_ONCE)
            for one in sources
        }

    def knows(self, source: str) -> bool:
        """Whether a device has this address."""
        return source in self._sources

    def accepts(self, device: str, now: float) -> bool:
        """Charge a trap that is the device's own, at boot time `now`. Returns whether it is accepted."""
        bucket = self._devices.get(device)
        return bucket is not None and bucket.take(now)

    def doubts(self, source: str, now: float) -> bool:
        """Charge a datagram that proves nothing. Returns whether there is still anything to do for it."""
        bucket = self._sources.get(source)
        return bucket is not None and bucket.take(now)


class DropReason(StrEnum):
    """Why datagrams are dropped, in the words of the log."""

    FLOOD = "flood"
    UNKNOWN_SOURCE = "unknown source"
    REFUSED = "refused"
    BROKEN = "not SNMP"
    FAULT = "a fault of our own"


BURST_OVER_S = 60.0
UNKNOWN_BURST_OVER_S = 3600.0  # a forgotten device may send for ever


@dataclass(slots=True)
class _Burst:
    count: int
    last: float


class Bursts:
    """Counts drops in a row for the same reason as one burst, which is logged at its start and at its end. The keys are
    few: the known sources, and one for all unknown sources together."""

    def __init__(self) -> None:
        self._running: dict[tuple[DropReason, Hashable], _Burst] = {}

    def begins(self, reason: DropReason, source: Hashable, now: float) -> bool:
        """Count one drop. Returns whether it is the first of a burst."""
        burst = self._running.get((reason, source))
        if burst is None:
            self._running[reason, source] = _Burst(1, now)
            return True
        burst.count += 1
        burst.last = now
        return False

    def ended(self, now: float) -> list[tuple[DropReason, Hashable, int]]:
        """Remove and return the bursts that have ended, each with the number of drops."""
        over = [
            (reason, source, burst.count)
            for (reason, source), burst in self._running.items()
            if now - burst.last >= (UNKNOWN_BURST_OVER_S if reason is DropReason.UNKNOWN_SOURCE else BURST_OVER_S)
        ]
        for reason, source, _ in over:
            del self._running[reason, source]
        return over
