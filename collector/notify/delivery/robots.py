"""The robots by which messages leave, and what is known of each: calls under way, failures, its limits. In memory.

A robot is one address of contacts.yml: a group robot, a mail account, a webhook. Several persons may share it. Times are seconds
on the boot clock, and are arguments.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from urllib.parse import urlsplit

from watchkeeper.channels.ports import Address, Receipt, Via
from watchkeeper.collector.notify.delivery.breaker import (
    CLOSED,
    Breaker,
    BreakerState,
    after_failure,
    state_of,
)
from watchkeeper.collector.site.inventory import PersonAddress

MAX_PER_PERSON, MAX_PER_ROBOT, CRITICAL_EXTRA = 4, 8, 2
"""How many messages may be under way at one robot: to one person, and in all; and how many critical pages more than that."""

SLOW_AFTER_S = 3.0
"""A robot that has not answered for so long is slow: a page goes by the person's next channel, if there is one."""

DEADLINE_S = 15.0
DEADLINES_S = {"sms": 45.0}
"""No delivery lasts longer. Channels end theirs earlier: after 10 s, a modem after 40."""

SMS_SLOW_AFTER_S = 20.0
"""A modem needs seconds for each part of a message."""

LIMITS_PER_MIN = {"dingtalk": 20, "wecombot": 20, "feishu": 100, "lark": 100}
"""The limits that services publish for a group robot, in messages a minute. `limit` of contacts.yml comes first."""

WINDOW_S = 60.0
LONGEST_WAIT_S = 3600.0
UNLIMITED = 1_000_000


def slow_after_s(via: str) -> float:
    """After how long a robot of this kind is slow."""
    return SMS_SLOW_AFTER_S if via == Via.SMS else SLOW_AFTER_S


class Readiness(StrEnum):
    """Whether a message can go out by a robot now."""

    FREE = "free"
    BUSY = "busy"  # it has as many messages under way as it may
    SLOW = "slow"  # it does not answer; it may still
    LIMITED = "limited"  # by its limit, or because it asked us to wait
    OPEN = "open"  # its breaker is open, or its probe is under way


@dataclass(frozen=True, slots=True)
class Availability:
    """A robot as one person's messages meet it. `until` is when a robot that is limited or open may be used again. `slots` and
    `critical_slots` are how many messages may begin now. `singles` is how many notices may leave alone in this minute, `left`
    how many messages in all: the difference is kept for critical pages and digests."""

    readiness: Readiness
    until: float = 0.0
    slots: int = MAX_PER_PERSON
    critical_slots: int = MAX_PER_PERSON + CRITICAL_EXTRA
    singles: int = UNLIMITED
    left: int = UNLIMITED


@dataclass(frozen=True, slots=True)
class RobotKey:
    """What makes two addresses the same robot."""

    via: str
    url: str
    secret: str

    @property
    def label(self) -> str:
        """Its name for people and metrics: the kind, and the name of its secret or else its host. No secret, no URL."""
        return ":".join(filter(None, (self.via, self.secret or urlsplit(self.url).hostname or "")))


def robot_key(address: Address) -> RobotKey:
    """The robot of an address."""
    where = address.spool if address.via is Via.SMS else address.url  # the modem of that spool
    return RobotKey(address.via.value, where, address.secret)


def wait_for(address: PersonAddress | None, later: Sequence[Availability], *, urgent: bool) -> float:
    """How long is waited for a channel: for a critical page not long, if a `later` channel of the person may work."""
    if address is None:
        return DEADLINE_S
    other = any(one.readiness in (Readiness.FREE, Readiness.SLOW) for one in later)
    return slow_after_s(address.via) if other and urgent else deadline_of(address)


def limits_of(addresses: Iterable[PersonAddress]) -> dict[RobotKey, int]:
    """How many messages a minute each robot may send, where contacts.yml says so: the lowest limit of its addresses."""
    limits: dict[RobotKey, int] = {}
    for address in addresses:
        if limit := address.limit_per_min:
            key = robot_key(address)
            limits[key] = min(limit, limits.get(key, limit))
    return limits


def deadline_of(address: Address) -> float:
    """How long a delivery by this address may last."""
    return DEADLINES_S.get(address.via.value, DEADLINE_S)


@dataclass(frozen=True, slots=True)
class Call:
    """A delivery under way."""

    person: str
    began: float


@dataclass(frozen=True, slots=True)
class Robot:
    """What is known of a robot. `quiet_until`: it asked us to send nothing before. `sent` are the times of the messages of the
    last minute. `calls` are under way, also those that we no longer wait for. `answered_at` is its last answer. `service` is the
    service behind it, as far as its channel says."""

    breaker: Breaker = CLOSED
    quiet_until: float = 0.0
    sent: tuple[float, ...] = ()
    calls: dict[int, Call] = field(default_factory=dict)
    answered_at: float = 0.0
    service: str = ""


def availability(  # noqa: PLR0917 -- as `Robots.availability`
    robot: Robot, person: str, limit_per_min: int | None, now: float, planned: int = 0, slow_s: float = SLOW_AFTER_S
) -> Availability:
    """Whether a message to this person can go out by the robot now. `planned` are messages to others that begin first;
    `slow_s` is after how long it is slow."""
    mine = sum(call.person == person for call in robot.calls.values())
    slots = min(MAX_PER_PERSON - mine, MAX_PER_ROBOT - len(robot.calls) - planned)
    state = state_of(robot.breaker, now)
    if state is BreakerState.OPEN:
        return Availability(Readiness.OPEN, robot.breaker.probe_at)
    if state is BreakerState.HALF_OPEN:
        probing = planned or any(call.began >= robot.breaker.probe_at for call in robot.calls.values())
        if probing or slots + CRITICAL_EXTRA <= 0:
            return Availability(Readiness.OPEN, now + SLOW_AFTER_S)
        return Availability(Readiness.FREE, slots=1, critical_slots=1)
    if robot.quiet_until > now:
        return Availability(Readiness.LIMITED, robot.quiet_until)
    singles, left = UNLIMITED, UNLIMITED
    limit_per_min = limit_per_min or LIMITS_PER_MIN.get(robot.service)
    if limit_per_min is not None:
        recent = [at for at in robot.sent if at > now - WINDOW_S]
        left = limit_per_min - len(recent) - planned
        singles = left - limit_per_min // 4
        if left <= 0:
            return Availability(Readiness.LIMITED, (recent[-limit_per_min:] or [now])[0] + WINDOW_S)
    readiness = Readiness.SLOW if _slow(robot, now, slow_s) else Readiness.FREE if slots > 0 else Readiness.BUSY
    return Availability(readiness, now, slots, slots + CRITICAL_EXTRA, singles, left)


def _slow(robot: Robot, now: float, slow_s: float) -> bool:
    """Whether a call has waited for long, and none was answered meanwhile."""
    return any(now - call.began >= slow_s and call.began >= robot.answered_at for call in robot.calls.values())


def after_receipt(robot: Robot, outcome: Receipt, now: float) -> Robot:
    """The robot after a try. A refusal for good says nothing about the robot, and a limit is no failure."""
    if outcome.retry_after_s is not None:
        wait_s = min(max(outcome.retry_after_s, 1.0), LONGEST_WAIT_S)
        robot = replace(robot, quiet_until=max(robot.quiet_until, now + wait_s))
    if outcome.delivered:
        return replace(robot, breaker=CLOSED, answered_at=now)
    if outcome.permanent or outcome.retry_after_s is not None:
        return replace(robot, answered_at=now)
    return replace(robot, breaker=after_failure(robot.breaker, now))


@dataclass(frozen=True, slots=True)
class RobotStatus:
    """A robot as pages and metrics show it."""

    label: str
    state: BreakerState
    failures: int
    calls: int


class Robots:
    """All robots of a collector. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._robots: dict[RobotKey, Robot] = {}

    def availability(
        self, key: RobotKey, person: str, limit_per_min: int | None, now: float, planned: int = 0
    ) -> Availability:
        """Whether a message to this person can go out by this robot now; as `availability`."""
        with self._lock:
            robot = self._robots.get(key, Robot())
        return availability(robot, person, limit_per_min, now, planned, slow_after_s(key.via))

    def begin(self, address: Address, call: int, person: str, now: float) -> None:
        """A delivery begins. `call` is a number of its own."""
        with self._lock:
            robot = self._robots.setdefault(robot_key(address), Robot())
            recent = (*(at for at in robot.sent if at > now - WINDOW_S), now)
            calls = robot.calls | {call: Call(person, now)}
            self._robots[robot_key(address)] = replace(robot, sent=recent, calls=calls)

    def learn(self, address: Address, service: str) -> None:
        """The channel says which service is behind the address: it has limits."""
        with self._lock:
            robot = self._robots.get(robot_key(address), Robot())
            if service and robot.service != service:
                self._robots[robot_key(address)] = replace(robot, service=service)

    def end(self, address: Address, call: int) -> None:
        """The channel has returned."""
        with self._lock:
            robot = self._robots.get(robot_key(address), Robot())
            calls = {number: one for number, one in robot.calls.items() if number != call}
            self._robots[robot_key(address)] = replace(robot, calls=calls)

    def note(self, address: Address, outcome: Receipt, now: float) -> bool:
        """A try has ended. True if the robot works again after it did not."""
        with self._lock:
            before = self._robots.get(robot_key(address), Robot())
            after = self._robots[robot_key(address)] = after_receipt(before, outcome, now)
        return before.breaker.opened_at is not None and after.breaker.opened_at is None

    def awaiting_probe(self, now: float) -> set[RobotKey]:
        """The robots that failed, and that a message may try again now."""
        with self._lock:
            known = list(self._robots.items())
        half_open = (one for one in known if state_of(one[1].breaker, now) is BreakerState.HALF_OPEN)
        return {
            key for key, robot in half_open if all(call.began < robot.breaker.probe_at for call in robot.calls.values())
        }

    def under_way(self, now: float) -> int:
        """How many deliveries are under way that may still be answered in time."""
        with self._lock:
            calls = [call for robot in self._robots.values() for call in robot.calls.values()]
        return sum(now - call.began < SLOW_AFTER_S for call in calls)

    def status(self, address: Address, now: float) -> RobotStatus:
        """One robot."""
        key = robot_key(address)
        with self._lock:
            robot = self._robots.get(key, Robot())
        return RobotStatus(key.label, state_of(robot.breaker, now), robot.breaker.failures, len(robot.calls))

    def statuses(self, addresses: Sequence[Address], now: float) -> list[RobotStatus]:
        """The robots of these addresses, each once, by label. Where two have the same label, the first is left with it."""
        by_key = {robot_key(address): address for address in addresses}
        seen: Counter[str] = Counter()
        found = []
        for address in by_key.values():
            one = self.status(address, now)
            seen[one.label] += 1
            found.append(one if seen[one.label] == 1 else replace(one, label=f"{one.label}-{seen[one.label]}"))
        return sorted(found, key=lambda one: one.label)
