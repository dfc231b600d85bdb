"""The way of a sweep inside the agent: into its block, past the judge, into the spool, onto the disk, to the pusher.

Lives on the event loop; only the commits run in a thread of their own, so that a slow disk delays no probe.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from watchkeeper.agent.judge.judge import UNCHANGED, Judge, Judgement
from watchkeeper.agent.spool.spool import Spool
from watchkeeper.model.batch import Frame, Lane
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device
from watchkeeper.model.reading import Series, Sweep
from watchkeeper.rules.load import RuleSet

log = logging.getLogger("agent.flow")

COMMIT_WITHIN_S = 0.5
RETRY_S = 5.0
STANDING_EVERY_S = 600.0
STANDING_AT_LATEST_S = 120.0  # of an epoch without states, whatever device was still not read


class Pipeline:
    """See the module. `committed` is called from the committing thread whenever something new is on the disk."""

    def __init__(self, spool: Spool, judge: Judge, clock: Clock, committed: Callable[[], None]) -> None:
        self._spool, self._judge, self._clock, self._committed = spool, judge, clock, committed
        self._loop = asyncio.get_running_loop()
        self._disk = ThreadPoolExecutor(1, "spool")
        self._timer: asyncio.TimerHandle | None = None
        self._queued = False  # a commit is on its way that has not begun yet
        self._adopted = False
        self._blocks: dict[str, tuple[tuple[Series, ...], int]] = {}
        self._epoch = "" if spool.fresh else spool.epoch
        self._began_at = clock.boot()
        self._reported_at: float | None = None

    # ---- hot ----

    def take(self, device: Device, sweep: Sweep) -> None:
        """Take one sweep of one of our devices."""
        held = self._blocks.get(sweep.device)
        if held is None or held[0] is not sweep.series:
            number = self._spool.declare(sweep.device, device.probe, device.every_s, sweep.series)
            held = self._blocks[sweep.device] = (sweep.series, number)
        self._spool.add(Frame(held[1], sweep.at, sweep.values))
        change = self._judge.sweep(sweep, device.category)
        if change is not UNCHANGED:
            self._spool.record(change.events, change.states)
            if change.events:
                self._commit()
        self._commit_within(COMMIT_WITHIN_S)

    # ---- cold ----

    def activate(self, rules: RuleSet, devices: Iterable[Device]) -> None:
        """Put a bundle in force."""
        change: Judgement = self._judge.activate(rules, devices, self._clock.boot())
        self._blocks.clear()
        self._adopted, self._reported_at = True, None
        self._spool.record(change.events, change.states)
        self._commit()

    def beat(self) -> None:
        """Look every few seconds whether the whole set of verdicts is due."""
        if not self._adopted:
            return
        now = self._clock.boot()
        if self._spool.epoch == self._epoch:
            late = self._reported_at is None or now - self._reported_at >= STANDING_EVERY_S
            due = late and not self._spool.behind(Lane.EVENTS)  # or they would pile up while the collector is away
        elif self._epoch == "" and self._spool.fresh:  # nothing known of before: an empty set would be a lie
            due = self._judge.complete() or now - self._began_at >= STANDING_AT_LATEST_S
        else:
            due = True
        if due:
            self._epoch, self._reported_at = self._spool.epoch, now
            self._spool.record([self._judge.active_verdicts(now)], self._judge.states())
            self._commit()

    def _commit(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._queued:
            self._queued = True
            self._loop.run_in_executor(self._disk, self._flush)

    def _commit_within(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(seconds, self._commit)

    def _flush(self) -> None:
        self._queued = False  # whatever is handed in from here on needs another one
        try:
            stored = self._spool.flush()
        except Exception:
            log.exception("spool: a fault of our own; trying again")
            stored = False
        if not stored:
            self._loop.call_soon_threadsafe(self._commit_within, RETRY_S)
        self._committed()

    async def close(self) -> None:
        """Commit what is left."""
        if self._timer is not None:
            self._timer.cancel()
        await self._loop.run_in_executor(self._disk, self._spool.flush)
        self._disk.shutdown(wait=False)
