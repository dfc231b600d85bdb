"""Servers that mean harm, and the run of the real probes against them. They serve in this process; the probes are in another one, of
which the memory is measured (tests/chaos/hostile_agent.py)."""

import asyncio
import contextlib
import json
import struct
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.snmp_liar import GETBULK, GETNEXT, answer, parse_request, text

ROOT = Path(__file__).parents[2]
MOST_BYTES = 64 << 20
"""How much the agent may grow. The libraries that it imports for all kinds take a part of it."""

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
Talk = Callable[[Reader, Writer], Awaitable[None]]
Reply = Callable[[bytes], Sequence[bytes]]

TCP_KINDS = ("tcp", "http", "https", "nut", "modbus")
DATABASES = ("mysql", "postgresql", "redis", "mysql-tls", "postgresql-tls", "redis-tls")
UDP_KINDS = ("snmp", "snmp-old", "snmp-v3", "ipmi")


# ---- whatever the protocol is ----


async def silent(reader: Reader, _: Writer) -> None:
    """Accepts and says nothing."""
    while await reader.read(4096):
        pass


async def trickling(_: Reader, writer: Writer) -> None:
    """One byte a second, for ever."""
    while True:
        writer.write(b"H")
        await writer.drain()
        await asyncio.sleep(1)


async def endless(_: Reader, writer: Writer) -> None:
    """As many bytes as the connection takes."""
    await _pour(writer, bytes(range(256)) * 256)


async def endless_line(_: Reader, writer: Writer) -> None:
    """One line that never ends."""
    await _pour(writer, b"A" * 65_536)


async def echoing(reader: Reader, writer: Writer) -> None:
    """Sends back what it is sent."""
    while data := await reader.read(4096):
        writer.write(data)
        await writer.drain()


async def _pour(writer: Writer, piece: bytes) -> None:
    while True:
        writer.write(piece)
        await writer.drain()


def after(*said: bytes, then: bytes, first: bool = False) -> Talk:
    """Says each part after a request (the `first` one without), and with the last part also `then`, for ever."""

    async def talk(reader: Reader, writer: Writer) -> None:
        for number, part in enumerate(said):
            if not (first and number == 0):
                await reader.read(4096)
            writer.write(part)
            await writer.drain()
        await _pour(writer, then)

    return talk


# ---- absurd sizes, lengths and counts ----


def _packet(number: int, body: bytes) -> bytes:
    """A packet of MySQL."""
    return struct.pack("<I", len(body))[:3] + bytes((number,)) + body


MYSQL_HELLO = _packet(
    0, b"\x0a8.0.36\0" + bytes(4) + b"12345678\0" + b"\xff\xf7\xff\x02\0\xff\xdf\x15" + bytes(10) + b"123456789012\0"
    b"mysql_native_password\0",
)  # fmt: skip
MYSQL_OK = _packet(2, b"\0\0\0\x02\0\0\0")
PG_READY = b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I"
PG_ROW_HEAD = b"T" + struct.pack("!IH", 4 + 2 + 2 + 18, 1) + b"a\0" + bytes(18)
PG_ROW = b"D" + struct.pack("!IHI", 4 + 2 + 4 + 1000, 1, 1000) + b"x" * 1000


def _chunk(size: str) -> Talk:
    return after(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\n".encode(), then=b"z" * 65_536)


ABSURD: Mapping[str, tuple[Talk, ...]] = {
    "http": (
        _chunk("7fffffffffffffff"),
        after(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", then=b"z" * 65_536),
        after(b"HTTP/1.1 200 OK\r\n", then=b"X-Header: yes\r\n" * 4096),
        after(b"", then=b"HTTP/1.1 100 Continue\r\n\r\n" * 4096),
        after(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", then=b"z" * 65_536),
        after(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08" + bytes(7), then=bytes(65_536)),
    ),
    "nut": (
        after(b"BEGIN LIST VAR ups\n", then=b'VAR ups a.b "1"\n' * 4096),
        after(b"BEGIN LIST VAR ups\n", then=b'VAR ups a.b "' + b"x" * 3000 + b'"\n'),
        after(b"BEGIN LIST VAR ups\nVAR ups " + b"x" * 60_000, then=b"x" * 65_536),
    ),
    "modbus": (
        after(b"", then=b"\0\x01\0\0\xff\xff\x01\x03\xff" + bytes(65_000)),
        after(b"", then=b"".join(struct.pack("!HHHBBB", one, 0, 63, 1, 3, 60) + bytes(60) for one in range(1, 900))),
        after(b"\0\x01\0\0\0\x03\x01\x83\x02", then=b"\0\x01\0\0\0\x03\x01\x83\x06" * 7000),
    ),
    "redis": (
        after(b"+OK\r\n", b"$2000000000\r\n", then=b"x" * 65_536),
        after(b"+OK\r\n", b"*2000000000\r\n", then=b":1\r\n" * 16_384),
        after(b"+OK\r\n", b"", then=b"*1\r\n" * 16_384),
        after(b"+OK\r\n", b"+PONG\r\n", b"$2000000000\r\n", then=b"a:1\r\n" * 16_384),
        after(b"-" + b"E" * 100_000, then=b"E" * 65_536),
    ),
    "mysql": (
        after(MYSQL_HELLO, MYSQL_OK, then=b"\xff\xff\xff\x01" + b"x" * 0xFFFFFF, first=True),
        after(MYSQL_HELLO, MYSQL_OK, _packet(1, b"\xfe" + b"\xff" * 7 + b"\x7f"), then=_packet(2, b"\x03def" * 200) * 100, first=True),
        after(b"\xff\xff\xff\0\x0a" + b"8" * 65_536, then=b"8" * 65_536, first=True),
        after(MYSQL_HELLO, MYSQL_OK, _packet(1, b"\xfb/etc/passwd"), then=b"\0" * 65_536, first=True),
    ),
    "postgresql": (
        after(b"N", PG_READY, b"D" + struct.pack("!I", 1 << 30), then=b"x" * 65_536),
        after(b"N", PG_READY, PG_ROW_HEAD, then=PG_ROW * 60),
        after(b"N", PG_READY, b"T" + struct.pack("!IH", 1 << 29, 65_535), then=b"c\0" + bytes(65_534)),
        after(b"N", b"E" + struct.pack("!I", 1 << 30), then=b"M" + b"x" * 65_535),
        after(b"N", PG_READY, then=b"N" + struct.pack("!I", 4 + 1000) + b"S" * 1000),
    ),
}  # fmt: skip
"""Of each kind, servers that speak its protocol and lie about sizes, or never come to an end."""

ANY: Mapping[str, Talk] = {
    "silent": silent, "trickling": trickling, "endless": endless, "endless line": endless_line, "echoing": echoing,
}  # fmt: skip


# ---- datagrams ----


def _endless_table(value: bytes) -> Reply:
    """A device in which each object has a next one: it has no end."""

    def reply(request: bytes) -> Sequence[bytes]:
        one = parse_request(request)
        if one.kind not in (GETBULK, GETNEXT):
            return [answer(request, [(name, value) for name in one.names])]
        name, _, last = one.names[0].rpartition(".")
        names = [
            f"{name}.{int(last) + step}" for step in range(1, 2 + min(one.max_repetitions, 20) * (one.kind == GETBULK))
        ]
        return [answer(request, [(name, value) for name in names])]

    return reply


DATAGRAMS: Mapping[str, Reply] = {
    "silent": lambda _: [],
    "echoing": lambda request: [request],
    "noise": lambda request: [bytes(reversed(request))] * 3,
    "flood": lambda _: [b"\x30\x82\xff\xff" + bytes(1200)] * 500,
    "flood of the request": lambda request: [request[:-1]] * 500,
    "absurd length": lambda _: [b"\x30\x84\x7f\xff\xff\xff\x02\x01\x01\x04\x84\x7f\xff\xff\xff"],
    "60 kB": lambda _: [b"\x06\x00\xff\x07" + bytes(60_000)],
}
TABLES: Mapping[str, Reply] = {
    "a table without end": _endless_table(b"\x02\x01\x07"),
    "a table of long strings": _endless_table(text(b"x" * 180)),
    "strings of control characters": _endless_table(text("\x1b[31m\u202e\x9b\u2028".encode() * 20)),
}
"""Only for SNMPv1 and v2c, where anybody can answer."""


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def connection_made(self, transport: Any) -> None:
        """Implements `asyncio.BaseProtocol`."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Implements `asyncio.DatagramProtocol`."""
        with contextlib.suppress(IndexError, ValueError):
            for one in self._reply(data):
                self._transport.sendto(one, addr)


# ---- the run ----


@contextlib.contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _serve(server: Talk | Reply, *, udp: bool) -> str:
    loop = asyncio.get_running_loop()
    if udp:
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(server), ("127.0.0.1", 0))  # type: ignore[arg-type]
        return f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"

    async def served(reader: Reader, writer: Writer) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
                await server(reader, writer)  # type: ignore[arg-type,misc]
        finally:
            writer.transport.abort()

    opened = await asyncio.start_server(served, "127.0.0.1", 0)
    return f"127.0.0.1:{opened.sockets[0].getsockname()[1]}"


class Hostile(NamedTuple):
    """One hostile device: the kind of its probe, and its server. None for a kind that reads its own machine."""

    kind: str
    server: Talk | Reply | None = None


def run_against(devices: Sequence[Hostile]) -> dict[str, Any]:
    """Read these devices, and good ones beside them. Returns what hostile_agent tells."""
    with _loop() as loop:

        def served(one: Hostile) -> str:
            if one.server is None:
                return ""
            return asyncio.run_coroutine_threadsafe(_serve(one.server, udp=one.kind in UDP_KINDS), loop).result()

        hostile = [(one.kind, served(one)) for one in devices]
        good = [("tcp", served(Hostile("tcp", silent))), ("host", "")]
        ran = subprocess.run(
            [sys.executable, "-m", "tests.chaos.hostile_agent"], cwd=ROOT, check=False, capture_output=True, text=True,
            input=json.dumps({"hostile": hostile, "good": good}), timeout=120,
        )  # fmt: skip
    if ran.returncode or not ran.stdout:
        return {"crashed": ran.stderr[-600:] or ran.returncode}
    told: dict[str, Any] = json.loads(ran.stdout)
    return told


def harm_of(told: Mapping[str, Any]) -> dict[str, Any]:
    """What of it is harm; empty if there is none."""
    if "crashed" in told:
        return dict(told)
    harm = {name: told[name] for name in ("unfinished", "late", "threads") if told[name]}
    harm |= {name: told[name] for name in ("tasks", "sockets") if told[name] > 0}
    if told["grown_bytes"] > MOST_BYTES:
        harm["grown_bytes"] = told["grown_bytes"]
    return harm
