"""For how long a store waits. No wait has no end: a database that does not answer is one that failed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Seconds. What the server ends by itself ends before we give up the connection: `lock_s`, `idle_s` < `statement_s` <
    `answer_s`. `idle_s` < `lock_s`, so that a transaction that waits for one of a dead collector gets its lock."""

    connect_s: float = 4.0
    """A new connection, sign-in included. psycopg takes whole seconds, at least 2."""

    pool_s: float = 5.0
    """A free connection, while all are in use."""

    idle_s: float = 8.0
    """PostgreSQL ends the session of a client that says nothing for so long within a transaction, and frees its locks."""

    lock_s: float = 10.0
    """A lock of another transaction. On SQLite: the lock of the file, and then that of our own process."""

    statement_s: float = 12.0
    """One statement on the server."""

    answer_s: float = 14.0
    """An answer of the server. Then the connection is dead, whatever TCP says: a proxy may acknowledge what nobody reads."""

    ping_after_s: float = 5.0
    """A connection that was not used for so long is asked whether it lives before it is used."""

    ping_s: float = 2.0
    """The answer to that."""

    long_s: float = 3600.0
    """One statement of a migration, backup or restore."""
