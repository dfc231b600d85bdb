"""The host probe: this machine, by psutil (clause 4.2.5.3, and the hardware)."""

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from watchkeeper.agent.ports import ProbeContext
from watchkeeper.agent.probes.bounded import BoundedCalls
from watchkeeper.agent.probes.host.cpu import CpuReader, CpuSample, usage_between
from watchkeeper.agent.probes.host.memory import MemoryReader
from watchkeeper.agent.probes.host.mounts import (
    Partition,
    Space,
    StatVfs,
    automounted,
    is_below,
    list_mounts,
    measure_space,
    real_mounts,
)
from watchkeeper.agent.probes.host.sensors import HwmonSensor, SensorReader, scan_hwmon
from watchkeeper.agent.probes.series import SweepRow, series_of
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device
from watchkeeper.model.plain import one_line
from watchkeeper.model.reading import AUTOMOUNTED, Missing, Reason, Series, Sweep, Value

RESCAN_S = 600.0  # new sensors are rare
# Interfaces of containers and virtual machines come and go; their traffic is also counted on the real interface
IGNORED_INTERFACES = ("lo", "veth", "vnet", "tap", "cali")


Found = Space | None
"""The result of one bounded call: a mount's space, or None for a mount without blocks."""


def _counters() -> Any:
    return psutil.net_io_counters(pernic=True, nowrap=False)  # a wrap is handled where the counter becomes a rate


@dataclass(frozen=True, slots=True)
class Machine:
    """The calls by which the probe reads the machine. Tests replace them."""

    partitions: Callable[[], list[Partition]] = list_mounts
    statvfs: StatVfs = os.statvfs
    cpu: CpuReader = field(default_factory=CpuReader)
    memory: MemoryReader = field(default_factory=MemoryReader)
    swap: Callable[[], Any] = psutil.swap_memory
    network: Callable[[], Any] = _counters
    load: Callable[[], tuple[float, float, float]] = os.getloadavg
    hwmon: Path = Path("/sys/class/hwmon")


class HostProbe:
    """Implements `agent.ports.Probe`. Calls that may hang (disks, sensors) run in threads, bounded by the device's
    timeout."""

    def __init__(self, clock: Clock, machine: Machine | None = None) -> None:
        self._clock = clock
        self._machine = machine or Machine()
        self._bounded: BoundedCalls[Found] = BoundedCalls()
        self._cpu: CpuSample | None = None
        self._sensors: list[HwmonSensor] = []
        self._reader = SensorReader()
        self._scan_at = 0.0
        self._uncounted: set[str] = set()  # mounts that do not count inodes
        self._automounted: tuple[str, ...] = ()
        self._blockless: set[str] = set()  # mounts without blocks, which are no disks
        self._series: tuple[Series, ...] = ()

    async def sweep(self, device: Device) -> Sweep:
        """Implements `Probe.sweep`. `device.answering` is always yes: the probe runs on the device."""
        if self._clock.boot() >= self._scan_at:
            self._sensors = scan_hwmon(self._machine.hwmon)
            self._blockless.clear()
            self._scan_at = self._clock.boot() + RESCAN_S
        partitions = self._machine.partitions()
        mounts = [path for path in real_mounts(partitions) if path not in self._blockless]
        self._automounted = automounted(partitions)
        calls: dict[str, Callable[[], Found]] = {
            path: partial(measure_space, path, self._machine.statvfs) for path in mounts
        }
        found, values = await asyncio.gather(
            self._bounded.run(calls, device.timeout_s), self._reader.read(self._sensors, device.timeout_s)
        )
        rows = [SweepRow("device.answering", "", "", "", "yes"), *self._vitals(), *self._interfaces()]
        for path in mounts:
            rows.extend(self._disk(path, found[path]))
        rows.extend(self._chips(values))
        self._series = series_of(device.device, rows, self._series)
        return Sweep(device.device, self._clock.boot(), self._series, tuple(row.value for row in rows))

    async def forget(self, device: str) -> None:  # noqa: ARG002 -- the port's signature
        """Implements `Probe.forget`. There is only one device, this machine."""
        self._series = ()

    async def close(self) -> None:
        """Implements `Probe.close`. Threads that hang in the kernel are daemons: they end with the process."""

    def _vitals(self) -> Iterator[SweepRow]:
        yield SweepRow("uptime", "", "", "CLOCK_BOOTTIME", self._clock.boot())
        yield SweepRow("cpu.usage", "", "", "psutil.cpu_times", self._cpu_usage())
        (usage, size), swap = self._machine.memory.read(), self._machine.swap()
        yield SweepRow("memory.usage", "", "", "psutil.virtual_memory", usage)
        yield SweepRow("memory.size", "", "", "psutil.virtual_memory", size)
        used = float(swap.percent) if swap.total else Missing(Reason.ABSENT, "this machine has no swap")
        yield SweepRow("swap.usage", "", "", "psutil.swap_memory", used)
        for minutes, load in zip((1, 5, 15), self._machine.load(), strict=True):
            yield SweepRow(f"load.{minutes}m", "", "", "getloadavg", load)

    def _cpu_usage(self) -> Value:
        """Per cent of the CPUs since the last sweep. psutil's first answer would be a wrong 0.0."""
        before, now = self._cpu, self._machine.cpu.sample(self._clock.boot())
        usage = usage_between(before, now)
        if before is None or before.container is not now.container or now.at > before.at:
            self._cpu = now
        return usage

    def _interfaces(self) -> Iterator[SweepRow]:
        for name, counters in self._machine.network().items():
            if name.startswith(IGNORED_INTERFACES):
                continue
            errors = counters.errin + counters.errout + counters.dropin + counters.dropout
            part = one_line(name)
            yield SweepRow("network.errors", part, part, "psutil.net_io_counters", float(errors))
            yield SweepRow("network.received", part, part, "psutil.net_io_counters", float(counters.bytes_recv))
            yield SweepRow("network.sent", part, part, "psutil.net_io_counters", float(counters.bytes_sent))

    def _disk(self, path: str, space: Found | Missing) -> Iterator[SweepRow]:
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
        part = one_line(path)  # any user who may mount chooses this text
        source = f"{AUTOMOUNTED}, statvfs" if is_below(path, self._automounted) else "statvfs"
        yield SweepRow("disk.usage", part, part, source, usage)
        yield SweepRow("disk.size", part, part, source, size)
        if inodes is not None and path not in self._uncounted:
            yield SweepRow("disk.inodes", part, part, source, inodes)

    def _chips(self, values: Iterable[Value]) -> Iterator[SweepRow]:
        for sensor, value in zip(self._sensors, values, strict=True):
            part = one_line(sensor.instance), one_line(sensor.label), one_line(str(sensor.path))
            yield SweepRow(sensor.kind.quantity, *part, value)


def build(context: ProbeContext) -> HostProbe:
    """Build the probe."""
    return HostProbe(context.clock)
