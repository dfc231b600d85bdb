"""collector.yml: the address the collector listens on, its store, and the folder of the site's configuration."""

import datetime
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from watchkeeper.documents.bind import ITEM_OR_LIST, renamed, try_load
from watchkeeper.documents.scalars import ClockTime, is_loopback
from watchkeeper.model.errors import ConfigError, Problem
from watchkeeper.model.plain import LINE_LIMIT

SECRET_PREFIX = "secret:"  # noqa: S105 -- no secret follows
"""Before the name of a secret, where something else may be written too."""


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files for HTTPS."""

    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class MailRepliesConfig:
    """The mailbox to which persons answer: IMAP over TLS. `secret` is the *name* of the secret with its password."""

    host: str
    user: str
    secret: str
    folder: str = "INBOX"
    port: int = 993

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (key, message) for each problem."""
        if not 0 < self.port < 65536:  # noqa: PLR2004 -- 65535 is the highest port
            yield "port", f"`{self.port}` is not a port; use 1 to 65535"


_RECIPIENT = re.compile("age1[02-9ac-hj-np-z]{58}")
"""An X25519 public key of age (age-encryption.org/v1): Bech32 of 32 bytes. Its checksum is tested when it is used."""

_AT_NIGHT = ClockTime(datetime.time(3, 30))
_SHORTEST_S, _LONGEST_S = 3600.0, 31 * 86_400.0


@dataclass(frozen=True, slots=True)
class KeepBackups:
    """Which backups are kept: the newest `number`, and all that are younger than `age_s`."""

    number: int = 14
    age_s: float = 30 * 86_400.0

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (key, message) for each problem."""
        if self.number < 1:
            yield "number", "at least one backup is kept; write 1 or more"


@dataclass(frozen=True, slots=True)
class BackupConfig:
    """The scheduled backups. `folder` is for backups alone. One is made every `every_s`, counted from the time of day `at` on the
    site's clock. With `encrypt_to`, only the owners of these public keys of age can read it."""

    folder: str
    every_s: float = 86_400.0
    at: ClockTime = _AT_NIGHT
    keep: KeepBackups = KeepBackups()
    encrypt_to: tuple[str, ...] = field(default=(), metadata=ITEM_OR_LIST)

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (key, message) for each problem. A private key is not quoted."""
        if not _SHORTEST_S <= self.every_s <= _LONGEST_S:
            yield "every", "use 1 h to 31 days"
        for key in self.encrypt_to:
            if key.upper().startswith("AGE-SECRET-KEY-"):
                yield (
                    "encrypt_to",
                    "this is a private key, and must not be here; write the public one, which begins with `age1`",
                )
            elif not _RECIPIENT.fullmatch(key):
                yield "encrypt_to", f"`{key}` is not a public key of age; it has 62 characters and begins with `age1`"


@dataclass(frozen=True, slots=True)
class HeartbeatConfig:
    """A heartbeat to an address outside. `url` is the *name* of the secret with the whole address, written `secret:NAME`."""

    url: str
    every_s: float = 60.0

    @property
    def secret(self) -> str:
        """The name of the secret."""
        return self.url.removeprefix(SECRET_PREFIX)

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (key, message) for each problem."""
        if not self.url.startswith(SECRET_PREFIX):  # the message does not quote it: it may be the secret itself
            yield (
                "url",
                "the address is a secret, because who knows it can send beats: store it so, and write `secret:NAME` here",
            )
        if not 15 <= self.every_s <= 3600:  # noqa: PLR2004 -- the store is written every 5 s; an hour is late
            yield "every", "must be between `15 s` and `1 h`"


@dataclass(frozen=True, slots=True)
class CollectorConfig:
    """The collector's own settings. Paths are relative to the file's folder.

    `store` is a path (SQLite) or the *name* of the secret that holds a PostgreSQL URL, written `secret:NAME`. `site` is
    the folder of inventory, contacts, ladders, rules and profiles. `hosts` are the host names that browsers may use for
    the pages, besides the address it listens on. `url` is the address of the pages in messages, if it is another one (behind
    a proxy, say). `link_key` is the name of the secret that signs personal links; an SQLite store has a file for it. `reserve`
    must stay free on the store's disk. `history` is how long readings are kept. `sms_replies`: persons may answer by SMS;
    `mail_replies`: by mail. `name` tells collectors that share a store apart; without it, it is the name of the machine.
    `backup`: the scheduled backups.
    `heartbeat`: where this collector shows that it works.
    """

    host: str = "127.0.0.1"
    port: int = 8760
    store: str = "collector.db"
    site: str = field(default=".", metadata=renamed("books"))
    secrets: str | None = None
    hosts: tuple[str, ...] = ()
    url: str = ""
    link_key: str | None = None
    tls: Tls | None = None
    reserve_bytes: int = 256_000_000
    history_s: float = 48 * 3600.0
    sms_replies: bool = False
    mail_replies: MailRepliesConfig | None = None
    name: str = ""
    backup: BackupConfig | None = None
    heartbeat: HeartbeatConfig | None = None

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (key, message) for each problem."""
        if not 0 < self.port < 65536:  # noqa: PLR2004 -- 65535 is the highest port
            yield "port", f"`{self.port}` is not a port; use 1 to 65535"
        if not self.loopback and self.tls is None:
            yield "host", f"other machines can reach `{self.host}`: set `tls`, or listen on 127.0.0.1"
        if self.all_addresses and not (self.hosts or self.url):
            yield "host", f"`{self.host}` means all addresses: list the host names of the pages in `hosts`"
        if "://" in self.store:  # the message does not quote it: it may contain a password
            yield "store", "a URL may contain a password: store it as a secret, and write `secret:NAME` here"
        if len(self.name) > LINE_LIMIT:
            yield "name", f"it is longer than {LINE_LIMIT} characters"
        if self.url and (message := _url_problem(self.url)):
            yield "url", message

    @property
    def own_name(self) -> str:
        """The name of this collector."""
        return self.name or socket.gethostname()[:LINE_LIMIT]

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the collector."""
        return is_loopback(self.host)

    @property
    def all_addresses(self) -> bool:
        """Whether the collector listens on every address of this machine."""
        return self.host in ("0.0.0.0", "::", "")

    @property
    def names(self) -> tuple[str, ...]:
        """The host names that requests may use. The collector's own links use the first."""
        own = () if self.all_addresses else (self.host,)
        linked = (urlsplit(self.url).hostname or "",) if self.url else ()
        return (*own, *self.hosts, *linked) if self.loopback else (*self.hosts, *own, *linked)

    @property
    def page_url(self) -> str:
        """The address of the pages in messages and links."""
        return self.url.rstrip("/") or self.own_url

    @property
    def own_url(self) -> str:
        """The address at which the collector itself serves."""
        name = self.names[0]
        host = f"[{name}]" if ":" in name else name
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


def _url_problem(url: str) -> str:
    """Why this cannot be the address of the pages; empty if it can."""
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0  # `port` checks itself
    except ValueError:
        whole = False
    if not whole:
        return "this is not a web address; write it like `https://watchkeeper.example`"
    if "@" in parts.netloc or parts.path.strip("/") or parts.query or parts.fragment:
        return "write only scheme, host and port, like `https://watchkeeper.example:8760`"
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        return "links in messages let people act: other machines must open them by https"
    return ""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """collector.yml as read: its settings, the folder that its paths are relative to, the deprecated keys it uses, and
    its name."""

    config: CollectorConfig
    folder: Path
    deprecated: tuple[Problem, ...] = ()
    file_name: str = "collector.yml"

    def path(self, written: str) -> Path:
        """Make a path of the file absolute."""
        return (self.folder / written).absolute()


def read_config(file: Path) -> ConfigFile:
    """Read collector.yml. Raises ConfigError with every problem in it, OSError if it cannot be read."""
    bound = try_load(file.read_text(encoding="utf-8"), str(file), CollectorConfig)
    if bound.problems or bound.value is None:
        raise ConfigError(bound.problems)
    return ConfigFile(bound.value, file.absolute().parent, tuple(bound.deprecated), file.name)
