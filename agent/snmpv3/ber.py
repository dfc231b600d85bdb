"""The part of BER (X.690) that SNMP uses. Pure. Any input at all raises nothing but Undecodable."""

from dataclasses import dataclass

INTEGER, OCTETS, NULL, OID, SEQUENCE, IP_ADDRESS = 0x02, 0x04, 0x05, 0x06, 0x30, 0x40

LONG = 0x80
"""The first byte of a length from here on says how many bytes of length follow."""
_SHORTEST = 2  # a tag and a length
_LENGTH_BYTES = 4  # more than any datagram needs
_INTEGER_BYTES = 9  # Counter64 with its sign (RFC 3416, 2.1)
_MAX_ARCS, _ARC_LIMIT = 128, 2**32  # RFC 2578, 3.5
_SEVEN_BITS = 0x7F


class Undecodable(Exception):
    """The message breaks a rule of BER or SNMP; the text says which."""


@dataclass(slots=True)
class BerReader:
    """Reads one value after the other, from `at` to `end`."""

    data: bytes
    at: int
    end: int

    @property
    def more(self) -> bool:
        """Whether anything is left."""
        return self.at < self.end

    def peek(self) -> int:
        """The tag of the next value. Raises Undecodable if there is none."""
        if self.at >= self.end:
            raise Undecodable("a value is missing")
        return self.data[self.at]

    def next(self) -> tuple[int, "BerReader"]:
        """Read the next value, of any tag; return its tag and its content."""
        tag, start, self.at = read_tlv(self.data, self.at, self.end)
        return tag, BerReader(self.data, start, self.at)

    def inside(self, tag: int) -> "BerReader":
        """Read the next value, which must have that tag; return its content."""
        found, inner = self.next()
        if found != tag:
            raise Undecodable(f"a value has the tag {found:#04x} instead of {tag:#04x}")
        return inner

    def rest(self) -> bytes:
        """All remaining bytes."""
        return self.data[self.at : self.end]

    def octets(self, tag: int = OCTETS) -> bytes:
        """Read an OCTET STRING."""
        return self.inside(tag).rest()

    def integer(self, tag: int = INTEGER) -> int:
        """Read an INTEGER."""
        return to_integer(self.inside(tag).rest())

    def oid(self) -> str:
        """Read an OBJECT IDENTIFIER, as dotted text."""
        return to_oid(self.inside(OID).rest())


def read_tlv(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """The tag of the value at that offset, and where its content begins and ends (X.690, 8.1.3; only the definite form).
    `end` is the end of the value around it."""
    if end - at < _SHORTEST:
        raise Undecodable("a value is missing, or its length")
    start = at + 2
    length = data[at + 1]
    if length >= LONG:
        many = length - LONG
        if not 0 < many <= _LENGTH_BYTES or start + many > end:
            raise Undecodable("a length cannot be read")
        length = int.from_bytes(data[start : start + many], "big")
        start += many
    if length > end - start:
        raise Undecodable("a value is longer than the value around it")
    return data[at], start, start + length


def to_integer(raw: bytes) -> int:
    """Decode the content of an INTEGER, or of one of SNMP's own integer types."""
    if not 0 < len(raw) <= _INTEGER_BYTES:
        raise Undecodable("an integer has no bytes, or too many")
    return int.from_bytes(raw, "big", signed=True)


def to_oid(raw: bytes) -> str:
    """Decode the content of an OBJECT IDENTIFIER (X.690, 8.19)."""
    if not raw or raw[-1] & LONG:
        raise Undecodable("an object identifier ends too early")
    arcs: list[int] = []
    arc = 0
    for byte in raw:
        arc = arc << 7 | byte & _SEVEN_BITS
        if arc >= _ARC_LIMIT or len(arcs) >= _MAX_ARCS:
            raise Undecodable("an object identifier is too long")
        if byte < LONG:
            arcs.append(arc)
            arc = 0
    top = min(arcs[0] // 40, 2)
    return ".".join(map(str, (top, arcs[0] - 40 * top, *arcs[1:])))


# ---- encoding ----


def tlv(tag: int, *parts: bytes) -> bytes:
    """Encode a value with that tag; its content is the parts."""
    body = b"".join(parts)
    if len(body) < LONG:
        return bytes((tag, len(body))) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes((tag, LONG | len(length))) + length + body


def integer(number: int, tag: int = INTEGER) -> bytes:
    """Encode an INTEGER."""
    return tlv(tag, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


def octets(text: bytes) -> bytes:
    """Encode an OCTET STRING."""
    return tlv(OCTETS, text)


def oid(dotted: str) -> bytes:
    """Encode an OBJECT IDENTIFIER."""
    first, second, *others = map(int, dotted.split("."))
    return tlv(OID, *map(_encode_arc, (40 * first + second, *others)))


def _encode_arc(arc: int) -> bytes:
    septets = [arc & _SEVEN_BITS]
    while arc := arc >> 7:
        septets.append(LONG | arc & _SEVEN_BITS)
    return bytes(reversed(septets))
