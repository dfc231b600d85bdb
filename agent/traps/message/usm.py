"""The User-based Security Model for what is sent to us (RFC 3414; RFC 3826, RFC 7860 and the longer AES keys of
draft-blumenthal-aes-usm-04): keys, digests, encryption, time windows. Pure."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType

from watchkeeper.agent.traps.message import ber
from watchkeeper.agent.traps.message.decode import USM, V3, UsmMessage
from watchkeeper.model.device import SnmpAuth, SnmpPriv

WINDOW_S = 150  # RFC 3414, 2.2.3
LAST_BOOTS = 2**31 - 1
BOOT_S = 2**31
_MEGABYTE = 2**20
_BLOCK = 8
_LARGEST = 65_507  # what one datagram holds

_AUTH: Mapping[SnmpAuth, tuple[str, int]] = MappingProxyType(
    {
        SnmpAuth.MD5: ("md5", 12),
        SnmpAuth.SHA: ("sha1", 12),
        SnmpAuth.SHA224: ("sha224", 16),
        SnmpAuth.SHA256: ("sha256", 24),
        SnmpAuth.SHA384: ("sha384", 32),
        SnmpAuth.SHA512: ("sha512", 48),
    }
)
"""Each protocol's hash, and how much of its HMAC is sent (RFC 3414, 6 and 7; RFC 7860, 4)."""

_PRIV_KEY: Mapping[SnmpPriv, int] = MappingProxyType(
    {SnmpPriv.DES: 16, SnmpPriv.AES: 16, SnmpPriv.AES192: 24, SnmpPriv.AES256: 32}
)
"""Bytes of key each protocol takes; DES's second half is its pre-IV (RFC 3414, 8.1.1.1)."""


class TrapRefused(Exception):
    """Whoever sent it has not shown who they are; says what to look at, without any secret."""


@dataclass(frozen=True, slots=True)
class User:
    """A user and how they prove it, secrets in the clear. Never shows itself."""

    name: bytes
    auth: SnmpAuth | None = None
    auth_password: bytes = field(default=b"", repr=False)
    priv: SnmpPriv | None = None
    priv_password: bytes = field(default=b"", repr=False)

    def keys(self, engine: bytes) -> "Keys":
        """Their keys at that engine."""
        if self.auth is None:
            return Keys()
        keys = Keys(self.auth, localized(self.auth, self.auth_password, engine))
        if self.priv is None:
            return keys
        key, size = localized(self.auth, self.priv_password, engine), _PRIV_KEY[self.priv]
        while len(key) < size:
            key += _hashed(self.auth, key)
        return replace(keys, priv=self.priv, priv_key=key[:size])


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of one user at one engine, and what they are for."""

    auth: SnmpAuth | None = None
    auth_key: bytes = field(default=b"", repr=False)
    priv: SnmpPriv | None = None
    priv_key: bytes = field(default=b"", repr=False)

    @property
    def flags(self) -> int:
        """The security level, as a message says it."""
        return UsmMessage.AUTH * (self.auth is not None) | UsmMessage.PRIV * (self.priv is not None)


def localized(auth: SnmpAuth, password: bytes, engine: bytes) -> bytes:
    """The key of a password at an engine (RFC 3414, A.2)."""
    stretched = _stretched(auth, password)
    return _hashed(auth, stretched + engine + stretched)


@lru_cache(maxsize=256)
def _stretched(auth: SnmpAuth, password: bytes) -> bytes:
    """Costs milliseconds, on purpose."""
    if not password:
        raise TrapRefused("the inventory's password for it is empty")
    return _hashed(auth, (password * (_MEGABYTE // len(password) + 1))[:_MEGABYTE])


def _hashed(auth: SnmpAuth, text: bytes) -> bytes:
    return hashlib.new(_AUTH[auth][0], text).digest()


# ---- in ----


def verify_digest(message: UsmMessage, keys: Keys) -> None:
    """Whoever sent the message holds the keys, and used all of them. Raises Refused."""
    if message.flags & (UsmMessage.AUTH | UsmMessage.PRIV) != keys.flags:
        raise TrapRefused("its security level is not that of the inventory (`auth`, `priv`)")
    if keys.auth is None:
        return
    name, length = _AUTH[keys.auth]
    blank = message.whole[: message.digest_at] + bytes(length) + message.whole[message.digest_at + length :]
    if not hmac.compare_digest(hmac.digest(keys.auth_key, blank, name)[:length], message.digest):
        raise TrapRefused("authentication password or protocol wrong")


def decrypt(message: UsmMessage, keys: Keys) -> bytes:
    """The scoped PDU of a verified message. Raises Refused."""
    if keys.priv is None:
        return message.body
    if len(message.salt) != _BLOCK or (keys.priv is SnmpPriv.DES and len(message.body) % _BLOCK):
        raise TrapRefused("privacy protocol wrong")
    return _cipher(keys, message.boots, message.time, message.salt, message.body, encrypt=False)


def _cipher(keys: Keys, boots: int, time: int, salt: bytes, text: bytes, *, encrypt: bool) -> bytes:
    """AES in CFB128 (RFC 3826, 3.1.2) or DES in CBC (RFC 3414, 8.1.1)."""
    from cryptography.hazmat.decrepit.ciphers import algorithms, modes  # noqa: PLC0415 -- only where a device encrypts
    from cryptography.hazmat.primitives.ciphers import Cipher  # noqa: PLC0415 -- the same
    from cryptography.hazmat.primitives.ciphers.algorithms import AES  # noqa: PLC0415 -- the same
    from cryptography.hazmat.primitives.ciphers.modes import CBC  # noqa: PLC0415 -- the same

    cipher: Cipher[CBC | modes.CFB]
    if keys.priv is SnmpPriv.DES:
        key, start = keys.priv_key[:_BLOCK], keys.priv_key[_BLOCK:]
        vector = bytes(one ^ other for one, other in zip(start, salt, strict=True))
        cipher = Cipher(algorithms.TripleDES(key * 3), CBC(vector))
    else:
        vector = boots.to_bytes(4, "big") + time.to_bytes(4, "big") + salt
        cipher = Cipher(AES(keys.priv_key), modes.CFB(vector))
    way = cipher.encryptor() if encrypt else cipher.decryptor()
    return way.update(text) + way.finalize()


@dataclass(slots=True)
class TimeWindow:
    """What is known of another engine's clock: its last boots and time, heard `at` (seconds, boot clock)."""

    boots: int = 0
    time: int = 0
    at: float = 0.0

    def admits(self, boots: int, time: int, now: float) -> bool:
        """Whether a verified message is of this moment, and not one of old sent again (RFC 3414, 3.2, 7b)."""
        if (boots, time) > (self.boots, self.time):
            self.boots, self.time, self.at = boots, time, now
        due = self.time + int(now - self.at)
        return boots == self.boots != LAST_BOOTS and time >= due - WINDOW_S


# ---- out ----


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """Our own engine at one moment: what informs are authenticated against.

    Its time is the wall clock's, counted in boots of 2**31 seconds: so it goes on over restarts without being kept, and a
    message of old is refused even by an agent that has just started."""

    engine: bytes
    boots: int
    time: int

    @staticmethod
    def at(engine: bytes, wall: float) -> "LocalEngine":
        """At that UTC time."""
        boots, time = divmod(int(wall), BOOT_S)
        return LocalEngine(engine, boots + 1, time)

    def admits(self, message: UsmMessage) -> bool:
        """Whether a verified message is of this moment (RFC 3414, 3.2, 7a)."""
        return message.boots == self.boots and abs(message.time - self.time) <= WINDOW_S


def engine_id(agent: str) -> bytes:
    """The engine id of an agent: of its name, so that it is the same for ever (RFC 3411, 5, SnmpEngineID: octets)."""
    return _EXAMPLE + b"\x05" + hashlib.sha256(agent.encode()).digest()[:16]


_EXAMPLE = (0x80000000 | 32473).to_bytes(4, "big")  # RFC 5612: an enterprise number that belongs to nobody


def build_message(
    here: LocalEngine,
    msg_id: int,
    user: bytes,
    keys: Keys,
    scoped: bytes,
    *,
    salt: bytes = b"",
    reportable: bool = False,
) -> bytes:
    """A whole message of ours around a scoped PDU. `salt` are eight bytes never used before, where the keys encrypt."""
    body = scoped
    if keys.priv:
        padded = scoped + bytes(-len(scoped) % _BLOCK) if keys.priv is SnmpPriv.DES else scoped
        body = ber.octets(_cipher(keys, here.boots, here.time, salt, padded, encrypt=True))
    length = _AUTH[keys.auth][1] if keys.auth else 0
    flags = bytes((keys.flags | UsmMessage.REPORTABLE * reportable,))
    header = ber.tlv(ber.SEQUENCE, ber.integer(msg_id), ber.integer(_LARGEST), ber.octets(flags), ber.integer(USM))
    salted = ber.octets(salt)
    security = ber.tlv(
        ber.SEQUENCE, ber.octets(here.engine), ber.integer(here.boots), ber.integer(here.time),
        ber.octets(user), ber.octets(bytes(length)), salted,
    )  # fmt: skip
    whole = ber.tlv(ber.SEQUENCE, ber.integer(V3), header, ber.octets(security), body)
    if keys.auth is None:
        return whole
    digest = hmac.digest(keys.auth_key, whole, _AUTH[keys.auth][0])[:length]
    after = len(whole) - len(body) - len(salted)
    return whole[: after - length] + digest + whole[after:]
