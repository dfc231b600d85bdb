"""Pushes that cannot be applied: tried again, set aside, applied too late, dropped."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from tests.contract.test_journal import MORE_AGENTS, count, failing, frames, poisoned, take
from tests.story.world import World
from watchkeeper.collector.intake import journal as module
from watchkeeper.collector.process.apply import apply as genuine
from watchkeeper.collector.process.own.of_agents.pushes import PushesSetAside
from watchkeeper.collector.process.own.rules import OwnRules
from watchkeeper.collector.process.upkeep import set_aside
from watchkeeper.collector.store.retention import delete_expired
from watchkeeper.collector.store.schema import history, journal, latest
from watchkeeper.model.batch import Item, Lane, Push, Tombstone
from watchkeeper.model.errors import StoreError, StoreRefused
from watchkeeper.model.verdict import Level


@pytest.fixture
def world(store_url: str) -> Iterator[World]:
    made = World(store_url)
    yield made
    made.close()


def give_up(world: World, monkeypatch: pytest.MonkeyPatch, *pushes: bytes) -> None:
    """Set these pushes aside."""
    with monkeypatch.context() as patched:
        for module_of in ("apply", "apply_late"):
            patched.setattr(module, module_of, poisoned(StoreRefused("bad")))
        for body in pushes:
            assert isinstance(world.deliver(body), int)
        for _ in range(3 * len(pushes)):
            world.clock.advance(1)
            world.journal.turn([])
    assert len(asides(world)) == len(pushes)


def asides(world: World) -> list[set_aside.SetAside]:
    with world.store.read() as connection:
        return set_aside.listed(connection)


def test_a_push_that_fails_once_for_a_reason_of_its_own_is_applied_in_its_place(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [ValueError("a bug")] * 4  # the group and alone, twice

    def apply(*words: Any) -> Any:
        if left:
            raise left.pop()
        return genuine(*words)

    monkeypatch.setattr(module, "apply", apply)
    world.push(world.verdict(Level.CRITICAL))
    world.push(world.verdict(Level.OK))
    for _ in range(2):
        world.clock.advance(1)
        world.journal.turn([])
    world.advance(1)
    assert [one.kind for one in world.told] == ["passed"]
    assert (world.journal.faults, world.journal.waiting, count(world, journal)) == (0, 0, 0)


def test_a_push_of_another_agent_does_not_wait_behind_one_that_fails(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(store_url, inventory=MORE_AGENTS)
    monkeypatch.setattr(module, "apply", poisoned(ValueError("a bug")))
    world.push(world.verdict(Level.CRITICAL, rule="poison"))
    stone = Push("a1", "e", Lane.EVENTS, 0.0, items=(Item(1, Tombstone(1, 1)),))
    take(world, stone)
    assert (world.journal.waiting, count(world, journal)) == (1, 1)
    world.close()


def test_a_push_that_is_set_aside_is_applied_after_a_restart(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    give_up(world, monkeypatch, world.body(world.verdict(Level.CRITICAL, rule="poison")))
    assert world.told == []
    restart(world)
    assert [one.rung for one in world.told] == ["duty"]  # its agent has said nothing since
    assert asides(world) == []


def restart(world: World) -> None:
    world.start()
    world.journal.try_again(set_aside.IS_SET_ASIDE)
    world.beat()


def test_what_is_applied_too_late_pages_nobody_for_what_is_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    give_up(world, monkeypatch, world.body(world.verdict(Level.CRITICAL, rule="poison")))
    world.clock.advance(700)
    world.push(world.standing())  # the agent reports no fault
    restart(world)
    assert [one.kind for one in world.told] == ["passed"]  # told once, as one that cleared
    assert [one.open for one in world.incidents()] == [False]
    world.advance(90)
    assert len(world.told) == 1


def test_what_is_applied_too_late_changes_nothing_of_what_is_known_since(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = world.verdict(Level.CRITICAL, rule="poison")
    give_up(world, monkeypatch, world.body(poison))
    world.clock.advance(700)
    with monkeypatch.context() as patched:
        patched.setattr(module, "apply", genuine)
        world.push(world.standing(poison))
    before, told = world.incidents(), len(world.told)
    assert [one.open for one in before] == [True]
    restart(world)
    assert (world.incidents(), len(world.told)) == (before, told)
    assert asides(world) == []


def test_readings_that_are_applied_too_late_go_to_the_history_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(module, "apply", failing(ValueError("a bug"), 6))
        take(world, frames(20.0))
        for _ in range(2):
            world.clock.advance(1)
            world.journal.turn([])
        take(world, frames(21.0, first=2))
    restart(world)
    with world.store.read() as connection:
        assert connection.execute(sa.select(latest.c.column)).scalar() == '{"values":[21.0]}'
    assert (count(world, history), count(world, journal)) == (2, 0)


def test_a_person_lets_a_push_be_applied_again_or_drops_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [world.body(world.verdict(Level.CRITICAL, rule=f"poison {n}")) for n in range(3)]
    give_up(world, monkeypatch, *bodies)
    one, two, three = (found.number for found in asides(world))
    with world.store.write() as connection:
        assert set_aside.counted(connection)["room-1"] == set_aside.Counted(3, "StoreRefused: bad")
        assert set_aside.ask_again(connection, [one, 999]) == 1
        assert set_aside.drop(connection, [two], "user:root", "a broken agent", world.clock.wall()) == 1
    world.journal.turn([])
    assert len(asides(world)) == 2  # it is looked for every few seconds
    world.clock.advance(5)
    world.journal.turn([])
    assert [found.number for found in asides(world)] == [three]
    assert [found.rule for found in world.incidents()] == ["poison 0"]
    restart(world)
    assert [found.rule for found in world.incidents()] == ["poison 0", "poison 2"]  # what was dropped is not applied
    with world.store.read() as connection:
        (row,) = connection.execute(sa.select(journal)).all()
    assert (row.id, row.dropped_by, row.dropped_why) == (two, "user:root", "a broken agent")
    delete_expired(world.store, world.clock.wall() + 61 * 86_400, 1.0)
    assert count(world, journal) == 0


def test_pushes_set_aside_are_a_fault_of_their_agent_until_they_are_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.own_rules = OwnRules(world.runtime, [PushesSetAside(world.store)])
    world.look(0.1)
    assert world.incidents() == []
    give_up(world, monkeypatch, world.body(world.verdict(Level.CRITICAL, rule="poison")))
    world.look(0.2)
    (found,) = world.incidents()
    assert (found.device, found.rule, found.level) == ("room-1", "watchkeeper.set-aside", Level.WARNING)
    assert [(one.person, one.rung) for one in world.told] == [("day", "duty")]
    with world.store.write() as connection:
        set_aside.drop(connection, [asides(world)[0].number], "user:root", "no", world.clock.wall())
    world.look(0.2)
    assert [one.open for one in world.incidents()] == [False]


def test_a_group_that_is_too_much_for_the_store_is_halved(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def apply(connection: Any, notifier: Any, arrivals: Any, *rest: Any) -> Any:
        sizes.append(len(arrivals))
        if len(arrivals) > 1:
            raise StoreError("terminating connection due to idle-in-transaction timeout")
        return genuine(connection, notifier, arrivals, *rest)

    monkeypatch.setattr(module, "apply", apply)
    monkeypatch.setattr(module, "GROUP_PUSHES", 4)
    world.journal = module.Journal(world.store, world.runtime, world.clock, lambda: None)
    take(world, *(frames(20.0 + n, first=n) for n in range(1, 5)))
    for _ in range(2):
        world.journal.turn([])
    assert sizes == [4, 2, 1, 1, 1, 1]
    assert count(world, journal) == 0
