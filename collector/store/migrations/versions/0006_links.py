"""Personal links: salts of their keys, and sign-in links that persons asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_NAME_TYPE = sa.String(200)


def upgrade() -> None:
    op.create_table(
        "link_salt",
        sa.Column("person", _NAME_TYPE, primary_key=True, comment="empty: everybody"),
        sa.Column("salt", sa.String(64), nullable=False, comment="part of the key; the secret is not in the store"),
        sa.Column("rotated_at", sa.Double(), nullable=False),
    )
    op.create_table(
        "sign_in",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("person", _NAME_TYPE, nullable=False),
        sa.Column("asked_at", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double(), comment="when its link was used; NULL until then"),
        sqlite_autoincrement=True,
    )
    op.create_index("sign_in_asked", "sign_in", ["asked_at"])


def downgrade() -> None:
    op.drop_table("sign_in")
    op.drop_table("link_salt")
