"""SNMP by pysnmp: the fallback engine. It copes with odd devices, at a hundred times the CPU, and is imported only when
a device needs it."""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Any

from pyasn1.type import univ  # type: ignore[import-untyped]  # ships no types, like pysnmp
from pysnmp.hlapi.v3arch import asyncio as hlapi  # type: ignore[import-untyped]
from pysnmp.proto import errind  # type: ignore[import-untyped]
from pysnmp.proto.rfc1902 import IpAddress  # type: ignore[import-untyped]
from pysnmp.proto.rfc1905 import EndOfMibView, NoSuchInstance, NoSuchObject  # type: ignore[import-untyped]
from pysnmp.proto.rfc3412 import MsgAndPduDispatcher  # type: ignore[import-untyped]

from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.snmp.dialect.habits import Dialect
from watchkeeper.agent.probes.snmp.dialect.unsigned import with_leading_zeros
from watchkeeper.agent.probes.snmp.dialect.walk import BindingCursor, TableBinding, walk_rows
from watchkeeper.agent.probes.snmp.engine import (
    BAD_LOGIN,
    DEAD_PORT,
    LONGEST_STRING,
    MAX_TABLE_ROWS,
    SnmpLogin,
    WalkRows,
    no_answer,
    other_sender,
)
from watchkeeper.model.device import SnmpAuth, SnmpPriv, SnmpVersion
from watchkeeper.model.reading import Reason
from watchkeeper.profiles.decode import Raw

ICMP_WAIT_S = 0.05  # an ICMP error from the same network comes sooner

_AUTH_PROTOCOLS = MappingProxyType(
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
_PRIV_PROTOCOLS = MappingProxyType(
    {
        None: hlapi.USM_PRIV_NONE,
        SnmpPriv.DES: hlapi.USM_PRIV_CBC56_DES,
        SnmpPriv.AES: hlapi.USM_PRIV_CFB128_AES,
        SnmpPriv.AES192: hlapi.USM_PRIV_CFB192_AES_BLUMENTHAL,
        SnmpPriv.AES256: hlapi.USM_PRIV_CFB256_AES_BLUMENTHAL,
        SnmpPriv.AES192C: hlapi.USM_PRIV_CFB192_AES,
        SnmpPriv.AES256C: hlapi.USM_PRIV_CFB256_AES,
    }
)
_AUTH_ERRORS = (
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
_NO_VALUE = (univ.Null, NoSuchObject, NoSuchInstance, EndOfMibView)


class PysnmpSession:
    """Implements `engine.SnmpSession`. Each session has its own SNMP engine (75 ms and 1 MB): the same user name may
    have different passwords on different devices."""

    def __init__(self, login: SnmpLogin) -> None:
        self.dialect = Dialect()
        self._login = login
        self._dispatcher = _Dispatcher(login)
        self._engine = hlapi.SnmpEngine(msgAndPduDsp=self._dispatcher)
        self._credentials = _credentials(login)
        self._target: Any = None

    async def get_many(self, oids: Sequence[str]) -> dict[str, Raw]:
        """Implements `SnmpSession.get_many`."""
        bindings = await self._request(hlapi.get_cmd, *map(_object_type, oids))
        return {str(name): _to_python(value) for name, value in bindings if not isinstance(value, _NO_VALUE)}

    async def walk(self, base: str, rows: int = MAX_TABLE_ROWS) -> WalkRows[Raw]:
        """Implements `SnmpSession.walk`."""
        return (await self._walk(base, rows)).each(_to_python)

    async def record(self, base: str, rows: int) -> list[tuple[str, int, Raw]]:
        """Walk, and return each value also with its BER tag, which a recording needs."""
        return [(name, _ber_tag(value), _to_python(value)) for name, value in await self._walk(base, rows)]

    async def _walk(self, base: str, rows: int) -> WalkRows[Any]:
        has_bulk = self._login.snmp.version is not SnmpVersion.V1
        return await walk_rows(
            lambda size: BindingCursor(self._bindings, base, size),
            rows, self._login.timeout_s, self.dialect, has_bulk=has_bulk,
        )  # fmt: skip

    async def next_object(self, after: str) -> tuple[str, Raw] | None:
        """Implements `SnmpSession.next_object`."""
        for name, value in await self._request(hlapi.next_cmd, _object_type(after)):
            if not isinstance(value, _NO_VALUE):
                return str(name), _to_python(value)
        return None

    def close(self) -> None:
        """Implements `SnmpSession.close`."""
        self._engine.close_dispatcher()

    async def _bindings(self, after: str, rows: int) -> list[TableBinding[Any]]:
        """What GETBULK answers for so many rows after an object; GETNEXT for 0."""
        if rows:
            bindings = await self._request(hlapi.bulk_cmd, 0, rows, _object_type(after))
        else:
            bindings = await self._request(hlapi.next_cmd, _object_type(after))
        return [
            TableBinding(str(name), None if isinstance(value, _NO_VALUE) else value, isinstance(value, EndOfMibView))
            for name, value in bindings
        ]

    async def _request(self, command: Any, *arguments: Any) -> Sequence[tuple[Any, Any]]:
        try:
            async with asyncio.timeout(self._login.timeout_s) as limit:
                if self._target is None:
                    self._target = await _transport_target(self._login)
                with self._dispatcher.waiting(limit):
                    problem, status, _, bindings = await command(
                        self._engine, self._credentials, self._target, hlapi.ContextData(), *arguments, lookupMib=False
                    )
        except TimeoutError:
            raise await self._failure() from None
        except Exception as error:  # noqa: BLE001 -- a hostile answer may make the library raise any error, and its text may quote the packet
            raise NoAnswer(Reason.MALFORMED, f"the answer breaks the rules of SNMP ({type(error).__name__})") from None
        if isinstance(problem, errind.RequestTimedOut):
            raise await self._failure()
        if isinstance(problem, _AUTH_ERRORS) or int(status) == _AUTHORIZATION_ERROR:
            raise NoAnswer(Reason.REFUSED, BAD_LOGIN)
        if problem:
            raise NoAnswer(Reason.MALFORMED, f"the answer is not SNMP: {problem}")
        return () if int(status) else bindings

    async def _failure(self) -> NoAnswer:
        """Why no answer came. The library's socket is not connected, so it gets no ICMP errors: the port is tried once
        more with a connected socket."""
        if self._dispatcher.malformed:
            return NoAnswer(Reason.MALFORMED, "the answer is not SNMP")
        if self._dispatcher.other_sender:
            return NoAnswer(Reason.TIMEOUT, other_sender(*self._dispatcher.other_sender))
        if await _port_is_dead(self._login.host, self._login.port):
            return NoAnswer(Reason.UNREACHABLE, DEAD_PORT)
        return no_answer(self._login)


class _Dispatcher(MsgAndPduDispatcher):  # type: ignore[misc]  # the library ships no types
    """Passes the device's datagrams to the library and drops those of other senders, which the socket also receives.
    The library ignores a datagram that it cannot read and waits on; this dispatcher ends the wait."""

    def __init__(self, login: SnmpLogin) -> None:
        super().__init__()
        # A device that answers from another address may also use another port: every request has its own
        self._device = _parse_address(login.snmp.answers_from or login.host)
        self._port = 0 if login.snmp.answers_from else login.port
        self._may_rewrite = login.snmp.auth is None  # a digest is over the octets as they came
        self._limit: asyncio.Timeout | None = None
        self.malformed = False
        self.other_sender: tuple[str, int] | None = None

    @contextlib.contextmanager
    def waiting(self, limit: asyncio.Timeout) -> Iterator[None]:
        """Accept datagrams while a request waits for its answer, until `limit` at most."""
        self._limit, self.malformed, self.other_sender = limit, False, None
        try:
            yield
        finally:
            self._limit = None

    def receive_message(self, engine: Any, domain: Any, sender: Any, message: bytes) -> Any:
        """Overrides `MsgAndPduDispatcher.receive_message`. The event loop calls it, so it must not raise."""
        limit = self._limit
        if limit is None or limit.expired():
            return b""
        if _parse_address(sender[0]) != self._device or self._port not in (0, sender[1]):
            self.other_sender = sender[0], sender[1]
            return b""
        before = self._parse_errors()
        try:
            readable = with_leading_zeros(message) if self._may_rewrite else message
            return super().receive_message(engine, domain, sender, readable)
        except Exception:  # noqa: BLE001 -- a hostile answer may make the library raise any error
            self.malformed = True
        finally:
            self.malformed = self.malformed or self._parse_errors() > before
            if self.malformed:
                limit.reschedule(asyncio.get_running_loop().time())
        return b""

    def _parse_errors(self) -> int:
        """How many datagrams the library could not parse."""
        (count,) = self.mib_instrum_controller.get_mib_builder().import_symbols("__SNMPv2-MIB", "snmpInASNParseErrs")
        return int(count.syntax)


def _parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address without the interface's name (`%eth0`) of a link-local one."""
    return ipaddress.ip_address(host.partition("%")[0])


def _credentials(login: SnmpLogin) -> Any:
    snmp = login.snmp
    if snmp.version is not SnmpVersion.V3:
        return hlapi.CommunityData(login.community, mpModel=0 if snmp.version is SnmpVersion.V1 else 1)
    return hlapi.UsmUserData(
        snmp.user,
        authKey=login.auth_password or None,
        privKey=login.priv_password or None,
        authProtocol=_AUTH_PROTOCOLS[snmp.auth],
        privProtocol=_PRIV_PROTOCOLS[snmp.priv],
    )


async def _transport_target(login: SnmpLogin) -> Any:
    kind = hlapi.Udp6TransportTarget if ":" in login.host else hlapi.UdpTransportTarget
    # The library's own timeout, which counts in half seconds, is only a backstop
    return await kind.create((login.host, login.port), timeout=2 * login.timeout_s + 1, retries=0)


def _object_type(oid: str) -> Any:
    return hlapi.ObjectType(hlapi.ObjectIdentity(oid))


def _to_python(value: Any) -> Raw:
    """The same Python value as gufo returns."""
    if isinstance(value, univ.Integer):
        return int(value)
    if isinstance(value, univ.ObjectIdentifier):
        return str(value)
    if isinstance(value, IpAddress):
        return str(value.prettyPrint())
    if isinstance(value, univ.OctetString):
        return bytes(value[:LONGEST_STRING])
    return str(value.prettyPrint())


def _ber_tag(value: Any) -> int:
    """The first byte of the value's BER encoding, without the bit for constructed types."""
    tag = value.tagSet[-1]
    return int(tag.tagClass | tag.tagId)


async def _port_is_dead(host: str, port: int) -> bool:
    """Whether an empty datagram to the port is answered with an ICMP error."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as connected, contextlib.suppress(OSError):
        connected.connect((host, port))
        connected.send(b"")
        try:
            async with asyncio.timeout(ICMP_WAIT_S):
                await loop.sock_recv(connected, 1)
        except TimeoutError:
            return False
        except ConnectionRefusedError:
            return True
    return False
