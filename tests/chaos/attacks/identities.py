"""A store or a spool that is set back, deleted or swapped; two agents of one name; copies of one. The collector and the agents
are the real ones, on real files, in one process and on a fake clock."""

import json
import random
import shutil
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from tests.chaos.outcome import Attack, Outcome
from tests.story.world import World
from watchkeeper.agent.push.pusher import Pusher
from watchkeeper.agent.spool.spool import Limits, Spool
from watchkeeper.collector.intake.processes.sessions import TwinAgent
from watchkeeper.collector.intake.sequences import StaleEpoch, UnknownBlocks
from watchkeeper.collector.intake.turns import Waiting
from watchkeeper.collector.process.upkeep.set_back import HeldMessages, after_restore, begin
from watchkeeper.collector.store.backups.folder import backup
from watchkeeper.collector.store.backups.restore import restore
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.life.identity import beside, next_turn
from watchkeeper.collector.store.schema import agent_session, incident
from watchkeeper.model.batch import STANDING, Answer, Bundle, Lane, Push, Request
from watchkeeper.model.errors import PushLater, PushStale, PushUndeclared, StoreError
from watchkeeper.model.verdict import ActiveVerdicts, Evidence, Level, Verdict
from watchkeeper.model.wire import decode_push, encode_push

Harm = dict[str, int]
AGENT, DEVICE, RULE = "room-1", "sensor-1", "environment.temperature"


class Direct:
    """The collector of a world, as an agent's pusher sees it."""

    def __init__(self, world: World, address: str) -> None:
        self._world, self._address = world, address

    def push(self, push: Push, items: Sequence[str]) -> Answer:
        """As `Uplink.push`."""
        body, now = encode_push(push, items).encode(), self._world.clock.wall()
        answers: list[object] = []
        journal = self._world.journal
        journal.turn([Waiting(decode_push(json.loads(body), now), body, now, answers.append, self._address)])
        (answer,) = answers
        if isinstance(answer, StaleEpoch):
            raise PushStale(str(answer))
        if isinstance(answer, UnknownBlocks):
            raise PushUndeclared(str(answer), answer.blocks)
        if isinstance(answer, TwinAgent):
            raise PushLater(str(answer), answer.retry_after_s)
        if not isinstance(answer, int):
            raise PushLater(str(answer))
        asked = (Request(STANDING),) if push.agent in journal.standing.wanted else ()
        told = journal.standing.identity
        assert told
        return Answer(push.lane, answer, "", asked, told.identity, told.generation)

    def bundle(self, _version: str) -> Bundle | None:
        """As `Uplink.bundle`; there is none."""
        return None


class AgentProcess:
    """Spool and pusher of an agent process. Each event is a fault of its own. `bad` are the faults that stand."""

    def __init__(self, world: World, spool: Path, name: str, bad: dict[str, Verdict] | None = None) -> None:
        self.world = world
        self.spool = Spool(spool, Limits(), world.clock, "boot-1")
        self.bad = {} if bad is None else bad
        self.given: list[str] = []
        self.pusher = Pusher(
            self.spool, Direct(world, name), world.clock, AGENT, on_bundle=lambda _: None, on_request=self._asked,
            session=f"{name} pid 1 {uuid.uuid4().hex[:8]}", chance=lambda: 0.5,
        )  # fmt: skip

    def _asked(self, request: Request) -> None:
        if request.kind == STANDING:
            self.spool.add_events([ActiveVerdicts(self.world.clock.boot(), tuple(self.bad.values()))], {})
            self.spool.flush()

    def judge(self, level: Level, device: str = DEVICE, instance: str | None = None) -> Verdict:
        """A change of verdict, into the spool."""
        now = self.world.clock.boot()
        evidence = Evidence("temperature.ambient", 24.5, "outside 21 to 23 °C", "", 24.1, now - 60)
        mine = uuid.uuid4().hex if instance is None else instance
        made = Verdict(uuid.uuid4().hex, device, RULE, mine, level, now, evidence)
        self.spool.add_events([made], {})
        self.spool.flush()
        self.given.append(made.id)
        self.bad.pop(device + mine, None)
        if level.bad:
            self.bad[device + mine] = made
        return made

    def step(self, seconds: float = 1.0) -> None:
        """Push what is due, some time later."""
        self.world.clock.advance(seconds)
        self.pusher.step()
        self.spool.flush()

    def waiting(self) -> set[str]:
        """The events that wait in the spool."""
        return {json.loads(text).get("id", "") for text in self.spool.batch(Lane.EVENTS, 10_000, 10**9).items}


def _world(folder: Path) -> World:
    made = World(f"sqlite:///{folder / 'collector.db'}")
    begin(made.store, beside(made.store), made.clock.wall())
    return made


def _live_on(world: World) -> None:
    now = next_turn(world.store)
    assert now
    beside(world.store).write_mark(now)


def _kept(world: World) -> set[str]:
    with world.store.read() as connection:
        return set(connection.execute(sa.select(incident.c.verdict_id)).scalars())


# ---- stores ----


def _restored_copy(chance: random.Random, folder: Path) -> Harm:
    return _set_back(chance, folder, by_backup=False)


def _restored_backup(chance: random.Random, folder: Path) -> Harm:
    return _set_back(chance, folder, by_backup=True)


def _set_back(chance: random.Random, folder: Path, *, by_backup: bool) -> Harm:
    """Faults before and after the copy, ends after it; then the copy is put back."""
    world = _world(folder)
    agent = AgentProcess(world, folder / "agent" / "spool.db", "a")
    agent.judge(Level.CRITICAL, "sensor-1", "")
    agent.step()
    world.beat()
    world.advance(chance.choice((0.5, 11.0)))
    _live_on(world)
    if by_backup:
        backup(world.store, folder / "kept.zip", world.clock.wall())
    world.store.close()
    copy = (folder / "collector.db").read_bytes()
    world.store = Store(world.url)
    world.start()
    if over := chance.random() < 0.7:
        agent.judge(Level.OK, "sensor-1", "")
    if begins := chance.random() < 0.7:
        agent.judge(Level.WARNING, "web-1", "")
    agent.step()
    world.advance(3)
    _live_on(world)
    _put_back(world, folder, None if by_backup else copy, chance.choice((20.0, 900.0, 90_000.0)))
    about = _paged_after(world, agent, chance.choice((0.1, 1.5)))
    agent.spool.close()
    world.close()
    return {
        "paged_for_nothing": int(over and "sensor-1" in about),
        "hidden": int(begins and "web-1" not in about) + int(not over and "sensor-1" not in about),
    }


def _put_back(world: World, folder: Path, copy: bytes | None, after_s: float) -> None:
    """Put back the copy, or restore the backup (None), and start."""
    world.close()
    for name in ("collector.db", "collector.db-wal", "collector.db-shm"):
        (folder / name).unlink(missing_ok=True)
    world.clock.advance(after_s)
    if copy is not None:
        (folder / "collector.db").write_bytes(copy)
    world.store = Store(world.url)
    if copy is None:
        files, now, seen = beside(world.store), world.clock.wall(), []
        restore(
            world.store, folder / "kept.zip",
            then=lambda connection: seen.append(after_restore(world.store, connection, files, now, keep_tokens=True)[0]),
        )  # fmt: skip
        files.write_mark(seen[0])
    begin(world.store, beside(world.store), world.clock.wall())
    world.start()


def _paged_after(world: World, agent: AgentProcess, away_min: float) -> set[str]:
    """The devices that somebody is paged about from now on. The agent comes back after some time."""
    known, held = len(world.told), HeldMessages(world.store)
    world.beat()
    world.advance(away_min)
    for _ in range(3):
        agent.step(16)
        held.look(world.clock.wall())
        world.beat()
    world.advance(12)
    pages = [one for one in world.told[known:] if one.kind in ("page", "returned", "on-site")]
    return {str(one.message.facts["device"]) for one in pages}


def _lost_file(chance: random.Random, folder: Path) -> Harm:
    """The store's file is removed or replaced under the collector. No push is answered 200; all is there after the repair."""
    world = _world(folder)
    agent = AgentProcess(world, folder / "agent" / "spool.db", "a")
    agent.step()
    file, aside = folder / "collector.db", folder / "aside.db"
    if chance.random() < 0.5:
        shutil.copy(file, folder / "other.db")
        file.rename(aside)
        (folder / "other.db").rename(file)
    else:
        file.rename(aside)
    for _ in range(chance.randint(1, 5)):
        agent.judge(Level.WARNING)
    believed = 0
    for _ in range(3):
        try:
            agent.step(20)
        except StoreError:
            continue
        believed += len(agent.given) - len(agent.waiting())
    world.store.close()
    aside.replace(file)
    world.store = Store(world.url)
    world.start()
    for _ in range(6):
        agent.step(70)
    lost = set(agent.given) - _kept(world)
    agent.spool.close()
    world.close()
    return {"lost": len(lost) + believed}


# ---- agents ----


def _twins(chance: random.Random, folder: Path) -> Harm:
    """Two agents with one token, each with a spool of its own."""
    return _two_agents(chance, folder, copied=False)


def _clones(chance: random.Random, folder: Path) -> Harm:
    """A copy of the spool runs somewhere else, with the same epoch."""
    return _two_agents(chance, folder, copied=True)


def _two_agents(chance: random.Random, folder: Path, *, copied: bool) -> Harm:
    world = _world(folder)
    first = AgentProcess(world, folder / "first" / "spool.db", "first")
    for _ in range(chance.randint(1, 4)):
        first.judge(Level.WARNING)
        first.step()
    if chance.random() < 0.5:
        first.judge(Level.WARNING)  # not pushed before the copy is made
    if copied:
        first.spool._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (folder / "second").mkdir()
        shutil.copy(folder / "first" / "spool.db", folder / "second" / "spool.db")
    second = AgentProcess(world, folder / "second" / "spool.db", "second")
    for _ in range(chance.randint(8, 20)):
        one = chance.choice((first, second))
        for _ in range(chance.randint(0, 3)):
            one.judge(Level.WARNING)
        one.step(chance.choice((0.5, 2.0, 8.0)))
    for one in (first, second) * 3:
        one.step(8.0)
    with world.store.read() as connection:
        noticed = bool(connection.execute(sa.select(agent_session.c.twin_at)).scalar())
    survivor, stopped = chance.sample((first, second), 2)
    for _ in range(8):
        survivor.step(30)
    kept = _kept(world)
    lost = set(survivor.given) - kept | set(stopped.given) - kept - stopped.waiting()
    for one in (first, second):
        one.spool.close()
    world.close()
    return {"lost": len(lost), "hidden": int(not noticed)}


def _set_back_agent(chance: random.Random, folder: Path) -> Harm:
    """The agent's spool is restored from a copy while it is stopped."""
    world = _world(folder)
    file, copy = folder / "agent" / "spool.db", folder / "copy.db"
    agent = AgentProcess(world, file, "a")
    for _ in range(chance.randint(1, 3)):
        agent.judge(Level.WARNING)
        agent.step()
    agent.spool.close()
    shutil.copy(file, copy)
    given = list(agent.given)
    with closing(AgentProcess(world, file, "b").spool) as _:
        pass
    later = AgentProcess(world, file, "c")
    for _ in range(chance.randint(0, 5)):
        later.judge(Level.WARNING)
        later.step()
    later.spool.close()
    shutil.copy(copy, file)
    again = AgentProcess(world, file, "d")
    for _ in range(chance.randint(1, 8)):
        again.judge(Level.WARNING)
    for _ in range(8):
        again.step(30)
    lost = {*given, *later.given, *again.given} - _kept(world)
    again.spool.close()
    world.close()
    return {"lost": len(lost)}


def _lost_spool(chance: random.Random, folder: Path) -> Harm:
    """The spool's file, or its folder, is removed or replaced under the running agent."""
    world = _world(folder)
    place = folder / "agent"
    agent = AgentProcess(world, place / "spool.db", "a")
    for turn in range(chance.randint(2, 5)):
        for _ in range(chance.randint(1, 4)):
            agent.judge(Level.WARNING)
        how = chance.choice(("file", "folder", "moved", "replaced"))
        if how == "file":
            (place / "spool.db").unlink()
        elif how == "folder":
            shutil.rmtree(place)
        elif how == "moved":
            place.rename(folder / f"moved-{turn}")
        else:
            (place / "other.db").write_bytes(b"no spool")
            (place / "other.db").replace(place / "spool.db")
        for _ in range(chance.randint(0, 3)):
            agent.judge(Level.WARNING)
        if chance.random() < 0.5:
            agent.step()
        agent.spool.flush()
    agent.spool.close()
    again = AgentProcess(world, place / "spool.db", "a")
    for _ in range(4):
        again.step(30)
    lost = set(agent.given) - _kept(world)
    again.spool.close()
    world.close()
    return {"lost": len(lost)}


def _attack(name: str, what: str, once: Callable[[random.Random, Path], Harm], note: str = "") -> Attack:
    def run(rounds: int, seed: int, folder: Path) -> Outcome:
        survived, harm = 0, dict.fromkeys(("lost", "doubled", "paged_for_nothing", "hidden"), 0)
        for number in range(rounds):
            place = folder / str(number)
            place.mkdir(parents=True)
            found = once(random.Random(f"{seed} {number}"), place)  # noqa: S311 -- must be repeatable, and is no secret
            survived += not any(found.values())
            harm = {kind: count + found.get(kind, 0) for kind, count in harm.items()}
        return Outcome(rounds, survived, **harm, note=note)

    return Attack(name, what, run)


ATTACKS = (
    _attack("restore-copy", "A copy of the SQLite file is put back while the collector is stopped", _restored_copy),
    _attack("restore-backup", "A backup is restored; faults began and ended since", _restored_backup),
    _attack("store-lost", "The SQLite file is removed or replaced under the running collector", _lost_file),
    _attack("twins", "Two agents push with one token, in turn", _twins),
    _attack("clones", "A copy of a running agent's spool pushes under the same epoch, in turn", _clones),
    _attack("agent-set-back", "An agent's spool is restored from an older copy", _set_back_agent),
    _attack("spool-lost", "The spool or its folder is removed or replaced under the running agent", _lost_spool),
)
