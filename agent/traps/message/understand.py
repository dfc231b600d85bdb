"""From a datagram to what it says and who says it, and what to answer. Nothing is read of what has not been proved."""

import secrets as chance
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from watchkeeper.agent.traps.message.ber import BerReader, Undecodable
from watchkeeper.agent.traps.message.decode import (
    CommunityMessage,
    Trap,
    UsmMessage,
    answer_to,
    open_message,
    open_scoped,
    trap_of,
)
from watchkeeper.agent.traps.message.engine import NOT_IN_WINDOW, UNKNOWN_ENGINE, build_report
from watchkeeper.agent.traps.message.peers import Peer, at_engine, by_community, by_user
from watchkeeper.agent.traps.message.usm import Keys, LocalEngine, TrapRefused, build_message, decrypt, engine_id
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import Clock

_SALT_BYTES = 8


@dataclass(frozen=True, slots=True)
class ReceivedTrap:
    """A datagram understood: whose trap it is, if any, and the answer to send, if any."""

    peer: Peer | None = None
    trap: Trap | None = None
    answer: bytes = b""


class TrapReader:
    """See the module. `agent` is whose engine informs are sent to."""

    def __init__(self, agent: str, clock: Clock, secrets: Secrets) -> None:
        self._engine, self._clock, self._secrets = engine_id(agent), clock, secrets
        self._reports: Counter[str] = Counter()

    def read(self, datagram: bytes, peers: Sequence[Peer]) -> ReceivedTrap:
        """Understand what came from where these peers are. Raises Undecodable, Refused, and NotLearnt where a peer must be
        asked for its engine first."""
        message = open_message(datagram)
        if isinstance(message, CommunityMessage):
            peer = by_community(message, peers, self._secrets)
            pdu = message.pdu()
            answer = answer_to(pdu)
            trap = trap_of(pdu)
            return ReceivedTrap(peer, trap, answer if trap.inform else b"")
        if not any(peer.secured for peer in peers):
            raise TrapRefused("it speaks SNMPv3, and the inventory does not say version 3")
        here = LocalEngine.at(self._engine, self._clock.wall())
        if message.engine == here.engine:
            return self._inform(message, here, peers)
        if message.flags & UsmMessage.REPORTABLE:  # an inform's sender looks for our engine (RFC 3414, 4)
            return ReceivedTrap(answer=self._report(here, message, Keys(), UNKNOWN_ENGINE))
        return self._trap(message, peers)

    def _trap(self, message: UsmMessage, peers: Sequence[Peer]) -> ReceivedTrap:
        peer, keys = at_engine(message, peers, self._secrets)
        if keys.auth and not peer.window.admits(message.boots, message.time, self._clock.boot()):
            raise TrapRefused("it was sent before, or the device's clock of SNMP was set back (engine boots and time)")
        return ReceivedTrap(peer, trap_of(_in_clear(message, keys)))

    def _inform(self, message: UsmMessage, here: LocalEngine, peers: Sequence[Peer]) -> ReceivedTrap:
        peer, keys = by_user(message, here.engine, peers, self._secrets)
        if keys.auth and not here.admits(message):
            return ReceivedTrap(answer=self._report(here, message, replace(keys, priv=None), NOT_IN_WINDOW))
        pdu = _in_clear(message, keys)
        answer = answer_to(pdu)
        trap = trap_of(pdu)
        if not trap.inform:
            return ReceivedTrap(peer, trap)
        salt = chance.token_bytes(_SALT_BYTES) if keys.priv else b""
        return ReceivedTrap(peer, trap, build_message(here, message.msg_id, message.user, keys, answer, salt=salt))

    def _report(self, here: LocalEngine, message: UsmMessage, keys: Keys, about: str) -> bytes:
        self._reports[about] += 1
        return build_report(here, message, keys, about, self._reports[about])


def _in_clear(message: UsmMessage, keys: Keys) -> BerReader:
    body = decrypt(message, keys)
    try:
        return open_scoped(body)
    except Undecodable:
        if keys.priv is None:
            raise
        raise TrapRefused("privacy password or protocol wrong") from None
