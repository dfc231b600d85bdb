"""The database probes against servers that are no database: they send rubbish, drip, hang, or ask for the password."""

import asyncio
import sys
from dataclasses import replace
from functools import partial

import pytest

from tests.service_room import PASSWORD, USER, Talk, down, listening, look, mute, probe_of, reason, see, service
from watchkeeper.agent.probes.services import mysql
from watchkeeper.model.device import Database
from watchkeeper.model.reading import Missing, Reason, Value

KINDS = ["postgresql", "mysql", "redis"]
LOGIN = Database(USER, "login")


async def _rubbish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n" + bytes(range(256)) * 8)
    await writer.drain()
    await reader.read(100)


async def _drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter, begin: bytes) -> None:
    writer.write(begin)
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def _shut(*_: object) -> None:
    pass


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("talk", [_rubbish, _shut])
def test_a_server_that_is_no_database_is_down(kind: str, talk: Talk) -> None:
    async def run() -> dict[str, Value]:
        async with listening(talk) as address:
            return await look(service(kind, address, database=LOGIN))

    assert down(asyncio.run(run()))


# In each protocol, the beginning of an answer whose length is never reached
@pytest.mark.parametrize(
    ("kind", "begin"), [("postgresql", b"NE\0\0\x70\0"), ("mysql", b"\xff\xff\x0f\0"), ("redis", b"+")]
)
@pytest.mark.parametrize("drips", [True, False])
def test_a_server_that_drips_or_hangs_is_left_at_the_deadline(
    kind: str, begin: bytes, drips: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql, "MYSQL_THREADS", 1)

    async def run() -> list[dict[str, Value]]:
        probe = probe_of(kind)
        device = service(kind, "", timeout_s=0.2, database=LOGIN)
        talk = partial(_drip, begin=begin) if drips else mute
        async with listening(talk) as address, listening(_rubbish) as another:
            left = [await look(replace(device, address=address), probe) for _ in range(2)]
            # the server still drips or hangs, but the one thread is free again
            other = await look(replace(device, address=another, timeout_s=5.0), probe)
        await probe.close()
        return [*left, other]

    *left, other = asyncio.run(run())
    for seen in left:
        assert down(seen) == "connected, but no whole answer within 0.2 s"
    assert reason(other["response.time"]) is not Reason.TIMEOUT


async def _too_many(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"-ERR max number of clients reached\r\n")
    await reader.read()


async def _says_ok_to_everything(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(4096):
        writer.write(b"+OK\r\n")


async def _starts_a_copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A PostgreSQL that accepts every login and answers a query with the start of a COPY, which libpq repeats for
    ever."""
    await reader.readexactly(8)  # SSLRequest
    writer.write(b"N")
    await reader.read(4096)
    writer.write(b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I")  # AuthenticationOk, ReadyForQuery
    await reader.read(4096)
    writer.write(b"H\0\0\0\x07\0\0\0")  # CopyOutResponse
    await reader.read()


@pytest.mark.parametrize(
    ("kind", "talk", "detail"),
    [
        ("redis", _too_many, "login refused: no connection left (maxclients)"),
        ("redis", _says_ok_to_everything, "the server is not Redis, or refuses PING"),
        ("postgresql", _starts_a_copy, "login accepted, but SELECT 1 fails (SQLSTATE none)"),
    ],
)
def test_a_wrong_answer_is_down(kind: str, talk: Talk, detail: str) -> None:
    async def run() -> dict[str, Value]:
        async with listening(talk) as address:
            return await look(service(kind, address, database=LOGIN))

    assert down(asyncio.run(run())) == detail


GREETING = (
    b"\x0a8.0.36\0" + bytes(4) + b"saltsalt\0" + b"\xff\xf7\x21\2\0\x0f\0\x15" + bytes(10) + b"saltsaltsalt\0"
    b"mysql_native_password\0"
)  # fmt: skip


async def _reports_no_status(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A MySQL that accepts the login and SELECT 1, and refuses queries for its status."""

    def send(nth: int, body: bytes) -> None:
        writer.write(len(body).to_bytes(3, "little") + bytes([nth]) + body)

    async def receive() -> bytes:
        return await reader.readexactly(int.from_bytes((await reader.readexactly(4))[:3], "little"))

    send(0, GREETING)
    await receive()
    send(2, b"\0\0\0\2\0\0\0")
    while True:
        send(1, b"\xff\xcb\x04#42000no" if b"SHOW" in await receive() else b"\0\0\0\2\0\0\0")


def test_a_mysql_that_does_not_report_its_connections_is_up() -> None:
    async def run() -> dict[str, Value]:
        async with listening(_reports_no_status) as address:
            return await look(service("mysql", address, database=LOGIN))

    seen = asyncio.run(run())
    assert seen["service.state"] == "up"
    assert seen["connections.usage"] == Missing(Reason.ABSENT, "the server does not report its number of connections")


async def _asks_for_clear_password(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: str, received: list[bytes]
) -> None:
    """A server that asks for the password in the clear."""
    if kind == "postgresql":
        await reader.readexactly(8)  # SSLRequest
        writer.write(b"N")
        await reader.read(4096)
        writer.write(b"R\0\0\0\x08\0\0\0\x03")  # AuthenticationCleartextPassword
    else:
        writer.write(len(GREETING).to_bytes(3, "little") + b"\0" + GREETING)
        await reader.read(4096)
        switch = b"\xfemysql_clear_password\0"
        writer.write(len(switch).to_bytes(3, "little") + b"\2" + switch)
    received.append(b"asked")
    received.append(await reader.read(4096))


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_without_tls_the_password_is_never_sent_in_the_clear(kind: str) -> None:
    received: list[bytes] = []

    async def run() -> dict[str, Value]:
        async with listening(partial(_asks_for_clear_password, kind=kind, received=received)) as address:
            return await look(service(kind, address, database=LOGIN))

    assert down(asyncio.run(run())) == "the server wants the password in the clear; it is sent only with `tls: true`"
    assert received[0] == b"asked"
    assert PASSWORD.encode() not in b"".join(received)


@pytest.mark.parametrize(("kind", "module"), [("postgresql", "psycopg"), ("mysql", "pymysql"), ("redis", "redis")])
def test_a_driver_that_is_not_installed_is_named(kind: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    seen = see(service(kind, "127.0.0.1:1", database=LOGIN))
    assert seen["device.answering"] == "no"
    assert isinstance(missing := seen["service.state"], Missing)
    assert missing.reason is Reason.FAULT
    assert f"pip install 'watchkeeper[{kind}]'" in missing.detail
