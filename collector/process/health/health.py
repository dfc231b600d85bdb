"""Whether this collector does its work. It is proved by work that was done lately, not by a thread that is there.

All of this is in memory, and asks neither the store nor the network: it must still answer when both hang.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from watchkeeper.model.clock import Clock
from watchkeeper.model.text import marked

STALE_AFTER_S = 30.0
"""Work that was not done for so long is not done. Each kind is done at least every five seconds."""

WRITE, TURN, OUTBOX, JOURNAL, REQUESTS = "write", "turn", "outbox", "journal", "requests"
"""The kinds of work: a committed write, a turn that decides rungs, the outbox, the journal's thread, the web server."""

NOT_DONE = {
    WRITE: marked("nothing was written to the store for {s} s"),
    TURN: marked("no escalation was decided for {s} s"),
    OUTBOX: marked("the outbox has not run for {s} s"),
    JOURNAL: marked("the journal has not run for {s} s"),
    REQUESTS: marked("the web server has not run for {s} s"),
}


@dataclass(frozen=True, slots=True)
class Lapse:
    """A kind of work that is not done. `age_s` is how long ago it was done last."""

    work: str
    age_s: float

    def __str__(self) -> str:
        return NOT_DONE[self.work].format(s=int(self.age_s))


class Health:
    """What this collector has done, and when (boot clock). May be used from any thread. Only work that somebody `expects`
    is asked for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._done: dict[str, float] = {}
        self._sources: dict[str, Callable[[], float]] = {}
        self.turned = self.stopping = False
        self.told_directly = 0
        self.unsent = ""
        """Why no message leaves this collector, although it works; empty if they leave."""

    def expect(self, work: str, done_at: Callable[[], float] | None = None) -> None:
        """From now on this work must be done again and again. `done_at` tells when it was done last; without it, `done` is
        called."""
        self._done.setdefault(work, self._clock.boot())
        if done_at:
            self._sources[work] = done_at

    def done(self, work: str) -> None:
        """The work was done just now."""
        if work in self._done:
            self._done[work] = self._clock.boot()
        self.turned |= work == TURN

    def done_at(self) -> dict[str, float]:
        """When each expected kind of work was done last."""
        return {work: self._sources[work]() if work in self._sources else at for work, at in self._done.items()}

    def lapses(self) -> tuple[Lapse, ...]:
        """The kinds of work that are not done now."""
        now = self._clock.boot()
        return tuple(Lapse(work, now - at) for work, at in self.done_at().items() if now - at > STALE_AFTER_S)

    def done_since(self, since: float) -> bool:
        """Whether every kind of work was done after that time."""
        return all(at > since for at in self.done_at().values())

    def unready(self) -> Iterator[str]:
        """Why this collector should get no requests now."""
        if self.stopping:
            yield "it is stopping"
        elif not self.turned:
            yield "it is starting: the first turn is not done"
        yield from map(str, self.lapses())
