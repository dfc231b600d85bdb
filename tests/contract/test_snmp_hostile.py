"""Both engines against responders that lie, ramble or break the rules: a sweep always comes back, and says what it was."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pyasn1.codec.ber import decoder, encoder
from pysnmp.proto import api

from agent.probes.snmp import SnmpProbe
from agent.probes.snmp_engine import ROWS
from agent.profiles import load_profiles
from documents.secrets import Secrets
from model.clock import FakeClock
from model.device import Category, Device, Snmp, SnmpEngine, SnmpVersion
from model.reading import Missing, Reason, Sweep

COLUMN = "1.3.6.1.2.1.33.1.3.3.1.3"
BULK = 16
Reply = Callable[[bytes], list[bytes]]


def answer(request: bytes, fill: Callable[[str, Any], list[tuple[str, Any]]], *, off: int = 0) -> bytes:
    """A well-formed response in the request's version, its rows by `fill(name, api)`, its request id off by `off`."""
    module = api.PROTOCOL_MODULES[api.decodeMessageVersion(request)]
    message, _ = decoder.decode(request, asn1Spec=module.Message())
    asked = module.apiMessage.get_pdu(message)
    response = module.apiMessage.get_response(message)
    made = module.apiMessage.get_pdu(response)
    module.apiPDU.set_request_id(made, int(module.apiPDU.get_request_id(asked)) + off)
    names = [str(name) for name, _ in module.apiPDU.get_varbinds(asked)]
    rows = [row for name in names for row in fill(name, module)]
    module.apiPDU.set_varbinds(made, [(name, value) for name, value in rows])
    return encoder.encode(response)


def honest(request: bytes) -> bytes:
    return answer(request, lambda name, module: [(name, module.Integer(7))])


def noise(seed: int) -> Reply:
    """Honest answers with a byte changed here and there."""
    dice = random.Random(seed)  # noqa: S311 -- a test's dice

    def reply(request: bytes) -> list[bytes]:
        whole = bytearray(honest(request))
        for _ in range(3):
            whole[dice.randrange(len(whole))] = dice.randrange(256)
        return [bytes(whole)]

    return reply


def is_walk(request: bytes) -> bool:
    module = api.PROTOCOL_MODULES[api.decodeMessageVersion(request)]
    message, _ = decoder.decode(request, asn1Spec=module.Message())
    return not isinstance(module.apiMessage.get_pdu(message), module.GetRequestPDU)


def walking(row: Callable[[int, Any], tuple[str, Any]]) -> Reply:
    """Honest to GET; to each walk the next rows of an invention, `row(number)`, without end."""
    count = 0

    def fill(_: str, module: Any) -> list[tuple[str, Any]]:
        nonlocal count
        size = 1 if module is api.PROTOCOL_MODULES[0] else BULK
        rows = [row(number, module) for number in range(count + 1, count + 1 + size)]
        count += size
        return rows

    return lambda request: [answer(request, fill) if is_walk(request) else honest(request)]


BROKEN: dict[str, Reply] = {
    "silence": lambda request: [],
    "no BER at all": lambda request: [b"GET / HTTP/1.1\r\n\r\n"],
    "nothing": lambda request: [b""],
    "half an answer": lambda request: [honest(request)[:-9]],
    "an answer and more": lambda request: [honest(request) + b"\x00" * 40],
    "another's request id": lambda request: [answer(request, lambda name, module: [(name, module.Integer(7))], off=1)],
    "a question for an answer": lambda request: [request],
    "a 60 kB string": lambda request: [answer(request, lambda n, module: [(n, module.OctetString(b"x" * 60_000))])],
    "noise": noise(20261121),
    "a storm of strangers": lambda request: [honest(request)[:20]] * 50,
}
ODD: dict[str, Reply] = {
    "strings for numbers": lambda request: [
        answer(request, lambda n, module: [(n, module.OctetString(b"\xff\xfe x"))])
    ],
    "names nobody asked for": lambda request: [
        answer(request, lambda n, module: [("1.3.6.1.9.9." + n[-1], module.Integer(7))])
    ],
    "nothing in it": lambda request: [answer(request, lambda n, module: [])],
    "only nulls": lambda request: [answer(request, lambda n, module: [(n, module.Null(""))])],
    "an endless table": walking(lambda number, module: (f"{COLUMN}.{number}", module.Integer(230))),
    "a table that goes backwards": walking(lambda number, module: (f"{COLUMN}.{9_999 - number}", module.Integer(230))),
    "a table that stands still": walking(lambda number, module: (f"{COLUMN}.1", module.Integer(230))),
}


class Responder(asyncio.DatagramProtocol):
    def __init__(self, reply: Reply) -> None:
        self.reply = reply

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if data:
            for datagram in self.reply(data):
                self.transport.sendto(datagram, addr)


@asynccontextmanager
async def responding(reply: Reply) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Responder(reply), ("127.0.0.1", 0))
    try:
        yield f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    finally:
        transport.close()


def swept(reply: Reply, engine: SnmpEngine, version: SnmpVersion, timeout_s: float = 0.15) -> Sweep:
    async def run() -> Sweep:
        secrets = Secrets(environ={"WATCHKEEPER_SECRET_C": "public"})
        probe = SnmpProbe(load_profiles(), secrets, FakeClock())
        async with responding(reply) as address:
            snmp = Snmp(version, "c", engine=engine)
            device = Device(
                "liar", "room", Category.UPS, "snmp", address, "ups-mib", timeout_s=timeout_s, retries=0, snmp=snmp
            )  # fmt: skip
            try:
                return await probe.sweep(device)
            finally:
                await probe.close()

    return asyncio.run(run())


every = pytest.mark.parametrize("engine", list(SnmpEngine))


@every
@pytest.mark.parametrize("what", BROKEN)
def test_what_is_no_answer_is_missing_with_a_reason(what: str, engine: SnmpEngine) -> None:
    answering, *rest = swept(BROKEN[what], engine, SnmpVersion.V2C).values
    if what in ("noise", "an answer and more"):  # the one may be harmless, and the engines differ on the other
        assert answering in ("yes", "no")
        return
    assert answering == "no"
    reasons = {value.reason for value in rest if isinstance(value, Missing)}
    assert reasons <= {Reason.TIMEOUT, Reason.MALFORMED}
    assert len(reasons) == 1


@every
@pytest.mark.parametrize("version", [SnmpVersion.V1, SnmpVersion.V2C])
@pytest.mark.parametrize("what", ODD)
def test_what_is_an_answer_but_odd_ends_and_gives_no_wrong_number(
    what: str, version: SnmpVersion, engine: SnmpEngine
) -> None:
    sweep = swept(ODD[what], engine, version)
    assert len(sweep.series) == len(sweep.values)
    assert len(sweep.series) < 9 * ROWS
    voltages = [
        value
        for series, value in zip(sweep.series, sweep.values, strict=True)
        if series.quantity == "input.voltage" and isinstance(value, float)
    ]
    assert set(voltages) <= {7.0, 230.0}


def test_a_value_that_makes_the_rust_engine_panic_does_not_end_the_agent(capfd: pytest.CaptureFixture[str]) -> None:
    """SNMPv1 has no exception values (RFC 1157); gufo-snmp 0.13 panics on one in a GETNEXT response."""
    version = 4  # the byte of the message that says which

    def fill(_: str, module: Any) -> list[tuple[str, Any]]:
        return [(f"{COLUMN}.1", module.NoSuchObject(""))]

    def reply(request: bytes) -> list[bytes]:
        if not is_walk(request):
            return [honest(request)]
        newer = answer(request[:version] + b"\x01" + request[version + 1 :], fill)
        return [newer[:version] + b"\x00" + newer[version + 1 :]]

    sweep = swept(reply, SnmpEngine.GUFO, SnmpVersion.V1, timeout_s=5.0)
    assert sweep.values[0] == "no"
    assert isinstance(sweep.values[1], Missing)
    assert sweep.values[1].reason is Reason.MALFORMED
    capfd.readouterr()
