"""The configurations that were in force, and which of them each collector's folder has."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_NAME_TYPE = sa.String(200)


def upgrade() -> None:
    op.create_table(
        "activation",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
        sa.Column("version", sa.String(64), nullable=False, comment="the hash of its files"),
        sa.Column("files", sa.LargeBinary(), nullable=False, comment="zlib: JSON of name and text of each file"),
        sa.Column("activated_at", sa.Double(), nullable=False),
        sa.Column("collector", _NAME_TYPE, nullable=False, comment="whose folder it was"),
        sa.Column("author", sa.Text(), nullable=False, comment="empty if not known"),
        sa.Column("how", sa.String(10), nullable=False, comment="start | change | command"),
        sa.Column("diff", sa.Text(), nullable=False, comment="unified, to the number before; empty for the first"),
    )
    op.create_index("activation_version", "activation", ["version", "number"])
    op.create_table(
        "site_folder",
        sa.Column("collector", _NAME_TYPE, primary_key=True),
        sa.Column(
            "base", sa.BigInteger(), nullable=False, comment="the number in force that the folder last had, or 0"
        ),
        sa.Column("follows", sa.BigInteger(), nullable=False, comment="the number that the collector goes by"),
        sa.Column("standing", sa.String(20), nullable=False, comment="in-force | older | differs | invalid | unusable"),
        sa.Column("noted_at", sa.Double(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("site_folder")
    op.drop_table("activation")
