"""The limit on what is decoded at all, by source and before anything is looked at; and what of it is told. Pure."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum

BUCKET_SIZE = 100.0
"""So many traps of one source are taken at once: a large PDU tells of each of its outlets."""

REFILL_PER_S = 2.0
"""And so many a second from then on."""


class Admission(Enum):
    """What becomes of a datagram, by its source alone."""

    TAKEN = "taken"
    FLOOD = "flood"
    STRANGER = "stranger"


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class SourceLimiter:
    """One bucket of tokens a known source; of unknown ones nothing is kept. Costs the same for every datagram."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}

    def know(self, sources: Iterable[str]) -> None:
        """From now on these addresses, and no others, are heard."""
        self._buckets = {source: self._buckets.get(source) or _Bucket(BUCKET_SIZE, 0.0) for source in sources}

    def admit(self, source: str, now: float) -> Admission:
        """Take a token of the source at boot time `now`."""
        bucket = self._buckets.get(source)
        if bucket is None:
            return Admission.STRANGER
        bucket.left = min(BUCKET_SIZE, bucket.left + (now - bucket.at) * REFILL_PER_S)
        bucket.at = now
        if bucket.left < 1:
            return Admission.FLOOD
        bucket.left -= 1
        return Admission.TAKEN


class DropReason(StrEnum):
    """Why datagrams are dropped, as the log says it."""

    FLOOD = "flood"
    STRANGER = "unknown source"
    REFUSED = "refused"
    BROKEN = "not SNMP"
    FAULT = "a fault of our own"


BURST_OVER_S = 60.0
UNKNOWN_BURST_OVER_S = 3600.0  # somebody's forgotten box sends for ever


@dataclass(slots=True)
class _Burst:
    count: int
    last: float


class Bursts:
    """Troubles in a row count as one spell, told of when it begins and when nothing more came for a while. The keys are
    few: sources that the gate knows, and one for all strangers."""

    def __init__(self) -> None:
        self._running: dict[tuple[DropReason, Hashable], _Burst] = {}

    def begins(self, trouble: DropReason, who: Hashable, now: float) -> bool:
        """Count one more; whether it is the first of its spell."""
        spell = self._running.get((trouble, who))
        if spell is None:
            self._running[trouble, who] = _Burst(1, now)
            return True
        spell.count += 1
        spell.last = now
        return False

    def over(self, now: float) -> list[tuple[DropReason, Hashable, int]]:
        """The spells that ended, with how many were dropped in each."""
        ended = [
            (trouble, who, spell.count)
            for (trouble, who), spell in self._running.items()
            if now - spell.last >= (UNKNOWN_BURST_OVER_S if trouble is DropReason.STRANGER else BURST_OVER_S)
        ]
        for trouble, who, _ in ended:
            del self._running[trouble, who]
        return ended
