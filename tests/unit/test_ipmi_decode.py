"""Decoding of IPMI: sensor records, readings, discrete states and log entries."""

import math
import random

import pytest

from tests.ipmi_records import FINE, ONES, SIGNED, compact, full, number, read
from watchkeeper.agent.probes.ipmi.commands import BusAddress
from watchkeeper.agent.probes.ipmi.decode import readable_sensors, sensor_rows
from watchkeeper.agent.probes.ipmi.sdr import Factors, Sensor, labels_of, sensors_of
from watchkeeper.agent.probes.ipmi.sel import LogEntry
from watchkeeper.agent.probes.ipmi.states import _GENERIC_STATES, _SENSOR_TYPES, discrete_value, quantity_of
from watchkeeper.model.quantity import QUANTITIES
from watchkeeper.model.reading import Missing, Reason


def test_a_temperature_gives_a_number_and_a_state() -> None:
    assert read(full("CPU1 Temp"), bytes([45, FINE, 0])) == [
        ("temperature.component", "0x1f", "CPU1 Temp", "ipmi 0x1f", 45.0),
        ("temperature.health", "0x1f", "CPU1 Temp", "ipmi 0x1f", "ok"),
    ]


@pytest.mark.parametrize(
    ("m", "b", "exponents", "raw", "value"),
    [
        (1, 0, 0x00, 200, 200.0),
        (60, 0, 0x00, 27, 1620.0),
        (6, 0, 0xE0, 201, 12.06),  # result exponent -2: 12 V rails
        (1, -128, 0x00, 150, 22.0),
        (2, 5, 0x01, 10, 70.0),  # b 10^1
        (-1, 100, 0x00, 30, 70.0),
        (511, -512, 0xD0, 100, 50.588),
    ],
)
def test_the_formula_of_the_record(m: int, b: int, exponents: int, raw: int, value: float) -> None:
    assert number(full("x", 2, 4, m=m, b=b, exponents=exponents), raw) == pytest.approx(value)


@pytest.mark.parametrize(("units", "raw", "value"), [(SIGNED, 0xF6, -10.0), (ONES, 0xF5, -10.0), (ONES, 0xFF, 0.0)])
def test_negative_readings(units: int, raw: int, value: float) -> None:
    assert number(full("Ambient", units=units), raw) == value


@pytest.mark.parametrize(
    ("linear", "value"),
    [
        (1, math.log(16)),
        (2, math.log10(16)),
        (3, 4.0),
        (7, 0.0625),
        (8, 256.0),
        (9, 4096.0),
        (10, 4.0),
        (11, 16 ** (1 / 3)),
    ],
)
def test_linearizations(linear: int, value: float) -> None:
    assert number(full("x", linear=linear), 16) == pytest.approx(value)


@pytest.mark.parametrize("linear", [1, 7])
def test_a_formula_without_a_value_is_implausible(linear: int) -> None:
    missing = number(full("x", linear=linear), 0)
    assert isinstance(missing, Missing)
    assert missing.reason is Reason.IMPLAUSIBLE


def test_a_non_linear_sensor_needs_the_factors_of_its_reading() -> None:
    record = full("x", linear=0x71, m=0)
    assert isinstance(number(record, 16), Missing)
    assert read(record, bytes([16, FINE, 0]), Factors(3, 2, 0, 0))[0].value == 50.0


@pytest.mark.parametrize(
    ("name", "kind", "unit", "entity", "quantity", "value"),
    [
        ("Inlet Temp", 1, 1, 0x07, "temperature.ambient", 100.0),
        ("01-Inlet Ambient", 1, 1, 0x40, "temperature.ambient", 100.0),
        ("Temp", 1, 1, 0x37, "temperature.ambient", 100.0),
        ("PSU1 Inlet", 1, 1, 0x0A, "temperature.component", 100.0),
        ("NIC Ambient", 1, 1, 0x0B, "temperature.component", 100.0),
        ("Exhaust Temp", 1, 1, 0x07, "temperature.component", 100.0),
        ("Temp", 1, 2, 0x03, "temperature.component", 37.7777778),
        ("Temp", 1, 3, 0x03, "temperature.component", -173.15),
        ("Coolant", 1, 1, 0x1E, "water.temperature", 100.0),
        ("FAN1", 4, 18, 0x1D, "fan.speed", 100.0),
        ("Pump 1", 4, 18, 0x1E, "pump.speed", 100.0),
        ("P12V", 2, 4, 0x07, "rail.voltage", 100.0),
        ("Voltage 1", 2, 4, 0x0A, "psu.voltage", 100.0),
        ("Current 1", 3, 5, 0x0A, "psu.current", 100.0),
        ("PS1 Power", 0x0B, 6, 0x07, "psu.power", 100.0),
        ("Pwr Consumption", 0x0B, 6, 0x07, "input.power", 100.0),
        ("CPU Power", 0x0B, 6, 0x03, "rail.power", 100.0),
        ("Apparent", 0x0B, 9, 0x13, "input.apparent", 100.0),
        ("Airflow", 0x0B, 17, 0x07, "air.flow", 169.9011),
        ("Altitude", 0x0B, 14, 0x07, "air.pressure", 100_000.0),
        ("Things", 0x0B, 0, 0x07, "device.number", 100.0),
    ],
)
def test_units_and_quantities(  # noqa: PLR0917 -- a row of the table
    name: str, kind: int, unit: int, entity: int, quantity: str, value: float
) -> None:
    row = read(full(name, kind, unit, entity=entity), bytes([100, FINE, 0]))[0]
    assert row.quantity == quantity
    assert row.value == pytest.approx(value)
    assert quantity in QUANTITIES


@pytest.mark.parametrize(
    ("name", "kind", "quantity"),
    [("Fan 1", 4, "fan.duty"), ("Humidity", 0x0B, "humidity.relative"), ("CPU usage", 0x0B, "device.percent")],
)
def test_percentages(name: str, kind: int, quantity: str) -> None:
    assert read(full(name, kind, 0, units=0x01), bytes([39, FINE, 0]))[0][:1] == (quantity,)


def test_an_unknown_unit_gives_a_state_and_no_number() -> None:
    for record in (full("Torque", 0x0B, 46), full("Joules an hour", 0x0B, 7, units=0x28), full("Margin", 1, 1)):
        assert [row.quantity.partition(".")[2] for row in read(record, bytes([7, FINE, 0]))] == ["health"]
    assert number(full("Fan", 4, 41, units=0x20), 50) == 50.0  # revolutions a minute


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (0, "ok"),
        (0x08, "warning"),
        (0x18, "critical"),
        (0x38, "critical"),
        (0x01, "warning"),
        (0x02, "critical"),
        (0xC0, "ok"),
    ],
)
def test_the_state_follows_the_sensors_own_thresholds(status: int, state: str) -> None:
    assert read(full("CPU1 Temp"), bytes([90, FINE, status]))[1].value == state


def test_a_sensor_without_thresholds_has_no_state() -> None:
    assert [row.quantity for row in read(full("x", capabilities=0x60), bytes([5, FINE, 0]))] == [
        "temperature.component"
    ]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (bytes([0, FINE | 0x20, 0]), Reason.ABSENT),
        (bytes([0, 0x00, 0]), Reason.ABSENT),
        (bytes([0, 0xC0 | 0x20]), Reason.ABSENT),
    ],
)
def test_an_unavailable_reading_is_missing(answer: bytes, reason: Reason) -> None:
    for row in read(full("Fan1", 4, 18), answer):
        assert isinstance(row.value, Missing)
        assert row.value.reason is reason


def test_an_answer_without_thresholds_leaves_the_number() -> None:
    value, state = (row.value for row in read(full("x"), bytes([5, FINE])))
    assert value == 5.0
    assert isinstance(state, Missing)


@pytest.mark.parametrize(
    ("kind", "event_type", "states", "quantity", "value"),
    [
        (0x08, 0x6F, 0x0001, "psu.health", "ok"),
        (0x08, 0x6F, 0x0003, "psu.health", "critical"),
        (0x08, 0x6F, 0x0009, "psu.health", "critical"),
        (0x08, 0x6F, 0x0005, "psu.health", "warning"),
        (0x08, 0x6F, 0x8001, "psu.health", "ok"),
        (0x07, 0x6F, 0x0080, "processor.health", "ok"),
        (0x07, 0x6F, 0x0082, "processor.health", "critical"),
        (0x0C, 0x6F, 0x0041, "memory.health", "warning"),
        (0x0D, 0x6F, 0x0003, "drive.health", "critical"),
        (0x05, 0x6F, 0x0001, "intrusion", "open"),
        (0x05, 0x6F, 0x0000, "intrusion", "closed"),
        (0x05, 0x6F, 0x0010, "intrusion", "unknown"),
        (0x22, 0x6F, 0x0001, "power.state", "on"),
        (0x22, 0x6F, 0x0020, "power.state", "off"),
        (0x22, 0x6F, 0x0000, "power.state", "unknown"),
        (0x29, 0x6F, 0x0005, "battery.health", "warning"),
        (0x1B, 0x6F, 0x0001, "communication.health", "ok"),
        (0x1B, 0x6F, 0x0000, "communication.health", "unknown"),
        (0x08, 0x0B, 0x0001, "redundancy.health", "ok"),
        (0x09, 0x0B, 0x0002, "redundancy.health", "critical"),
        (0x0D, 0x04, 0x0002, "drive.health", "warning"),
        (0x02, 0x03, 0x0001, "voltage.health", "ok"),
        (0x02, 0x03, 0x0002, "voltage.health", "warning"),
        (0x02, 0x03, 0x0000, "voltage.health", "unknown"),
        (0x15, 0x07, 0x0004, "board.health", "critical"),
        (0xC1, 0x6F, 0x0001, "device.alarm", "unknown"),
        (0xC1, 0x70, 0x0001, "device.alarm", "unknown"),
        (0x08, 0x6F, 0x4001, "psu.health", "unknown"),  # an offset that a power supply does not have
        (0x22, 0x03, 0x0002, "device.alarm", "warning"),
    ],
)
def test_discrete_states(kind: int, event_type: int, states: int, quantity: str, value: str) -> None:
    answer = bytes([0, FINE, states & 0xFF, states >> 8])
    (row,) = read(compact("One", kind, event_type), answer)
    assert (row.quantity, row.value) == (quantity, value)
    assert value in QUANTITIES[quantity].states


@pytest.mark.parametrize(
    ("kind", "event_type", "states"), [(0x08, 0x6F, 0), (0x0D, 0x6F, 0), (0x08, 0x08, 1), (0x25, 0x6F, 2)]
)
def test_a_part_that_is_not_installed_has_no_health(kind: int, event_type: int, states: int) -> None:
    value = discrete_value(kind, event_type, states, known=0x7FFF)
    assert isinstance(value, Missing)
    assert value.reason is Reason.ABSENT


def test_a_part_without_a_presence_bit_is_ok() -> None:
    assert discrete_value(0x08, 0x6F, 0, known=0x0002) == "ok"


def test_every_state_quantity_knows_every_value() -> None:
    for kind in (*_SENSOR_TYPES, 0xC5):
        for event_type in (*_GENERIC_STATES, 0x6F, 0x71):
            states = QUANTITIES[quantity_of(kind, event_type)].states
            for bit in range(16):
                value = discrete_value(kind, event_type, 1 << bit, 0)
                assert isinstance(value, Missing) or value in states


def test_a_discrete_sensor_may_have_a_number_too() -> None:
    found = read(full("Fan 1 DutyCycle", 4, 0, event_type=0x0A, units=0x01, m=1), bytes([29, FINE, 1, 0]))
    assert [(row.quantity, row.value) for row in found] == [("fan.duty", 29.0), ("fan.health", "ok")]
    assert [row.quantity for row in read(full("PSU", 8, 0, event_type=0x6F), bytes([0, FINE, 1, 0]))] == ["psu.health"]


@pytest.mark.parametrize(
    ("share", "naming", "names"),
    [(3, 1, ["DIMM 1", "DIMM 2", "DIMM 3"]), (0x12, 25, ["DIMM Z", "DIMM AA"]), (1, 7, ["DIMM "]), (0, 0, ["DIMM "])],
)
def test_sensors_that_share_a_record(share: int, naming: int, names: list[str]) -> None:
    found = sensors_of(compact("DIMM ", 0x0C, 0x6F, share=share, naming=naming))
    assert [one.name for one in found] == [name if len(names) > 1 else name.strip() for name in names]
    assert [one.number for one in found] == list(range(0x40, 0x40 + len(names)))


def test_names_in_every_encoding() -> None:
    def named(kind: int, data: bytes) -> str:
        record = full("")[:-1] + bytes([kind << 6 | len(data)]) + data
        return sensors_of(record)[0].name

    assert named(3, b"Temp\xb0\0\0") == "Temp°"
    assert named(1, b"\x12\x3b") == "123-"
    assert named(2, bytes([0x29, 0xDC, 0xA6])) == "IPMI"  # the specification's own example (43.16)
    assert named(0, "ÜT".encode()) == "ÜT"
    assert named(3, b"a\x1b[31m") == "a�[31m"


def test_sensors_of_the_same_name_are_distinguished_by_their_entity() -> None:
    first, second = (sensors_of(full("Temp", number=at, instance=at))[0] for at in (1, 2))
    (other,) = sensors_of(full("", entity=0x99, number=3, instance=0x60, owner=0x2C, lun=1))
    assert list(labels_of((first, second, other)).values()) == [
        "Temp (processor 1)",
        "Temp (processor 2)",
        "sensor 0x2c/1/0x03 (part 0x99 0)",
    ]


def test_a_record_of_a_real_board() -> None:
    """The example that openUBMC's documentation of Get SDR prints."""
    record = bytes.fromhex(
        "0100510137200001 07907f6801018472 84721a1a80010000 64000000 00e0011900007f80"
        "0028250002000202 000000cc 43686173736973205465 6d70"
    )
    value, state = read(record, bytes([0xF6, FINE, 0]))
    assert (value.label, value.quantity, value.value) == ("Chassis Temp", "temperature.component", -10.0)
    assert (state.instance, state.value) == ("0x01", "ok")


def test_other_records_give_no_sensor_and_short_ones_raise() -> None:
    assert sensors_of(bytes([0, 0, 0x51, 0x12, 2, 0, 0])) == ()
    for record in (full("Temp"), compact("Temp", 8, 0x6F)):
        for length in range(32):
            with pytest.raises(ValueError, match=r"shorter|only"):
                sensors_of(record[:length])


def test_random_bytes_raise_nothing_unexpected() -> None:
    chance = random.Random(4)  # noqa: S311 -- no secret
    for _ in range(3000):
        raw = bytearray(chance.choice([full("Temp"), compact("PSU", 8, 0x6F)]))
        for _ in range(chance.randrange(1, 12)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        try:
            found = sensors_of(bytes(raw[: chance.randrange(20, len(raw) + 1)]))
        except ValueError:
            continue
        for readable in readable_sensors(found):
            answer, factors = chance.randbytes(chance.randrange(2, 6)), Factors.of(chance.randbytes(6))
            for row in sensor_rows(readable, answer, factors):
                quantity = QUANTITIES[row.quantity]
                assert isinstance(row.value, Missing | float) or row.value in quantity.states
        LogEntry.of(chance.randbytes(16))


def test_the_instance_of_a_sensor() -> None:
    assert Sensor(BusAddress(), 5, "", 1, 1, 0, 0).instance == "0x05"
    assert Sensor(BusAddress(0x2C, 6, 0), 5, "", 1, 1, 0, 0).instance == "0x2c/0/0x05"
