"""Decoding of SNMP messages (v1, v2c, v3) in two stages: first the part that names the sender; then, with `trap_of`,
the PDU. Pure; raises nothing but Undecodable."""

import ipaddress
from dataclasses import dataclass

from watchkeeper.agent.snmpv3.ber import (
    INTEGER,
    IP_ADDRESS,
    OCTETS,
    OID,
    SEQUENCE,
    BerReader,
    Undecodable,
    to_integer,
    to_oid,
)
from watchkeeper.agent.snmpv3.pdu import RESPONSE
from watchkeeper.model.plain import one_line

V1_TRAP, INFORM, V2_TRAP = 0xA4, 0xA6, 0xA7  # RFC 1157, 4.1; RFC 3416, 3

TRAP_OID = "1.3.6.1.6.3.1.1.4.1.0"  # snmpTrapOID.0
SNMP_TRAPS = "1.3.6.1.6.3.1.1.5"
_SYS_UPTIME = "1.3.6.1.2.1.1.3.0"
_TRAP_ADDRESS = "1.3.6.1.6.3.18.1.3.0"  # snmpTrapAddress.0
_TRAP_COMMUNITY = (
    "1.3.6.1.6.3.18.1.4.0"  # snmpTrapCommunity.0: a proxy puts a v1 trap's community there (RFC 3584, 3.1)
)
_TRAP_ENTERPRISE = "1.3.6.1.6.3.1.1.4.3.0"  # snmpTrapEnterprise.0
_ENTERPRISE_SPECIFIC = 6

_INTEGER_TYPES = frozenset({INTEGER, 0x41, 0x42, 0x43, 0x46})  # Counter32, Gauge32, TimeTicks, Counter64 (RFC 3416, 3)
_IPV4_BYTES = 4

VariableValue = int | str | bytes | None
"""A variable's value: a number; an object identifier or address as text; a string as bytes; None for all other
types."""


@dataclass(frozen=True, slots=True)
class Trap:
    """A notification in SNMPv2's form: `trap` is its snmpTrapOID, `variables` are its variable bindings, and `inform`
    says whether the sender waits for an answer."""

    trap: str
    variables: tuple[tuple[str, VariableValue], ...] = ()
    inform: bool = False

    def __str__(self) -> str:
        return one_line(" ".join((self.trap, *(f"{name}={_quoted_text(value)}" for name, value in self.variables))))


def answer_to(pdu: BerReader) -> bytes:
    """The answer to an inform: the same bytes up to the end of the PDU, with the tag of a response (RFC 3416,
    4.2.7)."""
    return pdu.data[: pdu.at] + bytes((RESPONSE,)) + pdu.data[pdu.at + 1 : pdu.end]


def trap_of(pdu: BerReader) -> Trap:
    """Read the notification in a PDU. An SNMPv1 trap is converted to SNMPv2's form (RFC 3584, 3.1)."""
    tag, inner = pdu.next()
    if tag == V1_TRAP:
        return _from_v1(inner)
    if tag not in (V2_TRAP, INFORM):
        raise Undecodable("it is neither a trap nor an inform")
    for _ in range(3):  # request-id, error-status, error-index
        inner.integer()
    variables = _read_bindings(inner)
    trap = dict(variables).get(TRAP_OID)
    if not isinstance(trap, str):
        raise Undecodable("it does not say which trap it is (snmpTrapOID.0)")
    others = tuple(one for one in variables if one[0] not in (TRAP_OID, _SYS_UPTIME))
    return Trap(trap, others, inform=tag == INFORM)


def _from_v1(pdu: BerReader) -> Trap:
    enterprise, address = pdu.oid(), pdu.octets(IP_ADDRESS)
    generic, specific = pdu.integer(), pdu.integer()
    pdu.next()  # time-stamp
    if generic == _ENTERPRISE_SPECIFIC:
        trap = f"{enterprise}.0.{specific}"
    elif 0 <= generic < _ENTERPRISE_SPECIFIC:
        trap = f"{SNMP_TRAPS}.{generic + 1}"
    else:
        raise Undecodable("its generic-trap does not exist")
    variables = _read_bindings(pdu)
    return Trap(trap, (*variables, (_TRAP_ADDRESS, _ip_address(address)), (_TRAP_ENTERPRISE, enterprise)))


def _read_bindings(pdu: BerReader) -> tuple[tuple[str, VariableValue], ...]:
    listed = pdu.inside(SEQUENCE)
    found: list[tuple[str, VariableValue]] = []
    while listed.more:
        pair = listed.inside(SEQUENCE)
        found.append((pair.oid(), _read_value(*pair.next())))
    return tuple(one for one in found if one[0] != _TRAP_COMMUNITY)  # it is a secret, and not needed


def _read_value(tag: int, inner: BerReader) -> VariableValue:
    raw = inner.rest()
    if tag in _INTEGER_TYPES:
        return to_integer(raw)
    if tag == OCTETS:
        return raw
    if tag == OID:
        return to_oid(raw)
    return _ip_address(raw) if tag == IP_ADDRESS else None


def _ip_address(raw: bytes) -> str:
    if len(raw) != _IPV4_BYTES:
        raise Undecodable("an IpAddress does not have four bytes")
    return str(ipaddress.IPv4Address(raw))


def variable_text(value: VariableValue) -> str:
    """The value as text for people."""
    return value.decode(errors="replace") if isinstance(value, bytes) else "" if value is None else str(value)


def _quoted_text(value: VariableValue) -> str:
    return repr(variable_text(value)) if isinstance(value, bytes) else variable_text(value)
