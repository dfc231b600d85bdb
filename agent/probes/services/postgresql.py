"""The PostgreSQL probe: a login of its own, `SELECT 1`, and out again.

libpq is driven through `psycopg.pq` without blocking, so that the visit ends at its deadline wherever the server hangs;
psycopg's own connection would wait for the server to confirm that the query was given up.
"""

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING

from watchkeeper.agent.ports import ProbeContext
from watchkeeper.agent.probes.services.check import (
    IN_CLEAR,
    Attempt,
    CheckFailed,
    ServiceProbe,
    dial,
    endpoint,
    no_driver,
    password_of,
)
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.device import Database
from watchkeeper.model.reading import Reason

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

POSTGRESQL_PORT = 5432

# libpq hands out no SQLSTATE for a login that failed, only the server's sentence, which may be in any language and names
# the user. What is recognised becomes a sentence of ours, the rest the last one.
_SENTENCES = (
    (
        "password authentication failed|no password supplied|role .* does not exist",
        "login refused: user or password wrong",
    ),
    ("no pg_hba.conf entry|pg_hba.conf rejects", "login refused: pg_hba.conf has no entry for this user from here"),
    ("database .* does not exist", "login refused: no database of that name"),
    ("too many clients|connection slots|too many connections", "login refused: no connection left (max_connections)"),
    ("starting up|shutting down|recovery mode", "it is starting up or shutting down"),
    ("cleartext password", IN_CLEAR),
    ("certificate", "certificate not accepted"),
    ("SSL", "no TLS there that we can speak"),
)
_USAGE = b"""
    SELECT 100.0 * count(*) / current_setting('max_connections')::int
    FROM pg_stat_activity WHERE backend_type = 'client backend'
"""
_UNKNOWN = "login refused; the server's own log says why"


class PostgresqlCheck:
    """See `check.Check`."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    async def __call__(self, attempt: Attempt) -> None:
        """Log in and ask for 1."""
        try:
            import psycopg  # noqa: PLC0415 -- an extra
        except ImportError:
            raise no_driver("PostgreSQL", "postgresql") from None
        told = _told(attempt, password_of(attempt.device, self._secrets))
        with await dial(attempt, POSTGRESQL_PORT) as line:  # which tells in our words what is wrong with the way there
            told["hostaddr"] = line.getpeername()[0]
        connection = psycopg.pq.PGconn.connect_start(psycopg.conninfo.make_conninfo(**told).encode())
        try:
            await _log_in(connection)
            await _ask(connection, b"SELECT 1")
            with contextlib.suppress(CheckFailed, ValueError):  # what stands between (a pooler) may not know of it
                attempt.found["connections.usage"] = float(await _ask(connection, _USAGE))
        except psycopg.OperationalError:
            raise CheckFailed(Reason.MALFORMED, "the connection broke off") from None
        finally:
            connection.finish()


def _told(attempt: Attempt, password: str) -> dict[str, str]:
    """What libpq is told. Raises Unwell."""
    database = attempt.device.database or Database()
    host, port = endpoint(attempt.device, POSTGRESQL_PORT)
    told = {
        "host": host,
        "port": str(port),
        "user": database.user,
        "password": password,
        "dbname": database.database or "postgres",
        "application_name": "watchkeeper",
        "gssencmode": "disable",
        "passfile": "/dev/null",  # what the inventory does not name is not used
        "sslmode": "prefer",
    }
    if not database.tls:
        return told | {"require_auth": "!password"}  # whatever proves that we know it, but not itself
    return told | ({"sslmode": "verify-full", "sslrootcert": "system"} if database.verify else {"sslmode": "require"})


async def _log_in(connection: "PGconn") -> None:
    """Raises Unwell."""
    from psycopg.pq import ConnStatus, PollingStatus  # noqa: PLC0415 -- an extra

    poll: int = PollingStatus.WRITING  # before the first call of PQconnectPoll, says libpq
    while poll != PollingStatus.OK:
        if poll == PollingStatus.FAILED or connection.status == ConnStatus.BAD:
            raise refused(connection.get_error_message())
        await _ready(connection.socket, writing=poll == PollingStatus.WRITING)
        poll = connection.connect_poll()


def refused(message: str) -> CheckFailed:
    """What the server said, in a sentence of ours: its own may name the user."""
    found = next((ours for pattern, ours in _SENTENCES if re.search(pattern, message)), _UNKNOWN)
    return CheckFailed(Reason.REFUSED, found)


async def _ask(connection: "PGconn", query: bytes) -> bytes:
    """The first value of the answer. Raises Unwell, and OperationalError."""
    from psycopg.pq import DiagnosticField, ExecStatus  # noqa: PLC0415 -- an extra

    connection.send_query(query)
    answer = await _result(connection)
    if answer is None or answer.status != ExecStatus.TUPLES_OK:
        state = (answer.error_field(DiagnosticField.SQLSTATE) if answer else None) or b"none"
        raise CheckFailed(
            Reason.REFUSED, f"login taken, but SELECT 1 fails (SQLSTATE {state.decode(errors='replace')})"
        )
    if await _result(connection) is not None:  # libpq takes the next query only when this one's answers are all fetched
        raise CheckFailed(Reason.MALFORMED, "login taken, but SELECT 1 has more than one answer")
    return answer.get_value(0, 0) or b""


async def _result(connection: "PGconn") -> "PGresult | None":
    while connection.is_busy():
        await _ready(connection.socket, writing=False)
        connection.consume_input()
    return connection.get_result()


async def _ready(handle: int, *, writing: bool) -> None:
    """Wait until the socket can be read or written."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    (loop.add_writer if writing else loop.add_reader)(handle, ready.set)
    try:
        await ready.wait()
    finally:
        (loop.remove_writer if writing else loop.remove_reader)(handle)


def build(context: ProbeContext) -> ServiceProbe:
    """See `agent.ports.ProbeContext`."""
    return ServiceProbe(context.clock, "SELECT 1", PostgresqlCheck(context.secrets), lambda _: ("connections.usage",))
