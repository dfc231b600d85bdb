"""SNMPv3 with authentication by our own engine against devices that hold the keys and still lie, break the rules or have
bad habits: what the other engines are tried with, inside authenticated messages."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.contract.test_snmp_hostile import BROKEN, ODD
from tests.contract.test_snmp_values import VALUES
from tests.snmp_liar import (
    BESIDE_VOLTAGE,
    COLUMN,
    NULL,
    OBJECTS,
    TOO_BIG,
    UPS,
    agent,
    answer,
    integer,
    profiles,
    readings_of,
    responding,
)
from tests.snmp_secured import SECRETS, SecuredDevice, login, secured_device
from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.snmp.engine import DEAD_PORT, LONGEST_STRING, MAX_TABLE_ROWS
from watchkeeper.agent.probes.snmp.opening import open_snmp_session
from watchkeeper.agent.probes.snmp.plan import MAX_READINGS
from watchkeeper.agent.probes.snmp.probe import SnmpProbe
from watchkeeper.agent.probes.snmp.usm_engine import MAX_QUESTIONS, UsmSession
from watchkeeper.agent.snmpv3.message import UsmMessage, open_message
from watchkeeper.agent.snmpv3.remote import (
    DECRYPTION_ERROR,
    NOT_IN_WINDOW,
    UNKNOWN_ENGINE,
    UNKNOWN_USER,
    UNSUPPORTED_LEVEL,
    WRONG_DIGEST,
)
from watchkeeper.agent.snmpv3.usm import EngineTime, Keys
from watchkeeper.agent.traps.message.engine import build_report
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Snmp
from watchkeeper.model.reading import Missing, Reason, Sweep

NAMES = [UPS + "2.4.0", UPS + "2.5.0", f"{COLUMN}.1"]


def swept(reply: Callable[[bytes], Sequence[bytes]], timeout_s: float, times: int = 1) -> list[Sweep]:
    async def run() -> list[Sweep]:
        probe = SnmpProbe(profiles(), SECRETS, FakeClock())
        async with responding(reply) as address:
            try:
                device = secured_device(address, login(), timeout_s)
                return [await probe.sweep(device) for _ in range(times)]
            finally:
                await probe.close()

    return asyncio.run(run())


def talked(device: Any, talk: Callable[[UsmSession], Any], timeout_s: float = 10.0, snmp: Snmp | None = None) -> Any:
    """What `talk` gives with a session to the device."""

    async def run() -> Any:
        async with responding(device) as address:
            session = await open_snmp_session(secured_device(address, snmp or login(), timeout_s), SECRETS)
            assert isinstance(session, UsmSession)
            try:
                return await talk(session)
            except NoAnswer as nothing:
                return nothing.missing
            finally:
                session.close()

    return asyncio.run(run())


def get(*names: str) -> Callable[[UsmSession], Any]:
    return lambda session: session.get_many(names)


# ---- what a device may answer ----


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_answer_is_missing_with_a_reason(what: str) -> None:
    (sweep,) = swept(SecuredDevice(BROKEN[what], login()), 0.05)
    answering, *rest = sweep.values
    if what in ("noise", "an answer and more", "nothing but 60 kB strings"):  # some of it can be read
        assert answering in ("yes", "no")
        return
    assert answering == "no"
    assert {value.reason for value in rest if isinstance(value, Missing)} <= {Reason.TIMEOUT, Reason.MALFORMED}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_answer_ends_and_gives_no_wrong_number(what: str) -> None:
    (sweep,) = swept(SecuredDevice(ODD[what], login()), 0.1)
    assert len(sweep.series) == len(sweep.values) <= MAX_READINGS + 1
    voltages = [value for (quantity, _, _), value in readings_of(sweep).items() if quantity == "input.voltage"]
    assert {value for value in voltages if isinstance(value, float)} <= {7.0, 230.0, 231.0, 229.0}


@pytest.mark.parametrize("what", VALUES)
def test_a_value_of_any_kind_affects_no_other_reading(what: str) -> None:
    value, right = VALUES[what]
    device = SecuredDevice(agent({**OBJECTS, UPS + "2.5.0": value}), login())
    found = readings_of(swept(device, 10.0, 2)[-1])
    voltage = found.pop(("battery.voltage", "", ""), None)
    if right is None:
        assert voltage is None or isinstance(voltage, Missing) or voltage > 1e3  # type: ignore[operator]
    else:
        assert voltage == pytest.approx(right)
    assert found == BESIDE_VOLTAGE


def test_a_long_string_is_cut() -> None:
    objects = {**OBJECTS, UPS + "2.5.0": b"\x04\x82\xea\x60" + b"9" * 60_000}
    read = talked(SecuredDevice(agent(objects), login()), get(UPS + "2.5.0"))
    assert read == {UPS + "2.5.0": b"9" * LONGEST_STRING}


def test_a_walk_goes_over_many_answers_and_empty_cells() -> None:
    cells = {f"{COLUMN}.{row}": NULL if row in (1, 30, 31) else integer(row) for row in range(1, 60)}
    device = SecuredDevice(agent({**OBJECTS, **cells}), login())
    found = talked(device, lambda session: session.walk(COLUMN))
    assert found.cut is None
    assert dict(found) == {f"{COLUMN}.{row}": row for row in range(1, 60) if row not in (1, 30, 31)}


def test_a_table_without_an_end_is_cut() -> None:
    device = SecuredDevice(ODD["an endless table"], login())
    found = talked(device, lambda session: session.walk(COLUMN))
    assert len(found) <= MAX_TABLE_ROWS
    assert found.cut is not None


def test_a_walk_without_an_answer_has_its_reason() -> None:
    missing = talked(lambda request: [], lambda session: session.walk(COLUMN), 0.1)
    assert (missing.reason, "privacy password or protocol wrong" in missing.detail) == (Reason.TIMEOUT, True)


def test_an_answer_with_an_error_is_empty_and_the_probe_asks_for_less() -> None:
    small = SecuredDevice(agent(OBJECTS, most=2), login())
    assert talked(small, get(*NAMES)) == {}
    (sweep,) = swept(small, 10.0)
    assert not any(isinstance(value, Missing) for value in sweep.values)
    refusing = SecuredDevice(lambda request: [answer(request, [], 16)], login())
    missing = talked(refusing, get(*NAMES))
    assert (missing.reason, "security level" in missing.detail) == (Reason.REFUSED, True)
    assert talked(SecuredDevice(lambda request: [answer(request, [], TOO_BIG)], login()), get(*NAMES)) == {}


def test_a_datagram_that_is_not_snmp_says_so_and_does_not_keep_the_answer_out() -> None:
    device = SecuredDevice(agent(OBJECTS), login())
    assert talked(lambda request: [b"GET / HTTP/1.1\r\n\r\n"], get(*NAMES)).reason is Reason.MALFORMED
    assert len(talked(lambda request: [b"GET / HTTP/1.1\r\n\r\n", *device(request)], get(*NAMES))) == 3


# ---- engine ids, times and reports ----


def test_a_device_is_asked_once_for_its_id_and_then_only_for_its_objects() -> None:
    device = SecuredDevice(agent(OBJECTS), login())

    async def twice(session: UsmSession) -> list[dict[str, Any]]:
        return [await session.get_many(NAMES), await session.get_many(NAMES)]

    first, second = talked(device, twice)
    assert first == second == {NAMES[0]: 97, NAMES[1]: 548, NAMES[2]: 231}
    assert [bool(request.engine) for request in device.requests] == [False, True, True]
    assert len({request.msg_id for request in device.requests}) == 3


@pytest.mark.parametrize("what", ["restarted", "a new engine id", "both", "a clock an hour ahead"])
def test_a_device_that_changed_is_read_in_the_same_call(what: str) -> None:
    device = SecuredDevice(agent(OBJECTS), login())

    async def around_the_change(session: UsmSession) -> Any:
        await session.get_many(NAMES)
        if what in ("restarted", "both"):
            device.boots, device.time = device.boots + 1, 0
        if what in ("a new engine id", "both"):
            device.engine += b"2"
        if what == "a clock an hour ahead":
            device.time += 3600
        return await session.get_many(NAMES)

    assert len(talked(device, around_the_change)) == 3


def test_two_requests_at_once_get_their_own_answers() -> None:
    held: list[bytes] = []

    def reversed_pairs(device: SecuredDevice, request: UsmMessage, scoped: bytes, whole: bytes) -> list[bytes]:
        held.append(whole)
        return list(reversed(held)) if len(held) == 2 else []

    async def both(session: UsmSession) -> list[dict[str, Any]]:
        await session.get_many(NAMES[:1])
        device.change = lambda *message: reversed_pairs(device, *message)
        return list(await asyncio.gather(session.get_many(NAMES[:1]), session.get_many(NAMES[1:])))

    device = SecuredDevice(agent(OBJECTS), login())
    assert talked(device, both) == [{NAMES[0]: 97}, {NAMES[1]: 548, NAMES[2]: 231}]


@pytest.mark.parametrize(
    ("about", "reason", "detail"),
    [
        (UNKNOWN_USER, Reason.REFUSED, "authentication refused"),
        (WRONG_DIGEST, Reason.REFUSED, "authentication refused"),
        (UNSUPPORTED_LEVEL, Reason.REFUSED, "authentication refused"),
        (DECRYPTION_ERROR, Reason.REFUSED, "privacy password or protocol wrong"),
        (UNKNOWN_ENGINE, Reason.REFUSED, "authentication refused"),
        (NOT_IN_WINDOW, Reason.REFUSED, "authentication refused"),
    ],
)
def test_a_device_that_only_reports_has_its_reason_after_few_requests(about: str, reason: Reason, detail: str) -> None:
    requests: list[bytes] = []

    def reply(datagram: bytes) -> list[bytes]:
        requests.append(datagram)
        request = open_message(datagram)
        assert isinstance(request, UsmMessage)
        engine = b"an-engine-%d" % len(requests) if about == UNKNOWN_ENGINE else b"an-engine"
        what = about if request.engine else UNKNOWN_ENGINE
        return [build_report(EngineTime(engine, len(requests), 1), request, Keys(), what, 1)]

    missing = talked(reply, get(*NAMES))
    assert (missing.reason, detail in missing.detail) == (reason, True)
    assert len(requests) <= MAX_QUESTIONS


# ---- the socket ----


def test_a_port_where_nothing_listens_is_named_at_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"

    async def run() -> Any:
        session = await open_snmp_session(secured_device(address, login()), SECRETS)
        try:
            return [await session.get_many(NAMES)]
        except NoAnswer as nothing:
            return nothing.missing
        finally:
            session.close()

    assert asyncio.run(run()) == Missing(Reason.UNREACHABLE, DEAD_PORT)


def test_a_device_is_read_over_ipv6() -> None:
    device = SecuredDevice(agent(OBJECTS), login())

    async def run() -> Any:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as listening:
            try:
                listening.bind(("::1", 0))
            except OSError:
                pytest.skip("this machine has no IPv6")
            listening.setblocking(False)  # noqa: FBT003 -- the standard library's signature

            def answer_one() -> None:
                request, sender = listening.recvfrom(4096)
                for datagram in device(request):
                    listening.sendto(datagram, sender)

            asyncio.get_running_loop().add_reader(listening, answer_one)
            address = f"[::1]:{listening.getsockname()[1]}"
            session = await open_snmp_session(secured_device(address, login()), SECRETS)
            try:
                return await session.get_many(NAMES)
            finally:
                session.close()
                asyncio.get_running_loop().remove_reader(listening)

    assert len(asyncio.run(run())) == len(NAMES)


def test_a_closed_session_says_so_and_closes_twice() -> None:
    async def closed(session: UsmSession) -> Any:
        session.close()
        return await session.get_many(NAMES)

    assert talked(lambda request: [], closed) == Missing(Reason.FAULT, "the session is closed")


def test_an_empty_password_is_named_before_anything_is_sent() -> None:
    empty = Secrets(environ={"WATCHKEEPER_SECRET_AUTH": "authpass12", "WATCHKEEPER_SECRET_PRIV": ""})

    async def run() -> None:
        await open_snmp_session(secured_device("127.0.0.1:9", login()), empty)

    with pytest.raises(NoAnswer, match="password"):
        asyncio.run(run())


def test_an_agent_of_secured_devices_imports_neither_of_the_other_engines() -> None:
    code = (
        "import watchkeeper.agent.probes.snmp.usm_engine, sys;"
        "print([name for name in sys.modules if name.startswith(('pysnmp', 'gufo', 'cryptography'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
