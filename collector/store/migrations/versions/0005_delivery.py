"""Messages have an urgency and a time by which a proof is needed; a receipt says what is proved."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "outbox",
        sa.Column(
            "urgency", sa.Integer(), nullable=False, server_default="20", comment="the lowest number is sent first"
        ),
    )
    op.add_column(
        "outbox",
        sa.Column(
            "prove_by",
            sa.Double(),
            comment="when the proof that its channel needs must be there; NULL where none is needed",
        ),
    )
    op.add_column(
        "receipt",
        sa.Column(
            "proof",
            sa.String(20),
            comment="handed-over | accepted | delivered | read; NULL if not delivered, or not known",
        ),
    )
    needed = sa.text("prove_by IS NOT NULL")
    op.create_index("outbox_unproved", "outbox", ["prove_by"], sqlite_where=needed, postgresql_where=needed)
    if op.get_bind().dialect.name == "postgresql":  # only PostgreSQL stores comments
        op.alter_column("outbox", "about", comment="trouble | sign-in | test")
        op.alter_column("outbox", "about_id", comment="its number")
        op.alter_column("outbox", "kind", comment="page | risen | returned ... | sign-in | test")
    op.execute(
        "UPDATE outbox SET urgency = CASE kind WHEN 'risen' THEN 1 WHEN 'recovered' THEN 22 WHEN 'withdrawn' THEN 22"
        ' ELSE CASE WHEN facts LIKE \'%"level": "critical"%\' THEN 0 ELSE 10 END END'
        " WHERE state = 'pending' AND kind IN ('page', 'risen', 'returned', 'on-site', 'recovered', 'withdrawn')"
    )


def downgrade() -> None:
    raise RuntimeError("the earlier columns no longer exist; restore a backup made by the earlier version")
