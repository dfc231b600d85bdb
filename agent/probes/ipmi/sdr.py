"""Sensor data records (IPMI 2.0, section 43): the sensors of a BMC, and how their raw readings become numbers. Pure."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from watchkeeper.agent.probes.ipmi.commands import BMC_ADDRESS, BusAddress
from watchkeeper.agent.probes.ipmi.states import THRESHOLD
from watchkeeper.model.plain import one_line

HEADER_BYTES = 5
"""Bytes of a record's header; the last one is the length of the rest."""

_FULL, _COMPACT, _EVENT_ONLY = 0x01, 0x02, 0x03
_NAME_AT = {_FULL: 47, _COMPACT: 31, _EVENT_ONLY: 16}  # offset of the name's type/length byte
_NO_ANALOG = 3
_NON_LINEAR = 0x70
_LETTERS = 26
ALL_THRESHOLDS = 0b111111
"""The comparisons of a reading with its thresholds: lower ones, then upper ones, each non-critical, critical,
non-recoverable."""

_LINEAR: Mapping[int, Callable[[float], float]] = {
    0: lambda y: y,
    1: math.log,
    2: math.log10,
    3: math.log2,
    4: math.exp,
    5: lambda y: 10**y,
    6: lambda y: 2**y,
    7: lambda y: 1 / y,
    8: lambda y: y**2,
    9: lambda y: y**3,
    10: math.sqrt,
    11: lambda y: math.copysign(abs(y) ** (1 / 3), y),
}
"""The linearization formulas (table 43-1, byte 24)."""

_ENTITIES: Mapping[int, str] = {
    0x03: "processor",
    0x04: "disk",
    0x06: "management module",
    0x07: "system board",
    0x08: "memory module",
    0x0A: "power supply",
    0x0B: "add-in card",
    0x0C: "front panel",
    0x0F: "drive backplane",
    0x10: "expansion board",
    0x13: "power unit",
    0x17: "chassis",
    0x1A: "disk bay",
    0x1D: "fan",
    0x1E: "cooling unit",
    0x20: "memory device",
    0x28: "battery",
    0x2C: "I/O module",
    0x31: "PCI Express",
    0x37: "air inlet",
    0x40: "air inlet",
    0x41: "processor",
    0x42: "main board",
}
"""Entities (table 43-13) that may have several sensors of the same name."""


class Factors(NamedTuple):
    """y = (m x + b 10^b_exponent) 10^exponent (IPMI 2.0, 36.3)."""

    m: int
    b: int
    b_exponent: int
    exponent: int

    @classmethod
    def of(cls, raw: bytes) -> "Factors":
        """From the six bytes that a record and the answer to Get Sensor Reading Factors (35.5) have in common."""
        m = _signed(raw[0] | (raw[1] & 0xC0) << 2, 10)
        b = _signed(raw[2] | (raw[3] & 0xC0) << 2, 10)
        return cls(m, b, _signed(raw[5] & 0x0F, 4), _signed(raw[5] >> 4, 4))


@dataclass(frozen=True, slots=True)
class Analog:
    """How a raw reading becomes a number. `base` and `modifier` are units of table 43-15; `units` is the byte that says
    how they combine (table 43-1, byte 21)."""

    units: int
    base: int
    modifier: int
    linearization: int
    factors: Factors

    @property
    def percent(self) -> bool:
        """Whether the number is a percentage, whatever the base unit says."""
        return bool(self.units & 0x01)

    @property
    def rate(self) -> int:
        """The rate unit: 0 for none, 4 for "per minute"."""
        return self.units >> 3 & 0x07

    @property
    def composed(self) -> bool:
        """Whether the unit is composed of base and modifier."""
        return bool(self.units & 0x06)

    @property
    def by_reading(self) -> bool:
        """Whether every raw reading has its own factors, which must be read from the BMC."""
        return self.linearization >= _NON_LINEAR

    def value(self, raw: int, factors: Factors | None = None) -> float | None:
        """The number in the sensor's own unit; None where the formula gives none."""
        if self.units >> 6 == 1:
            raw = raw - 255 if raw & 0x80 else raw
        elif self.units >> 6 == 2:  # noqa: PLR2004 -- two's complement
            raw = _signed(raw, 8)
        m, b, b_exponent, exponent = factors or self.factors
        linear = _LINEAR[0] if self.by_reading else _LINEAR.get(self.linearization)
        try:
            value = linear((m * raw + b * 10.0**b_exponent) * 10.0**exponent) if linear else math.nan
        except (ValueError, ArithmeticError):
            return None
        return float(f"{value:.9g}") if math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class Sensor:
    """One sensor. `known` are the bits that a discrete sensor can set. `compared` are the bits that a sensor with
    thresholds can set (table 35-15): it is not compared with the other thresholds, whatever their bits say. `readable`
    is false for a sensor that only sends events, or that belongs to software, which has no address."""

    address: BusAddress
    number: int
    name: str
    sensor_type: int
    event_type: int
    entity: int
    entity_instance: int
    readable: bool = True
    known: int = 0
    thresholds: bool = False
    compared: int = ALL_THRESHOLDS
    analog: Analog | None = None

    @property
    def instance(self) -> str:
        """Its stable instance: see `instance_of`."""
        return instance_of(self.address, self.number)


def instance_of(address: BusAddress, number: int) -> str:
    """The instance of a sensor: its number; for one that is not at the BMC itself, with owner and unit before it."""
    if address.owner == BMC_ADDRESS and not address.lun:
        return f"{number:#04x}"
    return f"{address.owner:#04x}/{address.lun}/{number:#04x}"


def sensors_of(record: bytes) -> tuple[Sensor, ...]:
    """The sensors that a record describes; none for other types of records. Raises ValueError for a short record."""
    if len(record) < HEADER_BYTES:
        raise ValueError("shorter than a header")
    kind = record[3]
    name_at = _NAME_AT.get(kind)
    if name_at is None:
        return ()
    if len(record) <= name_at:
        raise ValueError(f"type {kind:#04x}, but only {len(record)} bytes")
    address = BusAddress(record[5], record[6] >> 4, record[6] & 0x03)
    name = _decode_name(record[name_at:])
    if kind == _EVENT_ONLY:
        one = Sensor(address, record[7], name, record[10], record[11], record[8], record[9], readable=False)
        return tuple(_shared(one, record[12], record[13]))
    one = Sensor(
        address, record[7], name, record[12], record[13], record[8], record[9], readable=not record[5] & 1,
        known=record[18] | record[19] << 8, thresholds=record[13] == THRESHOLD and bool(record[11] & 0x0C),
        compared=(record[15] >> 4 & 7 | (record[17] >> 4 & 7) << 3) or ALL_THRESHOLDS,
    )  # fmt: skip
    if kind == _COMPACT:
        return tuple(_shared(one, record[23], record[24]))
    return (replace(one, name=name.strip(), analog=_analog(record)),)


def _analog(record: bytes) -> Analog | None:
    """How the sensor's readings become numbers; None for a sensor without numbers. A discrete sensor has numbers only
    if their unit is set: many BMCs leave the format byte at 0."""
    units, base = record[20], record[21]
    if units >> 6 == _NO_ANALOG or (record[13] != THRESHOLD and not base and not units & 0x01):
        return None
    return Analog(units, base, record[22], record[23] & 0x7F, Factors.of(record[24:30]))


def _shared(one: Sensor, sharing: int, naming: int) -> Iterator[Sensor]:
    """The sensors that share a record (table 43-2, bytes 24 and 25): numbers and names are counted up."""
    count = max(1, sharing & 0x0F)
    for step in range(count):
        sign = (naming & 0x7F) + step
        suffix = "" if count == 1 else _letters(sign) if sharing >> 4 & 0x03 == 1 else str(sign)
        moved = one.entity_instance + step if naming & 0x80 else one.entity_instance
        yield replace(
            one, number=(one.number + step) & 0xFF, name=(one.name + suffix).strip(), entity_instance=moved & 0xFF
        )


def _letters(number: int) -> str:
    """0 is A, 25 Z, 26 AA."""
    return (_letters(number // _LETTERS - 1) if number >= _LETTERS else "") + chr(ord("A") + number % _LETTERS)


def _decode_name(raw: bytes) -> str:
    """The text after a type/length byte (43.15). Spaces at its end are kept, because a number may follow."""
    data = raw[1 : 1 + (raw[0] & 0x1F)]
    match raw[0] >> 6:
        case 1:
            text = "".join("0123456789 -.:,_"[digit] for byte in data for digit in (byte >> 4, byte & 0x0F))
        case 2:
            bits = int.from_bytes(data, "little")
            text = "".join(chr(0x20 + (bits >> at & 0x3F)) for at in range(0, len(data) * 8 - 5, 6))
        case 3:
            text = data.decode("latin-1")
        case _:
            text = data.decode(errors="replace")
    return one_line(text.partition("\0")[0])


def labels_of(sensors: Iterable[Sensor]) -> dict[Sensor, str]:
    """The label of each sensor: its name; if several have the same name, also its entity."""
    sensors = tuple(sensors)
    counted = Counter(sensor.name for sensor in sensors)
    return {one: one.name if one.name and counted[one.name] == 1 else _name_with_entity(one) for one in sensors}


def _name_with_entity(sensor: Sensor) -> str:
    number = sensor.entity_instance & 0x7F
    part = _ENTITIES.get(sensor.entity, f"part {sensor.entity:#04x}")
    number = number - 0x60 if number >= 0x60 else number  # noqa: PLR2004 -- from 60h on, instances count within their controller
    return f"{sensor.name or 'sensor ' + sensor.instance} ({part} {number})"


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) & 1 else value
