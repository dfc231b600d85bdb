"""What tests of traps share: an ear without a network, and messages made by hand."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from watchkeeper.agent.traps.events import Events
from watchkeeper.agent.traps.listener import TrapListener
from watchkeeper.agent.traps.message import ber
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
MEMORY = "1.3.6.1.4.1.10876.100.3.0.903"  # critical, and told by trap alone
MEMORY_OK = "1.3.6.1.4.1.10876.100.3.0.901"


def secrets(**more: str) -> Secrets:
    return Secrets(environ={f"WATCHKEEPER_SECRET_{name}": text for name, text in {**SECRETS, **more}.items()})


def ups(name: str = "ups-1", address: str = "10.0.0.7", snmp: Snmp = V2C, **more: Any) -> Device:
    return Device(name, "room-1", Category.UPS, "snmp", address, timeout_s=2.0, snmp=snmp, **more)


def bindings(said: Iterable[tuple[str, bytes]]) -> bytes:
    return ber.tlv(ber.SEQUENCE, *(ber.tlv(ber.SEQUENCE, ber.oid(name), value) for name, value in said))


def v2(
    trap: str = LINK_DOWN, *said: tuple[str, bytes], community: str = "ours", inform: bool = False, version: int = 1
) -> bytes:
    listed = bindings([(UPTIME, ber.integer(1, 0x43)), (TRAP_OID, ber.oid(trap)), *said])
    pdu = ber.tlv(INFORM if inform else V2_TRAP, ber.integer(7), ber.integer(0), ber.integer(0), listed)
    return ber.tlv(ber.SEQUENCE, ber.integer(version), ber.octets(community.encode()), pdu)


def v1(enterprise: str, generic: int, specific: int, *said: tuple[str, bytes], community: str = "ours") -> bytes:
    address, ticks = ber.tlv(0x40, bytes((10, 0, 0, 99))), ber.integer(1, 0x43)
    pdu = ber.tlv(
        V1_TRAP, ber.oid(enterprise), address, ber.integer(generic), ber.integer(specific), ticks, bindings(said)
    )
    return ber.tlv(ber.SEQUENCE, ber.integer(0), ber.octets(community.encode()), pdu)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Room:
    """An ear, and what it wakes. Needs a running loop; `close` it."""

    def __init__(self, *devices: Device, clock: Clock | None = None, agent: str = "room-1") -> None:
        self.clock = clock or FakeClock()
        self.events = Events()
        self.woken: list[str] = []
        self.news = asyncio.Event()
        self.ear = TrapListener(agent, self.clock, secrets(), self.events, self._wake)
        self.devices = devices
        self.port = 0
        self.ear.adopt(None, devices)

    def _wake(self, device: str) -> None:
        self.woken.append(device)
        self.news.set()

    def hear(self, datagram: bytes, source: str = "10.0.0.7") -> bytes:
        """As if it had come from there."""
        return self.ear._take(datagram, source) if self.ear._admit(source) else b""

    def listen(self) -> int:
        """On a free port of loopback."""
        self.port = free_port()
        self.ear.adopt(TrapSettings(f"127.0.0.1:{self.port}"), self.devices)
        return self.port

    async def until_woken(self, times: int = 1, once: Callable[[], bool] = lambda: True) -> None:
        async with asyncio.timeout(20):
            while len(self.woken) < times or not once():
                self.news.clear()
                await self.news.wait()

    async def settled(self) -> None:
        """Until every look-up and question is over."""
        while self.ear._tasks:
            await asyncio.gather(*self.ear._tasks)

    async def close(self) -> None:
        await self.ear.close()


def run(story: Callable[[Room], Awaitable[None]], *devices: Device, clock: Clock | None = None) -> Room:
    """Tell a story of an ear that hears these devices; returns what is left of it."""

    async def whole() -> Room:
        room = Room(*devices, clock=clock)
        try:
            await story(room)
        finally:
            await room.close()
        return room

    return asyncio.run(whole())


def advance(room: Room, seconds: float) -> None:
    """Let a room's time pass."""
    assert isinstance(room.clock, FakeClock)
    room.clock.advance(seconds)
