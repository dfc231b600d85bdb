"""The tables. Times are UTC seconds (columns ending in `_at`); JSON is text that model/wire.py wrote."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()
_Number = BigInteger().with_variant(Integer, "sqlite")
_NAME = String(200)
_WHO = String(210)  # `person:` or `agent:` and a name

token = Table(
    "token",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("kind", String(10), nullable=False, comment="agent | person | session | ticket"),
    Column("name", _NAME, nullable=False, comment="whose it is"),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
)

agent = Table(
    "agent",
    metadata,
    Column("agent", _NAME, primary_key=True),
    Column("epoch", _NAME, nullable=False),
    Column("heard_at", Double, nullable=False),
    Column("skew_s", Double, nullable=False, comment="its wall clock less ours; nothing depends on it"),
    Column("bundle", _NAME, nullable=False, comment="the version in force there"),
    Column("backlog_since", Double, nullable=False, comment="since when it announces further events"),
    Column(
        "backlog_until", Double, nullable=False, comment="its incidents wait for them until then: no rung is decided"
    ),
)

lane = Table(
    "lane",
    metadata,
    Column("agent", _NAME, nullable=False),
    Column("epoch", _NAME, nullable=False),
    Column("lane", String(10), nullable=False),
    Column("seq", BigInteger, nullable=False, comment="everything up to here is in the journal, or was before"),
    Column("items", BigInteger, nullable=False, comment="how many items were taken"),
    Column("gaps", BigInteger, nullable=False, comment="seqs that never came and no tombstone explains"),
    Column("dropped", BigInteger, nullable=False, comment="frames under tombstones"),
    Column("heard_at", Double, nullable=False),
    PrimaryKeyConstraint("agent", "epoch", "lane"),
)

block = Table(
    "block",
    metadata,
    Column("agent", _NAME, nullable=False),
    Column("epoch", _NAME, nullable=False),
    Column("block", BigInteger, nullable=False),
    Column("device", _NAME, nullable=False),
    Column("probe", _NAME, nullable=False),
    Column("every_s", Double, nullable=False),
    Column("series", Text, nullable=False),
    PrimaryKeyConstraint("agent", "epoch", "block"),
)

journal = Table(
    "journal",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=True),
    Column("agent", _NAME, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("after_seq", BigInteger, nullable=False, comment="items up to this seq are replays"),
    Column("body", LargeBinary, nullable=False, comment="the push, unzipped JSON"),
    Column("fault", Text, comment="why it could not be applied; such rows stay for a person to look at"),
    Index("journal_agent", "agent", "id"),
    sqlite_autoincrement=True,
)

latest = Table(
    "latest",
    metadata,
    Column("device", _NAME, nullable=False),
    Column("probe", _NAME, nullable=False),
    Column("agent", _NAME, nullable=False),
    Column("epoch", _NAME, nullable=False),
    Column("block", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
    Column("column", Text, nullable=False, comment="model.wire.encode_values"),
    PrimaryKeyConstraint("device", "probe"),
)

history = Table(
    "history",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=True),
    Column("device", _NAME, nullable=False),
    Column("agent", _NAME, nullable=False),
    Column("epoch", _NAME, nullable=False),
    Column("block", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
    Column("column", Text, nullable=False),
    Index("history_device_at", "device", "at"),
)

incident = Table(
    "incident",
    metadata,
    Column("incident", _Number, primary_key=True, autoincrement=True),
    Column("device", _NAME, nullable=False),
    Column("rule", _NAME, nullable=False),
    Column("instance", _NAME, nullable=False),
    Column("agent", _NAME, nullable=False, comment="who judges it; `collector` for our own rules"),
    Column("state", String(10), nullable=False, comment="open | resolved | withdrawn"),
    Column("level", String(10), nullable=False, comment="warning | critical"),
    Column("verdict", String(10), nullable=False, comment="the latest verdict's level, unknown included"),
    Column("verdict_id", _NAME, nullable=False),
    Column("recurrence", Integer, nullable=False, comment="1, and one more each time it is reopened"),
    Column("began_at", Double, nullable=False, comment="when the fault of this recurrence began: the ladder's clock"),
    Column("ended_at", Double),
    Column("acknowledged_at", Double),
    Column("acknowledged_by", _NAME),
    Column("evidence", Text, nullable=False),
    Index("incident_open", "device", "rule", "instance", unique=True,
          sqlite_where=text("state = 'open'"), postgresql_where=text("state = 'open'")),
    Index("incident_key", "device", "rule", "instance", "incident"),
    Index("incident_agent", "agent", "state"),
    sqlite_autoincrement=True,
)  # fmt: skip

transition = Table(
    "transition",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=True),
    Column("incident", BigInteger, nullable=False),
    Column("recurrence", Integer, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("at", Double, nullable=False, comment="when it happened"),
    Column("recorded_at", Double, nullable=False, comment="when we learnt of it"),
    Column("by", _WHO, nullable=False, comment="person:NAME | agent:NAME | collector"),
    Column("level", String(10), nullable=False),
    Column("note", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Index("transition_incident", "incident", "id"),
)

rung = Table(
    "rung",
    metadata,
    Column("incident", BigInteger, nullable=False),
    Column("recurrence", Integer, nullable=False),
    Column("rung", _NAME, nullable=False),
    Column("number", Integer, nullable=False, comment="its place on the ladder, from 0"),
    Column("ladder", _NAME, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("decided_at", Double),
    Column("decided_by", _WHO, comment="clock | person:NAME"),
    PrimaryKeyConstraint("incident", "recurrence", "rung"),
    Index("rung_due", "due_at", sqlite_where=text("decided_at IS NULL"), postgresql_where=text("decided_at IS NULL")),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=True),
    Column("key", String(400), nullable=False, comment="the idempotency key of the message"),
    Column("about", String(20), nullable=False, comment="incident"),
    Column("about_id", BigInteger, nullable=False, comment="the number of the incident"),
    Column("recurrence", Integer, nullable=False),
    Column("kind", String(20), nullable=False, comment="page | risen | passed | recovered | withdrawn"),
    Column("rung", _NAME, nullable=False),
    Column("person", _NAME, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, comment="not retried after this; unknown while the incident of a page is open"),
    Column(
        "fallback", Text, nullable=False, comment="JSON: roles and persons told where this person cannot be reached"
    ),
    Column("subject", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("facts", Text, nullable=False),
    Column("state", String(10), nullable=False, comment="pending | delivered | given-up"),
    Column("next_at", Double, nullable=False, comment="when to try (again); while leased, when the lease ends"),
    Column("channel", Integer, nullable=False, comment="which of the person's channels is tried next"),
    Column("attempts", Integer, nullable=False, comment="on that channel"),
    Column("handed_on", Boolean, nullable=False, comment="somebody else was told instead"),
    UniqueConstraint("key"),
    Index("outbox_next", "next_at", sqlite_where=text("state = 'pending'"), postgresql_where=text("state = 'pending'")),
    Index("outbox_about", "about", "about_id", "id"),
)

receipt = Table(
    "receipt",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=True),
    Column("outbox", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
    Column("channel", _NAME, nullable=False),
    Column("delivered", Boolean, nullable=False),
    Column("detail", Text, nullable=False),
    Index("receipt_outbox", "outbox"),
)

request = Table(
    "request",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=True),
    Column("agent", _NAME, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("device", _NAME, nullable=False),
    Column("by", _NAME, nullable=False),
    Column("asked_at", Double, nullable=False),
)

tally = Table(
    "tally",
    metadata,
    Column("name", _NAME, primary_key=True, comment="a counter that must survive restarts"),
    Column("count", BigInteger, nullable=False),
)
