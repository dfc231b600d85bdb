"""The share of each agent: how many pushes it may have under way, and how much memory these may take. An agent that floods is
refused with 429; the others do not notice. Used on the event loop alone, except `exceeded`, which only reads."""

import logging
from collections import deque
from dataclasses import dataclass, field
from typing import Self

from watchkeeper.collector.intake.refusal import busy
from watchkeeper.model.clock import Clock

log = logging.getLogger(__name__)

REQUESTS_UNDER_WAY = 4
"""An agent of ours has one, and a second where it gave up waiting for the first."""

OWN_BYTES, ALL_BYTES = 64_000_000, 256_000_000
"""Of the requests under way: of one agent, and of all. Past the second, each agent has one request."""

NEW_EPOCHS, EPOCHS_WITHIN_S = 20, 3600.0
"""An epoch is the life of a spool: more new ones in this time are a flood, or a spool that is lost again and again."""

EXCEEDED_FOR_S = 60.0
"""For so long after a refusal an agent counts as one that exceeds its limits."""

HEAVY_BYTES, HEAVIER_THAN_EQUAL = 16_000_000, 1.5
"""Who has pushed more than this within the last hour or two, and so many times an equal share, waits first when the disk is short."""

_KNOWN_EPOCHS = 200
_HOUR_S = 3600.0
_LOG_EVERY_S = 60.0


@dataclass(slots=True)
class _Share:
    requests: int = 0
    cost: int = 0
    refused: int = 0
    refused_at: float = float("-inf")
    why: str = ""
    epochs: dict[str, None] = field(default_factory=dict)
    begun: "deque[float]" = field(default_factory=lambda: deque(maxlen=NEW_EPOCHS))
    pushed: int = 0
    pushed_before: int = 0
    logged_at: float = float("-inf")


class Shares:
    """What the agents have under way."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._shares: dict[str, _Share] = {}
        self._cost = 0
        self._hour_at = clock.boot()

    def enter(self, agent: str) -> "Place":
        """A place for a request. Raises Refusal (429)."""
        share = self._shares.setdefault(agent, _Share())
        if share.requests >= REQUESTS_UNDER_WAY:
            self.refuse(agent, f"{share.requests} requests of agent `{agent}` are under way; wait for their answers")
        share.requests += 1
        return Place(self, agent)

    def refuse(self, agent: str, why: str, wait_s: int = 1) -> None:
        """Note that the agent exceeds its limits, and raise Refusal (429)."""
        self.note(agent, why)
        raise busy(why, wait_s)

    def note(self, agent: str, why: str) -> None:
        """Note that the agent exceeds its limits."""
        share = self._shares.setdefault(agent, _Share())
        share.refused += 1
        share.refused_at, share.why = self._clock.boot(), why
        if share.refused_at - share.logged_at >= _LOG_EVERY_S:
            share.logged_at = share.refused_at
            log.warning("agent %s exceeds its limits (%d times so far): %s", agent, share.refused, why)

    def exceeded(self, agent: str) -> str:
        """Which limit the agent exceeded a short time ago; empty if none."""
        share = self._shares.get(agent)
        return share.why if share and self._clock.boot() - share.refused_at < EXCEEDED_FOR_S else ""

    def check_disk(self, agent: str, agents: int) -> None:
        """The disk is short: refuse the agent if it pushes much more than an equal share of so many agents."""
        own = self._pushed(self._shares[agent])
        equal = sum(map(self._pushed, self._shares.values())) / max(1, agents)
        if own > HEAVY_BYTES and own > HEAVIER_THAN_EQUAL * equal:
            why = (
                f"the collector's disk is nearly full, and agent `{agent}` fills it: {own} bytes within the last hours"
            )
            self.refuse(agent, why, 60)

    def _pushed(self, share: _Share) -> int:
        return share.pushed + share.pushed_before

    @property
    def refused(self) -> dict[str, int]:
        """How many requests of each agent were refused because of its own share."""
        return {agent: share.refused for agent, share in list(self._shares.items()) if share.refused}

    # ---- for Place ----

    def pushed(self, agent: str, size: int) -> None:
        """Count what the agent has pushed within the last hour or two."""
        now = self._clock.boot()
        if now - self._hour_at >= _HOUR_S:
            self._hour_at = now
            for share in self._shares.values():
                share.pushed, share.pushed_before = 0, share.pushed
        self._shares[agent].pushed += size

    def add(self, agent: str, cost: int) -> None:
        """Count memory of the agent's requests. Raises Refusal (429)."""
        share = self._shares[agent]
        alone = share.requests == 1
        if share.cost + cost > OWN_BYTES or (self._cost + cost > ALL_BYTES and not alone):
            self.refuse(
                agent, f"the pushes of agent `{agent}` that are under way take {share.cost + cost} bytes of memory"
            )
        share.cost += cost
        self._cost += cost

    def leave(self, agent: str, cost: int) -> None:
        """A request has its answer."""
        share = self._shares[agent]
        share.requests -= 1
        share.cost -= cost
        self._cost -= cost

    def epoch(self, agent: str, epoch: str) -> None:
        """Count the epochs that an agent begins. Raises Refusal (429)."""
        share = self._shares[agent]
        if epoch in share.epochs:
            return
        now = self._clock.boot()
        if len(share.begun) == NEW_EPOCHS and now - share.begun[0] < EPOCHS_WITHIN_S:
            self.refuse(agent, f"agent `{agent}` has begun {NEW_EPOCHS} epochs within an hour; keep one spool", 60)
        share.begun.append(now)
        share.epochs[epoch] = None
        if len(share.epochs) > _KNOWN_EPOCHS:
            del share.epochs[next(iter(share.epochs))]


class Place:
    """The place of one request of an agent, until it is left."""

    __slots__ = ("_agent", "_cost", "_shares")

    def __init__(self, shares: Shares, agent: str) -> None:
        self._shares, self._agent, self._cost = shares, agent, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._shares.leave(self._agent, self._cost)

    def took(self, cost: int) -> None:
        """The request takes so many bytes of memory more. Raises Refusal (429)."""
        self._shares.add(self._agent, cost)
        self._cost += cost

    def costs(self, cost: int) -> None:
        """The request takes so many bytes of memory in all. Raises Refusal (429)."""
        self.took(max(0, cost - self._cost))

    def pushed(self, size: int) -> None:
        """So many bytes are on the disk because of it."""
        self._shares.pushed(self._agent, size)

    def speaks_of(self, epoch: str) -> None:
        """The request is about this epoch. Raises Refusal (429)."""
        self._shares.epoch(self._agent, epoch)
