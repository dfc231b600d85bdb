"""The part of BER (X.690) that SNMP is written in. Pure; whatever comes in, nothing but Undecodable is raised."""

from dataclasses import dataclass

INTEGER, OCTETS, NULL, OID, SEQUENCE = 0x02, 0x04, 0x05, 0x06, 0x30

_LONG = 0x80
_LENGTH_BYTES = 4  # more than any datagram needs
_INTEGER_BYTES = 9  # Counter64 with its sign (RFC 3416, 2.1)
_ARCS, _ARC = 128, 2**32  # RFC 2578, 3.5
_SEVEN = 0x7F


class Undecodable(Exception):
    """A message that breaks the rules; says which."""


@dataclass(slots=True)
class BerReader:
    """Reads one value after the other from `at` up to `end`."""

    data: bytes
    at: int
    end: int

    @property
    def more(self) -> bool:
        """Whether anything is left."""
        return self.at < self.end

    def peek(self) -> int:
        """The tag of the next value. Raises Undecodable where there is none."""
        if self.at >= self.end:
            raise Undecodable("a value is missing")
        return self.data[self.at]

    def next(self) -> tuple[int, "BerReader"]:
        """The next value, whatever it is: its tag and its inside."""
        tag = self.peek()
        length, start = self._length(self.at + 1)
        if length > self.end - start:
            raise Undecodable("a value is longer than what holds it")
        self.at = start + length
        return tag, BerReader(self.data, start, self.at)

    def inside(self, tag: int) -> "BerReader":
        """The inside of the next value, which must have that tag."""
        found, inner = self.next()
        if found != tag:
            raise Undecodable(f"a value is tagged {found:#04x} where {tag:#04x} belongs")
        return inner

    def rest(self) -> bytes:
        """Every byte that is left."""
        return self.data[self.at : self.end]

    def octets(self, tag: int = OCTETS) -> bytes:
        """An OCTET STRING."""
        return self.inside(tag).rest()

    def integer(self, tag: int = INTEGER) -> int:
        """An INTEGER."""
        return to_integer(self.inside(tag).rest())

    def oid(self) -> str:
        """An OBJECT IDENTIFIER, dotted."""
        return to_oid(self.inside(OID).rest())

    def _length(self, at: int) -> tuple[int, int]:
        """The length written at that place, and where what it counts begins (X.690, 8.1.3; only definite ones)."""
        if at >= self.end:
            raise Undecodable("a length is missing")
        first = self.data[at]
        if first < _LONG:
            return first, at + 1
        many = first - _LONG
        if not 0 < many <= _LENGTH_BYTES or at + 1 + many > self.end:
            raise Undecodable("a length cannot be read")
        return int.from_bytes(self.data[at + 1 : at + 1 + many], "big"), at + 1 + many


def to_integer(raw: bytes) -> int:
    """The inside of an INTEGER, or of one of SNMP's own whole numbers."""
    if not 0 < len(raw) <= _INTEGER_BYTES:
        raise Undecodable("a number has no bytes, or too many")
    return int.from_bytes(raw, "big", signed=True)


def to_oid(raw: bytes) -> str:
    """The inside of an OBJECT IDENTIFIER (X.690, 8.19)."""
    if not raw or raw[-1] & _LONG:
        raise Undecodable("an object identifier ends too early")
    arcs: list[int] = []
    arc = 0
    for byte in raw:
        arc = arc << 7 | byte & _SEVEN
        if arc >= _ARC or len(arcs) >= _ARCS:
            raise Undecodable("an object identifier is too long")
        if byte < _LONG:
            arcs.append(arc)
            arc = 0
    top = min(arcs[0] // 40, 2)
    return ".".join(map(str, (top, arcs[0] - 40 * top, *arcs[1:])))


# ---- out ----


def tlv(tag: int, *parts: bytes) -> bytes:
    """A value of that tag around the parts."""
    body = b"".join(parts)
    if len(body) < _LONG:
        return bytes((tag, len(body))) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG | len(length))) + length + body


def integer(number: int, tag: int = INTEGER) -> bytes:
    """An INTEGER."""
    return tlv(tag, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


def octets(text: bytes) -> bytes:
    """An OCTET STRING."""
    return tlv(OCTETS, text)


def oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER."""
    first, second, *others = map(int, dotted.split("."))
    return tlv(OID, *map(_arc, (40 * first + second, *others)))


def _arc(arc: int) -> bytes:
    out = [arc & _SEVEN]
    while arc := arc >> 7:
        out.append(_LONG | arc & _SEVEN)
    return bytes(reversed(out))
