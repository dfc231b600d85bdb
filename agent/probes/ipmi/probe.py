"""The IPMI probe: BMCs by RMCP+, one kept session each, read from a bounded pool of threads."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from watchkeeper.agent.ports import NoAnswer, ProbeContext
from watchkeeper.agent.probes.ipmi.bmc import Bmc, BmcOpener
from watchkeeper.agent.probes.ipmi.commands import IpmiSession
from watchkeeper.agent.probes.ipmi.decode import Row
from watchkeeper.agent.probes.ipmi.session import IPMI_PORT, IpmiLogin, PyIpmiSession
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device
from watchkeeper.model.errors import SecretError
from watchkeeper.model.reading import Missing, Reason, Series, Sweep

IPMI_THREADS = 96
"""More than the schedule reads of devices that were silent last time (64), so that those leave room for the others."""

IDLE_S = 45.0
"""How long a session is left alone; the BMC's own patience is a minute (IPMI 2.0, 6.12.15)."""

T = TypeVar("T")


@dataclass(slots=True)
class _IpmiDevice:
    """What is kept of a BMC between sweeps. `reading` and `tending` are threads at work on it."""

    device: Device
    bmc: Bmc
    series: tuple[Series, ...]
    reading: asyncio.Future[list[Row]] | None = None
    tending: asyncio.Future[None] | None = None
    alarm: asyncio.TimerHandle | None = None


def build(context: ProbeContext) -> "IpmiProbe":
    """See `agent.ports.ProbeContext`."""
    return IpmiProbe(context.secrets, context.clock)


class IpmiProbe:
    """See `agent.ports.Probe`. All calls come from one event loop."""

    def __init__(self, secrets: Secrets, clock: Clock, opener: BmcOpener | None = None, idle_s: float = IDLE_S) -> None:
        self._clock = clock
        self._opener = opener or (lambda device, attempts: open_ipmi_session(device, secrets, attempts))
        self._idle_s = idle_s
        self._pool = ThreadPoolExecutor(IPMI_THREADS, "ipmi")
        self._held: dict[str, _IpmiDevice] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    async def sweep(self, device: Device) -> Sweep:
        """See `Probe.sweep`. A BMC that still keeps a thread waiting gets no second one."""
        held = self._hold(device)
        if held.tending is not None:
            await asyncio.wait({held.tending})
        if held.reading is not None:
            return self._failed(held, Missing(Reason.HUNG, "its last reading has not come to an end"))
        if held.alarm is not None:
            held.alarm.cancel()
        held.reading = self._work(held.bmc.read)
        held.reading.add_done_callback(lambda done: self._read(held, done))
        try:
            rows = await asyncio.shield(held.reading)
        except NoAnswer as nothing:
            return self._failed(held, nothing.missing)
        series = self._named(held, rows)
        return Sweep(device.device, self._clock.boot(), series, ("yes", *(row.value for row in rows)))

    async def forget(self, device: str) -> None:
        """See `Probe.forget`."""
        held = self._held.pop(device, None)
        if held is not None:
            self._let_go(held)

    async def close(self) -> None:
        """See `Probe.close`. Returns once every BMC was told, or had its timeout for it."""
        for held in self._held.values():
            self._let_go(held)
        self._held.clear()
        await asyncio.gather(*self._leaving)
        self._pool.shutdown(wait=False)

    def _hold(self, device: Device) -> _IpmiDevice:
        held = self._held.get(device.device)
        if held is None or (held.device is not device and held.device != device):
            if held is not None:
                self._let_go(held)
            held = self._held[device.device] = _IpmiDevice(
                device, Bmc(device, self._clock, self._opener), _bare(device)
            )
        return held

    def _work(self, job: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._pool, job)

    def _read(self, held: _IpmiDevice, done: asyncio.Future[list[Row]]) -> None:
        """A thread has come back: from now on the session waits for the next sweep."""
        held.reading = None
        done.exception()  # nobody may be waiting for it any more
        self._wait(held)

    def _wait(self, held: _IpmiDevice) -> None:
        if held.device.every_s > self._idle_s and self._held.get(held.device.device) is held:
            held.alarm = asyncio.get_running_loop().call_later(self._idle_s, self._tend, held)

    def _tend(self, held: _IpmiDevice) -> None:
        held.tending = self._work(held.bmc.tend)
        held.tending.add_done_callback(lambda done: self._tended(held, done))

    def _tended(self, held: _IpmiDevice, done: asyncio.Future[None]) -> None:
        held.tending = None
        done.exception()
        self._wait(held)

    def _let_go(self, held: _IpmiDevice) -> "asyncio.Task[None]":
        """Close its session, once its thread is back."""
        if held.alarm is not None:
            held.alarm.cancel()
        leaving = asyncio.create_task(self._take_leave(held), name=f"leave {held.device.device}")
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        return leaving

    async def _take_leave(self, held: _IpmiDevice) -> None:
        busy = [thread for thread in (held.reading, held.tending) if thread is not None]
        if busy:
            await asyncio.wait(busy)
        await self._work(lambda: held.bmc.drop(politely=True))

    def _failed(self, held: _IpmiDevice, missing: Missing) -> Sweep:
        rest = [missing] * (len(held.series) - 1)
        return Sweep(held.device.device, self._clock.boot(), held.series, ("no", *rest))

    def _named(self, held: _IpmiDevice, rows: list[Row]) -> tuple[Series, ...]:
        """The same tuple as before as long as nothing but values changed."""
        series = held.series
        same = len(series) == len(rows) + 1 and all(
            (one.quantity, one.instance, one.label) == row[:3] for one, row in zip(series[1:], rows, strict=True)
        )
        if not same:
            held.series = (series[0], *(Series(held.device.device, *row[:4]) for row in rows))
        return held.series


def _bare(device: Device) -> tuple[Series, ...]:
    """The series of a BMC that was never heard of: of all that it may have, its power is certain."""
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
    return PyIpmiSession(IpmiLogin(host, port, ipmi.user, password, ipmi.cipher, device.timeout_s, attempts))
