"""Incidents that belong together are one trouble, which has the ladder, the acknowledgement and the messages."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NAME_TYPE = sa.String(200)


def upgrade() -> None:
    _create_trouble()
    _one_trouble_an_incident()
    op.execute("ALTER TABLE rung RENAME COLUMN incident TO trouble")
    op.execute("UPDATE outbox SET about = 'trouble' WHERE about = 'incident'")
    for name in ("acknowledged_at", "acknowledged_by"):
        op.drop_column("incident", name)
    op.create_index("incident_trouble", "incident", ["trouble", "state"])
    op.create_index("incident_rule", "incident", ["rule", "began_at"])
    explained = sa.text("explained_by <> 0 AND state = 'open'")
    op.create_index(
        "incident_explained", "incident", ["explained_by"], sqlite_where=explained, postgresql_where=explained
    )
    _comment()


def _create_trouble() -> None:
    op.create_table(
        "trouble",
        sa.Column("trouble", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("cause", sa.BigInteger(), nullable=False, comment="the incident that is its probable cause"),
        sa.Column("agent", _NAME_TYPE, nullable=False, comment="the agent that judges the cause"),
        sa.Column("state", sa.String(10), nullable=False, comment="open | resolved | withdrawn | merged"),
        sa.Column("level", sa.String(10), nullable=False, comment="the worst level of its open incidents"),
        sa.Column("recurrence", sa.Integer(), nullable=False, comment="1 at first, plus 1 each time it came back"),
        sa.Column("opened_at", sa.Double(), nullable=False, comment="when it began"),
        sa.Column("began_at", sa.Double(), nullable=False, comment="the origin of the ladder's clock"),
        sa.Column("quiet_since", sa.Double(), comment="when its last fault went away; NULL while one is there"),
        sa.Column("ended_at", sa.Double()),
        sa.Column(
            "wait_until", sa.Double(), nullable=False,
            comment="no rung is decided before this time: its parent is read again",
        ),
        sa.Column("acknowledged_at", sa.Double()),
        sa.Column("acknowledged_by", _NAME_TYPE),
        sa.Column("on_site_at", sa.Double()),
        sa.Column("on_site_by", _NAME_TYPE),
        sa.Column("chase_at", sa.Double(), comment="when people are asked again whether they are on site"),
        sa.Column("merged_into", sa.BigInteger(), nullable=False, comment="the trouble that it was merged into, or 0"),
        sa.Column("flapping_told", sa.Boolean(), nullable=False, comment="people were told that it flaps"),
        sqlite_autoincrement=True,
    )  # fmt: skip
    quiet, merged = sa.text("state = 'open' AND quiet_since IS NOT NULL"), sa.text("merged_into <> 0")
    chased = sa.text("chase_at IS NOT NULL")
    op.create_index("trouble_chase", "trouble", ["chase_at"], sqlite_where=chased, postgresql_where=chased)
    op.create_index("trouble_state", "trouble", ["state", "level", "began_at"])
    op.create_index("trouble_quiet", "trouble", ["quiet_since"], sqlite_where=quiet, postgresql_where=quiet)
    op.create_index("trouble_merged", "trouble", ["merged_into"], sqlite_where=merged, postgresql_where=merged)


def _one_trouble_an_incident() -> None:
    """Every incident so far is a trouble of the same number: links in old messages, rungs and receipts stay right."""
    for name, kind, default in (
        ("trouble", sa.BigInteger(), "0"), ("joined", sa.String(10), "first"), ("explained_by", sa.BigInteger(), "0"),
    ):  # fmt: skip
        op.add_column("incident", sa.Column(name, kind, nullable=False, server_default=default))
    op.execute("UPDATE incident SET trouble = incident")
    op.execute(
        "INSERT INTO trouble (trouble, cause, agent, state, level, recurrence, opened_at, began_at, quiet_since, ended_at,"
        " wait_until, acknowledged_at, acknowledged_by, merged_into, flapping_told)"
        " SELECT incident, incident, agent, state, level, recurrence, began_at, began_at, ended_at, ended_at,"
        " 0.0, acknowledged_at, acknowledged_by, 0, false FROM incident"
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "SELECT setval(pg_get_serial_sequence('trouble', 'trouble'), coalesce(max(trouble), 0) + 1, false) FROM trouble"
        )


def _comment() -> None:
    """Set the comments of the changed columns. Only PostgreSQL stores comments."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, column, comment in (
        ("incident", "began_at", "when the fault of this recurrence began"),
        ("incident", "trouble", "the trouble that it is part of"),
        ("incident", "joined", "first | explained | device | place"),
        ("incident", "explained_by", "the incident that explains it, or 0"),
        ("rung", "recurrence", "the recurrence in which it was scheduled"),
        ("outbox", "about", "trouble"),
        ("outbox", "about_id", "the number of the trouble"),
        ("outbox", "kind", "page | risen | returned | flapping | passed | recovered | withdrawn"),
        ("outbox", "expires_at", "no retry after this time; NULL while the trouble of a page is open"),
    ):
        op.alter_column(table, column, comment=comment)


def downgrade() -> None:
    raise RuntimeError("the earlier columns no longer exist; restore a backup made by the earlier version")
