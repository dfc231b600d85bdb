"""The devices that may send traps, and how they authenticate. Secrets are read when they are needed, and not kept."""

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from watchkeeper.agent.snmpv3.message import CommunityMessage, UsmMessage
from watchkeeper.agent.snmpv3.usm import Keys, TimeWindow, User, UsmRefused, verify_digest
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.device import Device, Snmp, SnmpVersion
from watchkeeper.model.errors import SecretError

LEARN_EVERY_S = 60.0
MAX_WAITING = 20
WAITING_BYTES = 4096  # of one datagram that waits
MAX_DIGESTS = 512  # more than a device may send in the time in which a message is recent (RFC 3414, 2.2.3)


class UnknownEngine(Exception):
    """The message names an SNMP engine that is not known to be the device's."""


@dataclass(slots=True, eq=False)
class Peer:
    """A device that may send. `engine` is the engine id that it gave when it was asked at boot time `learnt_at`. While
    it is being `asked`, its datagrams are `waiting`."""

    device: Device
    snmp: Snmp
    engine: bytes = b""
    learnt_at: float = float("-inf")
    asked: bool = False
    window: TimeWindow = field(default_factory=TimeWindow)
    waiting: list[bytes] = field(default_factory=list)
    digests: dict[bytes, None] = field(default_factory=dict)

    def heard_before(self, digest: bytes) -> bool:
        """Whether an authenticated message with this digest came before: it was recorded and sent again, or it is an inform
        of which our answer was lost. Notes it. Messages without a digest prove nothing."""
        if digest in self.digests:
            return True
        if digest:
            self.digests[digest] = None
            if len(self.digests) > MAX_DIGESTS:
                del self.digests[next(iter(self.digests))]
        return False

    @property
    def secured(self) -> bool:
        """Whether it uses SNMPv3."""
        return self.snmp.version is SnmpVersion.V3

    def user(self, secrets: Secrets) -> User:
        """Its user. Raises UsmRefused if a secret is missing."""
        snmp = self.snmp
        return User(
            snmp.user.encode(),
            snmp.auth,
            _read_secret(snmp.auth_secret, secrets),
            snmp.priv,
            _read_secret(snmp.priv_secret, secrets),
        )


def by_community(message: CommunityMessage, peers: Iterable[Peer], secrets: Secrets) -> Peer:
    """The first peer with the message's community. Raises UsmRefused."""
    candidates = [peer for peer in peers if not peer.secured]
    if not candidates:
        raise UsmRefused("the message is SNMPv1 or v2c, but the inventory says version 3")
    refusal = UsmRefused("community wrong: it must be the one by which the device is polled")
    for peer in candidates:
        try:
            if hmac.compare_digest(_read_secret(peer.snmp.community, secrets), message.community):
                return peer
        except UsmRefused as refused:
            refusal = refused
    raise refusal


def by_user(message: UsmMessage, engine: bytes, peers: Iterable[Peer], secrets: Secrets) -> tuple[Peer, Keys]:
    """The first peer with the message's user whose keys at that engine fit. Raises UsmRefused."""
    refusal = UsmRefused("user unknown: it must be the one by which the device is polled")
    for peer in peers:
        if not peer.secured or peer.snmp.user.encode() != message.user:
            continue
        try:
            keys = peer.user(secrets).keys(engine)
            verify_digest(message, keys)
        except UsmRefused as refused:
            refusal = refused
        else:
            return peer, keys
    raise refusal


def at_engine(message: UsmMessage, peers: Sequence[Peer], secrets: Secrets) -> tuple[Peer, Keys]:
    """The sender of a trap, whose own engine the message names. Raises UsmRefused; UnknownEngine if the peers must be
    asked for their engines first."""
    known = [peer for peer in peers if peer.engine and peer.engine == message.engine]
    if not known:
        raise UnknownEngine
    return by_user(message, message.engine, known, secrets)


def _read_secret(name: str, secrets: Secrets) -> bytes:
    try:
        return secrets.get(name).reveal().encode() if name else b""
    except SecretError as error:
        raise UsmRefused(str(error)) from None
