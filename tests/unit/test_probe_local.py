"""The probes of this machine's processes and units, on a fake process table and a fake systemctl."""

import os
import re
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tests.service_room import reason, service, swept
from watchkeeper.agent.probes.services import process
from watchkeeper.agent.probes.services.process import ProcessProbe
from watchkeeper.agent.probes.services.systemd import SystemdProbe, parse_show, unit_state
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Process, Systemd
from watchkeeper.model.reading import Missing, Reason, Value

# ---- processes ----

LINES = [
    "/usr/sbin/nginx -g daemon off",
    "nginx: worker process",
    "nginx: worker process",
    "java -jar /opt/pay/app.jar",
    "",
]


@pytest.mark.parametrize(
    ("matches", "at_least", "state", "count"),
    [
        ("^nginx: worker", 1, "running", 2.0),
        ("^nginx: worker", 3, "stopped", 2.0),
        (r"java .*/pay/app\.jar", 1, "running", 1.0),
        ("postgres", 1, "stopped", 0.0),
        ("postgres", 0, "running", 0.0),
    ],
)
def test_processes_are_counted_by_their_command_line(matches: str, at_least: int, state: str, count: float) -> None:
    device = service("process", process=Process(matches, at_least))
    (sweep,) = swept(ProcessProbe(FakeClock(), lambda: LINES), device)
    assert sweep.values == ("yes", state, count)


def test_zombies_and_the_agent_itself_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def one(pid: int, name: str, cmdline: list[str] | None, status: str = psutil.STATUS_SLEEPING) -> Any:
        return SimpleNamespace(info={"pid": pid, "name": name, "cmdline": cmdline, "status": status})

    table = [
        one(2, "kthreadd", []),
        one(30, "hidden", None),  # its command line may not be read
        one(31, "nginx", ["nginx", "-g", "daemon off"]),
        one(32, "dead", ["dead", "long ago"], psutil.STATUS_ZOMBIE),
        one(os.getpid(), "watchkeeper", ["watchkeeper", "probe", "process:nginx"]),
    ]
    monkeypatch.setattr(psutil, "process_iter", lambda _: table)
    assert list(process.command_lines()) == ["kthreadd", "hidden", "nginx -g daemon off"]


def test_a_process_table_that_hangs_costs_one_thread() -> None:
    released, calls = threading.Event(), []

    def hangs() -> list[str]:
        calls.append(1)
        released.wait(20)
        return LINES

    device = service("process", timeout_s=0.1, process=Process("nginx"))
    first, second = swept(ProcessProbe(FakeClock(), hangs), device, 2)
    released.set()
    for sweep in (first, second):
        assert sweep.values[0] == "no"
        assert all(reason(value) is Reason.HUNG for value in sweep.values[1:])
    assert len(calls) == 1


# ---- units ----

SHOWN = """\
Id=postgresql@15-main.service
Names=postgresql@15-main.service pg.service
LoadState=loaded
ActiveState=active
SubState=running

Id=nginx.service
Names=nginx.service
LoadState=loaded
ActiveState=activating
SubState=auto-restart

Id=backup.timer
Names=backup.timer
LoadState=loaded
ActiveState=inactive
SubState=dead

Id=slow.service
Names=slow.service
LoadState=loaded
ActiveState=activating
SubState=start

Id=broken.service
Names=broken.service
LoadState=loaded
ActiveState=failed
SubState=failed

Id=lost.service
Names=lost.service
LoadState=not-found
ActiveState=inactive
SubState=dead

Id=new.service
Names=new.service
LoadState=loaded
ActiveState=levitating
SubState=odd
"""


@pytest.mark.parametrize(
    ("unit", "state"),
    [
        ("postgresql@15-main", "active"),
        ("pg.service", "active"),
        ("nginx", "failed"),  # it crashed, and waits for its next start
        ("backup.timer", "inactive"),
        ("slow", "starting"),
        ("broken.service", "failed"),
        ("new.service", "unknown"),
        ("lost", Missing(Reason.ABSENT, "systemd knows no unit lost.service")),
        ("unheard-of", Missing(Reason.ABSENT, "systemd knows no unit unheard-of.service")),
    ],
)
def test_the_states_of_units(unit: str, state: Value) -> None:
    assert unit_state(unit, parse_show(SHOWN)) == state


def command(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a fake systemctl first on PATH."""
    file = folder / "systemctl"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_one_command_asks_for_all_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(tmp_path, monkeypatch, f"echo \"$@\" >> {tmp_path}/asked; cat <<'END'\n{SHOWN}END")
    device = service("systemd", systemd=Systemd(("broken.service", "pg.service", "lost")))
    first, second = swept(SystemdProbe(FakeClock()), device, 2)
    assert first.series is second.series
    assert [series.instance for series in first.series] == ["", "broken.service", "pg.service", "lost"]
    assert first.values[:3] == ("yes", "failed", "active")
    assert reason(first.values[3]) is Reason.ABSENT
    lines = (tmp_path / "asked").read_text().splitlines()
    assert len(lines) == 2
    assert all(re.search(r"^show .*-- broken\.service pg\.service lost$", line) for line in lines)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'Failed to connect to bus: No such file' >&2; exit 1", Reason.ABSENT),
        ("exec sleep 60", Reason.HUNG),
    ],
)
def test_a_systemd_that_fails_or_hangs_does_not_answer(
    script: str, why: Reason, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(tmp_path, monkeypatch, script)
    (sweep,) = swept(SystemdProbe(FakeClock()), service("systemd", timeout_s=0.5, systemd=Systemd(("a", "b"))))
    assert sweep.values[0] == "no"
    assert [reason(value) for value in sweep.values[1:]] == [why, why]


def test_a_machine_without_systemctl_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (sweep,) = swept(SystemdProbe(FakeClock()), service("systemd", systemd=Systemd(("a",))))
    assert sweep.values[0] == "no"
    assert reason(sweep.values[1]) is Reason.ABSENT


def test_odd_lines_of_systemctl_are_parsed() -> None:
    assert parse_show("") == []
    assert parse_show("Id=a=b\nNames") == [{"Id": "a=b", "Names": ""}]
