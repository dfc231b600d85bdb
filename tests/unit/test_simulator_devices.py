"""The objects of each simulated device, for a given room."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.simulator.devices import DEVICES, FAULTS, SimulatedDevice, oid_arcs
from watchkeeper.simulator.room import DAMP, HEAT, POWER_CUT, Room, advance

UPS, PAC, SENSOR_1, SENSOR_2 = DEVICES
BATTERY, OUTPUT = "1.3.6.1.2.1.33.1.2", "1.3.6.1.2.1.33.1.4"
AIR = "1.3.6.1.4.1.318.1.1.13.1"
SENSED = "1.3.6.1.4.1.28507.66.1.6.1.1"


def values_of(device: SimulatedDevice, room: Room, *names: str) -> list[int | str]:
    values = {one.oid: one.value(room) for one in device.objects}
    return [values[oid_arcs(name)] for name in names]


def after(minutes: float, *faults: str) -> Room:
    return advance(advance(Room(), frozenset(faults), 0), frozenset(faults), 60 * minutes)


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_objects_are_unique_and_in_the_order_of_getnext(device: SimulatedDevice) -> None:
    assert all(first.oid < second.oid for first, second in itertools.pairwise(device.objects))


def test_the_faults_name_every_device() -> None:
    assert {device.dead for device in DEVICES} == {name for name in FAULTS if name.startswith("dead-")}
    assert len({device.name for device in DEVICES}) == len(DEVICES) == 4


def test_the_manual_names_every_fault_and_every_object() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")
    for name in FAULTS:
        assert f"`{name}`" in manual
    for device in DEVICES:
        for one in device.objects:
            name = ".".join(map(str, one.oid))
            assert f"`{name}`" in manual or f"`{name.rpartition('.')[0]}.N`" in manual, name


@pytest.mark.parametrize(
    ("room", "battery", "source", "alarms"),
    [
        (after(0), [2, 0, 30, 100], 3, 0),
        (after(10, POWER_CUT), [2, 600, 20, 67], 5, 2),
        (after(21, POWER_CUT), [3, 1260, 9, 30], 5, 3),
        (after(40, POWER_CUT), [4, 2400, 1, 0], 2, 3),
    ],
)
def test_the_ups_reports_the_power_cut(room: Room, battery: list[int], source: int, alarms: int) -> None:
    """`battery` is status, seconds on battery, minutes left, and charge."""
    assert values_of(UPS, room, *(f"{BATTERY}.{column}.0" for column in (1, 2, 3, 4))) == battery
    assert values_of(UPS, room, f"{OUTPUT}.1.0", "1.3.6.1.2.1.33.1.6.1.0") == [source, alarms]


def test_the_ups_measures_no_input_while_cut_and_no_output_once_empty() -> None:
    inputs = [f"1.3.6.1.2.1.33.1.3.3.1.{column}.{line}" for column in (2, 3, 4, 5) for line in (1, 2, 3)]
    outputs = [f"{OUTPUT}.4.1.{column}.{line}" for column in (2, 3, 4, 5) for line in (1, 2, 3)]
    assert all(values_of(UPS, after(0), *inputs, *outputs))
    assert not any(values_of(UPS, after(1, POWER_CUT), *inputs))
    assert all(values_of(UPS, after(1, POWER_CUT), *outputs))
    assert not any(values_of(UPS, after(31, POWER_CUT), *inputs, *outputs))
    assert values_of(UPS, after(1, POWER_CUT), "1.3.6.1.2.1.33.1.3.1.0") == [1]


def test_the_battery_current_is_positive_in_a_cut_and_negative_while_charging() -> None:
    current = f"{BATTERY}.6.0"
    cut = after(10, POWER_CUT)
    assert values_of(UPS, after(0), current) == [0]
    assert values_of(UPS, cut, current) > [400]
    assert values_of(UPS, advance(cut, frozenset(), 0), current) < [0]


def test_the_air_conditioner_reports_its_failure() -> None:
    names = [f"{AIR}.3.1.0", f"{AIR}.4.2.3.0", f"{AIR}.6.3.0"]
    status, output, alarms = values_of(PAC, after(0), *names)
    assert (status, alarms) == (1, 0)
    assert 40 <= int(output) <= 50
    assert values_of(PAC, after(0, HEAT), *names) == [5, 0, 1]
    assert values_of(PAC, after(10, HEAT, DAMP), *names) == [5, 0, 2]


def test_with_a_failed_compressor_the_supply_air_is_as_warm_as_the_room() -> None:
    supply, returned = f"{AIR}.5.2.2.1.2.1", f"{AIR}.5.2.2.1.5.1"
    cool = values_of(PAC, after(0), supply, returned)
    assert cool[0] == pytest.approx(140, abs=3)
    assert cool[1] == pytest.approx(222, abs=2)
    hot = values_of(PAC, after(20, HEAT), supply, returned)
    assert hot[0] == hot[1] > 280


@given(st.integers(0, 10_000_000), st.integers(0, 50))
def test_in_a_healthy_room_no_sensor_shows_an_alarm(second: int, seed: int) -> None:
    room = Room(elapsed_s=second, seed=seed)
    for sensor in (SENSOR_1, SENSOR_2):
        tenths_celsius, tenths_percent = values_of(sensor, room, f"{SENSED}.2.1", f"{SENSED}.3.1")
        assert 215 <= int(tenths_celsius) <= 226
        assert 485 <= int(tenths_percent) <= 515


def test_sensors_follow_heat_and_damp() -> None:
    room = after(10, HEAT, DAMP)
    for sensor in (SENSOR_1, SENSOR_2):
        tenths_celsius, tenths_percent = values_of(sensor, room, f"{SENSED}.2.1", f"{SENSED}.3.1")
        assert 253 <= int(tenths_celsius) <= 263
        assert 675 <= int(tenths_percent) <= 705


def test_uptime_wraps_as_timeticks_do() -> None:
    assert values_of(UPS, Room(elapsed_s=2**32 / 100 + 1), "1.3.6.1.2.1.1.3.0") == [100]
