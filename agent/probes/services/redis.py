"""The Redis probe, also for Valkey: AUTH if there is a password, then PING."""

import contextlib
import ssl

from watchkeeper.agent.ports import ProbeContext
from watchkeeper.agent.probes.services.check import (
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
        (await dial(attempt, REDIS_PORT)).close()  # fails with a text of our own if the connection fails
        try:
            await _ping(attempt, password)
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
        except OSError:
            raise
        except Exception:  # noqa: BLE001 -- if the server is not Redis, the driver raises any error, and quotes the answer
            raise CheckFailed(Reason.MALFORMED, "the server is not Redis, or refuses PING") from None


async def _ping(attempt: Attempt, password: str) -> None:
    from redis.asyncio import Redis  # noqa: PLC0415 -- an extra
    from redis.asyncio.retry import Retry  # noqa: PLC0415 -- an extra
    from redis.backoff import NoBackoff  # noqa: PLC0415 -- an extra
    from redis.exceptions import ResponseError  # noqa: PLC0415 -- an extra

    database = attempt.device.database or Database()
    host, port = endpoint(attempt.device, REDIS_PORT)
    async with Redis(
        host=host,
        port=port,
        db=database.database or 0,
        username=database.user or None,
        password=password or None,
        protocol=2,
        ssl=database.tls,
        ssl_cert_reqs="required" if database.verify else "none",
        ssl_check_hostname=database.verify,
        retry=Retry(NoBackoff(), 0),
        single_connection_client=True,
    ) as client:
        if not await client.ping():
            raise ValueError("no PONG")
        with contextlib.suppress(KeyError, ResponseError):  # before Redis 7, or if the user may not use INFO
            clients = await client.info("clients")
            attempt.found["connections.usage"] = 100.0 * clients["connected_clients"] / clients["maxclients"]


def build(context: ProbeContext) -> ServiceProbe:
    """Build the probe."""
    return ServiceProbe(context.clock, "PING", RedisCheck(context.secrets), lambda _: ("connections.usage",))
