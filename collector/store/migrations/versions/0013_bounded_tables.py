"""Tables that grow without end are bounded: failed tries of a message, and blocks that no frame is under any more."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "block",
        sa.Column(
            "idle_at",
            sa.Double(),
            comment="when it was found that no frame is under it any more; it must be declared again",
        ),
    )
    op.add_column(
        "outbox",
        sa.Column(
            "left_out", sa.Integer(), nullable=False, server_default="0", comment="how many of its failed tries were deleted"
        ),
    )  # fmt: skip
    op.drop_index("receipt_outbox", "receipt")
    op.create_index("receipt_outbox", "receipt", ["outbox", "id"])
    op.create_index("outbox_state", "outbox", ["state", "about"])
    decided = sa.text("decided_at IS NOT NULL")
    op.create_index("rung_decided", "rung", ["rung"], sqlite_where=decided, postgresql_where=decided)
    op.execute(
        "INSERT INTO tally (name, count) SELECT 'deliveries ' || receipt.channel || CASE WHEN receipt.delivered"
        " THEN ' delivered' ELSE ' failed' END, count(*) FROM receipt JOIN outbox ON outbox.id = receipt.outbox"
        " WHERE outbox.about <> 'test' GROUP BY receipt.channel, receipt.delivered"
    )
    op.execute(
        "CREATE TEMPORARY TABLE too_many AS SELECT id, outbox FROM (SELECT id, outbox, delivered,"
        " row_number() OVER (PARTITION BY outbox ORDER BY id DESC) AS newest,"
        " row_number() OVER (PARTITION BY outbox ORDER BY id) AS oldest FROM receipt) AS numbered"
        " WHERE newest > 20 AND oldest > 1 AND NOT delivered"
    )
    op.execute(
        "UPDATE outbox SET left_out = (SELECT count(*) FROM too_many WHERE too_many.outbox = outbox.id)"
        " WHERE id IN (SELECT outbox FROM too_many)"
    )
    op.execute("DELETE FROM receipt WHERE id IN (SELECT id FROM too_many)")
    op.execute("DROP TABLE too_many")


def downgrade() -> None:
    raise RuntimeError("the deleted receipts no longer exist; restore a backup made by the earlier version")
