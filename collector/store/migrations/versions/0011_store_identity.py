"""The identity of the store, the sessions of agents, and whose standing verdicts are awaited."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_NAME_TYPE = sa.String(200)


def upgrade() -> None:
    op.create_table(
        "life",
        sa.Column("identity", sa.String(64), primary_key=True, comment="made once, at random"),
        sa.Column(
            "generation", sa.BigInteger(), nullable=False, comment="rises when a collector begins to use the store"
        ),
        sa.Column("turn", sa.BigInteger(), nullable=False, comment="rises while a collector is at work"),
    )
    op.create_table(
        "agent_session",
        sa.Column("agent", _NAME_TYPE, primary_key=True),
        sa.Column("session", _NAME_TYPE, nullable=False, comment="the process whose pushes are accepted"),
        sa.Column("address", _NAME_TYPE, nullable=False, comment="where it pushes from"),
        sa.Column("superseded", _NAME_TYPE, nullable=False, comment="the session that it followed on the same spool"),
        sa.Column("rival", _NAME_TYPE, nullable=False, comment="another process of that name, which was refused"),
        sa.Column("rival_address", _NAME_TYPE, nullable=False),
        sa.Column("rival_at", sa.Double(), nullable=False),
        sa.Column("twin_at", sa.Double(), nullable=False, comment="when both were last seen at work"),
    )
    op.create_table(
        "awaited",
        sa.Column("agent", _NAME_TYPE, primary_key=True),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column(
            "until", sa.Double(), nullable=False, comment="no rung of its older troubles is decided before this time"
        ),
    )
    _tell_sessions_of_lanes()


def _tell_sessions_of_lanes() -> None:
    op.add_column(
        "lane",
        sa.Column("session", _NAME_TYPE, nullable=False, server_default="", comment="the process that pushed last"),
    )
    op.add_column(
        "lane",
        sa.Column(
            "turn",
            sa.BigInteger(),
            nullable=False,
            server_default="0",
            comment="the number of that push in its session",
        ),
    )


def downgrade() -> None:
    raise RuntimeError("there is no way back; restore a backup")
