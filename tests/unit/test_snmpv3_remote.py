"""The manager's side of SNMPv3: discovery, the device's time, and what is believed of an answer."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.agent.snmpv3 import ber
from watchkeeper.agent.snmpv3.ber import Undecodable
from watchkeeper.agent.snmpv3.message import UsmMessage, open_message, open_scoped
from watchkeeper.agent.snmpv3.pdu import GET, REPORT, RESPONSE, Pdu, read_bindings
from watchkeeper.agent.snmpv3.remote import (
    DECRYPTION_ERROR,
    NOT_IN_WINDOW,
    UNKNOWN_ENGINE,
    UNKNOWN_USER,
    UNSUPPORTED_LEVEL,
    WRONG_DIGEST,
    Heard,
    Question,
    RemoteEngine,
    discovery,
)
from watchkeeper.agent.snmpv3.usm import EngineTime, Keys, User, UsmRefused, build_message, decrypt, verify_digest
from watchkeeper.model.device import SnmpAuth, SnmpPriv

ENGINE, OTHER = b"\x80\x00\x00\x00\x01device", b"\x80\x00\x00\x00\x01other"
USER = User(b"ops", SnmpAuth.SHA256, b"authpass12", SnmpPriv.AES, b"privpass12")
KEYS = USER.keys(ENGINE)
NAME, OIDS = "1.3.6.1.2.1.33.1.2.4.0", ("1.3.6.1.2.1.33.1.2.4.0",)
BOOTS, TIME, NOW = 5, 1000, 70.0
SALT = b"saltsalt"


def scoped(tag: int, request_id: int = 2, name: str = NAME, value: int = 97, status: int = 0) -> bytes:
    listed = ber.tlv(ber.SEQUENCE, ber.tlv(ber.SEQUENCE, ber.oid(name), ber.integer(value)))
    pdu = ber.tlv(tag, ber.integer(request_id), ber.integer(status), ber.integer(0), listed)
    return ber.tlv(ber.SEQUENCE, ber.octets(ENGINE), ber.octets(b""), pdu)


def sent(
    body: bytes, keys: Keys = KEYS, engine: bytes = ENGINE, boots: int = BOOTS, time: int = TIME, **how: bytes
) -> UsmMessage:
    at, salt = EngineTime(engine, boots, time), SALT if keys.priv else b""
    message = open_message(build_message(at, 1, how.get("user", b"ops"), keys, body, salt=salt))
    assert isinstance(message, UsmMessage)
    return message


def report(about: str, keys: Keys | None = None, **how: object) -> UsmMessage:
    return sent(scoped(REPORT, 0, about), keys or Keys(), **how)  # type: ignore[arg-type]


def met(user: User = USER) -> RemoteEngine:
    """An engine that has told its id."""
    remote = RemoteEngine(user, 7)
    assert remote.hear(report(UNKNOWN_ENGINE), discovery(1), NOW) is Heard.ASK_AGAIN
    return remote


def asked(remote: RemoteEngine, now: float = NOW) -> Question:
    return remote.ask(GET, OIDS, (1, 2), now)


def received(question: Question) -> UsmMessage:
    message = open_message(question.whole)
    assert isinstance(message, UsmMessage)
    return message


# ---- what is asked ----


def test_a_discovery_names_nobody_and_asks_for_a_report() -> None:
    message = received(discovery(42))
    assert (message.msg_id, message.engine, message.user, message.flags) == (42, b"", b"", UsmMessage.REPORTABLE)
    assert open_scoped(message.body).peek() == GET


def test_a_request_is_authenticated_encrypted_and_of_the_devices_time() -> None:
    remote = met()
    message = received(asked(remote, NOW + 30))
    verify_digest(message, KEYS)
    assert (message.engine, message.boots, message.time) == (ENGINE, BOOTS, TIME + 30)
    assert message.flags & UsmMessage.REPORTABLE
    _, pdu = open_scoped(decrypt(message, KEYS)).next()
    assert pdu.integer() == 2


def test_no_salt_is_used_twice_and_the_largest_is_followed_by_zero() -> None:
    remote = met()
    remote.salt = 2**64 - 2
    salts = [received(asked(remote)).salt for _ in range(3)]
    assert salts == [b"\xff" * 8, bytes(8), bytes(7) + b"\x01"]


def test_a_devices_time_is_never_asked_beyond_its_largest() -> None:
    remote = met()
    remote.hear(sent(scoped(RESPONSE), time=2**31 - 2), asked(remote), NOW)
    assert received(asked(remote, NOW + 3600)).time == 2**31 - 1


# ---- what is believed ----


@pytest.mark.parametrize("priv", [None, SnmpPriv.AES, SnmpPriv.DES])
def test_the_devices_own_answer_is_believed(priv: SnmpPriv | None) -> None:
    user = replace(USER, priv=priv)
    remote = met(user)
    answer = remote.hear(sent(scoped(RESPONSE), user.keys(ENGINE)), asked(remote), NOW)
    assert isinstance(answer, Pdu)
    assert read_bindings(answer.listed, OIDS) == [(NAME, 2, 97)]


FORGED = {
    "no digest": sent(scoped(RESPONSE), Keys()),
    "encrypted without a digest": replace(sent(scoped(RESPONSE), Keys()), flags=UsmMessage.PRIV),
    "not encrypted": sent(scoped(RESPONSE), replace(KEYS, priv=None)),
    "another password": sent(scoped(RESPONSE), replace(USER, auth_password=b"otherpass12").keys(ENGINE)),
    "another protocol": sent(scoped(RESPONSE), replace(USER, auth=SnmpAuth.SHA512).keys(ENGINE)),
    "another engine": sent(scoped(RESPONSE), engine=OTHER),
    "another engine and its keys": sent(scoped(RESPONSE), USER.keys(OTHER), engine=OTHER),
    "another user": sent(scoped(RESPONSE), user=b"eve"),
    "another request": sent(scoped(RESPONSE, 3)),
    "boots before": sent(scoped(RESPONSE), boots=BOOTS - 1),
    "time before the window": sent(scoped(RESPONSE), time=TIME - 151),
    "boots of which there is no next": sent(scoped(RESPONSE), boots=2**31 - 1),
    "a report that nobody signed": report(NAME),
}


@pytest.mark.parametrize("what", FORGED)
def test_an_answer_that_may_be_forged_is_refused(what: str) -> None:
    remote = met()
    assert isinstance(remote.hear(sent(scoped(RESPONSE)), asked(remote), NOW), Pdu)
    with pytest.raises(UsmRefused):
        remote.hear(FORGED[what], asked(remote), NOW)
    with pytest.raises(UsmRefused, match="engine"):
        remote.hear(sent(scoped(RESPONSE)), discovery(1), NOW)


@pytest.mark.parametrize(("late_s", "believed"), [(150, True), (151, False)])
def test_an_answer_is_believed_within_the_window(late_s: int, believed: bool) -> None:
    remote = met()
    remote.hear(sent(scoped(RESPONSE)), asked(remote), NOW)
    old = sent(scoped(RESPONSE), time=TIME)
    if believed:
        assert isinstance(remote.hear(old, asked(remote), NOW + late_s), Pdu)
    else:
        with pytest.raises(UsmRefused, match="sent before"):
            remote.hear(old, asked(remote), NOW + late_s)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_an_altered_answer_is_refused_or_undecodable(offset: int, byte: int) -> None:
    remote = met()
    whole = bytearray(sent(scoped(RESPONSE)).whole)
    offset %= len(whole)
    if whole[offset] == byte:
        byte ^= 1
    whole[offset] = byte
    with pytest.raises((UsmRefused, Undecodable)):
        remote.hear(open_message(bytes(whole)), asked(remote), NOW)  # type: ignore[arg-type]


@given(st.binary(max_size=200))
def test_a_signed_message_around_any_bytes_is_refused_or_undecodable(body: bytes) -> None:
    """The device itself may be broken."""
    for keys in (KEYS, replace(KEYS, priv=None), Keys()):
        remote = met()
        with contextlib.suppress(UsmRefused, Undecodable):
            heard = remote.hear(sent(ber.tlv(ber.SEQUENCE, body) if body else body, keys), asked(remote), NOW)
            assert isinstance(heard, (Pdu, Heard))


# ---- reports ----


@pytest.mark.parametrize(
    ("about", "heard"),
    [
        (UNKNOWN_USER, Heard.REFUSED),
        (WRONG_DIGEST, Heard.REFUSED),
        (UNSUPPORTED_LEVEL, Heard.REFUSED),
        (DECRYPTION_ERROR, Heard.NOT_DECRYPTED),
        (UNKNOWN_ENGINE, Heard.ASK_AGAIN),
        (NOT_IN_WINDOW, Heard.ASK_AGAIN),
    ],
)
def test_a_report_says_what_is_wrong_with_the_request(about: str, heard: Heard) -> None:
    remote = met()
    for keys in (Keys(), replace(KEYS, priv=None), KEYS):
        assert remote.hear(report(about, keys), asked(remote), NOW) is heard


def test_a_signed_report_of_another_kind_is_no_value() -> None:
    remote = met()
    assert remote.hear(report(NAME, KEYS), asked(remote), NOW) is Heard.OTHER_REPORT


def test_a_discovery_is_answered_by_a_report_of_any_kind() -> None:
    remote = RemoteEngine(USER, 7)
    assert remote.hear(report(NAME), discovery(1), NOW) is Heard.ASK_AGAIN
    assert remote.engine == ENGINE


@pytest.mark.parametrize("engine", [b"", b"x" * 33])
def test_an_engine_id_that_snmp_does_not_have_is_undecodable(engine: bytes) -> None:
    remote = RemoteEngine(USER, 7)
    with pytest.raises(Undecodable, match="engine id"):
        remote.hear(report(UNKNOWN_ENGINE, engine=engine), discovery(1), NOW)
    assert not remote.known


def test_a_device_that_restarts_is_asked_with_its_new_boots_and_its_old_answers_are_refused() -> None:
    remote = met()
    remote.hear(sent(scoped(RESPONSE)), asked(remote), NOW)
    signed = report(NOT_IN_WINDOW, replace(KEYS, priv=None), boots=BOOTS + 1, time=3)
    assert remote.hear(signed, asked(remote), NOW + 60) is Heard.ASK_AGAIN
    again = received(asked(remote, NOW + 61))
    assert (again.boots, again.time) == (BOOTS + 1, 4)
    with pytest.raises(UsmRefused, match="sent before"):
        remote.hear(sent(scoped(RESPONSE)), asked(remote, NOW + 61), NOW + 61)


def test_a_time_that_nobody_signed_is_used_to_ask_but_keeps_out_no_answer() -> None:
    remote = met()
    remote.hear(sent(scoped(RESPONSE)), asked(remote), NOW)
    assert remote.hear(report(NOT_IN_WINDOW, boots=99, time=99), asked(remote), NOW) is Heard.ASK_AGAIN
    assert received(asked(remote)).boots == 99
    assert isinstance(remote.hear(sent(scoped(RESPONSE)), asked(remote), NOW), Pdu)
    assert received(asked(remote)).boots == BOOTS


def test_a_device_with_another_engine_id_is_asked_with_keys_of_that_engine() -> None:
    remote = met()
    before = asked(remote)
    assert remote.hear(report(UNKNOWN_ENGINE, engine=OTHER, boots=1, time=1), before, NOW) is Heard.ASK_AGAIN
    message = received(asked(remote))
    assert message.engine == OTHER
    verify_digest(message, USER.keys(OTHER))
    answer = sent(scoped(RESPONSE), USER.keys(OTHER), engine=OTHER, boots=1, time=1)
    assert isinstance(remote.hear(answer, asked(remote), NOW), Pdu)
    with pytest.raises(UsmRefused, match="another engine"):
        remote.hear(answer, before, NOW)


def test_no_secret_is_in_the_text_of_a_question() -> None:
    text = repr(asked(met()))
    assert "auth_key" not in text
    assert "whole" not in text
