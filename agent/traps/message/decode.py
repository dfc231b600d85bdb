"""SNMP messages (v1, v2c, v3) taken apart as far as they may be trusted so far: first what says who speaks, and only then,
with `trap_of`, what is said. Pure; raises nothing but Undecodable."""

import ipaddress
from dataclasses import dataclass

from watchkeeper.agent.traps.message.ber import INTEGER, OCTETS, OID, SEQUENCE, Reader, Undecodable, to_integer, to_oid
from watchkeeper.model.plain import one_line

V1, V2C, V3 = 0, 1, 3  # RFC 3584, 4.2; RFC 3412, 6
RESPONSE, V1_TRAP, INFORM, V2_TRAP = 0xA2, 0xA4, 0xA6, 0xA7  # RFC 1157, 4.1; RFC 3416, 3
USM = 3  # RFC 3411, 5

TRAP_OID = "1.3.6.1.6.3.1.1.4.1.0"  # snmpTrapOID.0
SNMP_TRAPS = "1.3.6.1.6.3.1.1.5"
_UPTIME = "1.3.6.1.2.1.1.3.0"
_TRAP_ADDRESS = "1.3.6.1.6.3.18.1.3.0"  # snmpTrapAddress.0
_TRAP_COMMUNITY = "1.3.6.1.6.3.18.1.4.0"  # snmpTrapCommunity.0: a proxy puts a v1 trap's there (RFC 3584, 3.1)
_TRAP_ENTERPRISE = "1.3.6.1.6.3.1.1.4.3.0"  # snmpTrapEnterprise.0
_ENTERPRISE_SPECIFIC = 6

_IP_ADDRESS = 0x40
_NUMBERS = frozenset({INTEGER, 0x41, 0x42, 0x43, 0x46})  # Counter32, Gauge32, TimeTicks, Counter64 (RFC 3416, 3)
_FOUR = 4
_WORD = 2**31  # snmpEngineBoots, snmpEngineTime (RFC 3414, 2.3)

Said = int | str | bytes | None
"""What a variable holds: numbers, object identifiers and addresses as text, strings, and None for everything else."""


@dataclass(frozen=True, slots=True)
class Trap:
    """A notification in the words of SNMPv2: `trap` is its snmpTrapOID, `said` what it brings, `inform` whether the sender
    waits for an answer."""

    trap: str
    said: tuple[tuple[str, Said], ...] = ()
    inform: bool = False

    def __str__(self) -> str:
        return one_line(" ".join((self.trap, *(f"{name}={_shown(value)}" for name, value in self.said))))


@dataclass(frozen=True, slots=True)
class Plain:
    """A message of v1 or v2c. `at` is where its PDU begins in `whole`."""

    whole: bytes
    version: int
    community: bytes
    at: int

    def pdu(self) -> Reader:
        """What it says, still to be read."""
        return Reader(self.whole, self.at, len(self.whole))


@dataclass(frozen=True, slots=True)
class Secured:
    """A message of v3 under the User-based Security Model (RFC 3412, 6; RFC 3414, 2.4). `digest` stands at `digest_at` in
    `whole`; `body` is the scoped PDU, as its own bytes or encrypted."""

    whole: bytes
    msg_id: int
    flags: int
    engine: bytes
    boots: int
    time: int
    user: bytes
    digest: bytes
    digest_at: int
    salt: bytes
    body: bytes

    AUTH, PRIV, REPORTABLE = 1, 2, 4

    @property
    def authenticated(self) -> bool:
        """Whether it says that it carries a digest."""
        return bool(self.flags & Secured.AUTH)

    @property
    def private(self) -> bool:
        """Whether it says that it is encrypted."""
        return bool(self.flags & Secured.PRIV)


def open_message(datagram: bytes) -> Plain | Secured:
    """What says who speaks. What follows the message is cut off."""
    around = Reader(datagram, 0, len(datagram))
    message = around.inside(SEQUENCE)
    whole = datagram[: around.at]
    version = message.integer()
    if version in (V1, V2C):
        return Plain(whole, version, message.octets(), message.at)
    if version != V3:
        raise Undecodable("its version of SNMP does not exist")
    return _secured(whole, message)


def _secured(whole: bytes, message: Reader) -> Secured:
    header = message.inside(SEQUENCE)
    msg_id, _max_size, flags, model = header.integer(), header.integer(), header.octets(), header.integer()
    if len(flags) != 1 or model != USM:
        raise Undecodable("only the User-based Security Model is spoken here")
    security = message.inside(OCTETS).inside(SEQUENCE)
    engine, boots, time = security.octets(), security.integer(), security.integer()
    if not (0 <= boots < _WORD and 0 <= time < _WORD):
        raise Undecodable("its time lies outside what SNMP can count")
    user, digest = security.octets(), security.octets()
    digest_at = security.at - len(digest)
    salt = security.octets()
    body = message.octets() if flags[0] & Secured.PRIV else message.rest()
    return Secured(whole, msg_id, flags[0], engine, boots, time, user, digest, digest_at, salt, body)


def open_scoped(body: bytes) -> Reader:
    """The PDU of a scoped PDU in the clear (RFC 3412, 6), still to be read. What pads it is cut off."""
    scoped = Reader(body, 0, len(body)).inside(SEQUENCE)
    scoped.octets()  # contextEngineID
    scoped.octets()  # contextName
    return scoped


def answer_to(pdu: Reader) -> bytes:
    """Everything around an inform's PDU up to its end, with the PDU turned into its answer: the same but for the tag
    (RFC 3416, 4.2.7)."""
    return pdu.data[: pdu.at] + bytes((RESPONSE,)) + pdu.data[pdu.at + 1 : pdu.end]


def trap_of(pdu: Reader) -> Trap:
    """The notification of a PDU; the oldest kind is told in the words of SNMPv2 (RFC 3584, 3.1)."""
    tag, inner = pdu.next()
    if tag == V1_TRAP:
        return _from_v1(inner)
    if tag not in (V2_TRAP, INFORM):
        raise Undecodable("it is neither a trap nor an inform")
    for _ in range(3):  # request-id, error-status, error-index
        inner.integer()
    said = _bindings(inner)
    trap = dict(said).get(TRAP_OID)
    if not isinstance(trap, str):
        raise Undecodable("it does not say which trap it is (snmpTrapOID.0)")
    others = tuple(one for one in said if one[0] not in (TRAP_OID, _UPTIME))
    return Trap(trap, others, inform=tag == INFORM)


def _from_v1(pdu: Reader) -> Trap:
    enterprise, address = pdu.oid(), pdu.octets(_IP_ADDRESS)
    generic, specific = pdu.integer(), pdu.integer()
    pdu.next()  # time-stamp
    if generic == _ENTERPRISE_SPECIFIC:
        trap = f"{enterprise}.0.{specific}"
    elif 0 <= generic < _ENTERPRISE_SPECIFIC:
        trap = f"{SNMP_TRAPS}.{generic + 1}"
    else:
        raise Undecodable("its generic-trap does not exist")
    said = _bindings(pdu)
    return Trap(trap, (*said, (_TRAP_ADDRESS, _address(address)), (_TRAP_ENTERPRISE, enterprise)))


def _bindings(pdu: Reader) -> tuple[tuple[str, Said], ...]:
    listed = pdu.inside(SEQUENCE)
    found: list[tuple[str, Said]] = []
    while listed.more:
        pair = listed.inside(SEQUENCE)
        found.append((pair.oid(), _said(*pair.next())))
    return tuple(one for one in found if one[0] != _TRAP_COMMUNITY)  # a secret, and of no use to anybody here


def _said(tag: int, inner: Reader) -> Said:
    raw = inner.rest()
    if tag in _NUMBERS:
        return to_integer(raw)
    if tag == OCTETS:
        return raw
    if tag == OID:
        return to_oid(raw)
    return _address(raw) if tag == _IP_ADDRESS else None


def _address(raw: bytes) -> str:
    if len(raw) != _FOUR:
        raise Undecodable("an IpAddress has four bytes")
    return str(ipaddress.IPv4Address(raw))


def text_of(said: Said) -> str:
    """It as people read it."""
    return said.decode(errors="replace") if isinstance(said, bytes) else "" if said is None else str(said)


def _shown(said: Said) -> str:
    return repr(text_of(said)) if isinstance(said, bytes) else text_of(said)
