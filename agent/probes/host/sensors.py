"""Temperatures and fans from /sys/class/hwmon (Linux: Documentation/hwmon/sysfs-interface.rst).

psutil can read them too, but opens five files for each sensor at every call. Here the names are looked up once in ten
minutes, and a sweep opens one file for each sensor.
"""

import asyncio
import contextlib
import errno
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from watchkeeper.model.reading import Missing, Reason, Value

_NO_SUCH_SENSOR = (errno.ENOENT, errno.ENODEV, errno.ENXIO)
SHARE_OF_ONE_FILE = 0.25  # of the timeout
MAX_HWMON_SENSORS = 2000
_NAME_BYTES, _NUMBER_BYTES = 200, 64


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
    return found[:MAX_HWMON_SENSORS]


@dataclass(slots=True)
class _Run:
    """One thread that reads files one after the other. `at` is the file that it reads now. The event loop sets `left` if
    that file takes too long: then the thread stops after it."""

    sensors: Sequence[HwmonSensor]
    finished: asyncio.Event
    values: dict[Path, Value] = field(default_factory=dict)
    at: Path | None = None
    left: bool = False


class SensorReader:
    """Reads input files in a thread. A file that does not return (some chips are behind a slow bus) is left to its
    thread, and another thread goes on with the others. It is not read again until that thread returns."""

    def __init__(self) -> None:
        self._hanging: set[Path] = set()

    async def read(self, sensors: Sequence[HwmonSensor], timeout_s: float) -> list[Value]:
        """The values, in order. Takes `timeout_s` at most; one file may take a quarter of it before it is left alone."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        runs: list[_Run] = []
        rest: Sequence[HwmonSensor] = [one for one in sensors if one.path not in self._hanging]
        while rest and loop.time() < until:
            run = self._start(rest, loop)
            runs.append(run)
            await _finished_or_stuck(run, timeout_s * SHARE_OF_ONE_FILE, until)
            done = {run.at, *run.values.copy()}  # the thread may still add to them
            rest = [] if run.finished.is_set() else [one for one in rest if one.path not in done]
        for run in runs:  # a slow file may still come in time
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await run.finished.wait()
        values = {path: value for run in runs for path, value in run.values.copy().items()}
        hung = Missing(Reason.HUNG, f"no answer from the kernel within {timeout_s:g} s")
        return [values.get(one.path, hung) for one in sensors]

    def _start(self, sensors: Sequence[HwmonSensor], loop: asyncio.AbstractEventLoop) -> _Run:
        run = _Run(sensors, asyncio.Event())

        def read_all() -> None:
            for sensor in sensors:
                if sensor.path in self._hanging:  # another thread reads it since
                    continue
                run.at = sensor.path
                self._hanging.add(sensor.path)
                run.values[sensor.path] = _sensor_value(sensor)
                self._hanging.discard(sensor.path)
                if run.left:
                    break
            with contextlib.suppress(RuntimeError):  # the loop was closed while a file hung
                loop.call_soon_threadsafe(run.finished.set)

        threading.Thread(target=read_all, daemon=True, name="sensors").start()
        return run


async def _finished_or_stuck(run: _Run, limit_s: float, until: float) -> None:
    """Return when the run has finished, or when it reads one file for longer than the limit; then it is told to stop."""
    at: Path | None = None
    loop = asyncio.get_running_loop()
    while not run.finished.is_set() and loop.time() < until:
        at = run.at
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(min(until, loop.time() + limit_s)):
                await run.finished.wait()
        if at is not None and run.at == at:
            break
    run.left = True


def _sensor_value(sensor: HwmonSensor) -> Value:
    try:
        value = int(_read_some(sensor.path, _NUMBER_BYTES)) / sensor.kind.divide
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
        return _read_some(path, _NAME_BYTES).decode(errors="replace").strip()
    except OSError:
        return ""


def _read_some(path: Path, size_bytes: int) -> bytes:
    """The beginning of a file. A driver may give any number of bytes."""
    with path.open("rb", buffering=0) as file:
        return file.read(size_bytes) or b""
