"""How a device is reached: another of its name's addresses, another version, answers from another address."""

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.notes import Notes
from tests.snmp_liar import OBJECTS, SECRETS, UPS, agent, liar, parse_request, profiles, responding
from tests.snmp_secured import SECRETS as SECURED_SECRETS
from tests.snmp_secured import SecuredDevice, login, secured_device
from watchkeeper.agent.probes.snmp.probe import HAIL_EVERY, SNMP_RENEW_S, SnmpProbe
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Device, Snmp, SnmpEngine, SnmpVersion
from watchkeeper.model.habit import sentence
from watchkeeper.model.reading import Missing, Reason, Sweep

V1, V2C = SnmpVersion.V1, SnmpVersion.V2C
engines = pytest.mark.parametrize("engine", [SnmpEngine.GUFO, SnmpEngine.PYSNMP])
TIMEOUT_S = 0.5


async def swept(device: Device, times: int = 1, memory: Notes | None = None) -> tuple[list[Sweep], tuple[str, ...]]:
    v3 = device.snmp is not None and device.snmp.version is SnmpVersion.V3
    probe = SnmpProbe(profiles(), SECURED_SECRETS if v3 else SECRETS, FakeClock(), memory=memory or Notes())
    try:
        return [await probe.sweep(device) for _ in range(times)], probe.habits_of(device.device)
    finally:
        await probe.close()


def is_read(sweep: Sweep) -> bool:
    return sweep.values[0] == "yes" and 97.0 in sweep.values


@engines
@pytest.mark.parametrize(("written", "spoken"), [(V1, V2C), (V2C, V1)])
def test_a_device_that_speaks_another_version_is_read_by_it_and_the_page_says_so(
    engine: SnmpEngine, written: SnmpVersion, spoken: SnmpVersion
) -> None:
    number = {V1: 0, V2C: 1}[spoken]
    silences: list[bytes] = []

    def reply(request: bytes) -> Sequence[bytes]:
        if parse_request(request).version == number:
            return agent(OBJECTS)(request)
        silences.append(request)
        return []

    async def run() -> None:
        memory = Notes()
        async with responding(reply) as address:
            device = liar(address, engine, written, TIMEOUT_S)
            sweeps, habits = await swept(device, 2, memory)
            assert [is_read(one) for one in sweeps] == [True, True]
            assert habits == (f"it answers SNMP version {spoken} only: write `version: {spoken}`",)
            silences.clear()
            sweeps, _ = await swept(device, 1, memory)
            assert is_read(sweeps[0])
            assert silences == []

    asyncio.run(run())


def test_a_device_that_is_down_is_hailed_now_and_then_only() -> None:
    requests: list[bytes] = []

    async def run() -> None:
        async with responding(lambda request: requests.append(request) or []) as address:
            device = liar(address, SnmpEngine.GUFO, V2C, 0.05, profile="auto")
            await swept(device, HAIL_EVERY + 1)

    asyncio.run(run())
    hails = sum(parse_request(one).version == 0 for one in requests)
    assert hails == 2
    assert len(requests) == 2 * (HAIL_EVERY + 1) + 2 * hails


@contextmanager
def resolving(monkeypatch: pytest.MonkeyPatch, addresses: Sequence[str]) -> Iterator[None]:
    """The name `ups.room` has these addresses."""

    async def look_up(self: Any, host: str, port: int, **how: Any) -> list[Any]:
        if host != "ups.room":
            return await original(self, host, port, **how)
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (one, port)) for one in addresses]

    original: Callable[..., Any] = asyncio.base_events.BaseEventLoop.getaddrinfo
    with monkeypatch.context() as patched:
        patched.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", look_up)
        yield


@pytest.mark.parametrize("secured", [False, True], ids=["v2c", "v3"])
@pytest.mark.parametrize("engine", [SnmpEngine.AUTO, SnmpEngine.PYSNMP])
def test_each_address_of_a_name_is_tried_and_the_one_that_answers_is_remembered(
    engine: SnmpEngine, secured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    snmp = login(engine=engine.value)

    async def run() -> None:
        memory = Notes()
        async with responding(SecuredDevice(agent(OBJECTS), snmp) if secured else agent(OBJECTS)) as address:
            port = int(address.rpartition(":")[2])
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
                silent.bind(("127.0.0.7", port))
                device = secured_device(address, snmp, TIMEOUT_S) if secured else liar(address, engine, V2C, TIMEOUT_S)
                device = replace(device, address=f"ups.room:{port}")
                with resolving(monkeypatch, ["127.0.0.7", "127.0.0.8", "127.0.0.1"]):
                    sweeps, habits = await swept(device, 2, memory)
                    assert [is_read(one) for one in sweeps] == [True, True]
                    assert habits == ("of the addresses of its name it answers at 127.0.0.1",)
                    silent.setblocking(False)  # noqa: FBT003 -- the standard library's signature
                    while True:
                        try:
                            silent.recv(4096)
                        except BlockingIOError:
                            break
                    assert is_read((await swept(device, 1, memory))[0][0])
                    with pytest.raises(BlockingIOError):
                        silent.recv(4096)

    asyncio.run(run())


@contextmanager
def answering_from(sender: str) -> Iterator[str]:
    """A device that receives at 127.0.0.1 and answers from another address, in the running loop."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiving,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending,
    ):
        receiving.bind(("127.0.0.1", 0))
        sending.bind((sender, 0))
        receiving.setblocking(False)  # noqa: FBT003 -- the standard library's signature
        reply = agent(OBJECTS)

        def receive() -> None:
            request, client = receiving.recvfrom(4096)
            for datagram in reply(request) if request else ():
                sending.sendto(datagram, client)

        asyncio.get_running_loop().add_reader(receiving, receive)
        try:
            yield f"127.0.0.1:{receiving.getsockname()[1]}"
        finally:
            asyncio.get_running_loop().remove_reader(receiving)


@pytest.mark.parametrize("engine", list(SnmpEngine))
@pytest.mark.parametrize("sender", ["127.0.0.9", "127.0.0.1"])
def test_answers_from_another_address_or_port_are_refused_and_the_reason_says_what_to_write(
    engine: SnmpEngine, sender: str
) -> None:
    async def run() -> Sweep:
        with answering_from(sender) as address:
            return (await swept(liar(address, engine, V2C, TIMEOUT_S)))[0][0]

    answering, missing = asyncio.run(run()).values
    assert answering == "no"
    assert isinstance(missing, Missing)
    assert f"but one from {sender}:" in missing.detail
    assert f"`answers_from: {sender}`" in missing.detail


@pytest.mark.parametrize("engine", [SnmpEngine.AUTO, SnmpEngine.PYSNMP])
@pytest.mark.parametrize("version", [V1, V2C])
@pytest.mark.parametrize("sender", ["127.0.0.9", "127.0.0.1"])
def test_answers_from_the_address_in_the_inventory_are_read(
    sender: str, version: SnmpVersion, engine: SnmpEngine
) -> None:
    async def run(answers_from: str) -> Sweep:
        with answering_from(sender) as address:
            device = liar(address, engine, version, TIMEOUT_S)
            assert device.snmp
            device = replace(device, snmp=replace(device.snmp, answers_from=answers_from))
            return (await swept(device))[0][0]

    assert is_read(asyncio.run(run(sender)))
    assert not is_read(asyncio.run(run("127.0.0.10")))


def test_the_inventory_refuses_what_cannot_be() -> None:
    def problems(**how: Any) -> list[str]:
        return [field for field, _ in Snmp(community="c", **how).check()]

    assert problems(answers_from="10.0.0.9") == []
    assert problems(answers_from="fd00::9", engine=SnmpEngine.PYSNMP) == []
    assert problems(answers_from="ups.room") == ["answers_from"]
    assert problems(answers_from="10.0.0.9:161") == ["answers_from"]
    assert problems(answers_from="10.0.0.9", engine=SnmpEngine.GUFO) == ["engine"]


@engines
def test_an_object_that_hangs_for_a_while_is_missing_with_the_reason_and_read_again_afterwards(
    engine: SnmpEngine,
) -> None:
    """A sub-agent that hangs leaves its objects without an answer, while the device answers the others."""
    hanging: set[str] = set()
    full = agent(OBJECTS)

    async def run() -> None:
        clock = FakeClock()
        probe = SnmpProbe(profiles(), SECRETS, clock)
        async with responding(
            lambda request: [] if hanging & {*parse_request(request).names} else full(request)
        ) as address:
            device = liar(address, engine, V2C, TIMEOUT_S)
            try:
                assert is_read(await probe.sweep(device))
                hanging.add(UPS + "2.5.0")
                for _ in range(2):
                    sweep = await probe.sweep(device)
                    assert is_read(sweep)
                    (missing,) = {value for value in sweep.values if isinstance(value, Missing)}
                    assert (missing.reason, "not to a request for this object" in missing.detail) == (
                        Reason.TIMEOUT,
                        True,
                    )
                assert probe.habits_of("liar") == (sentence(f"mute={UPS}2.5.0"),)
                hanging.clear()
                clock.advance(SNMP_RENEW_S)
                await probe.sweep(device)  # tries it again
                sweep = await probe.sweep(device)
                assert 54.8 in sweep.values
                assert probe.habits_of("liar") == ()
            finally:
                await probe.close()

    asyncio.run(run())
