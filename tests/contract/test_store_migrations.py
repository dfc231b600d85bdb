"""A store of an earlier version, brought to the newest schema with everything in it."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from watchkeeper.collector.store import migrate as module
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.migrate import migrate
from watchkeeper.collector.store.schema import incident as incident_table
from watchkeeper.collector.store.schema import outbox, receipt, tally, trouble

DAY_S = 86_400.0


def at_revision(store: Store, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    with store.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def incident(number: int, state: str, ended_at: float | None) -> dict[str, object]:
    return {
        "incident": number, "device": f"ups-{number}", "rule": "power.input-lost", "instance": "", "agent": "room-1",
        "state": state, "level": "critical", "verdict": "critical", "verdict_id": f"v{number}", "round": 2,
        "began_at": 100.0, "ended_at": ended_at, "acknowledged_at": None, "acknowledged_by": None,
        "evidence": "{}",
    }  # fmt: skip


def message(number: int, kind: str, about: int, state: str = "pending") -> dict[str, object]:
    return {
        "id": number, "key": f"k{number}", "incident": about, "round": 2, "kind": kind, "rung": "duty", "person": "day",
        "created_at": 100.0, "subject": "s", "text": "t", "facts": "{}", "state": state, "next_at": 100.0, "channel": 0,
        "attempts": 0, "handed_on": False,
    }  # fmt: skip


def insert(connection: sa.Connection, table: str, rows: list[dict[str, object]]) -> None:
    columns = ", ".join(f'"{name}"' for name in rows[0])
    values = ", ".join(f":{name}" for name in rows[0])
    connection.execute(sa.text(f"INSERT INTO {table} ({columns}) VALUES ({values})"), rows)  # noqa: S608 -- names of this file


def test_messages_of_the_first_schema_know_when_they_expire_and_who_is_next(store_url: str) -> None:
    store = Store(store_url)
    at_revision(store, "0001")
    with store.write() as connection:
        insert(connection, "incident", [incident(1, "open", None), incident(2, "resolved", 150.0)])
        insert(
            connection, "outbox",
            [message(1, "page", 1), message(2, "page", 2), message(3, "recovered", 2), message(4, "page", 1, "delivered")],
        )  # fmt: skip
    migrate(store)
    with store.read() as connection:
        found = {row.id: row for row in connection.execute(sa.select(outbox))}
        made = {row.trouble: row for row in connection.execute(sa.select(trouble))}
        parts = [(row.incident, row.trouble) for row in connection.execute(sa.select(incident_table))]
        recurrences = connection.execute(sa.text("SELECT recurrence FROM incident")).scalars().all()
    store.close()
    assert {(row.about, row.recurrence) for row in found.values()} == {("trouble", 2)}
    assert [found[number].about_id for number in (1, 2, 3)] == [1, 2, 2]
    assert [found[number].expires_at for number in (1, 2, 3)] == [None, 150.0, 100.0 + DAY_S]
    assert [found[number].fallback for number in (1, 4)] == ['["duty"]', "[]"]
    assert recurrences == [2, 2]
    assert [found[number].urgency for number in (1, 2, 3, 4)] == [10, 10, 22, 20]
    assert parts == [(1, 1), (2, 2)], "every incident so far is a trouble of the same number"
    assert [(one.cause, one.state, one.ended_at, one.recurrence) for one in made.values()] == [
        (1, "open", None, 2), (2, "resolved", 150.0, 2),
    ]  # fmt: skip


def test_pending_messages_of_the_schema_before_have_their_urgency(store_url: str) -> None:
    store = Store(store_url)
    at_revision(store, "0003")
    facts = ("page", '{"kind": "page", "level": "critical"}'), ("page", '{"level": "warning"}'), ("risen", "{}")
    with store.write() as connection:
        rows = [message(number, kind, 1) | {"facts": text} for number, (kind, text) in enumerate(facts, 1)]
        renamed = [{"about_id" if name == "incident" else "recurrence" if name == "round" else name: value
                    for name, value in row.items()} for row in rows]  # fmt: skip
        insert(connection, "outbox", renamed)
    migrate(store)
    with store.read() as connection:
        found = connection.execute(sa.select(outbox.c.urgency, outbox.c.prove_by).order_by(outbox.c.id)).all()
    store.close()
    assert [tuple(row) for row in found] == [(0, None), (10, None), (1, None)]


def test_of_many_failed_tries_the_first_and_the_newest_are_kept(store_url: str) -> None:
    store = Store(store_url)
    at_revision(store, "0008")
    told = {
        "key": "k", "about": "trouble", "about_id": 1, "recurrence": 1, "kind": "page", "rung": "duty", "person": "day",
        "created_at": 100.0, "fallback": "[]", "subject": "s", "text": "t", "facts": "{}", "state": "pending", "next_at": 100.0,
        "channel": 0, "attempts": 0, "handed_on": False,
    }  # fmt: skip
    tries = [
        {"id": n, "outbox": 1, "at": float(n), "channel": "sms", "delivered": n == 7, "detail": ""}
        for n in range(1, 101)
    ]
    with store.write() as connection:
        insert(connection, "outbox", [{**told, "id": 1}, {**told, "id": 2, "key": "test", "about": "test"}])
        insert(connection, "receipt", [*tries, {**tries[0], "id": 101, "outbox": 2}])
    migrate(store)
    with store.read() as connection:
        kept = connection.execute(sa.select(receipt.c.id).order_by(receipt.c.id)).scalars().all()
        left_out = connection.execute(sa.select(outbox.c.left_out).order_by(outbox.c.id)).scalars().all()
        counts = {row[0]: row[1] for row in connection.execute(sa.select(tally.c.name, tally.c.count))}
    store.close()
    assert kept == [1, 7, *range(81, 101), 101]
    assert left_out == [78, 0]
    assert counts == {"deliveries sms failed": 99, "deliveries sms delivered": 1}


def test_there_is_no_way_back(store_url: str) -> None:
    store = Store(store_url)
    migrate(store)
    config = Config()
    config.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    with store.write() as connection:
        config.attributes["connection"] = connection
        with pytest.raises(RuntimeError, match="restore a backup"):
            command.downgrade(config, "0001")
    store.close()
