"""A device's SNMP agent: answers GET, GETNEXT and GETBULK, in v1, v2c and v3, from the room at that instant (by
pysnmp)."""

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

from watchkeeper.simulator.devices import SIMULATED_COMMUNITY, OidArcs, SimulatedDevice, SimulatedObject, Syntax

V3_USER, V3_AUTH_PASSWORD, V3_PRIV_PASSWORD = "ops", "authpass12", "privpass12"
"""The only v3 user of every device: authPriv, SHA-256 and AES-128."""

_MAX_VARBINDS = 64  # of one GETBULK answer, which must fit into a datagram
_V1_MODEL = 1  # securityModel (RFC 3411)

_PYSNMP_TYPES = {
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

VarBinds = list[tuple[OidArcs, SimulatedObject | None]]
"""The names of an answer, each with its object. None is the PDU's exception for a missing object or the end."""


class Environment(Protocol):
    """The environment of a device: the simulated room, or a static one for a recording."""

    def look(self) -> Any:
        """Its state now, from which the objects' values are computed."""

    def is_active(self, fault: str) -> bool:
        """Whether that fault is on."""

    def note_answer(self, device: str, values: Mapping[str, Any]) -> None:
        """Log the values of one answer."""


class ObjectTable:
    """A device's objects, for the three PDUs (RFC 3416, 4.2.1 to 4.2.3)."""

    def __init__(self, objects: tuple[SimulatedObject, ...]) -> None:
        self._objects = objects
        self._oids = [one.oid for one in objects]

    def get(self, names: list[OidArcs]) -> VarBinds:
        """The objects of these names."""
        return [(name, self._at(bisect_left(self._oids, name), name)) for name in names]

    def following(self, names: list[OidArcs]) -> VarBinds:
        """The objects after these names."""
        objects = [self._at(bisect_right(self._oids, name)) for name in names]
        return [(one.oid if one else name, one) for name, one in zip(names, objects, strict=True)]

    def bulk(self, names: list[OidArcs], non_repeaters: int, repetitions: int) -> VarBinds:
        """The objects after the first `non_repeaters` names once, and after the others `repetitions` times."""
        found = self.following(names[:non_repeaters])
        names = names[non_repeaters:]
        while names and repetitions > 0 and len(found) + len(names) <= _MAX_VARBINDS:
            turn = self.following(names)
            found += turn
            if not any(one for _, one in turn):
                break
            names = [name for name, _ in turn]
            repetitions -= 1
        return found

    def _at(self, position: int, name: OidArcs | None = None) -> SimulatedObject | None:
        one = self._objects[position] if position < len(self._objects) else None
        return one if one and name in (None, one.oid) else None


class _RoomTransport(UdpTransport):  # type: ignore[misc]  # pysnmp ships no types
    """A transport that drops all datagrams while its device is dead: there is no answer in any version, and no ICMP
    error."""

    def __init__(self, dead: Callable[[], bool]) -> None:
        super().__init__()
        self._dead = dead

    def datagram_received(self, datagram: bytes, transportAddress: Any) -> None:  # noqa: N803 -- the name in pysnmp
        if not self._dead():
            super().datagram_received(datagram, transportAddress)


class _CommandResponder(CommandResponderBase):  # type: ignore[misc]  # pysnmp ships no types
    """Answers from the room, and logs the answers."""

    SUPPORTED_PDU_TYPES = (
        rfc1905.GetRequestPDU.tagSet,
        rfc1905.GetNextRequestPDU.tagSet,
        rfc1905.GetBulkRequestPDU.tagSet,
    )

    def __init__(self, engine: Any, device: SimulatedDevice, environment: Environment) -> None:
        super().__init__(engine, SnmpContext(engine))
        self._device, self._environment, self._table = device, environment, ObjectTable(device.objects)

    def handle_management_operation(self, snmpEngine: Any, stateReference: Any, _context: Any, PDU: Any) -> None:  # noqa: N803 -- the names in pysnmp
        found, exception = self._find(PDU)
        room = self._environment.look()
        values = {oid: one.value(room) for oid, one in found if one}
        request = snmpEngine.observer.get_execution_context("rfc3412.receiveMessage:request")
        refused = request["securityModel"] == _V1_MODEL and not all(one for _, one in found)
        if values and not refused:  # a v1 answer with a missing object is an error without any value
            by_name = {".".join(map(str, oid)): value for oid, value in values.items()}
            self._environment.note_answer(self._device.name, by_name)
        binds = [(oid, _PYSNMP_TYPES[one.syntax](values[oid]) if one else exception) for oid, one in found]
        self.send_varbinds(snmpEngine, stateReference, 0, 0, binds)

    def _find(self, pdu: Any) -> tuple[VarBinds, Any]:
        """The objects of the answer, and the exception for a name without an object."""
        names = [tuple(name) for name, _ in v2c.apiPDU.get_varbinds(pdu)]
        if pdu.tagSet == rfc1905.GetRequestPDU.tagSet:
            return self._table.get(names), rfc1905.noSuchObject
        if pdu.tagSet == rfc1905.GetNextRequestPDU.tagSet:
            return self._table.following(names), rfc1905.endOfMibView
        once, times = v2c.apiBulkPDU.get_non_repeaters(pdu), v2c.apiBulkPDU.get_max_repetitions(pdu)
        return self._table.bulk(names, max(int(once), 0), int(times)), rfc1905.endOfMibView


class SnmpResponder:
    """A device that answers on a bound socket, from its construction (in a running event loop) until `close`."""

    def __init__(self, device: SimulatedDevice, environment: Environment, listening: socket.socket) -> None:
        self._engine = _make_engine(device.name)
        _grant_access(self._engine)
        _CommandResponder(self._engine, device, environment)
        transport = _RoomTransport(lambda: environment.is_active(device.dead))
        config.add_transport(self._engine, DOMAIN_NAME, transport.open_server_mode(sock=listening))

    def close(self) -> None:
        """Stop answering and close the socket."""
        self._engine.close_dispatcher()


def _make_engine(name: str) -> Any:
    """An SNMP engine whose id is the device's name, and whose boots are the clock's seconds. (pysnmp itself would store
    the boots of an engine id in a file under /tmp.)"""
    engine = SnmpEngine()
    identity, boots = engine.get_mib_builder().import_symbols("__SNMP-FRAMEWORK-MIB", "snmpEngineID", "snmpEngineBoots")
    identity.syntax = identity.syntax.clone(bytes.fromhex("80004fb804") + name.encode())  # RFC 3411: 4 is text
    boots.syntax = boots.syntax.clone(int(time.time()))
    engine.snmpEngineID = identity.syntax
    return engine


def _grant_access(engine: Any) -> None:
    """Let the community and the user read everything. pysnmp itself refuses the user without authentication or
    privacy."""
    config.add_v1_system(engine, "reader", SIMULATED_COMMUNITY)
    config.add_v3_user(
        engine,
        V3_USER,
        config.USM_AUTH_HMAC192_SHA256,
        V3_AUTH_PASSWORD,
        config.USM_PRIV_CFB128_AES,
        V3_PRIV_PASSWORD,
    )
