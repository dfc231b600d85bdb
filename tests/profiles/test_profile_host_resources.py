"""Disks, memory and swap by HOST-RESOURCES-MIB and UCD-SNMP-MIB: Windows, Linux, FreeBSD, Arista EOS, made-up figures."""

import asyncio

import pytest

from watchkeeper.agent.probes.snmp.probe import SnmpProbe
from watchkeeper.agent.probes.testing import MemoryDevice
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device, Snmp
from watchkeeper.model.reading import Value
from watchkeeper.profiles import load_profiles
from watchkeeper.profiles.decode import Raw

STORAGE, TYPES, UCD = "1.3.6.1.2.1.25.2.3.1", "1.3.6.1.2.1.25.2.1", "1.3.6.1.4.1.2021"
RAM, VIRTUAL, FIXED, REMOVABLE, FLOPPY, CD, NETWORK, OTHER = (
    f"{TYPES}.{number}" for number in (2, 3, 4, 5, 6, 7, 10, 1)
)
LINUX, WINDOWS = "1.3.6.1.4.1.8072.3.2.10", "1.3.6.1.4.1.311.1.1.3.1.2"
PROFILES = load_profiles()

Row = tuple[int, str, str, int, int, int]
"""Index, type, description, allocation unit, size, used."""


def storage(*rows: Row) -> dict[str, Raw]:
    found: dict[str, Raw] = {}
    for index, *cells in rows:
        found |= {f"{STORAGE}.{column}.{index}": cell for column, cell in enumerate(cells, 2)}
    return found


def usage(sys_object_id: str, objects: dict[str, Raw], sys_descr: bytes = b"") -> dict[tuple[str, str], Value]:
    """The percentages in use and the sizes of disks."""
    system: dict[str, Raw] = {
        "1.3.6.1.2.1.1.1.0": sys_descr, "1.3.6.1.2.1.1.2.0": sys_object_id, "1.3.6.1.2.1.1.3.0": 100, "1.3.6.1.2.1.25.1.1.0": 100,
    }  # fmt: skip
    memory = MemoryDevice(system | objects)
    probe = SnmpProbe(PROFILES, Secrets(environ={}), FakeClock(), memory.open)
    device = Device("host", "room", Category.SERVER, "snmp", "10.0.0.7", snmp=Snmp(community="c"))
    sweep = asyncio.run(probe.sweep(device))
    wanted = ("disk.usage", "disk.size", "memory.usage", "swap.usage")
    return {
        (one.series.quantity, one.series.instance): one.value
        for one in sweep.readings()
        if one.series.quantity in wanted
    }


def test_windows_disks_memory_and_swap_with_counts_above_two_thousand_million() -> None:
    found = usage(
        WINDOWS,
        storage(
            (1, FIXED, r"C:\ Label:System", 4096, 1000, 990),
            (2, FIXED, r"D:\ Label:Data", 8192, 3_000_000_000 - 2**32, 2_400_000_000 - 2**32),
            (3, FIXED, r"G:\ Label:Big", 4096, 2_400_000_000 - 2**32, 1_200_000_000),
            (4, CD, "E:\\", 0, 0, 0),
            (5, REMOVABLE, "F:\\", 512, 100, 100),
            (6, FLOPPY, "A:\\", 0, 0, 0),
            (7, VIRTUAL, "Virtual Memory", 65536, 200, 50),
            (8, RAM, "Physical Memory", 65536, 400, 300),
            (9, FIXED, "H:\\", 0, 0, 0),
        ),
    )
    assert found == {
        ("disk.usage", r"C:\ Label:System"): 99.0,
        ("disk.usage", r"D:\ Label:Data"): 80.0,
        ("disk.usage", r"G:\ Label:Big"): 50.0,
        ("disk.size", r"C:\ Label:System"): 4_096_000.0,
        ("disk.size", r"D:\ Label:Data"): 24_576_000_000_000.0,
        ("disk.size", r"G:\ Label:Big"): 9_830_400_000_000.0,
        ("memory.usage", "Physical Memory"): 75.0,
        ("swap.usage", "Virtual Memory"): 25.0,
    }


NET_SNMP: tuple[Row, ...] = (
    (1, RAM, "Physical memory", 1024, 1000, 950),  # 50 free
    (3, VIRTUAL, "Virtual memory", 1024, 1400, 970),
    (6, OTHER, "Memory buffers", 1024, 1000, 100),
    (7, OTHER, "Cached memory", 1024, 500, 500),
    (8, OTHER, "Shared memory", 1024, 150, 150),
    (10, VIRTUAL, "Swap space", 1024, 400, 20),
)


def test_linux_cache_is_not_used_but_shared_memory_is() -> None:
    assert usage(LINUX, storage(*NET_SNMP), b"Linux host") == {("memory.usage", ""): 50.0, ("swap.usage", ""): 5.0}


def test_linux_says_itself_what_is_available() -> None:
    rows = storage(*NET_SNMP, (11, OTHER, "Available memory", 1024, 420, 0))
    assert usage(LINUX, rows)["memory.usage", ""] == pytest.approx(58.0)
    assert usage(LINUX, rows | {f"{UCD}.4.5.0": 1000, f"{UCD}.4.27.0": 410})["memory.usage", ""] == pytest.approx(59.0)


def test_ucd_knows_the_cache_where_the_storage_table_does_not() -> None:
    rows = storage((1, RAM, "Physical memory", 1024, 1000, 950))
    ucd: dict[str, Raw] = {
        f"{UCD}.4.{number}.0": kib for number, kib in ((5, 1000), (6, 50), (13, 150), (14, 100), (15, 500))
    }
    assert usage(LINUX, rows | ucd, b"Linux host")["memory.usage", ""] == 50.0
    assert usage(LINUX, rows | ucd, b"FreeBSD host")["memory.usage", ""] == 45.0, (
        "shared and buffers mean something else"
    )
    assert usage(LINUX, rows, b"SunOS host")["memory.usage", ""] == 95.0


def test_a_host_without_swap_has_no_swap_usage() -> None:
    rows = storage(*NET_SNMP[:-1], (10, VIRTUAL, "Swap space", 1024, 0, 0))
    assert [key for key in usage(LINUX, rows | {f"{UCD}.4.3.0": 0, f"{UCD}.4.4.0": 0}) if key[0] == "swap.usage"] == []


def test_swap_by_ucd() -> None:
    assert usage(LINUX, storage(*NET_SNMP) | {f"{UCD}.4.3.0": 800, f"{UCD}.4.4.0": 600})["swap.usage", ""] == 25.0


def test_a_switch_whose_buffers_are_ram_too() -> None:
    rows = storage(
        (1, RAM, "RAM", 1024, 8000, 7000), (2, RAM, "RAM (Buffers)", 1024, 8000, 1000), (3, RAM, "RAM (Cache)", 1024, 8000, 2000),
        (100, RAM, "RAM (Unavailable)", 1024, 8000, 1800),
    )  # fmt: skip
    assert usage("1.3.6.1.4.1.8072.3.2", rows) == {("memory.usage", ""): 50.0}


def test_bsnmpd_lists_pools_that_are_no_memory() -> None:
    rows = storage(
        (1, RAM, "Real Memory Metrics", 4096, 1000, 400), (2, RAM, "Shared Real Memory Metrics", 4096, 100, 100),
        (3, VIRTUAL, "Virtual Memory Metrics", 4096, 900, 900), (4, VIRTUAL, "Shared Virtual Memory Metrics", 4096, 9, 9),
        (5, RAM, "UMA: UMA Kegs: ", 1, 100, 100), (6, RAM, "MALLOC: kobj", 1, 100, 100), (7, VIRTUAL, "Swap:/dev/ada0p3", 4096, 100, 3),
    )  # fmt: skip
    assert usage("1.3.6.1.4.1.8072.3.2.8", rows) == {
        ("memory.usage", "Real Memory Metrics"): 40.0,
        ("swap.usage", "Swap:/dev/ada0p3"): 3.0,
    }


def test_file_systems_that_cannot_fill_or_are_always_full_are_no_disks() -> None:
    always_full = (
        "/snap/core20/1405",
        "/rom",
        "/run/lock",
        "/dev/hugepages",
        "/sys/fs/cgroup",
        "/media/cdrom",
        "/var/lib/docker/overlay2/1/merged",
    )
    rows = storage(
        *((30 + number, FIXED, path, 4096, 100, 100) for number, path in enumerate(always_full)),
        (50, FIXED, "/", 4096, 100, 70), (51, FIXED, "/runtime", 4096, 100, 20), (52, NETWORK, "/home", 4096, 100, 90),
        (53, FIXED, "/var/lib/docker", 4096, 100, 60),
    )  # fmt: skip
    found = usage(LINUX, rows)
    assert {key[1]: value for key, value in found.items() if key[0] == "disk.usage"} == {
        "/": 70.0,
        "/runtime": 20.0,
        "/var/lib/docker": 60.0,
    }


def test_a_disk_that_ucd_has_too_is_read_once_with_the_blocks_reserved_for_root() -> None:
    rows = storage((50, FIXED, "/", 4096, 100, 90), (51, FIXED, "/srv", 4096, 100, 20))
    ucd: dict[str, Raw] = {f"{UCD}.9.1.2.1": b"/", f"{UCD}.9.1.9.1": 95}
    found = usage(LINUX, rows | ucd)
    assert {key[1]: value for key, value in found.items() if key[0] == "disk.usage"} == {"/": 95.0, "/srv": 20.0}
