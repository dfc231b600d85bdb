"""A collector that is stopped in order says so."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "collector",
        sa.Column("stopped_at", sa.Double(), comment="when it was stopped in order, or forgotten; NULL: it runs"),
    )


def downgrade() -> None:
    op.drop_column("collector", "stopped_at")
