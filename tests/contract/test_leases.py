"""A message in flight at a collector that died: it goes out as soon as a collector of its name starts, or after its lease."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from tests.story.world import World
from watchkeeper.collector.notify.notice import LEASE_S
from watchkeeper.collector.store.schema import outbox
from watchkeeper.model.verdict import Level


@pytest.fixture
def world(store_url: str) -> Iterator[World]:
    made = World(store_url, name="first")
    yield made
    made.close()


def die_while_sending(world: World) -> None:
    """Claim the page of a fault, and send nothing."""
    world.outbox.deliver = lambda: 0  # type: ignore[method-assign]
    world.push(world.verdict(Level.CRITICAL))
    assert [claim.row.person for claim in world.outbox.claim()] == ["day"]
    assert world.told == []


def owners(world: World) -> list[str | None]:
    with world.store.read() as connection:
        return list(connection.execute(sa.select(outbox.c.leased_by)).scalars())


def test_it_goes_out_when_the_same_collector_starts_again(world: World) -> None:
    die_while_sending(world)
    assert owners(world) == ["first"]
    world.start()
    world.beat()
    assert [(one.minute, one.person) for one in world.told] == [(0.0, "day")]
    assert owners(world) == [None]


def test_another_collector_waits_for_the_end_of_the_lease(world: World) -> None:
    die_while_sending(world)
    world.name = "second"
    world.start()
    world.beat()
    world.clock.advance(LEASE_S - 1)
    world.beat()
    assert world.told == []
    world.clock.advance(2)
    world.beat()
    assert [one.person for one in world.told] == ["day"]


def test_what_is_put_off_after_a_failure_is_not_hurried_by_a_restart(world: World) -> None:
    world.broken = {"console"}
    world.push(world.verdict(Level.CRITICAL))
    assert owners(world) == [None, None]  # the page, and that of the fallback
    with world.store.read() as connection:
        before = connection.execute(sa.select(outbox.c.next_at, outbox.c.attempts)).all()
    world.start()
    world.outbox.take_back()
    with world.store.read() as connection:
        assert connection.execute(sa.select(outbox.c.next_at, outbox.c.attempts)).all() == before


def test_only_the_first_look_takes_messages_back(world: World) -> None:
    world.outbox.take_back()
    die_while_sending(world)
    world.outbox.take_back()  # it is ours, and under way
    assert owners(world) == ["first"]
