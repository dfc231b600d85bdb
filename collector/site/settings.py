"""collector.yml: where the collector listens, keeps its store and finds the operator's books."""

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

    `store` is a path (SQLite) or the *name* of the secret that holds a PostgreSQL URL, written `secret:NAME`.
    `hosts` are the names the pages may be asked under, besides the address it listens on; `reserve` is how much of the
    store's disk must stay free; `history` is how long readings are kept.
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
        """Yield (key, what is wrong)."""
        if not 0 < self.port < 65536:  # noqa: PLR2004 -- the ports there are
            yield "port", f"`{self.port}` is not a port"
        if not self.loopback and self.tls is None:
            yield "host", f"`{self.host}` is reached from outside: set `tls`, or listen on 127.0.0.1"
        if self.anywhere and not self.hosts:
            yield "host", f"`{self.host}` is every address: say in `hosts` under which names the pages are asked for"
        if "://" in self.store:  # and so it is not repeated
            yield "store", "a URL has a password in it: put it among the secrets, and its name here as `secret:NAME`"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach us."""
        return is_loopback(self.host)

    @property
    def anywhere(self) -> bool:
        """Whether it listens on every address of this machine."""
        return self.host in ("0.0.0.0", "::", "")

    @property
    def names(self) -> tuple[str, ...]:
        """The names it may be asked under, the one that its own links have first."""
        own = () if self.anywhere else (self.host,)
        return (*own, *self.hosts) if self.loopback else (*self.hosts, *own)

    @property
    def url(self) -> str:
        """Where a browser finds us."""
        name = self.names[0]
        host = f"[{name}]" if ":" in name else name
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A configuration, the folder its paths start from, and the old keys that it still uses."""

    config: CollectorConfig
    folder: Path
    deprecated: tuple[Problem, ...] = ()

    def path(self, written: str) -> Path:
        """A path of the file, made absolute."""
        return (self.folder / written).absolute()


def read_config(file: Path) -> ConfigFile:
    """Read collector.yml. Raises ConfigError with every problem in it, OSError where it cannot be read."""
    bound = try_load(file.read_text(encoding="utf-8"), str(file), CollectorConfig)
    if bound.problems or bound.value is None:
        raise ConfigError(bound.problems)
    return ConfigFile(bound.value, file.absolute().parent, tuple(bound.deprecated))
