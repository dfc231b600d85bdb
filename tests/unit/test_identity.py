"""A store that was set back, emptied or swapped, and two agents of one name: what the collector and the agent decide."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.story.world import World
from watchkeeper.agent.push.known_store import KnownStore, from_note, to_note
from watchkeeper.collector.access import tokens
from watchkeeper.collector.access.tokens import TokenKind
from watchkeeper.collector.intake.processes.sessions import TwinAgent
from watchkeeper.collector.intake.sequences import StaleEpoch
from watchkeeper.collector.process.own.of_agents.twins import TwinAgents
from watchkeeper.collector.process.upkeep.set_back import HeldMessages, after_restore, begin
from watchkeeper.collector.store.backups.folder import backup
from watchkeeper.collector.store.backups.restore import restore
from watchkeeper.collector.store.clock.pending import move_pending
from watchkeeper.collector.store.engine import SKIPPED_NUMBERS, Store
from watchkeeper.collector.store.life.awaited import await_agents, awaited_agents
from watchkeeper.collector.store.life.identity import Beside, StoreIdentity, beside, next_turn
from watchkeeper.collector.store.schema import agent_session, awaited, outbox, receipt
from watchkeeper.model.batch import Answer, Lane
from watchkeeper.model.errors import StoreError
from watchkeeper.model.reading import Series
from watchkeeper.model.verdict import Event, Level


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(f"sqlite:///{tmp_path / 'collector.db'}")
    begin(made.store, beside(made.store), made.clock.wall())
    yield made
    made.close()


def push(world: World, *events: Event, **origin: object) -> object:
    """Push these events with the optional members of a push."""
    body = json.loads(world.body(*events)) | origin
    return world.deliver(json.dumps(body).encode())


def heartbeat(world: World, session: str, *previous: str, epoch: str = "", turn: int = 1) -> object:
    return push(world, session=session, previous=list(previous), turn=turn, epoch=epoch or world.epoch)


# ---- one identity, one session ----


def test_the_second_of_two_agents_is_refused_and_keeps_its_data_until_the_first_is_silent(world: World) -> None:
    assert heartbeat(world, "one") == 0
    world.clock.advance(14)
    refused = heartbeat(world, "two", epoch="another")
    assert isinstance(refused, TwinAgent)
    assert "`one`" in str(refused)
    assert "`two`" in str(refused)
    assert heartbeat(world, "one", turn=2) == 0
    world.clock.advance(29)
    assert isinstance(heartbeat(world, "two", epoch="another"), TwinAgent)
    world.clock.advance(1)
    assert heartbeat(world, "two", epoch="another") == 0, "a reinstalled agent has the name after two intervals"
    assert isinstance(heartbeat(world, "one", turn=3), TwinAgent)


def test_a_restart_on_the_same_spool_is_never_refused(world: World) -> None:
    heartbeat(world, "one")
    assert heartbeat(world, "two", "one") == 0
    assert heartbeat(world, "four", "one", "two", "three") == 0, "three was killed before anybody heard of it"


def test_a_copy_of_a_running_agent_is_found_out_and_neither_loses_an_event(world: World) -> None:
    push(world, world.verdict(Level.WARNING), session="one", turn=1)
    assert heartbeat(world, "copy", "one") == 1, "it seems to follow the first"
    push(world, world.verdict(Level.CRITICAL), session="copy", turn=2)
    refused = heartbeat(world, "one", turn=2)
    assert isinstance(refused, StaleEpoch), "seq 2 of the first would pass for a replay of the copy's"
    assert heartbeat(world, "one", turn=3, epoch="new") == 0
    assert isinstance(heartbeat(world, "copy", "one", turn=3), TwinAgent), "the older one has the name again"
    world.clock.advance(40)
    assert heartbeat(world, "copy", "one", turn=4, epoch="its own") == 0


def test_a_process_that_was_set_back_begins_a_new_epoch(world: World) -> None:
    push(world, world.verdict(Level.WARNING), session="one", turn=5)
    assert heartbeat(world, "one", turn=5) == 1, "the same push twice is a replay"
    assert isinstance(heartbeat(world, "one", turn=4), StaleEpoch)


def test_agents_without_a_session_are_served_as_before(world: World) -> None:
    assert push(world) == 0
    assert push(world, epoch="second") == 0
    assert push(world, epoch="epoch-1") == 0
    heartbeat(world, "one", epoch="epoch-1")
    assert isinstance(push(world, epoch="third"), TwinAgent)


def test_both_twins_are_named_and_a_reinstallation_is_none(world: World) -> None:
    source = TwinAgents(world.store)
    snapshot = world.runtime.snapshot
    heartbeat(world, "one")
    assert source.values(snapshot, world.clock.boot()) == {Series("room-1", "agent.twin"): "no"}
    heartbeat(world, "two", epoch="another")
    assert source.values(snapshot, world.clock.boot()) == {Series("room-1", "agent.twin"): "no"}, (
        "the first may be gone"
    )
    world.clock.advance(5)
    heartbeat(world, "one", turn=2)
    ((series, value),) = source.values(snapshot, world.clock.boot()).items()
    assert value == "yes"
    assert "one @" in series.label
    assert "two @" in series.label
    world.clock.advance(130)
    assert source.values(snapshot, world.clock.boot()) == {Series("room-1", "agent.twin"): "no"}


# ---- a store that was set back ----


def restart(world: World, folder: Path) -> None:
    """Start again on what is in the file, as the collector does."""
    world.store = Store(world.url)
    begin(world.store, beside(world.store), world.clock.wall())
    world.start()


def copied(world: World) -> bytes:
    """The file with everything in it, while no collector runs."""
    world.store.close()
    data = Path(str(world.store.url.database)).read_bytes()
    world.store = Store(world.url)
    world.start()
    return data


def put_back(world: World, data: bytes) -> None:
    world.close()
    file = Path(str(world.store.url.database))
    for suffix in ("-wal", "-shm"):
        Path(f"{file}{suffix}").unlink(missing_ok=True)
    file.write_bytes(data)


def live_on(world: World) -> None:
    """The collector works on: its turns are remembered beside the store."""
    now = next_turn(world.store)
    assert now
    beside(world.store).write_mark(now)


def test_a_file_that_was_put_back_pages_nobody_for_what_is_over(world: World, tmp_path: Path) -> None:
    push(world, world.verdict(Level.CRITICAL), settled=0)
    assert world.pages() == [(0.0, "day", "duty")]
    data = copied(world)
    world.advance(5)
    push(world, world.verdict(Level.OK), settled=1)
    world.advance(2)
    live_on(world)
    told = world.pages()
    put_back(world, data)
    world.clock.advance(3600)
    restart(world, tmp_path)
    world.advance(1)
    assert world.pages() == told, "the agent has not told yet"
    assert push(world, settled=2) == 1
    assert "room-1" in world.journal.standing.wanted
    world.seqs["room-1", world.epoch] = 2
    push(world, world.standing(), settled=2)
    assert "room-1" not in world.journal.standing.wanted
    world.advance(30)
    assert world.pages("page") == [(0.0, "day", "duty")], "nobody is paged for what is over"


def test_what_stands_is_paged_and_an_agent_that_is_gone_silences_nothing(world: World, tmp_path: Path) -> None:
    push(world, world.verdict(Level.CRITICAL))
    data = copied(world)
    live_on(world)
    put_back(world, data)
    world.clock.advance(1200)
    restart(world, tmp_path)
    world.advance(1.75)
    assert len(world.pages()) == 1
    world.advance(0.5)
    assert {rung for _, _, rung in world.pages()} == {"duty", "owner", "on-site"}, "2 min later, without the agent"


def test_an_ordinary_restart_delays_nothing(world: World, tmp_path: Path) -> None:
    push(world, world.verdict(Level.CRITICAL))
    world.close()
    restart(world, tmp_path)
    world.advance(10)
    assert [rung for _, _, rung in world.pages()] == ["duty", "owner"]
    with world.store.read() as connection:
        assert connection.execute(sa.select(awaited)).all() == []


def test_messages_that_a_restored_store_holds_as_unsent_are_no_news(world: World, tmp_path: Path) -> None:
    world.broken = {"console", "webhook"}
    push(world, world.verdict(Level.CRITICAL))
    push(world, world.verdict(Level.CRITICAL, device="web-1", rule="server.cpu", quantity="cpu.utilisation"))
    with world.store.write() as connection:
        connection.execute(sa.update(outbox), {"state": "pending", "next_at": world.clock.wall()})
        known = after_restore(world.store, connection, beside(world.store), world.clock.wall(), keep_tokens=True)
    world.broken = set()
    held = HeldMessages(world.store)
    assert known[0].generation == 2
    assert held.look(world.clock.wall()) == 0
    world.advance(1)
    assert world.told == []
    push(world, world.standing(world.verdict(Level.CRITICAL)))
    assert held.look(world.clock.wall()) > 0
    world.beat()
    assert {one.message.facts["device"] for one in world.told} == {"sensor-1"}
    with world.store.read() as connection:
        given_up = connection.execute(sa.select(outbox.c.id).where(outbox.c.state == "given-up")).scalars().all()
        reasons = connection.execute(sa.select(receipt.c.detail).where(receipt.c.outbox.in_(given_up))).scalars().all()
    assert any(text.startswith("not sent: the store was set back") for text in reasons)
    assert held.look(world.clock.wall()) == 0


@pytest.mark.parametrize("listed", [True, False])
def test_a_restore_revives_no_token_and_no_session_and_no_number(world: World, tmp_path: Path, listed: bool) -> None:
    now = world.clock.wall()
    push(world, world.verdict(Level.CRITICAL))
    kept, lost = (tokens.mint(world.store, TokenKind.AGENT, name, now) for name in ("room-1", "stolen"))
    session = tokens.mint(world.store, TokenKind.SESSION, "day", now, 3600.0)
    identity = next_turn(world.store)
    assert identity
    backup(world.store, tmp_path / "kept.zip", now)
    target = Store(f"sqlite:///{tmp_path / 'new.db'}")
    files = beside(target)
    if listed:
        files.write_mark(replace(identity, generation=9))
        files.add_revoked(tokens.tokens_of(world.store, TokenKind.AGENT, "stolen"))
    seen: list[tuple[StoreIdentity, int]] = []
    restore(
        target, tmp_path / "kept.zip",
        then=lambda connection: seen.append(after_restore(target, connection, files, now, keep_tokens=False)),
    )  # fmt: skip
    known = tokens.Tokens(target, world.clock)
    assert known.bearer(session) is None
    assert known.bearer(lost) is None
    assert (known.bearer(kept) is not None) is listed, "without a list it cannot be told which were revoked"
    assert seen[0][0].identity == identity.identity
    assert seen[0][0].generation == (10 if listed else 2)
    begun = World(str(target.url))
    begun.epoch = "new"
    push(begun, begun.verdict(Level.CRITICAL, device="web-1", rule="server.cpu", quantity="cpu.utilisation"))
    assert max(one.trouble for one in begun.troubles()) == SKIPPED_NUMBERS + 2
    begun.close()
    target.close()


def test_another_store_in_its_place_is_noticed_at_the_start(world: World, caplog: pytest.LogCaptureFixture) -> None:
    beside(world.store).write_mark(StoreIdentity("f" * 32, 3, 3))
    begin(world.store, beside(world.store), world.clock.wall())
    assert "another one was put in its place" in caplog.text
    with world.store.read() as connection:
        assert [row.agent for row in connection.execute(sa.select(awaited))] == ["collector"]


@pytest.mark.parametrize("how", ["removed", "replaced", "folder"])
def test_a_file_that_is_removed_under_the_collector_is_refused_at_once(world: World, tmp_path: Path, how: str) -> None:
    assert push(world) == 0
    file = tmp_path / "collector.db"
    if how == "removed":
        file.unlink()
    elif how == "replaced":
        (tmp_path / "other.db").write_bytes(file.read_bytes())
        (tmp_path / "other.db").replace(file)
    else:
        tmp_path.rename(tmp_path.with_name(tmp_path.name + "-moved"))
    answers: list[object] = []
    with pytest.raises(StoreError):
        answers.append(push(world))
    assert world.store.file.lost
    with pytest.raises(StoreError, match="removed or replaced"), world.store.read():
        pass
    if how == "folder":
        tmp_path.with_name(tmp_path.name + "-moved").rename(tmp_path)


# ---- the agent's side ----


def answer(through: int = 5, store: str = "a", generation: int = 3) -> Answer:
    return Answer(Lane.EVENTS, through, "", (), store, generation)


def test_the_agent_notices_a_store_that_does_not_have_what_it_had() -> None:
    known = KnownStore("a", 3)
    assert known.doubt(answer(), 5) == ""
    assert known.doubt(answer(generation=4), 5) == ""
    assert "another" in known.doubt(answer(store="b"), 5)
    assert "generation 2" in known.doubt(answer(generation=2), 5)
    assert "up to 4" in known.doubt(answer(through=4), 5)
    assert known.doubt(answer(store="", generation=0), 5) == "", "another collector tells nothing"
    assert KnownStore().doubt(answer(), 5) == "", "the first answer"
    assert known.after(answer(generation=4)) == KnownStore("a", 4)
    assert known.after(answer(generation=2)) is known
    assert known.after(answer(store="b", generation=1)) == KnownStore("b", 1)
    assert from_note(to_note(known)) == known
    assert from_note("?") == from_note("[]") == KnownStore()


def test_the_files_beside_the_store_hold_what_was_written(tmp_path: Path) -> None:
    files = Beside(tmp_path, "s.db")
    assert files.mark() is None
    assert files.revoked() == frozenset()
    files.write_mark(StoreIdentity("a", 1, 2))
    assert files.mark() == StoreIdentity("a", 1, 2)
    files.add_revoked(["x"])
    files.add_revoked(["y"])
    assert files.revoked() == {"x", "y"}
    assert all(file.stat().st_mode & 0o077 == 0 for file in tmp_path.iterdir())
    (tmp_path / "s.db.mark").write_text("broken")
    assert files.mark() is None
    nowhere = Beside(None, "")
    nowhere.write_mark(StoreIdentity("a", 1, 2))
    nowhere.add_revoked(["x"])
    assert (nowhere.mark(), nowhere.revoked()) == (None, frozenset())


def test_who_has_the_name_is_in_the_store(world: World) -> None:
    heartbeat(world, "one")
    with world.store.read() as connection:
        (row,) = connection.execute(sa.select(agent_session)).all()
    assert (row.agent, row.session, row.rival) == ("room-1", "one", "")


def test_who_is_awaited_is_so_for_as_long_when_the_time_is_set(world: World) -> None:
    now = world.clock.wall()
    with world.store.write() as connection:
        await_agents(world.store, connection, ["room-1"], now)
        move_pending(connection, -3600.0, now - 1.0)
        assert awaited_agents(connection, now - 3599.0) == {"room-1"}
