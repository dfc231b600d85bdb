"""Turns a datagram into a trap, its sender, and the answer. A PDU is read only after its sender is authenticated."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from secrets import token_bytes

from watchkeeper.agent.snmpv3.ber import BerReader, Undecodable
from watchkeeper.agent.snmpv3.message import CommunityMessage, UsmMessage, open_message, open_scoped
from watchkeeper.agent.snmpv3.remote import NOT_IN_WINDOW, UNKNOWN_ENGINE
from watchkeeper.agent.snmpv3.usm import Keys, LocalEngine, UsmRefused, build_message, decrypt, engine_id
from watchkeeper.agent.traps.message.decode import Trap, answer_to, trap_of
from watchkeeper.agent.traps.message.engine import build_report
from watchkeeper.agent.traps.message.peers import Peer, at_engine, by_community, by_user
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import Clock

_SALT_BYTES = 8

SENT_BEFORE = "it was sent before, or the device's SNMP clock was set back (engine boots and time)"


@dataclass(frozen=True, slots=True)
class ReceivedTrap:
    """A decoded datagram: the sender, if it has proved who it is; the trap, if it is a new one; and the answer to send, if any."""

    peer: Peer | None = None
    trap: Trap | None = None
    answer: bytes = b""


class TooManyTraps(Exception):
    """An authenticated device has sent more than it may."""


class TrapReader:
    """Authenticates and decodes datagrams. `agent` is the agent's name, from which its own SNMP engine id is made."""

    def __init__(self, agent: str, clock: Clock, secrets: Secrets) -> None:
        self._engine, self._clock, self._secrets = engine_id(agent), clock, secrets
        self._reports: Counter[str] = Counter()

    def read(
        self, datagram: bytes, peers: Sequence[Peer], accepts: Callable[[Peer], bool] = lambda _: True
    ) -> ReceivedTrap:
        """Read a datagram that came from the address of these peers. `accepts` is asked once its sender is authenticated, and
        before its PDU is read. Raises Undecodable, UsmRefused, TooManyTraps, and UnknownEngine if a peer must be asked for its
        engine first."""
        message = open_message(datagram)
        if isinstance(message, CommunityMessage):
            peer = by_community(message, peers, self._secrets)
            _charge(peer, accepts)
            pdu = message.pdu()
            answer = answer_to(pdu)
            trap = trap_of(pdu)
            return ReceivedTrap(peer, trap, answer if trap.inform else b"")
        if not any(peer.secured for peer in peers):
            raise UsmRefused("the message is SNMPv3, but the inventory does not say version 3")
        local = LocalEngine.at(self._engine, self._clock.wall())
        if message.engine == local.engine:
            return self._read_inform(message, local, peers, accepts)
        if message.flags & UsmMessage.REPORTABLE:  # the sender of an inform asks for our engine id (RFC 3414, 4)
            return ReceivedTrap(answer=self._report(local, message, Keys(), UNKNOWN_ENGINE))
        return self._read_trap(message, peers, accepts)

    def _read_trap(self, message: UsmMessage, peers: Sequence[Peer], accepts: Callable[[Peer], bool]) -> ReceivedTrap:
        peer, keys = at_engine(message, peers, self._secrets)
        if keys.auth and not peer.window.admits(message.boots, message.time, self._clock.boot()):
            raise UsmRefused(SENT_BEFORE)
        if peer.heard_before(message.digest):
            raise UsmRefused(SENT_BEFORE)
        _charge(peer, accepts)
        return ReceivedTrap(peer, trap_of(_decrypted_pdu(message, keys)))

    def _read_inform(
        self, message: UsmMessage, local: LocalEngine, peers: Sequence[Peer], accepts: Callable[[Peer], bool]
    ) -> ReceivedTrap:
        peer, keys = by_user(message, local.engine, peers, self._secrets)
        if keys.auth and not local.admits(message):
            return ReceivedTrap(peer, answer=self._report(local, message, replace(keys, priv=None), NOT_IN_WINDOW))
        repeated = peer.heard_before(message.digest)
        if not repeated:
            _charge(peer, accepts)
        pdu = _decrypted_pdu(message, keys)
        answer = answer_to(pdu)
        trap = trap_of(pdu)
        if not trap.inform:
            return ReceivedTrap(peer, trap)
        salt = token_bytes(_SALT_BYTES) if keys.priv else b""
        answer = build_message(local, message.msg_id, message.user, keys, answer, salt=salt)
        return ReceivedTrap(peer, None if repeated else trap, answer)

    def _report(self, local: LocalEngine, message: UsmMessage, keys: Keys, about: str) -> bytes:
        self._reports[about] += 1
        return build_report(local, message, keys, about, self._reports[about])


def _charge(peer: Peer, accepts: Callable[[Peer], bool]) -> None:
    if not accepts(peer):
        raise TooManyTraps


def _decrypted_pdu(message: UsmMessage, keys: Keys) -> BerReader:
    body = decrypt(message, keys)
    try:
        return open_scoped(body)
    except Undecodable:
        if keys.priv is None:
            raise
        raise UsmRefused("privacy password or protocol wrong") from None
