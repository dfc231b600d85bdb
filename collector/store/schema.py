"""The tables. Times are UTC seconds (columns whose names end in `_at`). JSON is stored as text, in the forms of
model/wire.py."""

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
    false,
    text,
)

from watchkeeper.collector.store.life.tables import tables_of_life, tables_of_processes

metadata = MetaData()
_ID_TYPE = BigInteger().with_variant(Integer, "sqlite")
_NAME_TYPE = String(200)
_ACTOR_TYPE = String(210)  # `person:` or `agent:` and a name

token = Table(
    "token",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("kind", String(10), nullable=False, comment="agent | person | session | ticket"),
    Column("name", _NAME_TYPE, nullable=False, comment="the agent or person it belongs to"),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
)

link_salt = Table(
    "link_salt",
    metadata,
    Column("person", _NAME_TYPE, primary_key=True, comment="empty: everybody"),
    Column("salt", String(64), nullable=False, comment="part of the key; the secret is not in the store"),
    Column("rotated_at", Double, nullable=False),
)

sign_in = Table(
    "sign_in",
    metadata,
    Column("id", _ID_TYPE, primary_key=True, autoincrement=True),
    Column("person", _NAME_TYPE, nullable=False),
    Column("asked_at", Double, nullable=False),
    Column("used_at", Double, comment="when its link was used; NULL until then"),
    Index("sign_in_asked", "asked_at"),
    sqlite_autoincrement=True,
)

agent = Table(
    "agent",
    metadata,
    Column("agent", _NAME_TYPE, primary_key=True),
    Column("epoch", _NAME_TYPE, nullable=False),
    Column("heard_at", Double, nullable=False),
    Column("skew_s", Double, nullable=False, comment="its wall clock minus the collector's; for information only"),
    Column("bundle", _NAME_TYPE, nullable=False, comment="the version active at the agent"),
    Column("backlog_since", Double, nullable=False, comment="since when it has announced further events"),
    Column("backlog_until", Double, nullable=False, comment="no rung of its incidents is decided before this time"),
)

lane = Table(
    "lane",
    metadata,
    Column("agent", _NAME_TYPE, nullable=False),
    Column("epoch", _NAME_TYPE, nullable=False),
    Column("lane", String(10), nullable=False),
    Column("seq", BigInteger, nullable=False, comment="items up to this seq are in the journal, or were applied"),
    Column("items", BigInteger, nullable=False, comment="number of items accepted"),
    Column("gaps", BigInteger, nullable=False, comment="missing seqs that no tombstone explains"),
    Column("dropped", BigInteger, nullable=False, comment="frames that tombstones report as dropped"),
    Column("heard_at", Double, nullable=False),
    Column("session", _NAME_TYPE, nullable=False, server_default="", comment="the process that pushed last"),
    Column("turn", BigInteger, nullable=False, server_default="0", comment="the number of that push in its session"),
    PrimaryKeyConstraint("agent", "epoch", "lane"),
)

block = Table(
    "block",
    metadata,
    Column("agent", _NAME_TYPE, nullable=False),
    Column("epoch", _NAME_TYPE, nullable=False),
    Column("block", BigInteger, nullable=False),
    Column("device", _NAME_TYPE, nullable=False),
    Column("probe", _NAME_TYPE, nullable=False),
    Column("every_s", Double, nullable=False),
    Column("series", Text, nullable=False),
    Column("facts", Text, nullable=False, server_default="[]", comment="JSON: [name, text] of how the device is read"),
    Column(
        "idle_at", Double, comment="when it was found that no frame is under it any more; it must be declared again"
    ),
    PrimaryKeyConstraint("agent", "epoch", "block"),
)

journal = Table(
    "journal",
    metadata,
    Column("id", _ID_TYPE, primary_key=True, autoincrement=True),
    Column("agent", _NAME_TYPE, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("after_seq", BigInteger, nullable=False, comment="items up to this seq are replays"),
    Column("body", LargeBinary, nullable=False, comment="the push, unzipped JSON"),
    Column("fault", Text, comment="why it could not be applied; the row is kept for a person to look at"),
    Column("again", Boolean, nullable=False, server_default=false(), comment="a person asked to apply it again"),
    Column("dropped_at", Double, comment="when a person gave it up; NULL until then"),
    Column("dropped_by", _ACTOR_TYPE),
    Column("dropped_why", Text),
    Index("journal_agent", "agent", "id"),
    Index("journal_fault", "id", sqlite_where=text("fault IS NOT NULL"), postgresql_where=text("fault IS NOT NULL")),
    sqlite_autoincrement=True,
)

latest = Table(
    "latest",
    metadata,
    Column("device", _NAME_TYPE, nullable=False),
    Column("probe", _NAME_TYPE, nullable=False),
    Column("agent", _NAME_TYPE, nullable=False),
    Column("epoch", _NAME_TYPE, nullable=False),
    Column("block", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
    Column("column", Text, nullable=False, comment="model.wire.encode_values"),
    PrimaryKeyConstraint("device", "probe"),
)

history = Table(
    "history",
    metadata,
    Column("id", _ID_TYPE, primary_key=True, autoincrement=True),
    Column("device", _NAME_TYPE, nullable=False),
    Column("agent", _NAME_TYPE, nullable=False),
    Column("epoch", _NAME_TYPE, nullable=False),
    Column("block", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
    Column("column", Text, nullable=False),
    Index("history_device_at", "device", "at"),
)

incident = Table(
    "incident",
    metadata,
    Column("incident", _ID_TYPE, primary_key=True, autoincrement=True),
    Column("device", _NAME_TYPE, nullable=False),
    Column("rule", _NAME_TYPE, nullable=False),
    Column("instance", _NAME_TYPE, nullable=False),
    Column("agent", _NAME_TYPE, nullable=False, comment="the agent that judges it, or `collector`"),
    Column("state", String(10), nullable=False, comment="open | resolved | withdrawn"),
    Column("level", String(10), nullable=False, comment="warning | critical"),
    Column("verdict", String(10), nullable=False, comment="the level of the latest verdict, including unknown"),
    Column("verdict_id", _NAME_TYPE, nullable=False),
    Column("recurrence", Integer, nullable=False, comment="1 at first, plus 1 each time it is reopened"),
    Column("began_at", Double, nullable=False, comment="when the fault of this recurrence began"),
    Column("ended_at", Double),
    Column("evidence", Text, nullable=False),
    Column("trouble", BigInteger, nullable=False, server_default="0", comment="the trouble that it is part of"),
    Column("joined", String(10), nullable=False, server_default="first",
           comment="first | explained | device | place"),
    Column("explained_by", BigInteger, nullable=False, server_default="0", comment="the incident that explains it, or 0"),
    Index("incident_open", "device", "rule", "instance", unique=True,
          sqlite_where=text("state = 'open'"), postgresql_where=text("state = 'open'")),
    Index("incident_key", "device", "rule", "instance", "incident"),
    Index("incident_agent", "agent", "state"),
    Index("incident_trouble", "trouble", "state"),
    Index("incident_rule", "rule", "began_at"),
    Index("incident_explained", "explained_by",
          sqlite_where=text("explained_by <> 0 AND state = 'open'"),
          postgresql_where=text("explained_by <> 0 AND state = 'open'")),
    sqlite_autoincrement=True,
)  # fmt: skip

trouble = Table(
    "trouble",
    metadata,
    Column("trouble", _ID_TYPE, primary_key=True, autoincrement=True),
    Column("cause", BigInteger, nullable=False, comment="the incident that is its probable cause"),
    Column("agent", _NAME_TYPE, nullable=False, comment="the agent that judges the cause"),
    Column("state", String(10), nullable=False, comment="open | resolved | withdrawn | merged"),
    Column("level", String(10), nullable=False, comment="the worst level of its open incidents"),
    Column("recurrence", Integer, nullable=False, comment="1 at first, plus 1 each time it came back"),
    Column("opened_at", Double, nullable=False, comment="when it began"),
    Column("began_at", Double, nullable=False, comment="the origin of the ladder's clock"),
    Column("quiet_since", Double, comment="when its last fault went away; NULL while one is there"),
    Column("ended_at", Double),
    Column("wait_until", Double, nullable=False, comment="no rung is decided before this time: its parent is read again"),
    Column("acknowledged_at", Double),
    Column("acknowledged_by", _NAME_TYPE),
    Column("on_site_at", Double),
    Column("on_site_by", _NAME_TYPE),
    Column("chase_at", Double, comment="when people are asked again whether they are on site"),
    Column("merged_into", BigInteger, nullable=False, comment="the trouble that it was merged into, or 0"),
    Column("flapping_told", Boolean, nullable=False, comment="people were told that it flaps"),
    Index("trouble_state", "state", "level", "began_at"),
    Index("trouble_quiet", "quiet_since", sqlite_where=text("state = 'open' AND quiet_since IS NOT NULL"),
          postgresql_where=text("state = 'open' AND quiet_since IS NOT NULL")),
    Index("trouble_chase", "chase_at", sqlite_where=text("chase_at IS NOT NULL"),
          postgresql_where=text("chase_at IS NOT NULL")),
    Index("trouble_merged", "merged_into", sqlite_where=text("merged_into <> 0"), postgresql_where=text("merged_into <> 0")),
    sqlite_autoincrement=True,
)  # fmt: skip

transition = Table(
    "transition",
    metadata,
    Column("id", _ID_TYPE, primary_key=True, autoincrement=True),
    Column("incident", BigInteger, nullable=False),
    Column("recurrence", Integer, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("at", Double, nullable=False, comment="when it happened"),
    Column("recorded_at", Double, nullable=False, comment="when the collector recorded it"),
    Column("by", _ACTOR_TYPE, nullable=False, comment="person:NAME | agent:NAME | collector"),
    Column("level", String(10), nullable=False),
    Column("note", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Index("transition_incident", "incident", "id"),
)

rung = Table(
    "rung",
    metadata,
    Column("trouble", BigInteger, nullable=False),
    Column("recurrence", Integer, nullable=False, comment="the recurrence in which it was scheduled"),
    Column("rung", _NAME_TYPE, nullable=False),
    Column("number", Integer, nullable=False, comment="its position on the ladder, from 0"),
    Column("ladder", _NAME_TYPE, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("decided_at", Double),
    Column("decided_by", _ACTOR_TYPE, comment="clock | person:NAME"),
    PrimaryKeyConstraint("trouble", "recurrence", "rung"),
    Index(
        "rung_decided",
        "rung",
        sqlite_where=text("decided_at IS NOT NULL"),
        postgresql_where=text("decided_at IS NOT NULL"),
    ),
    Index("rung_due", "due_at", sqlite_where=text("decided_at IS NULL"), postgresql_where=text("decided_at IS NULL")),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", _ID_TYPE, primary_key=True, autoincrement=True),
    Column("key", String(400), nullable=False, comment="the idempotency key of the message"),
    Column("about", String(20), nullable=False, comment="trouble | sign-in | test"),
    Column("about_id", BigInteger, nullable=False, comment="its number"),
    Column("recurrence", Integer, nullable=False),
    Column("kind", String(20), nullable=False, comment="page | risen | returned ... | sign-in | test"),
    Column("rung", _NAME_TYPE, nullable=False),
    Column("person", _NAME_TYPE, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, comment="no retry after this time; NULL while the trouble of a page is open"),
    Column("fallback", Text, nullable=False, comment="JSON: roles and persons paged if this person cannot be reached"),
    Column("subject", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("facts", Text, nullable=False),
    Column("state", String(10), nullable=False, comment="pending | delivered | given-up"),
    Column("next_at", Double, nullable=False, comment="when to try (again); while leased, when the lease ends"),
    Column("channel", Integer, nullable=False, comment="index of the person's channel that is tried next"),
    Column("attempts", Integer, nullable=False, comment="attempts on that channel"),
    Column("handed_on", Boolean, nullable=False, comment="another person was notified instead"),
    Column("urgency", Integer, nullable=False, server_default="20", comment="the lowest number is sent first"),
    Column("prove_by", Double, comment="when the proof that its channel needs must be there; NULL where none is needed"),
    Column("leased_by", _NAME_TYPE, comment="the collector that sends it now; NULL while none does"),
    Column("left_out", Integer, nullable=False, server_default="0", comment="how many of its failed tries were deleted"),
    UniqueConstraint("key"),
    Index("outbox_state", "state", "about"),
    Index("outbox_next", "next_at", sqlite_where=text("state = 'pending'"), postgresql_where=text("state = 'pending'")),
    Index("outbox_about", "about", "about_id", "id"),
    Index("outbox_unproved", "prove_by",
          sqlite_where=text("prove_by IS NOT NULL"), postgresql_where=text("prove_by IS NOT NULL")),
)  # fmt: skip

receipt = Table(
    "receipt",
    metadata,
    Column("id", _ID_TYPE, primary_key=True, autoincrement=True),
    Column("outbox", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
    Column("channel", _NAME_TYPE, nullable=False),
    Column("delivered", Boolean, nullable=False),
    Column("detail", Text, nullable=False),
    Column(
        "proof", String(20), comment="handed-over | accepted | delivered | read; NULL if not delivered, or not known"
    ),
    Index("receipt_outbox", "outbox", "id"),
)

reply = Table(
    "reply",
    metadata,
    Column("id", _ID_TYPE, primary_key=True, autoincrement=True),
    Column("via", String(10), nullable=False, comment="sms | mail | webhook"),
    Column(
        "source",
        String(200),
        nullable=False,
        comment="what makes it one reply: the file, the mail, or the answer itself",
    ),
    Column("received_at", Double, nullable=False),
    Column("person", _NAME_TYPE, nullable=False),
    Column("trouble", BigInteger, nullable=False, comment="the number that the reply names, or 0"),
    Column(
        "answer", String(20), nullable=False, comment="acknowledge | on-site | escalate | comment; empty if unclear"
    ),
    Column("outcome", String(10), nullable=False, comment="applied | late | refused"),
    UniqueConstraint("via", "source"),
    Index("reply_person", "person", "received_at"),
)

request = Table(
    "request",
    metadata,
    Column("id", _ID_TYPE, primary_key=True, autoincrement=True),
    Column("agent", _NAME_TYPE, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("device", _NAME_TYPE, nullable=False),
    Column("by", _NAME_TYPE, nullable=False),
    Column("asked_at", Double, nullable=False),
)

removal = Table(
    "removal",
    metadata,
    Column("id", _ID_TYPE, primary_key=True, autoincrement=True),
    Column("device", _NAME_TYPE, nullable=False),
    Column("agent", _NAME_TYPE, nullable=False, comment="the agent that is told"),
    Column("part", _NAME_TYPE, nullable=False, comment="the instance of its column in the frame"),
    Column("label", _NAME_TYPE, nullable=False),
    Column("gone_at", Double, nullable=False, comment="since when it was gone"),
    Column("by", _NAME_TYPE, nullable=False, comment="the person who confirmed it"),
    Column("confirmed_at", Double, nullable=False),
    Column("note", Text, nullable=False),
    Column("done_at", Double, comment="when the agent no longer reported it; NULL until then"),
    Index("removal_device", "device", "id"),
    Index("removal_pending", "agent", sqlite_where=text("done_at IS NULL"), postgresql_where=text("done_at IS NULL")),
)

clock = Table(
    "clock",
    metadata,
    Column("name", _NAME_TYPE, primary_key=True, comment="always `time`"),
    Column(
        "boot_id", _NAME_TYPE, nullable=False, comment="the boot of the machine that it is for; empty on PostgreSQL"
    ),
    Column("offset_s", Double, nullable=False, comment="the collectors' time minus the boot clock, or the database's"),
    Column("since", Double, nullable=False, comment="pending times after this move along when the time is set"),
    Column("sure", Boolean, nullable=False, comment="other clocks have confirmed it"),
    Column(
        "settled_at", Double, nullable=False, comment="when it was found: on the boot clock, or by the collectors' time"
    ),
    Column("steps", BigInteger, nullable=False, comment="how often the time, or this offset, was set"),
    Column("moved_s", Double, nullable=False, comment="by how much the time was set, in all"),
)

activation = Table(
    "activation",
    metadata,
    Column("number", _ID_TYPE, primary_key=True, autoincrement=False),
    Column("version", String(64), nullable=False, comment="the hash of its files"),
    Column("files", LargeBinary, nullable=False, comment="zlib: JSON of name and text of each file"),
    Column("activated_at", Double, nullable=False),
    Column("collector", _NAME_TYPE, nullable=False, comment="whose folder it was"),
    Column("author", Text, nullable=False, comment="empty if not known"),
    Column("how", String(10), nullable=False, comment="start | change | command"),
    Column("diff", Text, nullable=False, comment="unified, to the number before; empty for the first"),
    Index("activation_version", "version", "number"),
)

site_folder = Table(
    "site_folder",
    metadata,
    Column("collector", _NAME_TYPE, primary_key=True),
    Column("base", BigInteger, nullable=False, comment="the number in force that the folder last had, or 0"),
    Column("follows", BigInteger, nullable=False, comment="the number that the collector goes by"),
    Column("standing", String(20), nullable=False, comment="in-force | older | differs | invalid | unusable"),
    Column("noted_at", Double, nullable=False),
)

life, awaited = tables_of_life(metadata)
collector, agent_session = tables_of_processes(metadata)

tally = Table(
    "tally",
    metadata,
    Column("name", _NAME_TYPE, primary_key=True, comment="a counter that must survive restarts"),
    Column("count", BigInteger, nullable=False),
)
