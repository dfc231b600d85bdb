"""A recording (.snmprec) answering SNMP on loopback as the device did: for trying a profile without the device."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from watchkeeper.model.device import Category
from watchkeeper.model.errors import WatchkeeperError
from watchkeeper.simulator.devices import COMMUNITY, Oid, SimulatedDevice, SimulatedObject, Syntax, oid
from watchkeeper.simulator.serve import LOOPBACK, bind_udp
from watchkeeper.simulator.snmp import SnmpResponder

_TAGS: Mapping[int, Syntax] = {
    2: Syntax.INTEGER, 4: Syntax.TEXT, 6: Syntax.OID, 64: Syntax.ADDRESS, 65: Syntax.COUNTER, 66: Syntax.GAUGE,
    67: Syntax.TICKS, 68: Syntax.OPAQUE, 70: Syntax.BIG,
}  # fmt: skip
"""BER tags (X.690; RFC 2578, 7.1) as a recording has them."""


class StaticRoom:
    """Stands where a room's LiveRoom does: nothing happens in it, and nothing is written down."""

    def look(self) -> None:
        """See LiveRoom.look."""

    def stands(self, _fault: str) -> bool:
        """See LiveRoom.stands."""
        return False

    def gave(self, _device: str, _values: Mapping[str, int | str | bytes]) -> None:
        """See LiveRoom.gave."""


def read_recording(file: Path) -> SimulatedDevice:
    """The device of a recording. Raises WatchkeeperError with file and line."""
    rows: dict[Oid, SimulatedObject] = {}
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise WatchkeeperError(f"{file}: cannot be read: {error.strerror}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = _row(line)
        except (ValueError, KeyError):
            raise WatchkeeperError(f"{file}:{number}: not a line `OID|TAG|VALUE` with a BER tag known here") from None
        rows[row.oid] = row
    return SimulatedDevice(file.stem, Category.ENV, tuple(rows[name] for name in sorted(rows)))


def _row(line: str) -> SimulatedObject:
    name, tag, text = line.split("|", 2)
    syntax = _TAGS[int(tag.rstrip("x"))]
    if syntax in (Syntax.TEXT, Syntax.OPAQUE):
        value: int | str | bytes = bytes.fromhex(text) if tag.endswith("x") else text.encode()
    else:
        value = text if syntax in (Syntax.OID, Syntax.ADDRESS) else int(text)
    return SimulatedObject(oid(name), syntax, lambda _room: value)


async def run_recording(file: Path, port: int, say: Callable[[str], None]) -> None:
    """Answer until SIGINT or SIGTERM. Raises WatchkeeperError."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    device = read_recording(file)
    with bind_udp(port) as listening:
        agent = SnmpResponder(device, StaticRoom(), listening)
        say(f"{device.name}: {len(device.rows)} objects, snmp://{COMMUNITY}@{LOOPBACK}:{listening.getsockname()[1]}")
        await stop.wait()
        agent.close()
    await asyncio.sleep(0)  # let the closed transport go
