"""What the commands of the collector share: the option `--config`, its settings and its store."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from watchkeeper.model.errors import WatchkeeperError

if TYPE_CHECKING:
    from watchkeeper.collector.site.settings import ConfigFile
    from watchkeeper.collector.store.engine import Store

CONFIG = click.option(
    "--config", "file", type=click.Path(path_type=Path), default=Path("collector.yml"), show_default=True,
    help="The collector's settings.",
)  # fmt: skip


def read_settings(file: Path) -> "ConfigFile":
    """Read collector.yml. Raises ConfigError, WatchkeeperError."""
    from watchkeeper.collector.site.settings import read_config

    try:
        return read_config(file)
    except OSError as error:
        raise WatchkeeperError(f"{file}: {error.strerror}; `watchkeeper init DIR` writes starter files") from None


def open_store(config_file: "ConfigFile") -> "Store":
    """Open the store that collector.yml names, and upgrade its schema. Raises StoreError, SecretError."""
    from watchkeeper.collector.opening import open_secrets
    from watchkeeper.collector.opening import open_store as open_it

    return open_it(config_file, open_secrets(config_file))
