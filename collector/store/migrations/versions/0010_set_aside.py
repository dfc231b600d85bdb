"""Pushes that are set aside can be tried again or dropped; a lease of a message has an owner."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "journal",
        sa.Column(
            "again", sa.Boolean(), nullable=False, server_default=sa.false(), comment="a person asked to apply it again"
        ),
    )
    for column in (
        sa.Column("dropped_at", sa.Double(), comment="when a person gave it up; NULL until then"),
        sa.Column("dropped_by", sa.String(210)),
        sa.Column("dropped_why", sa.Text()),
    ):
        op.add_column("journal", column)
    op.create_index("journal_fault", "journal", ["id"], sqlite_where=sa.text("fault IS NOT NULL"),
                    postgresql_where=sa.text("fault IS NOT NULL"))  # fmt: skip
    op.add_column(
        "outbox",
        sa.Column("leased_by", sa.String(200), comment="the collector that sends it now; NULL while none does"),
    )


def downgrade() -> None:
    op.drop_column("outbox", "leased_by")
    op.drop_index("journal_fault", "journal")
    for name in ("dropped_why", "dropped_by", "dropped_at", "again"):
        op.drop_column("journal", name)
