"""A PostgreSQL that goes silent, slow or away, behind a proxy of our own: every wait ends, and the survivor is served."""

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.dropping_proxy import DroppingProxy
from tests.story.world import World
from watchkeeper.collector.store.connections import postgres
from watchkeeper.collector.store.connections.limits import StoreLimits
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import agent, journal, tally
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.errors import StoreError, StoreRefused
from watchkeeper.model.verdict import Level

SHORT = StoreLimits(
    connect_s=2, pool_s=1, idle_s=1.0, lock_s=3.0, statement_s=4.0, answer_s=0.7, ping_after_s=5, ping_s=0.3, long_s=60
)
"""A tenth, so that the tests end soon. The server gets its time to answer (a busy machine): `statement_s` is never met."""


@pytest.fixture
def database(postgres_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty database, by the Unix socket."""
    name = "cut_" + re.sub(r"\W", "_", request.node.name)[:40].lower()
    server = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield postgres_url.replace("/postgres?", f"/{name}?")
    with server.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    server.dispose()


@contextlib.contextmanager
def proxied(url: str) -> Iterator[tuple[DroppingProxy, str]]:
    """A proxy before the server, and the URL of the same database through it."""
    base, _, folder = url.partition("?host=")
    with DroppingProxy.to(f"{folder}/.s.PGSQL.5432") as proxy:
        yield proxy, f"{base.replace('@/', f'@127.0.0.1:{proxy.port}/')}?sslmode=disable"


def select_one(store: Store) -> Any:
    with store.read() as connection:
        return connection.execute(sa.select(1)).scalar()


def used(url: str, clock: FakeClock, limits: StoreLimits = SHORT) -> Store:
    """A store with one connection in its pool."""
    made = Store(url, limits, clock)
    assert select_one(made) == 1
    return made


# ---- every wait has an end ----


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_server_that_goes_silent_is_given_up_and_found_again(database: str, way: str) -> None:
    with proxied(database) as (proxy, url):
        store = used(url, FakeClock())
        proxy.silence(up=way == "up", down=way == "down")
        with pytest.raises(StoreError, match=r"the server has not answered for 0\.7 s"):
            select_one(store)
        with pytest.raises(StoreError, match="connection timeout expired"):  # and a new connection is not made
            select_one(store)
        proxy.resume()
        assert select_one(store) == 1
        store.close()


def test_an_idle_connection_is_asked_whether_it_lives_and_all_are_renewed(database: str) -> None:
    clock = FakeClock()
    with proxied(database) as (proxy, url):
        store = used(url, clock)
        proxy.lose()  # the old connections, as if a firewall had forgotten them
        clock.advance(6)
        assert select_one(store) == 1  # nobody notices
        proxy.reset()
        assert select_one(store) == 1  # a connection that has ended is seen without being asked
        store.close()


def test_a_connection_in_use_costs_no_round_trip_more(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, asked = FakeClock(), []
    store = used(database, clock)
    genuine = store.engine.dialect.do_ping
    monkeypatch.setattr(store.engine.dialect, "do_ping", lambda one: [asked.append(one), genuine(one)][1])
    for _ in range(20):
        clock.advance(4.9)
        select_one(store)
    assert asked == []
    clock.advance(5)
    select_one(store)
    assert len(asked) == 1
    store.close()


def test_a_restarted_server_costs_no_transaction(database: str) -> None:
    store, admin = used(database, FakeClock()), Store(database)
    with admin.write() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    for _ in range(1000):  # the server ends its sessions a moment later
        with admin.read() as connection:
            if connection.exec_driver_sql(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).scalar() == 0:  # fmt: skip
                break
    assert select_one(store) == 1
    store.close()
    admin.close()


def test_a_connection_lost_in_the_middle_of_a_transaction_is_a_store_error(database: str) -> None:
    with proxied(database) as (proxy, url):
        store = used(url, FakeClock())

        def swallow() -> None:
            with store.write() as connection:
                proxy.reset()
                with contextlib.suppress(sa.exc.DBAPIError):  # as what builds a message does
                    connection.execute(sa.select(1))
                connection.execute(sa.select(1))

        with pytest.raises(StoreError):
            swallow()
        assert select_one(store) == 1
        store.close()


def test_a_long_transaction_may_be_slow_and_the_next_one_may_not(database: str) -> None:
    store = used(database, FakeClock())
    with store.read(long=True) as connection:
        connection.exec_driver_sql("SELECT pg_sleep(1)")
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "1min"
    with pytest.raises(StoreError, match="has not answered"), store.read() as connection:
        connection.exec_driver_sql("SELECT pg_sleep(9)")
    store.close()


def test_the_server_has_its_limits_and_those_of_the_url_come_last(database: str) -> None:
    store = Store(f"{database}&options=-c%20lock_timeout%3D123&connect_timeout=7")
    shown = {}
    with store.read() as connection:
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "application_name"):
            shown[name] = connection.exec_driver_sql(f"SHOW {name}").scalar()
    assert shown == {
        "statement_timeout": "12s", "lock_timeout": "123ms", "idle_in_transaction_session_timeout": "8s",
        "application_name": "watchkeeper",
    }  # fmt: skip
    given = postgres.connect_args(store.url, StoreLimits())
    assert "connect_timeout" not in given
    assert (given["keepalives"], given["tcp_user_timeout"]) == (1, 10_000)
    store.close()


def test_the_limits_are_in_an_order_that_lets_the_survivor_go_on() -> None:
    """A lock of a dead collector is free before those who wait for it give up, and they answer before their agent does."""
    limits = StoreLimits()
    assert limits.idle_s < limits.lock_s < limits.statement_s < limits.answer_s < 15


# ---- who waits ----


def test_the_store_is_never_used_in_the_thread_of_an_event_loop(store_url: str) -> None:
    store = Store(store_url)

    async def use(open_it: Callable[[], contextlib.AbstractContextManager[Any]]) -> None:
        with open_it():
            pass

    for open_it in (store.read, store.write):
        with pytest.raises(RuntimeError, match="event loop"):
            asyncio.run(use(open_it))
    store.close()


def test_a_stalled_writer_of_the_same_process_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db", SHORT)
    with store.write():
        failed: list[BaseException] = []

        def other() -> None:
            try:
                with store.write():
                    pass
            except StoreError as error:
                failed.append(error)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert "stalled" in str(failed[0])
    store.close()


def test_a_session_that_is_silent_in_a_transaction_is_ended_for_those_who_wait_for_it(database: str) -> None:
    """PostgreSQL's own limit is switched off here: it does not count after a Flush, which psycopg's pipeline sends."""
    limits = replace(SHORT, idle_s=0.2, answer_s=9, lock_s=8)
    store, other = Store(database, limits), Store(database, limits)
    with pytest.raises(StoreError):
        _hold_and_wait(store, other)
    assert select_one(store) == 1
    for one in (store, other):
        one.close()


def _hold_and_wait(store: Store, other: Store) -> None:
    """Hold a lock in silence while another one waits for it, until that one has it."""
    served: list[object] = []

    def wait() -> None:
        with other.write() as connection:
            other.lock_names(connection, ["x"])
        served.append(1)

    with store.write() as connection:
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        store.lock_names(connection, ["x"])
        assert other.free_locks() == 0  # nobody waits
        thread = threading.Thread(target=wait)
        thread.start()
        while thread.is_alive():
            other.free_locks()
        assert served == [1]
        connection.execute(sa.select(1))


# ---- two collectors, one is cut off ----


@pytest.fixture
def pair(database: str) -> Iterator[tuple[World, World, DroppingProxy]]:
    """Two collectors on one database. The first reaches it through the proxy."""
    with proxied(database) as (proxy, url):
        first = World(url, limits=SHORT)
        second = World(database, clock=first.clock, told=first.told, seqs=first.seqs)
        yield first, second, proxy
        first.close()
        second.close()


@pytest.mark.parametrize("commit", [1, 2])
def test_a_collector_that_is_cut_off_in_a_transaction_does_not_block_the_other(
    pair: tuple[World, World, DroppingProxy], commit: int
) -> None:
    """The first commit is that of the journal, the second that of the incidents: both hold locks of the agent."""
    first, second, proxy = pair
    second.push(second.verdict(Level.OK))
    body = first.body(first.verdict(Level.CRITICAL))
    commits: list[object] = []

    def cut(_connection: sa.Connection) -> None:
        commits.append(1)
        if len(commits) == commit:
            proxy.silence()

    sa.event.listen(first.store.engine, "commit", cut)
    with contextlib.suppress(StoreError):
        first.deliver(body)
    assert len(commits) >= commit
    assert second.deliver(body) == 2  # it waits until the server has ended the session of the first, not for ever
    second.clock.advance(11)
    second.journal.turn([])  # what the first had journalled
    second.beat()
    assert [(one.person, one.rung) for one in second.told] == [("day", "duty")]
    proxy.resume()
    assert first.deliver(body) == 2  # a replay
    first.beat()
    assert len(first.told) == 1


def test_a_collector_that_is_cut_off_while_idle_answers_and_comes_back(
    pair: tuple[World, World, DroppingProxy],
) -> None:
    first, second, proxy = pair
    proxy.silence()
    body = first.body(first.verdict(Level.CRITICAL))
    with pytest.raises(StoreError):
        first.deliver(body)
    assert second.deliver(body) == 1
    proxy.resume()
    assert first.deliver(body) == 1
    assert len(second.told) == 1


# ---- what the database refuses for now is kept ----

BREAKS = {
    "a table is missing": ("ALTER TABLE journal RENAME TO gone", "ALTER TABLE gone RENAME TO journal"),
    "a column is missing": ("ALTER TABLE lane RENAME gaps TO gone", "ALTER TABLE lane RENAME gone TO gaps"),
    "the schema is missing": ("ALTER SCHEMA public RENAME TO gone", "ALTER SCHEMA gone RENAME TO public"),
    "a newer schema wants more": ("ALTER TABLE journal ADD more int NOT NULL", "ALTER TABLE journal DROP more"),
    "it is read-only": ("SET default_transaction_read_only = on", "SET default_transaction_read_only = off"),
    "the right is missing": ("REVOKE INSERT ON journal FROM app", "GRANT INSERT ON journal TO app"),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_trouble_of_the_server_is_no_fault_of_the_push(database: str, broken: str) -> None:
    admin = World(database)
    _grant(admin.store)
    world = World(database.replace("watchkeeper@", "app@"), clock=admin.clock, told=admin.told, seqs=admin.seqs)
    body = world.body(world.verdict(Level.CRITICAL))
    breaking, mending = BREAKS[broken]
    where = world if "read_only" in breaking else admin  # a setting of the session itself
    _run(where.store, breaking)
    answer = None
    with contextlib.suppress(StoreError):
        answer = world.deliver(body)
    if answer is not None:
        assert isinstance(answer, StoreError)
        assert not isinstance(answer, StoreRefused)
    _run(where.store, mending)
    assert world.deliver(body) == 1
    assert [one.rung for one in world.told] == ["duty"]
    assert world.journal.faults == 0
    for one in (world, admin):
        one.close()


@pytest.mark.parametrize("table", ["incident", "trouble", "rung", "outbox", "transition"])
def test_pushes_wait_in_their_order_while_a_table_is_missing(database: str, table: str) -> None:
    world = World(database)
    world.push(world.verdict(Level.OK))
    _run(world.store, f"ALTER TABLE {table} RENAME TO gone")
    for level in (Level.CRITICAL, Level.OK, Level.CRITICAL):
        body = world.body(world.verdict(level))
        with contextlib.suppress(StoreError):
            world.deliver(body)
    _run(world.store, f"ALTER TABLE gone RENAME TO {table}")
    world.journal.turn([])
    world.beat()
    assert (world.journal.waiting, world.journal.faults) == (0, 0)
    assert [one.open for one in world.incidents()] == [True]
    with world.store.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(journal)).scalar() == 0
        assert connection.execute(sa.select(agent.c.agent)).scalars().all() == ["room-1"]
        connection.execute(sa.select(tally)).all()
    world.close()


def _grant(store: Store) -> None:
    with store.write() as connection:
        connection.exec_driver_sql("DROP ROLE IF EXISTS app")
        connection.exec_driver_sql("CREATE ROLE app LOGIN")
        connection.exec_driver_sql("GRANT ALL ON ALL TABLES IN SCHEMA public TO app")
        connection.exec_driver_sql("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO app")


def _run(store: Store, statement: str) -> None:
    with store.write() as connection:
        connection.exec_driver_sql(statement)
