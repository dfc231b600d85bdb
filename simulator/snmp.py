"""A device's SNMP agent: pysnmp answering GET, GETNEXT and GETBULK, in v1, v2c and v3, from the room at that instant."""

import socket
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pysnmp.carrier.asyncio.dgram.udp import DOMAIN_NAME, UdpTransport  # type: ignore[import-untyped]
from pysnmp.entity import config  # type: ignore[import-untyped]
from pysnmp.entity.engine import SnmpEngine  # type: ignore[import-untyped]
from pysnmp.entity.rfc3413.cmdrsp import CommandResponderBase  # type: ignore[import-untyped]
from pysnmp.entity.rfc3413.context import SnmpContext  # type: ignore[import-untyped]
from pysnmp.proto import rfc1902, rfc1905  # type: ignore[import-untyped]
from pysnmp.proto.api import v2c  # type: ignore[import-untyped]

from watchkeeper.simulator.devices import COMMUNITY, Oid, SimulatedDevice, SimulatedObject, Syntax

V3_USER, V3_AUTH_PASSWORD, V3_PRIV_PASSWORD = "ops", "authpass12", "privpass12"
"""The one v3 user of every device: authPriv only, SHA-256 and AES-128."""

_MOST_VARBINDS = 64  # of one GETBULK answer, so that it fits a datagram
_V1 = 1  # RFC 3411 securityModel

_TYPES = {
    Syntax.INTEGER: rfc1902.Integer32,
    Syntax.COUNTER: rfc1902.Counter32,
    Syntax.GAUGE: rfc1902.Gauge32,
    Syntax.TICKS: rfc1902.TimeTicks,
    Syntax.TEXT: rfc1902.OctetString,
    Syntax.OID: rfc1902.ObjectIdentifier,
    Syntax.ADDRESS: rfc1902.IpAddress,
    Syntax.OPAQUE: rfc1902.Opaque,
    Syntax.BIG: rfc1902.Counter64,
}

VarBinds = list[tuple[Oid, SimulatedObject | None]]
"""What an answer names, and the object there; None is the exception that PDU has for a hole or the end."""


class Environment(Protocol):
    """What a device stands in: the simulated room, or a recording's stillness."""

    def look(self) -> Any:
        """Its state now, as the rows' values are computed from it."""

    def stands(self, fault: str) -> bool:
        """Whether that fault is switched on."""

    def gave(self, device: str, values: Mapping[str, Any]) -> None:
        """Note what a device answered."""


class ObjectTable:
    """A device's objects as the three PDUs walk them (RFC 3416, 4.2.1 to 4.2.3)."""

    def __init__(self, rows: tuple[SimulatedObject, ...]) -> None:
        self._rows = rows
        self._oids = [row.oid for row in rows]

    def get(self, names: list[Oid]) -> VarBinds:
        """The very objects named."""
        return [(name, self._at(bisect_left(self._oids, name), name)) for name in names]

    def following(self, names: list[Oid]) -> VarBinds:
        """The objects after those named."""
        rows = [self._at(bisect_right(self._oids, name)) for name in names]
        return [(row.oid if row else name, row) for name, row in zip(names, rows, strict=True)]

    def bulk(self, names: list[Oid], non_repeaters: int, repetitions: int) -> VarBinds:
        """The objects after the first `non_repeaters` names once, and after the others `repetitions` times."""
        found = self.following(names[:non_repeaters])
        names = names[non_repeaters:]
        while names and repetitions > 0 and len(found) + len(names) <= _MOST_VARBINDS:
            turn = self.following(names)
            found += turn
            if not any(row for _, row in turn):
                break
            names = [name for name, _ in turn]
            repetitions -= 1
        return found

    def _at(self, place: int, name: Oid | None = None) -> SimulatedObject | None:
        row = self._rows[place] if place < len(self._rows) else None
        return row if row and name in (None, row.oid) else None


class _RoomTransport(UdpTransport):  # type: ignore[misc]  # pysnmp ships no types
    """A socket that hears nothing while its device is dead: no answer in any version, and no ICMP error either."""

    def __init__(self, dead: Callable[[], bool]) -> None:
        super().__init__()
        self._dead = dead

    def datagram_received(self, datagram: bytes, transportAddress: Any) -> None:  # noqa: N803 -- pysnmp's name
        if not self._dead():
            super().datagram_received(datagram, transportAddress)


class _CommandResponder(CommandResponderBase):  # type: ignore[misc]  # pysnmp ships no types
    """Answers from the room, and writes down what it gives."""

    SUPPORTED_PDU_TYPES = (
        rfc1905.GetRequestPDU.tagSet,
        rfc1905.GetNextRequestPDU.tagSet,
        rfc1905.GetBulkRequestPDU.tagSet,
    )

    def __init__(self, engine: Any, device: SimulatedDevice, live: Environment) -> None:
        super().__init__(engine, SnmpContext(engine))
        self._device, self._live, self._view = device, live, ObjectTable(device.rows)

    def handle_management_operation(self, snmpEngine: Any, stateReference: Any, _context: Any, PDU: Any) -> None:  # noqa: N803 -- pysnmp's names
        asked, hole = self._asked(PDU)
        room = self._live.look()
        values = {oid: row.value(room) for oid, row in asked if row}
        request = snmpEngine.observer.get_execution_context("rfc3412.receiveMessage:request")
        refused = request["securityModel"] == _V1 and not all(row for _, row in asked)
        if values and not refused:  # a v1 answer with a hole is an error without any value
            self._live.gave(self._device.name, {".".join(map(str, oid)): value for oid, value in values.items()})
        binds = [(oid, _TYPES[row.syntax](values[oid]) if row else hole) for oid, row in asked]
        self.send_varbinds(snmpEngine, stateReference, 0, 0, binds)

    def _asked(self, pdu: Any) -> tuple[VarBinds, Any]:
        names = [tuple(name) for name, _ in v2c.apiPDU.get_varbinds(pdu)]
        if pdu.tagSet == rfc1905.GetRequestPDU.tagSet:
            return self._view.get(names), rfc1905.noSuchObject
        if pdu.tagSet == rfc1905.GetNextRequestPDU.tagSet:
            return self._view.following(names), rfc1905.endOfMibView
        once, times = v2c.apiBulkPDU.get_non_repeaters(pdu), v2c.apiBulkPDU.get_max_repetitions(pdu)
        return self._view.bulk(names, max(int(once), 0), int(times)), rfc1905.endOfMibView


class SnmpResponder:
    """A device answering on a bound socket, from the moment it is built (in a running event loop) until `close`."""

    def __init__(self, device: SimulatedDevice, live: Environment, listening: socket.socket) -> None:
        self._engine = _engine(device.name)
        _let_in(self._engine)
        _CommandResponder(self._engine, device, live)
        ear = _RoomTransport(lambda: live.stands(device.dead))
        config.add_transport(self._engine, DOMAIN_NAME, ear.open_server_mode(sock=listening))

    def close(self) -> None:
        """Stop answering and close the socket."""
        self._engine.close_dispatcher()


def _engine(name: str) -> Any:
    """An engine known by the device's name, which counts its starts by the clock. Handing pysnmp an engine ID would
    make it keep that count in a file under /tmp."""
    engine = SnmpEngine()
    identity, boots = engine.get_mib_builder().import_symbols("__SNMP-FRAMEWORK-MIB", "snmpEngineID", "snmpEngineBoots")
    identity.syntax = identity.syntax.clone(bytes.fromhex("80004fb804") + name.encode())  # RFC 3411: 4 is text
    boots.syntax = boots.syntax.clone(int(time.time()))
    engine.snmpEngineID = identity.syntax
    return engine


def _let_in(engine: Any) -> None:
    """Who proves to be one of these may read everything; pysnmp itself refuses a user below the level of its keys."""
    config.add_v1_system(engine, "reader", COMMUNITY)
    config.add_v3_user(
        engine,
        V3_USER,
        config.USM_AUTH_HMAC192_SHA256,
        V3_AUTH_PASSWORD,
        config.USM_PRIV_CFB128_AES,
        V3_PRIV_PASSWORD,
    )
