"""The limit on what is decoded at all, by source and before anything is looked at; and what of it is told. Pure."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum

BURST = 100.0
"""So many traps of one source are taken at once: a large PDU tells of each of its outlets."""

A_SECOND = 2.0
"""And so many a second from then on."""


class Pass(Enum):
    """What becomes of a datagram, by its source alone."""

    TAKEN = "taken"
    FLOOD = "flood"
    STRANGER = "stranger"


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Gate:
    """One bucket of tokens a known source; of unknown ones nothing is kept. Costs the same for every datagram."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}

    def know(self, sources: Iterable[str]) -> None:
        """From now on these addresses, and no others, are heard."""
        self._buckets = {source: self._buckets.get(source) or _Bucket(BURST, 0.0) for source in sources}

    def admit(self, source: str, now: float) -> Pass:
        """Take a token of the source at boot time `now`."""
        bucket = self._buckets.get(source)
        if bucket is None:
            return Pass.STRANGER
        bucket.left = min(BURST, bucket.left + (now - bucket.at) * A_SECOND)
        bucket.at = now
        if bucket.left < 1:
            return Pass.FLOOD
        bucket.left -= 1
        return Pass.TAKEN


class Trouble(StrEnum):
    """Why datagrams are dropped, as the log says it."""

    FLOOD = "flood"
    STRANGER = "unknown source"
    REFUSED = "refused"
    BROKEN = "not SNMP"
    FAULT = "a fault of our own"


QUIET_S = 60.0
STRANGERS_QUIET_S = 3600.0  # somebody's forgotten box sends for ever


@dataclass(slots=True)
class _Spell:
    count: int
    last: float


class Bursts:
    """Troubles in a row count as one spell, told of when it begins and when nothing more came for a while. The keys are
    few: sources that the gate knows, and one for all strangers."""

    def __init__(self) -> None:
        self._running: dict[tuple[Trouble, Hashable], _Spell] = {}

    def begins(self, trouble: Trouble, who: Hashable, now: float) -> bool:
        """Count one more; whether it is the first of its spell."""
        spell = self._running.get((trouble, who))
        if spell is None:
            self._running[trouble, who] = _Spell(1, now)
            return True
        spell.count += 1
        spell.last = now
        return False

    def over(self, now: float) -> list[tuple[Trouble, Hashable, int]]:
        """The spells that ended, with how many were dropped in each."""
        ended = [
            (trouble, who, spell.count)
            for (trouble, who), spell in self._running.items()
            if now - spell.last >= (STRANGERS_QUIET_S if trouble is Trouble.STRANGER else QUIET_S)
        ]
        for trouble, who, _ in ended:
            del self._running[trouble, who]
        return ended
