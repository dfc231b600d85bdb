"""What the spool holds goes to the collector: events at once, readings every second or so, each lane in its order.

`step` does what is due and tells how long to wait for the next thing; only `run` knows threads. Nothing leaves the spool
but by a 2xx, or, where the collector will never take it, aside with the reason.
"""

import json
import logging
import random
from collections.abc import Callable

from watchkeeper.agent.ports import CollectorClient
from watchkeeper.agent.spool.spool import Batch, Spool
from watchkeeper.model.batch import Answer, Bundle, Lane, Push, Request
from watchkeeper.model.clock import Clock
from watchkeeper.model.errors import (
    PushError,
    PushLater,
    PushRefused,
    PushUnauthorized,
    PushUndeclared,
    WatchkeeperError,
)
from watchkeeper.model.failpoint import failpoint
from watchkeeper.model.worker import Worker

log = logging.getLogger("agent.push")

BATCH_ITEMS, BATCH_BYTES = 1_000, 500_000
READINGS_EVERY_S = 1.0
LOCKED_OUT_S = 60.0
LONGEST_WAIT_S = 60.0
FIRST_INTERVAL_S = 15.0
BUNDLE_AGAIN_S = 10.0
REFUSALS_IN_A_ROW = 12  # more than it takes to halve a batch down to its one bad item


class Pusher:
    """See the module. `take` is handed a new bundle and raises WatchkeeperError where it cannot be used; `heed` is handed
    what the collector asks for. Both are called from the pusher's thread."""

    def __init__(
        self,
        spool: Spool,
        collector: CollectorClient,
        clock: Clock,
        agent: str,
        *,
        take: Callable[[Bundle], None],
        heed: Callable[[Request], None],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._spool, self._collector, self._clock, self._agent = spool, collector, clock, agent
        self._take, self._heed, self._chance = take, heed, chance
        self._interval_s = FIRST_INTERVAL_S
        self._held = self._refused = ""  # versions of bundles
        self._wants_bundle, self._held_back = True, False
        self._limit = dict.fromkeys(Lane, BATCH_ITEMS)
        self._greeted: set[Lane] = set()
        self._failures = self._refusals = self._bundle_failures = 0
        self._away_since: float | None = None
        self._not_before = self._readings_from = self._fetch_from = self._heard_at = clock.boot() - LONGEST_WAIT_S
        self._worker = Worker("push", self._next, clock, retry_s=LONGEST_WAIT_S)

    def holds(self, bundle: Bundle) -> None:
        """Begin with the bundle kept on disk."""
        self._held, self._interval_s, self._wants_bundle = bundle.version, bundle.interval_s, False

    # ---- the thread ----

    def start(self) -> None:
        """Push from a thread of its own until `stop`."""
        self._worker.start()

    def wake(self) -> None:
        """Something waits in the spool."""
        self._worker.wake()

    def fetch(self) -> None:
        """Fetch the bundle again, even one that was refused."""
        self._refused, self._wants_bundle, self._fetch_from = "", True, self._clock.boot()
        self._worker.wake()

    def stop(self, timeout_s: float) -> None:
        """Finish the push under way, if the collector answers in time; what it does not answer is sent next time."""
        self._worker.stop(timeout_s)

    @property
    def alive(self) -> bool:
        """Whether the thread still does its rounds."""
        return self._worker.alive and self._clock.boot() - self._worker.beat_at < 3 * LONGEST_WAIT_S

    # ---- one round ----

    def step(self) -> float:
        """Push what is due; return after how many seconds to come again, unless woken."""
        if self._not_before <= self._worker.beat():
            try:
                self._round()
            except PushUnauthorized as error:
                self._away(
                    error, LOCKED_OUT_S, "the collector does not accept our token; correct the secret, or its books"
                )
            except PushLater as error:
                self._away(error, self._wait_s(error), "the collector takes nothing now")
            except PushError as error:
                self._away(error, self._wait_s(PushLater("")), "the collector takes nothing of us")
        now = self._worker.beat()
        due = self._heard_at + self._interval_s
        if self._held_back:
            due = min(due, self._readings_from)
        if self._wants_bundle:
            due = min(due, self._fetch_from)
        return max(0.0, self._not_before - now, due - now)

    def _next(self) -> float:
        return min(self.step(), LONGEST_WAIT_S)

    def _round(self) -> None:
        for lane in Lane:
            if lane not in self._greeted:
                self._push(self._spool.batch(lane, 0, 0))
                if (
                    lane not in self._greeted
                ):  # nothing is sent before: of an answer lost we would not know whose seqs it tells
                    raise PushLater(f"it did not say what it has of {lane}")
        while not self._worker.stopping:
            if self._deliver(Lane.EVENTS):
                continue
            self._fetch_if_due()
            self._held_back = self._worker.beat() < self._readings_from
            if self._held_back or not self._deliver(Lane.READINGS):
                break
        if self._worker.beat() - self._heard_at >= self._interval_s and not self._worker.stopping:
            self._push(self._spool.batch(Lane.EVENTS, 0, 0))
            self._fetch_if_due()

    def _deliver(self, lane: Lane) -> bool:
        """Push one batch, if there is one. Whether to come again at once."""
        batch = self._spool.batch(lane, self._limit[lane], BATCH_BYTES)
        if not batch.bodies:
            return False
        self._push(batch)
        if lane is Lane.READINGS and not batch.more:
            self._readings_from = self._clock.boot() + READINGS_EVERY_S
        return True

    def _push(self, batch: Batch) -> None:
        self._worker.beat()
        push = Push(self._agent, batch.epoch, batch.lane, self._clock.wall(), self._held, batch.more, batch.blocks)
        try:
            answer = self._collector.push(push, batch.bodies)
        except PushRefused as error:
            self._divide(batch, error)
        except PushUndeclared as error:
            self._spool.redeclare(error.blocks)
            self._count_refusal(error)
        else:
            failpoint("agent.push.answered")
            self._settle(batch, answer)

    def _settle(self, batch: Batch, answer: Answer) -> None:
        known = batch.last if batch.lane in self._greeted else self._spool.given[batch.lane]
        self._greeted.add(batch.lane)
        self._back()
        if answer.through > known:
            log.warning(
                "push: the collector has %s up to %d, this spool gave out %d: it was set back; beginning a new epoch",
                batch.lane, answer.through, known,
            )  # fmt: skip
            self._spool.renew()
        elif batch.bodies:
            self._spool.settle(batch, answer.through)
            if answer.through < batch.through:
                raise PushLater(f"took {batch.lane} only up to {answer.through} of {batch.through}")
        self._limit[batch.lane] = min(2 * self._limit[batch.lane], BATCH_ITEMS)
        said = {
            "at_utc": self._clock.wall(),
            "lane": answer.lane.value,
            "through": answer.through,
            "bundle": answer.bundle,
        }
        self._spool.note("answer", json.dumps(said))
        if answer.bundle and answer.bundle not in (self._held, self._refused):
            self._wants_bundle = True
        for request in answer.requests:
            self._heed(request)

    # ---- what may come instead of a 2xx ----

    def _divide(self, batch: Batch, error: PushRefused) -> None:
        """A batch refused is sent in halves, so that one bad item does not take good ones with it; alone it is set aside."""
        if error.status == 403:  # noqa: PLR2004 -- FORBIDDEN: a device is ours no longer
            self._wants_bundle = True
        if len(batch.bodies) > 1:
            self._limit[batch.lane] = len(batch.bodies) // 2
        elif batch.bodies:
            log.error("push: %s %d set aside, the collector refused it: %s", batch.lane, batch.through, error)
            self._spool.set_aside(batch, str(error))
        else:
            raise error
        self._count_refusal(error)

    def _count_refusal(self, error: PushError) -> None:
        self._refusals += 1
        if self._refusals > REFUSALS_IN_A_ROW:
            raise PushLater(f"refuses everything: {error}")

    def _wait_s(self, error: PushLater) -> float:
        if error.retry_after_s is not None:
            return error.retry_after_s + self._chance()  # not all agents in the same moment
        return min(LONGEST_WAIT_S, 0.5 * 2.0 ** min(self._failures, 10)) * (1 + self._chance()) / 2

    def _away(self, error: PushError, wait_s: float, what: str) -> None:
        now = self._clock.boot()
        if self._away_since is None:
            self._away_since = now
            log.error("push: %s (%s); keeping everything and trying again", what, error)
        self._failures += 1
        self._not_before = now + wait_s
        self._spool.note("away", json.dumps({"at_utc": self._clock.wall(), "why": str(error)}))

    def _back(self) -> None:
        now = self._clock.boot()
        if self._away_since is not None:
            log.warning("push: the collector answers again, after %.0f s", now - self._away_since)
            self._away_since = None
            self._spool.note("away", "")
        self._heard_at = now
        self._failures = self._refusals = 0

    # ---- the bundle ----

    def _fetch_if_due(self) -> None:
        if self._wants_bundle and self._worker.beat() >= self._fetch_from:
            self._fetch()

    def _fetch(self) -> None:
        """Fetch it; where that fails, pushing goes on all the same."""
        try:
            bundle = self._collector.bundle("" if self._refused else self._held)
        except PushError as error:
            self._wants_bundle = not isinstance(error, PushRefused)
            self._no_bundle(error)
            return
        self._bundle_failures = 0
        self._wants_bundle = False
        if bundle is None or bundle.version == self._refused:
            return
        try:
            self._take(bundle)
        except WatchkeeperError as error:
            self._refused = bundle.version
            log.error("push: bundle %s refused, the old one stays in force:\n%s", bundle.version, error)  # noqa: TRY400 -- the same
        else:
            self._refused = ""
            self.holds(bundle)

    def _no_bundle(self, error: PushError) -> None:
        if not self._bundle_failures:
            log.error("push: no bundle (%s); the old one, if any, stays in force; trying again", error)
        self._fetch_from = self._worker.beat() + min(
            BUNDLE_AGAIN_S * 2.0 ** min(self._bundle_failures, 6), LONGEST_WAIT_S * 10
        )
        self._bundle_failures += 1
