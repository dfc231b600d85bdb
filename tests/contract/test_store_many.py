"""Writing many rows at once, on both stores: more than fit in one statement, and rows that exist already."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.many import _ROWS_PER_CALL
from watchkeeper.collector.store.migrate import migrate
from watchkeeper.collector.store.schema import agent, history

COUNT = 2 * _ROWS_PER_CALL + 7


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    one = Store(store_url)
    migrate(one)
    yield one
    one.close()


def heard(number: int, at: float) -> dict[str, object]:
    return {
        "agent": f"agent-{number}", "epoch": "e", "heard_at": at, "skew_s": 0.0, "bundle": "", "backlog_since": 0.0,
        "backlog_until": at,
    }  # fmt: skip


def test_many_rows_are_written_completely_and_in_order(store: Store) -> None:
    rows = [
        {
            "device": f"host-{n}",
            "agent": "a",
            "epoch": "e",
            "block": 1,
            "seq": n,
            "at": n / 3,
            "column": f'{{"n":{n},"ü":"?"}}',
        }
        for n in range(COUNT)
    ]
    with store.write() as connection:
        store.write_many(connection, history, rows)
    with store.read() as connection:
        found = connection.execute(sa.select(history).order_by(history.c.id)).all()
    assert [{name: getattr(row, name) for name in rows[0]} for row in found] == rows


@pytest.mark.parametrize("count", [1, _ROWS_PER_CALL - 1, _ROWS_PER_CALL, COUNT])
def test_existing_rows_are_overwritten_except_the_kept_columns(store: Store, count: int) -> None:
    with store.write() as connection:
        store.write_many(connection, agent, [heard(n, 1.0) for n in range(count)], keep=())
        store.write_many(connection, agent, [heard(n, 2.0) for n in range(count)], keep=("backlog_until",))
    with store.read() as connection:
        found = connection.execute(sa.select(agent.c.heard_at, agent.c.backlog_until)).all()
    assert [tuple(row) for row in found] == [(2.0, 1.0)] * count


def test_writing_no_rows_does_nothing(store: Store) -> None:
    with store.write() as connection:
        store.write_many(connection, history, [])
