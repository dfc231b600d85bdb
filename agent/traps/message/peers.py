"""Who may send us traps, and how they prove that it is they. Secrets are read when they are needed, and not kept."""

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from watchkeeper.agent.traps.message.decode import CommunityMessage, UsmMessage
from watchkeeper.agent.traps.message.usm import Keys, TimeWindow, TrapRefused, User, verify_digest
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.device import Device, Snmp, SnmpVersion
from watchkeeper.model.errors import SecretError

LEARN_EVERY_S = 60.0
MAX_WAITING = 20


class UnknownEngine(Exception):
    """The message speaks of an engine that is not known to be the device's."""


@dataclass(slots=True, eq=False)
class Peer:
    """A device that may send. Its `engine` is what it said when it was asked at boot time `learnt_at`; while it
    is `asked`, datagrams are `waiting`."""

    device: Device
    snmp: Snmp
    engine: bytes = b""
    learnt_at: float = float("-inf")
    asked: bool = False
    window: TimeWindow = field(default_factory=TimeWindow)
    waiting: list[bytes] = field(default_factory=list)

    @property
    def secured(self) -> bool:
        """Whether it speaks v3."""
        return self.snmp.version is SnmpVersion.V3

    def user(self, secrets: Secrets) -> User:
        """Its user. Raises Refused where a secret is missing."""
        snmp = self.snmp
        return User(
            snmp.user.encode(),
            snmp.auth,
            _secret(snmp.auth_secret, secrets),
            snmp.priv,
            _secret(snmp.priv_secret, secrets),
        )


def by_community(message: CommunityMessage, peers: Iterable[Peer], secrets: Secrets) -> Peer:
    """The first whose community it is. Raises Refused."""
    plain = [peer for peer in peers if not peer.secured]
    if not plain:
        raise TrapRefused("it speaks SNMPv1 or v2c, and the inventory says version 3")
    wrong = TrapRefused("community wrong: it must be the one the device is asked with")
    for peer in plain:
        try:
            if hmac.compare_digest(_secret(peer.snmp.community, secrets), message.community):
                return peer
        except TrapRefused as refused:
            wrong = refused
    raise wrong


def by_user(message: UsmMessage, engine: bytes, peers: Iterable[Peer], secrets: Secrets) -> tuple[Peer, Keys]:
    """The first whose user it is and whose keys at that engine fit. Raises Refused."""
    wrong = TrapRefused("user unknown: it must be the one the device is asked with")
    for peer in peers:
        if not peer.secured or peer.snmp.user.encode() != message.user:
            continue
        try:
            keys = peer.user(secrets).keys(engine)
            verify_digest(message, keys)
        except TrapRefused as refused:
            wrong = refused
        else:
            return peer, keys
    raise wrong


def at_engine(message: UsmMessage, peers: Sequence[Peer], secrets: Secrets) -> tuple[Peer, Keys]:
    """Who sent a trap as the engine it speaks of. Raises Refused, or NotLearnt where somebody's must be asked for."""
    known = [peer for peer in peers if peer.engine and peer.engine == message.engine]
    if not known:
        raise UnknownEngine
    return by_user(message, message.engine, known, secrets)


def _secret(name: str, secrets: Secrets) -> bytes:
    try:
        return secrets.get(name).reveal().encode() if name else b""
    except SecretError as error:
        raise TrapRefused(str(error)) from None
