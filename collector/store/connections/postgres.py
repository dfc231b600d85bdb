"""Connections to PostgreSQL that end. A server may vanish without a word, and so may we: both sides have time limits."""

import math
import select
from typing import Any, TypeVar, cast

import psycopg
import sqlalchemy as sa
from psycopg.abc import PQGen

from watchkeeper.collector.store.connections.limits import StoreLimits
from watchkeeper.model.clock import Clock

_Result = TypeVar("_Result")
_INTERVAL_S = 0.1
_KEEPALIVE_IDLE_S, _KEEPALIVE_EVERY_S, _KEEPALIVES = 5, 2, 3
_USER_TIMEOUT_MS = 10_000
_USED_AT = "used at"
_END_SILENT = sa.text("""
    SELECT pg_terminate_backend(holder.pid) FROM pg_stat_activity AS holder
    WHERE holder.usename = current_user AND holder.datname = current_database() AND holder.wait_event = 'ClientRead'
    AND holder.state_change < clock_timestamp() - make_interval(secs => CAST(:idle_s AS double precision))
    AND holder.pid IN (
        SELECT unnest(pg_blocking_pids(waiting.pid)) FROM pg_stat_activity AS waiting
        WHERE waiting.datname = current_database() AND waiting.wait_event_type = 'Lock'
    )
""")


class LimitedConnection(psycopg.Connection[Any]):
    """Gives up a server that does not answer within `limit_s`, and closes itself, so that the pool drops it. Every statement,
    commit and rollback waits here. TCP's own limits see a dead machine, but not a proxy that lives."""

    limit_s: float | None = None

    def wait(self, gen: PQGen[_Result], interval: float = _INTERVAL_S, timeout: float | None = None) -> _Result:
        """Wait for the server's answer. Raises OperationalError."""
        limit_s = self.limit_s if timeout is None else timeout
        try:
            return super().wait(gen, interval, limit_s)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001 -- what the documentation of `wait` says that it raises
            self.pgconn.finish()  # not `close`, which a pool of psycopg could keep
            raise psycopg.OperationalError(f"the server has not answered for {limit_s:g} s") from None


def connect_args(url: sa.URL, limits: StoreLimits) -> dict[str, Any]:
    """Parameters of libpq (PostgreSQL, "Parameter Key Words") for every connection. What the URL says is kept."""
    server = {
        "statement_timeout": limits.statement_s * 1000,
        "lock_timeout": limits.lock_s * 1000,
        "idle_in_transaction_session_timeout": limits.idle_s * 1000,
        # The server's own side: it frees the locks of a machine that vanished in the middle of a statement.
        "tcp_keepalives_idle": _KEEPALIVE_IDLE_S,
        "tcp_keepalives_interval": _KEEPALIVE_EVERY_S,
        "tcp_keepalives_count": _KEEPALIVES,
        "tcp_user_timeout": _USER_TIMEOUT_MS,
    }
    given = {name: value if isinstance(value, str) else value[-1] for name, value in url.query.items()}
    options = " ".join(f"-c {name}={value:.0f}" for name, value in server.items())
    ours = {
        "connect_timeout": math.ceil(limits.connect_s),
        "keepalives": 1,
        "keepalives_idle": _KEEPALIVE_IDLE_S,
        "keepalives_interval": _KEEPALIVE_EVERY_S,
        "keepalives_count": _KEEPALIVES,
        "tcp_user_timeout": _USER_TIMEOUT_MS,
        "application_name": "watchkeeper",
    }
    kept = {name: value for name, value in ours.items() if name not in given}
    return kept | {"options": f"{options} {given.get('options', '')}".strip()}  # the last one of two counts


def limit(engine: sa.Engine, limits: StoreLimits, clock: Clock) -> None:
    """Make the connections of this engine end, and check those that the pool gives out. A connection in use costs no round trip
    more: only one that was idle for a while, or to which the server has said something, is asked whether it lives."""

    def connect(_dialect: sa.Dialect, _record: Any, given: Any, named: Any) -> LimitedConnection:
        made = LimitedConnection.connect(*given, **named)
        made.limit_s = limits.answer_s
        return made

    def note(_connection: Any, record: Any) -> None:
        record.info[_USED_AT] = clock.boot()

    def check(connection: LimitedConnection, record: Any, _fairy: Any) -> None:
        connection.limit_s = limits.answer_s
        if clock.boot() - record.info[_USED_AT] < limits.ping_after_s and not _has_input(connection):
            return
        connection.limit_s = limits.ping_s
        try:
            engine.dialect.do_ping(connection)  # type: ignore[arg-type]  # psycopg's connection, as every other of this engine
        except psycopg.Error as error:
            raise sa.exc.InvalidatePoolError from error  # the others were made before as well: none is used again
        connection.limit_s = limits.answer_s

    sa.event.listen(engine, "do_connect", connect)
    for name, listener in (("connect", note), ("checkin", note), ("checkout", check)):
        sa.event.listen(engine, name, listener)


def lengthen(connection: sa.Connection, limits: StoreLimits) -> None:
    """Let this transaction take long: a migration, a backup. The pool gives the connection its own limits back."""
    limit_ms = f"{limits.long_s * 1000:.0f}"
    for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
        connection.exec_driver_sql(f"SET LOCAL {name} = {limit_ms}")
    driver = cast("LimitedConnection", connection.connection.driver_connection)
    driver.limit_s = limits.long_s


def end_silent(connection: sa.Connection, limits: StoreLimits) -> int:
    """End the sessions of our user that others wait for, and whose client has said nothing within a transaction for `idle_s`.
    Returns how many."""
    return len(connection.execute(_END_SILENT, {"idle_s": limits.idle_s}).all())


def _has_input(connection: LimitedConnection) -> bool:
    """Whether the server has said something unasked. Mostly that it ends."""
    poller = select.poll()
    poller.register(connection.pgconn.socket, select.POLLIN)
    return bool(poller.poll(0))
