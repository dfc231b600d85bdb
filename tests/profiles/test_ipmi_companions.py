"""A sensor of a BMC is read with what its record, and the sensors beside it, say about it."""

import pytest

from tests.ipmi_records import FINE, SIGNED, compact, full, number, read
from watchkeeper.agent.probes.ipmi.decode import readable_sensors, rows_of_fitted_parts, sensor_rows
from watchkeeper.agent.probes.ipmi.sdr import sensors_of
from watchkeeper.model.reading import Missing, Reason, Value


@pytest.mark.parametrize(
    ("lower", "upper", "status", "state"),
    [
        (0b000, 0b011, 0b000011, "ok"),  # it has no lower thresholds: those bits mean nothing
        (0b000, 0b001, 0b011000, "warning"),
        (0b000, 0b011, 0b011000, "critical"),
        (0b010, 0b000, 0b111000, "ok"),
        (0b010, 0b000, 0b000010, "critical"),
        (0b100, 0b000, 0b000111, "critical"),
        (0b000, 0b000, 0b010000, "critical"),  # the record does not say which it has
    ],
)
def test_a_threshold_that_the_sensor_does_not_have_is_not_crossed(
    lower: int, upper: int, status: int, state: str
) -> None:
    assert read(full("CPU1 Temp", lower=lower, upper=upper), bytes([45, FINE, status]))[1].value == state


@pytest.mark.parametrize(("name", "entity"), [("Inlet Temp", 7), ("CPU1 Temp", 3), ("Coolant", 0x1E)])
def test_a_temperature_of_0_is_a_sensor_that_is_not_there(name: str, entity: int) -> None:
    for row in read(full(name, entity=entity), bytes([0, FINE, 0x02])):
        assert isinstance(row.value, Missing), row
        assert row.value.reason is Reason.IMPLAUSIBLE


@pytest.mark.parametrize(
    ("record", "raw", "value"),
    [
        (full("Inlet Temp", b=-5), 0, -5.0),
        (full("Inlet Temp", b=-5), 5, 0.0),
        (full("Ambient", units=SIGNED), 0xFF, -1.0),
        (full("Fan 1", 4, 18), 0, 0.0),
        (full("PSU1 Power", 0x0B, 6, entity=0x0A), 0, 0.0),
    ],
)
def test_other_readings_of_0_are_measured(record: bytes, raw: int, value: float) -> None:
    assert number(record, raw) == value


def rows_of(*sensors: tuple[bytes, bytes | Missing]) -> dict[tuple[str, str], Value]:
    read = [
        (readable, tuple(sensor_rows(readable, answer)))
        for record, answer in sensors
        for readable in readable_sensors(sensors_of(record))
    ]
    return {(row.label, row.quantity): row.value for row in rows_of_fitted_parts(read)}


PSU_VOLTAGE = full("PS2 Voltage", 2, 4, entity=0x0A, instance=2, number=9), bytes([0, FINE, 0x02])


@pytest.mark.parametrize(
    ("states", "voltage", "health"),
    [(0, "missing", "missing"), (1, 0.0, "critical"), (9, 0.0, "critical"), (None, 0.0, "critical")],
)
def test_the_numbers_of_a_part_that_is_not_fitted_are_missing(
    states: int | None, voltage: float | str, health: str
) -> None:
    answer = Missing(Reason.TIMEOUT, "slow") if states is None else bytes([0, FINE, states, 0x80])
    found = rows_of(PSU_VOLTAGE, (compact("PS2 Status", 8, 0x6F, entity=0x0A, instance=2), answer))
    shown = {key: "missing" if isinstance(value, Missing) else value for key, value in found.items()}
    assert shown["PS2 Voltage", "psu.voltage"] == voltage
    assert shown["PS2 Voltage", "voltage.health"] == health


def test_a_part_is_fitted_if_any_of_its_sensors_says_so_or_another_part_is_meant() -> None:
    absent, present = bytes([0, FINE, 0, 0x80]), bytes([0, FINE, 1, 0x80])
    status = compact("PS Status", 8, 0x6F, entity=0x0A, instance=2)
    for second in ((status, present), (compact("PS1 Status", 8, 0x6F, entity=0x0A, instance=1), present)):
        found = rows_of(PSU_VOLTAGE, second, *([(status, absent)] if second[0] is status else []))
        assert found["PS2 Voltage", "psu.voltage"] == 0.0
    board = rows_of(
        (full("P12V", 2, 4, entity=7, instance=1), bytes([12, FINE, 0])), (compact("M2", 0x0D, 0x6F), absent)
    )
    assert board["P12V", "rail.voltage"] == 12.0
