"""Shared by the tests of traps: a listener without a network, and hand-made messages."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from watchkeeper.agent.snmpv3 import ber
from watchkeeper.agent.traps.events import TrapEvents
from watchkeeper.agent.traps.listener import TrapListener
from watchkeeper.agent.traps.message.decode import INFORM, V1_TRAP, V2_TRAP
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.batch import TrapSettings
from watchkeeper.model.clock import Clock, FakeClock
from watchkeeper.model.device import Category, Device, Snmp, SnmpVersion

SECRETS = {"COMMUNITY": "ours", "AUTH": "authpass12", "PRIV": "privpass12", "OTHER": "wrongpass12"}
V1, V2C = Snmp(SnmpVersion.V1, "community"), Snmp(SnmpVersion.V2C, "community")
TRAP_OID, UPTIME = "1.3.6.1.6.3.1.1.4.1.0", "1.3.6.1.2.1.1.3.0"
COLD_START = "1.3.6.1.6.3.1.1.5.1"
LINK_DOWN = "1.3.6.1.6.3.1.1.5.3"
MEMORY = "1.3.6.1.4.1.10876.100.3.0.903"  # critical, and reported only by traps
MEMORY_OK = "1.3.6.1.4.1.10876.100.3.0.901"


def secrets(**more: str) -> Secrets:
    return Secrets(environ={f"WATCHKEEPER_SECRET_{name}": text for name, text in {**SECRETS, **more}.items()})


def ups(name: str = "ups-1", address: str = "10.0.0.7", snmp: Snmp = V2C, **more: Any) -> Device:
    return Device(name, "room-1", Category.UPS, "snmp", address, timeout_s=2.0, snmp=snmp, **more)


def bindings(variables: Iterable[tuple[str, bytes]]) -> bytes:
    return ber.tlv(ber.SEQUENCE, *(ber.tlv(ber.SEQUENCE, ber.oid(name), value) for name, value in variables))


def v2(
    trap: str = LINK_DOWN,
    *variables: tuple[str, bytes],
    community: str = "ours",
    inform: bool = False,
    version: int = 1,
) -> bytes:
    listed = bindings([(UPTIME, ber.integer(1, 0x43)), (TRAP_OID, ber.oid(trap)), *variables])
    pdu = ber.tlv(INFORM if inform else V2_TRAP, ber.integer(7), ber.integer(0), ber.integer(0), listed)
    return ber.tlv(ber.SEQUENCE, ber.integer(version), ber.octets(community.encode()), pdu)


def v1(enterprise: str, generic: int, specific: int, *variables: tuple[str, bytes], community: str = "ours") -> bytes:
    address, ticks = ber.tlv(0x40, bytes((10, 0, 0, 99))), ber.integer(1, 0x43)
    pdu = ber.tlv(
        V1_TRAP, ber.oid(enterprise), address, ber.integer(generic), ber.integer(specific), ticks, bindings(variables)
    )
    return ber.tlv(ber.SEQUENCE, ber.integer(0), ber.octets(community.encode()), pdu)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Room:
    """A listener, its devices, and the devices it woke. Needs a running event loop, and must be closed."""

    def __init__(self, *devices: Device, clock: Clock | None = None, agent: str = "room-1") -> None:
        self.clock = clock or FakeClock()
        self.events = TrapEvents()
        self.woken: list[str] = []
        self.news = asyncio.Event()
        self.listener = TrapListener(agent, self.clock, secrets(), self.events, self._wake)
        self.devices = devices
        self.port = 0
        self.listener.adopt(None, devices)

    def _wake(self, device: str) -> None:
        self.woken.append(device)
        self.news.set()

    def receive(self, datagram: bytes, source: str = "10.0.0.7") -> bytes:
        """Process a datagram as if it had come from `source`; return the answer."""
        return self.listener._take(datagram, source) if self.listener._admit(source) else b""

    def listen(self) -> int:
        """Listen on a free port of loopback; return the port."""
        self.port = free_port()
        self.listener.adopt(TrapSettings(f"127.0.0.1:{self.port}"), self.devices)
        return self.port

    async def until_woken(self, times: int = 1, once: Callable[[], bool] = lambda: True) -> None:
        async with asyncio.timeout(20):
            while len(self.woken) < times or not once():
                self.news.clear()
                await self.news.wait()

    async def settled(self) -> None:
        """Wait until all name look-ups and engine discoveries have ended."""
        while self.listener._tasks:
            await asyncio.gather(*self.listener._tasks)

    async def close(self) -> None:
        await self.listener.close()


def run(scenario: Callable[[Room], Awaitable[None]], *devices: Device, clock: Clock | None = None) -> Room:
    """Run a scenario in a room with these devices; return the closed room."""

    async def run_and_close() -> Room:
        room = Room(*devices, clock=clock)
        try:
            await scenario(room)
        finally:
            await room.close()
        return room

    return asyncio.run(run_and_close())


def advance(room: Room, seconds: float) -> None:
    """Advance the room's clock."""
    assert isinstance(room.clock, FakeClock)
    room.clock.advance(seconds)
