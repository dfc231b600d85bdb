"""Reads the devices of standard input (JSON) by the real schedule and the real probes, in a process of its own, and tells what that
cost. `python -m tests.chaos.hostile_agent`."""

import asyncio
import gc
import json
import os
import resource
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from watchkeeper.agent.poll.kinds import build_all
from watchkeeper.agent.poll.schedule import Schedule
from watchkeeper.agent.ports import ProbeContext
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import SystemClock
from watchkeeper.model.device import (
    Category,
    Database,
    Device,
    Http,
    Ipmi,
    Modbus,
    Nut,
    Snmp,
    SnmpAuth,
    SnmpEngine,
    SnmpVersion,
    Systemd,
)
from watchkeeper.model.logs import set_up_logging
from watchkeeper.model.reading import Sweep

SWEEPS = 2
"""Of each hostile device."""

ROOM_BYTES = 1 << 30
"""How much address space the process may use beyond what it uses before the first sweep."""

LIMIT_S = 60.0
SECRETS = {f"WATCHKEEPER_SECRET_{name}": text for name, text in {"C": "public", "P": "authpass12"}.items()}
OPTIONS: dict[str, dict[str, Any]] = {
    "snmp": {"profile": "ups-mib", "snmp": Snmp(SnmpVersion.V2C, "c")},
    "snmp-old": {"probe": "snmp", "profile": "ups-mib", "snmp": Snmp(SnmpVersion.V2C, "c", engine=SnmpEngine.PYSNMP)},
    "snmp-v3": {
        "probe": "snmp", "profile": "ups-mib",
        "snmp": Snmp(SnmpVersion.V3, user="u", auth=SnmpAuth.SHA, auth_secret="p"),
    },
    "ipmi": {"ipmi": Ipmi("ops", "p")},
    "modbus": {"profile": "eastron-sdm630", "modbus": Modbus()},
    "nut": {"nut": Nut("ups")},
    "http": {"http": Http(tls=False, contains="never there")},
    "https": {"probe": "http", "http": Http(tls=True, verify=False)},
    "systemd": {"systemd": Systemd(("cron.service",))},
    **{kind: {"database": Database("u", "p", verify=False)} for kind in ("mysql", "postgresql", "redis")},
    **{
        f"{kind}-tls": {"probe": kind, "database": Database("u", "p", tls=True, verify=False)}
        for kind in ("mysql", "postgresql", "redis")
    },
}  # fmt: skip


def _device(name: str, kind: str, address: str, every_s: float) -> Device:
    options = {"probe": kind} | OPTIONS.get(kind, {})
    return Device(
        name,
        "room",
        Category.SERVICE,
        options.pop("probe"),
        address,
        every_s=every_s,
        timeout_s=1.0,
        retries=0,
        **options,
    )


async def _read(hostile: list[Device], good: list[Device]) -> dict[str, Any]:
    clock, sweeps, ended = SystemClock(), Counter[str](), asyncio.Event()

    def on_sweep(device: Device, sweep: Sweep) -> None:
        sweeps[device.device] += 1
        if all(sweeps[one.device] >= SWEEPS for one in hostile):
            ended.set()

    probes = build_all(
        {one.probe for one in (*hostile, *good)}, ProbeContext(clock, Secrets(None, SECRETS)), {}, new_profiles=False
    )
    schedule = Schedule(clock, on_sweep, lambda _: False)
    before_tasks, before_sockets, before_bytes = len(asyncio.all_tasks()), _sockets(), _resident_bytes()
    resource.setrlimit(resource.RLIMIT_AS, (_address_bytes() + ROOM_BYTES,) * 2)
    began_at = clock.boot()
    schedule.start()
    await schedule.watch((*hostile, *good), probes)
    try:
        async with asyncio.timeout(LIMIT_S):
            await ended.wait()
    except TimeoutError:
        pass
    took_s = clock.boot() - began_at
    await schedule.stop()
    for probe in probes.values():
        await probe.close()
    await _settled(before_tasks)
    return {
        "unfinished": [one.device for one in hostile if sweeps[one.device] < SWEEPS],
        "late": [one.device for one in good if sweeps[one.device] < took_s / one.every_s / 4],
        "grown_bytes": _peak_bytes() - before_bytes,
        "tasks": len(asyncio.all_tasks()) - before_tasks,
        "sockets": _sockets() - before_sockets,
        "threads": sorted(one.name for one in threading.enumerate() if "bounded" in one.name or "sensors" in one.name),
    }


async def _settled(tasks: int) -> None:
    """Give what is being closed some turns of the event loop."""
    for turn in range(100):
        gc.collect()
        if turn > 10 and len(asyncio.all_tasks()) <= tasks:
            break
        await asyncio.sleep(0.01)


def _sockets() -> int:
    names = []
    for one in Path("/proc/self/fd").iterdir():
        try:
            names.append(str(one.readlink()))
        except OSError:
            continue
    return sum(name.startswith("socket:") for name in names)


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def _resident_bytes() -> int:
    return _status("VmRSS")


def _peak_bytes() -> int:
    return _status("VmHWM")


def _address_bytes() -> int:
    return _status("VmSize")


def main() -> None:
    """Read the devices, and print what it cost as JSON."""
    set_up_logging("%(message)s", 60)
    given = json.load(sys.stdin)
    hostile = [
        _device(f"{kind}-{number}", kind, address, 1.0) for number, (kind, address) in enumerate(given["hostile"])
    ]
    good = [_device(f"good-{number}", kind, address, 0.25) for number, (kind, address) in enumerate(given["good"])]
    json.dump(asyncio.run(_read(hostile, good)), sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # a thread that hangs must not keep the test waiting; `threads` has told of it


if __name__ == "__main__":
    main()
