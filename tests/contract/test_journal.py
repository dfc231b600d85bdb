"""The journal under faults: a store that refuses, a push that can never be applied, several collectors on one store."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from tests.story.world import INVENTORY, World
from watchkeeper.collector.intake import journal as module
from watchkeeper.collector.intake.journal import Answer, Waiting
from watchkeeper.collector.intake.sequences import BadPush
from watchkeeper.collector.process.apply import apply as genuine
from watchkeeper.collector.process.upkeep import set_aside
from watchkeeper.collector.store import rows, troubles
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import agent, history, journal, lane, latest
from watchkeeper.model.batch import Block, Frame, Item, Lane, Push, Tombstone
from watchkeeper.model.errors import StoreError, StoreFull, StoreRefused
from watchkeeper.model.reading import Series
from watchkeeper.model.verdict import Level
from watchkeeper.model.wire import decode_push, encode_block

MORE_AGENTS = INVENTORY.replace(
    "devices:", "".join(f"  - {{agent: a{n}, owner: olga}}\n" for n in range(6)) + "devices:"
)
BLOCK = Block(1, "sensor-1", "snmp", 15.0, (Series("sensor-1", "temperature.ambient"),))


@pytest.fixture
def world(store_url: str) -> Iterator[World]:
    made = World(store_url)
    yield made
    made.close()


@pytest.fixture
def pair(postgres_url: str) -> Iterator[tuple[World, World]]:
    """Two collectors on one store."""
    server = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE IF EXISTS pair")
        connection.exec_driver_sql("CREATE DATABASE pair")
    server.dispose()
    url = postgres_url.replace("/postgres?", "/pair?")
    first = World(url, inventory=MORE_AGENTS)
    second = World(url, inventory=MORE_AGENTS, clock=first.clock, told=first.told, seqs=first.seqs)
    yield first, second
    first.close()
    second.close()


def frames(*values: float, first: int = 1, declared: bool = True) -> Push:
    items = tuple(Item(first + n, Frame(1, 1_000.0 + n, {"values": [value]})) for n, value in enumerate(values))
    return Push("room-1", "epoch-1", Lane.READINGS, 0.0, blocks=(BLOCK,) if declared else (), items=items)


def take(world: World, *pushes: Push) -> list[Answer]:
    answers: list[Answer] = []
    now = world.clock.wall()
    world.journal.turn([Waiting(push, _body(push), now, answers.append) for push in pushes])
    return answers


def _body(push: Push) -> bytes:
    """The body of a push, as an agent sends it."""
    items = [
        {"seq": seq, "age_s": 0, "block": body.block, **body.columns}
        for seq, body in push.items
        if isinstance(body, Frame)
    ]
    table = {"protocol": 1, "agent": push.agent, "epoch": push.epoch, "lane": push.lane.value, "sent_at": 0.0,
             "blocks": [encode_block(block) for block in push.blocks], "items": items}  # fmt: skip
    return json.dumps(table).encode()


def count(world: World, table: sa.Table) -> int:
    with world.store.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def failing(error: Exception, times: int = 1) -> Callable[..., Any]:
    """A replacement for `apply` that raises `error` so many times."""
    left = times

    def apply(*words: Any) -> Any:
        nonlocal left
        left -= 1
        if left >= 0:
            raise error
        return genuine(*words)

    return apply


def poisoned(error: Exception) -> Callable[..., Any]:
    """A replacement for `apply` that raises `error` for a push about the rule `poison`."""

    def apply(connection: Any, notifier: Any, arrivals: Any, *rest: Any) -> Any:
        if any("poison" in str(arrival.push) for arrival in arrivals):
            raise error
        return genuine(connection, notifier, arrivals, *rest)

    return apply


# ---- one collector ----


def test_a_store_that_refuses_for_some_time_loses_no_push_and_keeps_their_order(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "apply", failing(StoreError("away"), 3))
    monkeypatch.setattr(module, "GROUP_PUSHES", 2)
    assert world.push(world.verdict(Level.CRITICAL)) == 1
    assert take(world, frames(20.0, 21.0)) == [2]
    assert world.journal.waiting == 2
    assert world.push(world.verdict(Level.OK)) == 2
    assert (world.told, world.incidents()) == ([], [])
    world.journal.turn([])
    world.advance(1)
    assert [one.kind for one in world.told] == ["passed"]  # both in one transaction, in order
    assert (count(world, history), count(world, journal), world.journal.faults, world.journal.waiting) == (2, 0, 0, 0)


def test_a_refused_push_does_not_remove_the_blocks_that_pending_pushes_need(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "apply", failing(StoreFull("full"), 2))
    take(world, frames(20.0))
    with monkeypatch.context() as patched:
        patched.setattr(module.Journal, "_insert", failing(StoreFull("full")))
        (answer,) = take(world, frames(21.0, first=2))
    assert isinstance(answer, StoreFull)
    world.journal.turn([])
    assert (count(world, latest), count(world, journal), world.journal.faults) == (1, 0, 0)
    assert take(world, frames(21.0, first=2, declared=False)) == [2]


def test_only_a_push_that_the_store_can_never_accept_is_refused_permanently(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    stone = Item(5, Tombstone(1, 2**80))
    poison = Push("room-1", "epoch-2", Lane.READINGS, 0.0, items=(stone,))
    good, bad, also_good = take(world, frames(20.0), poison, frames(21.0, first=2, declared=False))
    assert (good, also_good) == (1, 2)
    assert isinstance(bad, BadPush)
    assert "cannot be journalled" in caplog.text
    assert count(world, history) == 2
    assert count(world, lane) == 1


def test_a_push_whose_sender_has_disconnected_is_still_applied(world: World) -> None:
    body = world.body(world.verdict(Level.CRITICAL))

    def gone(_: Answer) -> None:
        raise RuntimeError("the loop is closed")

    push = decode_push(json.loads(body), world.clock.wall())
    with pytest.raises(RuntimeError):
        world.journal.turn([Waiting(push, body, world.clock.wall(), gone)])
    world.journal.turn([])
    assert [one.open for one in world.incidents()] == [True]


def test_a_lost_race_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "apply", failing(StoreRefused("unique"), 1))
    world.push(world.verdict(Level.CRITICAL))
    assert [one.rung for one in world.told] == ["duty"]
    assert world.journal.faults == 0


def test_a_push_that_can_never_be_applied_does_not_block_later_pushes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "apply", poisoned(StoreRefused("value\0too long")))
    world.push(world.verdict(Level.CRITICAL, rule="poison"))
    world.push(world.verdict(Level.CRITICAL))
    assert world.incidents() == []  # the second waits behind the first, which is tried again
    assert world.journal.waiting == 2
    for _ in range(2):
        world.clock.advance(1)
        world.journal.turn([])
    assert [one.rule for one in world.incidents()] == ["environment.temperature"]
    with world.store.read() as connection:
        (aside,) = set_aside.listed(connection)
    assert (aside.agent, aside.fault) == ("room-1", "StoreRefused: valuetoo long")
    world.start()  # also after a restart
    assert (world.journal.faults, world.journal.waiting) == (0, 0)
    assert len(world.incidents()) == 1


def test_an_unreadable_row_does_not_prevent_the_collector_from_starting(world: World) -> None:
    left = [b"\x00nonsense", b'{"protocol": 7}', world.body(world.verdict(Level.CRITICAL))]
    with world.store.write() as connection:
        for body in left:
            row = {
                "agent": "room-1",
                "received_at": world.clock.wall() + 9e9,
                "after_seq": 0,
                "body": body,
                "fault": None,
            }
            connection.execute(sa.insert(journal), row)
    world.start()
    assert [one.open for one in world.incidents()] == [True]
    assert world.journal.faults == 2
    world.start()
    assert count(world, journal) == 2


def test_readings_waiting_in_the_spool_do_not_hold_a_ladder(world: World) -> None:
    take(world, replace(frames(20.0), more=True))
    world.push(world.verdict(Level.WARNING, rule="environment.humidity"))
    take(world, replace(frames(20.0, first=2), more=True))
    world.push(world.verdict(Level.CRITICAL))
    assert len(world.told) == 2


def test_recovery_applies_more_than_one_group(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GROUP_PUSHES", 2)
    with world.store.write() as connection:
        for number in range(5):
            body = world.body(world.verdict(Level.CRITICAL, rule=f"rule-{number}"))
            row = {"agent": "room-1", "received_at": world.clock.wall(), "after_seq": 0, "body": body, "fault": None}
            connection.execute(sa.insert(journal), row)
    world.journal.recover()
    assert len(world.incidents()) == 5
    assert count(world, journal) == 0


def test_a_refused_push_is_not_a_heartbeat_and_changes_nothing(world: World) -> None:
    world.push(world.verdict(Level.OK))
    with world.store.read() as connection:
        before = connection.execute(sa.select(agent)).all(), connection.execute(sa.select(lane)).all()
    world.clock.advance(100)
    (answer,) = take(world, frames(20.0, declared=False))
    assert isinstance(answer, Exception)
    with world.store.read() as connection:
        assert (connection.execute(sa.select(agent)).all(), connection.execute(sa.select(lane)).all()) == before


# ---- several collectors ----


def test_pushes_journalled_earlier_by_another_collector_are_applied_first_with_their_blocks(
    pair: tuple[World, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = pair
    second.push(second.verdict(Level.OK))  # so that it has this epoch's blocks in its cache
    with monkeypatch.context() as patched:
        patched.setattr(module, "apply", failing(StoreError("dies here"), 2))
        take(first, frames(20.0))
        first.push(first.verdict(Level.CRITICAL))
    assert second.push(second.verdict(Level.OK)) == 3
    second.advance(1)
    assert [one.kind for one in second.told] == ["passed"]
    assert (count(second, history), count(second, journal), second.journal.faults) == (1, 0, 0)
    first.journal.turn([])  # it continues, and has nothing left to do
    assert (first.journal.faults, count(first, history)) == (0, 1)


def test_a_bad_push_of_another_collector_is_set_aside_and_ours_are_applied(
    pair: tuple[World, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = pair
    with monkeypatch.context() as patched:
        patched.setattr(module, "apply", failing(StoreError("dies here")))
        first.push(first.verdict(Level.CRITICAL, rule="poison"))

    monkeypatch.setattr(module, "apply", poisoned(ValueError("a bug")))
    second.push(second.verdict(Level.CRITICAL))
    for _ in range(2):
        second.clock.advance(1)
        second.journal.turn([])
    assert [one.rule for one in second.incidents()] == ["environment.temperature"]
    assert second.journal.faults == 1


def test_pushes_of_a_dead_collector_are_applied_by_another_within_seconds(
    pair: tuple[World, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = pair
    with monkeypatch.context() as patched:
        patched.setattr(module, "apply", failing(StoreError("dies here")))
        first.push(first.verdict(Level.CRITICAL))
    second.clock.advance(11)
    second.journal.turn([])
    second.beat()
    assert [one.rung for one in second.told] == ["duty"]


def test_the_first_push_of_a_lane_sent_to_two_collectors_counts_once(pair: tuple[World, World]) -> None:
    answers: dict[int, list[Answer]] = {}
    barrier = threading.Barrier(2)

    def send(number: int) -> None:
        barrier.wait()
        answers[number] = take(pair[number], frames(20.0, 21.0))

    _at_once(lambda: send(0), lambda: send(1))
    assert answers == {0: [2], 1: [2]}
    for world in pair:
        world.journal.turn([])
    assert count(pair[0], history) == 2


def test_collectors_that_accept_pushes_of_the_same_agents_do_not_deadlock(
    pair: tuple[World, World],
) -> None:
    names = [f"a{n}" for n in range(6)]
    trouble: list[object] = []

    def send(world: World, order: list[str], lane_of: Lane) -> None:
        for turn in range(1, 31):
            pushes = [Push(name, lane_of, lane_of, 0.0, items=(Item(turn, Tombstone(turn, 1)),)) for name in order]
            trouble.extend(answer for answer in take(world, *pushes) if answer != turn)
            trouble.extend(range(world.journal.waiting))

    _at_once(lambda: send(pair[0], names, Lane.EVENTS), lambda: send(pair[1], names[::-1], Lane.READINGS))
    assert trouble == []


def test_an_action_waits_while_a_push_of_its_incident_is_applied(pair: tuple[World, World]) -> None:
    world = pair[0]
    world.push(world.verdict(Level.CRITICAL))
    (known,) = world.incidents()
    holds: list[Callable[[sa.Connection], object]] = [
        lambda connection: rows.lock_latest_incidents(connection, [known.key]),
        rows.lock_open_incidents,
        lambda connection: rows.incident_by_number(connection, 1, lock=True),
    ]
    for hold in holds:
        with world.store.write() as connection:
            hold(connection)
            _is_locked(pair[1].store, "SELECT * FROM incident FOR UPDATE NOWAIT")
    with world.store.write() as connection:
        troubles.by_number(connection, [1], lock=True)
        _is_locked(pair[1].store, "SELECT * FROM trouble FOR UPDATE NOWAIT")
        troubles.rungs_of(connection, [1], lock=True)
        _is_locked(pair[1].store, "SELECT * FROM rung FOR UPDATE NOWAIT")


def _is_locked(store: Store, query: str) -> None:
    with pytest.raises(StoreError, match="could not obtain lock"), store.write() as connection:
        connection.exec_driver_sql(query)


def _at_once(*jobs: Callable[[], object]) -> None:
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
