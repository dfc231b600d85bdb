"""The systemd probe: the state of this machine's units, read by one `systemctl show` for all of them."""

import asyncio
import contextlib
import os
from collections.abc import Mapping

from watchkeeper.agent.ports import NoAnswer, ProbeContext
from watchkeeper.agent.probes.series import SeriesCache
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device, Systemd
from watchkeeper.model.plain import one_line
from watchkeeper.model.reading import Missing, Reason, Sweep, Value

_UNIT_STATES = {  # org.freedesktop.systemd1(5), ActiveState
    "active": "active",
    "reloading": "active",
    "refreshing": "active",
    "activating": "starting",
    "deactivating": "inactive",
    "inactive": "inactive",
    "failed": "failed",
}
_SHOW_COMMAND = ("systemctl", "show", "--no-pager", "--property=Id,Names,LoadState,ActiveState,SubState", "--")

OUTPUT_BYTES = 1_000_000
KILLED_S = 1.0  # how long a command that was killed is waited for

Properties = Mapping[str, str]


def parse_show(text: str) -> list[Properties]:
    """Parse the output of `systemctl show`: lines `Name=Value`, with an empty line between two units."""
    blocks = (block.splitlines() for block in text.split("\n\n") if block.strip())
    return [dict(line.partition("=")[::2] for line in block) for block in blocks]


def unit_state(unit: str, shown: list[Properties]) -> Value:
    """The state of one unit, found in the output by any of its names."""
    name = unit if "." in unit else f"{unit}.service"
    found = next((one for one in shown if name in (one.get("Id"), *one.get("Names", "").split())), None)
    if found is None or found.get("LoadState") == "not-found":
        return Missing(Reason.ABSENT, f"systemd knows no unit {one_line(name)}")
    # The unit crashed and waits for its next start: systemd calls it `activating`, but it does not work
    if found.get("SubState", "").startswith("auto-restart"):
        return "failed"
    return _UNIT_STATES.get(found.get("ActiveState", ""), "unknown")


async def show_units(units: tuple[str, ...], timeout_s: float) -> str:
    """Run `systemctl show` for the units and return its output. Raises NoAnswer."""
    try:
        process = await asyncio.create_subprocess_exec(
            *_SHOW_COMMAND, *units,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0"},
        )  # fmt: skip
    except OSError:
        raise NoAnswer(Reason.ABSENT, "this machine has no systemctl: was it started by systemd?") from None
    try:
        async with asyncio.timeout(timeout_s):
            out, complaint = await asyncio.gather(*(_read_some(one) for one in (process.stdout, process.stderr)))
            await process.wait()
    except TimeoutError:
        raise NoAnswer(Reason.HUNG, f"no answer from systemctl within {timeout_s:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KILLED_S):
                    await process.wait()
    if process.returncode and not out:
        lines = complaint.decode(errors="replace").strip().splitlines() or ["it gives no reason"]
        raise NoAnswer(Reason.ABSENT, one_line(f"systemctl: {lines[0]}"))
    return out.decode(errors="replace")


async def _read_some(stream: asyncio.StreamReader | None) -> bytes:
    """The output of a command to its end; of a longer one, its beginning."""
    pieces = bytearray()
    while stream is not None and len(pieces) < OUTPUT_BYTES and (piece := await stream.read(OUTPUT_BYTES)):
        pieces += piece
    return bytes(pieces)


class SystemdProbe:
    """Implements `agent.ports.Probe`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._series = SeriesCache()

    async def sweep(self, device: Device) -> Sweep:
        """Implements `Probe.sweep`. If systemd does not answer, neither does the device. An unknown unit is missing."""
        units = (device.systemd or Systemd(())).units
        series = self._series.of(device, *(("unit.state", one_line(unit), "systemctl show") for unit in units))
        answering = "yes"
        values: list[Value]
        try:
            shown = parse_show(await show_units(units, device.timeout_s))
            values = [unit_state(unit, shown) for unit in units]
        except NoAnswer as nothing:
            answering, values = "no", [nothing.missing] * len(units)
        return Sweep(device.device, self._clock.boot(), series, (answering, *values))

    async def forget(self, device: str) -> None:
        """Implements `Probe.forget`."""
        self._series.forget(device)

    async def close(self) -> None:
        """Implements `Probe.close`."""


def build(context: ProbeContext) -> SystemdProbe:
    """Build the probe."""
    return SystemdProbe(context.clock)
