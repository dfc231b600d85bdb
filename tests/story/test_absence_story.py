"""A part that is gone, the whole way: read, missed, paged, confirmed by a person, and ended with that reason."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.agent_room import device
from tests.story.world import World
from watchkeeper.agent.pipeline import Pipeline
from watchkeeper.agent.spool.spool import Limits, Spool
from watchkeeper.collector.intake.requests import Requests
from watchkeeper.collector.policy.incidents import IncidentState
from watchkeeper.collector.process import removals
from watchkeeper.collector.process.actions import NotFound
from watchkeeper.collector.store import rows
from watchkeeper.model.batch import Lane, Push
from watchkeeper.model.device import Category
from watchkeeper.model.errors import Conflict
from watchkeeper.model.reading import Missing, Reason, Series, Sweep, Value
from watchkeeper.model.verdict import Level
from watchkeeper.model.wire import decode_answer, encode_push
from watchkeeper.rules.judge import Judge
from watchkeeper.rules.load import load_rules, shipped

pytestmark = pytest.mark.usefixtures("one_thread")

SENSOR = device("sensor-1", category=Category.ENV, probe="snmp", address="10.0.0.9", every_s=15.0)
AMBIENT = "temperature.ambient"
BARE = (Series("sensor-1", "device.answering"),)
ALL = (*BARE, *(Series("sensor-1", AMBIENT, name, f"Rack {name}", f"1.3.{name}") for name in "1234567"))
SIX = ALL[:-1]
NOT_THERE = Missing(Reason.ABSENT, "the device does not answer for it")


class Agent:
    """An agent's judge, spool and pipeline in front of the world's collector. It pushes after each sweep, and carries out
    what the answers ask."""

    def __init__(self, world: World, file: Path) -> None:
        self.world, self.clock, self.file = world, world.clock, file
        self.requests = Requests(world.store, world.clock)
        self.answers = True
        self.start()

    def start(self) -> None:
        self.spool = Spool(self.file, Limits(), self.clock, "boot-1")
        judge = Judge(self.spool.states(), parts=self.spool.parts())
        self.pipeline = Pipeline(self.spool, judge, self.clock, lambda: None)
        self.pipeline.activate(load_rules(shipped()), [SENSOR])

    async def restart(self) -> None:
        await self.pipeline.close()
        self.spool.close()
        self.start()

    async def read(self, series: tuple[Series, ...], *values: Value, minutes: float, answering: str = "yes") -> None:
        """Read the device every 15 seconds for so long. Values that are not given are 22 °C."""
        shown = (*values, *[22.0] * (len(series) - 1 - len(values)))
        for _ in range(int(minutes * 4)):
            self.world.advance(0.25)
            self.pipeline.add(SENSOR, Sweep("sensor-1", self.clock.boot(), series, (answering, *shown)))
            self.push()
            await asyncio.sleep(0)

    def push(self) -> None:
        assert self.spool.flush()
        for lane in Lane:
            batch = self.spool.batch(lane, 1000, 10**6)
            body = encode_push(Push("room-1", batch.epoch, lane, self.clock.wall(), blocks=batch.blocks), batch.items)
            assert isinstance(self.world.deliver(body.encode()), int)
            self.spool.settle(batch, batch.through)
        self.requests.refresh()
        asked = {"lane": "events", "through": 0, "requests": self.requests.take("room-1")}
        for request in decode_answer(json.loads(json.dumps(asked)), Lane.EVENTS).requests if self.answers else ():
            assert request.kind == "removed"
            self.pipeline.remove(request.device, request.part, f"removed: confirmed by {request.by}")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(f"sqlite:///{tmp_path / 'collector.db'}")
    yield world
    world.close()


def story(world: World, tmp_path: Path, told: Callable[[Agent], Awaitable[None]]) -> None:
    async def whole() -> None:
        agent = Agent(world, tmp_path / "spool.db")
        await told(agent)
        await agent.pipeline.close()
        agent.spool.close()

    asyncio.run(whole())


def confirm(world: World, part: str, person: str = "olga") -> None:
    removals.confirm(world.runtime.notifier(), "sensor-1", part, person, world.clock.wall(), note="it was lent out")


def pages_about(world: World) -> list[tuple[str, str]]:
    """(person, subject) of each page."""
    return [(one.person, one.message.subject) for one in world.told if one.kind == "page"]


def only_removal(world: World) -> removals.ConfirmedRemoval:
    """The only confirmed removal, after which nothing is gone any more."""
    with world.store.read() as connection:
        assert removals.gone_parts(connection, "sensor-1") == []
        (record,) = removals.removals_of(connection, "sensor-1")
        return record


def test_a_sensor_off_its_hub_is_paged_and_climbs_until_a_person_confirms_the_removal(
    world: World, tmp_path: Path
) -> None:
    async def told(agent: Agent) -> None:
        await agent.read(ALL, minutes=2)
        assert world.told == []
        await agent.read(SIX, minutes=1)
        assert [one.person for one in world.told] == ["day"]
        assert "Rack 7 (temperature)" in world.told[0].message.subject
        await agent.read(SIX, minutes=25)
        assert {one.rung for one in world.told} == {"duty", "owner", "on-site"}
        (open_now,) = world.incidents()
        assert (open_now.rule, open_now.level, open_now.state) == ("absence.sensor", Level.WARNING, IncidentState.OPEN)

        confirm(world, "temperature 7")
        await agent.read(SIX, minutes=1)
        (ended,) = world.incidents()
        assert ended.state is IncidentState.WITHDRAWN
        assert world.happened()[-1] == "withdrawn"
        assert {one.person for one in world.told if one.kind == "withdrawn"} == {"day", "olga", "hao"}
        assert any("removed: confirmed by olga" in one.message.text for one in world.told if one.kind == "withdrawn")
        before = len(world.told)
        await agent.read(SIX, minutes=60)
        assert len(world.told) == before
        record = only_removal(world)
        assert (record.by, record.part, record.note, record.done_at is not None) == (
            "olga",
            "temperature 7",
            "it was lent out",
            True,
        )
        assert record.confirmed_at - record.gone_at == pytest.approx(25.75 * 60)

        await agent.read(ALL, minutes=2)
        await agent.read(SIX, minutes=1)
        assert world.incidents()[-1].open, "the removal was confirmed once, not for ever"

    story(world, tmp_path, told)


def test_an_open_incident_outlives_the_reading_and_says_that_it_is_gone(world: World, tmp_path: Path) -> None:
    async def told(agent: Agent) -> None:
        hot = (22.0,) * 6 + (31.0,)
        await agent.read(ALL, *hot, minutes=3)
        assert [one.rule for one in world.incidents()] == ["environment.temperature"]
        await agent.read(SIX, minutes=30)
        heat, absence = world.incidents()
        assert heat.open
        assert heat.level is Level.CRITICAL
        assert world.happened(heat.incident)[-1] == "unseen"
        with world.store.read() as connection:
            assert "no longer has it" in rows.transitions_of(connection, heat.incident)[-1][0].note
        assert (absence.rule, absence.open) == ("absence.sensor", True)
        confirm(world, "temperature 7")
        await agent.read(SIX, minutes=1)
        assert [one.state for one in world.incidents()] == [IncidentState.WITHDRAWN] * 2

    story(world, tmp_path, told)


def test_a_sensor_that_comes_back_resolves_its_incident(world: World, tmp_path: Path) -> None:
    async def told(agent: Agent) -> None:
        await agent.read(ALL, minutes=2)
        await agent.read(SIX, minutes=5)
        await agent.read(ALL, minutes=2)
        (ended,) = world.incidents()
        assert ended.state is IncidentState.RESOLVED
        await agent.read(ALL, minutes=15)
        assert len(world.incidents()) == 1

    story(world, tmp_path, told)


def test_a_confirmation_reaches_the_agent_although_its_first_answers_are_lost(world: World, tmp_path: Path) -> None:
    async def told(agent: Agent) -> None:
        await agent.read(ALL, minutes=2)
        await agent.read(SIX, minutes=2)
        confirm(world, "temperature 7")
        agent.answers = False
        await agent.read(SIX, minutes=3)
        assert world.incidents()[0].open
        agent.answers = True
        await agent.read(SIX, minutes=1)
        assert not world.incidents()[0].open
        assert agent.requests.take("room-1") == []

    story(world, tmp_path, told)


def test_only_what_is_gone_can_be_confirmed_and_only_once(world: World, tmp_path: Path) -> None:
    async def told(agent: Agent) -> None:
        await agent.read(ALL, minutes=2)
        with pytest.raises(Conflict, match="gone is: nothing"):
            confirm(world, "temperature 7")
        await agent.read(SIX, minutes=2)
        with pytest.raises(Conflict, match="gone is: `temperature 7`"):
            confirm(world, "temperature 6")
        with pytest.raises(NotFound):
            removals.confirm(world.runtime.notifier(), "no-such", "temperature 7", "olga", world.clock.wall())
        confirm(world, "temperature 7")
        confirm(world, "temperature 7", "hao")
        with world.store.read() as connection:
            assert [one.by for one in removals.removals_of(connection, "sensor-1")] == ["olga"]
            assert len(removals.pending_requests(connection)["room-1"]) == 1

    story(world, tmp_path, told)


def test_what_was_read_before_the_agent_stopped_and_is_missing_when_it_starts_is_paged(
    world: World, tmp_path: Path
) -> None:
    async def told(agent: Agent) -> None:
        await agent.read(ALL, minutes=2)
        await agent.restart()
        await agent.read(SIX, minutes=4)
        assert world.told == [], "the first sweeps after a start may be incomplete"
        await agent.read(SIX, minutes=3)
        assert [one.rule for one in world.incidents()] == ["absence.sensor"]
        await agent.restart()
        await agent.read(SIX, minutes=10)
        (same,) = world.incidents()
        assert same.open

    story(world, tmp_path, told)


def test_a_device_that_does_not_answer_is_one_fault_and_nothing_of_it_is_gone(world: World, tmp_path: Path) -> None:
    async def told(agent: Agent) -> None:
        await agent.read(ALL, minutes=2)
        await agent.read(ALL, *[Missing(Reason.TIMEOUT, "no answer")] * 7, minutes=30, answering="no")
        assert [one.rule for one in world.incidents()] == ["device.not-answering"]
        await agent.read(SIX, minutes=4)
        await agent.read(ALL, minutes=5)
        assert [one.rule for one in world.incidents()] == ["device.not-answering"], "its tables were not complete yet"

    story(world, tmp_path, told)


def test_a_scalar_cut_out_of_the_answers_is_paged_after_ten_minutes(world: World, tmp_path: Path) -> None:
    series = (*SIX, Series("sensor-1", "output.load", source="1.3.9"))

    async def told(agent: Agent) -> None:
        await agent.read(series, minutes=2)
        values = (*[22.0] * 6, NOT_THERE)
        await agent.read(series, *values, minutes=9.5)
        assert world.told == []
        await agent.read(series, *values, minutes=1)
        assert [one.rule for one in world.incidents()] == ["absence.reading"]
        assert pages_about(world)[0][1].endswith("(output.load)")

    story(world, tmp_path, told)


def test_a_device_that_answers_without_readings_is_one_warning(world: World, tmp_path: Path) -> None:
    async def told(agent: Agent) -> None:
        await agent.read(ALL, minutes=2)
        await agent.read(BARE, minutes=10)
        (blind,) = world.incidents()
        assert (blind.rule, blind.evidence.value) == ("absence.blind", "none")
        with world.store.read() as connection:
            assert [one.part for one in removals.gone_parts(connection, "sensor-1")] == ["device.readings"]
        await agent.read(ALL, minutes=3)
        assert not world.incidents()[0].open

    story(world, tmp_path, told)


def test_a_person_confirms_that_a_device_gives_less(world: World, tmp_path: Path) -> None:
    async def told(agent: Agent) -> None:
        await agent.read(ALL, minutes=2)
        await agent.read(ALL[:3], minutes=10)
        assert [(one.rule, one.open) for one in world.incidents()] == [("absence.blind", True)]
        confirm(world, "device.readings")
        await agent.read(ALL[:3], minutes=30)
        assert [(one.rule, one.open) for one in world.incidents()] == [("absence.blind", False)]

    story(world, tmp_path, told)
