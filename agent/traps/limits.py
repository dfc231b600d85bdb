"""Limits, by source, on the datagrams that are decoded; and which drops are logged. Pure."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum

BUCKET_SIZE = 100.0
"""How many traps of one source are accepted at once: a large PDU sends one for each of its outlets."""

REFILL_PER_S = 2.0
"""How many traps of one source are accepted per second after that."""


class Admission(Enum):
    """What happens to a datagram, decided by its source alone."""

    TAKEN = "taken"
    FLOOD = "flood"
    UNKNOWN_SOURCE = "unknown source"


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class SourceLimiter:
    """A token bucket for each known source. Nothing is kept for unknown sources. The cost is the same for every
    datagram."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}

    def know(self, sources: Iterable[str]) -> None:
        """Set the known sources. Those that were known before keep their bucket."""
        self._buckets = {source: self._buckets.get(source) or _Bucket(BUCKET_SIZE, 0.0) for source in sources}

    def admit(self, source: str, now: float) -> Admission:
        """Take a token of the source at boot time `now`."""
        bucket = self._buckets.get(source)
        if bucket is None:
            return Admission.UNKNOWN_SOURCE
        bucket.tokens = min(BUCKET_SIZE, bucket.tokens + (now - bucket.at) * REFILL_PER_S)
        bucket.at = now
        if bucket.tokens < 1:
            return Admission.FLOOD
        bucket.tokens -= 1
        return Admission.TAKEN


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
