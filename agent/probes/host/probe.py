"""The host probe: this machine, by psutil (clause 4.2.5.3 and the hardware behind it)."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from watchkeeper.agent.ports import ProbeContext
from watchkeeper.agent.probes.bounded import BoundedCalls
from watchkeeper.agent.probes.host.mounts import Partition, Space, StatVfs, listed, measure, real
from watchkeeper.agent.probes.host.sensors import Sensor, read, scan
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device
from watchkeeper.model.plain import one_line
from watchkeeper.model.reading import Missing, Reason, Series, Sweep, Value

RESCAN_S = 600.0  # sensors are plugged in rarely
SENSORS = "sensors"
# The other ends of containers and virtual machines come and go, and are counted on the real interface as well
PASSING_INTERFACES = ("lo", "veth", "vnet", "tap", "cali")


Found = Space | list[Value] | None
"""What a question to the kernel brings: a mount's numbers, the sensors' values, nothing."""


def _counters() -> Any:
    return psutil.net_io_counters(pernic=True, nowrap=False)  # whoever reads a counter handles its wraps


class Row(NamedTuple):
    """One reading before it has its series: quantity, instance, label, source, value."""

    quantity: str
    instance: str
    label: str
    source: str
    value: Value


@dataclass(frozen=True, slots=True)
class Machine:
    """What the probe asks of the machine; tests put their own in."""

    partitions: Callable[[], list[Partition]] = listed
    statvfs: StatVfs = os.statvfs
    cpu_times: Callable[[], Any] = psutil.cpu_times
    memory: Callable[[], Any] = psutil.virtual_memory
    swap: Callable[[], Any] = psutil.swap_memory
    network: Callable[[], Any] = _counters
    load: Callable[[], tuple[float, float, float]] = os.getloadavg
    hwmon: Path = Path("/sys/class/hwmon")


class HostProbe:
    """See `agent.ports.Probe`. Nothing here waits for a disk: what may hang is asked in threads, with the device's
    timeout."""

    def __init__(self, clock: Clock, machine: Machine | None = None) -> None:
        self._clock = clock
        self._machine = machine or Machine()
        self._patience: BoundedCalls[Found] = BoundedCalls()
        self._cpu: Any = None
        self._sensors: list[Sensor] = []
        self._scan_at = 0.0
        self._uncounted: set[str] = set()  # mounts without inodes
        self._blockless: set[str] = set()  # mounts that turned out to be no disks
        self._series: tuple[Series, ...] = ()

    async def sweep(self, device: Device) -> Sweep:
        """See `Probe.sweep`. A machine that runs this answers."""
        if self._clock.boot() >= self._scan_at:
            self._sensors = scan(self._machine.hwmon)
            self._blockless.clear()
            self._scan_at = self._clock.boot() + RESCAN_S
        mounts = [path for path in real(self._machine.partitions()) if path not in self._blockless]
        questions: dict[str, Callable[[], Found]] = {
            path: partial(measure, path, self._machine.statvfs) for path in mounts
        }
        if self._sensors:
            questions[SENSORS] = partial(read, self._sensors)
        answers = await self._patience.ask(questions, device.timeout_s)
        rows = [Row("device.answering", "", "", "", "yes"), *self._vitals(), *self._interfaces()]
        for path in mounts:
            rows.extend(self._disk(path, answers[path]))
        rows.extend(self._chips(answers.get(SENSORS)))
        return Sweep(device.device, self._clock.boot(), self._named(device, rows), tuple(row.value for row in rows))

    async def forget(self, device: str) -> None:  # noqa: ARG002 -- the port's signature
        """See `Probe.forget`. There is only this machine, and nothing to let go of."""
        self._series = ()

    async def close(self) -> None:
        """See `Probe.close`. Threads that hang in the kernel are daemons and end with the process."""

    def _named(self, device: Device, rows: list[Row]) -> tuple[Series, ...]:
        """The same tuple as before as long as nothing but values changed."""
        held = self._series
        same = len(held) == len(rows) and all(
            (series.device, series.quantity, series.instance, series.label) == (device.device, *row[:3])
            for series, row in zip(held, rows, strict=True)
        )
        if not same:
            self._series = tuple(Series(device.device, *row[:4]) for row in rows)
        return self._series

    def _vitals(self) -> Iterator[Row]:
        yield Row("uptime", "", "", "CLOCK_BOOTTIME", self._clock.boot())
        yield Row("cpu.usage", "", "", "psutil.cpu_times", self._cpu_usage())
        memory, swap = self._machine.memory(), self._machine.swap()
        yield Row("memory.usage", "", "", "psutil.virtual_memory", float(memory.percent))
        yield Row("memory.size", "", "", "psutil.virtual_memory", float(memory.total))
        used = float(swap.percent) if swap.total else Missing(Reason.ABSENT, "this machine has no swap")
        yield Row("swap.usage", "", "", "psutil.swap_memory", used)
        for minutes, load in zip((1, 5, 15), self._machine.load(), strict=True):
            yield Row(f"load.{minutes}m", "", "", "getloadavg", load)

    def _cpu_usage(self) -> Value:
        """Per cent of all CPUs since the last sweep. psutil's own first answer would be 0.0."""
        before, now = self._cpu, self._machine.cpu_times()
        if before is not None and _busy_and_all(now)[1] <= _busy_and_all(before)[1]:
            return Missing(Reason.WARMING_UP, "no time has passed since the last sample")
        self._cpu = now
        if before is None:
            return Missing(Reason.WARMING_UP, "the first sample; the next sweep has a second one")
        busy, total = (late - early for late, early in zip(_busy_and_all(now), _busy_and_all(before), strict=True))
        return min(100.0, max(0.0, 100 * busy / total))

    def _interfaces(self) -> Iterator[Row]:
        for name, counters in self._machine.network().items():
            if name.startswith(PASSING_INTERFACES):
                continue
            errors = counters.errin + counters.errout + counters.dropin + counters.dropout
            part = one_line(name)
            yield Row("network.errors", part, part, "psutil.net_io_counters", float(errors))
            yield Row("network.received", part, part, "psutil.net_io_counters", float(counters.bytes_recv))
            yield Row("network.sent", part, part, "psutil.net_io_counters", float(counters.bytes_sent))

    def _disk(self, path: str, space: Found | Missing) -> Iterator[Row]:
        if isinstance(space, Space):
            usage: Value = space.used_percent
            size: Value = space.size_bytes
            inodes: Value | None = space.inodes_percent
            (self._uncounted.add if inodes is None else self._uncounted.discard)(path)
        elif isinstance(space, Missing):
            usage = size = inodes = space
        else:
            self._blockless.add(path)
            return
        part = one_line(path)  # which anybody who may mount has chosen
        yield Row("disk.usage", part, part, "statvfs", usage)
        yield Row("disk.size", part, part, "statvfs", size)
        if inodes is not None and path not in self._uncounted:
            yield Row("disk.inodes", part, part, "statvfs", inodes)

    def _chips(self, values: Found | Missing) -> Iterator[Row]:
        for number, sensor in enumerate(self._sensors):
            value = values[number] if isinstance(values, list) else values
            if isinstance(value, float | Missing):
                part = one_line(sensor.instance), one_line(sensor.label), one_line(str(sensor.path))
                yield Row(sensor.kind.quantity, *part, value)


def _busy_and_all(times: Any) -> tuple[float, float]:
    """Seconds of work and of everything; guest time is already part of user time (proc(5), /proc/stat)."""
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total


def build(context: ProbeContext) -> HostProbe:
    """See `agent.ports.ProbeContext`."""
    return HostProbe(context.clock)
