"""The collectors' common time."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_NAME_TYPE = sa.String(200)


def upgrade() -> None:
    op.create_table(
        "clock",
        sa.Column("name", _NAME_TYPE, primary_key=True, comment="always `time`"),
        sa.Column(
            "boot_id", _NAME_TYPE, nullable=False, comment="the boot of the machine that it is for; empty on PostgreSQL"
        ),
        sa.Column(
            "offset_s",
            sa.Double(),
            nullable=False,
            comment="the collectors' time minus the boot clock, or the database's",
        ),
        sa.Column(
            "since", sa.Double(), nullable=False, comment="pending times after this move along when the time is set"
        ),
        sa.Column("sure", sa.Boolean(), nullable=False, comment="other clocks have confirmed it"),
        sa.Column(
            "settled_at",
            sa.Double(),
            nullable=False,
            comment="when it was found: on the boot clock, or by the collectors' time",
        ),
        sa.Column("steps", sa.BigInteger(), nullable=False, comment="how often the time, or this offset, was set"),
        sa.Column("moved_s", sa.Double(), nullable=False, comment="by how much the time was set, in all"),
    )


def downgrade() -> None:
    op.drop_table("clock")
