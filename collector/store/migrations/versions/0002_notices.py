"""The outbox holds notices about anything, not only incidents; columns have the usual terms."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

DAY_S = 86_400.0


def upgrade() -> None:
    for table in ("incident", "transition", "rung", "outbox"):
        op.execute(f"ALTER TABLE {table} RENAME COLUMN round TO recurrence")
    for name in ("since", "until"):
        op.execute(f"ALTER TABLE agent RENAME COLUMN behind_{name} TO backlog_{name}")
    op.execute("ALTER TABLE outbox RENAME COLUMN incident TO about_id")
    op.add_column("outbox", sa.Column("about", sa.String(20), nullable=False, server_default="incident"))
    op.add_column("outbox", sa.Column("expires_at", sa.Double()))
    op.add_column("outbox", sa.Column("fallback", sa.Text(), nullable=False, server_default="[]"))
    op.drop_index("outbox_incident", "outbox")
    op.create_index("outbox_about", "outbox", ["about", "about_id", "id"])
    _comment()
    _fill()


def _comment() -> None:
    """Set the comments of the changed columns. Only PostgreSQL stores comments."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, column, comment in (
        ("agent", "backlog_since", "since when it has announced further events"),
        ("agent", "backlog_until", "no rung of its incidents is decided before this time"),
        ("incident", "began_at", "when the fault of this recurrence began: the ladder's clock"),
        ("outbox", "about", "incident"),
        ("outbox", "about_id", "the number of the incident"),
        ("outbox", "expires_at", "no retry after this time; NULL while the incident of a page is open"),
        ("outbox", "fallback", "JSON: roles and persons paged if this person cannot be reached"),
    ):
        op.alter_column(table, column, comment=comment)


def _fill() -> None:
    """Fill the new columns of existing messages. A page expires when its incident ends, a notice of the end after a
    day. Pending pages get `duty` as their fallback, because the fallback of their ladder is not in the store."""
    op.execute(
        f"UPDATE outbox SET expires_at = created_at + {DAY_S} WHERE kind IN ('passed', 'recovered', 'withdrawn')"  # noqa: S608 -- a number
    )
    op.execute(
        "UPDATE outbox SET expires_at = (SELECT ended_at FROM incident WHERE incident.incident = outbox.about_id)"
        " WHERE kind IN ('page', 'risen') AND about_id IN (SELECT incident FROM incident WHERE state <> 'open')"
    )
    op.execute("UPDATE outbox SET fallback = '[\"duty\"]' WHERE kind = 'page' AND state = 'pending'")


def downgrade() -> None:
    raise RuntimeError("the earlier columns no longer exist; restore a backup made by the earlier version")
