"""The host probe on fake machines: which mounts are disks, calls that hang, samples that are missing."""

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import psutil
import pytest

from watchkeeper.agent.probes.host.cpu import CpuReader
from watchkeeper.agent.probes.host.memory import MemoryReader, arc_shrinkable_bytes
from watchkeeper.agent.probes.host.mounts import real_mounts
from watchkeeper.agent.probes.host.probe import RESCAN_S, HostProbe, Machine
from watchkeeper.agent.probes.host.sensors import SensorReader, scan_hwmon
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device
from watchkeeper.model.quantity import QUANTITIES
from watchkeeper.model.reading import Missing, Reason, Sweep, Value

HOST = Device("host-1", "agent-1", Category.SERVER, "host", timeout_s=0.4)


class Partition(NamedTuple):
    device: str
    mountpoint: str
    fstype: str


class Times(NamedTuple):
    user: float
    nice: float
    system: float
    idle: float
    iowait: float
    guest: float
    guest_nice: float


class Net(NamedTuple):
    bytes_sent: int
    bytes_recv: int
    errin: int
    errout: int
    dropin: int
    dropout: int


ROOT = Partition("/dev/sda1", "/", "ext4")
NFS = Partition("nas:/export", "/mnt/nas", "nfs4")


def statvfs(
    *, blocks: int = 1000, free: int = 300, available: int = 200, files: int = 100, free_files: int = 60
) -> Any:
    return SimpleNamespace(
        f_blocks=blocks, f_bfree=free, f_bavail=available, f_frsize=4096, f_files=files, f_ffree=free_files
    )


GIB = 1 << 30


def memory(
    *, total: int = 10 * GIB, available: int = 6 * GIB, shrinkable: int = 0, cgroup: Path = Path("/nowhere")
) -> MemoryReader:
    found = SimpleNamespace(total=total, available=available)
    return MemoryReader(lambda: found, lambda: shrinkable, cgroup)


def cpu(*times: Times, cgroup: Path = Path("/nowhere"), count: int | None = 8) -> CpuReader:
    """The CPU times one after the other; the same ones for ever if there are none."""
    samples = iter(times)
    return CpuReader(lambda: next(samples) if times else Times(10, 0, 10, 80, 0, 0, 0), lambda: count, cgroup)


def machine(**own: Any) -> Machine:
    parts: dict[str, Any] = {
        "partitions": lambda: [ROOT],
        "statvfs": lambda path: statvfs(),
        "cpu": cpu(),
        "memory": memory(),
        "swap": lambda: SimpleNamespace(percent=1.0, total=1 << 30),
        "network": lambda: {
            "lo": Net(1, 1, 0, 0, 0, 0),
            "eth0": Net(10, 20, 1, 2, 3, 4),
            "veth1": Net(1, 1, 0, 0, 0, 0),
        },
        "load": lambda: (0.5, 0.4, 0.3),
        "hwmon": Path("/nonexistent"),
    }
    return Machine(**{**parts, **own})


def swept(probe: HostProbe, times: int = 1) -> list[Sweep]:
    async def run() -> list[Sweep]:
        return [await probe.sweep(HOST) for _ in range(times)]

    return asyncio.run(run())


def values(sweep: Sweep) -> dict[tuple[str, str], Value]:
    return {(reading.series.quantity, reading.series.instance): reading.value for reading in sweep.readings()}


def once(own: Machine) -> dict[tuple[str, str], Value]:
    return values(swept(HostProbe(FakeClock(), own))[0])


def test_a_sweep_of_a_machine() -> None:
    clock = FakeClock(since_boot=5_000.0)
    (sweep,) = swept(HostProbe(clock, machine()))
    found = values(sweep)
    assert sweep.series[0].quantity == "device.answering"
    assert found["device.answering", ""] == "yes"
    assert found["uptime", ""] == 5_000.0
    assert found["memory.usage", ""] == 40.0
    assert found["memory.size", ""] == 10 * GIB
    assert found["swap.usage", ""] == 1.0
    assert (found["load.1m", ""], found["load.15m", ""]) == (0.5, 0.3)
    assert found["network.errors", "eth0"] == 10.0
    assert (found["network.received", "eth0"], found["network.sent", "eth0"]) == (20.0, 10.0)
    assert ("network.errors", "lo") not in found
    assert ("network.errors", "veth1") not in found


def test_every_quantity_is_in_the_catalogue_and_this_machine_can_be_read() -> None:
    first, second = swept(HostProbe(FakeClock()), times=2)
    assert second.series is first.series
    assert {series.quantity for series in first.series} <= QUANTITIES.keys()
    found = values(second)
    assert isinstance(found["memory.size", ""], float)
    assert isinstance(found["disk.usage", "/"], float)


def test_disk_space_counts_as_df_does() -> None:
    found = once(machine())
    assert found["disk.usage", "/"] == pytest.approx(100 * 700 / 900)  # reserved blocks are not free
    assert found["disk.size", "/"] == 1000 * 4096
    assert found["disk.inodes", "/"] == pytest.approx(40.0)


def test_a_file_system_without_inodes_has_no_such_series_and_one_without_blocks_is_no_disk() -> None:
    sizes = {"/": statvfs(files=0, free_files=0), "/fuse": statvfs(blocks=0, free=0, available=0)}
    own = machine(partitions=lambda: [ROOT, Partition("odd", "/fuse", "fuse.odd")], statvfs=sizes.__getitem__)
    found = once(own)
    assert ("disk.usage", "/") in found
    assert ("disk.inodes", "/") not in found
    assert ("disk.usage", "/fuse") not in found


@pytest.mark.parametrize(
    ("partitions", "mounts"),
    [
        ([ROOT, NFS], ["/", "/mnt/nas"]),
        ([Partition("overlay", "/", "overlay"), Partition("tmpfs", "/tmp", "tmpfs")], ["/"]),  # noqa: S108 -- a mount point, not a file
        ([ROOT, Partition("/dev/sda1", "/var/bind", "ext4")], ["/"]),
        ([Partition("/dev/sdb1", "/srv/a/deep", "xfs"), Partition("/dev/sdb1", "/srv/b", "xfs")], ["/", "/srv/b"]),
        ([ROOT, Partition("/dev/loop3", "/snap/core", "squashfs"), Partition("/dev/sr0", "/cd", "iso9660")], ["/"]),
        ([Partition("overlay", "/", "overlay"), Partition("/dev/vda1", "/etc/hosts", "ext4")], ["/"]),
        ([Partition("overlay", "/var/lib/docker/overlay2/x/merged", "overlay"), ROOT], ["/"]),
        ([Partition("tank", "/", "zfs"), Partition("tank/home", "/home", "zfs")], ["/", "/home"]),
        ([Partition("proc", "/proc", "proc"), Partition("user@far:/", "/far", "fuse.sshfs")], ["/", "/far"]),
    ],
)
def test_which_mounts_are_disks(partitions: list[Partition], mounts: list[str]) -> None:
    assert real_mounts(partitions) == mounts


class HungMount:
    """A statvfs that blocks on the network mount until its server is back."""

    def __init__(self) -> None:
        self.back = threading.Event()
        self.calls = 0

    def __call__(self, path: str) -> Any:
        if path == NFS.mountpoint:
            self.calls += 1
            self.back.wait(30)
        return statvfs()


def test_a_hung_mount_is_missing_costs_one_thread_and_delays_nothing_else() -> None:
    hung = HungMount()
    probe = HostProbe(FakeClock(), machine(partitions=lambda: [ROOT, NFS], statvfs=hung))
    sweeps = swept(probe, times=3)
    try:
        for sweep in sweeps:
            found = values(sweep)
            for quantity in ("disk.usage", "disk.size", "disk.inodes"):
                value = found[quantity, "/mnt/nas"]
                assert isinstance(value, Missing)
                assert value.reason is Reason.HUNG
            assert isinstance(found["disk.usage", "/"], float)
        assert hung.calls == 1
        assert [thread.name for thread in threading.enumerate()].count("bounded /mnt/nas") == 1
    finally:
        hung.back.set()
    for thread in threading.enumerate():
        if thread.name == "bounded /mnt/nas":
            thread.join(10)
    (sweep,) = swept(probe)
    assert isinstance(values(sweep)["disk.usage", "/mnt/nas"], float)
    assert sweep.series is sweeps[0].series
    assert hung.calls == 2


def test_a_mount_that_the_kernel_refuses_is_missing_with_the_kernels_reason() -> None:
    def stale(path: str) -> Any:
        raise OSError(116, "Stale file handle")

    value = once(machine(statvfs=stale))["disk.usage", "/"]
    assert value == Missing(Reason.ABSENT, "Stale file handle")


def test_the_first_cpu_sample_is_missing_and_the_second_is_the_work_between() -> None:
    samples = Times(10, 0, 10, 80, 0, 5, 0), Times(15, 0, 15, 85, 5, 5, 0), Times(15, 0, 15, 85, 5, 5, 0)
    first, second, third = swept(HostProbe(FakeClock(), machine(cpu=cpu(*samples))), times=3)
    usage = ("cpu.usage", "")
    assert isinstance(values(first)[usage], Missing)
    assert values(second)[usage] == pytest.approx(50.0)  # 10 of 20 seconds; waiting for a disk is not work
    for sweep in (first, third):
        value = values(sweep)[usage]
        assert isinstance(value, Missing)
        assert value.reason is Reason.WARMING_UP


def test_a_machine_without_swap_says_so() -> None:
    value = once(machine(swap=lambda: SimpleNamespace(percent=0.0, total=0)))["swap.usage", ""]
    assert isinstance(value, Missing)
    assert value.reason is Reason.ABSENT


@pytest.fixture
def hwmon(tmp_path: Path) -> Callable[..., Path]:
    def write(chip: str, **files: str) -> Path:
        (tmp_path / chip).mkdir(exist_ok=True)
        for name, text in files.items():
            (tmp_path / chip / name).write_text(text + "\n")
        return tmp_path

    return write


def test_temperatures_and_fans_are_read_from_hwmon(hwmon: Callable[..., Path]) -> None:
    hwmon("hwmon0", name="coretemp", temp1_input="45500", temp1_label="Package id 0", temp2_input="-200000")
    root = hwmon("hwmon1", name="nct6775", fan1_input="1180", fan2_input="0", temp1_input="oops")
    (sweep,) = swept(HostProbe(FakeClock(), machine(hwmon=root)))
    found = values(sweep)
    assert found["temperature.component", "coretemp/temp1"] == 45.5
    assert found["fan.speed", "nct6775/fan1"] == 1180.0
    assert found["fan.speed", "nct6775/fan2"] == 0.0
    reasons = {value.reason for value in found.values() if isinstance(value, Missing)}
    assert {Reason.IMPLAUSIBLE, Reason.MALFORMED} <= reasons
    assert "coretemp Package id 0" in {series.label for series in sweep.series}


def test_new_sensors_are_found_every_ten_minutes_and_known_ones_read_at_each_sweep(hwmon: Callable[..., Path]) -> None:
    clock = FakeClock()
    root = hwmon("hwmon0", name="chip", temp1_input="30000")
    probe = HostProbe(clock, machine(hwmon=root))
    (first,) = swept(probe)
    hwmon("hwmon0", temp1_input="31000", temp2_input="20000")
    (second,) = swept(probe)
    assert values(second)["temperature.component", "chip/temp1"] == 31.0
    assert second.series is first.series
    clock.advance(RESCAN_S)
    (third,) = swept(probe)
    assert values(third)["temperature.component", "chip/temp2"] == 20.0


@pytest.mark.parametrize("stuck", [("temp1_input",), ("temp2_input", "fan1_input"), ("fan2_input",)])
def test_a_sensor_that_does_not_return_hides_only_itself_and_is_read_again_once_it_returns(
    stuck: tuple[str, ...], hwmon: Callable[..., Path]
) -> None:
    files = {"temp1_input": "31000", "temp2_input": "32000", "fan1_input": "1100", "fan2_input": "1200"}
    root = hwmon("hwmon0", name="chip", **files)
    for name in stuck:  # to open a FIFO waits for its writer
        (root / "hwmon0" / name).unlink()
        os.mkfifo(root / "hwmon0" / name)
    expected: dict[str, object] = {"temp1_input": 31.0, "temp2_input": 32.0, "fan1_input": 1100.0, "fan2_input": 1200.0}
    probe = HostProbe(FakeClock(), machine(hwmon=root))

    def sensors() -> dict[str, object]:
        (sweep,) = swept(probe)
        return {
            Path(one.series.source).name: one.value.reason if isinstance(one.value, Missing) else one.value
            for one in sweep.readings()
            if "hwmon" in one.series.source
        }

    for _ in range(3):
        assert sensors() == expected | dict.fromkeys(stuck, Reason.HUNG)
    waiting = [thread for thread in threading.enumerate() if thread.name == "sensors"]
    for thread in waiting:
        thread.join(0.5)  # one that has finished needs a moment to end
    waiting = [thread for thread in waiting if thread.is_alive()]
    for name in stuck:
        (root / "hwmon0" / name).write_text(files[name])
        (root / "hwmon0" / name).unlink()
        (root / "hwmon0" / name).write_text(files[name])
    for thread in waiting:
        thread.join(30)
    assert len(waiting) == len(stuck)
    assert sensors() == expected


def test_a_slow_sensor_delays_no_other_and_is_read_if_it_comes_in_time(hwmon: Callable[..., Path]) -> None:
    root = hwmon("hwmon0", name="chip", temp1_input="", temp2_input="32000")
    slow = root / "hwmon0" / "temp1_input"
    slow.unlink()
    os.mkfifo(slow)
    (first, second) = scan_hwmon(root)

    async def run() -> list[Value]:
        reading = asyncio.create_task(SensorReader().read([first, second], 8.0))
        await asyncio.to_thread(slow.write_text, "31000")
        return await reading

    assert asyncio.run(run()) == [31.0, 32.0]


def test_the_columns_change_only_when_the_machine_does() -> None:
    mounted = [ROOT]
    probe = HostProbe(FakeClock(), machine(partitions=lambda: list(mounted)))
    first, second = swept(probe, times=2)
    assert second.series is first.series
    mounted.append(NFS)
    (third,) = swept(probe)
    assert third.series is not first.series
    assert ("disk.usage", "/mnt/nas") in values(third)


def test_cpu_usage_is_computed_from_times() -> None:
    assert Machine().cpu.times is psutil.cpu_times  # not cpu_percent, whose first answer is 0.0


# ---- memory that is given back on demand is not used ----

ARCSTATS = """13 1 0x01 147 39984 1 2
name                            type data
c_min                           4    2147483648
c_max                           4    53687091200
size                            4    {size}
"""


@pytest.mark.parametrize(("size", "shrinkable"), [(50 * GIB, 48 * GIB), (GIB, 0), ("many", 0)])
def test_zfs_gives_its_cache_back_down_to_its_minimum(
    size: object, shrinkable: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spl/kstat/zfs").mkdir(parents=True)
    (tmp_path / "spl/kstat/zfs/arcstats").write_text(ARCSTATS.format(size=size), encoding="ascii")
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert arc_shrinkable_bytes() == shrinkable


def test_a_machine_without_zfs_has_nothing_to_add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert arc_shrinkable_bytes() == 0


def test_the_cache_of_zfs_is_not_used_memory() -> None:
    """64 GiB, of which the kernel calls 3 available, and ZFS would give back 48: 13 are used."""
    usage, size = memory(total=64 * GIB, available=3 * GIB, shrinkable=48 * GIB).read()
    assert (round(usage, 1), size) == (20.3, 64 * GIB)
    assert memory(total=64 * GIB, available=60 * GIB, shrinkable=48 * GIB).read()[0] == 0.0, "never below nothing"


def container(folder: Path, limit: object = 4 * GIB) -> Path:
    (folder / "memory.max").write_text(f"{limit}\n", encoding="ascii")
    (folder / "memory.current").write_text(f"{3 * GIB}\n", encoding="ascii")
    stat = f"anon {GIB}\nactive_file {GIB // 2}\ninactive_file {GIB}\nslab_reclaimable {GIB // 2}\n"
    (folder / "memory.stat").write_text(stat, encoding="ascii")
    return folder


def test_a_container_is_judged_by_its_own_limit_without_its_file_cache(tmp_path: Path) -> None:
    usage, size = memory(total=64 * GIB, available=60 * GIB, cgroup=container(tmp_path)).read()
    assert (usage, size) == (25.0, 4 * GIB)


@pytest.mark.parametrize("limit", ["max", 100 * GIB])
def test_a_limit_that_is_none_leaves_the_machine(limit: object, tmp_path: Path) -> None:
    assert memory(cgroup=container(tmp_path, limit)).read() == (40.0, 10 * GIB)
