"""Requests and responses of polls; and no input at all raises anything but Undecodable, or takes long."""

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from watchkeeper.agent.snmpv3 import ber
from watchkeeper.agent.snmpv3.ber import BerReader, Undecodable
from watchkeeper.agent.snmpv3.pdu import (
    END_OF_VIEW,
    GET,
    GETBULK,
    REPORT,
    RESPONSE,
    BoundValue,
    build_pdu,
    open_pdu,
    read_bindings,
)

NAME, OTHER = "1.3.6.1.2.1.33.1.2.5.0", "1.3.6.1.2.1.1.3.0"


def reader(raw: bytes) -> BerReader:
    return BerReader(raw, 0, len(raw))


def listed(*pairs: tuple[str, bytes]) -> BerReader:
    return reader(b"".join(ber.tlv(ber.SEQUENCE, ber.oid(name), value) for name, value in pairs))


def value_of(raw: bytes) -> BoundValue:
    """The value, which is the same whether its name is expected or not."""
    ((name, tag, value),) = read_bindings(listed((NAME, raw)))
    assert (name, tag) == (NAME, raw[0])
    assert read_bindings(listed((NAME, raw)), [NAME]) == [(name, tag, value)]
    return value


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (ber.integer(548), 548),
        (ber.integer(-12), -12),
        (b"\x02\x00", 0),
        (b"\x02\x04\x00\x00\x02\x24", 548),
        (ber.integer(548, 0x41), 548),
        (b"\x41\x04\xff\xff\xff\xfe", 2**32 - 2),
        (b"\x41\x05\x00\xff\xff\xff\xff", 2**32 - 1),
        (b"\x42\x01\xff", 2**32 - 1),
        (b"\x43\x03\x01\x00\x00", 65536),
        (b"\x46\x08" + b"\xff" * 8, 2**64 - 1),
        (b"\x46\x09\x00" + b"\xff" * 8, 2**64 - 1),
        (b"\x47\x01\x05", 5),
        (ber.octets(b"\xff 548"), b"\xff 548"),
        (ber.octets(b"x" * 300), b"x" * 300),
        (b"\x44\x07\x9f\x78\x04\x44\x09\x00\x00", b"\x9f\x78\x04\x44\x09\x00\x00"),
        (ber.oid("1.3.6.1"), "1.3.6.1"),
        (b"\x40\x04\x0a\x00\x00\xfe", "10.0.0.254"),
        (b"\x05\x00", None),
        (b"\x80\x00", None),
        (b"\x81\x00", None),
        (bytes((END_OF_VIEW, 0)), None),
    ],
)
def test_a_value_is_decoded(raw: bytes, value: BoundValue) -> None:
    assert value_of(raw) == value


@pytest.mark.parametrize(
    "raw",
    [
        b"\x02\x0a" + bytes(10),
        b"\x40\x03\x0a\x00\x00",
        b"\x06\x00",
        b"\x45\x02\x01\x02",
        b"\x5e\x01\x07",
        b"\xc1\x01\x07",
        b"\x09\x07\x035.5E1",
        b"\x0a\x01\x03",
        b"\x30\x03\x02\x01\x01",
        b"\x04\x84\x7f\xff\xff\xffab",
        b"\x04\x05abc",
        b"",
    ],
)
def test_a_value_that_snmp_does_not_have_is_undecodable(raw: bytes) -> None:
    for asked in ((), (NAME,), (OTHER,)):
        with pytest.raises(Undecodable):
            read_bindings(listed((NAME, raw), (OTHER, ber.integer(1))), asked)


VALUES = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(ber.integer),
    st.binary(max_size=300).map(ber.octets),
    st.sampled_from([b"\x05\x00", b"\x80\x00", b"\x82\x00", ber.oid(NAME)]),
)
NAMES = st.sampled_from([NAME, OTHER, "1.3.6.1.2.1.2.2.1.10.4294967295", "1.3.6.1" + ".4294967295" * 40])


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), st.lists(NAMES, max_size=6))
def test_the_names_that_were_asked_change_no_binding(pairs: list[tuple[str, bytes]], asked: list[str]) -> None:
    found = read_bindings(listed(*pairs))
    assert [name for name, _, _ in found] == [name for name, _ in pairs]
    assert read_bindings(listed(*pairs), asked) == found
    assert read_bindings(listed(*pairs), [name for name, _ in pairs]) == found


@given(st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=4), st.data())
def test_altered_bindings_are_read_alike_whatever_was_asked(
    pairs: list[tuple[str, bytes]], data: st.DataObject
) -> None:
    whole = bytearray(listed(*pairs).data)
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    asked = [name for name, _ in pairs]
    results = []
    for names in ([], asked):
        try:
            results.append(read_bindings(reader(bytes(whole)), names))
        except Undecodable:
            results.append([])
    assert results[0] == results[1]


@given(st.binary(max_size=400))
@example(b"\x30\x84\xff\xff\xff\xff")
@example(b"\xa2\x80")
def test_any_bytes_are_read_or_undecodable(raw: bytes) -> None:
    with contextlib.suppress(Undecodable):
        read_bindings(open_pdu(reader(raw)).listed, [NAME])
    with contextlib.suppress(Undecodable):
        read_bindings(reader(raw), [NAME, OTHER])


def test_a_datagram_of_the_shortest_bindings_is_read_in_steps_that_grow_with_its_size() -> None:
    """Each step moves on by the binding's length, so the largest datagram has at most so many."""
    found = read_bindings(reader(b"\x30\x05\x06\x01\x2b\x05\x00" * 9000))
    assert len(found) == 9000
    assert found[0] == ("1.3", 5, None)


# ---- whole PDUs ----


def test_a_request_names_its_objects() -> None:
    tag, inner = reader(build_pdu(GET, 2**31 - 1, [NAME, OTHER])).next()
    assert tag == GET
    assert [inner.integer() for _ in range(3)] == [2**31 - 1, 0, 0]
    assert read_bindings(inner.inside(ber.SEQUENCE)) == [(NAME, 5, None), (OTHER, 5, None)]


def test_a_bulk_request_says_how_many_rows() -> None:
    _, inner = reader(build_pdu(GETBULK, 7, [NAME], 20)).next()
    assert [inner.integer() for _ in range(3)] == [7, 0, 20]


@pytest.mark.parametrize("tag", [RESPONSE, REPORT])
def test_a_response_or_report_is_opened(tag: int) -> None:
    bindings = ber.tlv(ber.SEQUENCE, ber.tlv(ber.SEQUENCE, ber.oid(NAME), ber.integer(5)))
    pdu = open_pdu(reader(ber.tlv(tag, ber.integer(9), ber.integer(16), ber.integer(1), bindings)))
    assert (pdu.tag, pdu.request_id, pdu.status) == (tag, 9, 16)
    assert read_bindings(pdu.listed) == [(NAME, 2, 5)]


@pytest.mark.parametrize("tag", [GET, GETBULK, 0xA3, 0xA4, 0xA6, 0xA7, ber.SEQUENCE])
def test_what_no_device_answers_with_is_undecodable(tag: int) -> None:
    with pytest.raises(Undecodable, match="neither a response nor a report"):
        open_pdu(reader(ber.tlv(tag, ber.integer(9), ber.integer(0), ber.integer(0), ber.tlv(ber.SEQUENCE))))
