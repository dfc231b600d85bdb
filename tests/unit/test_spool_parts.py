"""What was read of each device, on the agent's disk."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest

from tests.agent_room import device, everything, items, sweep
from watchkeeper.agent import pipeline as module
from watchkeeper.agent.pipeline import Pipeline
from watchkeeper.agent.spool.spool import Limits, Spool
from watchkeeper.model.batch import Document, Facts, Lane
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Device
from watchkeeper.model.reading import Series
from watchkeeper.rules.judge import Judge
from watchkeeper.rules.load import load_rules
from watchkeeper.rules.parts import decode_record, encode_record

LEAK = Series("box", "leak", "1", "Door", "1.3.1")
RULES = load_rules(
    [
        Document(
            "rules.yml",
            "rules:\n- {rule: away, clause: '1', title: Away, advice: Look, quantity: sensor.absent, warning: {above: 0 s}}",
        )
    ]
)
ALL = (Series("box", "device.answering"), LEAK, Series("box", "leak", "2", "Sink", "1.3.2"))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


def opened(file: Path, clock: FakeClock, boot_id: str = "boot-1") -> contextlib.closing[Spool]:
    return contextlib.closing(Spool(file, Limits(), clock, boot_id))


def record(gone_at: float) -> str:
    return encode_record("of", [LEAK], {("leak", "1"): gone_at}, 3)


def test_records_are_kept_over_a_restart_replaced_and_forgotten(file: Path, clock: FakeClock) -> None:
    with opened(file, clock) as spool:
        spool.keep_parts({"box": record(1.0), "other": record(2.0)})
        assert spool.parts() == {}, "nothing is on the disk yet"
        assert spool.flush()
        assert spool.parts() == {"box": record(1.0), "other": record(2.0)}
        spool.keep_parts({"box": record(3.0), "other": None})
    with opened(file, clock) as spool:
        assert spool.parts() == {"box": record(3.0)}


def test_after_another_boot_the_times_of_records_are_converted_once(file: Path, clock: FakeClock) -> None:
    with opened(file, clock) as spool:
        spool.keep_parts({"box": record(clock.boot() - 10), "odd": "not a record", "older": '{"had": []}'})
    after = FakeClock(now=clock.now + 120, since_boot=30.0)
    for _ in range(2):
        with opened(file, after, "boot-2") as spool:
            found = decode_record("box", spool.parts()["box"])
            assert found
            assert after.boot() - found.gone["leak", "1"] == 40, "the smallest age that is possible"
            assert (found.of, found.had, found.most) == ("of", (LEAK,), 3)
            assert spool.parts()["odd"] == "not a record"
            assert spool.parts()["older"] == '{"had": []}'


def test_a_spool_of_an_earlier_version_gets_the_table(file: Path, clock: FakeClock) -> None:
    with opened(file, clock) as spool:
        epoch = spool.epoch
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("DROP TABLE parts")
    with opened(file, clock) as spool:
        assert spool.epoch == epoch
        spool.keep_parts({"box": record(1.0)})
        assert spool.flush()
        assert spool.parts() == {"box": record(1.0)}


class Agent:
    """A pipeline whose facts a test sets."""

    def __init__(self, file: Path, clock: FakeClock) -> None:
        self.clock, self.facts = clock, (("profile", "p"),)
        self.spool = Spool(file, Limits(), clock, "boot-1")
        self.judge = Judge(self.spool.states(), parts=self.spool.parts())
        self.pipeline = Pipeline(self.spool, self.judge, clock, lambda: None, self.tell)
        self.pipeline.activate(RULES, [device()])

    def tell(self, asked: Device) -> Facts:
        assert asked.device == "box"
        return self.facts

    def read(self, series: tuple[Series, ...], times: int = 1) -> None:
        for _ in range(times):
            self.clock.advance(30)
            self.pipeline.add(device(), sweep(series, self.clock.boot(), *["dry"] * (len(series) - 1)))
        assert self.spool.flush()

    def events(self) -> list[tuple[str, str]]:
        return [(one["kind"], one["rule"]) for one in items(everything(self.spool, Lane.EVENTS))]


def run(file: Path, *parts: object) -> None:
    """Run each part with an agent of its own on the same file: a restart between them."""

    async def whole() -> None:
        clock = FakeClock()
        for part in parts:
            agent = Agent(file, clock)
            part(agent)  # type: ignore[operator]
            await agent.pipeline.close()
            agent.spool.close()

    asyncio.run(whole())


def test_the_frame_has_the_columns_of_what_is_gone_and_a_removal_ends_the_verdict(file: Path) -> None:
    def before(agent: Agent) -> None:
        agent.read(ALL)
        agent.read(ALL[:2], times=3)
        assert agent.events() == [("verdict", "away")]
        last = items(everything(agent.spool, Lane.READINGS))[-1]
        assert last["values"] == ["yes", "dry", None, 60.0]

    def after(agent: Agent) -> None:
        agent.read(ALL[:2])
        assert items(everything(agent.spool, Lane.READINGS))[-1]["values"] == ["yes", "dry", None, 90.0]
        agent.pipeline.remove("box", "leak 2", "removed: confirmed by li.na")
        agent.pipeline.remove("box", "leak 2", "removed: confirmed by li.na")
        assert agent.spool.flush()
        withdrawn = items(everything(agent.spool, Lane.EVENTS))[-1]
        assert (withdrawn["kind"], withdrawn["reason"]) == ("withdrawn", "removed: confirmed by li.na")
        assert [kind for kind, _ in agent.events()].count("withdrawn") == 1
        agent.read(ALL[:2])
        assert items(everything(agent.spool, Lane.READINGS))[-1]["values"] == ["yes", "dry"]

    def later(agent: Agent) -> None:
        agent.read(ALL[:2], times=30)
        assert items(everything(agent.spool, Lane.READINGS))[-1]["values"] == ["yes", "dry"]

    run(file, before, after, later)


def test_a_spool_that_lost_its_records_gets_them_again(file: Path) -> None:
    def lost(agent: Agent) -> None:
        agent.read(ALL)
        agent.spool._db.execute("DELETE FROM parts")
        agent.spool.begin_epoch()
        agent.pipeline.beat()
        assert agent.spool.flush()
        assert set(agent.spool.parts()) == {"box"}

    run(file, lost)


def test_changed_facts_are_a_new_block_within_a_minute(file: Path) -> None:
    def told(agent: Agent) -> None:
        agent.read(ALL)
        agent.facts = (("profile", "p"), ("transport", "GETBULK is not used"))
        agent.read(ALL)
        agent.read(ALL)
        first, second = everything(agent.spool, Lane.READINGS).blocks
        assert (first.facts, second.facts) == ((("profile", "p"),), agent.facts)
        assert first.series == second.series
        assert [one["block"] for one in items(everything(agent.spool, Lane.READINGS))] == [1, 1, 2]

    def again(agent: Agent) -> None:
        agent.facts = (("profile", "p"), ("transport", "GETBULK is not used"))
        agent.read(ALL)
        assert items(everything(agent.spool, Lane.READINGS))[-1]["block"] == 2, "known since the last run"

    assert module.FACTS_EVERY_S == 60.0
    run(file, told, again)
