"""CPU usage of this machine, or of the container that the agent runs in (clause 4.2.5.3)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from watchkeeper.model.reading import Missing, Reason, Value


@dataclass(frozen=True, slots=True)
class CpuSample:
    """CPU seconds used until `at`, with `cpus` CPUs allowed. `at` is in seconds; its zero does not matter."""

    busy_s: float
    at: float
    cpus: float
    container: bool


@dataclass(frozen=True, slots=True)
class CpuReader:
    """The calls by which CPU time is read. Tests replace them."""

    times: Callable[[], Any] = psutil.cpu_times
    count: Callable[[], int | None] = psutil.cpu_count
    cgroup: Path = Path("/sys/fs/cgroup")

    def sample(self, now: float) -> CpuSample:
        """CPU time until now: of the container, if it is allowed fewer CPUs than the machine has; else of the machine."""
        group = _group_v2(self.cgroup) or _group_v1(self.cgroup)
        if group and group[0] < (self.count() or 0):
            cpus, busy_s = group
            return CpuSample(busy_s, now, cpus, container=True)
        busy, total = _busy_and_all(self.times())
        return CpuSample(busy, total, 1.0, container=False)


def usage_between(before: CpuSample | None, now: CpuSample) -> Value:
    """Per cent of the CPUs allowed now, between two samples."""
    if before is None or before.container is not now.container:
        return Missing(Reason.WARMING_UP, "this is the first sample; the next sweep gives a value")
    if now.at <= before.at:
        return Missing(Reason.WARMING_UP, "no CPU time has passed since the last sample")
    used = (now.busy_s - before.busy_s) / ((now.at - before.at) * now.cpus)
    return min(100.0, max(0.0, 100 * used))


def _group_v2(folder: Path) -> tuple[float, float] | None:
    """(CPUs, CPU seconds used) of the control group that this process sees as its root: cpu.max, cpuset.cpus.effective and
    cpu.stat of cgroup v2 (kernel documentation, admin-guide/cgroup-v2, "CPU" and "Cpuset"). None without a limit; the root
    group of a host has all CPUs."""
    cpus = _least(_quota(folder / "cpu.max"), _count(folder / "cpuset.cpus.effective"))
    try:
        stat = dict(line.split() for line in (folder / "cpu.stat").read_text(encoding="ascii").splitlines())
        return (cpus, int(stat["usage_usec"]) / 1e6) if cpus else None
    except (OSError, ValueError, KeyError):
        return None


def _group_v1(folder: Path) -> tuple[float, float] | None:
    """The same of cgroup v1: cfs_quota_us is -1 without a quota (kernel documentation, scheduler/sched-bwc), and
    cpuacct.usage is in nanoseconds (admin-guide/cgroup-v1/cpuacct)."""
    quota = _quota(folder / "cpu/cpu.cfs_quota_us", folder / "cpu/cpu.cfs_period_us")
    cpus = _least(quota, _count(folder / "cpuset/cpuset.effective_cpus"))
    try:
        used_ns = int((folder / "cpuacct/cpuacct.usage").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return (cpus, used_ns / 1e9) if cpus else None


def _least(*limits: float | None) -> float | None:
    return min((one for one in limits if one), default=None)


def _quota(*files: Path) -> float | None:
    """How many CPUs a group may use in a period. None without a quota: `max` is no number, and -1 is below zero."""
    try:
        quota, period = (int(text) for file in files for text in file.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None


def _count(file: Path) -> float | None:
    """How many CPUs a list such as `0-3,8` has."""
    try:
        spans = [[int(end) for end in span.split("-")] for span in file.read_text(encoding="ascii").strip().split(",")]
    except (OSError, ValueError):
        return None
    return float(sum(span[-1] - span[0] + 1 for span in spans))


def _busy_and_all(times: Any) -> tuple[float, float]:
    """Busy seconds and all seconds. Guest time is already part of user time (proc(5), /proc/stat)."""
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total
