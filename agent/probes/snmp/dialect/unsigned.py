"""Counters below zero: some devices encode an unsigned number (RFC 2578, 7.1.6 to 7.1.10) without the leading zero octet
that BER demands (X.690, 8.3), so that one above the half of its range looks negative. Pure."""

import re

from watchkeeper.agent.snmpv3.ber import BerReader, Undecodable, tlv

_UNSIGNED = frozenset({0x41, 0x42, 0x43, 0x46, 0x47})  # Counter32, Gauge32, TimeTicks, Counter64, UInteger32
_NESTED = frozenset({0x30, *range(0xA0, 0xA9)})  # SEQUENCE, and the PDUs
_SUSPECT = re.compile(rb"[\x41-\x43\x46\x47][\x01-\x08][\x80-\xff]")


def with_leading_zeros(message: bytes) -> bytes:
    """The same SNMP message with a zero octet before each such number. A message that cannot be read stays as it is."""
    if not _SUSPECT.search(message):
        return message
    try:
        return _rewritten(BerReader(message, 0, len(message)))
    except (Undecodable, RecursionError):
        return message


def _rewritten(reader: BerReader) -> bytes:
    parts = []
    while reader.more:
        start = reader.at
        tag, inner = reader.next()
        if tag in _NESTED:
            parts.append(tlv(tag, _rewritten(inner)))
        elif tag in _UNSIGNED and inner.more and reader.data[inner.at] & 0x80:
            parts.append(tlv(tag, b"\x00", inner.rest()))
        else:
            parts.append(reader.data[start : reader.at])
    return b"".join(parts)
