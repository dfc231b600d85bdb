"""The process probe: how many processes of this machine have a command line that matches the device's expression."""

import os
import re
from collections.abc import Callable, Iterable

import psutil

from watchkeeper.agent.ports import ProbeContext
from watchkeeper.agent.probes.bounded import BoundedCalls
from watchkeeper.agent.probes.series import SeriesCache
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device
from watchkeeper.model.pattern import longest_text
from watchkeeper.model.reading import Missing, Reason, Sweep, Value

CommandLines = Callable[[], Iterable[str]]
"""Lists the command lines of this machine's processes."""


def command_lines() -> Iterable[str]:
    """The command line of each process; for a kernel thread, its name. Leaves out zombies and this process itself,
    whose own arguments may contain the text that is searched."""
    for process in psutil.process_iter(["pid", "cmdline", "name", "status"]):
        info = process.info
        if info["pid"] != os.getpid() and info["status"] != psutil.STATUS_ZOMBIE:
            yield " ".join(info["cmdline"] or ()) or info["name"] or ""


class ProcessProbe:
    """Implements `agent.ports.Probe`. The kernel is asked in a thread: it may hang on the memory of one stuck
    process."""

    def __init__(self, clock: Clock, lines: CommandLines = command_lines) -> None:
        self._clock = clock
        self._lines = lines
        self._bounded: BoundedCalls[float] = BoundedCalls()
        self._series = SeriesCache()

    async def sweep(self, device: Device) -> Sweep:
        """Implements `Probe.sweep`."""
        wanted = device.process
        series = self._series.of(device, ("process.state", "", "psutil"), ("process.number", "", "psutil"))
        if wanted is None:
            missing = Missing(Reason.REFUSED, "the inventory has no `process` for this device")
            return Sweep(device.device, self._clock.boot(), series, ("no", missing, missing))
        pattern, longest = re.compile(wanted.matches), longest_text(wanted.matches)
        # The key is the device: if the call of one device hangs, the others are still made
        counts = await self._bounded.run({device.device: lambda: self._count(pattern, longest)}, device.timeout_s)
        count = counts[device.device]
        if isinstance(count, Missing):
            values: tuple[Value, ...] = ("no", count, count)
        else:
            values = ("yes", "running" if count >= wanted.at_least else "stopped", count)
        return Sweep(device.device, self._clock.boot(), series, values)

    async def forget(self, device: str) -> None:
        """Implements `Probe.forget`."""
        self._series.forget(device)

    async def close(self) -> None:
        """Implements `Probe.close`. A thread that hangs in the kernel is a daemon: it ends with the process."""

    def _count(self, pattern: re.Pattern[str], longest: int) -> float:
        return float(sum(1 for line in self._lines() if pattern.search(line[:longest])))


def build(context: ProbeContext) -> ProcessProbe:
    """Build the probe."""
    return ProcessProbe(context.clock)
