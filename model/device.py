"""A device as the inventory names it, and how to reach it. Secrets appear by name only."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


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
    """Which library speaks: gufo is fast, pysnmp patient with odd devices."""

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
    engine: SnmpEngine = SnmpEngine.GUFO

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
    owner: str = ""
    vendor: str = ""
    location: str = ""
    purpose: str = ""
