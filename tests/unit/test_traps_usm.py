"""The User-based Security Model: keys, digests, encryption and time windows."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.agent.snmpv3 import ber
from watchkeeper.agent.snmpv3.message import UsmMessage, open_message, open_scoped
from watchkeeper.agent.snmpv3.usm import (
    WINDOW_S,
    Keys,
    LocalEngine,
    TimeWindow,
    User,
    UsmRefused,
    build_message,
    decrypt,
    engine_id,
    localized,
    verify_digest,
)
from watchkeeper.model.device import SnmpAuth, SnmpPriv

ENGINE = bytes.fromhex("000000000000000000000002")
LOCAL = LocalEngine(ENGINE, 3, 4711)
SCOPED = ber.tlv(ber.SEQUENCE, ber.octets(ENGINE), ber.octets(b""), ber.tlv(0xA7, ber.integer(42)))
USER = User(b"ops", SnmpAuth.SHA256, b"authpass12", SnmpPriv.AES, b"privpass12")
CIPHERS = [(auth, priv) for auth in SnmpAuth for priv in SnmpPriv]


def message(keys: Keys, engine: LocalEngine = LOCAL) -> UsmMessage:
    made = open_message(build_message(engine, 1, b"ops", keys, SCOPED, salt=b"saltsalt" if keys.priv else b""))
    assert isinstance(made, UsmMessage)
    return made


@pytest.mark.parametrize(
    ("auth", "key"),
    [
        (SnmpAuth.MD5, "526f5eed9fcce26f8964c2930787d82b"),
        (SnmpAuth.SHA, "6695febc9288e36282235fc7151f128497b38f3f"),
    ],
)
def test_a_key_is_computed_as_in_the_rfc(auth: SnmpAuth, key: str) -> None:
    """The examples of RFC 3414, A.3.1 and A.3.2."""
    assert localized(auth, b"maplesyrup", ENGINE).hex() == key


def test_a_long_key_by_reeders_draft_is_that_of_the_draft() -> None:
    """draft-reeder-snmpv3-usm-3desede-00, appendix B.2: the extended key of SHA, of which AES-256 uses 32 bytes."""
    extended = "6695febc9288e36282235fc7151f128497b38f3f" + "9b8b6d78936ba6e7d19dfd9cd2d5065547743fb5"
    user = User(b"ops", SnmpAuth.SHA, b"maplesyrup", SnmpPriv.AES256C, b"maplesyrup")
    assert user.keys(ENGINE).priv_key.hex() == extended[:64]
    assert replace(user, priv=SnmpPriv.AES192C).keys(ENGINE).priv_key.hex() == extended[:48]
    assert replace(user, priv=SnmpPriv.AES256).keys(ENGINE).priv_key.hex() != extended[:64]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("AES128", SnmpPriv.AES), ("AES-128", SnmpPriv.AES), ("aes", SnmpPriv.AES), ("AES256", SnmpPriv.AES256),
        ("AES256C", SnmpPriv.AES256C), ("aes-192-cisco", SnmpPriv.AES192C),
    ],
)  # fmt: skip
def test_other_spellings_of_a_privacy_protocol_are_understood(written: str, meant: SnmpPriv) -> None:
    assert SnmpPriv(written) is meant


@pytest.mark.parametrize(
    ("written", "meant"), [("SHA1", SnmpAuth.SHA), ("sha256", SnmpAuth.SHA256), ("md5", SnmpAuth.MD5)]
)
def test_other_spellings_of_an_authentication_protocol_are_understood(written: str, meant: SnmpAuth) -> None:
    assert SnmpAuth(written) is meant


@pytest.mark.parametrize("written", ["AES-512", "3DES", ""])
def test_a_protocol_that_is_none_is_not_taken_for_another(written: str) -> None:
    with pytest.raises(ValueError, match="not a valid SnmpPriv"):
        SnmpPriv(written)


@pytest.mark.parametrize(("auth", "priv"), CIPHERS)
def test_a_message_is_accepted_only_with_the_keys_of_its_user(auth: SnmpAuth, priv: SnmpPriv) -> None:
    user = replace(USER, auth=auth, priv=priv)
    keys = user.keys(ENGINE)
    made = message(keys)
    assert SCOPED not in made.whole
    verify_digest(made, keys)
    assert open_scoped(decrypt(made, keys)).rest() == ber.tlv(0xA7, ber.integer(42))
    for other in (replace(user, auth_password=b"other").keys(ENGINE), user.keys(b"another engine")):
        with pytest.raises(UsmRefused, match="authentication"):
            verify_digest(made, other)


@given(st.data())
def test_an_altered_message_is_refused(data: st.DataObject) -> None:
    keys = USER.keys(ENGINE)
    whole = bytearray(message(keys).whole)
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        made = open_message(bytes(whole))
    except ber.Undecodable:
        return
    assert isinstance(made, UsmMessage)
    with pytest.raises(UsmRefused):
        verify_digest(made, keys)


def test_another_security_level_is_refused() -> None:
    levels = [USER.keys(ENGINE), replace(USER.keys(ENGINE), priv=None), Keys()]
    for made in levels:
        for wanted in levels:
            if made.flags == wanted.flags:
                verify_digest(message(made), wanted)
            else:
                with pytest.raises(UsmRefused, match="level"):
                    verify_digest(message(made), wanted)


def test_a_salt_of_the_wrong_length_is_refused() -> None:
    keys = USER.keys(ENGINE)
    with pytest.raises(UsmRefused, match="privacy"):
        decrypt(replace(message(keys), salt=b"short"), keys)
    des = replace(USER, priv=SnmpPriv.DES).keys(ENGINE)
    with pytest.raises(UsmRefused, match="privacy"):
        decrypt(replace(message(des), body=b"no block"[:5]), des)


def test_an_empty_password_is_refused() -> None:
    with pytest.raises(UsmRefused, match="empty"):
        replace(USER, auth_password=b"").keys(ENGINE)


def test_no_secret_is_in_a_repr() -> None:
    assert "authpass12" not in repr(USER)
    assert "privpass12" not in repr(USER)
    assert USER.keys(ENGINE).auth_key.hex() not in repr(USER.keys(ENGINE)).replace("\\x", "")


# ---- clocks ----


def test_only_recent_messages_of_another_engine_are_accepted() -> None:
    """By RFC 3414, 3.2, 7b."""
    window = TimeWindow()
    assert window.admits(7, 1000, now=50.0)
    assert window.admits(7, 1000 - WINDOW_S, now=50.0)
    assert not window.admits(7, 1000 - WINDOW_S - 1, now=50.0)
    assert not window.admits(7, 1000, now=50.0 + WINDOW_S + 1), "sent again, later"
    assert window.admits(7, 1200, now=51.0), "its clock is fast"
    assert window.admits(8, 1, now=52.0), "it restarted"
    assert not window.admits(7, 99_999, now=53.0)
    assert not window.admits(2**31 - 1, 1, now=54.0), "its boot counter is at its maximum"


def test_our_own_time_continues_over_restarts_and_wraps() -> None:
    before, after = LocalEngine.at(ENGINE, 1_800_000_000.5), LocalEngine.at(ENGINE, 1_800_000_010.0)
    assert (before.boots, after.boots, after.time - before.time) == (1, 1, 10)
    assert LocalEngine.at(ENGINE, 2.0**31) == LocalEngine(ENGINE, 2, 0)
    old = message(Keys(), before)
    assert before.admits(old)
    assert LocalEngine.at(ENGINE, 1_800_000_000.0 + WINDOW_S).admits(old)
    assert not LocalEngine.at(ENGINE, 1_800_000_001.0 + WINDOW_S).admits(old)
    assert not replace(before, boots=2).admits(old)


def test_an_agents_engine_id_never_changes_and_is_unique() -> None:
    assert engine_id("room-1") == engine_id("room-1") != engine_id("room-2")
    assert (
        engine_id("room-1").hex().startswith("80007ed905")
    )  # RFC 3411: enterprise with its first bit set, then octets
    assert 5 <= len(engine_id("机房")) <= 32
