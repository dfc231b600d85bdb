"""Upgrades a store to the newest schema with Alembic, without an alembic.ini."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext

from watchkeeper.collector.store.engine import Store


def migrate(store: Store) -> None:
    """Create or upgrade the tables in one transaction. Several collectors may do this at the same time."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with store.write(long=True) as connection:
        store.lock_names(connection, ["the schema"])
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def version(connection: sa.Connection) -> str:
    """The version of the schema; empty if the store has no tables."""
    return MigrationContext.configure(connection).get_current_revision() or ""
