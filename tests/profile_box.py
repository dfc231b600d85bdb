"""A device in memory that is read by one profile."""

import asyncio
from collections.abc import Mapping

import pytest

from watchkeeper.agent.probes.snmp.probe import SnmpProbe
from watchkeeper.agent.probes.testing import MemoryDevice
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.batch import Document
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device, Snmp
from watchkeeper.model.errors import ConfigError
from watchkeeper.model.reading import Value
from watchkeeper.profiles import load_profiles
from watchkeeper.profiles.decode import Raw

BOX = "1.3.6.1.4.1.99999"
HEAD = f"profile: box\nvendor: V\ncategory: env\nverified: none\nmatch: [{{sys_object_id: [{BOX}]}}]\n"
SYSTEM: dict[str, Raw] = {"1.3.6.1.2.1.1.1.0": b"Box 2.1", "1.3.6.1.2.1.1.2.0": BOX, "1.3.6.1.2.1.1.3.0": 100}
C, PORT, NAME, UNIT, SCALE = (f"{BOX}.1.{column}" for column in range(1, 6))


class Box:
    """A device in memory that is read by one profile."""

    def __init__(self, profile: str | None, objects: Mapping[str, Raw]) -> None:
        self.memory = MemoryDevice({**SYSTEM, **objects})
        self.clock = FakeClock()
        profiles = load_profiles([] if profile is None else [Document("box.yml", HEAD + profile)])
        self.probe = SnmpProbe(profiles, Secrets(environ={}), self.clock, self.memory.open)
        self.device = Device("box", "room", Category.ENV, "snmp", "10.0.0.7", snmp=Snmp(community="c"))

    def read(self) -> dict[tuple[str, str, str], Value]:
        """(quantity, instance, label) -> value."""
        sweep = asyncio.run(self.probe.sweep(self.device))
        return {
            (reading.series.quantity, reading.series.instance, reading.series.label): reading.value
            for reading in sweep.readings()
            if reading.series.quantity not in ("device.answering", "uptime")
        }


def read(profile: str, objects: Mapping[str, Raw]) -> dict[tuple[str, str, str], Value]:
    return Box(profile, objects).read()


def recognised(objects: Mapping[str, Raw]) -> dict[tuple[str, str, str], Value]:
    """What a device gives that is read by a shipped profile."""
    return Box(None, objects).read()


def complaint(profile: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_profiles([Document("box.yml", HEAD + profile)])
    return str(caught.value)


def calculated(quantity: str, rest: str, objects: dict[str, Raw]) -> Value | None:
    """The value of the only reading, or None."""
    found = read(f"readings:\n  - {{quantity: {quantity}, {rest}, source: X}}\n", objects)
    return next(iter(found.values()), None)
