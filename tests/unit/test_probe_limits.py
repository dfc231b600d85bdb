"""The limits around libraries that believe what a server says: the relay, and what a Modbus device may send unasked."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from tests.service_room import listening
from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.modbus.mbap import limit_received
from watchkeeper.agent.probes.relay import Relay

BUDGET = 1000
Work = Callable[[Relay], Awaitable[None]]


def through_relay(talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], work: Work) -> int:
    """Run the work with a relay to that server. Returns how many sockets and tasks are left."""

    async def run() -> int:
        loop = asyncio.get_running_loop()
        async with listening(talk) as address:

            async def dial() -> socket.socket:
                host, port = address.split(":")
                opened = socket.socket()
                opened.settimeout(0)
                await loop.sock_connect(opened, (host, int(port)))
                return opened

            relay = Relay(dial, BUDGET)
            try:
                async with relay:
                    await work(relay)
            finally:
                left = sum(one.fileno() >= 0 for one in relay._sockets) + sum(not one.done() for one in relay._tasks)
        return left

    return asyncio.run(run())


async def saying(text: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(text)
    await writer.drain()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        await saying(data, writer)


async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await saying(b"x" * 4096, writer)


def test_bytes_pass_both_ways_up_to_the_budget_and_both_ends_are_told_of_the_end() -> None:
    async def work(relay: Relay) -> None:
        with await relay.connected() as driver:
            loop, got = asyncio.get_running_loop(), b""
            await loop.sock_sendall(driver, b"a" * BUDGET)
            driver.shutdown(socket.SHUT_WR)
            while piece := await loop.sock_recv(driver, 100):
                got += piece
            assert got == b"a" * BUDGET

    assert through_relay(echo, work) == 0


def test_a_byte_more_than_the_budget_ends_the_connection_and_the_failure_says_why() -> None:
    received = bytearray()

    async def work(relay: Relay) -> None:
        with await relay.connected() as driver:
            while piece := await asyncio.get_running_loop().sock_recv(driver, 100):
                received.extend(piece)
            raise ConnectionError("the driver's own words")

    with pytest.raises(NoAnswer, match="the server sends more than 0 kB"):
        through_relay(endless, work)
    assert len(received) <= BUDGET


def test_a_driver_that_connects_by_itself_is_let_in_and_nobody_else_is() -> None:
    async def work(relay: Relay) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as driver, socket.socket() as stranger:
            port = relay.listen(lambda: driver.getsockname()[:2])
            for one in (stranger, driver):
                one.settimeout(0)
                await loop.sock_connect(one, ("127.0.0.1", port))
            await loop.sock_sendall(driver, b"ping")
            assert await loop.sock_recv(driver, 10) == b"ping"
            assert await loop.sock_recv(stranger, 10) == b""

    assert through_relay(echo, work) == 0


def test_nothing_is_left_if_the_work_is_cancelled() -> None:
    async def work(relay: Relay) -> None:
        with await relay.connected() as driver:
            async with asyncio.timeout(0.01):
                await asyncio.get_running_loop().sock_recv(driver, 10)

    with pytest.raises(TimeoutError):
        through_relay(echo, work)


class Protocol:
    """Stands in for pymodbus's protocol."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.aborted = 0
        self.transport = self
        self.low_level_send: Callable[..., None] = self.send

    def data_received(self, data: bytes) -> None:
        self.received.append(data)

    def send(self, data: bytes, addr: object = None) -> None:
        del data, addr

    def abort(self) -> None:
        self.aborted += 1


def test_a_modbus_device_that_sends_without_end_loses_its_connection() -> None:
    protocol = Protocol()
    limit_received(protocol, 10)
    for _ in range(5):
        protocol.low_level_send(b"request", addr=None)
        protocol.data_received(b"0123456789")
    assert (len(protocol.received), protocol.aborted) == (5, 0), "each request has its own answer"
    protocol.data_received(b"x")
    assert (len(protocol.received), protocol.aborted) == (5, 1)
