"""Authentication by tokens of 256 random bits. Only their SHA-256 is stored."""

import hashlib
import secrets
import threading
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa

from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import token
from watchkeeper.model.clock import Clock

TICKET_S = 3600.0
SESSION_S = 12 * 3600.0
_KNOWN_MAX_AGE_S = 1.0
_UNKNOWN_MAX_AGE_S = 0.1
"""How old the tokens in memory may be if the requested token is among them, and if it is not."""


class TokenKind(StrEnum):
    """What a token is for: an agent that pushes, a person's API calls, a browser session of a person, or a one-time
    ticket that is exchanged for a session."""

    AGENT = "agent"
    PERSON = "person"
    SESSION = "session"
    TICKET = "ticket"


@dataclass(frozen=True, slots=True)
class Bearer:
    """The agent or person that a token belongs to."""

    kind: TokenKind
    name: str


def fingerprint(text: str) -> str:
    """The SHA-256 of a token, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def mint(store: Store, kind: TokenKind, name: str, now: float, ttl_s: float | None = None) -> str:
    """Make a token and store its fingerprint. The token itself is not stored: it cannot be shown again."""
    with store.write() as connection:
        return _insert_token(connection, kind, name, now, ttl_s)


def _insert_token(connection: sa.Connection, kind: TokenKind, name: str, now: float, ttl_s: float | None) -> str:
    text = secrets.token_urlsafe(32)
    row = {
        "sha256": fingerprint(text), "kind": kind.value, "name": name, "created_at": now,
        "expires_at": None if ttl_s is None else now + ttl_s,
    }  # fmt: skip
    connection.execute(sa.insert(token), row)
    return text


def revoke(store: Store, kind: TokenKind, name: str) -> int:
    """Delete all tokens of that kind and name; for a person also sessions and tickets. Returns how many."""
    kinds = (
        [kind.value]
        if kind is TokenKind.AGENT
        else [TokenKind.PERSON.value, TokenKind.SESSION.value, TokenKind.TICKET.value]
    )
    with store.write() as connection:
        return connection.execute(sa.delete(token).where(token.c.kind.in_(kinds), token.c.name == name)).rowcount


def redeem_ticket(store: Store, text: str, now: float) -> str | None:
    """Exchange a one-time ticket for a session token. None if the ticket is unknown, expired or already used."""
    redeemed = sa.delete(token).where(
        token.c.sha256 == fingerprint(text), token.c.kind == TokenKind.TICKET.value, token.c.expires_at > now
    )
    with store.write() as connection:  # one transaction, so that `revoke` cannot come between the two statements
        name = connection.execute(redeemed.returning(token.c.name)).scalar()
        return _insert_token(connection, TokenKind.SESSION, name, now, SESSION_S) if name else None


class Tokens:
    """Looks tokens up in memory, by their fingerprints. A revoked token is refused after a second at most."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[str, tuple[Bearer, float | None]] = {}
        self._read_at = float("-inf")
        self._lock = threading.Lock()

    def bearer(self, text: str) -> Bearer | None:
        """The owner of this token, or None. Reads the store at most once a second, or ten times a second for unknown
        tokens."""
        sha256 = fingerprint(text)
        self._refresh(_KNOWN_MAX_AGE_S if sha256 in self._known else _UNKNOWN_MAX_AGE_S)
        found = self._known.get(sha256)
        if found is None or (found[1] is not None and found[1] <= self._clock.wall()):
            return None
        return found[0]

    def invalidate(self) -> None:
        """Read the store again at the next call of `bearer`."""
        self._read_at = float("-inf")

    def _refresh(self, max_age_s: float) -> None:
        if self._clock.boot() - self._read_at <= max_age_s:
            return
        with self._lock:
            read_at = self._clock.boot()
            with self._store.read() as connection:
                rows = connection.execute(sa.select(token)).all()
            self._known = {row.sha256: (Bearer(TokenKind(row.kind), row.name), row.expires_at) for row in rows}
            self._read_at = read_at
