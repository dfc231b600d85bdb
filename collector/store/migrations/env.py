"""Entry point of Alembic. It uses the connection that `collector.store.migrate` provides."""

from alembic import context

from watchkeeper.collector.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
