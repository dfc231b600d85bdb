"""An impostor at the device's address, or on the way to it, without its keys: SNMPv3 with `auth` must believe none of its
answers (RFC 3414, 3.2), and must still believe the device's own."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.snmp_liar import OBJECTS, UPS, agent, integer, responding
from tests.snmp_secured import ENGINE, SECRETS, SecuredDevice, login, secured_device
from watchkeeper.agent.poll import kinds
from watchkeeper.agent.ports import NoAnswer, ProbeContext
from watchkeeper.agent.probes.snmp.opening import open_snmp_session
from watchkeeper.agent.snmpv3 import ber
from watchkeeper.agent.snmpv3.message import UsmMessage, open_message, open_scoped
from watchkeeper.agent.snmpv3.pdu import REPORT, RESPONSE
from watchkeeper.agent.snmpv3.remote import NOT_IN_WINDOW, UNKNOWN_ENGINE
from watchkeeper.agent.snmpv3.usm import EngineTime, Keys, User, build_message
from watchkeeper.agent.traps.message.engine import build_report
from watchkeeper.model.clock import SystemClock
from watchkeeper.model.device import Snmp, SnmpEngine, SnmpPriv
from watchkeeper.model.reading import Missing, Reason

IMPOSTOR = EngineTime(b"\x80\x00\x7e\xd9\x05an-impostor", 5, 1000)
CHARGE = UPS + "2.4.0"
TRUE, FALSE = 97, 13
FORGED_S = 0.2
engines = pytest.mark.parametrize("engine", [SnmpEngine.AUTO, SnmpEngine.PYSNMP])
privacy = pytest.mark.parametrize("priv", [None, SnmpPriv.AES, SnmpPriv.DES], ids=["authNoPriv", "AES", "DES"])


def without_keys(request: bytes) -> list[bytes]:
    """Answers every request with a number, without authentication."""
    message = open_message(request)
    assert isinstance(message, UsmMessage)
    if not message.engine:  # discovery needs no key (RFC 3414, 4)
        return [build_report(IMPOSTOR, message, Keys(), UNKNOWN_ENGINE, 1)]
    _, pdu = open_scoped(message.body).next()
    request_id = pdu.integer()
    pdu.integer()
    pdu.integer()
    names, values = pdu.inside(ber.SEQUENCE), []
    while names.more:
        values.append(ber.tlv(ber.SEQUENCE, ber.oid(names.inside(ber.SEQUENCE).oid()), ber.integer(FALSE)))
    return [build_message(IMPOSTOR, message.msg_id, message.user, Keys(), scoped(RESPONSE, request_id, *values))]


def scoped(tag: int, request_id: int, *bindings: bytes, engine: bytes = IMPOSTOR.engine) -> bytes:
    body = ber.tlv(tag, ber.integer(request_id), ber.integer(0), ber.integer(0), ber.tlv(ber.SEQUENCE, *bindings))
    return ber.tlv(ber.SEQUENCE, ber.octets(engine), ber.octets(b""), body)


@engines
def test_an_unauthenticated_answer_is_not_accepted_if_the_inventory_has_auth(engine: SnmpEngine) -> None:
    async def run() -> str:
        async with responding(without_keys) as address:
            probe = kinds.build("snmp", ProbeContext(SystemClock(), SECRETS))
            try:
                device = secured_device(address, login(priv=None, engine=engine), 1.0)
                return str((await probe.sweep(device)).values[0])
            finally:
                await probe.close()

    assert asyncio.run(run()) == "no"


# ---- one forged answer in a session that has begun well ----


Forgery = Callable[[SecuredDevice, UsmMessage, bytes, bytes], Sequence[bytes]]
"""Gets the device, the request, and its false answer: as a scoped PDU, and as the device would send it."""


def changed(whole: bytes, at: int, byte: int) -> bytes:
    return whole[:at] + bytes((byte,)) + whole[at + 1 :]


def opened(whole: bytes) -> UsmMessage:
    message = open_message(whole)
    assert isinstance(message, UsmMessage)
    return message


def with_flags(whole: bytes, flags: int) -> bytes:
    """The same message with other flags; its digest is no longer right."""
    at = whole.index(b"\x04\x01" + bytes((opened(whole).flags,)) + b"\x02\x01\x03") + 2
    return changed(whole, at, flags)


def with_digest(whole: bytes, digest: bytes) -> bytes:
    """The same message with another digest, of any length."""
    one = opened(whole)
    security = ber.tlv(
        ber.SEQUENCE, ber.octets(one.engine), ber.integer(one.boots), ber.integer(one.time), ber.octets(one.user),
        ber.octets(digest), ber.octets(one.salt),
    )  # fmt: skip
    header = ber.tlv(
        ber.SEQUENCE, ber.integer(one.msg_id), ber.integer(65507), ber.octets(bytes((one.flags,))), ber.integer(3)
    )
    body = ber.octets(one.body) if one.private else one.body
    return ber.tlv(ber.SEQUENCE, ber.integer(3), header, ber.octets(security), body)


def false_report(device: SecuredDevice, keys: Keys, request: UsmMessage, false: bytes) -> list[bytes]:
    """The false answer with the tag of a report."""
    pdu = open_scoped(false)
    report = ber.tlv(ber.SEQUENCE, ber.octets(ENGINE), ber.octets(b""), bytes((REPORT,)) + pdu.rest()[1:])
    return [device.sealed(request, report, keys)]


FORGERIES: dict[str, Forgery] = {
    "no digest": lambda device, request, false, whole: [device.sealed(request, false, Keys())],
    "the flag for the digest is cleared": lambda device, request, false, whole: [with_flags(whole, 0)],
    "encrypted without a digest": lambda device, request, false, whole: [with_flags(whole, UsmMessage.PRIV)],
    "a wrong digest": lambda device, request, false, whole: [
        changed(whole, opened(whole).digest_at, whole[opened(whole).digest_at] ^ 1)
    ],
    "a digest of zeros": lambda device, request, false, whole: [with_digest(whole, bytes(24))],
    "an empty digest": lambda device, request, false, whole: [with_digest(whole, b"")],
    "a digest cut short": lambda device, request, false, whole: [with_digest(whole, opened(whole).digest[:1])],
    "another password": lambda device, request, false, whole: [
        device.sealed(
            request, false,
            User(b"ops", device.snmp.auth, b"otherpass12", device.snmp.priv, b"privpass12").keys(ENGINE),
        )
    ],
    "another engine": lambda device, request, false, whole: [device.sealed(request, false, at=IMPOSTOR)],
    "another engine, with its own keys": lambda device, request, false, whole: [
        device.sealed(request, false, device.keys_at(IMPOSTOR.engine), at=IMPOSTOR)
    ],
    "another user": lambda device, request, false, whole: [device.sealed(replace(request, user=b"eve"), false)],
    "another message": lambda device, request, false, whole: [
        device.sealed(replace(request, msg_id=request.msg_id ^ 1), false)
    ],
    "another request": lambda device, request, false, whole: [
        device.sealed(request, scoped(RESPONSE, 1, binding(FALSE), engine=ENGINE))
    ],
    "boots of the past": lambda device, request, false, whole: [
        device.sealed(request, false, at=EngineTime(ENGINE, device.boots - 1, device.time))
    ],
    "a time before the window": lambda device, request, false, whole: [
        device.sealed(request, false, at=EngineTime(ENGINE, device.boots, device.time - 200))
    ],
    "a report without a digest": lambda device, request, false, whole: false_report(device, Keys(), request, false),
    "a report with a digest": lambda device, request, false, whole: false_report(
        device, replace(device.keys, priv=None), request, false
    ),
    "a report of the device's kind": lambda device, request, false, whole: false_report(
        device, device.keys, request, false
    ),
    "the last byte is missing": lambda device, request, false, whole: [whole[:-1]],
    "half of it": lambda device, request, false, whole: [whole[: len(whole) // 2]],
    "SNMPv2c": lambda device, request, false, whole: [
        ber.tlv(ber.SEQUENCE, ber.integer(1), ber.octets(b"ops"), open_scoped(false).rest())
    ],
}  # fmt: skip


OUTSIDE_THE_WINDOW = ("boots of the past", "a time before the window")
"""pysnmp 7.1 does not look at the time of answers."""
WITH_KEYS = ("a report with a digest", "a report of the device's kind")
"""Only the device itself can send these, so they end the wait."""


def binding(value: int) -> bytes:
    return ber.tlv(ber.SEQUENCE, ber.oid(CHARGE), ber.integer(value))


class Attacked:
    """A device whose answers are true until `forge` is set. Then the datagrams of `forge` come instead."""

    def __init__(self, snmp: Snmp) -> None:
        self.objects = dict(OBJECTS)
        self.forged = 0
        self.device = SecuredDevice(lambda request: agent(self.objects)(request), snmp)  # noqa: PLW0108 -- the objects change

    def forge(self, forgery: Forgery | None) -> None:
        def change(request: UsmMessage, false: bytes, whole: bytes) -> Sequence[bytes]:
            datagrams = forgery(self.device, request, false, whole) if forgery else [whole]
            self.forged += forgery is not None
            return datagrams

        self.objects[CHARGE] = integer(FALSE if forgery else TRUE)
        self.device.change = change


async def charge(session: Any, timeout_s: float = 10.0) -> Any:
    """The charge that is read, or why there is none. A forged answer is waited for only a short time."""
    session._login = replace(session._login, timeout_s=timeout_s)
    try:
        return (await session.get_many([CHARGE])).get(CHARGE)
    except NoAnswer as nothing:
        return nothing.missing


@privacy
@pytest.mark.parametrize(
    ("what", "engine"),
    [
        *((what, SnmpEngine.AUTO) for what in FORGERIES),
        *((what, SnmpEngine.PYSNMP) for what in FORGERIES if what not in OUTSIDE_THE_WINDOW),
    ],
)
def test_a_forged_answer_is_not_believed_and_the_next_true_one_is(
    what: str, engine: SnmpEngine, priv: SnmpPriv | None
) -> None:
    attacked = Attacked(login(priv=priv, engine=engine))

    async def run() -> list[Any]:
        async with responding(attacked.device) as address:
            session = await open_snmp_session(secured_device(address, attacked.device.snmp), SECRETS)
            read = [await charge(session)]
            attacked.forge(FORGERIES[what])
            read.append(await charge(session, FORGED_S))
            attacked.forge(None)
            read.append(await charge(session))
            session.close()
        return read

    first, forged, last = asyncio.run(run())
    assert (first, last) == (TRUE, TRUE)
    assert isinstance(forged, Missing)
    assert attacked.forged


@privacy
def test_an_answer_that_is_not_encrypted_is_not_believed_if_the_request_was(priv: SnmpPriv | None) -> None:
    async def run() -> Any:
        attacked = Attacked(login(priv=priv))
        attacked.forge(
            lambda device, request, false, whole: [device.sealed(request, false, replace(device.keys, priv=None))]
        )
        async with responding(attacked.device) as address:
            session = await open_snmp_session(secured_device(address, attacked.device.snmp), SECRETS)
            read = await charge(session, FORGED_S if priv else 10.0)
            session.close()
        return read

    read = asyncio.run(run())
    if priv:
        assert isinstance(read, Missing)
    else:
        assert read == FALSE  # without `priv`, it is the device's own answer


@privacy
@pytest.mark.parametrize("what", [one for one in FORGERIES if one not in WITH_KEYS])
def test_a_forged_answer_does_not_keep_the_true_one_out(what: str, priv: SnmpPriv | None) -> None:
    def forged_first(device: SecuredDevice, request: UsmMessage, false: bytes, whole: bytes) -> list[bytes]:
        attacked.forge(None)
        true = device.sealed(request, false.replace(integer(FALSE), integer(TRUE)))
        return [*FORGERIES[what](device, request, false, whole), true]

    attacked = Attacked(login(priv=priv))

    async def run() -> Any:
        async with responding(attacked.device) as address:
            session = await open_snmp_session(secured_device(address, attacked.device.snmp), SECRETS)
            await charge(session)
            attacked.forge(forged_first)
            read = await charge(session)
            session.close()
        return read

    assert asyncio.run(run()) == TRUE
    assert attacked.forged


@engines
def test_an_answer_sent_again_is_not_believed(engine: SnmpEngine) -> None:
    """The answers of an hour ago, when the device was well."""
    recorded: list[bytes] = []

    def record(device: SecuredDevice, request: UsmMessage, scoped: bytes, whole: bytes) -> list[bytes]:
        recorded.append(whole)
        return [whole]

    async def run() -> list[Any]:
        attacked = Attacked(login(engine=engine))
        async with responding(attacked.device) as address:
            session = await open_snmp_session(secured_device(address, attacked.device.snmp), SECRETS)
            attacked.forge(record)
            attacked.objects[CHARGE] = integer(TRUE)
            read = [await charge(session) for _ in range(3)]
            attacked.forge(lambda device, request, false, whole: recorded)
            read.append(await charge(session, FORGED_S))
            session.close()
        return read

    *before, after = asyncio.run(run())
    assert before == [TRUE] * 3
    assert isinstance(after, Missing)


@engines
def test_an_answer_from_another_address_is_not_believed(engine: SnmpEngine) -> None:
    """Even with the device's keys: the device answers from where it was asked."""

    async def run() -> Any:
        attacked = Attacked(login(engine=engine))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked, socket.socket(type=socket.SOCK_DGRAM) as other:
            asked.bind(("127.0.0.1", 0))
            asked.setblocking(False)  # noqa: FBT003 -- the standard library's signature

            def receive() -> None:
                request, sender = asked.recvfrom(4096)
                if not request:  # pysnmp's engine looks whether the port is dead
                    return
                honest = attacked.device(request)
                (asked if len(attacked.device.requests) <= 2 else other).sendto(honest[0], sender)

            asyncio.get_running_loop().add_reader(asked, receive)
            address = f"127.0.0.1:{asked.getsockname()[1]}"
            session = await open_snmp_session(secured_device(address, attacked.device.snmp), SECRETS)
            read = [await charge(session), await charge(session, FORGED_S)]
            session.close()
            asyncio.get_running_loop().remove_reader(asked)
        return read

    first, second = asyncio.run(run())
    assert first == TRUE
    assert isinstance(second, Missing)


@privacy
def test_an_answer_altered_anywhere_is_not_believed(priv: SnmpPriv | None) -> None:
    """One changed byte, at every offset: nothing of the message is outside the digest."""

    async def run() -> list[Any]:
        attacked = Attacked(login(priv=priv))
        offsets = iter(range(1000))
        async with responding(attacked.device) as address:
            session = await open_snmp_session(secured_device(address, attacked.device.snmp), SECRETS)
            read = [await charge(session)]
            attacked.device.change = lambda request, scoped, whole: [
                changed(whole, at := next(offsets) % len(whole), whole[at] ^ 0x01)
            ]
            read += [await charge(session, 0.02) for _ in range(140)]
            session.close()
        return read

    first, *others = asyncio.run(run())
    assert first == TRUE
    assert {type(one) for one in others} == {Missing}


@engines
@pytest.mark.parametrize("what", ["its engine id", "its time", "a refusal"])
def test_a_false_report_gives_no_value_and_ends(what: str, engine: SnmpEngine) -> None:
    """Reports need no keys, so an impostor can make a device unreadable; it must not do more."""
    about = {"its engine id": UNKNOWN_ENGINE, "its time": NOT_IN_WINDOW, "a refusal": UPS + "2.4.0"}[what]

    def report(device: SecuredDevice, request: UsmMessage, false: bytes, whole: bytes) -> list[bytes]:
        at = EngineTime(IMPOSTOR.engine if what == "its engine id" else ENGINE, 99, 99)
        return [build_report(at, request, Keys(), about, FALSE)]

    async def run() -> list[Any]:
        attacked = Attacked(login(engine=engine))
        async with responding(attacked.device) as address:
            session = await open_snmp_session(secured_device(address, attacked.device.snmp), SECRETS)
            read = [await charge(session)]
            attacked.forge(report)
            read.append(await charge(session, FORGED_S))
            attacked.forge(None)
            read += [await charge(session, FORGED_S), await charge(session)]
            session.close()
        return read

    first, forged, _, last = asyncio.run(run())
    assert (first, last) == (TRUE, TRUE)
    assert isinstance(forged, Missing)
    assert forged.reason in (Reason.REFUSED, Reason.MALFORMED, Reason.TIMEOUT)
