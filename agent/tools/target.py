"""What to probe, as a URL on the command line.

Only a community may stand in the clear, and only here; passwords are named (`auth_secret=NAME`, `password=NAME`), and so may be
a community (`snmp://HOST?community=NAME`). What is shown or said of a target has `***` before its `@`, and no `?...`.
"""

import dataclasses
import enum
import re
import types
import typing
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

from watchkeeper.agent.poll.kinds import BY_PROFILE
from watchkeeper.model import device as options
from watchkeeper.model.device import PROBE_KINDS, Category, Device, Snmp, SnmpVersion

SHAPE = (
    "write `host`, `snmp://COMMUNITY@HOST:PORT`, `snmp://USER@HOST?auth=..&auth_secret=NAME`, `ipmi://USER@HOST?password=NAME`, "
    "`modbus://HOST?unit=1&profile=NAME`, `nut://UPS@HOST`, `icmp://HOST`, `tcp://HOST:PORT`, `https://HOST/`, or "
    "`postgresql://USER@HOST/DATABASE?password=NAME` (`mysql://`, `redis://` likewise)"
)


class Scheme(NamedTuple):
    """The probe of a URL's scheme, what such devices are for, their port, and which option stands before the `@` and which
    behind the `/`."""

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
_COMMUNITY = "probe-target"  # what a community in the URL is called, with a number behind it
_numbers = count()


@dataclass(frozen=True, slots=True)
class Target:
    """A device to read once. `environ` holds the URL's community where documents.secrets.Secrets finds it by name."""

    masked: str
    device: Device
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)


def parse_target(text: str, profile: str = "auto", name: str = "") -> Target:
    """Make a target of the URL, called `name`. Raises ValueError with a sentence that has no secret in it."""
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
    wrong = [text for _, text in device.check_kind()] + [text for _, _, text in device.check_options()]
    if wrong:
        raise ValueError(f"{masked}: {'; '.join(wrong)}")
    return Target(masked, device, environ)


def parse_targets(lines: Iterable[str], file: str, profile: str = "auto") -> Iterator[Target]:
    """Targets of a file, a line `NAME URL`; `#` begins a comment. Raises ValueError with file and line."""
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
    """Hide all that stands before the last `@`, but for the scheme, and all after the `?`."""
    return re.sub(r"^([a-z]+://)?.*@", r"\1***@", text, flags=re.DOTALL).partition("?")[0]


def _options(url: urllib.parse.SplitResult, scheme: Scheme) -> tuple[dict[str, Any], dict[str, str], str]:
    """The device's options, its community under a name of its own, and the profile that the URL names ("" for none)."""
    before = urllib.parse.unquote(url.netloc.rpartition("@")[0])
    if "@" in url.query:  # and so it is not repeated
        raise ValueError("in a community `?` is `%3F`, and in what follows a `?` there is no `@`")
    keys = {} if scheme.probe == "http" else dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
    own = keys.pop("profile", "") if scheme.probe in BY_PROFILE else ""
    environ: dict[str, str] = {}
    if scheme.probe == "snmp" and before and not ("auth" in keys or keys.get("version") == SnmpVersion.V3):
        name = f"{_COMMUNITY}-{next(_numbers)}"
        environ[f"WATCHKEEPER_SECRET_{name.upper().replace('-', '_')}"] = before
        keys["community"], before = name, ""
    if before:
        keys[_user(url, scheme)] = before
    if scheme.probe == "http":
        keys |= {"path": url.path or "/", "tls": "yes" if url.scheme == "https" else "no"}
        if url.query:
            keys["path"] += f"?{url.query}"
    elif url.path.strip("/"):
        keys[scheme.path] = url.path.strip("/")
    kind = PROBE_KINDS[scheme.probe].options
    if not kind:
        if keys:
            raise ValueError(f"`{url.scheme}` takes nothing behind a `?`")
        return {}, environ, own
    return ({kind: _made(_CLASSES[kind], keys)} if keys or PROBE_KINDS[scheme.probe].needed else {}), environ, own


def _user(url: urllib.parse.SplitResult, scheme: Scheme) -> str:
    """The option that stands before the `@`. Raises ValueError."""
    if not scheme.user:
        raise ValueError(f"`{url.scheme}` takes nothing before an `@`")
    if ":" in url.netloc.rpartition("@")[0]:  # else it would be the user's name, and shown as such
        raise ValueError("no password stands in a URL: name it, `password=NAME` (SNMPv3: `auth_secret=NAME`)")
    return scheme.user


_CLASSES: Mapping[str, Any] = {
    "snmp": Snmp,
    "ipmi": options.Ipmi,
    "modbus": options.Modbus,
    "nut": options.Nut,
    "http": options.Http,
    "database": options.Database,
}


def _made(cls: Any, keys: Mapping[str, str]) -> Any:
    """The options of what stands in the URL. Raises ValueError."""
    hints = typing.get_type_hints(cls)
    known = {one.name: one for one in dataclasses.fields(cls)}
    unknown = [key for key in keys if key not in known]
    if unknown:
        raise ValueError(f"unknown `{unknown[0]}`; known: {', '.join(known)}")
    absent = [name for name, one in known.items() if one.default is dataclasses.MISSING and name not in keys]
    if absent:
        raise ValueError(f"needs {' and '.join(f'`{name}`' for name in absent)}")
    fields = {key: _value(text, hints[key], key) for key, text in keys.items()}
    if cls is Snmp and "auth" in fields:
        fields.setdefault("version", SnmpVersion.V3)
    return cls(**fields)


def _value(text: str, wanted: Any, key: str) -> Any:
    """The text as that type. What was written is not repeated: it may be a password."""
    if typing.get_origin(wanted) is types.UnionType:
        wanted = typing.get_args(wanted)[0]
    if isinstance(wanted, type) and issubclass(wanted, enum.StrEnum):
        words = {member.value.lower(): member for member in wanted}
        if text.lower() not in words:
            raise ValueError(f"`{key}` is one of {', '.join(wanted)}; a password is named with `{key}_secret`")
        return words[text.lower()]
    if wanted is int:
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"`{key}` is a whole number")
        return int(text)
    if wanted is bool:
        return text in ("yes", "true", "1")
    return text
