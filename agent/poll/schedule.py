"""The schedule of the polls. One APScheduler job per interval and shard starts the polls of many devices. Each poll is
a task of its own, so a device that is dead, slow or misbehaving delays no other.

Polls of devices that did not answer last time have a limit of their own. Once the verdict on their silence is final,
every second round skips them. When a device stops answering, the devices that it depends on are read at once.
"""

import asyncio
import datetime
import logging
import random
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil, inf

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from watchkeeper.agent.poll.checked import SweepCheck
from watchkeeper.agent.poll.derived import DerivedSeries, derive
from watchkeeper.agent.ports import Probe, sweep_limit_s
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device
from watchkeeper.model.reading import Missing, Reason, Series, Sweep

log = logging.getLogger(__name__)

SHARD_DEVICES = 50
MAX_POLLS, MAX_POLLS_OF_DEAD = 256, 64  # at the same time
SKIPPED_ROUNDS = 1  # how many rounds in a row skip a dead device
CLOCK_JUMP_S = 1.0
POLL_NOW_EVERY_S = 1.0  # the shortest time between two unscheduled polls of a device
PARENT_EVERY_S = 10.0  # the shortest time between two polls of a device because of those that depend on it


class PollTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """Fires every `every_s` seconds, for the first time after `phase_s`. Missed times are skipped: after a jump of the
    wall clock by years, APScheduler's own trigger would count every one of them."""

    def __init__(self, every_s: float, phase_s: float) -> None:
        self.every_s, self.phase_s = every_s, phase_s

    def get_next_fire_time(self, previous: datetime.datetime | None, now: datetime.datetime) -> datetime.datetime:
        """The first time, or the next one after `previous` that is not before `now`."""
        if previous is None:
            return now + datetime.timedelta(seconds=self.phase_s)
        intervals = max(1, ceil((now - previous).total_seconds() / self.every_s))
        return previous + datetime.timedelta(seconds=self.every_s * intervals)


@dataclass(slots=True)
class _PollState:
    """What is kept of a device between its polls."""

    series: tuple[Series, ...]
    check: SweepCheck = field(default_factory=SweepCheck)
    derived: DerivedSeries | None = None
    dead: bool = False
    skipped: int = 0  # rounds in a row
    faulty: bool = False
    poll: "asyncio.Task[None] | None" = None
    polled_now_at: float = -inf
    polled_as_parent_at: float = -inf
    later: asyncio.TimerHandle | None = None

    def cancel(self) -> None:
        """Cancel the poll under way and the one that is due later."""
        if self.later:
            self.later.cancel()
        if self.poll:
            self.poll.cancel()


class Schedule:
    """Polls devices. `on_sweep` gets every sweep; `silence_judged` tells whether the verdict on a silence is final."""

    def __init__(
        self,
        clock: Clock,
        on_sweep: Callable[[Device, Sweep], None],
        silence_judged: Callable[[str], bool],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._clock, self._on_sweep, self._silence_judged, self._chance = clock, on_sweep, silence_judged, chance
        self._probes: Mapping[str, Probe] = {}
        self._devices: dict[str, Device] = {}
        self._states: dict[str, _PollState] = {}
        self._polls, self._polls_of_dead = asyncio.Semaphore(MAX_POLLS), asyncio.Semaphore(MAX_POLLS_OF_DEAD)
        self._jobs = AsyncIOScheduler(timezone=datetime.UTC)
        self._offset = clock.wall() - clock.boot()

    def start(self) -> None:
        """Start the jobs; needs a running loop."""
        self._jobs.start()

    async def stop(self) -> None:
        """Start no more polls, and cancel those under way."""
        if self._jobs.running:
            self._jobs.shutdown(wait=False)
        for state in self._states.values():
            state.cancel()
        await asyncio.gather(*(state.poll for state in self._states.values() if state.poll), return_exceptions=True)

    async def watch(self, devices: Iterable[Device], probes: Mapping[str, Probe]) -> None:
        """Read these devices by these probes from now on. New and changed devices are read at once."""
        before, self._devices = self._devices, {device.device: device for device in devices}
        was, self._probes = self._probes, probes
        gone = [
            device
            for name, device in before.items()
            if self._devices.get(name) != device or was.get(device.probe) is not probes.get(device.probe)
        ]
        await self._drop(gone, was)
        for name, device in self._devices.items():
            if name not in self._states:
                self._states[name] = _PollState((Series(name, "device.answering"),))
                self._begin(device)
        self._plan()

    async def _drop(self, devices: Iterable[Device], probes: Mapping[str, Probe]) -> None:
        for device in devices:
            state = self._states.pop(device.device)
            state.cancel()
            if state.poll:
                await asyncio.gather(state.poll, return_exceptions=True)
            if probe := probes.get(device.probe):
                await probe.forget(device.device)

    def _plan(self) -> None:
        """Make one job per interval and shard, each with a random start in its interval."""
        self._jobs.remove_all_jobs()
        by_interval: dict[float, list[str]] = {}
        for name, device in self._devices.items():
            by_interval.setdefault(device.every_s, []).append(name)
        for every_s, names in by_interval.items():
            shards = ceil(len(names) / SHARD_DEVICES)
            for shard in range(shards):
                self._jobs.add_job(
                    self._round, PollTrigger(every_s, every_s * (shard + self._chance()) / shards), args=(names[shard::shards],),
                    misfire_grace_time=None, coalesce=True,
                )  # fmt: skip

    def check_clock(self) -> None:
        """Make the jobs again if the wall clock jumped: APScheduler uses it, and would sleep an hour if it was set back
        by an hour. Call it every few seconds."""
        offset = self._clock.wall() - self._clock.boot()
        if abs(offset - self._offset) > CLOCK_JUMP_S:
            log.warning("schedule: the wall clock jumped by %+.0f s", offset - self._offset)
            self._plan()
        self._offset = offset

    def device(self, name: str) -> Device | None:
        """The device of that name, if it is read now."""
        return self._devices.get(name)

    def series(self, name: str) -> tuple[Series, ...]:
        """The series of the device's last sweep."""
        state = self._states.get(name)
        return state.series if state else ()

    def poll_now(self, name: str) -> None:
        """Read a device at once, if it belongs to this agent. If it is being read now, or was read by this method
        within the last second, it is read a second later: what caused the call may have happened after the reading."""
        device, state = self._devices.get(name), self._states.get(name)
        if device is None or state is None or state.later:
            return
        now = self._clock.boot()
        if state.poll is None and now - state.polled_now_at >= POLL_NOW_EVERY_S:
            state.polled_now_at = now
            self._begin(device)
        else:
            state.later = asyncio.get_running_loop().call_later(POLL_NOW_EVERY_S, self._poll_now_later, name, state)

    def _poll_now_later(self, name: str, state: _PollState) -> None:
        state.later = None
        if self._states.get(name) is state:
            self.poll_now(name)

    def _poll_parents(self, device: Device) -> None:
        """Read at once what the device depends on: whether that has a fault decides who must be told of the silence."""
        now = self._clock.boot()
        for name in device.depends_on:
            state = self._states.get(name)
            if state is not None and now - state.polled_as_parent_at >= PARENT_EVERY_S:
                state.polled_as_parent_at = now
                self.poll_now(name)

    async def _round(self, names: Iterable[str]) -> None:
        for name in names:
            device, state = self._devices.get(name), self._states.get(name)
            if device is None or state is None or state.poll is not None:
                continue  # it is still being read: polls of a device do not pile up
            if state.dead and state.skipped < SKIPPED_ROUNDS and self._silence_judged(name):
                state.skipped += 1
                continue
            state.skipped = 0
            self._begin(device)

    def _begin(self, device: Device) -> None:
        state = self._states[device.device]
        state.poll = asyncio.create_task(self._poll(device, state), name=f"poll {device.device}")
        state.poll.add_done_callback(lambda _: setattr(state, "poll", None))

    async def _poll(self, device: Device, state: _PollState) -> None:
        async with self._polls_of_dead if state.dead else self._polls:
            sweep = await self._read(device, state)
        if self._devices.get(device.device) != device:
            return  # a new bundle removed or changed it meanwhile
        state.series = sweep.series
        if state.dead is not (dead := sweep.values[0] != "yes"):
            state.dead = dead
            _log_answering(device, sweep)
            if dead:
                self._poll_parents(device)
        try:
            self._on_sweep(device, sweep)
        except Exception:
            log.exception("schedule: a sweep of %s could not be judged or stored", device.device)

    async def _read(self, device: Device, state: _PollState) -> Sweep:
        """Read the device. Every error becomes a sweep without values."""
        probe = self._probes.get(device.probe)
        if probe is None:
            return self._failed(device, state, f"this agent has no probe called {device.probe!r}")
        limit_s = sweep_limit_s(device)
        try:
            async with asyncio.timeout(limit_s):
                sweep = _with_derived(state, state.check.check(device, await probe.sweep(device)))
        except TimeoutError:
            return self._failed(device, state, f"the probe did not finish within {limit_s:g} s", Reason.HUNG)
        except Exception as error:  # noqa: BLE001 -- a bug in one probe must not affect other devices
            # The exception's text may contain what was sent, and so a secret; its type and its place never do.
            where = "".join(traceback.format_tb(error.__traceback__)[-3:])
            if not state.faulty:
                log.error(  # noqa: TRY400 -- the exception's text may contain a secret
                    "schedule: probe %s of %s: %s at\n%s", device.probe, device.device, type(error).__name__, where
                )
            state.faulty = True
            return self._failed(device, state, f"a bug in the probe: {type(error).__name__}")
        state.faulty = False
        return sweep

    def _failed(self, device: Device, state: _PollState, detail: str, reason: Reason = Reason.FAULT) -> Sweep:
        missing = Missing(reason, detail)
        return Sweep(device.device, self._clock.boot(), state.series, ("no", *[missing] * (len(state.series) - 1)))


def _log_answering(device: Device, sweep: Sweep) -> None:
    """Log that a device does not answer, and why, or that it answers again."""
    why = next(
        (value.detail or value.reason.value for value in sweep.values if isinstance(value, Missing)), "no reason"
    )
    if sweep.values[0] == "yes":
        log.info("schedule: %s answers", device.device)
    else:
        log.warning("schedule: %s does not answer: %s", device.device, why)


def _with_derived(state: _PollState, sweep: Sweep) -> Sweep:
    """The sweep with its derived values. What is derived is found anew only when the series change."""
    if state.derived is None or state.derived.measured is not sweep.series:
        state.derived = derive(sweep.series)
    return state.derived.extend(sweep) if state.derived.places else sweep
