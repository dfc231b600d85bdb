"""Counts refused tokens, sign-ins and signatures, by kind and by where they came from. In memory; no secret is kept."""

import logging
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from enum import StrEnum

from watchkeeper.model.clock import Clock
from watchkeeper.model.plain import one_line

log = logging.getLogger(__name__)

RECENT_S, SLOT_S = 300.0, 60.0
"""What counts as recent, and the length of one of its parts."""

MOST_SOURCES = 50
"""How many sources are told apart in a minute. All further ones are counted as OTHERS."""

OTHERS = "others"
SOURCE_CHARACTERS = 60


class Refused(StrEnum):
    """What was refused. A session that has ended is not among them: a forgotten page asks again and again."""

    AGENT = "agent"
    PERSON = "person"
    TICKET = "ticket"
    LINK = "link"
    REPLY = "reply"


@dataclass(slots=True)
class _Minute:
    """One minute, from `began` (boot clock)."""

    began: float
    sources: Counter[str] = field(default_factory=Counter)


class Refusals:
    """What was refused since the start (`total`), and lately. May be used from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._slots: deque[_Minute] = deque()
        self.total: Counter[Refused] = Counter()

    def note(self, what: Refused, source: str) -> None:
        """Something from `source` (an address) was refused. The first one of a source in a minute is logged."""
        source = one_line(source)[:SOURCE_CHARACTERS]  # a proxy's header gives it
        with self._lock:
            slot = self._slot()
            name = source if source in slot.sources or len(slot.sources) < MOST_SOURCES else OTHERS
            slot.sources[name] += 1
            self.total[what] += 1
            first = slot.sources[name] == 1
        if first:
            log.warning("refused: a wrong %s from %s; further ones are counted for a minute", _NAMES[what], name)

    def recent(self) -> Counter[str]:
        """How often each source was refused in the last five minutes."""
        with self._lock:
            self._slot()
            found: Counter[str] = Counter()
            for slot in self._slots:
                found.update(slot.sources)
            return found

    def _slot(self) -> _Minute:
        """The present minute. Ends an older one, and forgets what is no longer recent."""
        now = self._clock.boot()
        while self._slots and now - self._slots[0].began >= RECENT_S:
            self._slots.popleft()
        if not self._slots or now - self._slots[-1].began >= SLOT_S:
            if self._slots and (many := self._slots[-1].sources.total()) > len(self._slots[-1].sources):
                worst = ", ".join(f"{count} from {name}" for name, count in self._slots[-1].sources.most_common(5))
                log.warning("refused in the minute before: %d in all: %s", many, worst)
            self._slots.append(_Minute(now))
        return self._slots[-1]


_NAMES = {
    Refused.AGENT: "agent's token", Refused.PERSON: "person's token", Refused.TICKET: "sign-in link",
    Refused.LINK: "personal link", Refused.REPLY: "signature of a reply",
}  # fmt: skip
