"""A device as the inventory names it, and how to reach it. Secrets appear by name only."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


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
    """The three that exist."""

    V1 = "1"
    V2C = "2c"
    V3 = "3"


class SnmpAuth(StrEnum):
    """RFC 3414 and RFC 7860 authentication protocols."""

    MD5 = "MD5"
    SHA = "SHA"
    SHA224 = "SHA-224"
    SHA256 = "SHA-256"
    SHA384 = "SHA-384"
    SHA512 = "SHA-512"


class SnmpPriv(StrEnum):
    """RFC 3414, RFC 3826 and the Reeder/Blumenthal key extensions."""

    DES = "DES"
    AES = "AES"
    AES192 = "AES-192"
    AES256 = "AES-256"


class SnmpEngine(StrEnum):
    """Which library speaks: gufo is fast, pysnmp patient with odd devices, and strict: gufo takes an answer without
    authentication for one of an SNMPv3 user who has it. So `auto` reads those by pysnmp, and all others by gufo."""

    AUTO = "auto"
    GUFO = "gufo"
    PYSNMP = "pysnmp"


@dataclass(frozen=True, slots=True)
class Snmp:
    """How to speak SNMP to a device. `community`, `auth_secret` and `priv_secret` are *names* of secrets."""

    version: SnmpVersion = SnmpVersion.V2C
    community: str = ""
    user: str = ""
    auth: SnmpAuth | None = None
    auth_secret: str = ""
    priv: SnmpPriv | None = None
    priv_secret: str = ""
    engine: SnmpEngine = SnmpEngine.AUTO

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong) where the fields contradict each other."""
        if self.version is SnmpVersion.V3:
            if not self.user:
                yield "version", "version 3 needs `user`"
            if self.community:
                yield "community", "version 3 has no community; remove it"
            if self.auth and not self.auth_secret:
                yield "auth", "`auth` needs `auth_secret`, the name of the secret that holds its password"
            if self.priv and not self.priv_secret:
                yield "priv", "`priv` needs `priv_secret`, the name of the secret that holds its password"
            if self.priv and not self.auth:
                yield "priv", "SNMPv3 has no privacy without authentication; add `auth`"
        elif not self.community:
            yield "version", f"version {self.version} needs `community`, the name of the secret that holds it"


@dataclass(frozen=True, slots=True)
class Ipmi:
    """A BMC reached by RMCP+ (IPMI 2.0). `password` is the *name* of a secret."""

    user: str
    password: str
    cipher: int = 3

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if self.cipher not in _CIPHERS:
            yield "cipher", f"`{self.cipher}` is no cipher suite spoken here; known: {', '.join(map(str, _CIPHERS))}"


_CIPHERS = (3, 17)  # with AES-CBC-128, and SHA-1 or SHA-256 (IPMI 2.0, table 22-20): what python-ipmi speaks


@dataclass(frozen=True, slots=True)
class Modbus:
    """A device on Modbus TCP: its unit identifier, 0 to 255."""

    unit: int = 1

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if not 0 <= self.unit <= 255:  # noqa: PLR2004 -- one byte
            yield "unit", "lies between 0 and 255"


@dataclass(frozen=True, slots=True)
class Nut:
    """A UPS behind a Network UPS Tools server: what upsd calls it. `password` is the *name* of a secret."""

    ups: str
    user: str = ""
    password: str = ""

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if bool(self.user) != bool(self.password):
            yield "user", "`user` and `password` go together"


@dataclass(frozen=True, slots=True)
class Http:
    """A page that must answer. `path` has no secret in it; `status` are the codes that are well (empty: 200 to 399);
    `contains` must stand in the answer. `tls` asks by https, and then the certificate's remaining time is read."""

    tls: bool = True
    path: str = "/"
    status: tuple[int, ...] = ()
    contains: str = ""
    verify: bool = True

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if not self.path.startswith("/"):
            yield "path", "begins with `/`"
        if not all(200 <= status <= 599 for status in self.status):  # noqa: PLR2004 -- RFC 9110, 15: what an answer ends with
            yield "status", "lies between 200 and 599"


@dataclass(frozen=True, slots=True)
class Database:
    """A login to a database: PostgreSQL, MySQL or Redis. `password` is the *name* of a secret; `database` of Redis is a
    number. With `tls` the server's certificate must be one that the agent's machine trusts, unless `verify` is off."""

    user: str = ""
    password: str = ""
    database: str = ""
    tls: bool = False
    verify: bool = True

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if self.tls is False and self.verify is False:
            yield "verify", "goes with `tls: true`; without it no certificate is seen"


@dataclass(frozen=True, slots=True)
class Process:
    """Processes of the agent's own machine whose command line this regular expression finds, and how many there must be."""

    matches: str
    at_least: int = 1

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        try:
            re.compile(self.matches)
        except re.error as error:
            yield "matches", f"`{self.matches}` is not a regular expression: {error}"


@dataclass(frozen=True, slots=True)
class Systemd:
    """Units of the agent's own machine that must be active."""

    units: tuple[str, ...]

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if not self.units:
            yield "units", "names no unit"
        for unit in self.units:
            if set("*?[ ") & set(unit):
                yield "units", f"`{unit}` is no unit's name; patterns are not taken"


@dataclass(frozen=True, slots=True)
class ProbeKind:
    """What a kind of probe takes: the `Device` field with its options ("" for none), whether that must be written, and
    whether the device has an address, and in it a port."""

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
    """One device: what an agent needs to read it, and whose it is (7: inventory, 4.1.4).

    `address` is host or host:port, never a URL and never with a secret in it. `every_s` and `timeout_s` are seconds.
    `owner` names a person, `vendor` a maintenance vendor; both are empty in the share an agent gets.
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
    owner: str = ""
    vendor: str = ""
    location: str = ""
    purpose: str = ""

    def endpoint(self, port: int) -> tuple[str, int]:
        """Host and port of its address: `10.0.0.7`, `10.0.0.7:1161`, `ups.room`, `[fe80::1]:161` or `fe80::1`; `port` where none
        is written. Raises ValueError."""
        host, colon, written = self.address.rpartition(":")
        if not colon or (":" in host and not host.endswith("]")):
            host, written = self.address, str(port)
        if not (written.isascii() and written.isdecimal()) or not 0 < int(written) < 2**16:
            raise ValueError(f"`{self.address}` is not HOST or HOST:PORT")
        return host.strip("[]"), int(written)

    def check_kind(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong) where the fields do not fit the probe, or its options contradict each other."""
        kind = PROBE_KINDS.get(self.probe)
        if kind is None:
            yield "probe", f"is read by `{self.probe}`, which is no kind of probe; known: {', '.join(PROBE_KINDS)}"
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

    def check_options(self) -> Iterator[tuple[str, str, str]]:
        """Yield (options, field, what is wrong) of what its options say against each other."""
        for name in PROBE_OPTIONS:
            check = getattr(getattr(self, name), "check", None)
            yield from ((name, key, text) for key, text in (check() if check else ()))
