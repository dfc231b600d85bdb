"""The agent put together: the only place that builds its clock, its disk, its sockets and its threads."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from watchkeeper.agent.config import AgentConfig, Places, read_config
from watchkeeper.agent.judge.judge import Judge
from watchkeeper.agent.pipeline import Pipeline
from watchkeeper.agent.poll.kinds import build_all
from watchkeeper.agent.poll.schedule import Schedule
from watchkeeper.agent.ports import Probe, ProbeContext
from watchkeeper.agent.push.bundle import keep_bundle, load_bundle
from watchkeeper.agent.push.pusher import Pusher
from watchkeeper.agent.push.uplink import Uplink
from watchkeeper.agent.spool.spool import Limits, Spool
from watchkeeper.agent.traps.events import TrapEvents
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.batch import Bundle, Document, Request
from watchkeeper.model.clock import Clock, SystemClock
from watchkeeper.model.device import Device
from watchkeeper.model.errors import WatchkeeperError
from watchkeeper.model.plain import LogFormatter
from watchkeeper.model.reading import Sweep
from watchkeeper.model.sd_notify import notify, watchdog_s
from watchkeeper.rules.load import RuleSet, load_rules

if TYPE_CHECKING:
    from watchkeeper.agent.traps.listener import TrapListener

log = logging.getLogger("agent")

BEAT_S = 5.0
STOP_S = 3.0


def run(file: Path) -> None:
    """Run the agent of that agent.yml until SIGTERM or SIGINT. Raises WatchkeeperError where it cannot start."""
    stamp = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "  # the journal has its own
    told = logging.StreamHandler(sys.stderr)
    told.setFormatter(LogFormatter(f"{stamp}%(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[told])
    config, places = read_config(file)
    asyncio.run(_run(config, places, SystemClock()))


async def _run(config: AgentConfig, places: Places, clock: Clock) -> None:
    secrets = Secrets(places.secrets)
    uplink = Uplink(config.collector, config.agent, secrets.get(config.token), places.ca)
    spool = Spool(places.spool, Limits(config.spool.size_bytes, config.spool.age_s), clock)
    with contextlib.closing(uplink), contextlib.closing(spool):
        # What a bundle names goes to whatever address it names: never our own token.
        theirs = secrets.without(config.token)
        await AgentService(config, places, clock, secrets=theirs, uplink=uplink, spool=spool).run()
    # A thread that the kernel does not let go (a probe on a dead network mount) must not keep us from ending.
    last = threading.Timer(STOP_S, os._exit, (0,))
    last.daemon = True
    last.start()


@dataclass(frozen=True, slots=True)
class Share:
    """A bundle understood."""

    bundle: Bundle
    rules: RuleSet


class AgentService:
    """A running agent: probes -> schedule -> flow (judge, spool) on the event loop, pusher in its own thread."""

    def __init__(
        self, config: AgentConfig, places: Places, clock: Clock, *, secrets: Secrets, uplink: Uplink, spool: Spool
    ) -> None:
        self._config, self._places, self._clock, self._secrets = config, places, clock, secrets
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._adopting = asyncio.Lock()
        self._probes: dict[str, Probe] = {}
        self._profiles: tuple[Document, ...] = ()
        self._tasks: set[asyncio.Task[None]] = set()
        judge = Judge(spool.states())
        self._pusher = Pusher(spool, uplink, clock, config.agent, take=self._take, heed=self._heed)
        self._pipeline = Pipeline(spool, judge, clock, self._pusher.wake)
        self._schedule = Schedule(clock, self._swept, judge.silence_judged)
        self._events = TrapEvents()
        self._trap_listener: TrapListener | None = None

    async def run(self) -> None:
        """Work until told to stop, then put everything away."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stopping.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._pusher.fetch)
        self._schedule.start()
        try:
            await self._begin()
            notify("READY=1")
            log.info("agent %s: running, pushing to %s", self._config.agent, self._config.collector)
            gc.collect()
            gc.freeze()  # what stands now stays: no later collection walks it
            await self._beat()
        finally:
            notify("STOPPING=1")
            await self._end()
        log.info("agent %s: ended", self._config.agent)

    async def _begin(self) -> None:
        try:
            kept = load_bundle(self._places.bundle, self._config.agent)
            if kept:
                await self._adopt(_understand(kept))
                self._pusher.holds(kept)
        except WatchkeeperError as error:
            log.error("the bundle kept on disk cannot be used; fetching another:\n%s", error)  # noqa: TRY400 -- for the operator
        self._pusher.start()

    async def _beat(self) -> None:
        limit_s = watchdog_s()
        every_s = min(BEAT_S, limit_s / 3) if limit_s else BEAT_S
        well = True
        while not self._stopping.is_set():
            self._pipeline.beat()
            if self._trap_listener:
                self._trap_listener.beat()
            self._schedule.check_clock()
            if self._pusher.alive:
                notify("WATCHDOG=1")
            elif well:
                log.critical("the push thread is stuck; leaving it to the watchdog")
            well = self._pusher.alive
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), every_s)

    async def _end(self) -> None:
        if self._trap_listener:
            await self._trap_listener.close()
        await self._schedule.stop()
        await self._pipeline.close()
        await asyncio.to_thread(self._pusher.stop, STOP_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await asyncio.gather(*(probe.close() for probe in self._probes.values()), return_exceptions=True)

    # ---- called from the push thread ----

    def _heed(self, request: Request) -> None:
        if request.kind == "poll-now":
            self._loop.call_soon_threadsafe(self._schedule.poll_now, request.device)

    def _take(self, bundle: Bundle) -> None:
        share = _understand(bundle)
        try:
            keep_bundle(self._places.bundle, bundle)
        except OSError as error:
            log.error("%s: %s; going on with the bundle in memory", self._places.bundle, error.strerror)  # noqa: TRY400 -- the same
        self._loop.call_soon_threadsafe(self._adopt_soon, share)

    # ---- on the event loop ----

    def _adopt_soon(self, share: Share) -> None:
        task = self._loop.create_task(self._adopt(share))
        self._tasks.add(task)
        task.add_done_callback(self._adopted)

    def _adopted(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a bundle could not be put in force", exc_info=error)

    async def _adopt(self, share: Share) -> None:
        async with self._adopting:
            old, self._probes = self._probes, self._build(share.bundle)
            self._pipeline.activate(share.rules, share.bundle.devices)
            await self._schedule.watch(share.bundle.devices, self._probes)
            for kind, probe in old.items():
                if self._probes.get(kind) is not probe:
                    await probe.close()
            self._hear(share.bundle)
        log.info(
            "bundle %s in force: %d devices, %d rules",
            share.bundle.version, len(share.bundle.devices), len(share.rules.rules),
        )  # fmt: skip

    def _swept(self, device: Device, sweep: Sweep) -> None:
        self._pipeline.take(device, self._events.join(sweep))

    def _hear(self, bundle: Bundle) -> None:
        """Hear traps where the bundle says so."""
        self._events.keep({device.device for device in bundle.devices})
        if bundle.traps and self._trap_listener is None:
            from watchkeeper.agent.traps.listener import TrapListener  # noqa: PLC0415 -- only where somebody wants it

            self._trap_listener = TrapListener(
                self._config.agent, self._clock, self._secrets, self._events, self._schedule.poll_now
            )
        if self._trap_listener:
            self._trap_listener.adopt(bundle.traps, bundle.devices)

    def _build(self, bundle: Bundle) -> dict[str, Probe]:
        """The probes its devices need, those we have already kept."""
        relearn, self._profiles = bundle.profiles != self._profiles, bundle.profiles
        context = ProbeContext(self._clock, self._secrets, bundle.profiles)
        return build_all({device.probe for device in bundle.devices}, context, self._probes, relearn=relearn)


def _understand(bundle: Bundle) -> Share:
    """Read its rules and profiles. Raises ConfigError with every problem: such a bundle is refused whole."""
    if bundle.profiles:
        from watchkeeper.profiles import load_profiles  # noqa: PLC0415 -- only where somebody wrote one

        load_profiles(bundle.profiles)
    return Share(bundle, load_rules(bundle.rules))
