"""When which device is read. One APScheduler job an interval and shard starts the polls of many devices, each a task of
its own: a device that is dead, slow or mad delays nobody but itself.

Devices that did not answer last time wait at a gate of their own, and every second round passes them by once the
verdict of their silence stands.
"""

import asyncio
import datetime
import logging
import random
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import ceil, inf, isfinite
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from watchkeeper.agent.ports import Probe
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device
from watchkeeper.model.reading import Missing, Reason, Series, Sweep, Value

log = logging.getLogger("agent.schedule")

SHARD = 50
AT_ONCE, SICK_AT_ONCE = 256, 64
SPARED_ROUNDS = 1  # how many rounds in a row pass a dead device by
GRACE_S = 1.0
JUMP_S = 1.0
AGAIN_S = 1.0  # between polls of a device out of turn
_WORDS = (str, Missing)


class Beat(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """Every `every_s` seconds from a random moment on. What was missed is missed: after the wall clock leapt by years,
    APScheduler's own trigger would count every beat of them."""

    def __init__(self, every_s: float, phase_s: float) -> None:
        self.every_s, self.phase_s = every_s, phase_s

    def get_next_fire_time(self, previous: datetime.datetime | None, now: datetime.datetime) -> datetime.datetime:
        """See BaseTrigger."""
        if previous is None:
            return now + datetime.timedelta(seconds=self.phase_s)
        beats = max(1, ceil((now - previous).total_seconds() / self.every_s))
        return previous + datetime.timedelta(seconds=self.every_s * beats)


@dataclass(slots=True)
class _Health:
    """What we remember of a device between its polls."""

    series: tuple[Series, ...]
    dead: bool = False
    spared: int = 0
    faulty: bool = False
    poll: "asyncio.Task[None] | None" = None
    woken_at: float = -inf
    later: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        """Let nothing more come of it."""
        if self.later:
            self.later.cancel()
        if self.poll:
            self.poll.cancel()


class Schedule:
    """See the module. `take` gets every sweep; `settled` tells whether a dead device's verdicts all stand."""

    def __init__(
        self,
        clock: Clock,
        take: Callable[[Device, Sweep], None],
        settled: Callable[[str], bool],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._clock, self._take, self._settled, self._chance = clock, take, settled, chance
        self._probes: Mapping[str, Probe] = {}
        self._devices: dict[str, Device] = {}
        self._health: dict[str, _Health] = {}
        self._well, self._sick = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(SICK_AT_ONCE)
        self._jobs = AsyncIOScheduler(timezone=datetime.UTC)
        self._offset = clock.wall() - clock.boot()

    def start(self) -> None:
        """Begin; needs a running loop."""
        self._jobs.start()

    async def stop(self) -> None:
        """Let no poll begin, and end those under way."""
        if self._jobs.running:
            self._jobs.shutdown(wait=False)
        for health in self._health.values():
            health.stop()
        await asyncio.gather(*(health.poll for health in self._health.values() if health.poll), return_exceptions=True)

    async def watch(self, devices: Iterable[Device], probes: Mapping[str, Probe]) -> None:
        """Read these devices by these probes from now on, new and altered ones at once."""
        before, self._devices = self._devices, {device.device: device for device in devices}
        was, self._probes = self._probes, probes
        gone = [
            device
            for name, device in before.items()
            if self._devices.get(name) != device or was.get(device.probe) is not probes.get(device.probe)
        ]
        await self._drop(gone, was)
        for name, device in self._devices.items():
            if name not in self._health:
                self._health[name] = _Health((Series(name, "device.answering"),))
                self._begin(device)
        self._plan()

    async def _drop(self, devices: Iterable[Device], probes: Mapping[str, Probe]) -> None:
        for device in devices:
            health = self._health.pop(device.device)
            health.stop()
            if health.poll:
                await asyncio.gather(health.poll, return_exceptions=True)
            if probe := probes.get(device.probe):
                await probe.forget(device.device)

    def _plan(self) -> None:
        """One job an interval and shard, each beginning at a random moment of its interval."""
        self._jobs.remove_all_jobs()
        by_interval: dict[float, list[str]] = {}
        for name, device in self._devices.items():
            by_interval.setdefault(device.every_s, []).append(name)
        for every_s, names in by_interval.items():
            shards = ceil(len(names) / SHARD)
            for shard in range(shards):
                self._jobs.add_job(
                    self._round, Beat(every_s, every_s * (shard + self._chance()) / shards), args=(names[shard::shards],),
                    misfire_grace_time=None, coalesce=True,
                )  # fmt: skip

    def check_clock(self) -> None:
        """Call every few seconds: APScheduler lives by the wall clock, and set back by an hour it would sleep an hour."""
        offset = self._clock.wall() - self._clock.boot()
        if abs(offset - self._offset) > JUMP_S:
            log.warning("schedule: the wall clock jumped by %+.0f s", offset - self._offset)
            self._plan()
        self._offset = offset

    def poll_now(self, name: str) -> None:
        """Read a device out of turn, if it is ours. One that is being read right now, or was out of turn within the last
        second, is read once more a second later: what it is asked for may have happened since."""
        device, health = self._devices.get(name), self._health.get(name)
        if device is None or health is None or health.later:
            return
        now = self._clock.boot()
        if health.poll is None and now - health.woken_at >= AGAIN_S:
            health.woken_at = now
            self._begin(device)
        else:
            health.later = asyncio.get_running_loop().call_later(AGAIN_S, self._poll_again, name, health)

    def _poll_again(self, name: str, health: _Health) -> None:
        health.later = None
        if self._health.get(name) is health:
            self.poll_now(name)

    async def _round(self, names: Iterable[str]) -> None:
        for name in names:
            device, health = self._devices.get(name), self._health.get(name)
            if device is None or health is None or health.poll is not None:
                continue  # still being read: polls of a device never pile up
            if health.dead and health.spared < SPARED_ROUNDS and self._settled(name):
                health.spared += 1
                continue
            health.spared = 0
            self._begin(device)

    def _begin(self, device: Device) -> None:
        health = self._health[device.device]
        health.poll = asyncio.create_task(self._poll(device, health), name=f"poll {device.device}")
        health.poll.add_done_callback(lambda _: setattr(health, "poll", None))

    async def _poll(self, device: Device, health: _Health) -> None:
        async with self._sick if health.dead else self._well:
            sweep = await self._read(device, health)
        if self._devices.get(device.device) != device:
            return  # it was taken from us meanwhile
        health.series = sweep.series
        if health.dead is not (dead := sweep.values[0] != "yes"):
            health.dead = dead
            _say(device, sweep)
        try:
            self._take(device, sweep)
        except Exception:
            log.exception("schedule: a sweep of %s could not be judged or kept", device.device)

    async def _read(self, device: Device, health: _Health) -> Sweep:
        """Read it, whatever happens."""
        probe = self._probes.get(device.probe)
        if probe is None:
            return self._failed(device, health, f"this agent has no probe called {device.probe!r}")
        limit_s = max(device.every_s, device.timeout_s * (device.retries + 1) + GRACE_S)
        try:
            async with asyncio.timeout(limit_s):
                sweep = _sound(device, await probe.sweep(device))
        except TimeoutError:
            return self._failed(device, health, f"nothing came of it within {limit_s:g} s", Reason.HUNG)
        except Exception as error:  # noqa: BLE001 -- a bug in one probe is a reading of one device
            # The exception's own text may quote what was sent, and so a secret; its kind and its place never do.
            where = "".join(traceback.format_tb(error.__traceback__)[-3:])
            if not health.faulty:
                log.error(  # noqa: TRY400 -- the exception's text stays out of it
                    "schedule: probe %s of %s: %s at\n%s", device.probe, device.device, type(error).__name__, where
                )
            health.faulty = True
            return self._failed(device, health, f"a fault of the probe: {type(error).__name__}")
        health.faulty = False
        return sweep

    def _failed(self, device: Device, health: _Health, why: str, reason: Reason = Reason.FAULT) -> Sweep:
        gone = Missing(reason, why)
        return Sweep(device.device, self._clock.boot(), health.series, ("no", *[gone] * (len(health.series) - 1)))


def _say(device: Device, sweep: Sweep) -> None:
    """Note that a device fell silent, and why, or that it answers again."""
    why = next(
        (value.detail or value.reason.value for value in sweep.values if isinstance(value, Missing)), "no reason"
    )
    if sweep.values[0] == "yes":
        log.info("schedule: %s answers", device.device)
    else:
        log.warning("schedule: %s does not answer: %s", device.device, why)


def _sound(device: Device, sweep: Sweep) -> Sweep:
    """The sweep, with what is neither a finite number nor a word as Missing. Raises ValueError if it is none."""
    values = sweep.values
    if sweep.device != device.device:
        raise ValueError("a sweep of another device")
    if len(values) != len(sweep.series) or not values or values[0] not in ("yes", "no"):
        raise ValueError("columns of unequal length, or without device.answering")
    for value in values:
        if isfinite(value) if type(value) is float else type(value) in _WORDS:
            continue
        return Sweep(sweep.device, sweep.at, sweep.series, tuple(map(_sound_value, values)))
    return sweep


def _sound_value(value: Any) -> Value:
    if isinstance(value, str | Missing):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300:  # noqa: PLR2004 -- far from overflow; false for nan
        return float(value)
    return Missing(Reason.IMPLAUSIBLE, f"the probe said {str(value)[:50]}")
