"""SNMP by pysnmp: patient with odd devices, at a hundred times the CPU. Imported only where a device asks for it."""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from types import MappingProxyType
from typing import Any

from pyasn1.type import univ  # type: ignore[import-untyped]  # ships no types, like pysnmp
from pysnmp.hlapi.v3arch import asyncio as hlapi  # type: ignore[import-untyped]
from pysnmp.proto import errind  # type: ignore[import-untyped]
from pysnmp.proto.rfc1902 import IpAddress  # type: ignore[import-untyped]
from pysnmp.proto.rfc1905 import EndOfMibView, NoSuchInstance, NoSuchObject  # type: ignore[import-untyped]
from pysnmp.proto.rfc3412 import MsgAndPduDispatcher  # type: ignore[import-untyped]

from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.snmp.engine import (
    BAD_LOGIN,
    DEAD_PORT,
    LONGEST_STRING,
    MAX_NULL_ANSWERS,
    MAX_TABLE_ROWS,
    SnmpLogin,
    WalkRows,
    collect_walk,
    no_answer,
)
from watchkeeper.model.device import SnmpAuth, SnmpPriv, SnmpVersion
from watchkeeper.model.reading import Reason
from watchkeeper.profiles.decode import Raw

BULK_SIZE = 20
ECHO_S = 0.05  # an ICMP answer from the same network takes less

_AUTH = MappingProxyType(
    {
        None: hlapi.USM_AUTH_NONE,
        SnmpAuth.MD5: hlapi.USM_AUTH_HMAC96_MD5,
        SnmpAuth.SHA: hlapi.USM_AUTH_HMAC96_SHA,
        SnmpAuth.SHA224: hlapi.USM_AUTH_HMAC128_SHA224,
        SnmpAuth.SHA256: hlapi.USM_AUTH_HMAC192_SHA256,
        SnmpAuth.SHA384: hlapi.USM_AUTH_HMAC256_SHA384,
        SnmpAuth.SHA512: hlapi.USM_AUTH_HMAC384_SHA512,
    }
)
_PRIV = MappingProxyType(
    {
        None: hlapi.USM_PRIV_NONE,
        SnmpPriv.DES: hlapi.USM_PRIV_CBC56_DES,
        SnmpPriv.AES: hlapi.USM_PRIV_CFB128_AES,
        SnmpPriv.AES192: hlapi.USM_PRIV_CFB192_AES_BLUMENTHAL,
        SnmpPriv.AES256: hlapi.USM_PRIV_CFB256_AES_BLUMENTHAL,
    }
)
_REFUSED = (
    errind.AuthenticationError,
    errind.AuthenticationFailure,
    errind.NoAuthentication,
    errind.NoEncryption,
    errind.NoSuchView,
    errind.NotInTimeWindow,
    errind.UnknownCommunityName,
    errind.UnknownSecurityName,
    errind.UnknownUserName,
    errind.UnsupportedAuthProtocol,
    errind.UnsupportedPrivProtocol,
    errind.UnsupportedSecurityLevel,
    errind.WrongDigest,
)
_AUTHORIZATION_ERROR = 16  # RFC 3416, 3
_NOTHING = (univ.Null, NoSuchObject, NoSuchInstance, EndOfMibView)


class PysnmpSession:
    """See `agent.probes.snmp.probe.engine.Session`. Each has an SNMP engine of its own (75 ms and 1 MB to make), so that the
    same user name may have another password on another device."""

    def __init__(self, login: SnmpLogin) -> None:
        self._login = login
        self._post = _Dispatcher(login.host, login.port)
        self._engine = hlapi.SnmpEngine(msgAndPduDsp=self._post)
        self._who = _who(login)
        self._target: Any = None

    async def get_many(self, oids: Sequence[str]) -> dict[str, Raw]:
        """See `Session.get_many`."""
        bindings = await self._request(hlapi.get_cmd, *map(_asked, oids))
        return {str(name): _raw(value) for name, value in bindings if not isinstance(value, _NOTHING)}

    async def walk(self, base: str, rows: int = MAX_TABLE_ROWS) -> WalkRows[Raw]:
        """See `Session.walk`."""
        return (await self._walk(base, rows)).each(_raw)

    async def record(self, base: str, rows: int) -> list[tuple[str, int, Raw]]:
        """The same with the BER tag of each value: what a recording needs."""
        return [(name, _tag(value), _raw(value)) for name, value in await self._walk(base, rows)]

    async def _walk(self, base: str, rows: int) -> WalkRows[Any]:
        limit_s = 2 * self._login.timeout_s  # `_request` has its own, shorter
        try:
            return await collect_walk(self._rows(base), base, limit_s, rows)
        except TimeoutError:
            raise await self._nothing() from None

    def close(self) -> None:
        """See `Session.close`."""
        self._engine.close_dispatcher()

    async def _rows(self, base: str) -> AsyncIterator[tuple[str, Any]]:
        after = base
        nulls = 0
        while nulls < MAX_NULL_ANSWERS:
            if self._login.snmp.version is SnmpVersion.V1:
                bindings = await self._request(hlapi.next_cmd, _asked(after))
            else:
                bindings = await self._request(hlapi.bulk_cmd, 0, BULK_SIZE, _asked(after))
            if not bindings:
                return
            nulls += 1
            for name, value in bindings:
                if isinstance(value, EndOfMibView):
                    return
                after = str(name)
                if not isinstance(value, _NOTHING):
                    nulls = 0
                    yield after, value
                elif not after.startswith(base + "."):
                    return

    async def _request(self, command: Any, *asked: Any) -> Sequence[tuple[Any, Any]]:
        try:
            async with asyncio.timeout(self._login.timeout_s) as limit:
                if self._target is None:
                    self._target = await _target(self._login)
                with self._post.watching(limit):
                    problem, status, _, bindings = await command(
                        self._engine, self._who, self._target, hlapi.ContextData(), *asked, lookupMib=False
                    )
        except TimeoutError:
            raise await self._nothing() from None
        except Exception as error:  # noqa: BLE001 -- whatever a hostile answer makes the library raise; its text may quote the packet
            raise NoAnswer(Reason.MALFORMED, f"the answer breaks the rules of SNMP ({type(error).__name__})") from None
        if isinstance(problem, errind.RequestTimedOut):
            raise await self._nothing()
        if isinstance(problem, _REFUSED) or int(status) == _AUTHORIZATION_ERROR:
            raise NoAnswer(Reason.REFUSED, BAD_LOGIN)
        if problem:
            raise NoAnswer(Reason.MALFORMED, f"the answer is not SNMP: {problem}")
        return () if int(status) else bindings

    async def _nothing(self) -> NoAnswer:
        """The library's socket is not connected and hears no ICMP, so ask the port once more with one that is."""
        if self._post.spoilt:
            return NoAnswer(Reason.MALFORMED, "the answer is not SNMP")
        if self._post.stranger:
            return NoAnswer(Reason.TIMEOUT, f"no answer from there, but one from {self._post.stranger}")
        if await _port_is_dead(self._login.host, self._login.port):
            return NoAnswer(Reason.UNREACHABLE, DEAD_PORT)
        return no_answer(self._login)


class _Dispatcher(MsgAndPduDispatcher):  # type: ignore[misc]  # the library ships no types
    """Takes the device's datagrams into the library, and only its: the socket hears everybody. Of one that cannot be read the
    library says nothing and waits on; this ends the wait."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self._from = _bare(host), port
        self._limit: asyncio.Timeout | None = None
        self.spoilt = False
        self.stranger = ""

    @contextlib.contextmanager
    def watching(self, limit: asyncio.Timeout) -> Iterator[None]:
        """While a request waits for its answer at most until `limit`."""
        self._limit, self.spoilt, self.stranger = limit, False, ""
        try:
            yield
        finally:
            self._limit = None

    def receive_message(self, engine: Any, domain: Any, sender: Any, message: bytes) -> Any:
        """See MsgAndPduDispatcher; called by the event loop, where nobody would catch what it raises."""
        limit = self._limit
        if limit is None or limit.expired():
            return b""
        if (_bare(sender[0]), sender[1]) != self._from:
            self.stranger = f"{sender[0]}:{sender[1]}"
            return b""
        before = self._unread()
        try:
            return super().receive_message(engine, domain, sender, message)
        except Exception:  # noqa: BLE001 -- whatever a hostile answer makes the library raise
            self.spoilt = True
        finally:
            self.spoilt = self.spoilt or self._unread() > before
            if self.spoilt:
                limit.reschedule(asyncio.get_running_loop().time())
        return b""

    def _unread(self) -> int:
        """How many datagrams the library could not read."""
        (count,) = self.mib_instrum_controller.get_mib_builder().import_symbols("__SNMPv2-MIB", "snmpInASNParseErrs")
        return int(count.syntax)


def _bare(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address without the network interface that a link-local one is written with."""
    return ipaddress.ip_address(host.partition("%")[0])


def _who(login: SnmpLogin) -> Any:
    snmp = login.snmp
    if snmp.version is not SnmpVersion.V3:
        return hlapi.CommunityData(login.community, mpModel=0 if snmp.version is SnmpVersion.V1 else 1)
    return hlapi.UsmUserData(
        snmp.user,
        authKey=login.auth_password or None,
        privKey=login.priv_password or None,
        authProtocol=_AUTH[snmp.auth],
        privProtocol=_PRIV[snmp.priv],
    )


async def _target(login: SnmpLogin) -> Any:
    kind = hlapi.Udp6TransportTarget if ":" in login.host else hlapi.UdpTransportTarget
    # its own timeout is only a backstop: it counts in half seconds
    return await kind.create((login.host, login.port), timeout=2 * login.timeout_s + 1, retries=0)


def _asked(oid: str) -> Any:
    return hlapi.ObjectType(hlapi.ObjectIdentity(oid))


def _raw(value: Any) -> Raw:
    """The same Python value that gufo makes of it."""
    if isinstance(value, univ.Integer):
        return int(value)
    if isinstance(value, univ.ObjectIdentifier):
        return str(value)
    if isinstance(value, IpAddress):
        return str(value.prettyPrint())
    if isinstance(value, univ.OctetString):
        return bytes(value[:LONGEST_STRING])
    return str(value.prettyPrint())


def _tag(value: Any) -> int:
    """The first byte of its BER encoding, but for the bit of constructed types."""
    tag = value.tagSet[-1]
    return int(tag.tagClass | tag.tagId)


async def _port_is_dead(host: str, port: int) -> bool:
    """Whether an empty datagram to the port comes back as an ICMP error."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as knock, contextlib.suppress(OSError):
        knock.connect((host, port))
        knock.send(b"")
        try:
            async with asyncio.timeout(ECHO_S):
                await loop.sock_recv(knock, 1)
        except TimeoutError:
            return False
        except ConnectionRefusedError:
            return True
    return False
