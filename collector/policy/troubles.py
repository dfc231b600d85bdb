"""A trouble: the incidents that belong together (an incident group: a root cause and its impact). It has the ladder, the
acknowledgement and the messages. Pure; times in UTC seconds.

Its clock counts the time in which a fault is there. While all of its faults are gone the clock does not run, and no rung is
decided. If a fault comes back, the clock goes on; once all have stayed away for `recovered_after_s`, the trouble is over and
people are told.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from watchkeeper.model.errors import Conflict
from watchkeeper.model.verdict import Level

RECOVERED_AFTER_S, FLAPPING_RECOVERED_AFTER_S = 60.0, 600.0
"""How long all faults must stay away before the recovery is told: the first time, and once the trouble has come back."""

RETURNS_WITHIN_S = 600.0
"""A fault that comes back this soon after its trouble was over continues it."""

FLAPPING_RECURRENCE = 3
"""From this recurrence on, people are told once that the trouble flaps."""

PARENT_READ_S = 10.0
"""How long the rungs of a fault that something else may explain wait for that to be read again."""

CHASE_EVERY_S = 600.0
"""How often people who must be on site are asked whether they are."""

CHILD_STAYS_S = 120.0
"""How long after the end of its cause a fault may still be there; then it is a trouble of its own."""


class TroubleState(StrEnum):
    """Open until its faults have stayed away; withdrawn if nobody judges them any more; merged into another trouble that has
    turned out to be its cause."""

    OPEN = "open"
    RESOLVED = "resolved"
    WITHDRAWN = "withdrawn"
    MERGED = "merged"


@dataclass(frozen=True, slots=True)
class Trouble:
    """A trouble. `cause` is the number of the incident that is its probable cause, and `agent` judges that. `level` is the
    worst of its open incidents. `opened_at` is when it began; `began_at` is the origin of its clock: later than that by the
    time in which no fault was there. `recurrence` is 1, and one more each time it came back. `quiet_since` is when its last
    fault went away, None while one is there. `wait_until` holds the first rung until its parent is read again. `on_site_at`
    is when somebody said that he is on site; until then people who must come are asked again at `chase_at`."""

    cause: int
    agent: str
    level: Level
    opened_at: float
    began_at: float
    trouble: int = 0  # its number; 0 until the store gives it one
    state: TroubleState = TroubleState.OPEN
    recurrence: int = 1
    quiet_since: float | None = None
    ended_at: float | None = None
    wait_until: float = 0.0
    acknowledged_at: float | None = None
    acknowledged_by: str | None = None
    on_site_at: float | None = None
    on_site_by: str | None = None
    chase_at: float | None = None
    merged_into: int = 0
    flapping_told: bool = False

    @property
    def open(self) -> bool:
        """Whether it is not over."""
        return self.state is TroubleState.OPEN

    @property
    def quiet(self) -> bool:
        """Whether no fault of it is there now."""
        return self.quiet_since is not None

    def bad_s(self, now: float) -> float:
        """How long its faults were there."""
        return max(0.0, (now if self.quiet_since is None else self.quiet_since) - self.began_at)

    @property
    def recovered_after_s(self) -> float:
        """How long its faults must stay away until it is over."""
        return RECOVERED_AFTER_S if self.recurrence == 1 else FLAPPING_RECOVERED_AFTER_S


def gone_quiet(known: Trouble, at: float) -> Trouble:
    """The last of its faults has gone."""
    return replace(known, quiet_since=max(at, known.began_at))


def returned(known: Trouble, at: float) -> Trouble:
    """A fault is there again: the time in which none was does not count."""
    since = at if known.quiet_since is None else known.quiet_since
    return replace(
        known,
        state=TroubleState.OPEN,
        began_at=known.began_at + max(0.0, at - since),
        recurrence=known.recurrence + 1,
        quiet_since=None,
        ended_at=None,
    )


def after_steps(known: Trouble, steps: Iterable[tuple[float, int]], open_now: int, now: float) -> Trouble:
    """The trouble after its faults have begun (+1) and ended (-1) at these times; `open_now` of them are there now. The result
    is the same if the steps come in several parts."""
    known_until = (
        known.quiet_since or 0.0
    )  # the time before that has been counted, also where a fault is reported later
    steps = sorted(((max(at, known_until), change) for at, change in steps), key=lambda step: step[0])
    count = max(0, open_now - sum(change for _, change in steps))
    for at, change in steps:
        before, count = count, max(0, count + change)
        if before == 0 < count and (known.quiet or not known.open):
            known = returned(known, at)
        elif count == 0 < before and known.open and not known.quiet:
            known = gone_quiet(known, at)
    if open_now and (known.quiet or not known.open):
        return returned(known, now)
    if not open_now and known.open and not known.quiet:
        return gone_quiet(known, now)
    return known


def may_return(known: Trouble, at: float) -> bool:
    """Whether a fault that comes back at that time continues the trouble."""
    if known.state is TroubleState.RESOLVED and known.ended_at is not None:
        return at - known.ended_at < RETURNS_WITHIN_S
    return known.open


def is_over(known: Trouble, now: float) -> bool:
    """Whether its faults have stayed away for long enough."""
    return known.open and known.quiet_since is not None and now - known.quiet_since >= known.recovered_after_s


def over(known: Trouble, state: TroubleState, at: float) -> Trouble:
    """The trouble has ended, when its last fault went away."""
    return replace(
        known,
        state=state,
        ended_at=at if known.quiet_since is None else known.quiet_since,
        quiet_since=known.quiet_since or at,
    )


# ---- what persons say ----


def acknowledge(known: Trouble, person: str, at: float) -> Trouble:
    """Note who works on it. This stops no rung unless the ladder says so. Raises Conflict if it is over."""
    must_be_open(known, "acknowledged")
    return replace(known, acknowledged_at=at, acknowledged_by=person)


def on_site(known: Trouble, person: str, at: float) -> Trouble:
    """Note who is on site; nobody is asked for it any more. Raises Conflict if the trouble is over."""
    must_be_open(known, "worked on at the site")
    return replace(known, on_site_at=at, on_site_by=person, chase_at=None)


def chased(known: Trouble, at: float) -> Trouble:
    """Somebody must come on site: people are asked again after CHASE_EVERY_S, until one says that he is there."""
    return known if known.on_site_at is not None else replace(known, chase_at=at + CHASE_EVERY_S)


def reopened(known: Trouble, at: float) -> Trouble:
    """A person says that it is not fixed. It stays open until a person resolves it, or until its faults come back and go.
    Raises Conflict unless it was resolved."""
    if known.state is not TroubleState.RESOLVED:
        raise Conflict(f"trouble {known.trouble} is {known.state} and cannot be opened again; only a resolved one can")
    return returned(known, at)


def must_be_open(known: Trouble, done: str) -> None:
    """Raises Conflict if the trouble is over."""
    if not known.open:
        raise Conflict(f"trouble {known.trouble} is {known.state} already and cannot be {done}")
