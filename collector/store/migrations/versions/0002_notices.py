"""Notices that can be about anything, and the field's words for columns."""

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
    """What the columns mean, where the database keeps it."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, column, comment in (
        ("agent", "backlog_since", "since when it announces further events"),
        ("agent", "backlog_until", "its incidents wait for them until then: no rung is decided"),
        ("incident", "began_at", "when the fault of this recurrence began: the ladder's clock"),
        ("outbox", "about", "incident"),
        ("outbox", "about_id", "the number of the incident"),
        ("outbox", "expires_at", "not retried after this; unknown while the incident of a page is open"),
        ("outbox", "fallback", "JSON: roles and persons told where this person cannot be reached"),
    ):
        op.alter_column(table, column, comment=comment)


def _fill() -> None:
    """A page matters while its incident is open, the end of a fault for a day. Pages that are under way have the people on
    duty as their fallback, because what their ladder says is not in the store."""
    op.execute(
        f"UPDATE outbox SET expires_at = created_at + {DAY_S} WHERE kind IN ('passed', 'recovered', 'withdrawn')"  # noqa: S608 -- a number
    )
    op.execute(
        "UPDATE outbox SET expires_at = (SELECT ended_at FROM incident WHERE incident.incident = outbox.about_id)"
        " WHERE kind IN ('page', 'risen') AND about_id IN (SELECT incident FROM incident WHERE state <> 'open')"
    )
    op.execute("UPDATE outbox SET fallback = '[\"duty\"]' WHERE kind = 'page' AND state = 'pending'")


def downgrade() -> None:
    raise RuntimeError("the columns of before are gone; restore a backup of the earlier version instead")
