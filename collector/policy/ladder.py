"""The ladder, an escalation policy (4.2.6): which rungs an incident has and when each is due. Pure; times in UTC seconds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from watchkeeper.collector.site.inventory import Ladder, Ladders, StopsAt
from watchkeeper.model.verdict import Level


@dataclass(frozen=True, slots=True)
class ScheduledRung:
    """A rung of one recurrence of an incident: when it is due, and when and by whom (`clock`, `person:NAME`) it was
    decided."""

    rung: str
    number: int
    ladder: str
    due_at: float
    decided_at: float | None = None
    decided_by: str | None = None


def ladder_for(level: Level, ladders: Ladders) -> Ladder:
    """The first ladder that lists the level. A configuration without one is refused when it is loaded."""
    return next(ladder for ladder in ladders.ladders if level in ladder.levels)


def schedule_rungs(ladder: Ladder, start: float, steps: Sequence[ScheduledRung] = ()) -> tuple[ScheduledRung, ...]:
    """The rungs of an incident on `ladder` that counts from `start`, given the rungs it has already.

    A decided rung is not repeated. A rung that both ladders have keeps the earlier of its two times, so that a fault that gets
    worse is never escalated later because of it. Undecided rungs that only the old ladder has are dropped.
    """
    held = {step.rung: step for step in steps}
    merged = [step for step in steps if step.decided_at is not None]
    for number, rung in enumerate(ladder.rungs):
        old = held.get(rung.rung)
        if old and old.decided_at is not None:
            continue
        due = start + rung.after_s
        merged.append(ScheduledRung(rung.rung, number, ladder.ladder, min(due, old.due_at) if old else due))
    return tuple(merged)


def stopping_levels(ladders: Ladders) -> frozenset[Level]:
    """The levels whose ladder stops at an acknowledgement."""
    return frozenset(
        level for level in Level if level.bad and ladder_for(level, ladders).stops_at is StopsAt.ACKNOWLEDGED
    )


def upcoming(steps: Iterable[ScheduledRung]) -> ScheduledRung | None:
    """The next undecided rung. The page counts down to it, and *escalate now* decides it at once."""
    return min((step for step in steps if step.decided_at is None), key=_order, default=None)


def up_to(steps: Sequence[ScheduledRung], rung: str = "") -> list[ScheduledRung]:
    """The undecided rungs up to the one of that name, in order; without a name, the next one alone."""
    target = next((step for step in steps if step.rung == rung), None) if rung else upcoming(steps)
    if target is None:
        return []
    if not rung:
        return [target]
    undecided = (step for step in steps if step.decided_at is None)
    return sorted((step for step in undecided if _order(step) <= _order(target)), key=_order)


def current(steps: Iterable[ScheduledRung]) -> ScheduledRung | None:
    """The current level: the highest rung decided so far."""
    return max((step for step in steps if step.decided_at is not None), key=_order, default=None)


def _order(step: ScheduledRung) -> tuple[float, int]:
    return (step.due_at, step.number)
