"""The collectors that share the store."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_NAME_TYPE = sa.String(200)


def upgrade() -> None:
    op.create_table(
        "collector",
        sa.Column("name", _NAME_TYPE, primary_key=True),
        sa.Column("process", _NAME_TYPE, nullable=False, comment="a random id of the running process"),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("beat_at", sa.Double(), nullable=False, comment="when it was last at work"),
        sa.Column("release", _NAME_TYPE, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("collector")
