"""The MySQL probe, for MariaDB as well: a login of its own, `SELECT 1`, and out again.

PyMySQL blocks, so it runs in a thread; but the socket is ours, and is shut under it when the visit ends. No thread
outlives its visit.
"""

import asyncio
import contextlib
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

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
    tls_context,
)
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.device import Database
from watchkeeper.model.reading import Missing, Reason, Value

MYSQL_PORT = 3306
MYSQL_THREADS = 96  # the schedule lets 64 hang at once (SICK_AT_ONCE); those that are well find room beside them

_SENTENCES = {  # by the numbers of MySQL's and MariaDB's error reference
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
    2026: "no TLS there that we can speak",  # from here on the driver's own numbers
    2059: "login refused: the server wants a way to log in that the driver does not know",
    2061: "login refused: the server wants a way to log in that the driver does not know",
}

_OF_THE_CLIENT = (0, *range(2000, 3000))


class MysqlCheck:
    """See `check.Check`."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._threads = ThreadPoolExecutor(MYSQL_THREADS, "mysql")

    async def __call__(self, attempt: Attempt) -> None:
        """Log in and ask for 1."""
        try:
            import pymysql  # noqa: F401, PLC0415 -- an extra
        except ImportError:
            raise no_driver("MySQL", "mysql") from None
        told = _told(attempt, password_of(attempt.device, self._secrets))
        line = await dial(attempt, MYSQL_PORT)
        with line.dup() as handle:  # TLS takes the first one apart
            work = self._threads.submit(_session, line, told)
            try:
                attempt.found["connections.usage"] = await asyncio.wrap_future(work)
            finally:
                with contextlib.suppress(OSError):
                    handle.shutdown(socket.SHUT_RDWR)  # a thread that waits for it wakes up and ends
                if work.cancel():  # it never began
                    line.close()


def _told(attempt: Attempt, password: str) -> dict[str, Any]:
    """What the driver is told. Raises Unwell."""
    database = attempt.device.database or Database()
    host, port = endpoint(attempt.device, MYSQL_PORT)
    told: dict[str, Any] = {
        "host": host,
        "port": port,
        "user": database.user,
        "password": password.encode(),  # of a text the driver makes Latin-1, and quotes what is none
        "database": database.database or None,
        "read_timeout": attempt.device.timeout_s,
        "write_timeout": attempt.device.timeout_s,
        "program_name": "watchkeeper",
        "defer_connect": True,
    }
    if database.tls:
        return {**told, "ssl": tls_context(verify=database.verify)}
    return {**told, "ssl_disabled": True, "auth_plugin_map": {"mysql_clear_password": _InClear, "dialog": _InClear}}


class _InClear:
    """A way to log in that would send the password as it is to whoever answers there."""

    def __init__(self, _: object) -> None: ...

    def authenticate(self, _: object) -> NoReturn:
        raise CheckFailed(Reason.REFUSED, IN_CLEAR)


def _session(line: socket.socket, told: dict[str, Any]) -> Value:
    """In a thread: log in, ask for 1, and how many connections are in use. Raises Unwell, and TLS's own errors."""
    import pymysql  # noqa: PLC0415 -- an extra

    try:
        with contextlib.closing(pymysql.Connection(**told)) as connection:
            connection.connect(line)
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
                return _usage(cursor)
    except CheckFailed:
        raise
    except pymysql.err.MySQLError as error:
        if isinstance(cause := getattr(error, "original_exception", None), ssl.SSLError):
            raise cause from None
        raise _sentence(error) from None
    except Exception:  # noqa: BLE001 -- on bytes that are no MySQL the driver raises whatever it stumbles over
        raise CheckFailed(Reason.MALFORMED, "what answers there is not MySQL") from None
    finally:
        line.close()


def _usage(cursor: Any) -> Value:
    """Per cent of the connections that there may be."""
    import pymysql  # noqa: PLC0415 -- an extra

    try:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Threads_connected'")
        _, used = cursor.fetchone()
        cursor.execute("SELECT @@max_connections")
        return 100.0 * float(used) / float(cursor.fetchone()[0])
    except pymysql.err.MySQLError as error:
        if _number(error) in _OF_THE_CLIENT:
            raise
    except (TypeError, ValueError, ZeroDivisionError):
        pass
    # What stands between (a proxy) may not know of it, or not allow it
    return Missing(Reason.ABSENT, "the server does not tell its connections")


def _number(error: Exception) -> int:
    """The error's number; 0 where the driver gives none, which is its own then."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def _sentence(error: Exception) -> CheckFailed:
    """The driver's own text may quote user and address."""
    number = _number(error)
    if number in _SENTENCES:
        return CheckFailed(Reason.REFUSED, _SENTENCES[number])
    if number in _OF_THE_CLIENT and number:  # nothing more came
        return CheckFailed(Reason.MALFORMED, "the connection broke off")
    return CheckFailed(Reason.REFUSED, f"login or SELECT 1 refused (error {number})")


def build(context: ProbeContext) -> ServiceProbe:
    """See `agent.ports.ProbeContext`."""
    return ServiceProbe(context.clock, "SELECT 1", MysqlCheck(context.secrets), lambda _: ("connections.usage",))
