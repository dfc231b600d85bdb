"""SNMP by gufo-snmp: the fast engine. Twenty objects cost about 40 us of CPU."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from gufo.snmp import (
    Aes128Key,
    Aes192Key,
    Aes256Key,
    DesKey,
    Md5Key,
    Sha1Key,
    Sha224Key,
    Sha256Key,
    Sha384Key,
    Sha512Key,
    SnmpAuthError,
    SnmpError,
    SnmpVersion,
    User,
)
from gufo.snmp._fast import GetIter
from gufo.snmp.aio import SnmpSession as GufoClient
from gufo.snmp.typing import ValueType

from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.snmp.dialect.habits import Dialect
from watchkeeper.agent.probes.snmp.dialect.walk import Step, walk_rows
from watchkeeper.agent.probes.snmp.engine import (
    BAD_LOGIN,
    DEAD_PORT,
    MAX_TABLE_ROWS,
    WHOLE_TREE,
    EngineBroken,
    SnmpLogin,
    WalkRows,
    no_answer,
)
from watchkeeper.model import device
from watchkeeper.model.device import SnmpAuth, SnmpPriv
from watchkeeper.model.reading import Reason
from watchkeeper.profiles.decode import Raw

T = TypeVar("T")
_Guard = Callable[[Callable[[GufoClient], Awaitable[Any]]], Awaitable[Any]]
_GufoRow = tuple[str, ValueType]

LONGEST_ERROR = 80

_AUTH_KEYS = MappingProxyType(
    {
        SnmpAuth.MD5: Md5Key,
        SnmpAuth.SHA: Sha1Key,
        SnmpAuth.SHA224: Sha224Key,
        SnmpAuth.SHA256: Sha256Key,
        SnmpAuth.SHA384: Sha384Key,
        SnmpAuth.SHA512: Sha512Key,
    }
)
_PRIV_KEYS = MappingProxyType(
    {SnmpPriv.DES: DesKey, SnmpPriv.AES: Aes128Key, SnmpPriv.AES192: Aes192Key, SnmpPriv.AES256: Aes256Key}
)
_GUFO_VERSIONS: Mapping[device.SnmpVersion, SnmpVersion] = MappingProxyType(
    {
        device.SnmpVersion.V1: SnmpVersion.v1,
        device.SnmpVersion.V2C: SnmpVersion.v2c,
        device.SnmpVersion.V3: SnmpVersion.v3,
    }
)


class GufoSession:
    """Implements `engine.SnmpSession`."""

    def __init__(self, login: SnmpLogin) -> None:
        self.dialect = Dialect()
        self._login = login
        self._client: GufoClient | None = _open_client(login)
        # SNMPv3 starts by asking the device for its engine id, boots and time (RFC 3414, 4)
        self._discovered = login.snmp.version is not device.SnmpVersion.V3

    async def get_many(self, oids: Sequence[str]) -> dict[str, Raw]:
        """Implements `SnmpSession.get_many`."""
        return await self._guard(lambda client: client.get_many(oids))  # type: ignore[return-value, arg-type]  # None never comes

    async def walk(self, base: str, rows: int = MAX_TABLE_ROWS) -> WalkRows[Raw]:
        """Implements `SnmpSession.walk`."""
        has_bulk = self._login.snmp.version is not device.SnmpVersion.V1
        return await walk_rows(
            lambda size: _GufoCursor(self._guard, base, size),
            rows,
            self._login.timeout_s,
            self.dialect,
            has_bulk=has_bulk,
        )

    async def next_object(self, after: str) -> tuple[str, Raw] | None:
        """Implements `SnmpSession.next_object`. The library's own iterators stop outside the object they start with, so
        the answer is checked by an iterator of the whole tree."""

        async def request(client: GufoClient) -> tuple[str, Raw] | None:
            asked, accepted = GetIter(after), GetIter(WHOLE_TREE)
            async with asyncio.timeout(self._login.timeout_s):
                await client._send(lambda: client._sock.send_get_next(asked))  # noqa: SLF001 -- the library has no public GETNEXT of one object
                try:
                    return await client._recv(lambda: client._sock.recv_get_next(accepted))  # type: ignore[arg-type,return-value]  # noqa: SLF001 -- as above; None never comes
                except StopAsyncIteration:
                    return None

        return await self._guard(request)

    def close(self) -> None:
        """Implements `SnmpSession.close`. The library closes its socket with the last reference."""
        self._client = None

    async def _guard(self, request: Callable[[GufoClient], Awaitable[T]]) -> T:
        client = self._client
        if client is None:
            raise NoAnswer(Reason.FAULT, "the session is closed")
        try:
            if not self._discovered:
                async with asyncio.timeout(self._login.timeout_s):
                    await client.refresh()
                self._discovered = True
            async with asyncio.timeout(self._login.timeout_s):
                return await request(client)
        except SnmpAuthError:
            raise NoAnswer(Reason.REFUSED, BAD_LOGIN) from None
        except TimeoutError as error:
            raise self._failure(error) from None
        except (SnmpError, RuntimeError) as error:
            # RuntimeError: a value cannot become Python's. For an unknown tag, the text shows the packet after `: [`
            why = str(error).partition(": [")[0][:LONGEST_ERROR]
            raise NoAnswer(Reason.MALFORMED, f"the answer is not SNMP: {why}") from None
        except OSError as error:
            raise NoAnswer(Reason.UNREACHABLE, f"the network reports: {error}") from None
        except BaseException as error:
            # A panic of the library's Rust part is no Exception, and a hostile answer must not end the agent. Rust writes
            # two lines to stderr for each panic, so the probe does not send the same request again
            if type(error).__name__ != "PanicException":
                raise
            raise EngineBroken(Reason.MALFORMED, "the answer breaks the rules of SNMP") from None

    def _failure(self, error: TimeoutError) -> NoAnswer:
        if error.__cause__ is not None and error.__cause__.args == ("connection refused",):
            return NoAnswer(Reason.UNREACHABLE, DEAD_PORT)
        return no_answer(self._login)


class _GufoCursor:
    """Implements `walk.TableCursor`. The library's own iterators hide whether they saw the table's end, and cannot change
    from GETBULK to GETNEXT; the place that they share can."""

    def __init__(self, guard: _Guard, base: str, size: int) -> None:
        self._guard = guard
        self._within = base + "."
        self._place = GetIter(base, size)

    async def bulk(self) -> Step[Raw]:
        """Implements `TableCursor.bulk`."""
        rows = await self._guard(
            lambda client: _exchange(client, client._sock.send_get_bulk, client._sock.recv_get_bulk, self._place)  # noqa: SLF001 -- see the class
        )
        return self._step(rows or [])

    async def next(self) -> Step[Raw]:
        """Implements `TableCursor.next`. The library does not tell a cell that is NULL from the table's end; asked again,
        it continues after the cell."""
        row = await self._guard(
            lambda client: _exchange(client, client._sock.send_get_next, client._sock.recv_get_next, self._place)  # noqa: SLF001 -- see the class
        )
        return self._step([row] if row else [])

    def _step(self, rows: Sequence[_GufoRow | None]) -> Step[Raw]:
        """The library marks the first row outside the table by None."""
        return Step(
            [row for row in rows if row is not None and row[0].startswith(self._within)],  # type: ignore[misc]  # None is no value
            ended=bool(rows) and rows[-1] is None,
        )


async def _exchange(
    client: GufoClient, send: Callable[[GetIter], None], receive: Callable[[GetIter], T], place: GetIter
) -> T | None:
    """Send a request and wait for its answer. None for an answer without a value."""

    def received() -> T | None:
        try:
            return receive(place)
        except StopAsyncIteration:
            return None

    await client._send(lambda: send(place))  # noqa: SLF001 -- see _GufoCursor
    return await client._recv(received)  # noqa: SLF001 -- see _GufoCursor


def _open_client(login: SnmpLogin) -> GufoClient:
    snmp = login.snmp
    user = None
    if snmp.version is device.SnmpVersion.V3:
        user = User(
            snmp.user,
            auth_key=_AUTH_KEYS[snmp.auth](login.auth_password.encode()) if snmp.auth else None,
            priv_key=_PRIV_KEYS[snmp.priv](login.priv_password.encode()) if snmp.priv else None,
        )
    return GufoClient(
        login.host,
        login.port,
        community=login.community,
        user=user,
        version=_GUFO_VERSIONS[snmp.version],
        timeout=None,  # type: ignore[arg-type]  # our own timeout covers the whole exchange, also stray datagrams, and costs less
    )
