"""Personal signed links. Whoever opens one acts as one person on one thing: it is in the messages to that person. It names
the person, the thing and the time of issue, signed by HMAC-SHA256 (RFC 2104, with the first 128 bits of the tag).

Its key comes from a secret outside the store and from salts inside it. So a copy of the store makes no links, and new salts end
the links of one person or of all. No link is stored."""

import base64
import binascii
import contextlib
import hashlib
import hmac
import os
import secrets
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import sqlalchemy as sa

from watchkeeper.collector.store import troubles
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import link_salt, sign_in
from watchkeeper.documents.secrets import read_private
from watchkeeper.model.clock import Clock
from watchkeeper.model.errors import SecretError

TROUBLE, SIGN_IN = "trouble", "sign-in"
"""What a link can be about."""

LINK_AFTER_S = 86_400.0
"""For how long a link works after the end of its thing."""

SIGN_IN_S = 3600.0
"""For how long a person may sign in by a link that was sent on request."""

EVERYBODY = ""
SECRET_LENGTH = 32
"""The fewest characters of a secret that makes keys. A person who has one link could find a shorter secret by trying."""

_CODES = MappingProxyType({TROUBLE: 1, SIGN_IN: 2})
_ABOUT = MappingProxyType({code: about for about, code in _CODES.items()})
_HEAD = struct.Struct(">BLB")  # what it is about, when it was issued (UTC seconds), the length of the number
_TAG_BYTES = 16
_CONTEXT = b"watchkeeper link 1\n"
_LENGTH_LIMIT = 1200
_SALTS_MAX_AGE_S = 1.0


@dataclass(frozen=True, slots=True)
class Link:
    """What a link says: `person` may act on the thing that (`about`, `id`) names. `issued_at` is UTC seconds."""

    person: str
    about: str
    id: int
    issued_at: int


def seal(link: Link, key: bytes) -> str:
    """The link as a short text for a URL (base64url without padding). Raises KeyError for a thing that has no links."""
    number = link.id.to_bytes((link.id.bit_length() + 7) // 8)
    body = _HEAD.pack(_CODES[link.about], link.issued_at, len(number)) + number + link.person.encode()
    return base64.urlsafe_b64encode(_tag(key, body) + body).decode().rstrip("=")


def unseal(text: str, key_of: Callable[[str], bytes]) -> Link | None:
    """The link of a text; None if it is not signed with the key of its person, or is written in another way."""
    if len(text) > _LENGTH_LIMIT or not text.isascii():
        return None
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        tag, body = data[:_TAG_BYTES], data[_TAG_BYTES:]
        code, issued_at, length = _HEAD.unpack_from(body)
        number, name = body[_HEAD.size :][:length], body[_HEAD.size + length :]
        link = Link(name.decode(), _ABOUT[code], int.from_bytes(number), issued_at)
    except (binascii.Error, struct.error, UnicodeDecodeError, KeyError):
        return None
    key = key_of(link.person)
    if not hmac.compare_digest(tag, _tag(key, body)):
        return None
    return link if seal(link, key) == text else None  # base64 can write the same bytes in several ways


def _tag(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, _CONTEXT + body, hashlib.sha256)[:_TAG_BYTES]


def ends_at(connection: sa.Connection, link: Link) -> float | None:
    """When the link stops to work (UTC seconds); None while its thing is open; 0.0 if there is no such thing, or if the
    link was used and works once."""
    if link.about == SIGN_IN:
        mine = (sign_in.c.id == link.id, sign_in.c.person == link.person, sign_in.c.used_at.is_(None))
        asked_at = connection.execute(sa.select(sign_in.c.asked_at).where(*mine)).scalar()
        return 0.0 if asked_at is None else asked_at + SIGN_IN_S
    found = troubles.follow(connection, link.id)
    if found is None:
        return 0.0
    return None if found.ended_at is None else found.ended_at + LINK_AFTER_S


def spend(store: Store, link: Link, now: float) -> bool:
    """Use a link that works once. False if it was used already or has expired."""
    mine = (sign_in.c.id == link.id, sign_in.c.person == link.person, sign_in.c.used_at.is_(None))
    with store.write() as connection:
        spent = sa.update(sign_in).where(*mine, sign_in.c.asked_at > now - SIGN_IN_S)
        return link.about == SIGN_IN and connection.execute(spent, {"used_at": now}).rowcount == 1


def rotate(store: Store, now: float, person: str = EVERYBODY) -> None:
    """End all links issued so far, of one person or of everybody. Running collectors notice it within a second."""
    row = {"person": person, "salt": secrets.token_urlsafe(32), "rotated_at": now}
    with store.write() as connection:
        connection.execute(store.upsert(link_salt), row)


def own_secret(file: Path) -> str:
    """The secret of a file that only we can read. A missing file is made, complete or not at all. Raises SecretError."""
    part = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    try:
        if not file.exists():
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "w") as out:
                out.write(secrets.token_urlsafe(32) + "\n")
                out.flush()
                os.fsync(handle)
            with contextlib.suppress(FileExistsError):  # another process was first: its secret counts
                os.link(part, file)
    except OSError as error:
        raise SecretError(f"{file}: the secret of the links cannot be made: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
    return read_private(file).strip()


class Links:
    """Signs links and reads them. `secret` is the same in all collectors that share the store. Raises SecretError if it is
    too short."""

    def __init__(self, store: Store, clock: Clock, secret: str) -> None:
        if len(secret) < SECRET_LENGTH:
            raise SecretError(
                f"the secret of the links has {len(secret)} characters; give it at least {SECRET_LENGTH}, for example from "
                "`openssl rand -base64 32`"
            )
        self._store = store
        self._clock = clock
        self._secret = secret.encode()
        self._salts: dict[str, str] = {}
        self._read_at = float("-inf")
        self._lock = threading.Lock()

    def sign(self, person: str, about: str, number: int, at: float) -> str:
        """The link of a person to a thing. The same arguments give the same link until the key is rotated. Raises
        KeyError, StoreError."""
        return seal(Link(person, about, number, int(at)), self._key(person))

    def read(self, text: str) -> Link | None:
        """The link of a text; None if we did not sign it, or signed it before the key was rotated. Raises StoreError."""
        return unseal(text, self._key)

    def _key(self, person: str) -> bytes:
        self._refresh()
        salts = (self._salts.get(EVERYBODY, ""), self._salts.get(person, ""), person)
        return hmac.digest(self._secret, "\n".join(salts).encode(), hashlib.sha256)

    def _refresh(self) -> None:
        with self._lock:
            now = self._clock.boot()
            if now - self._read_at > _SALTS_MAX_AGE_S:
                with self._store.read() as connection:
                    rows = connection.execute(sa.select(link_salt.c.person, link_salt.c.salt)).all()
                self._salts = {row.person: row.salt for row in rows}
                self._read_at = now
