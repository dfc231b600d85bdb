"""The tables about what makes a store this store, and about the processes that use it. They are made by `store/schema.py`."""

from sqlalchemy import BigInteger, Column, Double, MetaData, String, Table

_NAME_TYPE = String(200)


def tables_of_life(metadata: MetaData) -> tuple[Table, Table]:
    """The store's identity, and whose standing verdicts are awaited."""
    life = Table(
        "life",
        metadata,
        Column("identity", String(64), primary_key=True, comment="made once, at random"),
        Column("generation", BigInteger, nullable=False, comment="rises when a collector begins to use the store"),
        Column("turn", BigInteger, nullable=False, comment="rises while a collector is at work"),
    )
    awaited = Table(
        "awaited",
        metadata,
        Column("agent", _NAME_TYPE, primary_key=True),
        Column("since", Double, nullable=False),
        Column("until", Double, nullable=False, comment="no rung of its older troubles is decided before this time"),
    )
    return life, awaited


def tables_of_processes(metadata: MetaData) -> tuple[Table, Table]:
    """The collectors that work on the store, and the process that pushes as each agent."""
    collector = Table(
        "collector",
        metadata,
        Column("name", _NAME_TYPE, primary_key=True),
        Column("process", _NAME_TYPE, nullable=False, comment="a random id of the running process"),
        Column("started_at", Double, nullable=False),
        Column("beat_at", Double, nullable=False, comment="when it was last at work"),
        Column("release", _NAME_TYPE, nullable=False),
        Column("stopped_at", Double, comment="when it was stopped in order, or forgotten; NULL: it runs"),
    )
    agent_session = Table(
        "agent_session",
        metadata,
        Column("agent", _NAME_TYPE, primary_key=True),
        Column("session", _NAME_TYPE, nullable=False, comment="the process whose pushes are accepted"),
        Column("address", _NAME_TYPE, nullable=False, comment="where it pushes from"),
        Column("superseded", _NAME_TYPE, nullable=False, comment="the session that it followed on the same spool"),
        Column("rival", _NAME_TYPE, nullable=False, comment="another process of that name, which was refused"),
        Column("rival_address", _NAME_TYPE, nullable=False),
        Column("rival_at", Double, nullable=False),
        Column("twin_at", Double, nullable=False, comment="when both were last seen at work"),
    )
    return collector, agent_session
