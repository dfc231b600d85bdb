"""Bring a store to the newest schema: Alembic, driven from here, with no alembic.ini to find."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext

from watchkeeper.collector.store.engine import Store


def migrate(store: Store) -> None:
    """Create or upgrade the tables, in one transaction where the database can."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with store.write() as connection:
        store.lock_names(connection, ["the schema"])
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def version(connection: sa.Connection) -> str:
    """The schema's version; empty for a store without tables."""
    return MigrationContext.configure(connection).get_current_revision() or ""
