"""Temperatures and fans from /sys/class/hwmon (Linux: Documentation/hwmon/sysfs-interface.rst).

psutil can read them too, but opens five files a sensor at every call; here the names are looked up once in a while and a
sweep opens one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from watchkeeper.model.reading import Missing, Reason, Value


@dataclass(frozen=True, slots=True)
class HwmonKind:
    """A kind of input file: the quantity it gives, its step, and what can be true (in the quantity's unit)."""

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
    """One input file. `instance` survives a reboot, in which hwmon numbers are dealt anew."""

    kind: HwmonKind
    instance: str
    label: str
    path: Path


def scan(root: Path) -> list[HwmonSensor]:
    """Every temperature and fan the kernel shows."""
    found: list[HwmonSensor] = []
    for chip in sorted(root.glob("hwmon*")):
        name = _text(chip / "name") or chip.name
        home = (chip / "device").resolve().name if (chip / "device").exists() else ""
        for kind in HWMON_KINDS:
            for path in sorted(chip.glob(f"{kind.prefix}*_input")):
                place = path.name.removesuffix("_input")
                label = _text(chip / f"{place}_label") or place
                instance = "/".join(filter(None, (name, home, place)))
                found.append(HwmonSensor(kind, instance, f"{name} {label}", path))
    return found


def read(sensors: Iterable[HwmonSensor]) -> list[Value]:
    """Their values, in order. May take long: some chips hang behind a slow bus."""
    return [_value(sensor) for sensor in sensors]


def _value(sensor: HwmonSensor) -> Value:
    try:
        value = int(sensor.path.read_bytes()) / sensor.kind.divide
    except OSError as error:
        return Missing(Reason.ABSENT, error.strerror or type(error).__name__)
    except ValueError:
        return Missing(Reason.MALFORMED, f"{sensor.path} is not a number")
    if not sensor.kind.low <= value <= sensor.kind.high:
        return Missing(Reason.IMPLAUSIBLE, f"{value:g} is outside {sensor.kind.low:g} .. {sensor.kind.high:g}")
    return value


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
