"""Answers SNMP on loopback from a recording (.snmprec), as the device did: to try a profile without the device."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from watchkeeper.model.device import Category
from watchkeeper.model.errors import WatchkeeperError
from watchkeeper.simulator.devices import (
    SIMULATED_COMMUNITY,
    OidArcs,
    SimulatedDevice,
    SimulatedObject,
    Syntax,
    oid_arcs,
)
from watchkeeper.simulator.serve import SIMULATOR_HOST, bind_udp
from watchkeeper.simulator.snmp import SnmpResponder

_TAGS: Mapping[int, Syntax] = {
    2: Syntax.INTEGER, 4: Syntax.TEXT, 6: Syntax.OID, 64: Syntax.ADDRESS, 65: Syntax.COUNTER, 66: Syntax.GAUGE,
    67: Syntax.TICKS, 68: Syntax.OPAQUE, 70: Syntax.BIG,
}  # fmt: skip
"""The BER tags of a recording (X.690; RFC 2578, 7.1)."""


class StaticRoom:
    """An environment for a recording: nothing changes, and nothing is logged."""

    def look(self) -> None:
        """Implements `Environment.look`."""

    def is_active(self, _fault: str) -> bool:
        """Implements `Environment.is_active`."""
        return False

    def note_answer(self, _device: str, _values: Mapping[str, int | str | bytes]) -> None:
        """Implements `Environment.note_answer`."""


def read_recording(file: Path) -> SimulatedDevice:
    """Read the device of a recording. Raises WatchkeeperError with file and line."""
    objects: dict[OidArcs, SimulatedObject] = {}
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise WatchkeeperError(f"{file}: cannot be read: {error.strerror}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            one = _parse_line(line)
        except (ValueError, KeyError):
            raise WatchkeeperError(f"{file}:{number}: not a line `OID|TAG|VALUE` with a known BER tag") from None
        objects[one.oid] = one
    return SimulatedDevice(file.stem, Category.ENV, tuple(objects[name] for name in sorted(objects)))


def _parse_line(line: str) -> SimulatedObject:
    name, tag, text = line.split("|", 2)
    syntax = _TAGS[int(tag.rstrip("x"))]
    if syntax in (Syntax.TEXT, Syntax.OPAQUE):
        value: int | str | bytes = bytes.fromhex(text) if tag.endswith("x") else text.encode()
    else:
        value = text if syntax in (Syntax.OID, Syntax.ADDRESS) else int(text)
    return SimulatedObject(oid_arcs(name), syntax, lambda _room: value)


async def run_recording(file: Path, port: int, say: Callable[[str], None]) -> None:
    """Answer until SIGINT or SIGTERM. Raises WatchkeeperError."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    device = read_recording(file)
    with bind_udp(port) as listening:
        responder = SnmpResponder(device, StaticRoom(), listening)
        url = f"snmp://{SIMULATED_COMMUNITY}@{SIMULATOR_HOST}:{listening.getsockname()[1]}"
        say(f"{device.name}: {len(device.objects)} objects, {url}")
        await stop.wait()
        responder.close()
    await asyncio.sleep(0)  # lets asyncio finish closing the transport
