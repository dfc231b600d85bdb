"""Recordings of devices in snmpsim's .snmprec form (`OID|TAG|VALUE`), without the names of people and networks."""

import ipaddress
import re
from collections.abc import Iterable, Iterator

from watchkeeper.profiles.decode import Raw

OCTET_STRING, IP_ADDRESS = 4, 64
"""BER tags: OCTET STRING (X.690), IpAddress (RFC 2578, 7.1.5)."""

HIDDEN = ("1.3.6.1.2.1.1.4", "1.3.6.1.2.1.1.5", "1.3.6.1.2.1.1.6", "1.3.6.1.2.1.31.1.1.1.18", "1.3.6.1.2.1.2.2.1.6")
"""sysContact, sysName, sysLocation, ifAlias, ifPhysAddress: their text is replaced."""

LEFT_OUT = (
    "1.3.6.1.2.1.3", "1.3.6.1.2.1.4", "1.3.6.1.2.1.6", "1.3.6.1.2.1.7", "1.3.6.1.2.1.25.4", "1.3.6.1.2.1.25.6",
    "1.3.6.1.2.1.55", "1.3.6.1.6.3",
)  # fmt: skip
"""Neighbours, addresses, connections, running and installed programs, and SNMP's own users, communities and targets."""

_IPV4 = re.compile(rb"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")
_MAC = re.compile(rb"(?i)\b[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}\b")
_MAIL = re.compile(rb"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_PRINTABLE = re.compile(rb"[\x20-\x7e]*")
_MAC_BYTES = 6


def redacted(rows: Iterable[tuple[str, int, Raw]], *secrets: str) -> Iterator[str]:
    """The lines of a recording. Contacts, names, places, addresses, mail addresses and `secrets` (the community) are
    replaced. The objects in LEFT_OUT and rows with a secret in their index are left out."""
    replaced: dict[str, str] = {}
    indices = [f".{'.'.join(map(str, secret.encode()))}." for secret in secrets if secret]
    for oid, tag, raw in rows:
        if _below(oid, LEFT_OUT) or any(index in f"{oid}." for index in indices):
            continue
        if tag == IP_ADDRESS:
            yield f"{oid}|{tag}|{_address(str(raw), replaced)}"
        elif isinstance(raw, bytes):
            text = b"redacted" if _below(oid, HIDDEN) else _cleaned(raw, secrets, replaced)
            plain = _PRINTABLE.fullmatch(text) and tag == OCTET_STRING
            yield f"{oid}|{tag}|{text.decode()}" if plain else f"{oid}|{tag}x|{text.hex()}"
        else:
            yield f"{oid}|{tag}|{raw}"


def _below(oid: str, subtrees: Iterable[str]) -> bool:
    return any(f"{oid}.".startswith(f"{subtree}.") for subtree in subtrees)


def _cleaned(text: bytes, secrets: Iterable[str], replaced: dict[str, str]) -> bytes:
    if len(text) == _MAC_BYTES and not _PRINTABLE.fullmatch(text):
        return bytes.fromhex("00005e005301")  # an address for documentation (RFC 7042, 2.1.2)
    for secret in filter(None, secrets):
        text = text.replace(secret.encode(), b"redacted")
    text = _MAIL.sub(b"redacted@example.org", text)
    text = _MAC.sub(b"00:00:5e:00:53:01", text)
    return _IPV4.sub(lambda found: _address(found[0].decode(), replaced).encode(), text)


def _address(text: str, replaced: dict[str, str]) -> str:
    """An address for documentation (RFC 5737), the same for equal addresses. One that reveals no network stays."""
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        return text  # 1.2.3.400 may be a version
    if address.is_unspecified or address.is_loopback or text.startswith("255."):
        return text
    return replaced.setdefault(text, f"192.0.2.{len(replaced) % 254 + 1}")
