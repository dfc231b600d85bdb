"""The IPMI probe: reads BMCs by RMCP+, with one kept session for each, in a pool of threads."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from watchkeeper.agent.ports import NoAnswer, ProbeContext, sweep_limit_s
from watchkeeper.agent.probes.ipmi.bmc import Bmc, BmcOpener
from watchkeeper.agent.probes.ipmi.commands import IpmiSession
from watchkeeper.agent.probes.ipmi.session import IPMI_PORT, IpmiLogin, PyIpmiSession
from watchkeeper.agent.probes.series import SweepRow, series_of
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device
from watchkeeper.model.errors import SecretError
from watchkeeper.model.reading import Missing, Reason, Series, Sweep

IPMI_THREADS = 96
"""More than the 64 devices without an answer that the schedule reads at once: the rest is for BMCs that answer."""

IDLE_S = 45.0
"""How long a session may be idle before we keep it alive; the BMC ends it after a minute (IPMI 2.0, 6.12.15)."""

T = TypeVar("T")


@dataclass(slots=True)
class _IpmiDevice:
    """What is kept of a BMC between sweeps. `reading` and `keeping_alive` are threads that work on it now; `timer`
    starts the next keep-alive."""

    device: Device
    bmc: Bmc
    series: tuple[Series, ...]
    reading: asyncio.Future[list[SweepRow]] | None = None
    keeping_alive: asyncio.Future[None] | None = None
    timer: asyncio.TimerHandle | None = None


def build(context: ProbeContext) -> "IpmiProbe":
    """Build the probe."""
    return IpmiProbe(context.secrets, context.clock)


class IpmiProbe:
    """Implements `agent.ports.Probe`. All calls must come from one event loop."""

    def __init__(self, secrets: Secrets, clock: Clock, opener: BmcOpener | None = None, idle_s: float = IDLE_S) -> None:
        self._clock = clock
        self._opener = opener or (lambda device, attempts: open_ipmi_session(device, secrets, attempts))
        self._idle_s = idle_s
        self._pool = ThreadPoolExecutor(IPMI_THREADS, "ipmi")
        self._held: dict[str, _IpmiDevice] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def sweep(self, device: Device) -> Sweep:
        """Implements `Probe.sweep`. A BMC whose thread still hangs gets no second thread."""
        held = self._held_for(device)
        if held.keeping_alive is not None:
            await asyncio.wait({held.keeping_alive})
        if held.reading is not None:
            return self._failed(held, Missing(Reason.HUNG, "its last reading has not come to an end"))
        if held.timer is not None:
            held.timer.cancel()
        held.reading = self._in_thread(held.bmc.read)
        held.reading.add_done_callback(lambda done: self._reading_done(held, done))
        try:
            rows = [_ANSWERING_ROW, *await asyncio.shield(held.reading)]
        except NoAnswer as nothing:
            return self._failed(held, nothing.missing)
        held.series = series_of(device.device, rows, held.series)
        return Sweep(device.device, self._clock.boot(), held.series, tuple(row.value for row in rows))

    async def forget(self, device: str) -> None:
        """Implements `Probe.forget`."""
        held = self._held.pop(device, None)
        if held is not None:
            self._release(held)

    async def close(self) -> None:
        """Implements `Probe.close`. Returns once every BMC was logged out, or its timeout is over."""
        for held in self._held.values():
            self._release(held)
        self._held.clear()
        await asyncio.gather(*self._closing)
        self._pool.shutdown(wait=False)

    def _held_for(self, device: Device) -> _IpmiDevice:
        held = self._held.get(device.device)
        if held is None or (held.device is not device and held.device != device):
            if held is not None:
                self._release(held)
            held = self._held[device.device] = _IpmiDevice(
                device, Bmc(device, self._clock, self._opener), _bare_series(device)
            )
        return held

    def _in_thread(self, job: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._pool, job)

    def _reading_done(self, held: _IpmiDevice, done: asyncio.Future[list[SweepRow]]) -> None:
        held.reading = None
        done.exception()  # marks it as retrieved: the sweep that started it may be cancelled
        self._start_timer(held)

    def _start_timer(self, held: _IpmiDevice) -> None:
        if held.device.every_s > self._idle_s and self._held.get(held.device.device) is held:
            held.timer = asyncio.get_running_loop().call_later(self._idle_s, self._keep_alive, held)

    def _keep_alive(self, held: _IpmiDevice) -> None:
        held.keeping_alive = self._in_thread(held.bmc.keep_alive)
        held.keeping_alive.add_done_callback(lambda done: self._keep_alive_done(held, done))

    def _keep_alive_done(self, held: _IpmiDevice, done: asyncio.Future[None]) -> None:
        held.keeping_alive = None
        done.exception()
        self._start_timer(held)

    def _release(self, held: _IpmiDevice) -> "asyncio.Task[None]":
        """Close the BMC's session as soon as no thread works on it."""
        if held.timer is not None:
            held.timer.cancel()
        closing = asyncio.create_task(self._log_out(held), name=f"log out of {held.device.device}")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return closing

    async def _log_out(self, held: _IpmiDevice) -> None:
        busy = [thread for thread in (held.reading, held.keeping_alive) if thread is not None]
        if busy:
            await asyncio.wait(busy)
        await self._in_thread(lambda: held.bmc.drop(log_out=True))

    def _failed(self, held: _IpmiDevice, missing: Missing) -> Sweep:
        rest = [missing] * (len(held.series) - 1)
        return Sweep(held.device.device, self._clock.boot(), held.series, ("no", *rest))


_ANSWERING_ROW = SweepRow("device.answering", "", "", "ipmi", "yes")


def _bare_series(device: Device) -> tuple[Series, ...]:
    """The series of a BMC that never answered: every BMC has a power state, which carries the reason."""
    return (
        Series(device.device, "device.answering", source="ipmi"),
        Series(device.device, "power.state", source="ipmi chassis"),
    )


def open_ipmi_session(device: Device, secrets: Secrets, attempts: int) -> IpmiSession:
    """Open a session with the device's secrets. Blocks. Raises NoAnswer."""
    ipmi = device.ipmi
    if ipmi is None:
        raise NoAnswer(Reason.REFUSED, "the inventory has no `ipmi` for this device")
    try:
        password = secrets.get(ipmi.password).reveal()
    except SecretError as error:
        raise NoAnswer(Reason.REFUSED, str(error)) from None
    try:
        host, port = device.endpoint(IPMI_PORT)
    except ValueError as error:
        raise NoAnswer(Reason.UNREACHABLE, str(error)) from None
    limit_s = sweep_limit_s(device)
    return PyIpmiSession(IpmiLogin(host, port, ipmi.user, password, ipmi.cipher, device.timeout_s, attempts, limit_s))
