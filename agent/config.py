"""agent.yml: the collector's address, the token's name and the spool. Devices and rules come in a bundle."""

import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from watchkeeper.documents.bind import load
from watchkeeper.documents.scalars import is_loopback
from watchkeeper.model.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True)
class SpoolConfig:
    """The disk queue: its file (relative to agent.yml), its largest size, and the greatest age of a reading."""

    path: str = "agent/spool.db"
    size_bytes: int = 64_000_000
    age_s: float = 7 * 86_400.0

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if self.size_bytes < 1_000_000:  # noqa: PLR2004 -- less does not hold an hour of one room
            yield "size", "must be at least `1 MB`"
        if self.age_s < 60:  # noqa: PLR2004 -- a minute
            yield "age", "must be at least `1 min`"


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """The content of agent.yml. `token` is the *name* of a secret; `secrets` and `ca` are paths relative to it."""

    agent: str
    collector: str
    token: str = "agent-token"  # noqa: S105 -- the name of a secret
    secrets: str = ""
    ca: str = ""
    spool: SpoolConfig = field(default_factory=SpoolConfig)

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong)."""
        if not 0 < len(self.agent) <= 200:  # noqa: PLR2004 -- the wire's limit of a name
            yield "agent", "must have 1 to 200 characters, as in inventory.yml"
        problem = _address_problem(self.collector)
        if problem:
            yield "collector", problem


def _address_problem(address: str) -> str:
    try:
        url = urllib.parse.urlsplit(address)
        host, _ = url.hostname, url.port
    except ValueError:  # its text may quote a password
        return "not an address; write it like `https://collector.example:8760`"
    if url.scheme not in ("http", "https") or not host:
        return "write it like `https://collector.example:8760`"
    if "@" in url.netloc or url.query or url.fragment:
        return "an address must have no user, password or query; name the token under `token`"
    if url.scheme == "http" and not is_loopback(host):
        return f"http would send the token to {host} unencrypted; use https (http is only for this machine)"
    return ""


@dataclass(frozen=True, slots=True)
class Places:
    """The paths of an agent's files. The bundle is beside the spool."""

    spool: Path
    bundle: Path
    secrets: Path | None
    ca: Path | None


def read_config(file: Path) -> tuple[AgentConfig, Places]:
    """Read agent.yml. Raises ConfigError with every problem."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError([Problem(str(file), 0, 0, f"cannot be read: {reason}")]) from None
    config = load(text, str(file), AgentConfig)
    here = file.resolve().parent
    spool = here / config.spool.path
    places = Places(
        spool=spool,
        bundle=spool.with_name(spool.name + ".bundle.json"),
        secrets=here / config.secrets if config.secrets else None,
        ca=here / config.ca if config.ca else None,
    )
    return config, places
