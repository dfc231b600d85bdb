"""A device as inventory.yml describes it, and how to reach it. Secrets appear by name only."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from types import MappingProxyType

from watchkeeper.model.pattern import checked_pattern
from watchkeeper.model.text import marked


class Category(StrEnum):
    """What a device is for; rules choose devices by it."""

    SERVER = "server"
    NETWORK = "network"
    STORAGE = "storage"
    UPS = "ups"
    PDU = "pdu"
    ATS = "ats"
    COOLING = "cooling"
    ENV = "env"
    DC_POWER = "dc-power"
    METER = "meter"
    BMC = "bmc"
    SERVICE = "service"
    WATCHKEEPER = "watchkeeper"


class SnmpVersion(StrEnum):
    """The SNMP versions (RFC 1157, RFC 1901, RFC 3410)."""

    V1 = "1"
    V2C = "2c"
    V3 = "3"


class SnmpAuth(StrEnum):
    """Authentication protocols of RFC 3414 and RFC 7860."""

    MD5 = "MD5"
    SHA = "SHA"
    SHA224 = "SHA-224"
    SHA256 = "SHA-256"
    SHA384 = "SHA-384"
    SHA512 = "SHA-512"

    @classmethod
    def _missing_(cls, value: object) -> "SnmpAuth | None":
        wanted = "SHA" if _letters(str(value)) in ("SHA1", "HMACSHA") else _letters(str(value))
        return next((member for member in cls if _letters(member.value) == wanted), None)


class SnmpPriv(StrEnum):
    """Privacy protocols of RFC 3414 and RFC 3826, and AES with longer keys: extended by draft-blumenthal-aes-usm-04, or
    (`-C`, as Cisco does) by draft-reeder-snmpv3-usm-3desede-00. Other spellings of a name are understood."""

    DES = "DES"
    AES = "AES"
    AES192 = "AES-192"
    AES256 = "AES-256"
    AES192C = "AES-192-C"
    AES256C = "AES-256-C"

    @classmethod
    def _missing_(cls, value: object) -> "SnmpPriv | None":
        wanted = _PRIV_SPELLINGS.get(_letters(str(value)), _letters(str(value)))
        return next((member for member in cls if _letters(member.value) == wanted), None)


_PRIV_SPELLINGS = {
    "AES128": "AES",
    "CFBAES128": "AES",
    "AES192CISCO": "AES192C",
    "AES256CISCO": "AES256C",
    "DES56": "DES",
}


def _letters(name: str) -> str:
    return name.upper().replace("-", "").replace("_", "")


class SnmpEngine(StrEnum):
    """The SNMP library. gufo is fast, but checks no digest, so it is refused for SNMPv3 users with `auth`. pysnmp tolerates
    unusual devices. `auto` is our own code for SNMPv3 users with authentication, else gufo."""

    AUTO = "auto"
    GUFO = "gufo"
    PYSNMP = "pysnmp"


@dataclass(frozen=True, slots=True)
class Snmp:
    """How to read a device by SNMP. `community`, `auth_secret` and `priv_secret` are *names* of secrets. `answers_from` is
    the IP address from which the device answers, if that is not the address that is asked."""

    version: SnmpVersion = SnmpVersion.V2C
    community: str = ""
    user: str = ""
    auth: SnmpAuth | None = None
    auth_secret: str = ""
    priv: SnmpPriv | None = None
    priv_secret: str = ""
    engine: SnmpEngine = SnmpEngine.AUTO
    answers_from: str = ""

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong) where fields contradict each other."""
        yield from self._check_answers_from()
        if self.version is SnmpVersion.V3:
            if not self.user:
                yield "version", "version 3 needs `user`"
            if self.community:
                yield "community", "version 3 has no community; remove `community`"
            if self.auth and not self.auth_secret:
                yield "auth", "`auth` needs `auth_secret`, the name of the secret that holds its password"
            if self.priv and not self.priv_secret:
                yield "priv", "`priv` needs `priv_secret`, the name of the secret that holds its password"
            if self.priv and not self.auth:
                yield "priv", "SNMPv3 has no privacy without authentication; add `auth`"
            if self.engine is SnmpEngine.GUFO and self.auth:
                yield "engine", "gufo checks no signature and believes forged answers; remove `engine`"
        elif not self.community:
            yield "version", f"version {self.version} needs `community`, the name of the secret that holds it"

    def _check_answers_from(self) -> Iterator[tuple[str, str]]:
        if not self.answers_from:
            return
        try:
            ip_address(self.answers_from)
        except ValueError:
            yield "answers_from", f"`{self.answers_from}` is not an IP address; write it like `10.0.0.9`"
        if self.engine is SnmpEngine.GUFO:
            yield "engine", "gufo receives answers only from the address that it asks; remove `engine`"


@dataclass(frozen=True, slots=True)
class Ipmi:
    """A BMC reached by RMCP+ (IPMI 2.0). `password` is the *name* of a secret."""

    user: str
    password: str
    cipher: int = 3

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if self.cipher not in _IPMI_CIPHERS:
            yield (
                "cipher",
                f"cipher suite {self.cipher} is not supported; write one of {', '.join(map(str, _IPMI_CIPHERS))}",
            )


_IPMI_CIPHERS = (3, 17)  # with AES-CBC-128, and SHA-1 or SHA-256 (IPMI 2.0, table 22-20): what python-ipmi speaks


@dataclass(frozen=True, slots=True)
class Modbus:
    """A device on Modbus TCP: its unit identifier, 0 to 255."""

    unit: int = 1

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if not 0 <= self.unit <= 255:  # noqa: PLR2004 -- one byte
            yield "unit", "must be between 0 and 255"


@dataclass(frozen=True, slots=True)
class Nut:
    """A UPS behind a Network UPS Tools server. `ups` is its name in upsd; `password` is the *name* of a secret."""

    ups: str
    user: str = ""
    password: str = ""

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if bool(self.user) != bool(self.password):
            yield "user", "write both `user` and `password`, or neither"


@dataclass(frozen=True, slots=True)
class Http:
    """A page that must answer. `path` must contain no secret; `status` are the accepted codes (empty: 200 to 399); the
    answer must contain the text `contains`. `tls` means https, and reads the certificate's remaining time."""

    tls: bool = True
    path: str = "/"
    status: tuple[int, ...] = ()
    contains: str = ""
    verify: bool = True

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if not self.path.startswith("/"):
            yield "path", "must begin with `/`"
        if not all(200 <= status <= 599 for status in self.status):  # noqa: PLR2004 -- RFC 9110, 15: the codes of a final answer
            yield "status", "must be between 200 and 599"


@dataclass(frozen=True, slots=True)
class Database:
    """A login to PostgreSQL, MySQL or Redis. `password` is the *name* of a secret; for Redis `database` is a number.
    With `tls` the agent's machine must trust the server's certificate, unless `verify` is off."""

    user: str = ""
    password: str = ""
    database: str = ""
    tls: bool = False
    verify: bool = True

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if self.tls is False and self.verify is False:
            yield "verify", "needs `tls: true`: without TLS there is no certificate"


@dataclass(frozen=True, slots=True)
class Process:
    """Processes on the agent's own machine: a regular expression for their command lines, and how many must run."""

    matches: str
    at_least: int = 1

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        try:
            checked_pattern(self.matches)
        except ValueError as error:
            yield "matches", str(error)


@dataclass(frozen=True, slots=True)
class Systemd:
    """systemd units on the agent's own machine that must be active."""

    units: tuple[str, ...]

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if not self.units:
            yield "units", "must name at least one unit"
        for unit in self.units:
            if set("*?[ ") & set(unit):
                yield "units", f"`{unit}` is not a unit's name; patterns are not supported"


@dataclass(frozen=True, slots=True)
class ProbeKind:
    """What a kind of probe needs: the `Device` field with its options ("" for none), whether these must be written, and
    whether the device must have an address, and the address a port."""

    options: str = ""
    needed: bool = False
    address: bool = True
    port: bool = False


_WITH_PORT = re.compile(r"(\[.*\]|[^:\[]*):[0-9]+")

PROBE_KINDS: Mapping[str, ProbeKind] = MappingProxyType(
    {
        "host": ProbeKind(address=False),
        "snmp": ProbeKind("snmp", needed=True),
        "ipmi": ProbeKind("ipmi", needed=True),
        "modbus": ProbeKind("modbus"),
        "nut": ProbeKind("nut", needed=True),
        "icmp": ProbeKind(),
        "tcp": ProbeKind(port=True),
        "http": ProbeKind("http"),
        "postgresql": ProbeKind("database", needed=True),
        "mysql": ProbeKind("database", needed=True),
        "redis": ProbeKind("database"),
        "process": ProbeKind("process", needed=True, address=False),
        "systemd": ProbeKind("systemd", needed=True, address=False),
    }
)
"""Every kind of probe."""

PROBE_OPTIONS = tuple(dict.fromkeys(kind.options for kind in PROBE_KINDS.values() if kind.options))


@dataclass(frozen=True, slots=True)
class Device:
    """One device: what an agent needs to read it, and who owns it (clauses 7 and 4.1.4).

    `address` is host or host:port, never a URL, and contains no secret. `every_s` and `timeout_s` are seconds.
    `owner` names a person, `vendor` a maintenance vendor; both are empty in an agent's bundle. `without` are patterns of
    parts that the device no longer has: that they are gone is no fault. `depends_on` are the devices and unmonitored
    things without which it does not work or cannot be reached; in a bundle, the nearest such devices of the same agent.
    """

    device: str
    agent: str
    category: Category
    probe: str
    address: str = ""
    profile: str = "auto"
    every_s: float = 30.0
    timeout_s: float = 2.0
    retries: int = 1
    snmp: Snmp | None = None
    ipmi: Ipmi | None = None
    modbus: Modbus | None = None
    nut: Nut | None = None
    http: Http | None = None
    database: Database | None = None
    process: Process | None = None
    systemd: Systemd | None = None
    without: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = field(
        default=(), metadata=MappingProxyType({"item": True})
    )  # documents/bind: one name or a list
    owner: str = ""
    vendor: str = ""
    location: str = ""
    purpose: str = ""

    def endpoint(self, port: int) -> tuple[str, int]:
        """The host and port of the address, which is like `10.0.0.7`, `10.0.0.7:1161`, `ups.room`, `[fe80::1]:161` or
        `fe80::1`. `port` is the default. Raises ValueError."""
        host, colon, written = self.address.rpartition(":")
        if not colon or (":" in host and not host.endswith("]")):
            host, written = self.address, str(port)
        if not (written.isascii() and written.isdecimal()) or not 0 < int(written) < 2**16:
            raise ValueError(marked(f"`{self.address}` is not HOST or HOST:PORT"))
        return host.strip("[]"), int(written)

    def check_kind(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong) where the fields do not fit the kind of probe."""
        kind = PROBE_KINDS.get(self.probe)
        if kind is None:
            yield "probe", f"is read by `{self.probe}`, which is not a kind of probe; known: {', '.join(PROBE_KINDS)}"
            return
        if kind.address and not self.address:
            yield "address", f"needs `address`, host or host:port, to be read by `{self.probe}`"
        if kind.port and self.address and not _WITH_PORT.fullmatch(self.address):
            yield "address", f"needs a port, host:port, to be read by `{self.probe}`"
        if kind.needed and getattr(self, kind.options) is None:
            yield kind.options, f"needs `{kind.options}` to be read by `{self.probe}`"
        for name in PROBE_OPTIONS:
            options = getattr(self, name)
            if options is not None and name != kind.options:
                yield name, f"is read by `{self.probe}`, which takes no `{name}`; remove it"
