"""A fault that is one only together with another reading: the page names it, and the recovery says what ended it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.story.world import World
from watchkeeper.collector.policy.incidents import IncidentState
from watchkeeper.model.reading import Missing, Reason
from watchkeeper.model.verdict import Companion, Evidence, Level, Verdict

RUNTIME = Evidence("battery.runtime", 240.0, "below 5 min")
BATTERY = replace(RUNTIME, companions=(Companion("output.source", "battery"),))
MAINS = replace(RUNTIME, expects="", companions=(Companion("output.source", "mains", "bus 2", holds=False),))


@pytest.fixture
def world(store_url: str) -> Iterator[World]:
    made = World(store_url)
    yield made
    made.close()


def verdict(world: World, level: Level, evidence: Evidence) -> Verdict:
    return replace(world.verdict(level, rule="power.battery-runtime"), evidence=evidence)


def test_a_page_names_the_companion_and_a_recovery_what_ended_the_fault(world: World) -> None:
    world.push(verdict(world, Level.CRITICAL, BATTERY))
    (page,) = world.told
    lines = page.message.text.splitlines()
    assert lines[0].startswith("电池后备时间不足：4 分钟（低于 5 分钟）")
    assert lines[1] == "同时：输出供电来源：电池"
    world.told.clear()
    world.advance(1)
    world.push(verdict(world, Level.OK, MAINS))
    world.advance(1)
    (over,) = (one for one in world.told if one.kind == "recovered")
    assert over.message.text.startswith("最差：4 分钟（12:00:00）。")
    assert "该限值不再适用：输出供电来源 (bus 2)：市电" in over.message.text.splitlines()
    assert "同时" not in over.message.text
    (incident,) = world.incidents()
    assert incident.state is IncidentState.RESOLVED
    assert (incident.evidence.value, incident.evidence.expects) == (240.0, "below 5 min"), "the last bad reading"
    assert incident.evidence.companions == MAINS.companions


def test_a_recovery_by_the_value_itself_keeps_what_was_at_the_same_time(world: World) -> None:
    world.push(verdict(world, Level.CRITICAL, BATTERY))
    world.advance(1)
    world.push(verdict(world, Level.OK, Evidence("battery.runtime", 1800.0)))
    (incident,) = world.incidents()
    assert incident.evidence == BATTERY


def test_a_companion_that_nobody_knows_is_told_by_its_names(world: World) -> None:
    strange = replace(RUNTIME, companions=(Companion("ups.mood", "sad"), Companion("leak", Missing(Reason.HUNG))))
    world.push(verdict(world, Level.CRITICAL, strange))
    (page,) = world.told
    assert page.message.text.splitlines()[1:3] == ["同时：ups.mood：sad", "同时：水浸检测：无读数：无响应（挂起）"]
