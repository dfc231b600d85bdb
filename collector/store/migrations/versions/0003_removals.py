"""Persons confirm that parts of devices were removed; a block has facts about how its device is read."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NAME_TYPE = sa.String(200)


def upgrade() -> None:
    op.create_table(
        "removal",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("device", _NAME_TYPE, nullable=False),
        sa.Column("agent", _NAME_TYPE, nullable=False, comment="the agent that is told"),
        sa.Column("part", _NAME_TYPE, nullable=False, comment="the instance of its column in the frame"),
        sa.Column("label", _NAME_TYPE, nullable=False),
        sa.Column("gone_at", sa.Double(), nullable=False, comment="since when it was gone"),
        sa.Column("by", _NAME_TYPE, nullable=False, comment="the person who confirmed it"),
        sa.Column("confirmed_at", sa.Double(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("done_at", sa.Double(), comment="when the agent no longer reported it; NULL until then"),
    )
    op.create_index("removal_device", "removal", ["device", "id"])
    pending = sa.text("done_at IS NULL")
    op.create_index("removal_pending", "removal", ["agent"], sqlite_where=pending, postgresql_where=pending)

    facts = sa.Column(
        "facts", sa.Text(), nullable=False, server_default="[]", comment="JSON: [name, text] of how the device is read"
    )
    op.add_column("block", facts)


def downgrade() -> None:
    op.drop_column("block", "facts")
    op.drop_table("removal")
