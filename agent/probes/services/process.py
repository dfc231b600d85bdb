"""The process probe: how many processes of this machine have a command line that the device's expression finds."""

import os
import re
from collections.abc import Callable, Iterable

import psutil

from watchkeeper.agent.ports import ProbeContext
from watchkeeper.agent.probes.bounded import BoundedCalls
from watchkeeper.agent.probes.services.check import Columns
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device
from watchkeeper.model.reading import Missing, Reason, Sweep, Value

Listed = Callable[[], Iterable[str]]
"""The command lines of this machine's processes."""


def running() -> Iterable[str]:
    """What runs, in the words of its command line; a kernel thread by its name. Neither the dead that nobody has fetched
    (zombies) nor this process, whose own arguments may name what it looks for."""
    for process in psutil.process_iter(["pid", "cmdline", "name", "status"]):
        told = process.info
        if told["pid"] != os.getpid() and told["status"] != psutil.STATUS_ZOMBIE:
            yield " ".join(told["cmdline"] or ()) or told["name"] or ""


class ProcessProbe:
    """See `agent.ports.Probe`. The kernel is asked in a thread: it may hang on the memory of one stuck process."""

    def __init__(self, clock: Clock, listed: Listed = running) -> None:
        self._clock = clock
        self._listed = listed
        self._patience: BoundedCalls[float] = BoundedCalls()
        self._columns = Columns()

    async def sweep(self, device: Device) -> Sweep:
        """See `Probe.sweep`."""
        asked = device.process
        series = self._columns.of(device, ("process.state", "", "psutil"), ("process.number", "", "psutil"))
        if asked is None:
            nothing = Missing(Reason.REFUSED, "the inventory has no `process` for this device")
            return Sweep(device.device, self._clock.boot(), series, ("no", nothing, nothing))
        sought = re.compile(asked.matches)
        # Asked by device: two of them may hang, each on its own
        answers = await self._patience.ask({device.device: lambda: self._count(sought)}, device.timeout_s)
        count = answers[device.device]
        if isinstance(count, Missing):
            values: tuple[Value, ...] = ("no", count, count)
        else:
            values = ("yes", "running" if count >= asked.at_least else "stopped", count)
        return Sweep(device.device, self._clock.boot(), series, values)

    async def forget(self, device: str) -> None:
        """See `Probe.forget`."""
        self._columns.forget(device)

    async def close(self) -> None:
        """See `Probe.close`. A thread that hangs in the kernel is a daemon and ends with the process."""

    def _count(self, sought: re.Pattern[str]) -> float:
        return float(sum(1 for line in self._listed() if sought.search(line)))


def build(context: ProbeContext) -> ProcessProbe:
    """See `agent.ports.ProbeContext`."""
    return ProcessProbe(context.clock)
