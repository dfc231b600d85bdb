"""Memory in use, without what the kernel gives back on demand (clause 4.2.5.3)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil


def arc_shrinkable_bytes() -> int:
    """How much ZFS's cache (ARC) gives back when programs need memory: its size less its minimum, from arcstats(8). The
    kernel's MemAvailable does not count it. 0 where there is no ZFS."""
    file = Path(psutil.PROCFS_PATH) / "spl/kstat/zfs/arcstats"
    try:
        lines = file.read_text(encoding="ascii").splitlines()
        stats = {name: int(value) for name, _, value in (line.split() for line in lines[2:])}
        return max(0, stats["size"] - stats["c_min"])
    except (OSError, ValueError, KeyError):
        return 0


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """A container's memory: its limit, and how much of it is used without reclaimable caches, in bytes."""

    limit: int
    used: int


def cgroup_memory(folder: Path) -> MemoryLimit | None:
    """The limit of the control group that this process sees as its root. None on a host: the root group has no limit, or
    (v1) one that is larger than any memory."""
    return _memory_v2(folder) or _memory_v1(folder / "memory")


def _memory_v1(folder: Path) -> MemoryLimit | None:
    """Cgroup v1 (kernel documentation, admin-guide/cgroup-v1/memory); `total_` counts the groups below too."""
    try:
        limit = int((folder / "memory.limit_in_bytes").read_text(encoding="ascii"))
        used = int((folder / "memory.usage_in_bytes").read_text(encoding="ascii"))
        stat = _numbers(folder / "memory.stat")
    except (OSError, ValueError):
        return None
    cache = stat.get("total_inactive_file", 0) + stat.get("total_active_file", 0)
    return MemoryLimit(limit, max(0, used - cache))


def _memory_v2(folder: Path) -> MemoryLimit | None:
    """Cgroup v2 (kernel documentation, admin-guide/cgroup-v2, "Memory")."""
    try:
        limit = int((folder / "memory.max").read_text(encoding="ascii"))
        current = int((folder / "memory.current").read_text(encoding="ascii"))
        stat = _numbers(folder / "memory.stat")
    except (OSError, ValueError):  # `max` is not a number: there is no limit
        return None
    cache = stat.get("inactive_file", 0) + stat.get("active_file", 0) + stat.get("slab_reclaimable", 0)
    return MemoryLimit(limit, max(0, current - cache))


def _numbers(file: Path) -> dict[str, int]:
    lines = file.read_text(encoding="ascii").splitlines()
    return {name: int(value) for name, value in (line.split() for line in lines)}


@dataclass(frozen=True, slots=True)
class MemoryReader:
    """The calls by which memory is read. Tests replace them."""

    memory: Callable[[], Any] = psutil.virtual_memory
    shrinkable: Callable[[], int] = arc_shrinkable_bytes
    cgroup: Path = Path("/sys/fs/cgroup")

    def read(self) -> tuple[float, float]:
        """(per cent in use, size in bytes) of this machine, or of the container that the agent runs in."""
        memory = self.memory()
        container = cgroup_memory(self.cgroup)
        if (
            container and container.limit <= memory.total
        ):  # equal where lxcfs shows a container its limit as the machine
            return 100.0 * container.used / container.limit, float(container.limit)
        available = min(memory.total, memory.available + self.shrinkable())
        return 100.0 * (memory.total - available) / memory.total, float(memory.total)
