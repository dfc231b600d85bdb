"""The systemd probe: the state of units of this machine, by one `systemctl show` for all of them."""

import asyncio
import contextlib
import os
from collections.abc import Mapping

from watchkeeper.agent.ports import ProbeContext
from watchkeeper.agent.probes.services.check import Columns, Unwell
from watchkeeper.model.clock import Clock
from watchkeeper.model.device import Device, Systemd
from watchkeeper.model.plain import one_line
from watchkeeper.model.reading import Missing, Reason, Sweep, Value

_ACTIVE = {  # org.freedesktop.systemd1(5), ActiveState
    "active": "active",
    "reloading": "active",
    "refreshing": "active",
    "activating": "starting",
    "deactivating": "inactive",
    "inactive": "inactive",
    "failed": "failed",
}
_COMMAND = ("systemctl", "show", "--no-pager", "--property=Id,Names,LoadState,ActiveState,SubState", "--")

Properties = Mapping[str, str]


def parse(text: str) -> list[Properties]:
    """What `systemctl show` prints: `Name=Value` lines, an empty one between two units."""
    blocks = (block.splitlines() for block in text.split("\n\n") if block.strip())
    return [dict(line.partition("=")[::2] for line in block) for block in blocks]


def state_of(unit: str, shown: list[Properties]) -> Value:
    """The state of one unit among what was shown, where it may stand under another of its names."""
    name = unit if "." in unit else f"{unit}.service"
    told = next((told for told in shown if name in (told.get("Id"), *told.get("Names", "").split())), None)
    if told is None or told.get("LoadState") == "not-found":
        return Missing(Reason.ABSENT, f"systemd knows no unit {one_line(name)}")
    # It crashed and waits for its next start: `activating` to systemd, a fault to whoever needs it
    if told.get("SubState", "").startswith("auto-restart"):
        return "failed"
    return _ACTIVE.get(told.get("ActiveState", ""), "unknown")


async def show(units: tuple[str, ...], timeout_s: float) -> str:
    """What systemctl prints of the units. Raises Unwell."""
    try:
        process = await asyncio.create_subprocess_exec(
            *_COMMAND, *units,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0"},
        )  # fmt: skip
    except OSError:
        raise Unwell(Reason.ABSENT, "this machine has no systemctl: was it started by systemd?") from None
    try:
        async with asyncio.timeout(timeout_s):
            out, complaint = await process.communicate()
    except TimeoutError:
        raise Unwell(Reason.HUNG, f"systemctl does not come back in {timeout_s:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode and not out:
        lines = complaint.decode(errors="replace").strip().splitlines() or ["it does not say why"]
        raise Unwell(Reason.ABSENT, f"systemctl: {lines[0]}")
    return out.decode(errors="replace")


class SystemdProbe:
    """See `agent.ports.Probe`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._columns = Columns()

    async def sweep(self, device: Device) -> Sweep:
        """See `Probe.sweep`. A systemd that says nothing does not answer; a unit that it does not know is missing."""
        units = (device.systemd or Systemd(())).units
        series = self._columns.of(device, *(("unit.state", one_line(unit), "systemctl show") for unit in units))
        answering = "yes"
        values: list[Value]
        try:
            shown = parse(await show(units, device.timeout_s))
            values = [state_of(unit, shown) for unit in units]
        except Unwell as trouble:
            answering, values = "no", [trouble.missing] * len(units)
        return Sweep(device.device, self._clock.boot(), series, (answering, *values))

    async def forget(self, device: str) -> None:
        """See `Probe.forget`."""
        self._columns.forget(device)

    async def close(self) -> None:
        """See `Probe.close`."""


def build(context: ProbeContext) -> SystemdProbe:
    """See `agent.ports.ProbeContext`."""
    return SystemdProbe(context.clock)
