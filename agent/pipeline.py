"""The pipeline of a sweep: add it to the spool, judge it, commit, and wake the pusher.

It runs on the event loop. Only commits run in a thread of their own, so that a slow disk delays no probe.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from watchkeeper.agent.spool.spool import Spool
from watchkeeper.model.batch import Facts, Lane
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device
from watchkeeper.model.reading import Series, Sweep
from watchkeeper.rules.judge import UNCHANGED, Judge, Judgement
from watchkeeper.rules.load import RuleSet

log = logging.getLogger(__name__)

COMMIT_WITHIN_S = 0.5
RETRY_S = 5.0
REPORT_EVERY_S = 600.0  # all active verdicts
FACTS_EVERY_S = 60.0
FIRST_REPORT_WITHIN_S = 600.0  # in an epoch without states, even if some devices were not read yet
ASKED_AGAIN_S = 1.0  # a report that is asked for twice, by the collector and by what we remember of it, is one


class _Declared(NamedTuple):
    """The block of a device. Its facts are asked for again at `until`."""

    series: tuple[Series, ...]
    number: int
    until: float


class Pipeline:
    """Adds sweeps to the spool and judges them. `committed` is called from the committing thread after every commit; `facts`
    tells how a device is read."""

    def __init__(
        self,
        spool: Spool,
        judge: Judge,
        clock: Clock,
        committed: Callable[[], None],
        facts: Callable[[Device], Facts] = lambda _: (),
    ) -> None:
        self._spool, self._judge, self._clock, self._committed = spool, judge, clock, committed
        self._facts = facts
        self._loop = asyncio.get_running_loop()
        self._disk = ThreadPoolExecutor(1, "spool")
        self._timer: asyncio.TimerHandle | None = None
        self._queued = False  # a commit is queued and has not begun
        self._active = False
        self._blocks: dict[str, _Declared] = {}
        self._epoch = "" if spool.fresh else spool.epoch  # the epoch in which the active verdicts were reported
        self._began_at = clock.boot()
        self._reported_at: float | None = None
        self._asked = False  # for a report at once
        self._unsure = False  # the last report had verdicts that are not certain yet, because earlier states are lost

    # ---- for every sweep ----

    def add(self, device: Device, sweep: Sweep) -> None:
        """Add a sweep of a device in the bundle."""
        sweep = self._judge.join(sweep, device.category)
        block = self._blocks.get(sweep.device)
        if block is None or block.series is not sweep.series or sweep.at >= block.until:
            series, facts = sweep.series, self._facts(device)
            number = self._spool.declare(sweep.device, device.probe, device.every_s, series, facts)
            block = self._blocks[sweep.device] = _Declared(series, number, sweep.at + FACTS_EVERY_S)
        self._spool.add_frame(block.number, sweep.at, sweep.values)
        judgement = self._judge.judge(sweep, device.category)
        if judgement is not UNCHANGED:
            self._spool.add_events(judgement.events, judgement.states)
            if judgement.events:
                self._commit()
        if self._judge.parts_changed:
            self._spool.keep_parts(self._judge.take_parts())
        self._commit_within(COMMIT_WITHIN_S)

    # ---- seldom ----

    def activate(self, rules: RuleSet, devices: Iterable[Device]) -> None:
        """Activate a bundle's rules and devices."""
        judgement = self._judge.activate(rules, devices, self._clock.boot())
        self._blocks.clear()
        self._active, self._reported_at = True, None
        self._keep(judgement)

    def remove(self, device: str, part: str, reason: str) -> None:
        """A person confirms that a part of a device was removed."""
        self._keep(self._judge.remove(device, part, reason, self._clock.boot()))

    def _keep(self, judgement: Judgement) -> None:
        self._spool.add_events(judgement.events, judgement.states)
        self._spool.keep_parts(self._judge.take_parts())
        self._commit()

    def report(self) -> None:
        """Report all active verdicts at once: the collector no longer has what it had."""
        if self._reported_at is None or self._clock.boot() - self._reported_at >= ASKED_AGAIN_S:
            self._asked = True
            self.beat()

    def beat(self) -> None:
        """Report all active verdicts if they are due. Called every few seconds."""
        if self._spool.moved:
            self._commit()  # which puts the file back
        if not self._active:
            return
        now = self._clock.boot()
        if self._spool.epoch == self._epoch:
            late = self._reported_at is None or now - self._reported_at >= REPORT_EVERY_S
            late = late or (self._unsure and not self._judge.unsure)
            due = self._asked or (
                late and not self._spool.has_unsettled(Lane.EVENTS)
            )  # else reports pile up while the collector is away
        else:  # earlier states are lost, or old: do not report an empty set too early
            due = self._judge.complete() or now - self._began_at >= FIRST_REPORT_WITHIN_S
        if due:
            states_lost = self._spool.epoch != self._epoch
            if states_lost:
                self._spool.keep_parts(self._judge.parts())
            self._unsure = (states_lost or self._unsure) and self._judge.unsure
            self._epoch, self._reported_at, self._asked = self._spool.epoch, now, False
            states = self._judge.states() if states_lost else {}
            self._spool.add_events([self._judge.active_verdicts(now, unsure=self._unsure)], states)
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
        self._queued = False  # whatever is added from here on needs another commit
        try:
            stored = self._spool.flush()
        except Exception:
            log.exception("spool: a bug; trying again in %g s", RETRY_S)
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
