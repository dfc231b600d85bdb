"""SNMPv3 with authentication by our own code: twenty objects cost about 120 us of CPU, and no forged answer is believed.
agent/snmpv3 decides what an answer is worth; here are the socket and the waiting."""

import asyncio
import secrets
import socket
from collections.abc import Sequence
from typing import NamedTuple

from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.snmp.dialect.habits import Dialect
from watchkeeper.agent.probes.snmp.dialect.walk import BindingCursor, TableBinding, walk_rows
from watchkeeper.agent.probes.snmp.engine import (
    BAD_LOGIN,
    DEAD_PORT,
    LONGEST_STRING,
    MAX_TABLE_ROWS,
    SnmpLogin,
    WalkRows,
    no_answer,
)
from watchkeeper.agent.snmpv3.ber import Undecodable
from watchkeeper.agent.snmpv3.message import UsmMessage, open_message
from watchkeeper.agent.snmpv3.pdu import END_OF_VIEW, GET, GETBULK, GETNEXT, Binding, Pdu, read_bindings
from watchkeeper.agent.snmpv3.remote import Heard, Question, RemoteEngine, discovery
from watchkeeper.agent.snmpv3.usm import User, UsmRefused
from watchkeeper.model.reading import Reason
from watchkeeper.profiles.decode import Raw

MAX_QUESTIONS = 4
"""Messages for one request: the device may tell its engine id, then its time, then another engine id."""

GRACE_S = 0.2
"""How long the device's answer is waited for after a datagram that is not SNMP."""

CANNOT_DECRYPT = "the device cannot decrypt the request: privacy password or protocol wrong"
NOT_BELIEVED = "an answer came, but it may be forged"

_AUTHORIZATION_ERROR = 16  # RFC 3416, 3
_RECEIVE_BYTES = 65_535
_DATAGRAMS_PER_TURN = 16
"""Datagrams read in one turn of the event loop, so that a flood does not stop other work."""


class _Waiting(NamedTuple):
    asked: Question
    answer: asyncio.Future[Pdu | Heard]
    limit: asyncio.Timeout


class UsmSession:
    """Implements `engine.SnmpSession`, from the event loop in which it is opened. The socket is connected, so the kernel
    drops the datagrams of other addresses and reports ICMP errors."""

    def __init__(self, login: SnmpLogin) -> None:
        snmp = login.snmp
        user = User(
            snmp.user.encode(), snmp.auth, login.auth_password.encode(), snmp.priv, login.priv_password.encode()
        )
        try:
            user.keys(b"")  # makes the passwords into keys, which takes milliseconds once
        except UsmRefused as error:
            raise NoAnswer(Reason.REFUSED, str(error)) from None
        self.dialect = Dialect()
        self._login = login
        self._remote = RemoteEngine(user, secrets.randbits(64))
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, _Waiting] = {}
        self._doubt: NoAnswer | None = None
        self._socket = socket.socket(socket.AF_INET6 if ":" in login.host else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)  # noqa: FBT003 -- the standard library's signature
            self._socket.connect((login.host, login.port))
        except OSError:
            self._socket.close()
            raise
        self._loop.add_reader(self._socket, self._receive)

    async def get_many(self, oids: Sequence[str]) -> dict[str, Raw]:
        """Implements `SnmpSession.get_many`."""
        bindings = await self._request(GET, tuple(oids))
        return {name: _cut(value) for name, _, value in bindings if value is not None}

    async def walk(self, base: str, rows: int = MAX_TABLE_ROWS) -> WalkRows[Raw]:
        """Implements `SnmpSession.walk`."""
        return await walk_rows(
            lambda size: BindingCursor(self._bindings, base, size),
            rows, self._login.timeout_s, self.dialect, has_bulk=True,
        )  # fmt: skip

    async def next_object(self, after: str) -> tuple[str, Raw] | None:
        """Implements `SnmpSession.next_object`."""
        for name, _, value in await self._request(GETNEXT, (after,)):
            if value is not None:
                return name, _cut(value)
        return None

    def close(self) -> None:
        """Implements `SnmpSession.close`."""
        if self._socket.fileno() >= 0:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._socket)
            self._socket.close()

    async def _bindings(self, after: str, rows: int) -> list[TableBinding[Raw]]:
        """What GETBULK answers for so many rows after an object; GETNEXT for 0."""
        found = await self._request(GETBULK if rows else GETNEXT, (after,), rows)
        return [
            TableBinding(name, None if value is None else _cut(value), tag == END_OF_VIEW) for name, tag, value in found
        ]

    async def _request(self, tag: int, oids: tuple[str, ...], rows: int = 0) -> list[Binding]:
        """The bindings of the device's answer; none if it answers with an error."""
        for _ in range(MAX_QUESTIONS):
            heard = await self._exchange(self._question(tag, oids, rows))
            if isinstance(heard, Pdu):
                if heard.status == _AUTHORIZATION_ERROR:
                    break
                try:
                    return [] if heard.status else read_bindings(heard.listed, oids if tag == GET else ())
                except Undecodable as error:
                    raise NoAnswer(Reason.MALFORMED, f"the answer is not SNMP: {error}") from None
            if heard is Heard.NOT_DECRYPTED:
                raise NoAnswer(Reason.REFUSED, CANNOT_DECRYPT)
            if heard is Heard.OTHER_REPORT:
                raise NoAnswer(Reason.MALFORMED, "the answer is not SNMP: a report that says nothing about the login")
            if heard is Heard.REFUSED:
                break
        raise NoAnswer(Reason.REFUSED, BAD_LOGIN)

    def _question(self, tag: int, oids: tuple[str, ...], rows: int) -> Question:
        numbers = secrets.randbits(31), secrets.randbits(31)
        if not self._remote.known:
            return discovery(numbers[0])
        return self._remote.ask(tag, oids, numbers, self._loop.time(), rows)

    async def _exchange(self, asked: Question) -> Pdu | Heard:
        """Send a message and wait for what it brings. Raises NoAnswer."""
        if self._socket.fileno() < 0:
            raise NoAnswer(Reason.FAULT, "the session is closed")
        answer: asyncio.Future[Pdu | Heard] = self._loop.create_future()
        self._doubt = None
        try:
            async with asyncio.timeout(self._login.timeout_s) as limit:
                self._waiting[asked.msg_id] = _Waiting(asked, answer, limit)
                self._socket.send(asked.whole)
                return await answer
        except TimeoutError:
            raise self._failure() from None
        except ConnectionRefusedError:
            raise NoAnswer(Reason.UNREACHABLE, DEAD_PORT) from None
        except OSError as error:
            raise NoAnswer(Reason.UNREACHABLE, f"the network reports: {error}") from None
        finally:
            self._waiting.pop(asked.msg_id, None)

    def _failure(self) -> NoAnswer:
        return self._doubt or no_answer(self._login)

    # ---- called by the event loop ----

    def _receive(self) -> None:
        for _ in range(_DATAGRAMS_PER_TURN):
            try:
                datagram = self._socket.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                return
            except OSError as error:  # an ICMP error
                self._fail(error)
                return
            if self._waiting:
                self._hear(datagram)

    def _hear(self, datagram: bytes) -> None:
        """Give a datagram to the request that waits for it. One that is refused does not end the wait, because the
        device's own answer may follow."""
        now = self._loop.time()
        try:
            message = open_message(datagram)
            if not isinstance(message, UsmMessage) or (waiting := self._waiting.get(message.msg_id)) is None:
                return  # SNMPv1 or v2c, or an answer that comes too late
            heard = self._remote.hear(message, waiting.asked, now)
        except Undecodable as error:
            self._doubt = NoAnswer(Reason.MALFORMED, f"the answer is not SNMP: {error}")
            for one in self._waiting.values():
                if not one.limit.expired():
                    one.limit.reschedule(min(one.limit.when() or now, now + GRACE_S))
        except UsmRefused as error:
            self._doubt = NoAnswer(Reason.TIMEOUT, f"{NOT_BELIEVED}: {error}")
        else:
            if not waiting.answer.done():
                waiting.answer.set_result(heard)

    def _fail(self, error: OSError) -> None:
        for one in self._waiting.values():
            if not one.answer.done():
                one.answer.set_exception(error)


def _cut(value: Raw) -> Raw:
    return value[:LONGEST_STRING] if isinstance(value, bytes) else value
