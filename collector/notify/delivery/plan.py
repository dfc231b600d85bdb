"""What of a person's due messages goes out now, by which channel, alone or joined into a digest. Pure.

Nothing is lost by a limit: what may not go out yet stays due. Times are seconds on the boot clock, unless they say otherwise.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from watchkeeper.collector.notify.delivery.robots import WINDOW_S, Availability, Readiness
from watchkeeper.collector.notify.notice import Urgency

FLOOD_ABOVE = 8
"""Where more pages than these are due to a person at the same moment, all but critical ones are joined into digests; and so are other
notices. Pages are joined with pages only: no page disappears among what is over."""

CRITICAL_PER_MIN, PAGES_PER_MIN, OTHERS_PER_MIN = 90, 60, 40
"""How many pages a person gets alone in a minute before a critical one, or another one, is joined into a digest; and how many
other notices."""

DIGEST_EVERY_S, FLOOD_DIGEST_EVERY_S = 20.0, 5.0
"""How long after a digest the next one leaves, unless it is full; and how long in a flood, or if it has a critical page."""

DIGEST_MOST = 400
"""How many notices a digest joins."""

LATE_S = 60.0
"""A page that has waited for so long for a robot's limit is handed on to the next person."""


class DueRow(Protocol):
    """What the plan asks of a row of the outbox."""

    @property
    def urgency(self) -> int:
        """As in `Urgency`: the lowest goes first."""

    @property
    def channel(self) -> int:
        """The index of the channel that is tried next."""

    @property
    def created_at(self) -> float:
        """Wall clock."""

    @property
    def handed_on(self) -> bool:
        """Whether another person was notified instead."""

    @property
    def subject(self) -> str:
        """The subject, which is its line in a digest."""


class Choice(Enum):
    """What happens to a message that no channel can take now."""

    WAIT = "wait"  # soon one can
    BLOCKED = "blocked"  # none can for some time: another person is notified


@dataclass(frozen=True, slots=True)
class Load:
    """What a person got lately: the times of the pages and of the other notices that went out alone, and of the last digest."""

    pages: tuple[float, ...] = ()
    others: tuple[float, ...] = ()
    digest_at: float = float("-inf")

    def after(self, urgency: int, now: float, *, joined: bool) -> "Load":
        """The load after one more message."""
        pages, others = (tuple(at for at in times if at > now - WINDOW_S) for times in (self.pages, self.others))
        if joined:
            return Load(pages, others, now)
        if urgency < Urgency.NOTICE:
            return Load((*pages, now), others, self.digest_at)
        return Load(pages, (*others, now) if urgency < Urgency.TEST else others, self.digest_at)


@dataclass(frozen=True, slots=True)
class Sending:
    """Messages that leave together by one channel: one, or a digest. `joined`: they waited to be joined, even if it is one."""

    rows: tuple[Any, ...]
    channel: int
    joined: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens to a person's due messages now. What is in neither waits. `blocked` has messages that no channel can take for
    some seconds."""

    sendings: tuple[Sending, ...] = ()
    blocked: tuple[tuple[Any, float], ...] = ()


@dataclass(slots=True)
class _Left:
    """How many messages may still leave."""

    slots: list[int]
    critical_slots: list[int]
    singles: list[int]
    robot: list[int]
    pages: int
    others: int
    excess: dict[tuple[int, bool], list[Any]] = field(default_factory=dict)

    def free(self, channel: int, *, critical: bool) -> bool:
        return (self.critical_slots if critical else self.slots)[channel] > 0

    def rate_allows(self, channel: int, urgency: int) -> bool:
        if urgency < Urgency.PAGE:
            return self.pages < CRITICAL_PER_MIN and self.robot[channel] > 0
        allowed = self.pages < PAGES_PER_MIN if urgency < Urgency.NOTICE else self.others < OTHERS_PER_MIN
        return allowed and self.singles[channel] > 0

    def take(self, channel: int, urgency: int | None = None) -> None:
        """One message leaves; `urgency` if it is a notice that goes alone."""
        for counts in (self.slots, self.critical_slots, self.singles, self.robot):
            counts[channel] -= 1
        if urgency is not None:
            self.pages += urgency < Urgency.NOTICE
            self.others += urgency >= Urgency.NOTICE


def plan(  # noqa: PLR0917 -- the facts of one person at one moment
    rows: Sequence[DueRow],
    ready: Sequence[Availability],
    rooms: Callable[[int], int],
    load: Load,
    now: float,
    wall: float,
    *,
    line_bytes: int = 0,
) -> Plan:
    """Decide about the due messages of one person, the most urgent first. `ready` is of the person's channels; `rooms` says how many
    bytes a digest by a channel may have, `line_bytes` how many each notice needs beside its subject."""
    left = _Left(
        [one.slots for one in ready], [one.critical_slots for one in ready],
        [one.singles for one in ready], [one.left for one in ready], _recent(load.pages, now), _recent(load.others, now),
    )  # fmt: skip
    sendings: list[Sending] = []
    blocked: list[tuple[DueRow, float]] = []
    floods = [urgencies for urgencies in _JOINED if sum(row.urgency in urgencies for row in rows) > FLOOD_ABOVE]
    for row in rows:
        test = row.urgency >= Urgency.TEST
        joins = any(row.urgency in urgencies for urgencies in floods)
        age_s = wall - row.created_at
        choice = _test_channel(row, ready, left) if test else _choose(row, ready, left, now, age_s)
        if choice is Choice.BLOCKED:
            until = min(one.until for one in ready[_first(row, ready) :])
            blocked.append((row, max(1.0, until - now)))
        elif isinstance(choice, int) and (test or (not joins and left.rate_allows(choice, row.urgency))):
            sendings.append(Sending((row,), choice))
            left.take(choice, None if test else row.urgency)
        elif isinstance(choice, int):
            left.excess.setdefault((choice, row.urgency < Urgency.NOTICE), []).append(row)
    sendings += _digests(left, rooms, line_bytes, now - load.digest_at, flood=bool(floods))
    return Plan(tuple(sendings), tuple(blocked))


_JOINED = range(Urgency.PAGE, Urgency.NOTICE), range(Urgency.NOTICE, Urgency.TEST)
"""The urgencies of what a flood joins: pages but critical ones, and other notices."""


def _first(row: DueRow, ready: Sequence[Availability]) -> int:
    """The index of its channel; the first where the contacts no longer have so many."""
    return row.channel if row.channel < len(ready) else 0


def _test_channel(row: DueRow, ready: Sequence[Availability], left: _Left) -> int | Choice:
    """A test goes by the channel that it tests, whatever is known of that; it only waits while others are under way."""
    channel = _first(row, ready)
    usable = ready[channel].readiness in (Readiness.FREE, Readiness.SLOW) and left.slots[channel] > 0
    return channel if usable else Choice.WAIT


def _choose(row: DueRow, ready: Sequence[Availability], left: _Left, now: float, age_s: float) -> int | Choice:
    """The channel for a message: the one it has, or a later one where that cannot be used. A page also passes over a robot that
    is slow or limited, a critical page over one that is busy."""
    page, critical = row.urgency < Urgency.NOTICE, row.urgency < Urgency.PAGE
    second_best: int | None = None
    waits = False
    for channel in range(_first(row, ready), len(ready)):
        one = ready[channel]
        free = left.free(channel, critical=critical)
        if one.readiness is Readiness.FREE and free:
            return channel
        if one.readiness in (Readiness.SLOW, Readiness.BUSY) and free and second_best is None:
            second_best = channel
        if one.readiness is Readiness.OPEN or (one.readiness is Readiness.LIMITED and _too_long(row, one, now, age_s)):
            continue
        waits = True
        if not (critical or (page and one.readiness in (Readiness.SLOW, Readiness.LIMITED))):
            break
    if second_best is not None:
        return second_best
    return Choice.WAIT if waits else Choice.BLOCKED


def _too_long(row: DueRow, one: Availability, now: float, age_s: float) -> bool:
    return one.until - now > LATE_S or (age_s > LATE_S and not row.handed_on)


def _recent(times: Sequence[float], now: float) -> int:
    return sum(at > now - WINDOW_S for at in times)


def _digests(
    left: _Left, rooms: Callable[[int], int], line_bytes: int, since_s: float, *, flood: bool
) -> Iterator[Sending]:
    """The digests that leave now: each that is full, and a last one if some time has passed since the previous one (`since_s`)."""
    for (channel, _), rows in sorted(left.excess.items(), key=lambda one: not one[0][1]):  # pages first
        for part, full in _parts(rows, rooms(channel), line_bytes):
            critical = any(row.urgency < Urgency.PAGE for row in part)
            pause_s = FLOOD_DIGEST_EVERY_S if critical or flood else DIGEST_EVERY_S
            if not (full or since_s >= pause_s):
                continue
            if not left.free(channel, critical=critical) or left.robot[channel] <= 0:
                break
            left.take(channel)
            yield Sending(tuple(part), channel, joined=True)


def _parts(rows: Sequence[DueRow], limit_bytes: int, line_bytes: int) -> Iterator[tuple[list[DueRow], bool]]:
    """Cut messages into digests of at most `limit_bytes` and DIGEST_MOST; with whether each is full."""
    part: list[DueRow] = []
    size = 0
    for row in rows:
        needs = len(row.subject.encode(errors="replace")) + line_bytes
        if part and (size + needs > limit_bytes or len(part) >= DIGEST_MOST):
            yield part, True
            part, size = [], 0
        part.append(row)
        size += needs
    if part:
        yield part, False
