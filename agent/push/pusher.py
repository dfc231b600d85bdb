"""Pushes the spool's items to the collector: events at once, readings about every second, each lane in order.

`step` does what is due and returns how long to wait; only the `Worker` knows threads. An item leaves the spool only
after a 2xx. If the collector will never accept it, it is set aside with the reason.
"""

import json
import logging
import random
from collections.abc import Callable

from watchkeeper.agent.ports import CollectorClient
from watchkeeper.agent.push.cutoff import CutOff, cut_off, say_again
from watchkeeper.agent.push.known_store import from_note, to_note
from watchkeeper.agent.spool.batch import Batch
from watchkeeper.agent.spool.spool import Spool
from watchkeeper.model.batch import STANDING, Answer, Bundle, Lane, Push, Request
from watchkeeper.model.clock import Clock
from watchkeeper.model.errors import (
    PushError,
    PushLater,
    PushRefused,
    PushStale,
    PushUnauthorized,
    PushUndeclared,
    WatchkeeperError,
)
from watchkeeper.model.failpoint import failpoint
from watchkeeper.model.origin import PREVIOUS_LIMIT, Origin
from watchkeeper.model.worker import Worker

log = logging.getLogger(__name__)

BATCH_ITEMS, BATCH_BYTES = 1_000, 500_000
READINGS_EVERY_S = 1.0
UNAUTHORIZED_WAIT_S = 60.0
MAX_WAIT_S = 60.0
FIRST_INTERVAL_S = 15.0
BUNDLE_RETRY_S = 10.0
MAX_REFUSALS_IN_A_ROW = 12  # more than it takes to halve a batch down to its one bad item


class Pusher:
    """Pushes from a thread of its own. `on_bundle` gets a new bundle, and raises WatchkeeperError where it cannot be
    used; `on_request` gets what the collector asks for. Both are called from the pusher's thread. `session` names this process
    for people and for the collector (empty: it is not told). `cut_off` is set while nobody is notified of what this agent finds."""

    def __init__(
        self,
        spool: Spool,
        collector: CollectorClient,
        clock: Clock,
        agent: str,
        *,
        on_bundle: Callable[[Bundle], None],
        on_request: Callable[[Request], None],
        session: str = "",
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._spool, self._collector, self._clock, self._agent = spool, collector, clock, agent
        self._on_bundle, self._on_request, self._chance = on_bundle, on_request, chance
        self._session, self._pushes = session, 0
        self._previous: tuple[str, ...] = tuple(json.loads(spool.noted("sessions") or "[]"))[-PREVIOUS_LIMIT:]
        self._store = from_note(spool.noted("store"))
        self._interval_s = FIRST_INTERVAL_S
        self._version = self._refused_version = ""
        self._wants_bundle, self._readings_wait = True, False
        self._limit = dict.fromkeys(Lane, BATCH_ITEMS)
        self._greeted: set[Lane] = set()  # lanes of which the collector has said what it has
        self._failures = self._refusals = self._bundle_failures = 0
        self._away_since: float | None = None
        self._away_said_at: float | None = None
        self.cut_off: CutOff | None = None
        self._not_before = self._readings_from = self._fetch_from = self._heard_at = clock.boot() - MAX_WAIT_S
        self._worker = Worker("push", self._turn, clock, retry_s=MAX_WAIT_S)

    def set_bundle(self, bundle: Bundle) -> None:
        """Set the active bundle."""
        self._version, self._interval_s, self._wants_bundle = bundle.version, bundle.interval_s, False

    # ---- the thread ----

    def start(self) -> None:
        """Push from a thread of its own until `stop`."""
        self._worker.start()

    def wake(self) -> None:
        """Look into the spool now."""
        self._worker.wake()

    def fetch(self) -> None:
        """Fetch the bundle again, even one that was refused."""
        self._refused_version, self._wants_bundle, self._fetch_from = "", True, self._clock.boot()
        self._worker.wake()

    def stop(self, timeout_s: float) -> None:
        """Stop, and wait up to `timeout_s` for the push under way. Without an answer it is repeated after a restart."""
        self._worker.stop(timeout_s)

    @property
    def alive(self) -> bool:
        """Whether the thread still works."""
        return self._worker.alive and self._clock.boot() - self._worker.beat_at < 3 * MAX_WAIT_S

    # ---- one turn ----

    def step(self) -> float:
        """Push what is due. Returns the seconds until the next step, unless `wake` is called before."""
        if self._not_before <= self._worker.beat():
            try:
                self._push_due()
            except PushUnauthorized as error:
                self._fail(
                    error,
                    UNAUTHORIZED_WAIT_S,
                    "the collector does not accept our token; correct the secret, or issue a new one",
                )
            except PushLater as error:
                self._fail(error, self._wait_s(error), "the collector accepts nothing now")
            except PushError as error:
                self._fail(error, self._wait_s(PushLater("")), "the collector refuses this agent")
        now = self._worker.beat()
        due = self._heard_at + self._interval_s
        if self._readings_wait:
            due = min(due, self._readings_from)
        if self._wants_bundle:
            due = min(due, self._fetch_from)
        return max(0.0, self._not_before - now, due - now)

    def _turn(self) -> float:
        return min(self.step(), MAX_WAIT_S)

    def _push_due(self) -> None:
        for lane in Lane:
            if lane not in self._greeted:
                self._greet(lane)
        while not self._worker.stopping:
            if self._push_batch(Lane.EVENTS):
                continue
            self._fetch_if_due()
            self._readings_wait = self._worker.beat() < self._readings_from
            if self._readings_wait or not self._push_batch(Lane.READINGS):
                break
        if self._worker.beat() - self._heard_at >= self._interval_s and not self._worker.stopping:
            self._push(self._spool.batch(Lane.EVENTS, 0, 0))
            self._fetch_if_due()

    def _greet(self, lane: Lane) -> None:
        """Push nothing, to learn what the collector has of the lane. This comes before any item: if the answer to items
        were lost, we could not tell whose seqs a later answer means."""
        if self._session and not self._pushes:  # on disk before anybody hears of it: the next process names it
            self._spool.note("sessions", json.dumps([*self._previous, self._session][-PREVIOUS_LIMIT:]))
            self._spool.flush()
        self._push(self._spool.batch(lane, 0, 0))
        if lane not in self._greeted:
            raise PushLater(f"it did not say what it has of {lane}")

    def _push_batch(self, lane: Lane) -> bool:
        """Push one batch, if the lane has items. Returns whether to try again at once."""
        batch = self._spool.batch(lane, self._limit[lane], BATCH_BYTES)
        if not batch.items:
            return False
        self._push(batch)
        if lane is Lane.READINGS and not batch.more:
            self._readings_from = self._clock.boot() + READINGS_EVERY_S
        return True

    def _push(self, batch: Batch) -> None:
        self._worker.beat()
        self._pushes += 1
        previous = () if batch.lane in self._greeted else self._previous
        origin = Origin(self._session, previous, self._pushes, batch.settled)
        at = self._clock.wall()
        push = Push(self._agent, batch.epoch, batch.lane, at, self._version, batch.more, batch.blocks, origin=origin)
        try:
            answer = self._collector.push(push, batch.items)
        except PushRefused as error:
            self._split(batch, error)
        except PushUndeclared as error:
            self._spool.redeclare(error.blocks)
            self._count_refusal(error)
        except PushStale as error:
            log.warning("push: %s; beginning a new epoch, nothing is lost", error)
            self._spool.begin_epoch()
            self._count_refusal(error)
        else:
            failpoint("agent.push.answered")
            self._settle(batch, answer)

    def _settle(self, batch: Batch, answer: Answer) -> None:
        given = batch.last if batch.lane in self._greeted else self._spool.given_before[batch.lane]
        self._greeted.add(batch.lane)
        if answer.now is not None:
            self._spool.learn_time(answer.now)
        self._recover()
        self._remember(batch, answer)
        if answer.through > given:
            log.warning(
                "push: the collector has %s up to %d, but this spool gave out only %d: it was restored from a backup; "
                "beginning a new epoch",
                batch.lane, answer.through, given,
            )  # fmt: skip
            self._spool.begin_epoch()
        elif batch.items:
            self._spool.settle(batch, answer.through)
            if answer.through < batch.through:
                raise PushLater(f"accepted {batch.lane} only up to {answer.through} of {batch.through}")
        self._limit[batch.lane] = min(2 * self._limit[batch.lane], BATCH_ITEMS)
        note = {"lane": answer.lane.value, "through": answer.through, "bundle": answer.bundle}
        self._spool.note("answer", json.dumps({"at_utc": self._clock.wall(), **note}))
        if answer.bundle and answer.bundle not in (self._version, self._refused_version):
            self._wants_bundle = True
        for request in answer.requests:
            self._on_request(request)

    def _remember(self, batch: Batch, answer: Answer) -> None:
        """Remember the collector's store and our session, and ask for the standing verdicts where the store was set back."""
        if doubt := self._store.doubt(answer, batch.settled):
            log.warning("push: the collector does not have what it had (%s); sending all active verdicts", doubt)
            self._on_request(Request(STANDING))
        known, self._store = self._store, self._store.after(answer)
        if known is not self._store:
            self._spool.note("store", to_note(self._store))

    # ---- errors ----

    def _split(self, batch: Batch, error: PushRefused) -> None:
        """Send a refused batch in halves, until its one bad item is alone; that one is set aside."""
        if error.status == 403:  # noqa: PLR2004 -- Forbidden: a device no longer belongs to this agent
            self._wants_bundle = True
        if len(batch.items) > 1:
            self._limit[batch.lane] = len(batch.items) // 2
        elif batch.items:
            log.error("push: %s %d set aside, the collector refused it: %s", batch.lane, batch.through, error)
            self._spool.set_aside(batch, str(error))
        else:
            raise error
        self._count_refusal(error)

    def _count_refusal(self, error: PushError) -> None:
        self._refusals += 1
        if self._refusals > MAX_REFUSALS_IN_A_ROW:
            raise PushLater(f"refuses everything: {error}")

    def _wait_s(self, error: PushLater) -> float:
        if error.retry_after_s is not None:
            return error.retry_after_s + self._chance()  # so that not all agents return in the same moment
        return min(MAX_WAIT_S, 0.5 * 2.0 ** min(self._failures, 10)) * (1 + self._chance()) / 2

    def _fail(self, error: PushError, wait_s: float, what: str) -> None:
        now = self._clock.boot()
        if self._away_since is None:
            self._away_since = now
            log.error("push: %s (%s); everything is kept, and sent when it accepts again", what, error)
        self._failures += 1
        self._not_before = now + wait_s
        self.cut_off = cut_off(self._away_since, now, str(error))
        if self.cut_off and say_again(self._away_said_at, now):
            self._away_said_at = now
            log.critical("push: %s", self.cut_off)
        at_utc = self._clock.wall()
        away = {"at_utc": at_utc, "why": str(error), "since_utc": at_utc - (now - self._away_since)}
        self._spool.note("away", json.dumps(away))

    def _recover(self) -> None:
        now = self._clock.boot()
        if self._away_since is not None:
            log.warning("push: the collector accepts pushes again, after %.0f s", now - self._away_since)
            self._away_since = self._away_said_at = self.cut_off = None
            self._spool.note("away", "")
        self._heard_at = now
        self._failures = self._refusals = 0

    # ---- the bundle ----

    def _fetch_if_due(self) -> None:
        if self._wants_bundle and self._worker.beat() >= self._fetch_from:
            self._fetch()

    def _fetch(self) -> None:
        """Fetch the bundle. A failure does not stop the pushes."""
        try:
            bundle = self._collector.bundle("" if self._refused_version else self._version)
        except PushError as error:
            self._wants_bundle = not isinstance(error, PushRefused)
            self._fetch_failed(error)
            return
        self._bundle_failures = 0
        self._wants_bundle = False
        if bundle is None or bundle.version == self._refused_version:
            return
        try:
            self._on_bundle(bundle)
        except WatchkeeperError as error:
            self._refused_version = bundle.version
            log.error("push: bundle %s refused, the previous one stays active:\n%s", bundle.version, error)  # noqa: TRY400 -- sentences for the operator need no traceback
        else:
            self._refused_version = ""
            self.set_bundle(bundle)

    def _fetch_failed(self, error: PushError) -> None:
        if not self._bundle_failures:
            log.error("push: no bundle (%s); the previous one, if any, stays active; trying again", error)
        self._fetch_from = self._worker.beat() + min(
            BUNDLE_RETRY_S * 2.0 ** min(self._bundle_failures, 6), MAX_WAIT_S * 10
        )
        self._bundle_failures += 1
