"""A small device that is read by a shipped profile."""

import asyncio
from collections.abc import Mapping

from watchkeeper.agent.probes.snmp.probe import SnmpProbe
from watchkeeper.agent.probes.testing import MemoryDevice
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device, Snmp
from watchkeeper.model.reading import Missing, Value
from watchkeeper.profiles import load_profiles
from watchkeeper.profiles.decode import Raw

SYSTEM: dict[str, Raw] = {
    "1.3.6.1.2.1.1.1.0": b"Box",
    "1.3.6.1.2.1.1.2.0": "1.3.6.1.4.1.99999",
    "1.3.6.1.2.1.1.3.0": 100,
}
PROFILES = load_profiles()


class ShippedBox:
    """A device in memory that has `objects` below `root`, and the shipped profile of that name."""

    def __init__(self, profile: str, root: str, objects: Mapping[str, Raw]) -> None:
        self.root = root
        self.memory = MemoryDevice(dict(SYSTEM))
        self.probe = SnmpProbe(PROFILES, Secrets(environ={}), FakeClock(), self.memory.open)
        self.device = Device("box", "room", Category.ENV, "snmp", "10.0.0.7", profile=profile, snmp=Snmp(community="c"))
        self.change(objects)

    def change(self, objects: Mapping[str, Raw]) -> None:
        self.memory.objects.update({f"{self.root}.{oid}": raw for oid, raw in objects.items()})

    def read(self) -> dict[tuple[str, str], Value]:
        """(quantity, instance) -> value."""
        sweep = asyncio.run(self.probe.sweep(self.device))
        return {
            (reading.series.quantity, reading.series.instance): reading.value
            for reading in sweep.readings()
            if reading.series.quantity not in ("device.answering", "uptime")
        }


def read_shipped(profile: str, root: str, objects: Mapping[str, Raw]) -> dict[tuple[str, str], Value]:
    """(quantity, instance) -> value of a device that has these objects below `root`."""
    return ShippedBox(profile, root, objects).read()


def shown(value: Value) -> float | str:
    """The value; `missing` for none."""
    return "missing" if isinstance(value, Missing) else value
