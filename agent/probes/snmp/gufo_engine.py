"""SNMP by gufo-snmp: fast, and its replies cost about 40 us of CPU for twenty objects."""

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
from gufo.snmp.aio import SnmpSession
from gufo.snmp.typing import ValueType

from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.snmp.engine import (
    BAD_LOGIN,
    DEAD_PORT,
    MAX_NULL_ANSWERS,
    MAX_TABLE_ROWS,
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
_Row = tuple[str, ValueType]

BULK_SIZES = (20, 4, 1)
"""The library reads no datagram beyond 4,080 bytes, so a table of long texts is asked for in smaller bites."""
LONGEST_ERROR = 80

_AUTH = MappingProxyType(
    {
        SnmpAuth.MD5: Md5Key,
        SnmpAuth.SHA: Sha1Key,
        SnmpAuth.SHA224: Sha224Key,
        SnmpAuth.SHA256: Sha256Key,
        SnmpAuth.SHA384: Sha384Key,
        SnmpAuth.SHA512: Sha512Key,
    }
)
_PRIV = MappingProxyType(
    {SnmpPriv.DES: DesKey, SnmpPriv.AES: Aes128Key, SnmpPriv.AES192: Aes192Key, SnmpPriv.AES256: Aes256Key}
)
_VERSION: Mapping[device.SnmpVersion, SnmpVersion] = MappingProxyType(
    {
        device.SnmpVersion.V1: SnmpVersion.v1,
        device.SnmpVersion.V2C: SnmpVersion.v2c,
        device.SnmpVersion.V3: SnmpVersion.v3,
    }
)


class GufoSession:
    """See `agent.probes.snmp.probe.engine.Session`."""

    def __init__(self, login: SnmpLogin) -> None:
        self._login = login
        self._session: SnmpSession | None = _open(login)
        # SNMPv3 begins by asking the device for its engine id, boots and time (RFC 3414, 4)
        self._greeted = login.snmp.version is not device.SnmpVersion.V3

    async def get_many(self, oids: Sequence[str]) -> dict[str, Raw]:
        """See `Session.get_many`."""

        async def request(session: SnmpSession) -> dict[str, Raw]:
            async with asyncio.timeout(self._login.timeout_s):
                return await session.get_many(oids)  # type: ignore[return-value]  # None never comes

        return await self._try(request)

    async def walk(self, base: str, rows: int = MAX_TABLE_ROWS) -> WalkRows[Raw]:
        """See `Session.walk`."""
        if self._login.snmp.version is device.SnmpVersion.V1:
            return await self._walk(base, rows, lambda session: _past_nulls(session.getnext(base)))
        for size in BULK_SIZES:
            try:
                return await self._walk(base, rows, lambda session, size=size: session.getbulk(base, size))  # type: ignore[misc]  # the default binds the loop's variable
            except NoAnswer as nothing:
                if nothing.missing.reason is not Reason.MALFORMED or isinstance(nothing, EngineBroken):
                    raise
                spoilt = nothing
        raise spoilt

    async def _walk(self, base: str, rows: int, start: Callable[[SnmpSession], AsyncIterator[_Row]]) -> WalkRows[Raw]:
        async def request(session: SnmpSession) -> WalkRows[Raw]:
            return await collect_walk(start(session), base, self._login.timeout_s, rows)  # type: ignore[arg-type]  # None never comes

        return await self._try(request)

    def close(self) -> None:
        """See `Session.close`. The library closes its socket with the last reference."""
        self._session = None

    async def _try(self, request: Callable[[SnmpSession], Awaitable[T]]) -> T:
        session = self._session
        if session is None:
            raise NoAnswer(Reason.FAULT, "the session is closed")
        try:
            if not self._greeted:
                async with asyncio.timeout(self._login.timeout_s):
                    await session.refresh()
                self._greeted = True
            return await request(session)
        except SnmpAuthError:
            raise NoAnswer(Reason.REFUSED, BAD_LOGIN) from None
        except TimeoutError as error:
            raise self._nothing(error) from None
        except (SnmpError, RuntimeError) as error:
            # the latter where a value cannot become Python's; of a tag it does not know, it shows the packet after `: [`
            why = str(error).partition(": [")[0][:LONGEST_ERROR]
            raise NoAnswer(Reason.MALFORMED, f"the answer is not SNMP: {why}") from None
        except OSError as error:
            raise NoAnswer(Reason.UNREACHABLE, f"the network says no: {error}") from None
        except BaseException as error:
            # a panic of the library's Rust part is no Exception; a hostile answer must not end the agent. Rust writes two
            # lines to stderr by itself, so whoever gets this does not ask the same again
            if type(error).__name__ != "PanicException":
                raise
            raise EngineBroken(Reason.MALFORMED, "the answer breaks the rules of SNMP") from None

    def _nothing(self, error: TimeoutError) -> NoAnswer:
        if error.__cause__ is not None and error.__cause__.args == ("connection refused",):
            return NoAnswer(Reason.UNREACHABLE, DEAD_PORT)
        return no_answer(self._login)


async def _past_nulls(rows: AsyncIterator[_Row]) -> AsyncIterator[_Row]:
    """The rows of an SNMPv1 walk. The library ends at a cell that is NULL as it ends at the table's end; asked once more, it
    goes on behind the cell."""
    nulls = 0
    while nulls < MAX_NULL_ANSWERS:
        try:
            row = await anext(rows)
        except StopAsyncIteration:
            nulls += 1
            continue
        nulls = 0
        yield row


def _open(login: SnmpLogin) -> SnmpSession:
    snmp = login.snmp
    user = None
    if snmp.version is device.SnmpVersion.V3:
        user = User(
            snmp.user,
            auth_key=_AUTH[snmp.auth](login.auth_password.encode()) if snmp.auth else None,
            priv_key=_PRIV[snmp.priv](login.priv_password.encode()) if snmp.priv else None,
        )
    return SnmpSession(
        login.host,
        login.port,
        community=login.community,
        user=user,
        version=_VERSION[snmp.version],
        timeout=None,  # type: ignore[arg-type]  # ours bounds the whole exchange, stray datagrams included, and costs less
    )
