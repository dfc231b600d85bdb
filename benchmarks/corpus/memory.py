"""Reads recordings from memory, without sockets: for work on profiles. The figures that count come from `polled`."""

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path

from watchkeeper.agent.probes.snmp.probe import SnmpProbe
from watchkeeper.agent.probes.testing import MemoryDevice, read_snmprec
from watchkeeper.agent.tools.probe_cli import lines
from watchkeeper.agent.tools.target import Target
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import SystemClock
from watchkeeper.model.device import Category, Device, Snmp
from watchkeeper.profiles import load_profiles

DEFAULT_CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"


def recordings(corpus: Path = DEFAULT_CORPUS, only: str = "") -> list[Path]:
    """The recordings of a corpus whose name contains `only` (`a,b`: one of these)."""
    found = sorted((corpus / "snmprec").glob("*.snmprec"))
    return [file for file in found if any(one in file.stem for one in only.split(","))]


def read(files: Iterable[Path]) -> Iterator[str]:
    """Read each recording once. Yields the lines that `watchkeeper probe --format jsonl` would print."""
    clock = SystemClock()
    profiles = load_profiles()
    for file in files:
        memory_device = MemoryDevice(read_snmprec(file.read_text(encoding="utf-8", errors="replace").splitlines()))
        probe = SnmpProbe(profiles, Secrets(None), clock, memory_device.open)
        device = Device(file.stem, "bench", Category.SERVER, "snmp", "192.0.2.1", snmp=Snmp(community="none"))
        sweep = asyncio.run(probe.sweep(device))
        yield from lines(Target("memory", device), sweep, clock, next(iter(probe.profiles_of(device.device)), None))
