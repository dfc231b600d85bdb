"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID_TYPE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _token()
    _agent()
    _lane()
    _block()
    _request()
    _journal()
    _latest()
    _history()
    _incident()
    _transition()
    _rung()
    _outbox()
    _receipt()
    _tally()


def downgrade() -> None:
    raise RuntimeError("the first schema cannot be downgraded; restore a backup instead")


def _token() -> None:
    op.create_table(
        "token",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False, comment="agent | person | session | ticket"),
        sa.Column("name", sa.String(length=200), nullable=False, comment="the agent or person it belongs to"),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("sha256"),
    )


def _agent() -> None:
    op.create_table(
        "agent",
        sa.Column("agent", sa.String(length=200), nullable=False),
        sa.Column("epoch", sa.String(length=200), nullable=False),
        sa.Column("heard_at", sa.Double(), nullable=False),
        sa.Column(
            "skew_s", sa.Double(), nullable=False, comment="its wall clock minus the collector's; for information only"
        ),
        sa.Column("bundle", sa.String(length=200), nullable=False, comment="the version active at the agent"),
        sa.Column("behind_since", sa.Double(), nullable=False, comment="since when it has announced further events"),
        sa.Column(
            "behind_until",
            sa.Double(),
            nullable=False,
            comment="no rung of its incidents is decided before this time",
        ),
        sa.PrimaryKeyConstraint("agent"),
    )


def _lane() -> None:
    op.create_table(
        "lane",
        sa.Column("agent", sa.String(length=200), nullable=False),
        sa.Column("epoch", sa.String(length=200), nullable=False),
        sa.Column("lane", sa.String(length=10), nullable=False),
        sa.Column(
            "seq", sa.BigInteger(), nullable=False, comment="items up to this seq are in the journal, or were applied"
        ),
        sa.Column("items", sa.BigInteger(), nullable=False, comment="number of items accepted"),
        sa.Column("gaps", sa.BigInteger(), nullable=False, comment="missing seqs that no tombstone explains"),
        sa.Column("dropped", sa.BigInteger(), nullable=False, comment="frames that tombstones report as dropped"),
        sa.Column("heard_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("agent", "epoch", "lane"),
    )


def _block() -> None:
    op.create_table(
        "block",
        sa.Column("agent", sa.String(length=200), nullable=False),
        sa.Column("epoch", sa.String(length=200), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("device", sa.String(length=200), nullable=False),
        sa.Column("probe", sa.String(length=200), nullable=False),
        sa.Column("every_s", sa.Double(), nullable=False),
        sa.Column("series", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("agent", "epoch", "block"),
    )


def _request() -> None:
    op.create_table(
        "request",
        sa.Column("id", _ID_TYPE, autoincrement=True, nullable=False),
        sa.Column("agent", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("device", sa.String(length=200), nullable=False),
        sa.Column("by", sa.String(length=200), nullable=False),
        sa.Column("asked_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _journal() -> None:
    op.create_table(
        "journal",
        sa.Column("id", _ID_TYPE, autoincrement=True, nullable=False),
        sa.Column("agent", sa.String(length=200), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("after_seq", sa.BigInteger(), nullable=False, comment="items up to this seq are replays"),
        sa.Column("body", sa.LargeBinary(), nullable=False, comment="the push, unzipped JSON"),
        sa.Column(
            "fault",
            sa.Text(),
            nullable=True,
            comment="why it could not be applied; the row is kept for a person to look at",
        ),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("journal") as batch_op:
        batch_op.create_index("journal_agent", ["agent", "id"], unique=False)


def _latest() -> None:
    op.create_table(
        "latest",
        sa.Column("device", sa.String(length=200), nullable=False),
        sa.Column("probe", sa.String(length=200), nullable=False),
        sa.Column("agent", sa.String(length=200), nullable=False),
        sa.Column("epoch", sa.String(length=200), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("column", sa.Text(), nullable=False, comment="model.wire.encode_values"),
        sa.PrimaryKeyConstraint("device", "probe"),
    )


def _history() -> None:
    op.create_table(
        "history",
        sa.Column("id", _ID_TYPE, autoincrement=True, nullable=False),
        sa.Column("device", sa.String(length=200), nullable=False),
        sa.Column("agent", sa.String(length=200), nullable=False),
        sa.Column("epoch", sa.String(length=200), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("column", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("history") as batch_op:
        batch_op.create_index("history_device_at", ["device", "at"], unique=False)


def _incident() -> None:
    op.create_table(
        "incident",
        sa.Column("incident", _ID_TYPE, autoincrement=True, nullable=False),
        sa.Column("device", sa.String(length=200), nullable=False),
        sa.Column("rule", sa.String(length=200), nullable=False),
        sa.Column("instance", sa.String(length=200), nullable=False),
        sa.Column(
            "agent",
            sa.String(length=200),
            nullable=False,
            comment="the agent that judges it, or `collector`",
        ),
        sa.Column("state", sa.String(length=10), nullable=False, comment="open | resolved | withdrawn"),
        sa.Column("level", sa.String(length=10), nullable=False, comment="warning | critical"),
        sa.Column(
            "verdict",
            sa.String(length=10),
            nullable=False,
            comment="the level of the latest verdict, including unknown",
        ),
        sa.Column("verdict_id", sa.String(length=200), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False, comment="1 at first, plus 1 each time it is reopened"),
        sa.Column(
            "began_at", sa.Double(), nullable=False, comment="when the fault of this round began: the ladder's clock"
        ),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("acknowledged_at", sa.Double(), nullable=True),
        sa.Column("acknowledged_by", sa.String(length=200), nullable=True),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("incident"),
        sqlite_autoincrement=True,
    )
    _index_incidents()


def _index_incidents() -> None:
    with op.batch_alter_table("incident") as batch_op:
        batch_op.create_index("incident_agent", ["agent", "state"], unique=False)
        batch_op.create_index("incident_key", ["device", "rule", "instance", "incident"], unique=False)
        batch_op.create_index(
            "incident_open",
            ["device", "rule", "instance"],
            unique=True,
            sqlite_where=sa.text("state = 'open'"),
            postgresql_where=sa.text("state = 'open'"),
        )


def _transition() -> None:
    op.create_table(
        "transition",
        sa.Column("id", _ID_TYPE, autoincrement=True, nullable=False),
        sa.Column("incident", sa.BigInteger(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("at", sa.Double(), nullable=False, comment="when it happened"),
        sa.Column("recorded_at", sa.Double(), nullable=False, comment="when the collector recorded it"),
        sa.Column("by", sa.String(length=210), nullable=False, comment="person:NAME | agent:NAME | collector"),
        sa.Column("level", sa.String(length=10), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("transition") as batch_op:
        batch_op.create_index("transition_incident", ["incident", "id"], unique=False)


def _rung() -> None:
    op.create_table(
        "rung",
        sa.Column("incident", sa.BigInteger(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("rung", sa.String(length=200), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, comment="its position on the ladder, from 0"),
        sa.Column("ladder", sa.String(length=200), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("decided_at", sa.Double(), nullable=True),
        sa.Column("decided_by", sa.String(length=210), nullable=True, comment="clock | person:NAME"),
        sa.PrimaryKeyConstraint("incident", "round", "rung"),
    )
    with op.batch_alter_table("rung") as batch_op:
        batch_op.create_index(
            "rung_due",
            ["due_at"],
            unique=False,
            sqlite_where=sa.text("decided_at IS NULL"),
            postgresql_where=sa.text("decided_at IS NULL"),
        )


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", _ID_TYPE, autoincrement=True, nullable=False),
        sa.Column("key", sa.String(length=400), nullable=False, comment="the idempotency key of the message"),
        sa.Column("incident", sa.BigInteger(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column(
            "kind", sa.String(length=20), nullable=False, comment="page | risen | passed | recovered | withdrawn"
        ),
        sa.Column("rung", sa.String(length=200), nullable=False),
        sa.Column("person", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False, comment="pending | delivered | given-up"),
        sa.Column(
            "next_at", sa.Double(), nullable=False, comment="when to try (again); while leased, when the lease ends"
        ),
        sa.Column("channel", sa.Integer(), nullable=False, comment="index of the person's channel that is tried next"),
        sa.Column("attempts", sa.Integer(), nullable=False, comment="attempts on that channel"),
        sa.Column("handed_on", sa.Boolean(), nullable=False, comment="another person was notified instead"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
    )
    with op.batch_alter_table("outbox") as batch_op:
        batch_op.create_index("outbox_incident", ["incident", "id"], unique=False)
        batch_op.create_index(
            "outbox_next",
            ["next_at"],
            unique=False,
            sqlite_where=sa.text("state = 'pending'"),
            postgresql_where=sa.text("state = 'pending'"),
        )


def _receipt() -> None:
    op.create_table(
        "receipt",
        sa.Column("id", _ID_TYPE, autoincrement=True, nullable=False),
        sa.Column("outbox", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("channel", sa.String(length=200), nullable=False),
        sa.Column("delivered", sa.Boolean(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("receipt") as batch_op:
        batch_op.create_index("receipt_outbox", ["outbox"], unique=False)


def _tally() -> None:
    op.create_table(
        "tally",
        sa.Column("name", sa.String(length=200), nullable=False, comment="a counter that must survive restarts"),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
