"""The device to read, as a URL on the command line.

A URL may contain a community in clear text, but no password. Passwords are named (`auth_secret=NAME`, `password=NAME`);
a community may be named too (`snmp://HOST?community=NAME`). Output and error texts show a target with `***` before its
`@`, and without its `?...`.
"""

import contextlib
import re
import typing
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import Any, NamedTuple

from watchkeeper.agent.poll.kinds import BY_PROFILE
from watchkeeper.documents.bind import Spelling, bind
from watchkeeper.documents.nodes import json_node
from watchkeeper.model.device import PROBE_KINDS, Category, Device, SnmpAuth, SnmpEngine, SnmpPriv, SnmpVersion

SHAPE = (
    "write `host`, `snmp://COMMUNITY@HOST:PORT`, `snmp://USER@HOST?auth=..&auth_secret=NAME`, `ipmi://USER@HOST?password=NAME`, "
    "`modbus://HOST?unit=1&profile=NAME`, `nut://UPS@HOST`, `icmp://HOST`, `tcp://HOST:PORT`, `https://HOST/`, or "
    "`postgresql://USER@HOST/DATABASE?password=NAME` (`mysql://`, `redis://` likewise)"
)


class Scheme(NamedTuple):
    """What a URL's scheme means: the probe, the category of such devices, their port, and the options that are written
    before the `@` (`user`) and after the `/` (`path`)."""

    probe: str
    category: Category
    port: int | None
    user: str = ""
    path: str = ""


_SCHEMES: Mapping[str, Scheme] = {
    "snmp": Scheme("snmp", Category.SERVER, 161, "user"),
    "ipmi": Scheme("ipmi", Category.BMC, 623, "user"),
    "modbus": Scheme("modbus", Category.METER, 502),
    "nut": Scheme("nut", Category.UPS, 3493, "ups"),
    "icmp": Scheme("icmp", Category.SERVER, None),
    "tcp": Scheme("tcp", Category.SERVICE, None),
    "http": Scheme("http", Category.SERVICE, 80, path="path"),
    "https": Scheme("http", Category.SERVICE, 443, path="path"),
    "postgresql": Scheme("postgresql", Category.SERVICE, 5432, "user", "database"),
    "mysql": Scheme("mysql", Category.SERVICE, 3306, "user", "database"),
    "redis": Scheme("redis", Category.SERVICE, 6379, "user", "database"),
}
COMMUNITY_PREFIX = "probe-target-"
"""A community in a URL becomes a secret with this name and a number."""

_numbers = count()


def _one_of(kind: type[StrEnum], hint: str = "") -> Callable[[str], StrEnum]:
    def parse(text: str) -> StrEnum:
        with contextlib.suppress(ValueError):
            return kind(text)
        for member in kind:
            if member.value.lower() == text.lower():
                return member
        raise ValueError(f"expected one of {', '.join(kind)}{hint}")

    return parse


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError("expected a whole number")
    return int(text)


def _yes_or_no(text: str) -> bool:
    if text not in ("yes", "true", "1", "no", "false", "0"):
        raise ValueError("expected yes or no")
    return text in ("yes", "true", "1")


_URL_SPELLING = Spelling(
    # No message repeats what was written: it may be a password.
    {
        str: str,
        int: _whole,
        bool: _yes_or_no,
        SnmpVersion: _one_of(SnmpVersion),
        SnmpAuth: _one_of(SnmpAuth, "; name a password with `auth_secret`"),
        SnmpPriv: _one_of(SnmpPriv, "; name a password with `priv_secret`"),
        SnmpEngine: _one_of(SnmpEngine),
    },
    "the URL",
)
_OPTION_TYPES = typing.get_type_hints(Device)


@dataclass(frozen=True, slots=True)
class Target:
    """A device to read once. `environ` has the URL's community under the variable in which Secrets looks for it."""

    masked: str
    device: Device
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)


def parse_target(text: str, profile: str = "auto", name: str = "") -> Target:
    """Make a target called `name` of the URL. Raises ValueError with a sentence that contains no secret."""
    if text in ("host", "host://"):
        return Target("host", Device(name or "host", "probe", Category.SERVER, "host"))
    masked = mask(text)
    try:
        url = urllib.parse.urlsplit(text)
        scheme = _SCHEMES.get(url.scheme)
        port = url.port or (scheme.port if scheme else None)
    except ValueError:
        raise ValueError(f"{masked}: not a URL; {SHAPE}") from None
    if scheme is None or not url.hostname or url.fragment or (url.path.strip("/") and not scheme.path):
        raise ValueError(f"{masked}: {SHAPE}; in a community `/`, `?` and `#` are `%2F`, `%3F` and `%23`")
    if scheme.probe == "snmp" and not ("@" in url.netloc or url.query):
        raise ValueError(f"{masked}: write the community before an `@`: snmp://COMMUNITY@HOST")
    try:
        given, environ, own = _options(url, scheme)
    except ValueError as error:
        raise ValueError(f"{masked}: {error}") from None
    address = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    if port is not None:
        address = f"{address}:{port}"
    device = Device(name or address, "probe", scheme.category, scheme.probe, address, own or profile, **given)
    wrong = [text for _, text in device.check_kind()]
    if wrong:
        raise ValueError(f"{masked}: {'; '.join(wrong)}")
    return Target(masked, device, environ)


def parse_targets(lines: Iterable[str], file: str, profile: str = "auto") -> Iterator[Target]:
    """The targets of a file with lines `NAME URL`; `#` begins a comment. Raises ValueError with file and line."""
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        where = f"{file}:{number}"
        if len(words) != 2:  # noqa: PLR2004 -- a name and a URL
            raise ValueError(f"{where}: write NAME and URL, with a space between them")
        if seen.setdefault(words[0], number) != number:
            raise ValueError(f"{where}: `{words[0]}` is also in line {seen[words[0]]}")
        try:
            yield parse_target(words[1], profile, words[0])
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None


def mask(text: str) -> str:
    """The URL with `***` before its last `@`, and without what follows its `?`."""
    return re.sub(r"^([a-z]+://)?.*@", r"\1***@", text, flags=re.DOTALL).partition("?")[0]


def _options(url: urllib.parse.SplitResult, scheme: Scheme) -> tuple[dict[str, Any], dict[str, str], str]:
    """The device's options, the environment with its community, and the profile that the URL names ("" for none)."""
    before = urllib.parse.unquote(url.netloc.rpartition("@")[0])
    if "@" in url.query:  # the query is not repeated: it may be part of a community
        raise ValueError("after a `?` there can be no `@`; in a community write `?` as `%3F`")
    keys = {} if scheme.probe == "http" else dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
    own = keys.pop("profile", "") if scheme.probe in BY_PROFILE else ""
    environ: dict[str, str] = {}
    if scheme.probe == "snmp" and before and not ("auth" in keys or keys.get("version") == SnmpVersion.V3):
        name = f"{COMMUNITY_PREFIX}{next(_numbers)}"
        environ[f"WATCHKEEPER_SECRET_{name.upper().replace('-', '_')}"] = before
        keys["community"], before = name, ""
    if before:
        keys[_user_option(url, scheme)] = before
    if scheme.probe == "http":
        keys |= {"path": url.path or "/", "tls": "yes" if url.scheme == "https" else "no"}
        if url.query:
            keys["path"] += f"?{url.query}"
    elif url.path.strip("/"):
        keys[scheme.path] = url.path.strip("/")
    kind = PROBE_KINDS[scheme.probe].options
    if not kind:
        if keys:
            raise ValueError(f"`{url.scheme}` takes nothing after a `?`")
        return {}, environ, own
    return ({kind: _bound(kind, keys)} if keys or PROBE_KINDS[scheme.probe].needed else {}), environ, own


def _user_option(url: urllib.parse.SplitResult, scheme: Scheme) -> str:
    """The name of the option that is written before the `@`. Raises ValueError."""
    if not scheme.user:
        raise ValueError(f"`{url.scheme}` takes nothing before an `@`")
    if ":" in url.netloc.rpartition("@")[0]:  # else the password would become part of the user's name, which is shown
        raise ValueError("a URL must not contain a password: name it, `password=NAME` (SNMPv3: `auth_secret=NAME`)")
    return scheme.user


def _bound(kind: str, keys: Mapping[str, str]) -> Any:
    """The options of that kind. Raises ValueError."""
    if kind == "snmp" and "auth" in keys:
        keys = {"version": SnmpVersion.V3.value, **keys}
    bound = bind(json_node(keys, ""), _OPTION_TYPES[kind], _URL_SPELLING)
    if bound.value is None:
        raise ValueError("; ".join(": ".join(filter(None, (one.file, one.message))) for one in bound.problems))
    return bound.value
