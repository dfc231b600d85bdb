"""The PDUs of polls (RFC 3416, 3): requests are built, and responses and reports are read. Pure; reading raises nothing
but Undecodable."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from watchkeeper.agent.snmpv3 import ber
from watchkeeper.agent.snmpv3.ber import LONG, OID, SEQUENCE, BerReader, Undecodable, read_tlv, to_oid

GET, GETNEXT, RESPONSE, GETBULK, REPORT = 0xA0, 0xA1, 0xA2, 0xA5, 0xA8
END_OF_VIEW = 0x82

BoundValue = int | str | bytes | None
"""A number; an object identifier or address as text; a string as bytes; None where the device has no value."""

_INTEGER_BYTES = 9  # Counter64 with its sign (RFC 3416, 2.1)
_IPV4_BYTES = 4
_NO_VALUE = frozenset({0x05, 0x80, 0x81, END_OF_VIEW})  # NULL, noSuchObject, noSuchInstance
_OCTETS = frozenset({0x04, 0x44})  # OCTET STRING, Opaque
_UNSIGNED = {0x41: 2**32, 0x42: 2**32, 0x43: 2**32, 0x46: 2**64, 0x47: 2**32}
"""Counter32, Gauge32, TimeTicks, Counter64, and SNMPv2's former UInteger32; each with the number of its values."""


Binding = tuple[str, int, BoundValue]
"""One object of a response: its name, its BER tag and its value."""


class Pdu(NamedTuple):
    """A response or a report. Its variable bindings, `listed`, are not read yet."""

    tag: int
    request_id: int
    status: int
    listed: BerReader


def build_pdu(tag: int, request_id: int, oids: Iterable[str], repetitions: int = 0) -> bytes:
    """A request for these objects, or, with GETBULK, for so many rows after each."""
    return ber.tlv(
        tag, ber.integer(request_id), b"\x02\x01\x00", ber.integer(repetitions),
        ber.tlv(SEQUENCE, *map(_asked, oids)),
    )  # fmt: skip


@lru_cache(maxsize=4096)
def _asked(oid: str) -> bytes:
    """The variable binding that asks for an object. Cached, because a poll asks for the same ones each time."""
    return ber.tlv(SEQUENCE, ber.oid(oid), b"\x05\x00")


def open_pdu(scoped: BerReader) -> Pdu:
    """Read a response or report up to its variable bindings."""
    tag, inner = scoped.next()
    if tag not in (RESPONSE, REPORT):
        raise Undecodable("it is neither a response nor a report")
    request_id, status, _ = inner.integer(), inner.integer(), inner.integer()
    return Pdu(tag, request_id, status, inner.inside(SEQUENCE))


def read_bindings(listed: BerReader, asked: Sequence[str] = ()) -> list[Binding]:
    """Read variable bindings. `asked` are the names of a GET, which the answer repeats in the same order: these need not
    be decoded."""
    data, at, end = listed.data, listed.at, listed.end
    found: list[Binding] = []
    for name in asked:  # most answers repeat the request, in short lengths
        expected = _asked(name)[2:-2]
        value_at = at + len(expected) + 4
        if value_at > end or data[at] != SEQUENCE or data[at + 1] >= LONG or not data.startswith(expected, at + 2):
            break
        after = at + 2 + data[at + 1]
        if after > end or data[value_at - 1] >= LONG or value_at + data[value_at - 1] != after:
            break
        tag = data[value_at - 2]
        found.append((name, tag, _value(tag, data[value_at:after])))
        at = after
    while at < end:
        tag, start, after = read_tlv(data, at, end)
        name_tag, name_at, name_end = read_tlv(data, start, after)
        if tag != SEQUENCE or name_tag != OID:
            raise Undecodable("a variable binding does not begin with an object identifier")
        tag, value_at, value_end = read_tlv(data, name_end, after)
        found.append((to_oid(data[name_at:name_end]), tag, _value(tag, data[value_at:value_end])))
        at = after
    return found


def _value(tag: int, raw: bytes) -> BoundValue:
    if tag == ber.INTEGER:
        return _integer(raw)
    if tag in _UNSIGNED:
        number = _integer(raw)  # some devices send a number above 2**31 as one below zero
        return number + _UNSIGNED[tag] if number < 0 else number
    if tag in _OCTETS:
        return raw
    if tag in _NO_VALUE:
        return None
    if tag == OID:
        return to_oid(raw)
    if tag == ber.IP_ADDRESS and len(raw) == _IPV4_BYTES:
        return ".".join(map(str, raw))
    raise Undecodable(f"a value has the tag {tag:#04x} or a length that SNMP does not know")


def _integer(raw: bytes) -> int:
    if len(raw) > _INTEGER_BYTES:
        raise Undecodable("an integer is too long")
    return int.from_bytes(raw, "big", signed=True)
