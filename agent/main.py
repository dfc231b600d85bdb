"""The running agent: the only place that builds its clock, spool, sockets and threads."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from watchkeeper.agent.config import AgentConfig, Places, read_config
from watchkeeper.agent.pipeline import Pipeline
from watchkeeper.agent.poll.columns import ColumnLimits
from watchkeeper.agent.poll.facts import facts_of
from watchkeeper.agent.poll.kinds import build_all
from watchkeeper.agent.poll.schedule import Schedule
from watchkeeper.agent.ports import Probe, ProbeContext, ProfileProbe
from watchkeeper.agent.push.bundle import keep_bundle, load_bundle
from watchkeeper.agent.push.pusher import Pusher
from watchkeeper.agent.push.uplink import Uplink
from watchkeeper.agent.spool.memory import SpoolMemory
from watchkeeper.agent.spool.spool import Limits, Spool
from watchkeeper.agent.traps.events import TrapEvents
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.batch import STANDING, Bundle, Document, Facts, Request
from watchkeeper.model.clock import Clock, SystemClock
from watchkeeper.model.device import Device
from watchkeeper.model.errors import WatchkeeperError
from watchkeeper.model.logs import set_up_logging
from watchkeeper.model.plain import one_line
from watchkeeper.model.reading import Series, Sweep
from watchkeeper.model.sd_notify import notify, watchdog_s
from watchkeeper.model.text import marked
from watchkeeper.profiles.asked import still_asked
from watchkeeper.rules.judge import Judge
from watchkeeper.rules.load import RuleSet, load_rules

if TYPE_CHECKING:
    from watchkeeper.agent.traps.listener import TrapListener

log = logging.getLogger(__name__)

BEAT_S = 5.0
STOP_S = 3.0


def run(file: Path) -> None:
    """Run the agent of that agent.yml until SIGTERM or SIGINT. Raises WatchkeeperError where it cannot start."""
    stamp = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "  # the journal has its own
    set_up_logging(f"{stamp}%(levelname)s %(message)s")
    config, places = read_config(file)
    asyncio.run(_run(config, places, SystemClock()))


async def _run(config: AgentConfig, places: Places, clock: Clock) -> None:
    secrets = Secrets(places.secrets)
    uplink = Uplink(config.collector, config.agent, secrets.get(config.token), places.ca)
    spool = Spool(places.spool, Limits(config.spool.size_bytes, config.spool.age_s), clock)
    with contextlib.closing(uplink), contextlib.closing(spool):
        # A bundle names secrets and the addresses they are sent to, so it must not be able to name our token.
        device_secrets = secrets.without(config.token)
        await AgentService(config, places, clock, secrets=device_secrets, uplink=uplink, spool=spool).run()
    # A thread that hangs in the kernel (a probe on a dead network mount) must not keep the process from ending.
    timer = threading.Timer(STOP_S, os._exit, (0,))
    timer.daemon = True
    timer.start()


@dataclass(frozen=True, slots=True)
class LoadedBundle:
    """A bundle with its rules loaded."""

    bundle: Bundle
    rules: RuleSet


class AgentService:
    """A running agent: probes, schedule and pipeline (judge, spool) on the event loop, the pusher in a thread."""

    def __init__(
        self, config: AgentConfig, places: Places, clock: Clock, *, secrets: Secrets, uplink: Uplink, spool: Spool
    ) -> None:
        self._config, self._places, self._clock, self._secrets = config, places, clock, secrets
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._activating = asyncio.Lock()
        self._probes: dict[str, Probe] = {}
        self._profiles: tuple[Document, ...] = ()
        self._tasks: set[asyncio.Task[None]] = set()
        judge = Judge(spool.states(), parts=spool.parts(), asked=self._asked)
        self._pusher = Pusher(
            spool, uplink, clock, config.agent,
            on_bundle=self._on_bundle, on_request=self._on_request, session=_session(),
        )  # fmt: skip
        self._pipeline = Pipeline(spool, judge, clock, self._pusher.wake, self._facts)
        self._schedule = Schedule(clock, self._on_sweep, judge.silence_judged)
        self._events, self._columns = TrapEvents(), ColumnLimits()
        self._memory = SpoolMemory(places.spool, spool.note)
        self._trap_listener: TrapListener | None = None
        self._status = ""

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, then close everything."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stopping.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._pusher.fetch)
        self._schedule.start()
        try:
            await self._begin()
            notify("READY=1")
            log.info("agent %s: running, pushing to %s", self._config.agent, self._config.collector)
            gc.collect()
            gc.freeze()  # these objects stay: later collections need not visit them
            await self._beat()
        finally:
            notify("STOPPING=1")
            await self._end()
        log.info("agent %s: stopped", self._config.agent)

    async def _begin(self) -> None:
        try:
            bundle = load_bundle(self._places.bundle, self._config.agent)
            if bundle:
                await self._activate(_load(bundle))
                self._pusher.set_bundle(bundle)
        except WatchkeeperError as error:
            log.error("the bundle on disk cannot be used; fetching another one:\n%s", error)  # noqa: TRY400 -- sentences for the operator need no traceback
        self._pusher.start()

    async def _beat(self) -> None:
        limit_s = watchdog_s()
        every_s = min(BEAT_S, limit_s / 3) if limit_s else BEAT_S
        alive = True
        while not self._stopping.is_set():
            self._pipeline.beat()
            if self._trap_listener:
                self._trap_listener.beat()
            self._schedule.check_clock()
            self._say_status()
            if self._pusher.alive:
                notify("WATCHDOG=1")
            elif alive:
                log.critical("the push thread hangs; under systemd the watchdog restarts the agent")
            alive = self._pusher.alive
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), every_s)

    def _say_status(self) -> None:
        """Tell systemd whether a collector takes what this agent finds (`systemctl status` shows it)."""
        cut = self._pusher.cut_off
        status = f"CUT OFF: {cut}" if cut else f"pushing to {self._config.collector}"
        if status != self._status:
            self._status = status
            notify(f"STATUS={one_line(status)}")

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

    def _on_request(self, request: Request) -> None:
        if request.kind == "poll-now":
            self._loop.call_soon_threadsafe(self._schedule.poll_now, request.device)
        elif request.kind == STANDING:
            self._loop.call_soon_threadsafe(self._pipeline.report)
        elif request.kind == "removed":
            reason = marked(f"removed: confirmed by {request.by}")
            self._loop.call_soon_threadsafe(self._pipeline.remove, request.device, request.part, reason)
            self._loop.call_soon_threadsafe(self._schedule.poll_now, request.device)

    def _on_bundle(self, bundle: Bundle) -> None:
        loaded = _load(bundle)
        try:
            keep_bundle(self._places.bundle, bundle)
        except OSError as error:
            log.error("%s: %s; the bundle is used, but not on disk", self._places.bundle, error.strerror)  # noqa: TRY400 -- a sentence for the operator needs no traceback
        self._loop.call_soon_threadsafe(self._activate_soon, loaded)

    # ---- on the event loop ----

    def _activate_soon(self, loaded: LoadedBundle) -> None:
        task = self._loop.create_task(self._activate(loaded))
        self._tasks.add(task)
        task.add_done_callback(self._activated)

    def _activated(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a bundle could not be activated", exc_info=error)

    async def _activate(self, loaded: LoadedBundle) -> None:
        bundle, rules = loaded.bundle, loaded.rules
        async with self._activating:
            self._memory.keep_only({device.device for device in bundle.devices})
            self._columns.keep(bundle.devices)
            old, self._probes = self._probes, self._build_probes(bundle)
            self._pipeline.activate(rules, bundle.devices)
            await self._schedule.watch(bundle.devices, self._probes)
            for kind, probe in old.items():
                if self._probes.get(kind) is not probe:
                    await probe.close()
            self._listen(bundle)
        log.info("bundle %s is active: %d devices, %d rules", bundle.version, len(bundle.devices), len(rules.rules))

    def _on_sweep(self, device: Device, sweep: Sweep) -> None:
        self._pipeline.add(device, self._columns.admit(device, self._events.join(sweep)))

    def _asked(self, series: Series) -> bool:
        """Whether its device is still asked for the series; yes as long as no profile is known."""
        device = self._schedule.device(series.device)
        probe = self._probes.get(device.probe) if device else None
        profiles = probe.profiles_of(series.device) if isinstance(probe, ProfileProbe) else ()
        return not profiles or still_asked(profiles, series, self._schedule.series(series.device))

    def _facts(self, device: Device) -> Facts:
        return facts_of(self._probes.get(device.probe), device.device) + self._columns.facts(device.device)

    def _listen(self, bundle: Bundle) -> None:
        """Listen for traps if the bundle says so."""
        self._events.keep({device.device for device in bundle.devices})
        if bundle.traps and self._trap_listener is None:
            from watchkeeper.agent.traps.listener import TrapListener  # noqa: PLC0415 -- imported only if it is needed

            self._trap_listener = TrapListener(
                self._config.agent, self._clock, self._secrets, self._events, self._schedule.poll_now
            )
        if self._trap_listener:
            self._trap_listener.adopt(bundle.traps, bundle.devices)

    def _build_probes(self, bundle: Bundle) -> dict[str, Probe]:
        """The probes that the bundle's devices need; existing ones are reused."""
        new_profiles, self._profiles = bundle.profiles != self._profiles, bundle.profiles
        context = ProbeContext(self._clock, self._secrets, bundle.profiles, self._memory)
        kinds = {device.probe for device in bundle.devices}
        return build_all(kinds, context, self._probes, new_profiles=new_profiles)


def _session() -> str:
    """The name of this process. It says where the process runs, for a person who finds two agents of one name."""
    return f"{socket.gethostname()[:100]} pid {os.getpid()} {uuid.uuid4().hex[:16]}"


def _load(bundle: Bundle) -> LoadedBundle:
    """Load the bundle's rules. Raises ConfigError with every problem of its rules and profiles."""
    if bundle.profiles:
        from watchkeeper.profiles import load_profiles  # noqa: PLC0415 -- imported only if there are profiles

        load_profiles(bundle.profiles)
    return LoadedBundle(bundle, load_rules(bundle.rules))
