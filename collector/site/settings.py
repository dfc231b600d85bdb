"""collector.yml: the address the collector listens on, its store, and the folder of the site's configuration."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from watchkeeper.documents.bind import renamed, try_load
from watchkeeper.documents.scalars import is_loopback
from watchkeeper.model.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files for HTTPS."""

    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class CollectorConfig:
    """The collector's own settings. Paths are relative to the file's folder.

    `store` is a path (SQLite) or the *name* of the secret that holds a PostgreSQL URL, written `secret:NAME`. `site` is
    the folder of inventory, contacts, ladders, rules and profiles. `hosts` are the host names that browsers may use for
    the pages, besides the address it listens on. `reserve` must stay free on the store's disk. `history` is how long
    readings are kept.
    """

    host: str = "127.0.0.1"
    port: int = 8760
    store: str = "collector.db"
    site: str = field(default=".", metadata=renamed("books"))
    secrets: str | None = None
    hosts: tuple[str, ...] = ()
    tls: Tls | None = None
    reserve_bytes: int = 256_000_000
    history_s: float = 48 * 3600.0

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (key, message) for each problem."""
        if not 0 < self.port < 65536:  # noqa: PLR2004 -- 65535 is the highest port
            yield "port", f"`{self.port}` is not a port; use 1 to 65535"
        if not self.loopback and self.tls is None:
            yield "host", f"other machines can reach `{self.host}`: set `tls`, or listen on 127.0.0.1"
        if self.all_addresses and not self.hosts:
            yield "host", f"`{self.host}` means all addresses: list the host names of the pages in `hosts`"
        if "://" in self.store:  # the message does not quote it: it may contain a password
            yield "store", "a URL may contain a password: store it as a secret, and write `secret:NAME` here"

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
        return (*own, *self.hosts) if self.loopback else (*self.hosts, *own)

    @property
    def url(self) -> str:
        """The address of the pages."""
        name = self.names[0]
        host = f"[{name}]" if ":" in name else name
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """collector.yml as read: its settings, the folder that its paths are relative to, and the deprecated keys it
    uses."""

    config: CollectorConfig
    folder: Path
    deprecated: tuple[Problem, ...] = ()

    def path(self, written: str) -> Path:
        """Make a path of the file absolute."""
        return (self.folder / written).absolute()


def read_config(file: Path) -> ConfigFile:
    """Read collector.yml. Raises ConfigError with every problem in it, OSError if it cannot be read."""
    bound = try_load(file.read_text(encoding="utf-8"), str(file), CollectorConfig)
    if bound.problems or bound.value is None:
        raise ConfigError(bound.problems)
    return ConfigFile(bound.value, file.absolute().parent, tuple(bound.deprecated))
