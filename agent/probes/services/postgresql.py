"""The PostgreSQL probe: a new login, then `SELECT 1`.

libpq is used through `psycopg.pq`, without blocking: the attempt ends at its deadline wherever the server hangs. A
connection of psycopg itself would wait until the server confirms that the query is cancelled.
"""

import asyncio
import contextlib
import os
import re
import socket
from functools import partial
from typing import TYPE_CHECKING

from watchkeeper.agent.ports import ProbeContext
from watchkeeper.agent.probes.relay import LOOPBACK, Relay
from watchkeeper.agent.probes.services.check import (
    NEEDS_TLS,
    NO_TLS,
    Attempt,
    CheckFailed,
    ServiceProbe,
    dial,
    driver_missing,
    endpoint,
    password_of,
)
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.device import Database
from watchkeeper.model.reading import Reason
from watchkeeper.model.text import marked

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

POSTGRESQL_PORT = 5432

# For a failed login libpq gives no SQLSTATE, only the server's text, which may be in any language and names the user.
# A known text is replaced by ours, an unknown one by _UNKNOWN_REFUSAL.
_LOGIN_ERRORS = (
    (
        "password authentication failed|no password supplied|role .* does not exist",
        marked("login refused: user or password wrong"),
    ),
    (
        "no pg_hba.conf entry|pg_hba.conf rejects",
        marked("login refused: pg_hba.conf has no entry for this user from here"),
    ),
    ("database .* does not exist", marked("login refused: no database of that name")),
    (
        "too many clients|connection slots|too many connections",
        marked("login refused: no connection left (max_connections)"),
    ),
    ("starting up|shutting down|recovery mode", marked("it is starting up or shutting down")),
    ("cleartext password", NEEDS_TLS),
    ("certificate", marked("certificate not accepted")),
    ("SSL", NO_TLS),
)
_CONNECTIONS_USAGE = b"""
    SELECT 100.0 * count(*) / current_setting('max_connections')::int
    FROM pg_stat_activity WHERE backend_type = 'client backend'
"""
_UNKNOWN_REFUSAL = marked("login refused; the server's own log says why")


class PostgresqlCheck:
    """Implements `check.Check`."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    async def __call__(self, attempt: Attempt) -> None:
        """Log in and run `SELECT 1`."""
        try:
            import psycopg  # noqa: PLC0415 -- an extra
        except ImportError:
            raise driver_missing("PostgreSQL", "postgresql") from None
        options = _libpq_options(attempt, password_of(attempt.device, self._secrets))
        async with Relay(partial(dial, attempt, POSTGRESQL_PORT)) as relay:
            port = relay.listen(lambda: _own_address(connection.socket))
            # libpq connects with the relay; it proves the server's certificate by the name in `host`
            options |= {"hostaddr": LOOPBACK, "port": str(port)}
            connection = psycopg.pq.PGconn.connect_start(psycopg.conninfo.make_conninfo(**options).encode())
            try:
                await _log_in(connection)
                await _query(connection, b"SELECT 1")
                with contextlib.suppress(CheckFailed, ValueError):  # a pooler before the server may not know this query
                    attempt.found["connections.usage"] = float(await _query(connection, _CONNECTIONS_USAGE))
            except psycopg.OperationalError:
                raise CheckFailed(Reason.MALFORMED, "the connection broke off") from None
            finally:
                connection.finish()


def _own_address(handle: int) -> tuple[str, int]:
    """The address of libpq's end of its connection."""
    with socket.socket(fileno=os.dup(handle)) as connected:
        host, port = connected.getsockname()[:2]
        return str(host), int(port)


def _libpq_options(attempt: Attempt, password: str) -> dict[str, str]:
    """The connection options for libpq. Raises CheckFailed."""
    database = attempt.device.database or Database()
    host, port = endpoint(attempt.device, POSTGRESQL_PORT)
    options = {
        "host": host,
        "port": str(port),
        "user": database.user,
        "password": password,
        "dbname": database.database or "postgres",
        "application_name": "watchkeeper",
        "gssencmode": "disable",
        "passfile": "/dev/null",  # only the inventory's password is used
        "sslmode": "prefer",
    }
    if not database.tls:
        return options | {"require_auth": "!password"}  # any login method that does not send the password itself
    tls = {"sslmode": "verify-full", "sslrootcert": "system"} if database.verify else {"sslmode": "require"}
    return options | tls


async def _log_in(connection: "PGconn") -> None:
    """Drive libpq's login to its end. Raises CheckFailed."""
    from psycopg.pq import ConnStatus, PollingStatus  # noqa: PLC0415 -- an extra

    poll: int = PollingStatus.WRITING  # the state before the first call of PQconnectPoll (libpq's documentation)
    while poll != PollingStatus.OK:
        if poll == PollingStatus.FAILED or connection.status == ConnStatus.BAD:
            raise login_refused(connection.get_error_message())
        await _wait_for_socket(connection.socket, writing=poll == PollingStatus.WRITING)
        poll = connection.connect_poll()


def login_refused(message: str) -> CheckFailed:
    """The server's refusal in our own words: the server's text may name the user."""
    text = next((ours for pattern, ours in _LOGIN_ERRORS if re.search(pattern, message)), _UNKNOWN_REFUSAL)
    return CheckFailed(Reason.REFUSED, text)


async def _query(connection: "PGconn", query: bytes) -> bytes:
    """Run a query and return its first value. Raises CheckFailed and OperationalError."""
    from psycopg.pq import DiagnosticField, ExecStatus  # noqa: PLC0415 -- an extra

    connection.send_query(query)
    answer = await _next_result(connection)
    if answer is None or answer.status != ExecStatus.TUPLES_OK:
        sqlstate = (answer.error_field(DiagnosticField.SQLSTATE) if answer else None) or b"none"
        raise CheckFailed(
            Reason.REFUSED, f"login accepted, but SELECT 1 fails (SQLSTATE {sqlstate.decode(errors='replace')})"
        )
    if await _next_result(connection) is not None:  # libpq takes the next query only once all results are fetched
        raise CheckFailed(Reason.MALFORMED, "login accepted, but SELECT 1 has more than one answer")
    return answer.get_value(0, 0) or b""


async def _next_result(connection: "PGconn") -> "PGresult | None":
    while connection.is_busy():
        await _wait_for_socket(connection.socket, writing=False)
        connection.consume_input()
    return connection.get_result()


async def _wait_for_socket(handle: int, *, writing: bool) -> None:
    """Wait until the socket can be read or written."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    (loop.add_writer if writing else loop.add_reader)(handle, ready.set)
    try:
        await ready.wait()
    finally:
        (loop.remove_writer if writing else loop.remove_reader)(handle)


def build(context: ProbeContext) -> ServiceProbe:
    """Build the probe."""
    return ServiceProbe(context.clock, "SELECT 1", PostgresqlCheck(context.secrets), lambda _: ("connections.usage",))
