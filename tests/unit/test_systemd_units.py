"""The systemd units are hardened, the agent's unit changes no reading, and systemd accepts both."""

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).resolve().parents[2] / "systemd"
AGENT, COLLECTOR = UNITS / "watchkeeper-agent.service", UNITS / "watchkeeper-collector.service"
BOTH = pytest.mark.parametrize("unit", [AGENT, COLLECTOR], ids=lambda path: path.stem)
systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze on PATH")

YES = {
    "LockPersonality", "MemoryDenyWriteExecute", "NoNewPrivileges", "ProtectClock", "ProtectControlGroups",
    "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables", "RemoveIPC",
    "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID",
}  # fmt: skip

# Directives that would change an agent's readings, and how.
CHANGES_READINGS = {
    "ProtectHome": "hides /home, or shows it as a mount of its own",
    "ProtectSystem": "shows every file system read-only, and each writable folder as a mount of its own",
    "DynamicUser": "implies ProtectSystem, ProtectHome and PrivateTmp",
    "PrivateTmp": "shows /tmp and /var/tmp as mounts of their own",
    "PrivateDevices": "hides disks and sensors",
    "PrivateNetwork": "hides the interfaces and the network",
    "PrivateUsers": "shows every other user as nobody",
    "ProtectProc": "hides processes",
    "ProcSubset": "hides /proc/stat, /proc/meminfo and the mounts",
    "RootDirectory": "shows another root",
    "RootImage": "shows another root",
    "TemporaryFileSystem": "hides the files below it",
    "InaccessiblePaths": "hides these paths",
    "ReadOnlyPaths": "shows them as mounts of their own",
    "ReadWritePaths": "shows them as mounts of their own",
    "BindPaths": "shows them as mounts of their own",
    "BindReadOnlyPaths": "shows them as mounts of their own",
    "IPAddressDeny": "makes devices unreachable",
}


class Unit(configparser.RawConfigParser):
    """A unit file. Of a directive that is written twice, the last value is kept."""

    def __init__(self, path: Path) -> None:
        super().__init__(strict=False, delimiters=("=",), comment_prefixes=("#", ";"), interpolation=None)
        self.optionxform = str  # type: ignore[assignment,method-assign]
        self.read_string(path.read_text(encoding="utf-8"))

    @property
    def service(self) -> configparser.SectionProxy:
        return self["Service"]


@BOTH
def test_it_is_hardened(unit: Path) -> None:
    service = Unit(unit).service
    assert {name: service.get(name) for name in YES} == dict.fromkeys(YES, "yes")
    for emptied in ("CapabilityBoundingSet", "AmbientCapabilities"):
        assert service[emptied] == ""
    assert service["SystemCallArchitectures"] == "native"
    assert service["DevicePolicy"] == "closed"
    assert service["UMask"] == "0077"
    assert service["User"] == unit.stem
    assert "\nSystemCallFilter=@system-service\n" in unit.read_text(encoding="utf-8")


@BOTH
def test_it_has_a_watchdog_and_is_always_restarted(unit: Path) -> None:
    service = Unit(unit).service
    assert (service["Type"], service["NotifyAccess"], service["Restart"]) == ("notify", "main", "always")
    assert 10 <= int(service["WatchdogSec"]) <= 120
    assert Unit(unit)["Unit"]["StartLimitIntervalSec"] == "0"


@BOTH
def test_its_memory_and_its_threads_are_limited(unit: Path) -> None:
    service = Unit(unit).service
    size, unit_of_size = int(service["MemoryMax"][:-1]), service["MemoryMax"][-1]
    assert (unit_of_size, 1 <= size <= 4) == ("G", True)
    assert 256 <= int(service["TasksMax"]) <= 4096
    assert "MemoryHigh" not in service, "it would make a paging program slow instead of ending it"


def test_the_agent_s_unit_changes_no_reading() -> None:
    service = Unit(AGENT).service
    harmful = {name: why for name, why in CHANGES_READINGS.items() if name in service}
    assert not harmful
    for family in ("AF_INET", "AF_INET6", "AF_NETLINK", "AF_UNIX"):  # devices, interfaces, systemd
        assert family in service["RestrictAddressFamilies"].split()


def test_the_collector_sees_nothing_else_on_the_machine() -> None:
    service = Unit(COLLECTOR).service
    assert service["ProtectSystem"] == "strict"
    assert service["ProtectProc"] == "invisible"
    assert all(service[name] == "yes" for name in ("ProtectHome", "PrivateTmp", "PrivateDevices"))


@BOTH
def test_no_secret_and_no_state_is_readable_by_others(unit: Path) -> None:
    service = Unit(unit).service
    assert "Environment" not in service
    assert (service["StateDirectory"], service["StateDirectoryMode"]) == (unit.stem, "0700")


@systemd
@BOTH
def test_systemd_verifies_it(unit: Path, tmp_path: Path) -> None:
    """ExecStart is replaced by a program that exists here: Watchkeeper is not installed under /opt."""
    text = unit.read_text(encoding="utf-8")
    assert "ExecStart=/opt/watchkeeper/bin/watchkeeper " in text
    copy = tmp_path / unit.name
    copy.write_text(text.replace("/opt/watchkeeper/bin/watchkeeper", sys.executable), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if unit.stem in line]
    assert (done.returncode, ours) == (0, [])


@systemd
@BOTH
def test_systemd_rates_the_exposure_as_low(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=29", "--no-pager", unit],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.splitlines()[-1]
    assert "Overall exposure level" in done.stdout
