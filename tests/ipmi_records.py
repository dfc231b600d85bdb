"""Sensor data records of a BMC, and what the IPMI probe reads by them."""

from watchkeeper.agent.probes.ipmi.decode import readable_sensors, sensor_rows
from watchkeeper.agent.probes.ipmi.sdr import Factors, sensors_of
from watchkeeper.agent.probes.series import SweepRow
from watchkeeper.model.reading import Missing, Value

FINE = 0x40  # scanning enabled, reading available
UNSIGNED, SIGNED, ONES, NONE = 0x00, 0x80, 0x40, 0xC0


def full(
    name: str, kind: int = 1, unit: int = 1, *, event_type: int = 1, units: int = UNSIGNED, linear: int = 0, m: int = 1,
    b: int = 0, exponents: int = 0, entity: int = 3, number: int = 0x1F, capabilities: int = 0x68, known: int = 0,
    owner: int = 0x20, lun: int = 0, modifier: int = 0, instance: int = 0x61, lower: int = 0, upper: int = 0,
) -> bytes:  # fmt: skip
    """A full sensor record (table 43-1)."""
    text = name.encode()
    body = [
        owner, lun, number, entity, instance, 0x67, capabilities, kind, event_type, 0, lower << 4, 0, upper << 4, known & 0xFF,
        known >> 8, units, unit, modifier, linear, m & 0xFF, m >> 2 & 0xC0, b & 0xFF, b >> 2 & 0xC0, 0, exponents, 0, 0, 0, 0, 0xFF, 0,
        *[0] * 11, 0xC0 | len(text), *text,
    ]  # fmt: skip
    return bytes([1, 0, 0x51, 0x01, len(body), *body])


def compact(
    name: str, kind: int, event_type: int, *, share: int = 1, naming: int = 0, known: int = 0x7FFF, entity: int = 7,
    instance: int = 1,
) -> bytes:  # fmt: skip
    """A compact sensor record (table 43-2)."""
    text = name.encode()
    body = [
        0x20, 0, 0x40, entity, instance, 0x67, 0x40, kind, event_type, 0, 0, 0, 0, known & 0xFF, known >> 8, NONE, 0, 0, share,
        naming, 0, 0, 0, 0, 0, 0, 0xC0 | len(text), *text,
    ]  # fmt: skip
    return bytes([1, 0, 0x51, 0x02, len(body), *body])


def read(record: bytes, answer: bytes | Missing, factors: Factors | None = None) -> list[SweepRow]:
    (readable,) = readable_sensors(sensors_of(record))
    return list(sensor_rows(readable, answer, factors))


def number(record: bytes, raw: int) -> Value:
    return read(record, bytes([raw, FINE, 0]))[0].value
