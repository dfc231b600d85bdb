"""Room Alert and TemPageR units: whole degrees or hundredths, by firmware; the same value in Fahrenheit tells which."""

import asyncio

import pytest

from watchkeeper.agent.probes.snmp.probe import SnmpProbe
from watchkeeper.agent.probes.testing import MemoryDevice
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device, Snmp
from watchkeeper.model.reading import Missing, Value
from watchkeeper.profiles import load_profiles
from watchkeeper.profiles.decode import Raw

MAKER = "1.3.6.1.4.1.20916.1"
PROFILES = load_profiles()
SENSORS = [  # model, its object in Celsius, the same in Fahrenheit
    (9, "1.1.1.1", "1.1.1.2"), (9, "1.1.2.1", "1.1.2.2"), (13, "1.1.1.2", "1.1.1.1"), (13, "1.2.1.1", "1.2.1.2"),
    (6, "1.1.1.2", "1.1.1.1"), (6, "1.2.2.1", "1.2.2.2"), (2, "1.1.1", "1.1.5"), (2, "1.1.4", "1.1.8"), (3, "1.2.1", "1.2.2"),
    (12, "1.1.1.2", "1.1.1.1"), (10, "1.1.1", "1.1.2"), (8, "1.1.1.2", "1.1.1.1"), (5, "1.1.1.2", "1.1.1.1"),
    (1, "1.1.2", "1.1.6"), (7, "1.1.1.1", "1.1.1.2"), (7, "1.2.1.1", "1.2.1.2"),
]  # fmt: skip


def temperature(model: int, objects: dict[str, Raw]) -> Value | None:
    system: dict[str, Raw] = {
        "1.3.6.1.2.1.1.1.0": b"", "1.3.6.1.2.1.1.2.0": f"{MAKER}.{model}", "1.3.6.1.2.1.1.3.0": 100,
    }  # fmt: skip
    memory = MemoryDevice(system | {f"{MAKER}.{model}.{name}.0": raw for name, raw in objects.items()})
    probe = SnmpProbe(PROFILES, Secrets(environ={}), FakeClock(), memory.open)
    device = Device("room", "room", Category.ENV, "snmp", "10.0.0.7", snmp=Snmp(community="c"))
    found = [
        one.value for one in asyncio.run(probe.sweep(device)).readings() if one.series.quantity == "temperature.ambient"
    ]
    return found[0] if found else None


@pytest.mark.parametrize(("model", "celsius", "fahrenheit"), SENSORS)
def test_the_unit_is_told_by_fahrenheit(model: int, celsius: str, fahrenheit: str) -> None:
    for raw, in_fahrenheit, value in (
        (21, 71, 21.0),
        (2150, 7070, 21.5),
        (40, 3272, 0.4),
        (0, 32, 0.0),
        (85, 185, 85.0),
    ):
        assert temperature(model, {celsius: raw, fahrenheit: in_fahrenheit}) == value
    assert isinstance(temperature(model, {celsius: 0, fahrenheit: 0}), Missing), "no sensor there"


@pytest.mark.parametrize(("model", "celsius", "_"), SENSORS)
def test_without_it_the_size_tells(model: int, celsius: str, _: str) -> None:
    assert temperature(model, {celsius: 21}) == 21.0
    assert temperature(model, {celsius: 2150}) == 21.5
    assert isinstance(temperature(model, {celsius: 0}), Missing)
