"""Which clock is right. Pure; all times are seconds, and every offset is "what that clock shows minus our boot clock".

The collector's time is its boot clock plus an offset. The offset comes from a *reference* outside: the machine's wall clock for an
embedded store, the database's clock for PostgreSQL. Small differences are followed slowly. A large and sudden one means that the
reference has jumped, or that our boot clock has stopped for a while (a paused virtual machine). Then the other clocks decide:
agents and other collectors. One that shows what it showed before speaks for our boot clock. One that has moved as far as the
reference speaks for the reference. Until they have decided, and for DOUBT_S at most, the time is in doubt.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import median

TOLERANCE_S = 3.0
"""Clocks that differ by no more agree. A push is under way for that long at most, on a normal network."""

DOUBT_S = 10.0
START_S = 30.0
"""How long a doubt lasts at most: after a jump, and after a start with another boot of the machine."""

STEADY_S = 600.0
"""A clock that has jumped is believed again when it has been steady for so long. Within this time it causes no second doubt."""

HEARD_S = 120.0
"""A clock that was not heard for longer has no vote."""

OFF_S = 31 * 86_400.0
"""A machine is hardly off for longer: a wall clock that says so after a start is believed only if agents agree."""

EARLIEST = 1_793_491_200.0
"""2026-11-01: a wall clock that shows less is wrong."""

SLEW_S = 0.05
"""How far the time follows a small difference in one look."""

NOTICED_S = 5.0
"""A jump is noticed so late at most: a witness may have been heard that much earlier."""

ENOUGH = 2
"""Fewer agents cannot say that our boot clock has stopped: one may run on our own machine, and share its wall clock."""


class Doubt(StrEnum):
    """Why the time is in doubt."""

    START = "start"
    JUMP = "jump"


@dataclass(frozen=True, slots=True)
class OtherClock:
    """A clock outside: its offset, when it was heard last, and when and by how much it jumped last."""

    offset_s: float
    at: float
    moved_at: float = -math.inf
    moved_s: float = 0.0


@dataclass(frozen=True, slots=True)
class OwnTime:
    """What the collector's time is. `gap_s` is the reference minus it at the last look. `sure`: other clocks have confirmed it.
    `step_s` is by how much the last look has set it; 0.0 where it only went on."""

    offset_s: float
    doubt: Doubt | None = None
    doubted_at: float = -math.inf
    gap_s: float = 0.0
    sure: bool = False
    jumps: int = 0
    step_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Others:
    """The clocks that vote. `agents` by name; `skews`: what each agent's clock was ahead of our time before this boot. `ours` and
    `theirs` are how many other collectors go by our time, and by the reference. `wall` is the offset of the machine's wall clock
    if it may be right (None: it cannot be, or it is no witness)."""

    agents: Mapping[str, OtherClock]
    skews: Mapping[str, float]
    ours: int = 0
    theirs: int = 0
    wall: float | None = None


def observe(known: OtherClock | None, offset_s: float, at: float) -> OtherClock:
    """What is known of a clock after it was heard once more."""
    if known is None:
        return OtherClock(offset_s, at)
    moved_s = offset_s - known.offset_s
    if abs(moved_s) <= TOLERANCE_S:
        return replace(known, offset_s=offset_s, at=at)
    return OtherClock(offset_s, at, at, moved_s)


def begin(wall: float, boot: float, seen_at: float | None, skews: Mapping[str, float]) -> OwnTime:
    """The time after a start in a new boot of the machine. `seen_at` is the last time that the store has seen (None: it is
    empty). No time is before that."""
    trusted = plausible(wall, seen_at)
    shown = wall if trusted or seen_at is None else seen_at
    doubt = None if trusted and not skews else Doubt.START
    return OwnTime(shown - boot, doubt, boot if doubt else -math.inf, wall - shown)


def plausible(wall: float, seen_at: float | None) -> bool:
    """Whether a wall clock may be right after a start."""
    if seen_at is None:
        return wall >= EARLIEST
    return seen_at - TOLERANCE_S <= wall <= seen_at + OFF_S


def look(guard: OwnTime, reference: OtherClock, others: Others, boot: float, *, follows: bool = False) -> OwnTime:
    """The time after one more look at the clocks. `follows`: without votes the reference is right (the database's clock), and not
    our boot clock."""
    gap_s = reference.offset_s - guard.offset_s
    guard = replace(guard, step_s=0.0)
    if abs(gap_s - guard.gap_s) > TOLERANCE_S:
        guard = _jumped(guard, gap_s, boot, follows=follows)
    guard = replace(guard, gap_s=gap_s)
    if guard.doubt is Doubt.START:
        return _started(guard, others, boot)
    if guard.doubt is Doubt.JUMP:
        return _judged(guard, others, boot, follows=follows)
    if abs(gap_s) > TOLERANCE_S and others.theirs > others.ours:
        return _set(guard, reference.offset_s)
    if not (guard.sure or follows) and (target := _elected(others, boot - HEARD_S)) is not None:
        return replace(_set(guard, target), sure=True)
    if abs(gap_s) <= TOLERANCE_S:
        return replace(guard, offset_s=guard.offset_s + min(max(gap_s, -SLEW_S), SLEW_S))
    outlasted = not follows and _outlasted(reference, others, boot)
    return replace(_set(guard, reference.offset_s), sure=False) if outlasted else guard


def told(guard: OwnTime, moved_s: float, reference_s: float) -> OwnTime:
    """The time after another collector has set it by `moved_s`, and what the reference counts for by `reference_s`. A doubt about
    what it has decided ends with the next look."""
    return replace(guard, offset_s=guard.offset_s + moved_s, gap_s=guard.gap_s + reference_s - moved_s)


def _jumped(guard: OwnTime, gap_s: float, boot: float, *, follows: bool) -> OwnTime:
    guard = replace(guard, jumps=guard.jumps + 1)
    again = boot - guard.doubted_at < STEADY_S and not follows
    if guard.doubt is not None or abs(gap_s) <= TOLERANCE_S or again:
        return guard
    return replace(guard, doubt=Doubt.JUMP, doubted_at=boot)


def _started(guard: OwnTime, others: Others, boot: float) -> OwnTime:
    """After a start in a new boot: the agents know our earlier time."""
    over = boot - guard.doubted_at >= START_S
    target = _elected(others, guard.doubted_at, expected=0 if over else len(others.skews))
    if target is not None:
        return replace(_set(guard, target), doubt=None, sure=True)
    return replace(guard, doubt=None) if over else guard


def _judged(guard: OwnTime, others: Others, boot: float, *, follows: bool) -> OwnTime:
    """After a jump: is our boot clock right, or the reference?"""
    if abs(guard.gap_s) <= TOLERANCE_S:  # it has come back
        return replace(guard, doubt=None)
    over = boot - guard.doubted_at >= DOUBT_S
    since = guard.doubted_at - NOTICED_S
    known = [one for one in others.agents.values() if boot - one.at <= HEARD_S]
    fresh = [one for one in known if one.at > guard.doubted_at]
    ours = others.ours + sum(one.moved_at < since for one in fresh)
    theirs = sum(one.moved_at >= since and abs(one.moved_s - guard.gap_s) <= 2 * TOLERANCE_S for one in fresh)
    voters = others.ours + len(fresh if over else known)
    if others.theirs > others.ours or (theirs >= ENOUGH and 2 * theirs > voters):
        return replace(_set(guard, guard.offset_s + guard.gap_s), doubt=None)
    if 2 * ours > voters or (over and not follows):
        return replace(guard, doubt=None, sure=guard.sure or 2 * ours > voters)
    return replace(_set(guard, guard.offset_s + guard.gap_s), doubt=None) if over else guard


def _set(guard: OwnTime, offset_s: float) -> OwnTime:
    step_s = offset_s - guard.offset_s
    if abs(step_s) <= TOLERANCE_S:
        return guard
    return replace(guard, offset_s=offset_s, step_s=step_s, gap_s=guard.gap_s - step_s)


def _outlasted(reference: OtherClock, others: Others, boot: float) -> bool:
    """Whether the reference has kept to another time for so long after its jump, without a witness against it, that it is believed.
    One that has not jumped was found to be wrong by others."""
    if math.isinf(reference.moved_at) or boot - reference.moved_at < STEADY_S:
        return False
    heard = (one for one in others.agents.values() if boot - one.at <= HEARD_S)
    return not others.ours and all(one.moved_at >= reference.moved_at - NOTICED_S for one in heard)


def _elected(others: Others, since: float, expected: int = 0) -> float | None:
    """The offset of the majority of the agents heard since then; None if there is none. An agent whose skew is known from before
    knows our earlier time. Where no such agent is heard, all are asked, and the wall clock."""
    heard = {name: one.offset_s for name, one in others.agents.items() if one.at >= since}
    votes = [offset_s - others.skews[name] for name, offset_s in heard.items() if name in others.skews]
    if not votes and heard:
        votes = [*heard.values(), *([] if others.wall is None else [others.wall])]
    return majority(votes, expected)


def majority(votes: Sequence[float], expected: int = 0) -> float | None:
    """What more than half of the votes agree on, of `expected` votes at least."""
    for one in votes:
        near = [other for other in votes if abs(other - one) <= TOLERANCE_S]
        if 2 * len(near) > max(len(votes), expected):
            return median(near)
    return None


def votes_of_peers(beats: Iterable[float], ours: float, reference: float, late_s: float) -> tuple[int, int]:
    """How many other collectors go by our time, and by the reference's. `beats` are their last signs of life, by their time; each
    is up to `late_s` old."""
    found = [0, 0]
    for beat in beats:
        behind = (ours - beat, reference - beat)
        near = [-TOLERANCE_S <= one <= late_s for one in behind]
        if near[0] is not near[1]:
            found[near.index(True)] += 1
    return found[0], found[1]
