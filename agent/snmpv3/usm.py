"""The User-based Security Model for received messages: keys, digests, encryption and time windows (RFC 3414, RFC 3826,
RFC 7860, and the longer AES keys of draft-blumenthal-aes-usm-04 and draft-reeder-snmpv3-usm-3desede-00). Pure."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType

from watchkeeper.agent.snmpv3 import ber
from watchkeeper.agent.snmpv3.message import USM, V3, UsmMessage
from watchkeeper.model.device import SnmpAuth, SnmpPriv

WINDOW_S = 150  # RFC 3414, 2.2.3
LAST_BOOTS = 2**31 - 1
BOOT_S = 2**31
_MEGABYTE = 2**20
_BLOCK_BYTES = 8
_MAX_MESSAGE_BYTES = 65_507  # the payload of one UDP datagram

_AUTH_HASHES: Mapping[SnmpAuth, tuple[str, int]] = MappingProxyType(
    {
        SnmpAuth.MD5: ("md5", 12),
        SnmpAuth.SHA: ("sha1", 12),
        SnmpAuth.SHA224: ("sha224", 16),
        SnmpAuth.SHA256: ("sha256", 24),
        SnmpAuth.SHA384: ("sha384", 32),
        SnmpAuth.SHA512: ("sha512", 48),
    }
)
"""Each protocol's hash, and how many bytes of its HMAC are sent (RFC 3414, 6 and 7; RFC 7860, 4)."""

_PRIV_KEY_BYTES: Mapping[SnmpPriv, int] = MappingProxyType(
    {
        SnmpPriv.DES: 16,
        SnmpPriv.AES: 16,
        SnmpPriv.AES192: 24,
        SnmpPriv.AES256: 32,
        SnmpPriv.AES192C: 24,
        SnmpPriv.AES256C: 32,
    }
)
_REEDER = frozenset({SnmpPriv.AES192C, SnmpPriv.AES256C})
"""The bytes of each protocol's key; the second half of DES's is the pre-IV (RFC 3414, 8.1.1.1)."""


class UsmRefused(Exception):
    """The sender is not authenticated. The text says what to check, and never contains a secret."""


@dataclass(frozen=True, slots=True)
class User:
    """A user with protocols and passwords in the clear. Its repr leaves out the passwords."""

    name: bytes
    auth: SnmpAuth | None = None
    auth_password: bytes = field(default=b"", repr=False)
    priv: SnmpPriv | None = None
    priv_password: bytes = field(default=b"", repr=False)

    def keys(self, engine: bytes) -> "Keys":
        """The user's keys at that engine."""
        if self.auth is None:
            return Keys()
        keys = Keys(self.auth, localized(self.auth, self.auth_password, engine))
        if self.priv is None:
            return keys
        key, size = localized(self.auth, self.priv_password, engine), _PRIV_KEY_BYTES[self.priv]
        last = key
        while len(key) < size:
            # Reeder: the last part is the password of the next one. Blumenthal: the hash of all parts so far.
            last = localized(self.auth, last, engine) if self.priv in _REEDER else _hash(self.auth, key)
            key += last
        return replace(keys, priv=self.priv, priv_key=key[:size])


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one user at one engine, and their protocols."""

    auth: SnmpAuth | None = None
    auth_key: bytes = field(default=b"", repr=False)
    priv: SnmpPriv | None = None
    priv_key: bytes = field(default=b"", repr=False)

    @property
    def flags(self) -> int:
        """The security level, as the flags of a message."""
        return UsmMessage.AUTH * (self.auth is not None) | UsmMessage.PRIV * (self.priv is not None)


def localized(auth: SnmpAuth, password: bytes, engine: bytes) -> bytes:
    """The key of a password at an engine (RFC 3414, A.2)."""
    key = _password_key(auth, password)
    return _hash(auth, key + engine + key)


@lru_cache(maxsize=256)
def _password_key(auth: SnmpAuth, password: bytes) -> bytes:
    """The key of a password for all engines. Cached, because the RFC makes it cost milliseconds."""
    if not password:
        raise UsmRefused("the password that the inventory names is empty")
    return _hash(auth, (password * (_MEGABYTE // len(password) + 1))[:_MEGABYTE])


def _hash(auth: SnmpAuth, text: bytes) -> bytes:
    return hashlib.new(_AUTH_HASHES[auth][0], text).digest()


# ---- received messages ----


def verify_digest(message: UsmMessage, keys: Keys) -> None:
    """Check that the sender holds the keys, and used all of them. Raises UsmRefused."""
    if message.flags & (UsmMessage.AUTH | UsmMessage.PRIV) != keys.flags:
        raise UsmRefused("its security level is not that of the inventory (`auth`, `priv`)")
    if keys.auth is None:
        return
    name, length = _AUTH_HASHES[keys.auth]
    blank = message.whole[: message.digest_at] + bytes(length) + message.whole[message.digest_at + length :]
    if not hmac.compare_digest(hmac.digest(keys.auth_key, blank, name)[:length], message.digest):
        raise UsmRefused("authentication password or protocol wrong")


def decrypt(message: UsmMessage, keys: Keys) -> bytes:
    """The scoped PDU of a verified message. Raises UsmRefused."""
    if keys.priv is None:
        return message.body
    if len(message.salt) != _BLOCK_BYTES or (keys.priv is SnmpPriv.DES and len(message.body) % _BLOCK_BYTES):
        raise UsmRefused("privacy protocol wrong")
    return _cipher(keys, message.boots, message.time, message.salt, message.body, encrypt=False)


def _cipher(keys: Keys, boots: int, time: int, salt: bytes, text: bytes, *, encrypt: bool) -> bytes:
    from watchkeeper.agent.snmpv3.cipher import apply_aes, apply_des  # noqa: PLC0415 -- needed only if a device encrypts

    if keys.priv is SnmpPriv.DES:
        return apply_des(keys.priv_key, salt, text, encrypt=encrypt)
    return apply_aes(keys.priv_key, boots, time, salt, text, encrypt=encrypt)


@dataclass(slots=True)
class TimeWindow:
    """The clock of another engine: its last boots and time, received `at` (seconds, boot clock)."""

    boots: int = 0
    time: int = 0
    at: float = 0.0

    def admits(self, boots: int, time: int, now: float) -> bool:
        """Whether a verified message is recent, and not an old one that was sent again (RFC 3414, 3.2, 7b)."""
        if (boots, time) > (self.boots, self.time):
            self.boots, self.time, self.at = boots, time, now
        due = self.time + int(now - self.at)
        return boots == self.boots != LAST_BOOTS and time >= due - WINDOW_S


# ---- messages that we send ----


@dataclass(frozen=True, slots=True)
class EngineTime:
    """An SNMP engine at one moment: its id, and its boots and time."""

    engine: bytes
    boots: int
    time: int


@dataclass(frozen=True, slots=True)
class LocalEngine(EngineTime):
    """Our own engine at one moment; informs are authenticated against it.

    Its time is the wall clock's, counted in boots of 2**31 seconds. So it continues over restarts without being stored,
    and an agent that has just started refuses old messages too."""

    @staticmethod
    def at(engine: bytes, wall: float) -> "LocalEngine":
        """The engine at that UTC time."""
        boots, time = divmod(int(wall), BOOT_S)
        return LocalEngine(engine, boots + 1, time)

    def admits(self, message: UsmMessage) -> bool:
        """Whether a verified message is recent (RFC 3414, 3.2, 7a)."""
        return message.boots == self.boots and abs(message.time - self.time) <= WINDOW_S


def engine_id(agent: str) -> bytes:
    """The engine id of an agent. It is made of the agent's name, so it never changes (RFC 3411, 5, SnmpEngineID:
    octets)."""
    return _EXAMPLE_ENTERPRISE + b"\x05" + hashlib.sha256(agent.encode()).digest()[:16]


_EXAMPLE_ENTERPRISE = (0x80000000 | 32473).to_bytes(4, "big")  # RFC 5612: the enterprise number for examples


def build_message(
    at: EngineTime,
    msg_id: int,
    user: bytes,
    keys: Keys,
    scoped: bytes,
    *,
    salt: bytes = b"",
    reportable: bool = False,
) -> bytes:
    """Build a whole message around a scoped PDU, authenticated against that engine. If the keys encrypt, `salt` is eight bytes that were never used
    before."""
    body = scoped
    if keys.priv:
        padded = scoped + bytes(-len(scoped) % _BLOCK_BYTES) if keys.priv is SnmpPriv.DES else scoped
        body = ber.octets(_cipher(keys, at.boots, at.time, salt, padded, encrypt=True))
    length = _AUTH_HASHES[keys.auth][1] if keys.auth else 0
    flags = bytes((keys.flags | UsmMessage.REPORTABLE * reportable,))
    header = ber.tlv(
        ber.SEQUENCE, ber.integer(msg_id), ber.integer(_MAX_MESSAGE_BYTES), ber.octets(flags), ber.integer(USM)
    )
    salted = ber.octets(salt)
    security = ber.tlv(
        ber.SEQUENCE, ber.octets(at.engine), ber.integer(at.boots), ber.integer(at.time),
        ber.octets(user), ber.octets(bytes(length)), salted,
    )  # fmt: skip
    whole = ber.tlv(ber.SEQUENCE, ber.integer(V3), header, ber.octets(security), body)
    if keys.auth is None:
        return whole
    digest = hmac.digest(keys.auth_key, whole, _AUTH_HASHES[keys.auth][0])[:length]
    after = len(whole) - len(body) - len(salted)
    return whole[: after - length] + digest + whole[after:]
