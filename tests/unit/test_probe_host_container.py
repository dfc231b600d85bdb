"""The host probe in a container: CPU and memory are those that the container may use, with cgroup v2 and v1."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from watchkeeper.agent.probes.host.cpu import CpuReader, CpuSample, usage_between
from watchkeeper.agent.probes.host.memory import MemoryReader
from watchkeeper.agent.probes.host.probe import HostProbe, Machine
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device
from watchkeeper.model.reading import Missing, Reason, Value

GIB = 1 << 30
HOST = Device("box", "room-1", Category.SERVER, "host")


class _Times(tuple[float, ...]):
    """All CPUs of the machine: 900 s of 1000 s busy."""

    __slots__ = ()
    idle = 100.0


def write(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n", encoding="ascii")


def v2(folder: Path, used_s: float, quota: object = 200_000, period: int = 100_000) -> Path:
    write(folder, cpu__max=f"{quota} {period}", cpu__stat=f"usage_usec {used_s * 1e6:.0f}\nuser_usec 7\nnr_throttled 3")
    return folder


def v1(folder: Path, used_s: float, quota: int = 200_000, period: int = 100_000) -> Path:
    write(folder / "cpu", cpu__cfs_quota_us=quota, cpu__cfs_period_us=period)
    write(folder / "cpuacct", cpuacct__usage=int(used_s * 1e9))
    return folder


def reader(folder: Path, count: int | None = 64) -> CpuReader:
    return CpuReader(lambda: _Times((900.0, 100.0)), lambda: count, folder)


@pytest.mark.parametrize("version", [v2, v1])
def test_a_container_is_judged_by_the_cpus_that_it_may_use(version: Callable[..., Path], tmp_path: Path) -> None:
    """Of 2 CPUs, 45 s in 30 s are 75 %, however many the machine has."""
    before = reader(version(tmp_path, 1000.0)).sample(500.0)
    after = reader(version(tmp_path, 1045.0)).sample(530.0)
    assert before == CpuSample(1000.0, 500.0, 2.0, container=True)
    assert usage_between(before, after) == pytest.approx(75.0)


@pytest.mark.parametrize("count", [2, 1, None])
def test_a_quota_that_is_no_limit_leaves_the_machine(count: int | None, tmp_path: Path) -> None:
    assert reader(v2(tmp_path, 1.0), count).sample(5.0) == CpuSample(900.0, 1000.0, 1.0, container=False)


def test_a_part_of_one_cpu_is_a_quota_too(tmp_path: Path) -> None:
    assert reader(v2(tmp_path, 1.0, 50_000), 1).sample(5.0).cpus == 0.5


@pytest.mark.parametrize(("cpus", "allowed"), [("0-1", 2.0), ("3", 1.0), ("0,2,4-7", 6.0)])
def test_a_container_may_be_bound_to_some_of_the_cpus_without_a_quota(
    cpus: str, allowed: float, tmp_path: Path
) -> None:
    write(v2(tmp_path / "v2", 5.0, "max"), cpuset__cpus__effective=cpus)
    write(v1(tmp_path / "v1", 5.0, -1) / "cpuset", cpuset__effective_cpus=cpus)
    for folder in (tmp_path / "v2", tmp_path / "v1"):
        assert reader(folder).sample(9.0) == CpuSample(5.0, 9.0, allowed, container=True)


def test_of_a_quota_and_a_set_of_cpus_the_smaller_one_counts(tmp_path: Path) -> None:
    write(v2(tmp_path, 5.0, 200_000), cpuset__cpus__effective="0-3")
    assert reader(tmp_path).sample(9.0).cpus == 2.0
    write(v2(tmp_path, 5.0, 900_000), cpuset__cpus__effective="0-3")
    assert reader(tmp_path).sample(9.0).cpus == 4.0


@pytest.mark.parametrize("cpus", ["0-63", "", "all"])
def test_all_cpus_are_those_of_the_machine(cpus: str, tmp_path: Path) -> None:
    write(v2(tmp_path, 5.0, "max"), cpuset__cpus__effective=cpus)
    assert not reader(tmp_path).sample(9.0).container


@pytest.mark.parametrize("quota", ["max", "many", "1 2"])
def test_no_quota_of_version_2_leaves_the_machine(quota: str, tmp_path: Path) -> None:
    assert not reader(v2(tmp_path, 1.0, quota)).sample(5.0).container


@pytest.mark.parametrize(("quota", "period"), [(-1, 100_000), (0, 100_000), (100_000, 0)])
def test_no_quota_of_version_1_leaves_the_machine(quota: int, period: int, tmp_path: Path) -> None:
    assert not reader(v1(tmp_path, 1.0, quota, period)).sample(5.0).container


def test_a_period_of_zero_and_a_statistic_that_is_not_there_leave_the_machine(tmp_path: Path) -> None:
    assert not reader(v2(tmp_path, 1.0, period=0)).sample(5.0).container
    write(v2(tmp_path, 1.0), cpu__stat="user_usec 7")
    assert not reader(tmp_path).sample(5.0).container
    assert not reader(tmp_path / "none").sample(5.0).container


def test_a_quota_that_is_set_or_lifted_in_between_gives_no_value(tmp_path: Path) -> None:
    of_container = reader(v2(tmp_path, 1.0)).sample(5.0)
    of_machine = reader(tmp_path / "none").sample(5.0)
    for before, after in ((of_container, of_machine), (of_machine, of_container), (None, of_container)):
        value = usage_between(before, after)
        assert isinstance(value, Missing)
        assert value.reason is Reason.WARMING_UP


def test_a_quota_that_is_changed_counts_from_then_on(tmp_path: Path) -> None:
    before = reader(v2(tmp_path, 10.0, 400_000)).sample(0.0)
    assert usage_between(before, reader(v2(tmp_path, 20.0, 100_000)).sample(20.0)) == pytest.approx(50.0)


def test_more_than_the_quota_is_all_and_a_counter_that_starts_again_is_nothing(tmp_path: Path) -> None:
    before = reader(v2(tmp_path, 10.0)).sample(0.0)
    assert usage_between(before, reader(v2(tmp_path, 100.0)).sample(10.0)) == 100.0
    assert usage_between(before, reader(v2(tmp_path, 1.0)).sample(10.0)) == 0.0
    assert isinstance(usage_between(before, before), Missing)


def test_the_probe_in_a_container(tmp_path: Path) -> None:
    clock = FakeClock(since_boot=100.0)
    machine = Machine(partitions=list, cpu=reader(tmp_path), network=dict, hwmon=tmp_path / "none")
    probe = HostProbe(clock, machine)

    def usage(used_s: float) -> Value:
        v2(tmp_path, used_s)
        sweep = asyncio.run(probe.sweep(HOST))
        return next(reading.value for reading in sweep.readings() if reading.series.quantity == "cpu.usage")

    assert isinstance(usage(5.0), Missing)
    clock.advance(10)
    assert usage(15.0) == pytest.approx(50.0)
    clock.advance(10)
    assert usage(15.0) == 0.0


def memory_v1(folder: Path, limit: int) -> MemoryReader:
    stat = f"cache {GIB}\ntotal_inactive_file {GIB}\ntotal_active_file {GIB // 2}\ninactive_file 5"
    write(folder / "memory", memory__limit_in_bytes=limit, memory__usage_in_bytes=3 * GIB, memory__stat=stat)
    return MemoryReader(lambda: SimpleNamespace(total=64 * GIB, available=48 * GIB), lambda: 0, folder)


def test_memory_of_version_1_is_without_the_file_cache_of_all_groups_below(tmp_path: Path) -> None:
    assert memory_v1(tmp_path, 6 * GIB).read() == (25.0, 6 * GIB)


def test_version_1_writes_no_limit_as_a_huge_one(tmp_path: Path) -> None:
    assert memory_v1(tmp_path, 9_223_372_036_854_771_712).read() == (25.0, 64 * GIB)


def test_memory_of_which_a_part_cannot_be_read_is_that_of_the_machine(tmp_path: Path) -> None:
    reader = memory_v1(tmp_path, 6 * GIB)
    (tmp_path / "memory" / "memory.stat").unlink()
    assert reader.read() == (25.0, 64 * GIB)


def test_a_container_that_sees_its_limit_as_the_machine_is_without_the_cache_of_its_host(tmp_path: Path) -> None:
    """With lxcfs /proc/meminfo tells the container's limit, and the ARC in /proc/spl is that of the host."""
    stat = f"anon {3 * GIB}\ninactive_file {GIB}\nactive_file 0\nslab_reclaimable 0"
    write(tmp_path, memory__max=4 * GIB, memory__current=4 * GIB, memory__stat=stat)
    of_container = SimpleNamespace(total=4 * GIB, available=GIB)
    assert MemoryReader(lambda: of_container, lambda: 32 * GIB, tmp_path).read() == (75.0, 4 * GIB)
