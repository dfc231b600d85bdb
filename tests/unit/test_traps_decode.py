"""Decoding of trap messages; and no input at all raises anything but Undecodable."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.traps_room import COLD_START, LINK_DOWN, v1, v2
from watchkeeper.agent.snmpv3 import ber
from watchkeeper.agent.snmpv3.ber import BerReader, Undecodable
from watchkeeper.agent.snmpv3.message import CommunityMessage, UsmMessage, open_message, open_scoped
from watchkeeper.agent.snmpv3.usm import Keys, LocalEngine, build_message
from watchkeeper.agent.traps.message.decode import answer_to, trap_of

WHOLE = [v2(), v2(inform=True), v1("1.3.6.1.4.1.318", 6, 46, ("1.3.6.1.4.1.318.2.3.3.0", ber.octets(b"who")))]
SECURED = build_message(LocalEngine(b"\x80\x00\x00\x00\x01", 3, 4), 9, b"ops", Keys(), ber.tlv(ber.SEQUENCE))


def plain(datagram: bytes) -> CommunityMessage:
    message = open_message(datagram)
    assert isinstance(message, CommunityMessage)
    return message


# ---- values ----


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_number_is_encoded_and_decoded(number: int) -> None:
    raw = ber.integer(number)
    assert BerReader(raw, 0, len(raw)).integer() == number


@given(st.integers(0, 2), st.integers(0, 39), st.lists(st.integers(0, 2**32 - 1), max_size=120))
def test_an_object_identifier_is_encoded_and_decoded(first: int, second: int, others: list[int]) -> None:
    dotted = ".".join(map(str, (first, second, *others)))
    raw = ber.oid(dotted)
    assert BerReader(raw, 0, len(raw)).oid() == dotted


@pytest.mark.parametrize("size", [0, 127, 128, 255, 256, 65_000])
def test_a_string_of_any_length_is_encoded_and_decoded(size: int) -> None:
    raw = ber.octets(bytes(size))
    assert BerReader(raw, 0, len(raw)).octets() == bytes(size)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x02",
        b"\x02\x00",  # a number without bytes
        b"\x02\x0a" + bytes(10),  # more than 64 bits
        b"\x04\x05abc",  # shorter than it says
        b"\x04\x80abc\x00\x00",  # the indefinite form
        b"\x04\x85\x00\x00\x00\x00\x01a",  # a length of five bytes
        b"\x06\x00",
        b"\x06\x02\x2b\x81",  # ends in the middle of an arc
        b"\x06\x07\x2b\x90\x80\x80\x80\x00\x01",  # an arc of 33 bits
        b"\x06\x81\x82" + b"\x01" * 130,  # too many arcs
    ],
)
def test_invalid_ber_is_undecodable(raw: bytes) -> None:
    reader = BerReader(raw, 0, len(raw))
    read: dict[bytes, Callable[[], object]] = {b"": reader.integer, b"\x02": reader.integer, b"\x04": reader.octets}
    with pytest.raises(Undecodable):
        read.get(raw[:1], reader.oid)()


# ---- messages ----


def test_a_v2_trap_has_its_oid_and_its_variables() -> None:
    variables = [
        ("1.3.6.1.2.1.33.1.2.3.0", ber.integer(-12)),
        ("1.3.6.1.2.1.33.1.1.5.0", ber.octets(b"ups\xff")),
        ("1.3.6.1.2.1.2.2.1.22.1", ber.oid("1.3.6.1.0")),
        ("1.3.6.1.2.1.4.20.1.1.1", ber.tlv(0x40, bytes((10, 0, 0, 1)))),
        ("1.3.6.1.2.1.31.1.1.1.6.1", ber.tlv(0x46, b"\x00" + b"\xff" * 8)),
        ("1.3.6.1.2.1.1.1.0", ber.tlv(0x80)),
    ]
    message = plain(v2(LINK_DOWN, *variables, community="secret"))
    trap = trap_of(message.pdu())
    assert (message.community, trap.trap, trap.inform) == (b"secret", LINK_DOWN, False)
    assert [value for _, value in trap.variables] == [-12, b"ups\xff", "1.3.6.1.0", "10.0.0.1", 2**64 - 1, None]
    assert [name for name, _ in trap.variables] == [name for name, _ in variables]
    assert "1.3.6.1.2.1.33.1.2.3.0=-12" in str(trap)


def test_a_community_that_a_proxy_put_into_a_trap_is_dropped() -> None:
    variables = [("1.3.6.1.6.3.18.1.4.0", ber.octets(b"hunter2")), ("1.3.6.1.2.1.2.2.1.1.4", ber.integer(4))]
    trap = trap_of(plain(v2(LINK_DOWN, *variables)).pdu())
    assert [name for name, _ in trap.variables] == ["1.3.6.1.2.1.2.2.1.1.4"]
    assert "hunter2" not in str(trap)


@pytest.mark.parametrize(
    ("generic", "specific", "expected"),
    [
        (0, 0, COLD_START),
        (2, 0, LINK_DOWN),
        (5, 9, "1.3.6.1.6.3.1.1.5.6"),
        (6, 46, "1.3.6.1.4.1.318.0.46"),
        (6, 0, "1.3.6.1.4.1.318.0.0"),
    ],
)
def test_a_v1_trap_is_converted_to_v2s_form(generic: int, specific: int, expected: str) -> None:
    """By RFC 3584, 3.1."""
    trap = trap_of(plain(v1("1.3.6.1.4.1.318", generic, specific, ("1.3.6.1.9.1", ber.integer(5)))).pdu())
    assert trap.trap == expected
    assert trap.variables == (
        ("1.3.6.1.9.1", 5),
        ("1.3.6.1.6.3.18.1.3.0", "10.0.0.99"),  # snmpTrapAddress.0, the agent-addr
        ("1.3.6.1.6.3.1.1.4.3.0", "1.3.6.1.4.1.318"),  # snmpTrapEnterprise.0
    )


@pytest.mark.parametrize("generic", [-1, 7])
def test_a_generic_trap_that_does_not_exist_is_undecodable(generic: int) -> None:
    with pytest.raises(Undecodable):
        trap_of(plain(v1("1.3.6.1.4.1.318", generic, 1)).pdu())


def test_the_answer_to_an_inform_differs_only_in_the_tag() -> None:
    inform = v2(LINK_DOWN, inform=True)
    answer = answer_to(plain(inform + b"padding").pdu())
    assert trap_of(plain(inform).pdu()).inform
    (offset,) = (at for at, (one, other) in enumerate(zip(inform, answer, strict=True)) if one != other)
    assert (inform[offset], answer[offset]) == (0xA6, 0xA2)


def test_a_get_is_no_trap() -> None:
    get = ber.tlv(0xA0, ber.integer(1), ber.integer(0), ber.integer(0), ber.tlv(ber.SEQUENCE))
    with pytest.raises(Undecodable, match="neither"):
        trap_of(BerReader(get, 0, len(get)))


def test_a_trap_without_its_oid_is_undecodable() -> None:
    pdu = ber.tlv(0xA7, ber.integer(1), ber.integer(0), ber.integer(0), ber.tlv(ber.SEQUENCE))
    with pytest.raises(Undecodable, match="which trap"):
        trap_of(BerReader(pdu, 0, len(pdu)))


@pytest.mark.parametrize("version", [2, 4, -1])
def test_a_version_that_does_not_exist_is_undecodable(version: int) -> None:
    with pytest.raises(Undecodable, match="version"):
        open_message(v2(version=version))


# ---- random and altered messages ----


def read_all(datagram: bytes) -> None:
    message = open_message(datagram)
    if isinstance(message, CommunityMessage):
        trap_of(message.pdu())
    else:
        trap_of(open_scoped(message.body))


def test_the_unaltered_messages_are_read() -> None:
    """Otherwise the next tests would prove nothing."""
    for datagram in WHOLE:
        read_all(datagram)
    assert isinstance(open_message(SECURED), UsmMessage)


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_undecodable(noise: bytes) -> None:
    with contextlib.suppress(Undecodable):
        read_all(noise)


@given(st.sampled_from([*WHOLE, SECURED]), st.data())
def test_an_altered_message_raises_nothing_but_undecodable(whole: bytes, data: st.DataObject) -> None:
    broken = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(broken[: data.draw(st.integers(0, len(broken)))])
    for datagram in (bytes(broken), cut):
        with contextlib.suppress(Undecodable):
            read_all(datagram)
