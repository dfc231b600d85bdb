"""Temperatures and fans from /sys/class/hwmon (Linux: Documentation/hwmon/sysfs-interface.rst).

psutil can read them too, but opens five files for each sensor at every call. Here the names are looked up once in ten
minutes, and a sweep opens one file for each sensor.
"""

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from watchkeeper.model.reading import Missing, Reason, Value

_NO_SUCH_SENSOR = (errno.ENOENT, errno.ENODEV, errno.ENXIO)


@dataclass(frozen=True, slots=True)
class HwmonKind:
    """A kind of input file: the quantity it gives, the divisor to the quantity's unit, and the plausible range."""

    prefix: str
    quantity: str
    divide: float
    low: float
    high: float


HWMON_KINDS = (
    HwmonKind("temp", "temperature.component", 1000.0, -60.0, 200.0),  # millidegrees
    HwmonKind("fan", "fan.speed", 1.0, 0.0, 100_000.0),
)


@dataclass(frozen=True, slots=True)
class HwmonSensor:
    """One input file. `instance` stays the same after a reboot, which may change hwmon's numbers."""

    kind: HwmonKind
    instance: str
    label: str
    path: Path


def scan_hwmon(root: Path) -> list[HwmonSensor]:
    """Find every temperature and fan that the kernel shows."""
    found: list[HwmonSensor] = []
    for chip in sorted(root.glob("hwmon*")):
        name = _file_text(chip / "name") or chip.name
        parent = (chip / "device").resolve().name if (chip / "device").exists() else ""
        for kind in HWMON_KINDS:
            for path in sorted(chip.glob(f"{kind.prefix}*_input")):
                channel = path.name.removesuffix("_input")
                label = _file_text(chip / f"{channel}_label") or channel
                instance = "/".join(filter(None, (name, parent, channel)))
                found.append(HwmonSensor(kind, instance, f"{name} {label}", path))
    return found


def read_sensors(sensors: Iterable[HwmonSensor]) -> list[Value]:
    """Read the values, in order. May take long: some chips are behind a slow bus."""
    return [_sensor_value(sensor) for sensor in sensors]


def _sensor_value(sensor: HwmonSensor) -> Value:
    try:
        value = int(sensor.path.read_bytes()) / sensor.kind.divide
    except OSError as error:
        # A chip that is there may have no value now: a network card or a GPU that sleeps (ENODATA, EAGAIN).
        reason = Reason.ABSENT if error.errno in _NO_SUCH_SENSOR else Reason.MALFORMED
        return Missing(reason, error.strerror or type(error).__name__)
    except ValueError:
        return Missing(Reason.MALFORMED, f"{sensor.path} is not a number")
    if not sensor.kind.low <= value <= sensor.kind.high:
        return Missing(Reason.IMPLAUSIBLE, f"{value:g} is outside {sensor.kind.low:g} .. {sensor.kind.high:g}")
    return value


def _file_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
