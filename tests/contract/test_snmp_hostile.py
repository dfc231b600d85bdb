"""Both engines against responders that lie, never end or break the rules: a sweep always ends, and gives a reason."""

import asyncio
import logging
import random
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.snmp_liar import (
    COLUMN,
    GET,
    NO_SUCH_OBJECT,
    NULL,
    OBJECTS,
    SECRETS,
    UPS,
    Responder,
    agent,
    answer,
    integer,
    liar,
    opened,
    parse_request,
    profiles,
    readings_of,
    responding,
    swept,
    text,
)
from watchkeeper.agent.poll.schedule import Schedule
from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.snmp.plan import MAX_READINGS
from watchkeeper.agent.probes.snmp.probe import SnmpProbe
from watchkeeper.model.clock import FakeClock, SystemClock
from watchkeeper.model.device import Device, SnmpEngine, SnmpVersion
from watchkeeper.model.reading import Missing, Reason, Sweep

V1, V2C = SnmpVersion.V1, SnmpVersion.V2C
every = pytest.mark.parametrize("engine", [SnmpEngine.GUFO, SnmpEngine.PYSNMP])
engine_and_version = pytest.mark.parametrize(
    ("engine", "version"), [(SnmpEngine.GUFO, V1), (SnmpEngine.GUFO, V2C), (SnmpEngine.PYSNMP, V2C)]
)


def honest(request: bytes) -> bytes:
    return answer(request, [(name, integer(7)) for name in parse_request(request).names])


def always(value: bytes) -> Responder:
    return lambda request: [answer(request, [(name, value) for name in parse_request(request).names])]


def noise(seed: int) -> Responder:
    """Correct answers with a few bytes changed."""
    dice = random.Random(seed)  # noqa: S311 -- a test's dice

    def reply(request: bytes) -> list[bytes]:
        whole = bytearray(honest(request))
        for _ in range(3):
            whole[dice.randrange(len(whole))] = dice.randrange(256)
        return [bytes(whole)]

    return reply


def walking(numbers: Iterator[int]) -> Responder:
    """Correct answers to GET; each walk gets the next invented rows."""

    def reply(request: bytes) -> list[bytes]:
        one = parse_request(request)
        if one.kind == GET:
            return [honest(request)]
        size = 1 if one.version == 0 else 16
        return [answer(request, [(f"{COLUMN}.{next(numbers)}", integer(230)) for _ in range(size)])]

    return reply


def silent_after(requests: int) -> Responder:
    left = iter(range(requests))
    full = agent(OBJECTS)
    return lambda request: full(request) if next(left, None) is not None else []


BROKEN: dict[str, Responder] = {
    "silence": lambda request: [],
    "no BER at all": lambda request: [b"GET / HTTP/1.1\r\n\r\n"],
    "nothing": lambda request: [b""],
    "half an answer": lambda request: [honest(request)[:-9]],
    "an answer and more": lambda request: [honest(request) + b"\x00" * 40],
    "another's request id": lambda request: [
        answer(request, [(n, integer(7)) for n in parse_request(request).names], off=1)
    ],
    "the request as the answer": lambda request: [request],
    "nothing but 60 kB strings": always(text(b"x" * 60_000)),
    "noise": noise(20261121),
    "fifty broken answers": lambda request: [honest(request)[:20]] * 50,
    "a tag without end": always(b"\x1f" + b"\xff" * 20),
    "a length beyond memory": always(b"\x04\x88" + b"\xff" * 8),
}
ODD: dict[str, Responder] = {
    "strings for numbers": always(text(b"\xff\xfe x")),
    "names that were not requested": lambda request: [answer(request, [(f"1.3.6.1.9.9.{n[-1]}", integer(7)) for n in parse_request(request).names])],
    "more than was requested": lambda request: [
        answer(request, [(n, integer(7)) for n in parse_request(request).names] + [(f"{COLUMN}.{n}", integer(7)) for n in range(99)])
    ],
    "everything twice": lambda request: [answer(request, [(n, integer(7)) for n in parse_request(request).names] * 2)],
    "nothing in it": lambda request: [answer(request, [])],
    "only nulls": always(NULL),
    "a thousand answers to one request": lambda request: [honest(request)] * 1000,
    "an endless table": walking(iter(range(1, 10**9))),
    "a table that goes backwards": walking(iter(range(10**6, 0, -1))),
    "a table that repeats one row": walking(iter([1] * 10**6)),
    "silence in the middle of a walk": silent_after(3),
}  # fmt: skip


@every
@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_answer_is_missing_with_a_reason(what: str, engine: SnmpEngine) -> None:
    (sweep,) = swept(BROKEN[what], engine, timeout_s=0.1)
    answering, *rest = sweep.values
    if what in ("noise", "an answer and more", "nothing but 60 kB strings"):  # harmless, or the engines differ
        assert answering in ("yes", "no")
        if what != "noise":  # a changed digit is a correct answer
            assert not any(isinstance(value, float) and value != 7 for value in rest[1:])
        return
    assert answering == "no"
    reasons = {value.reason for value in rest if isinstance(value, Missing)}
    assert reasons <= {Reason.TIMEOUT, Reason.MALFORMED}
    assert len(reasons) == 1


@engine_and_version
@pytest.mark.parametrize("what", ODD)
def test_an_odd_answer_ends_and_gives_no_wrong_number(what: str, version: SnmpVersion, engine: SnmpEngine) -> None:
    (sweep,) = swept(ODD[what], engine, version, 0.05 if what == "an endless table" else 0.1)
    assert len(sweep.series) == len(sweep.values)
    assert len(sweep.series) <= MAX_READINGS + 1
    voltages = [value for (quantity, _, _), value in readings_of(sweep).items() if quantity == "input.voltage"]
    assert {value for value in voltages if isinstance(value, float)} <= {7.0, 230.0, 231.0, 229.0}


@engine_and_version
def test_an_answer_cut_or_altered_anywhere_is_correct_or_missing(
    version: SnmpVersion, engine: SnmpEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    dice = random.Random(3)  # noqa: S311 -- a test's dice
    name = UPS + "2.5.0"

    details: list[str] = []

    async def run() -> list[object]:
        results: list[object] = []
        changes: list[tuple[int, int | None]] = [(cut, None) for cut in range(48)]
        changes += [(offset, dice.randrange(256)) for offset in range(48)]

        def reply(request: bytes) -> list[bytes]:
            whole = bytearray(answer(request, [(name, integer(548))]))
            offset, octet = changes.pop()
            if octet is None:
                return [bytes(whole[:offset])]
            whole[offset % len(whole)] = octet
            return [bytes(whole)]

        async with responding(reply) as address:
            session = await opened(address, engine, version, 0.05)
            while changes:
                try:
                    results.append(await session.get_many([name]))
                except NoAnswer as nothing:
                    results.append(nothing.missing.reason)
                    details.append(nothing.missing.detail)
            session.close()
        return results

    results = asyncio.run(run())
    assert len(results) == 96
    assert all(detail.isprintable() and len(detail) < 200 for detail in details)
    assert Reason.MALFORMED in results
    assert {one for one in results if isinstance(one, Reason)} <= {Reason.MALFORMED, Reason.TIMEOUT}
    capfd.readouterr()  # the panics of the Rust engine


@every
def test_an_answer_from_another_port_does_not_count(engine: SnmpEngine) -> None:
    async def run() -> Sweep:
        probe = SnmpProbe(profiles(), SECRETS, FakeClock())
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiving,
        ):
            receiving.bind(("127.0.0.1", 0))
            receiving.setblocking(False)  # noqa: FBT003 -- the standard library's signature

            def receive() -> None:
                request, sender = receiving.recvfrom(4096)
                if request:
                    sending.sendto(honest(request), sender)

            asyncio.get_running_loop().add_reader(receiving, receive)
            try:
                return await probe.sweep(liar(f"127.0.0.1:{receiving.getsockname()[1]}", engine))
            finally:
                asyncio.get_running_loop().remove_reader(receiving)
                await probe.close()

    sweep = asyncio.run(run())
    assert sweep.values[0] == "no"
    (missing,) = {*sweep.values[1:]}
    assert isinstance(missing, Missing)
    assert missing.reason is Reason.TIMEOUT
    if engine is SnmpEngine.PYSNMP:  # the other engine's socket does not receive it at all
        assert "but one from 127.0.0.1:" in missing.detail


@engine_and_version
@pytest.mark.parametrize(("rows", "detail"), [(0, "no answer"), (20, "stops answering after")])
def test_a_table_that_is_no_longer_answered_is_left_out_from_there_on_and_named(
    engine: SnmpEngine, version: SnmpVersion, rows: int, detail: str, caplog: pytest.LogCaptureFixture
) -> None:
    full = agent({**OBJECTS, **{f"{COLUMN}.{row}": integer(230) for row in range(1, 50)}})
    at = f"{COLUMN}.{rows}" if rows else COLUMN

    def reply(request: bytes) -> list[bytes]:
        one = parse_request(request)
        return [] if one.kind != GET and one.names[0] == at else list(full(request))

    (sweep,) = swept(reply, engine, version, 0.5)
    assert readings_of(sweep)["battery.charge", "", ""] == 97.0
    assert sum(quantity == "input.voltage" for quantity, _, _ in readings_of(sweep)) == rows
    assert f"{COLUMN}: " in caplog.text
    assert detail in caplog.text


@engine_and_version
def test_a_datagram_lost_during_a_walk_is_requested_again(
    engine: SnmpEngine, version: SnmpVersion, caplog: pytest.LogCaptureFixture
) -> None:
    full = agent({**OBJECTS, **{f"{COLUMN}.{row}": integer(230) for row in range(1, 50)}})
    lost = iter([True])

    def reply(request: bytes) -> list[bytes]:
        one = parse_request(request)
        return [] if one.names[0] == f"{COLUMN}.20" and next(lost, False) else list(full(request))

    (sweep,) = swept(reply, engine, version, 0.5, retries=1)
    assert sum(quantity == "input.voltage" for quantity, _, _ in readings_of(sweep)) == 49
    assert not caplog.records


def test_a_device_that_makes_the_rust_engine_panic_is_read_by_the_fallback_engine_from_then_on(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """SNMPv1 has no exception values (RFC 1157); gufo-snmp 0.13 panics on one in a GETNEXT response."""
    caplog.set_level(logging.WARNING)
    full = agent(OBJECTS)

    def reply(request: bytes) -> list[bytes]:
        one = parse_request(request)
        return list(full(request)) if one.kind == GET else [answer(request, [(f"{COLUMN}.1", NO_SUCH_OBJECT)])]

    sweeps = swept(reply, SnmpEngine.GUFO, V1, 5.0, times=4)
    assert [readings_of(sweep)["battery.charge", "", ""] for sweep in sweeps] == [97.0] * 4
    assert capfd.readouterr().err.count("panicked") == 1
    assert sum("`engine: pysnmp`" in record.message for record in caplog.records) == 1


@every
@pytest.mark.parametrize(
    "what",
    ["silence", "half an answer", "fifty broken answers", "a thousand answers to one request", "an endless table"],
)
def test_a_hostile_device_does_not_delay_the_others(what: str, engine: SnmpEngine) -> None:
    rounds = 3
    seen: dict[str, list[Sweep]] = {"liar": [], "good-1": [], "good-2": []}
    done = asyncio.Event()

    def take(device: Device, sweep: Sweep) -> None:
        seen[device.device].append(sweep)
        if min(len(seen["good-1"]), len(seen["good-2"])) >= rounds:
            done.set()

    async def run() -> None:
        probe = SnmpProbe(profiles(), SECRETS, SystemClock())
        schedule = Schedule(SystemClock(), take, lambda _: False)
        async with responding({**BROKEN, **ODD}[what]) as bad, responding(agent(OBJECTS)) as good:
            devices = [replace(liar(good, engine, timeout_s=5.0), device=f"good-{n}", every_s=0.05) for n in (1, 2)]
            schedule.start()
            await schedule.watch([replace(liar(bad, engine), every_s=0.05), *devices], {"snmp": probe})
            try:
                async with asyncio.timeout(30):
                    await done.wait()
            finally:
                await schedule.stop()
                await probe.close()

    asyncio.run(run())
    for name in ("good-1", "good-2"):
        assert [sweep.values[0] for sweep in seen[name]] == ["yes"] * len(seen[name])
    for sweep in seen["liar"]:
        assert sweep.values[0] == "yes" or {type(value) for value in sweep.values[1:]} <= {Missing}
