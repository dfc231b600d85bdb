"""Recordings answered from memory: no sockets, for working on profiles. What counts is `polled`."""

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path

from agent.ports import Means
from agent.probe_cli import lines
from agent.probes.snmp import SnmpProbe
from agent.probes.testing import MemoryDevice, recorded
from agent.profiles import load_profiles
from agent.target import Target
from documents.secrets import Secrets
from model.clock import SystemClock
from model.device import Category, Device, Snmp


def read(recordings: Iterable[Path]) -> Iterator[str]:
    """Read each recording once; the lines that `watchkeeper probe --format jsonl` would print."""
    clock = SystemClock()
    profiles = load_profiles()
    for file in recordings:
        held = MemoryDevice(recorded(file.read_text(encoding="utf-8", errors="replace").splitlines()))
        probe = SnmpProbe(profiles, Means(clock, Secrets(None)).secrets, clock, held.open)
        device = Device(file.stem, "bench", Category.SERVER, "snmp", "192.0.2.1", snmp=Snmp(community="none"))
        sweep = asyncio.run(probe.sweep(device))
        yield from lines(Target("memory", device), sweep, clock, probe.profile_of(device.device))
