"""The manager's side of SNMPv3 (RFC 3414, 3.1, 3.2 and 4): the device's engine as it is known, requests to it, and what
may be believed of a datagram that comes back. Pure: times are seconds of a monotonic clock, and the caller chooses the
random numbers.

An answer is believed only if its digest is right, its security level is that of the request, it is of the same engine,
user, message and request, and it is in the time window. A report without a digest is believed only about how to ask:
which engine is there, and its time. Its values are never read."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from watchkeeper.agent.snmpv3 import ber
from watchkeeper.agent.snmpv3.ber import Undecodable
from watchkeeper.agent.snmpv3.message import UsmMessage, open_scoped
from watchkeeper.agent.snmpv3.pdu import GET, REPORT, Pdu, build_pdu, open_pdu
from watchkeeper.agent.snmpv3.usm import (
    EngineTime,
    Keys,
    TimeWindow,
    User,
    UsmRefused,
    build_message,
    decrypt,
    verify_digest,
)

UNSUPPORTED_LEVEL = "1.3.6.1.6.3.15.1.1.1.0"  # usmStatsUnsupportedSecLevels.0 (RFC 3414, 5)
NOT_IN_WINDOW = "1.3.6.1.6.3.15.1.1.2.0"  # usmStatsNotInTimeWindows.0
UNKNOWN_USER = "1.3.6.1.6.3.15.1.1.3.0"  # usmStatsUnknownUserNames.0
UNKNOWN_ENGINE = "1.3.6.1.6.3.15.1.1.4.0"  # usmStatsUnknownEngineIDs.0
WRONG_DIGEST = "1.3.6.1.6.3.15.1.1.5.0"  # usmStatsWrongDigests.0
DECRYPTION_ERROR = "1.3.6.1.6.3.15.1.1.6.0"  # usmStatsDecryptionErrors.0

_SALTS = 2**64
_LAST_TIME = 2**31 - 1  # RFC 3414, 2.3
_LONGEST_ENGINE = 32  # bytes (RFC 3411, 5, SnmpEngineID)
_NOWHERE = EngineTime(b"", 0, 0)


class Heard(Enum):
    """What a datagram means for the request that it answers, if it is no response."""

    ASK_AGAIN = "the device told its engine id or its time"
    REFUSED = "the device does not accept the user, the password or the security level"
    NOT_DECRYPTED = "the device cannot decrypt the request"
    OTHER_REPORT = "the device cannot process the request"


_REPORTS = {
    UNKNOWN_ENGINE: Heard.ASK_AGAIN,
    NOT_IN_WINDOW: Heard.ASK_AGAIN,
    UNSUPPORTED_LEVEL: Heard.REFUSED,
    UNKNOWN_USER: Heard.REFUSED,
    WRONG_DIGEST: Heard.REFUSED,
    DECRYPTION_ERROR: Heard.NOT_DECRYPTED,
}


@dataclass(frozen=True, slots=True)
class Question:
    """A request as a `whole` message, with the ids, the engine and the keys that its answer must have. A question
    without an engine asks which engine is there."""

    msg_id: int
    request_id: int
    engine: bytes
    keys: Keys = field(repr=False)
    whole: bytes = field(repr=False)


def discovery(msg_id: int) -> Question:
    """Asks an engine for its id (RFC 3414, 4)."""
    scoped = _scoped(b"", build_pdu(GET, 0, ()))
    return Question(msg_id, 0, b"", Keys(), build_message(_NOWHERE, msg_id, b"", Keys(), scoped, reportable=True))


def _never_proved() -> TimeWindow:
    return TimeWindow(time=-1)


@dataclass(slots=True)
class RemoteEngine:
    """The engine of one device, and the user by whom it is asked. `salt` is a random number to count from: no salt may
    be used twice with a key. `told` is the time that the device told last, also without a digest: it serves only to
    ask. `proved` is the latest time that it told with a digest."""

    user: User
    salt: int
    engine: bytes = b""
    keys: Keys = field(default_factory=Keys)
    told: EngineTime = _NOWHERE
    told_at: float = 0.0
    proved: TimeWindow = field(default_factory=_never_proved)

    @property
    def known(self) -> bool:
        """Whether the engine has told its id."""
        return bool(self.engine)

    def ask(self, tag: int, oids: Sequence[str], numbers: tuple[int, int], now: float, rows: int = 0) -> Question:
        """A request to the engine. `numbers` are two random ones below 2**31: an answer that was recorded before, or
        made by somebody who does not see the request, does not have them."""
        msg_id, request_id = numbers
        scoped = _scoped(self.engine, build_pdu(tag, request_id, oids, rows))
        at = EngineTime(self.engine, self.told.boots, min(self.told.time + int(now - self.told_at), _LAST_TIME))
        salt = b""
        if self.keys.priv:
            self.salt = (self.salt + 1) % _SALTS
            salt = self.salt.to_bytes(8, "big")
        whole = build_message(at, msg_id, self.user.name, self.keys, scoped, salt=salt, reportable=True)
        return Question(msg_id, request_id, self.engine, self.keys, whole)

    def hear(self, message: UsmMessage, asked: Question, now: float) -> Pdu | Heard:
        """What the message means for the request whose id it has. Raises UsmRefused if it may be somebody else's, and
        Undecodable if it is not SNMP."""
        if not message.authenticated:
            return self._hear_report(message, asked, now)
        if not asked.engine or message.engine != asked.engine or message.user != self.user.name:
            raise UsmRefused("it is of another engine or user")
        keys = asked.keys if message.private else replace(asked.keys, priv=None)
        verify_digest(message, keys)
        if not self.proved.admits(message.boots, message.time, now):
            raise UsmRefused("it was sent before, or the device's SNMP clock was set back (engine boots and time)")
        pdu = open_pdu(open_scoped(decrypt(message, keys)))
        if pdu.tag == REPORT:
            heard = _REPORTS.get(_reported(pdu), Heard.OTHER_REPORT)
        elif keys.flags != asked.keys.flags:
            raise UsmRefused("it is not encrypted, but the request was")
        elif pdu.request_id != asked.request_id:
            raise UsmRefused("it answers another request")
        self._note_time(message, now)
        return heard if pdu.tag == REPORT else pdu

    def _hear_report(self, message: UsmMessage, asked: Question, now: float) -> Heard:
        """Without a digest, a message can be nothing but a report, and its values are not read."""
        if message.private:
            raise UsmRefused("it is encrypted without a digest")
        pdu = open_pdu(open_scoped(message.body))
        if pdu.tag != REPORT:
            raise UsmRefused("it has no digest")
        about = _reported(pdu)
        heard = _REPORTS.get(about)
        if heard is Heard.ASK_AGAIN or not asked.engine:
            self._meet(message, now)
            return Heard.ASK_AGAIN
        if heard is None:
            raise UsmRefused("it is a report without a digest")
        return heard

    def _meet(self, message: UsmMessage, now: float) -> None:
        """Ask that engine from now on. Its keys are made from the passwords, so an impostor's engine learns nothing that
        makes its answers believed."""
        if not 0 < len(message.engine) <= _LONGEST_ENGINE:
            raise Undecodable("its engine id is empty or too long")
        if message.engine != self.engine:
            self.keys = self.user.keys(message.engine)
            self.engine, self.proved = message.engine, _never_proved()
        self._note_time(message, now)

    def _note_time(self, message: UsmMessage, now: float) -> None:
        self.told, self.told_at = EngineTime(message.engine, message.boots, message.time), now


def _scoped(engine: bytes, pdu: bytes) -> bytes:
    return ber.tlv(ber.SEQUENCE, ber.octets(engine), ber.octets(b""), pdu)


def _reported(pdu: Pdu) -> str:
    """The object that a report is about. A report without one is about nothing known."""
    return pdu.listed.inside(ber.SEQUENCE).oid() if pdu.listed.more else ""
