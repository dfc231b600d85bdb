"""Upgrades a store to the newest schema with Alembic, without an alembic.ini."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from watchkeeper.collector.store.engine import Store


def migrate(store: Store, revision: str = "head") -> None:
    """Create or upgrade the tables in one transaction. Several collectors may do this at the same time."""
    config = _config()
    with store.write(long=True) as connection:
        store.lock_names(connection, ["the schema"])
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def head() -> str:
    """The version of the newest schema."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def is_known(schema: str) -> bool:
    """Whether there is, or was, a schema of this version."""
    return any(schema == script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def version(connection: sa.Connection) -> str:
    """The version of the schema; empty if the store has no tables."""
    return MigrationContext.configure(connection).get_current_revision() or ""
