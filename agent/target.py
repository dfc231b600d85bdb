"""What to probe, as a URL on the command line: `host`, `snmp://COMMUNITY@HOST:PORT`, `snmp://USER@HOST?auth=SHA-256&...`.

Only a community may stand in the clear, and only here; passwords are named (`auth_secret=NAME`), and so may be a
community (`snmp://HOST?community=NAME`). What is shown or said of a target has `***` before its `@`, and no `?...`.
"""

import enum
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from model.device import Category, Device, Snmp, SnmpAuth, SnmpEngine, SnmpPriv, SnmpVersion

SHAPE = "write `host`, `snmp://COMMUNITY@HOST:PORT` or `snmp://USER@HOST?auth=..&auth_secret=NAME`"

_WORDS: Mapping[str, type[enum.StrEnum]] = {
    "version": SnmpVersion,
    "auth": SnmpAuth,
    "priv": SnmpPriv,
    "engine": SnmpEngine,
}
_NAMES = ("community", "auth_secret", "priv_secret")
_COMMUNITY = "probe-target"  # what a community in the URL is called


@dataclass(frozen=True, slots=True)
class Target:
    """A device to read once. `environ` holds the URL's community where documents.secrets.Secrets finds it by name."""

    masked: str
    device: Device
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)


def parse_target(text: str, profile: str = "auto") -> Target:
    """Make a target of the URL. Raises ValueError with a sentence that has no secret in it."""
    if text in ("host", "host://"):
        return Target("host", Device("host", "probe", Category.SERVER, "host"))
    masked = mask(text)
    try:
        url = urllib.parse.urlsplit(text)
        port = url.port or 161
    except ValueError:
        raise ValueError(f"{masked}: not a URL; {SHAPE}") from None
    if url.scheme != "snmp" or not url.hostname or url.path.strip("/") or url.fragment:
        raise ValueError(f"{masked}: {SHAPE}; in a community `/`, `?` and `#` are `%2F`, `%3F` and `%23`")
    user = urllib.parse.unquote(url.netloc.rpartition("@")[0])
    try:
        snmp = _snmp(url.query, user)
    except ValueError as error:
        raise ValueError(f"{masked}: {error}") from None
    address = f"[{url.hostname}]:{port}" if ":" in url.hostname else f"{url.hostname}:{port}"
    environ = {"WATCHKEEPER_SECRET_PROBE_TARGET": user} if snmp.community == _COMMUNITY else {}
    return Target(masked, Device(address, "probe", Category.SERVER, "snmp", address, profile, snmp=snmp), environ)


def mask(text: str) -> str:
    """Hide all that stands before the last `@`, but for the scheme, and all after the `?`."""
    return re.sub(r"^([a-z]+://)?.*@", r"\1***@", text, flags=re.DOTALL).partition("?")[0]


def _snmp(query: str, user: str) -> Snmp:
    """How to speak: version 3 where `version` or `auth` says so, else with what stands before the `@` as community."""
    keys = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    if "@" in query:  # and so it is not repeated
        raise ValueError("in a community `?` is `%3F`, and in what follows a `?` there is no `@`")
    unknown = [key for key in keys if key not in (*_WORDS, *_NAMES)]
    if unknown:
        raise ValueError(f"unknown `{unknown[0]}`; known: {', '.join((*_WORDS, *_NAMES))}")
    fields: dict[str, Any] = {key: keys[key] for key in _NAMES if key in keys}
    fields |= {key: _word(keys[key], key) for key in _WORDS if key in keys}
    if "auth" in fields:
        fields.setdefault("version", SnmpVersion.V3)
    if fields.get("version") is SnmpVersion.V3:
        fields["user"] = user
    elif user:
        fields["community"] = _COMMUNITY
    snmp = Snmp(**fields)
    wrong = [message for _, message in snmp.check()]
    if wrong:
        raise ValueError("; ".join(wrong))
    return snmp


def _word(text: str, key: str) -> enum.StrEnum:
    """The member of that value, whatever its case. What was written is not repeated: it may be a password."""
    known = {member.value.lower(): member for member in _WORDS[key]}
    if text.lower() not in known:
        raise ValueError(f"`{key}` is one of {', '.join(_WORDS[key])}; a password is named with `{key}_secret`")
    return known[text.lower()]
