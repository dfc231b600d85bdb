"""SNMP by gufo-snmp: the fast engine. Twenty objects cost about 40 us of CPU."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

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
from watchkeeper.agent.probes.snmp.engine import (
    BAD_LOGIN,
    DEAD_PORT,
    MAX_NULL_ANSWERS,
    MAX_TABLE_ROWS,
    WHOLE_TREE,
    EngineBroken,
    SnmpLogin,
    WalkRows,
    collect_walk,
    no_answer,
)
from watchkeeper.model import device
from watchkeeper.model.device import SnmpAuth, SnmpPriv
from watchkeeper.model.reading import Reason
from watchkeeper.profiles.decode import Raw

T = TypeVar("T")
_GufoRow = tuple[str, ValueType]

BULK_SIZES = (20, 4, 1)
"""Rows for each GETBULK. The library reads no datagram beyond 4,080 bytes: a table of long texts needs the smaller
sizes."""
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
        self._login = login
        self._client: GufoClient | None = _open_client(login)
        # SNMPv3 starts by asking the device for its engine id, boots and time (RFC 3414, 4)
        self._discovered = login.snmp.version is not device.SnmpVersion.V3

    async def get_many(self, oids: Sequence[str]) -> dict[str, Raw]:
        """Implements `SnmpSession.get_many`."""

        async def request(client: GufoClient) -> dict[str, Raw]:
            async with asyncio.timeout(self._login.timeout_s):
                return await client.get_many(oids)  # type: ignore[return-value]  # None never comes

        return await self._guard(request)

    async def walk(self, base: str, rows: int = MAX_TABLE_ROWS) -> WalkRows[Raw]:
        """Implements `SnmpSession.walk`."""
        if self._login.snmp.version is device.SnmpVersion.V1:
            return await self._walk(base, rows, lambda client: _past_nulls(client.getnext(base)))
        for size in BULK_SIZES:
            try:
                return await self._walk(base, rows, lambda client, size=size: client.getbulk(base, size))  # type: ignore[misc]  # the default binds the loop's variable
            except NoAnswer as nothing:
                if nothing.missing.reason is not Reason.MALFORMED or isinstance(nothing, EngineBroken):
                    raise
                malformed = nothing
        raise malformed

    async def _walk(
        self, base: str, rows: int, start: Callable[[GufoClient], AsyncIterator[_GufoRow]]
    ) -> WalkRows[Raw]:
        async def request(client: GufoClient) -> WalkRows[Raw]:
            return await collect_walk(start(client), base, self._login.timeout_s, rows)  # type: ignore[arg-type]  # None never comes

        return await self._guard(request)

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


async def _past_nulls(rows: AsyncIterator[_GufoRow]) -> AsyncIterator[_GufoRow]:
    """The rows of an SNMPv1 walk. The library stops at a cell that is NULL, as at the end of the table; asked again, it
    continues after the cell."""
    nulls = 0
    while nulls < MAX_NULL_ANSWERS:
        try:
            row = await anext(rows)
        except StopAsyncIteration:
            nulls += 1
            continue
        nulls = 0
        yield row


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
