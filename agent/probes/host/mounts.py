"""Which mounts are real disks, and how full they are."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import psutil

# File systems without a disk of their own, and read-only images, which are always full
PSEUDO = frozenset(
    {
        "autofs", "bdev", "binder", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "cpuset", "debugfs", "devfs",
        "devpts", "devtmpfs", "drm", "efivarfs", "fuse.fusermount", "fuse.gvfsd-fuse", "fuse.lxcfs", "fuse.portal",
        "fuse.snapfuse", "fusectl", "hugetlbfs", "mqueue", "nfsd", "none", "nsfs", "overlay", "pipefs", "proc",
        "pstore", "ramfs", "resctrl", "rootfs", "rpc_pipefs", "securityfs", "selinuxfs", "smackfs", "sockfs", "sysfs",
        "tmpfs", "tracefs",
        "cramfs", "erofs", "iso9660", "romfs", "squashfs", "udf",
    }
)  # fmt: skip
# Single files that container runtimes mount over the container's own
CONTAINER_FILES = frozenset({"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/termination-log"})

StatVfs = Callable[[str], os.statvfs_result]


class Partition(Protocol):
    """A row of psutil.disk_partitions."""

    @property
    def device(self) -> str:
        """The mounted device."""

    @property
    def mountpoint(self) -> str:
        """Where it is mounted."""

    @property
    def fstype(self) -> str:
        """The type of the file system."""


@dataclass(frozen=True, slots=True)
class Space:
    """How full one mount is. `inodes_percent` is None where the file system does not count inodes (btrfs, vfat)."""

    used_percent: float
    size_bytes: float
    inodes_percent: float | None


def list_mounts() -> list[Partition]:
    """Everything that is mounted. Does not touch the mounts."""
    return list(psutil.disk_partitions(all=True))


def real_mounts(partitions: Iterable[Partition]) -> list[str]:
    """The mount points of disks: always `/` (in a container it is an overlay, in a chroot no mount at all), no pseudo
    file systems, and the shortest path if a device is mounted several times."""
    chosen: dict[tuple[str, str], str] = {}
    for one in partitions:
        path = one.mountpoint
        if path != "/" and (one.fstype in PSEUDO or path in CONTAINER_FILES):
            continue
        known = chosen.get((one.device, one.fstype))
        if known is None or (len(path), path) < (len(known), known):
            chosen[one.device, one.fstype] = path
    return sorted({"/", *chosen.values()})


def automounted(partitions: Iterable[Partition]) -> tuple[str, ...]:
    """Where autofs mounts file systems when they are used, and takes them away afterwards (autofs(5))."""
    return tuple({one.mountpoint for one in partitions if one.fstype == "autofs"})


def is_below(path: str, places: Iterable[str]) -> bool:
    """Whether the path is one of these places, or below one."""
    return any(path == place or path.startswith(f"{place.rstrip('/')}/") for place in places)


def measure_space(path: str, statvfs: StatVfs) -> Space | None:
    """Ask the kernel; this call may hang. None where the file system has no blocks. Used space is counted as df does:
    space reserved for root is not free."""
    found = statvfs(path)
    used = found.f_blocks - found.f_bfree
    if used + found.f_bavail <= 0:
        return None
    inodes = 100 * (found.f_files - found.f_ffree) / found.f_files if found.f_files else None
    return Space(100 * used / (used + found.f_bavail), float(found.f_blocks * found.f_frsize), inodes)
