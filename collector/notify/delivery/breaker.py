"""The circuit breaker of a robot: after failures in a row nothing is sent by it for a while. Pure; times are seconds on the boot clock.

The usual three states: closed (messages are sent), open (nothing is sent) and half-open (one message is sent as a probe).
"""

from dataclasses import dataclass
from enum import StrEnum

FAILURES_TO_OPEN = 3
FIRST_OPEN_S, LONGEST_OPEN_S = 5.0, 30.0
"""How long a robot is left out before the first probe; after each failed probe twice as long, up to the second."""


class BreakerState(StrEnum):
    """Whether a robot is used."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class Breaker:
    """How many tries failed in a row, when the breaker last opened (None: it is closed), and for how long."""

    failures: int = 0
    opened_at: float | None = None
    open_s: float = FIRST_OPEN_S

    @property
    def probe_at(self) -> float:
        """When the next probe may be sent."""
        return 0.0 if self.opened_at is None else self.opened_at + self.open_s


CLOSED = Breaker()


def state_of(breaker: Breaker, now: float) -> BreakerState:
    """The state at a moment."""
    if breaker.opened_at is None:
        return BreakerState.CLOSED
    return BreakerState.HALF_OPEN if now >= breaker.probe_at else BreakerState.OPEN


def after_failure(breaker: Breaker, now: float) -> Breaker:
    """The breaker after one more failure: it opens at the third in a row, and again after a failed probe. While it is open,
    only calls that began before can fail; they change nothing."""
    state, failures = state_of(breaker, now), breaker.failures + 1
    if state is BreakerState.OPEN:
        return breaker
    if state is BreakerState.HALF_OPEN:
        return Breaker(failures, now, min(2 * breaker.open_s, LONGEST_OPEN_S))
    return Breaker(failures, now if failures >= FAILURES_TO_OPEN else None)
