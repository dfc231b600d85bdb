"""What vanishes, as real probes show it, judged by the shipped rules; and what may be away."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from watchkeeper.agent.poll.facts import facts_of
from watchkeeper.agent.ports import Probe
from watchkeeper.agent.probes.host.mounts import is_below
from watchkeeper.agent.probes.host.probe import HostProbe, Machine
from watchkeeper.agent.probes.ipmi.states import discrete_value
from watchkeeper.agent.probes.snmp.probe import SnmpProbe
from watchkeeper.agent.probes.testing import MemoryDevice
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.batch import Document
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device, Snmp
from watchkeeper.model.reading import Series, Sweep
from watchkeeper.model.verdict import Level, Verdict, Withdrawal
from watchkeeper.profiles import load_profiles
from watchkeeper.profiles.decode import Raw
from watchkeeper.rules.judge import Judge
from watchkeeper.rules.load import load_rules, shipped

RULES = load_rules(shipped())
EVERY_S = 30.0

HUB = """
profile: hub
vendor: Acme
category: env
verified: []
match: [{sys_object_id: [1.3.6.1.4.1.99999]}]
readings:
  - quantity: temperature.ambient
    each: {label: "{1.3.6.1.4.1.99999.1.1.2}"}
    oid: 1.3.6.1.4.1.99999.1.1.3
    raw_unit: 1 °C
    absent: [-999]
    source: "A::temperature"
  - quantity: output.load
    oid: 1.3.6.1.4.1.99999.2.0
    raw_unit: 1 %
    absent: [-1]
    source: "A::load"
"""
SENSORS: dict[str, Raw] = {
    "1.3.6.1.2.1.1.1.0": b"A hub",
    "1.3.6.1.2.1.1.2.0": "1.3.6.1.4.1.99999.7",
    "1.3.6.1.2.1.1.3.0": 36_000_000,
    **{f"1.3.6.1.4.1.99999.1.1.2.{n}": f"Rack {n}".encode() for n in range(1, 7)},
    **{f"1.3.6.1.4.1.99999.1.1.3.{n}": 22 for n in range(1, 7)},
    "1.3.6.1.4.1.99999.2.0": 40,
}


class Watched:
    """A device with its probe and its judge. `told` are (minutes since the change, rule, instance, level) of what was told of
    an absence or withdrawn."""

    def __init__(self, device: Device, probe: Probe, clock: FakeClock) -> None:
        self.device, self.probe, self.clock = device, probe, clock
        self.judge = Judge({})
        self.judge.activate(RULES, [device], clock.boot())
        self.told: list[tuple[float, str, str, str]] = []

    def read(self, minutes: float) -> "Watched":
        async def run() -> None:
            began = self.clock.boot()
            for _ in range(int(minutes * 60 / EVERY_S)):
                sweep = await self.probe.sweep(self.device)
                for event in self.judge.sweep(sweep, self.device.category).events:
                    after = (self.clock.boot() - began) / 60
                    if isinstance(event, Withdrawal):
                        self.told.append((after, event.rule, event.instance, "withdrawn"))
                    elif (
                        isinstance(event, Verdict)
                        and event.rule.startswith("absence.")
                        and event.level is not Level.UNKNOWN
                    ):
                        self.told.append((after, event.rule, event.instance, event.level.value))
                self.clock.advance(EVERY_S)

        asyncio.run(run())
        return self

    def change(self, minutes: float) -> list[tuple[float, str, str, str]]:
        """What is told in so many minutes from now on."""
        self.told.clear()
        return self.read(minutes).told


# ---- SNMP ----


@pytest.fixture
def memory() -> MemoryDevice:
    return MemoryDevice(SENSORS)


@pytest.fixture
def hub(memory: MemoryDevice) -> Watched:
    clock = FakeClock()
    probe = SnmpProbe(load_profiles([Document("hub.yml", HUB)]), Secrets(environ={}), clock, memory.open)
    device = Device("hub", "a", Category.ENV, "snmp", "10.0.0.7", snmp=Snmp(community="c"))
    return Watched(device, probe, clock).read(12)


def test_a_sensor_off_its_hub(hub: Watched, memory: MemoryDevice) -> None:
    for column in (2, 3):
        del memory.objects[f"1.3.6.1.4.1.99999.1.1.{column}.6"]
    assert hub.change(60) == [(1.0, "absence.sensor", "temperature 6", "warning")]


def test_a_sensor_that_answers_its_marker_for_not_connected(hub: Watched, memory: MemoryDevice) -> None:
    memory.objects["1.3.6.1.4.1.99999.1.1.3.6"] = -999
    assert hub.change(60) == [(1.0, "absence.sensor", "temperature 6", "warning")]


def test_a_sensor_that_comes_back_after_an_hour(hub: Watched, memory: MemoryDevice) -> None:
    del memory.objects["1.3.6.1.4.1.99999.1.1.3.6"]
    hub.read(60)
    memory.objects["1.3.6.1.4.1.99999.1.1.3.6"] = 22
    ((after, *told),) = hub.change(60)
    assert told == ["absence.sensor", "temperature 6", "ok"]
    assert after <= 12, "the tables are searched every ten minutes"


def test_a_number_cut_out_of_the_answer(hub: Watched, memory: MemoryDevice) -> None:
    del memory.objects["1.3.6.1.4.1.99999.2.0"]
    assert hub.change(60) == [(10.5, "absence.reading", "output.load", "warning")]


def test_a_number_that_is_not_available_now_is_not_gone(hub: Watched, memory: MemoryDevice) -> None:
    memory.objects["1.3.6.1.4.1.99999.2.0"] = -1
    assert hub.change(60) == []


def test_a_sensor_with_another_label_is_the_same(hub: Watched, memory: MemoryDevice) -> None:
    memory.objects["1.3.6.1.4.1.99999.1.1.2.6"] = b"Rack 6 front"
    assert hub.change(60) == []


def test_a_device_that_restarts_with_half_a_table(hub: Watched, memory: MemoryDevice) -> None:
    rows = {
        name: value for name, value in memory.objects.items() if name.endswith((".5", ".6")) and ".99999.1." in name
    }
    for name in rows:
        del memory.objects[name]
    memory.objects["1.3.6.1.2.1.1.3.0"] = 1_000
    hub.change(2)
    assert hub.told == []
    memory.objects |= rows
    assert hub.change(60) == []


def test_a_device_that_loses_all_of_its_tables(hub: Watched, memory: MemoryDevice) -> None:
    for name in list(memory.objects):
        if ".99999." in name:
            del memory.objects[name]
    assert hub.change(60) == [(3.0, "absence.blind", "", "warning")]


@pytest.mark.parametrize(
    ("profile", "why"),
    [
        ("hubb", "there is no profile `hubb`; did you mean `hub`?"),
        ("nut", "the profile `nut` reads by nut, not by snmp; name a profile that speaks snmp"),
        ("hub", "the inventory names it"),
    ],
)
def test_a_named_profile_that_cannot_be_used(profile: str, why: str, memory: MemoryDevice) -> None:
    clock = FakeClock()
    probe = SnmpProbe(load_profiles([Document("hub.yml", HUB)]), Secrets(environ={}), clock, memory.open)
    device = Device("hub", "a", Category.ENV, "snmp", "10.0.0.7", profile=profile, snmp=Snmp(community="c"))
    told = Watched(device, probe, clock).read(10).told
    assert told == ([] if profile == "hub" else [(3.0, "absence.blind", "", "warning")])
    name = "hub (Acme, env)" if profile == "hub" else ""
    assert facts_of(probe, "hub") == (("profile", name), ("why", why))


# ---- the agent's own machine ----


class Mount(NamedTuple):
    device: str
    mountpoint: str
    fstype: str


ROOT, DATA = Mount("/dev/sda1", "/", "ext4"), Mount("nas:/data", "/data", "nfs4")


def machine(mounts: Iterable[Mount], hwmon: Path, interfaces: dict[str, object]) -> tuple[Watched, list[Mount]]:
    clock, mounted = FakeClock(), list(mounts)
    space = SimpleNamespace(f_blocks=1000, f_bfree=500, f_bavail=500, f_frsize=4096, f_files=100, f_ffree=60)
    own = Machine(partitions=lambda: list(mounted), statvfs=lambda _: space, network=lambda: interfaces, hwmon=hwmon)  # type: ignore[arg-type]
    probe = HostProbe(clock, own)
    return Watched(Device("db-1", "a", Category.SERVER, "host"), probe, clock).read(6), mounted


def test_a_mount_that_is_unmounted_is_told_once_and_withdraws_nothing(tmp_path: Path) -> None:
    host, mounted = machine([ROOT, DATA], tmp_path, {})
    mounted.remove(DATA)
    assert host.change(60) == [(10.5, "absence.reading", "disk /data", "warning")]


@pytest.mark.parametrize(
    "mounts",
    [
        (Mount("/dev/sdb1", "/media/usb", "vfat"),),
        (Mount("/dev/rbd0", "/var/lib/kubelet/pods/1/volumes/2", "ext4"),),
        (Mount("rpool/home@daily", "/tank/.zfs/snapshot/daily", "zfs"),),
        (Mount("auto", "/projects", "autofs"), Mount("nas:/p/a", "/projects/a", "nfs4")),
        (Mount("systemd-1", "/backup", "autofs"), Mount("nas:/backup", "/backup", "nfs4")),
    ],
)
def test_mounts_that_come_and_go_are_no_finding(mounts: tuple[Mount, ...], tmp_path: Path) -> None:
    host, mounted = machine([ROOT, *mounts], tmp_path, {})
    mounted.remove(mounts[-1])
    assert [one for one in host.change(60) if one[3] != "withdrawn"] == []


def test_a_place_is_below_another_by_whole_names() -> None:
    assert is_below("/home/a", ["/home"])
    assert is_below("/home", ["/home"])
    assert not is_below("/home2", ["/home"])
    assert is_below("/x", ["/"])


def test_interfaces_of_containers_come_and_go_and_others_do_not(tmp_path: Path) -> None:
    counters = SimpleNamespace(bytes_sent=1, bytes_recv=1, errin=0, errout=0, dropin=0, dropout=0)
    interfaces: dict[str, object] = dict.fromkeys(("eth0", "eth1", "docker0", "br-1f2e", "tun0", "wg0"), counters)
    host, _ = machine([ROOT], tmp_path, interfaces)
    for name in ("eth1", "docker0", "br-1f2e", "tun0", "wg0"):
        del interfaces[name]
    assert [one for one in host.change(60) if one[3] != "withdrawn"] == [
        (10.5, "absence.reading", "network eth1", "warning")
    ]


@pytest.fixture
def chip(tmp_path: Path) -> Path:
    folder = tmp_path / "hwmon0"
    folder.mkdir()
    (folder / "name").write_text("nct6775")
    for number in range(4):
        (folder / f"fan{number}_input").write_text("1200")
    return folder


def test_a_fan_whose_file_is_gone_is_told_at_once(chip: Path) -> None:
    host, _ = machine([ROOT], chip.parent, {})
    (chip / "fan3_input").unlink()
    assert host.change(60) == [(1.0, "absence.hardware", "fan nct6775/fan3", "critical")]


def test_a_chip_that_has_no_value_now_is_there(chip: Path) -> None:
    host, _ = machine([ROOT], chip.parent, {})
    (chip / "fan3_input").unlink()
    (chip / "fan3_input").mkdir()  # reading it fails with another error than "no such file"
    assert host.change(60) == []


# ---- a board ----


@pytest.mark.parametrize("others", [0, 5])
def test_a_power_supply_out_of_its_slot(others: int) -> None:
    device = Device("srv-bmc", "a", Category.BMC, "ipmi")
    judge = Judge({})
    judge.activate(RULES, [device], 0.0)
    series = (
        Series("srv-bmc", "device.answering"),
        Series("srv-bmc", "psu.health", "0xc9", "PS2 Status"),
        Series("srv-bmc", "psu.health", "0xca", "PS3 Status"),
        *(Series("srv-bmc", "fan.speed", f"{number}") for number in range(others)),
    )
    told: list[tuple[float, str, str, str]] = []
    for at in range(0, 3600, 30):
        bits = 0x01 if at < 300 else 0x00
        values = (discrete_value(0x08, 0x6F, bits, 0x7F), discrete_value(0x08, 0x6F, 0, 0x7F), *[4000.0] * others)
        events = judge.sweep(Sweep("srv-bmc", float(at), series, ("yes", *values)), Category.BMC).events
        bad = [event for event in events if isinstance(event, Verdict) and event.level.bad]
        told += [(float(at), event.rule, event.instance, event.evidence.label) for event in bad]
    assert told == [(360.0, "absence.hardware", "psu 0xc9", "PS2 Status (psu)")], "the empty slot pages nobody"
