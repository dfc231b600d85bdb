"""Authentication by tokens of 256 random bits. Only their SHA-256 is stored."""

import hashlib
import secrets
import threading
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa

from watchkeeper.collector.policy.roster import longest_shift_s
from watchkeeper.collector.site.inventory import Contacts
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import token
from watchkeeper.model.clock import Clock
from watchkeeper.model.errors import StoreError

TICKET_S = 3600.0
SESSION_MARGIN_S, SESSION_CAP_S = 12 * 3600.0, 30 * 86_400.0
"""A session ends so long after the longest shift if it is not used. Used or not, it ends after the second time."""

_RENEWED_AFTER_S = 3600.0
_DELETED_AT_ONCE = 500
_KNOWN_MAX_AGE_S = 1.0
_UNKNOWN_MAX_AGE_S = 0.1
"""How old the tokens in memory may be if the requested token is among them, and if it is not."""

_LOCK_S = 5.0
"""How long a request waits for another one that reads the tokens."""


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


def tokens_of(store: Store, kind: TokenKind, name: str) -> list[str]:
    """The fingerprints of the tokens of that kind and name."""
    query = sa.select(token.c.sha256).where(token.c.kind == kind.value, token.c.name == name)
    with store.read() as connection:
        return sorted(connection.execute(query).scalars())


def end_sessions(connection: sa.Connection) -> None:
    """End the browser sessions and one-time tickets of everybody."""
    ended = [TokenKind.SESSION.value, TokenKind.TICKET.value]
    connection.execute(sa.delete(token).where(token.c.kind.in_(ended)))


def revoke_listed(connection: sa.Connection, fingerprints: Collection[str] | None) -> int:
    """Delete the tokens that are listed as revoked (None: every token). Returns how many there were."""
    known = connection.execute(sa.select(token.c.sha256)).scalars().all()
    gone = [one for one in known if fingerprints is None or one in fingerprints]
    for start in range(0, len(gone), _DELETED_AT_ONCE):
        connection.execute(sa.delete(token).where(token.c.sha256.in_(gone[start : start + _DELETED_AT_ONCE])))
    return len(gone)


def session_s(contacts: Contacts) -> float:
    """For how long a session lasts that is not used: longer than the longest shift."""
    return longest_shift_s(contacts) + SESSION_MARGIN_S


def redeem_ticket(store: Store, text: str, now: float, lasts_s: float) -> str | None:
    """Exchange a one-time ticket for a session token. None if the ticket is unknown, expired or already used."""
    redeemed = sa.delete(token).where(
        token.c.sha256 == fingerprint(text), token.c.kind == TokenKind.TICKET.value, token.c.expires_at > now
    )
    with store.write() as connection:  # one transaction, so that `revoke` cannot come between the two statements
        name = connection.execute(redeemed.returning(token.c.name)).scalar()
        return _insert_token(connection, TokenKind.SESSION, name, now, lasts_s) if name else None


def renew_session(store: Store, text: str, now: float, lasts_s: float) -> float | None:
    """Let a session that is used last longer; returns when it ends (UTC seconds). None if it has ended already."""
    mine = (token.c.sha256 == fingerprint(text), token.c.kind == TokenKind.SESSION.value, token.c.expires_at > now)
    with store.write() as connection:
        created_at = connection.execute(sa.select(token.c.created_at).where(*mine)).scalar()
        if created_at is None:
            return None
        ends_at = _session_end(now, created_at, lasts_s)
        connection.execute(sa.update(token).where(*mine), {"expires_at": ends_at})
        return ends_at


def _session_end(now: float, created_at: float, lasts_s: float) -> float:
    return min(now + lasts_s, created_at + max(lasts_s, SESSION_CAP_S))


@dataclass(frozen=True, slots=True)
class _Known:
    bearer: Bearer
    created_at: float
    expires_at: float | None


class Tokens:
    """Looks tokens up in memory, by their fingerprints. A revoked token is refused after a second at most."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._read_at = float("-inf")
        self._lock = threading.Lock()

    def bearer(self, text: str) -> Bearer | None:
        """The owner of this token, or None. Reads the store at most once a second, or ten times a second for unknown
        tokens."""
        if not self.current(text):
            self.refresh(text)
        return self.remembered(text)

    def current(self, text: str) -> bool:
        """Whether what is in memory about this token is new enough to be used."""
        max_age_s = _KNOWN_MAX_AGE_S if fingerprint(text) in self._known else _UNKNOWN_MAX_AGE_S
        return self._clock.boot() - self._read_at <= max_age_s

    def remembered(self, text: str) -> Bearer | None:
        """The owner of this token by what is in memory, or None. Never waits."""
        found = self._known.get(fingerprint(text))
        if found is None or (found.expires_at is not None and found.expires_at <= self._clock.wall()):
            return None
        return found.bearer

    def needs_renewal(self, text: str, lasts_s: float) -> bool:
        """Whether a session was last renewed more than an hour ago. Each of its requests asks this."""
        known = self._known.get(fingerprint(text))
        if known is None or known.expires_at is None:
            return False
        return known.expires_at < _session_end(self._clock.wall(), known.created_at, lasts_s) - _RENEWED_AFTER_S

    def invalidate(self) -> None:
        """Read the store again at the next call of `bearer`."""
        self._read_at = float("-inf")

    def refresh(self, text: str) -> None:
        """Read the store, unless another thread has done so meanwhile. Raises StoreError."""
        if not self._lock.acquire(timeout=_LOCK_S):
            raise StoreError("the store does not answer; the tokens could not be read")
        try:
            if self.current(text):
                return
            read_at = self._clock.boot()
            with self._store.read() as connection:
                rows = connection.execute(sa.select(token)).all()
            self._known = {
                row.sha256: _Known(Bearer(TokenKind(row.kind), row.name), row.created_at, row.expires_at)
                for row in rows
            }
            self._read_at = read_at
        finally:
            self._lock.release()
