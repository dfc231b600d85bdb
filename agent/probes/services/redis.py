"""The Redis probe, also for Valkey: AUTH if there is a password, then PING."""

import contextlib
import ssl
from collections.abc import Mapping
from functools import partial
from typing import Any

from watchkeeper.agent.ports import NoAnswer, ProbeContext
from watchkeeper.agent.probes.relay import Relay
from watchkeeper.agent.probes.services.check import (
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
from watchkeeper.model.reading import Reason

REDIS_PORT = 6379


class RedisCheck:
    """Implements `check.Check`."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    async def __call__(self, attempt: Attempt) -> None:
        """Log in and send PING."""
        try:
            from redis import exceptions  # noqa: PLC0415 -- an extra
        except ImportError:
            raise driver_missing("Redis", "redis") from None
        password = password_of(attempt.device, self._secrets)
        try:
            async with Relay(partial(dial, attempt, REDIS_PORT)) as relay:
                await _ping(attempt, password, relay)
        except exceptions.AuthenticationError:
            raise CheckFailed(Reason.REFUSED, "login refused: user or password wrong, or none given") from None
        except exceptions.BusyLoadingError:
            raise CheckFailed(Reason.REFUSED, "it is loading its data and accepts no commands yet") from None
        except exceptions.NoPermissionError:
            raise CheckFailed(Reason.REFUSED, "the user has no right to PING") from None
        except exceptions.ConnectionError as error:
            if isinstance(error.__context__, ssl.SSLError):
                raise error.__context__ from None
            if "max number of clients" in str(error):
                raise CheckFailed(Reason.REFUSED, "login refused: no connection left (maxclients)") from None
            raise CheckFailed(Reason.MALFORMED, "the connection broke off") from None
        except (OSError, NoAnswer):
            raise
        except Exception:  # noqa: BLE001 -- if the server is not Redis, the driver raises any error, and quotes the answer
            raise CheckFailed(Reason.MALFORMED, "the server is not Redis, or refuses PING") from None


async def _ping(attempt: Attempt, password: str, relay: Relay) -> None:
    from redis.asyncio import Connection, ConnectionPool, Redis  # noqa: PLC0415 -- an extra
    from redis.exceptions import ResponseError  # noqa: PLC0415 -- an extra

    database = attempt.device.database or Database()
    host, port = endpoint(attempt.device, REDIS_PORT)
    arguments: dict[str, Any] = {"sock": await relay.connected()}
    if database.tls:
        arguments |= {"ssl": tls_context(verify=database.verify), "server_hostname": host}

    class RelayedConnection(Connection):
        """Gives the library a socket that is connected already."""

        def _connection_arguments(self) -> Mapping[str, Any]:
            return arguments

    pool = ConnectionPool(
        RelayedConnection,
        host=host, port=port, db=database.database or 0, username=database.user or None, password=password or None,
        protocol=2, retry=None,
    )  # fmt: skip
    client = Redis(connection_pool=pool)
    try:
        if not await client.ping():
            raise ValueError("no PONG")
        with contextlib.suppress(KeyError, ResponseError):  # before Redis 7, or if the user may not use INFO
            clients = await client.info("clients")
            attempt.found["connections.usage"] = 100.0 * clients["connected_clients"] / clients["maxclients"]
    finally:
        relay.cut()  # so that closing does not wait for the server
        await pool.aclose()
        arguments["sock"].close()


def build(context: ProbeContext) -> ServiceProbe:
    """Build the probe."""
    return ServiceProbe(context.clock, "PING", RedisCheck(context.secrets), lambda _: ("connections.usage",))
