"""The parts of an SNMP message (v1, v2c, v3) that name its sender, read before its PDU. Pure; raises nothing but
Undecodable."""

from dataclasses import dataclass

from watchkeeper.agent.snmpv3.ber import OCTETS, SEQUENCE, BerReader, Undecodable

V1, V2C, V3 = 0, 1, 3  # RFC 3584, 4.2; RFC 3412, 6
USM = 3  # RFC 3411, 5

_TIME_LIMIT = 2**31  # of snmpEngineBoots and snmpEngineTime (RFC 3414, 2.3)


@dataclass(frozen=True, slots=True)
class CommunityMessage:
    """A message of v1 or v2c. Its PDU begins at offset `at` in `whole`."""

    whole: bytes
    version: int
    community: bytes
    at: int

    def pdu(self) -> BerReader:
        """Its PDU, not read yet."""
        return BerReader(self.whole, self.at, len(self.whole))


@dataclass(frozen=True, slots=True)
class UsmMessage:
    """A message of v3 under the User-based Security Model (RFC 3412, 6; RFC 3414, 2.4). `digest` is at offset
    `digest_at` in `whole`. `body` is the scoped PDU, in the clear or encrypted."""

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
        """Whether its flags say that it has a digest."""
        return bool(self.flags & UsmMessage.AUTH)

    @property
    def private(self) -> bool:
        """Whether its flags say that it is encrypted."""
        return bool(self.flags & UsmMessage.PRIV)


def open_message(datagram: bytes) -> CommunityMessage | UsmMessage:
    """Read the part of a message that names its sender. Bytes after the message are cut off."""
    outer = BerReader(datagram, 0, len(datagram))
    message = outer.inside(SEQUENCE)
    whole = datagram[: outer.at]
    version = message.integer()
    if version in (V1, V2C):
        return CommunityMessage(whole, version, message.octets(), message.at)
    if version != V3:
        raise Undecodable("its version of SNMP does not exist")
    return _open_usm(whole, message)


def _open_usm(whole: bytes, message: BerReader) -> UsmMessage:
    header = message.inside(SEQUENCE)
    msg_id, _max_size, flags, model = header.integer(), header.integer(), header.octets(), header.integer()
    if len(flags) != 1 or model != USM:
        raise Undecodable("its security model is not the User-based Security Model")
    security = message.inside(OCTETS).inside(SEQUENCE)
    engine, boots, time = security.octets(), security.integer(), security.integer()
    if not (0 <= boots < _TIME_LIMIT and 0 <= time < _TIME_LIMIT):
        raise Undecodable("its engine boots or time is out of range")
    user, digest = security.octets(), security.octets()
    digest_at = security.at - len(digest)
    salt = security.octets()
    body = message.octets() if flags[0] & UsmMessage.PRIV else message.rest()
    return UsmMessage(whole, msg_id, flags[0], engine, boots, time, user, digest, digest_at, salt, body)


def open_scoped(body: bytes) -> BerReader:
    """The PDU inside a scoped PDU in the clear (RFC 3412, 6), not read yet. Padding is cut off."""
    scoped = BerReader(body, 0, len(body)).inside(SEQUENCE)
    scoped.octets()  # contextEngineID
    scoped.octets()  # contextName
    return scoped
