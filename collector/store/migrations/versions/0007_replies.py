"""Replies of persons by channels with a way back."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_NAME_TYPE = sa.String(200)


def upgrade() -> None:
    op.create_table(
        "reply",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("via", sa.String(10), nullable=False, comment="sms | mail | webhook"),
        sa.Column(
            "source", sa.String(200), nullable=False,
            comment="what makes it one reply: the file, the mail, or the answer itself",
        ),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("person", _NAME_TYPE, nullable=False),
        sa.Column("trouble", sa.BigInteger(), nullable=False, comment="the number that the reply names, or 0"),
        sa.Column(
            "answer", sa.String(20), nullable=False,
            comment="acknowledge | on-site | escalate | comment; empty if unclear",
        ),
        sa.Column("outcome", sa.String(10), nullable=False, comment="applied | late | refused"),
        sa.UniqueConstraint("via", "source"),
    )  # fmt: skip
    op.create_index("reply_person", "reply", ["person", "received_at"])


def downgrade() -> None:
    op.drop_table("reply")
