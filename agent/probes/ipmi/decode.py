"""Turns a BMC's answers into readings in the units of the catalogue. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from watchkeeper.agent.probes.ipmi.commands import BMC_ADDRESS
from watchkeeper.agent.probes.ipmi.sdr import Analog, Factors, Sensor, labels_of
from watchkeeper.agent.probes.ipmi.states import NOT_INSTALLED, THRESHOLD, discrete_value, quantity_of
from watchkeeper.agent.probes.series import SweepRow
from watchkeeper.model.reading import NO_READING, Missing, Reason, Value


class Conversion(NamedTuple):
    """The quantity of a number, and the factor and shift that convert it to the catalogue's unit."""

    quantity: str
    factor: float = 1.0
    shift: float = 0.0


class _Part(NamedTuple):
    """A part of the machine, by the controller that describes it."""

    owner: int
    entity: int
    instance: int


class ReadableSensor(NamedTuple):
    """A sensor and the readings it gives: a number (if it has a conversion), a state quantity (if not empty), or
    both."""

    sensor: Sensor
    label: str
    conversion: Conversion | None
    state: str


_UNAVAILABLE = Missing(Reason.ABSENT, f"{NO_READING} of this sensor now")
_NOT_SCANNED = Missing(Reason.ABSENT, f"{NO_READING} of this sensor: it does not scan it")
_NOT_COMPARED = Missing(Reason.ABSENT, "the BMC does not compare this sensor with its thresholds")
_NO_STATES = Missing(Reason.MALFORMED, "the answer does not contain the sensor's states")
_NO_NUMBER = Missing(Reason.IMPLAUSIBLE, "the sensor's own formula has no value for this reading")
_NO_PROBE = Missing(Reason.IMPLAUSIBLE, "0 °C is the reading of a temperature sensor that is not there")
_NO_FACTORS = Missing(Reason.ABSENT, "the BMC does not give the factors of this sensor's readings")

# Units of table 43-15: the measure, and the factor and shift that convert it to the catalogue's unit
_BASE_UNITS: Mapping[int, Conversion] = {
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
_CELSIUS = 1  # a base unit
_UNSPECIFIED, _RPM, _REVOLUTIONS = 0, 18, 41  # base units
_PER_MINUTE = 4  # a rate unit
_HEALTH = {
    "temperature": "temperature.health",
    "voltage": "voltage.health",
    "current": "current.health",
    "power": "power.health",
    "apparent": "power.health",
    "speed": "fan.health",
    "flow": "airflow.health",
}
_OTHER_QUANTITIES = {"flow": "air.flow", "light": "light.level", "sound": "sound.level"}
_FAN_TYPES = (0x04, 0x0A)
_AIR_INLET = frozenset({0x27, 0x37, 0x40})  # external environment, air inlet, air inlet of DCMI
_HOUSING = frozenset({0x00, 0x07, 0x0C, 0x17, 0x42})  # unspecified, system board, front panel, chassis, main board
_PSU, _FAN = 0x0A, 0x1D
_REMOVABLE = frozenset({0x03, 0x04, 0x08, 0x0A, 0x0B, 0x1D, 0x20, 0x28, 0x41})  # entities that may not be fitted
_CRITICAL = 0b110110
"""Of the comparisons with thresholds: critical and non-recoverable ones."""
_COMPONENTS = frozenset({0x03, 0x04, 0x08, 0x09, 0x0B, 0x20, 0x41})  # processors, disks, memory, cards

_named_inlet = re.compile(r"inlet|intake|ambient", re.IGNORECASE).search
_named_part = re.compile(r"cpu|proc|dimm|mem|gpu|vr|pch|nic|ssd|hdd|nvme|pcie?|riser|raid|fan", re.IGNORECASE).search
_named_psu = re.compile(r"\b(psu|pws|p/?s|power supply)[ _-]?\d", re.IGNORECASE).search
_named_liquid = re.compile(r"coolant|liquid|water", re.IGNORECASE).search
_named_pump = re.compile(r"pump", re.IGNORECASE).search
_named_fan = re.compile(r"fan", re.IGNORECASE).search
_named_humidity = re.compile(r"humid", re.IGNORECASE).search
_named_margin = re.compile(r"margin|dts", re.IGNORECASE).search  # degrees below a limit are not a temperature


def readable_sensors(sensors: Iterable[Sensor]) -> tuple[ReadableSensor, ...]:
    """The sensors that can be read, those of the BMC itself first, because controllers behind it may not answer."""
    named = labels_of(sensors)
    found = (
        ReadableSensor(one, label, _conversion(one, one.analog), _state_quantity(one))
        for one, label in named.items()
        if one.readable
    )
    return tuple(
        sorted(
            (one for one in found if one.conversion or one.state),
            key=lambda one: one.sensor.address.owner != BMC_ADDRESS,
        )
    )


def sensor_rows(
    readable: ReadableSensor, answer: bytes | Missing, factors: Factors | None = None
) -> Iterator[SweepRow]:
    """The rows of a sensor from its answer to Get Sensor Reading (35.14), or from the reason why there is no answer."""
    sensor = readable.sensor
    missing = answer if isinstance(answer, Missing) else _unread(answer)
    raw = b"" if isinstance(answer, Missing) else answer
    if not missing and _without_probe(readable, raw[0]):
        missing = _NO_PROBE
    if readable.conversion:
        number = missing or _converted(sensor, readable.conversion, raw[0], factors)
        yield _sensor_row(readable, readable.conversion.quantity, number)
    if readable.state:
        yield _sensor_row(readable, readable.state, missing or _state_value(sensor, raw))


def rows_of_fitted_parts(read: Iterable[tuple[ReadableSensor, tuple[SweepRow, ...]]]) -> Iterator[SweepRow]:
    """The rows of all sensors. The numbers of a part that is not fitted are missing, and so is their comparison with
    thresholds: some BMCs go on to give 0 for them. A part is not fitted if every sensor of its presence says so
    (IPMI 2.0, section 40)."""
    read = tuple(read)
    fitted: dict[_Part, bool] = {}
    for readable, rows in read:
        sensor = readable.sensor
        if sensor.event_type != THRESHOLD and sensor.entity in _REMOVABLE:
            here = any(row.value is not NOT_INSTALLED for row in rows)
            fitted[_part(sensor)] = here or fitted.get(_part(sensor), False)
    for readable, rows in read:
        sensor = readable.sensor
        if sensor.event_type == THRESHOLD and not fitted.get(_part(sensor), True):
            yield from (row._replace(value=NOT_INSTALLED) for row in rows)
        else:
            yield from rows


def _part(sensor: Sensor) -> "_Part":
    return _Part(sensor.address.owner, sensor.entity, sensor.entity_instance)


def _sensor_row(readable: ReadableSensor, quantity: str, value: Value) -> SweepRow:
    instance = readable.sensor.instance
    return SweepRow(quantity, instance, readable.label, f"ipmi {instance}", value)


def _unread(answer: bytes) -> Missing | None:
    if answer[1] & 0x20:
        return _UNAVAILABLE
    return None if answer[1] & 0x40 else _NOT_SCANNED


def _without_probe(readable: ReadableSensor, raw: int) -> bool:
    """Whether this is the reading of a temperature sensor that is not there: no part of a running machine has 0 °C."""
    conversion, analog = readable.conversion, readable.sensor.analog
    if raw or conversion is None or analog is None or analog.by_reading or "temperature" not in conversion.quantity:
        return False
    return analog.base == _CELSIUS and analog.value(0) == 0


def _converted(sensor: Sensor, conversion: Conversion, raw: int, factors: Factors | None) -> Value:
    if sensor.analog is None or (sensor.analog.by_reading and factors is None):
        return _NO_FACTORS
    number = sensor.analog.value(raw, factors)
    if number is None:
        return _NO_NUMBER
    if conversion[1:] == (1.0, 0.0):
        return number
    return float(f"{number * conversion.factor + conversion.shift:.9g}")


def _state_value(sensor: Sensor, answer: bytes) -> Value:
    """The state: by the sensor's own thresholds, or by the bits that are set."""
    if sensor.event_type != THRESHOLD:
        states = int.from_bytes(answer[2:4], "little")
        return discrete_value(sensor.sensor_type, sensor.event_type, states, sensor.known) if answer[2:] else _NO_STATES
    if not answer[2:]:
        return _NOT_COMPARED
    crossed = answer[2] & sensor.compared
    return "critical" if crossed & _CRITICAL else "warning" if crossed else "ok"


def _state_quantity(sensor: Sensor) -> str:
    """The state quantity of a sensor; empty for one that gives only numbers."""
    if sensor.event_type != THRESHOLD:
        return quantity_of(sensor.sensor_type, sensor.event_type)
    if not sensor.thresholds:
        return ""
    if sensor.sensor_type in range(1, 5):
        return quantity_of(sensor.sensor_type, THRESHOLD)
    unit = _known_unit(sensor.analog) if sensor.analog else None
    return _HEALTH.get(unit.quantity, "sensor.health") if unit else "sensor.health"


def _known_unit(analog: Analog) -> Conversion | None:
    """The unit of its numbers; None for a unit that is not known here."""
    if analog.composed:
        return None
    if analog.rate == _PER_MINUTE and analog.base in (_RPM, _REVOLUTIONS):
        return _BASE_UNITS[_RPM]
    return None if analog.rate else _BASE_UNITS.get(analog.base)


def _conversion(sensor: Sensor, analog: Analog | None) -> Conversion | None:
    """The quantity and conversion of its numbers, by unit, entity and name; None if it has none, or they are
    unknown."""
    if analog is None:
        return None
    if analog.percent:
        return Conversion(_percentage_quantity(sensor))
    if analog.base == _UNSPECIFIED:
        return Conversion("device.number")
    unit = _known_unit(analog)
    if unit is None or (unit.quantity == "temperature" and _named_margin(sensor.name)):
        return None
    return unit._replace(quantity=_quantity_for(unit.quantity, sensor))


def _percentage_quantity(sensor: Sensor) -> str:
    if _named_pump(sensor.name):
        return "pump.duty"
    if sensor.sensor_type in _FAN_TYPES or sensor.entity == _FAN or _named_fan(sensor.name):
        return "fan.duty"
    return "humidity.relative" if _named_humidity(sensor.name) else "device.percent"


def _quantity_for(measure: str, sensor: Sensor) -> str:
    if measure == "temperature":
        return _temperature_quantity(sensor)
    if measure == "speed":
        return "pump.speed" if _named_pump(sensor.name) else "fan.speed"
    if measure == "pressure":
        return "water.pressure" if _named_liquid(sensor.name) else "air.pressure"
    return _OTHER_QUANTITIES.get(measure) or _electrical_quantity(measure, sensor)


def _electrical_quantity(measure: str, sensor: Sensor) -> str:
    """The power of the whole machine is its input; the power of a component is on a rail."""
    if sensor.entity == _PSU or _named_psu(sensor.name):
        return f"psu.{measure}"
    whole = measure in ("power", "apparent") and sensor.entity not in _COMPONENTS and not _named_part(sensor.name)
    return f"input.{measure}" if whole else f"rail.{measure}"


def _temperature_quantity(sensor: Sensor) -> str:
    """The inlet air has the room's temperature, but the inlet of a power supply or card is inside the housing."""
    if _named_liquid(sensor.name):
        return "water.temperature"
    inside = _named_part(sensor.name) or _named_psu(sensor.name)
    inlet = sensor.entity in _AIR_INLET or (_named_inlet(sensor.name) and sensor.entity in _HOUSING)
    return "temperature.ambient" if inlet and not inside else "temperature.component"
