"""Who may speak: tokens of 256 random bits, of which only the SHA-256 is stored."""

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
_REFRESH_S = 1.0
_MISS_S = 0.1


class TokenKind(StrEnum):
    """An agent pushes; a person acts; a session is a person's browser; a ticket becomes a session, once."""

    AGENT = "agent"
    PERSON = "person"
    SESSION = "session"
    TICKET = "ticket"


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who holds a token."""

    kind: TokenKind
    name: str


def fingerprint(text: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(text.encode()).hexdigest()


def mint(store: Store, kind: TokenKind, name: str, now: float, lasts_s: float | None = None) -> str:
    """Make a token and store its fingerprint. The token itself is returned this once and never again."""
    with store.write() as connection:
        return _mint(connection, kind, name, now, lasts_s)


def _mint(connection: sa.Connection, kind: TokenKind, name: str, now: float, lasts_s: float | None) -> str:
    text = secrets.token_urlsafe(32)
    row = {
        "sha256": fingerprint(text), "kind": kind.value, "name": name, "created_at": now,
        "expires_at": None if lasts_s is None else now + lasts_s,
    }  # fmt: skip
    connection.execute(sa.insert(token), row)
    return text


def revoke(store: Store, kind: TokenKind, name: str) -> int:
    """Forget every token of that kind and name (a person's sessions and tickets with them). Returns how many."""
    kinds = (
        [kind.value]
        if kind is TokenKind.AGENT
        else [TokenKind.PERSON.value, TokenKind.SESSION.value, TokenKind.TICKET.value]
    )
    with store.write() as connection:
        return connection.execute(sa.delete(token).where(token.c.kind.in_(kinds), token.c.name == name)).rowcount


def spend_ticket(store: Store, text: str, now: float) -> str | None:
    """Turn a one-time ticket into a session's token; None if it was spent, has run out or never was."""
    spent = sa.delete(token).where(
        token.c.sha256 == fingerprint(text), token.c.kind == TokenKind.TICKET.value, token.c.expires_at > now
    )
    with store.write() as connection:  # one transaction: nobody who is revoked between the two keeps a session
        name = connection.execute(spent.returning(token.c.name)).scalar()
        return _mint(connection, TokenKind.SESSION, name, now, SESSION_S) if name else None


class Tokens:
    """Knows tokens by their fingerprints, from memory; a revoked one is forgotten within a second."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[str, tuple[Bearer, float | None]] = {}
        self._read_at = float("-inf")
        self._lock = threading.Lock()

    def bearer(self, text: str) -> Bearer | None:
        """Who holds this token, or None. May read the store: once a second, or ten times where unknown tokens come."""
        sha256 = fingerprint(text)
        self._refresh(_REFRESH_S if sha256 in self._known else _MISS_S)
        found = self._known.get(sha256)
        if found is None or (found[1] is not None and found[1] <= self._clock.wall()):
            return None
        return found[0]

    def forget(self) -> None:
        """Read anew at the next question."""
        self._read_at = float("-inf")

    def _refresh(self, older_s: float) -> None:
        if self._clock.boot() - self._read_at <= older_s:
            return
        with self._lock:
            read_at = self._clock.boot()
            with self._store.read() as connection:
                rows = connection.execute(sa.select(token)).all()
            self._known = {row.sha256: (Bearer(TokenKind(row.kind), row.name), row.expires_at) for row in rows}
            self._read_at = read_at
