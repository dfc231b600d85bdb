"""Which mounts are disks, and how full they are."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import psutil

# File systems without a disk of their own, and read-only images, which are full by nature
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
# Single files that container runtimes lay over a container's own
CONTAINER_FILES = frozenset({"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/termination-log"})

StatVfs = Callable[[str], os.statvfs_result]


class Partition(Protocol):
    """A row of psutil.disk_partitions."""

    @property
    def device(self) -> str:
        """What is mounted."""

    @property
    def mountpoint(self) -> str:
        """Where."""

    @property
    def fstype(self) -> str:
        """As what."""


@dataclass(frozen=True, slots=True)
class Space:
    """One mount's numbers. `inodes_percent` is None where the file system does not count them (btrfs, vfat)."""

    used_percent: float
    size_bytes: float
    inodes_percent: float | None


def listed() -> list[Partition]:
    """Everything mounted, without touching any of it."""
    return list(psutil.disk_partitions(all=True))


def real(partitions: Iterable[Partition]) -> list[str]:
    """The mount points of disks: `/` whatever it is (a container's root is an overlay, a chroot's no mount at all), no
    pseudo file systems, and of several mounts of one device the shortest."""
    chosen: dict[tuple[str, str], str] = {}
    for one in partitions:
        path = one.mountpoint
        if path != "/" and (one.fstype in PSEUDO or path in CONTAINER_FILES):
            continue
        known = chosen.get((one.device, one.fstype))
        if known is None or (len(path), path) < (len(known), known):
            chosen[one.device, one.fstype] = path
    return sorted({"/", *chosen.values()})


def measure(path: str, statvfs: StatVfs) -> Space | None:
    """Ask the kernel, which may take for ever. None where the file system has no blocks at all. Used space counts as
    df does: what only root may fill is not free."""
    found = statvfs(path)
    used = found.f_blocks - found.f_bfree
    if used + found.f_bavail <= 0:
        return None
    inodes = 100 * (found.f_files - found.f_ffree) / found.f_files if found.f_files else None
    return Space(100 * used / (used + found.f_bavail), float(found.f_blocks * found.f_frsize), inodes)
