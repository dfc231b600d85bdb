"""From a BMC's answers to readings in the units of the catalogue. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from watchkeeper.agent.probes.ipmi.commands import BMC_ADDRESS
from watchkeeper.agent.probes.ipmi.sdr import Analog, Factors, Sensor, labels
from watchkeeper.agent.probes.ipmi.states import THRESHOLD, discrete_value, quantity_of
from watchkeeper.model.reading import Missing, Reason, Value


class Row(NamedTuple):
    """One reading before it has its series: quantity, instance, label, source, value."""

    quantity: str
    instance: str
    label: str
    source: str
    value: Value


class Conversion(NamedTuple):
    """What a number is of, and how it comes into the catalogue's unit."""

    quantity: str
    factor: float = 1.0
    shift: float = 0.0


class ReadableSensor(NamedTuple):
    """A sensor with what is read of it: its number, its state, or both."""

    sensor: Sensor
    label: str
    gauge: Conversion | None
    state: str


_UNAVAILABLE = Missing(Reason.ABSENT, "the BMC has no reading of it now")
_NOT_SCANNED = Missing(Reason.ABSENT, "the BMC does not scan this sensor")
_NOT_COMPARED = Missing(Reason.ABSENT, "the BMC does not compare it with its thresholds")
_NO_STATES = Missing(Reason.MALFORMED, "an answer without the sensor's states")
_NO_NUMBER = Missing(Reason.IMPLAUSIBLE, "the sensor's own formula has no value for this reading")
_NO_FACTORS = Missing(Reason.ABSENT, "the BMC does not tell how this sensor's readings are meant")

# Units of table 43-15: what is measured, factor and shift into the catalogue's unit
_UNITS: Mapping[int, Conversion] = {
    1: Conversion("temperature"),
    2: Conversion("temperature", 5 / 9, -160 / 9),
    3: Conversion("temperature", 1.0, -273.15),
    4: Conversion("voltage"),
    5: Conversion("current"),
    6: Conversion("power"),
    9: Conversion("apparent"),
    12: Conversion("light"),
    14: Conversion("pressure", 1000.0),
    15: Conversion("pressure", 6894.757),
    17: Conversion("flow", 1.699011),  # cubic feet a minute
    18: Conversion("speed"),
    60: Conversion("sound"),
    61: Conversion("sound"),
}
_UNSPECIFIED, _RPM, _REVOLUTIONS, _A_MINUTE = 0, 18, 41, 4
_HEALTH = {
    "temperature": "temperature.health",
    "voltage": "voltage.health",
    "current": "current.health",
    "power": "power.health",
    "apparent": "power.health",
    "speed": "fan.health",
    "flow": "airflow.health",
}
_PLAIN = {"flow": "air.flow", "light": "light.level", "sound": "sound.level"}
_FAN_TYPES = (0x04, 0x0A)
_AIR_INLET = frozenset({0x27, 0x37, 0x40})  # external environment, air inlet, air inlet of DCMI
_HOUSE = frozenset({0x00, 0x07, 0x0C, 0x17, 0x42})  # unspecified, system board, front panel, chassis, main board
_PSU, _FAN = 0x0A, 0x1D
_PARTS = frozenset({0x03, 0x04, 0x08, 0x09, 0x0B, 0x20, 0x41})  # processors, disks, memory, cards

_named_inlet = re.compile(r"inlet|intake|ambient", re.IGNORECASE).search
_named_part = re.compile(r"cpu|proc|dimm|mem|gpu|vr|pch|nic|ssd|hdd|nvme|pcie?|riser|raid|fan", re.IGNORECASE).search
_named_psu = re.compile(r"\b(psu|pws|p/?s|power supply)[ _-]?\d", re.IGNORECASE).search
_named_liquid = re.compile(r"coolant|liquid|water", re.IGNORECASE).search
_named_pump = re.compile(r"pump", re.IGNORECASE).search
_named_fan = re.compile(r"fan", re.IGNORECASE).search
_named_humidity = re.compile(r"humid", re.IGNORECASE).search
_named_distance = re.compile(r"margin|dts", re.IGNORECASE).search  # degrees below a limit are no temperature


def readable_sensors(sensors: Iterable[Sensor]) -> tuple[ReadableSensor, ...]:
    """What is read of these sensors: those of the BMC first, as those behind it may be silent."""
    named = labels(sensors)
    found = (
        ReadableSensor(one, label, _gauge(one, one.analog), _state(one)) for one, label in named.items() if one.readable
    )
    return tuple(
        sorted(
            (seat for seat in found if seat.gauge or seat.state),
            key=lambda seat: seat.sensor.place.owner != BMC_ADDRESS,
        )
    )


def rows(seat: ReadableSensor, answer: bytes | Missing, factors: Factors | None = None) -> Iterator[Row]:
    """The readings in an answer to Get Sensor Reading (35.14), or none of them for a reason."""
    sensor = seat.sensor
    missing = answer if isinstance(answer, Missing) else _unread(answer)
    raw = b"" if isinstance(answer, Missing) else answer
    if seat.gauge:
        yield _row(seat, seat.gauge.quantity, missing or _number(sensor, seat.gauge, raw[0], factors))
    if seat.state:
        yield _row(seat, seat.state, missing or _condition(sensor, raw))


def _row(seat: ReadableSensor, quantity: str, value: Value) -> Row:
    return Row(quantity, seat.sensor.instance, seat.label, f"ipmi {seat.sensor.instance}", value)


def _unread(answer: bytes) -> Missing | None:
    if answer[1] & 0x20:
        return _UNAVAILABLE
    return None if answer[1] & 0x40 else _NOT_SCANNED


def _number(sensor: Sensor, gauge: Conversion, raw: int, factors: Factors | None) -> Value:
    if sensor.analog is None or (sensor.analog.by_reading and factors is None):
        return _NO_FACTORS
    number = sensor.analog.value(raw, factors)
    if number is None:
        return _NO_NUMBER
    return number if gauge[1:] == (1.0, 0.0) else float(f"{number * gauge.factor + gauge.shift:.9g}")


def _condition(sensor: Sensor, answer: bytes) -> Value:
    """What the sensor's own limits, or the bits it has set, say."""
    if sensor.event_type != THRESHOLD:
        states = int.from_bytes(answer[2:4], "little")
        return discrete_value(sensor.sensor_type, sensor.event_type, states, sensor.known) if answer[2:] else _NO_STATES
    if not answer[2:]:
        return _NOT_COMPARED
    if answer[2] & 0b110110:  # lower and upper critical and non-recoverable
        return "critical"
    return "warning" if answer[2] & 0b001001 else "ok"


def _state(sensor: Sensor) -> str:
    """The state quantity of a sensor; none where it has numbers only."""
    if sensor.event_type != THRESHOLD:
        return quantity_of(sensor.sensor_type, sensor.event_type)
    if not sensor.thresholds:
        return ""
    if sensor.sensor_type in range(1, 5):
        return quantity_of(sensor.sensor_type, THRESHOLD)
    unit = _unit(sensor.analog) if sensor.analog else None
    return _HEALTH.get(unit.quantity, "sensor.health") if unit else "sensor.health"


def _unit(analog: Analog) -> Conversion | None:
    """The unit of its numbers; None where they are of no unit known here."""
    if analog.composed:
        return None
    if analog.rate == _A_MINUTE and analog.base in (_RPM, _REVOLUTIONS):
        return _UNITS[_RPM]
    return None if analog.rate else _UNITS.get(analog.base)


def _gauge(sensor: Sensor, analog: Analog | None) -> Conversion | None:
    """What its numbers are of, by unit, part and name; None where that is not known."""
    if analog is None:
        return None
    if analog.percent:
        return Conversion(_percentage(sensor))
    if analog.base == _UNSPECIFIED:
        return Conversion("device.number")
    unit = _unit(analog)
    if unit is None or (unit.quantity == "temperature" and _named_distance(sensor.name)):
        return None
    return unit._replace(quantity=_quantity(unit.quantity, sensor))


def _percentage(sensor: Sensor) -> str:
    if _named_pump(sensor.name):
        return "pump.duty"
    if sensor.sensor_type in _FAN_TYPES or sensor.entity == _FAN or _named_fan(sensor.name):
        return "fan.duty"
    return "humidity.relative" if _named_humidity(sensor.name) else "device.percent"


def _quantity(measure: str, sensor: Sensor) -> str:
    if measure == "temperature":
        return _temperature(sensor)
    if measure == "speed":
        return "pump.speed" if _named_pump(sensor.name) else "fan.speed"
    if measure == "pressure":
        return "water.pressure" if _named_liquid(sensor.name) else "air.pressure"
    return _PLAIN.get(measure) or _electrical(measure, sensor)


def _electrical(measure: str, sensor: Sensor) -> str:
    """What a whole machine takes is its input; what a part takes is on a rail."""
    if sensor.entity == _PSU or _named_psu(sensor.name):
        return f"psu.{measure}"
    whole = measure in ("power", "apparent") and sensor.entity not in _PARTS and not _named_part(sensor.name)
    return f"input.{measure}" if whole else f"rail.{measure}"


def _temperature(sensor: Sensor) -> str:
    """The air that comes in is the room's; a power supply's or a card's own inlet is inside the housing."""
    if _named_liquid(sensor.name):
        return "water.temperature"
    inside = _named_part(sensor.name) or _named_psu(sensor.name)
    inlet = sensor.entity in _AIR_INLET or (_named_inlet(sensor.name) and sensor.entity in _HOUSE)
    return "temperature.ambient" if inlet and not inside else "temperature.component"
