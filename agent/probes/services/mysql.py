"""The MySQL probe, also for MariaDB: a new login, then `SELECT 1`.

PyMySQL blocks, so it runs in a thread. Its connection is through our relay, which is cut when the attempt ends: that ends the
thread.
"""

import asyncio
import contextlib
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NoReturn

from watchkeeper.agent.ports import ProbeContext
from watchkeeper.agent.probes.relay import Relay
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
    tls_context,
)
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.device import Database
from watchkeeper.model.reading import Missing, Reason, Value

MYSQL_PORT = 3306
MYSQL_THREADS = 96  # at most 64 devices without an answer are read at once; the rest is for the others

_ERROR_TEXTS = {  # by the numbers of MySQL's and MariaDB's error reference
    1040: "login refused: no connection left (max_connections)",
    1044: "login refused: the user has no right to this database",
    1045: "login refused: user or password wrong",
    1049: "login refused: no database of that name",
    1053: "it is shutting down",
    1129: "login refused: this host is blocked after too many errors (FLUSH HOSTS)",
    1130: "login refused: this host may not connect",
    1203: "login refused: no connection left for this user (max_user_connections)",
    1698: "login refused: user or password wrong",
    1820: "login refused: the password has expired",
    1862: "login refused: the password has expired",
    2026: NO_TLS,  # from here on the driver's own numbers
    2059: "login refused: the driver does not support the server's login method",
    2061: "login refused: the driver does not support the server's login method",
}

_DRIVER_ERRORS = (0, *range(2000, 3000))


class MysqlCheck:
    """Implements `check.Check`."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._threads = ThreadPoolExecutor(MYSQL_THREADS, "mysql")

    async def __call__(self, attempt: Attempt) -> None:
        """Log in and run `SELECT 1`."""
        try:
            import pymysql  # noqa: F401, PLC0415 -- an extra
        except ImportError:
            raise driver_missing("MySQL", "mysql") from None
        options = _driver_options(attempt, password_of(attempt.device, self._secrets))
        async with Relay(partial(dial, attempt, MYSQL_PORT)) as relay:
            connection = await relay.connected()
            work = self._threads.submit(_use_database, connection, options)
            try:
                attempt.found["connections.usage"] = await asyncio.wrap_future(work)
            finally:
                relay.cut()  # a thread that waits for the server wakes up and ends
                if work.cancel():  # the thread never started
                    connection.close()


def _driver_options(attempt: Attempt, password: str) -> dict[str, Any]:
    """The options for the driver. Raises CheckFailed."""
    database = attempt.device.database or Database()
    host, port = endpoint(attempt.device, MYSQL_PORT)
    options: dict[str, Any] = {
        "host": host,
        "port": port,
        "user": database.user,
        "password": password.encode(),  # the driver would encode a str as Latin-1, and quote it in an error
        "database": database.database or None,
        "read_timeout": attempt.device.timeout_s,
        "write_timeout": attempt.device.timeout_s,
        "program_name": "watchkeeper",
        "defer_connect": True,
    }
    if database.tls:
        return {**options, "ssl": tls_context(verify=database.verify)}
    refused = {"mysql_clear_password": _ClearPasswordRefused, "dialog": _ClearPasswordRefused}
    return {**options, "ssl_disabled": True, "auth_plugin_map": refused}


class _ClearPasswordRefused:
    """Stands in for the login methods that would send the password in the clear, and refuses."""

    def __init__(self, _: object) -> None: ...

    def authenticate(self, _: object) -> NoReturn:
        raise CheckFailed(Reason.REFUSED, NEEDS_TLS)


def _use_database(connected: socket.socket, options: dict[str, Any]) -> Value:
    """In a thread: log in, run `SELECT 1`, and return the share of connections in use. Raises CheckFailed and TLS
    errors."""
    import pymysql  # noqa: PLC0415 -- an extra

    try:
        with contextlib.closing(pymysql.Connection(**options)) as connection:
            connection.connect(connected)
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
                return _connections_usage(cursor)
    except CheckFailed:
        raise
    except pymysql.err.MySQLError as error:
        if isinstance(cause := getattr(error, "original_exception", None), ssl.SSLError):
            raise cause from None
        raise _login_failure(error) from None
    except Exception:  # noqa: BLE001 -- if the server is not MySQL, the driver may raise any error
        raise CheckFailed(Reason.MALFORMED, "the server is not MySQL") from None
    finally:
        connected.close()


def _connections_usage(cursor: Any) -> Value:
    """Connections in use, in per cent of max_connections."""
    import pymysql  # noqa: PLC0415 -- an extra

    try:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Threads_connected'")
        _, used = cursor.fetchone()
        cursor.execute("SELECT @@max_connections")
        return 100.0 * float(used) / float(cursor.fetchone()[0])
    except pymysql.err.MySQLError as error:
        if _error_number(error) in _DRIVER_ERRORS:
            raise
    except (TypeError, ValueError, ZeroDivisionError):
        pass
    # A proxy before the server may not know these statements, or not allow them
    return Missing(Reason.ABSENT, "the server does not report its number of connections")


def _error_number(error: Exception) -> int:
    """The error's number; 0 for an error of the driver that has none."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def _login_failure(error: Exception) -> CheckFailed:
    """The failure in our own words: the driver's text may quote user and address."""
    number = _error_number(error)
    if number in _ERROR_TEXTS:
        return CheckFailed(Reason.REFUSED, _ERROR_TEXTS[number])
    if number in _DRIVER_ERRORS and number:  # the server sent no error of its own
        return CheckFailed(Reason.MALFORMED, "the connection broke off")
    return CheckFailed(Reason.REFUSED, f"login or SELECT 1 refused (error {number})")


def build(context: ProbeContext) -> ServiceProbe:
    """Build the probe."""
    return ServiceProbe(context.clock, "SELECT 1", MysqlCheck(context.secrets), lambda _: ("connections.usage",))
