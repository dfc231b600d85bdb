"""The queries behind pages, API and metrics, on both stores."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.collector_room import NIGHT, Room, browser
from watchkeeper.collector.policy.hold import Hold, HoldReason
from watchkeeper.collector.policy.incidents import IncidentState
from watchkeeper.collector.policy.troubles import TroubleState
from watchkeeper.collector.read import agents as read_agents
from watchkeeper.collector.read import changes as read_changes
from watchkeeper.collector.read import devices as read_devices
from watchkeeper.collector.read import history as read_history
from watchkeeper.collector.read import incidents as read_incidents
from watchkeeper.collector.read import troubles as read_troubles
from watchkeeper.model.reading import Missing, Reason
from watchkeeper.model.verdict import Evidence, Level


@pytest.fixture
def room(tmp_path: Path, store_url: str) -> Iterator[Room]:
    with Room(tmp_path, store_url) as room:
        yield room


def alarm(room: Room, device: str, level: Level = Level.WARNING) -> None:
    room.say(device, "device.alarm", level, Evidence("device.alarm", str(level)))


def _three_troubles(room: Room) -> None:
    """1 on ups-1 (owner paged, not delivered), 2 on crac-1 (resolved), 3 on sensor-cold-aisle (critical). Each has one incident,
    of the same number."""
    alarm(room, "ups-1")
    room.clock.advance(60)
    alarm(room, "crac-1")
    room.heat()
    room.decide_rungs()
    room.deliver("chen.jing")
    room.clock.advance(minutes=10)
    room.decide_rungs()
    room.deliver("chen.jing")
    alarm(room, "crac-1", Level.OK)


def _over(room: Room) -> None:
    """The fault on crac-1 has stayed away."""
    room.clock.advance(60)
    room.decide_rungs()


def test_incidents_in_their_order(room: Room) -> None:
    _three_troubles(room)
    snapshot = room.runtime.snapshot
    with room.store.read() as connection:
        ask = partial(read_incidents.open_incidents, connection, snapshot, NIGHT)
        assert [one.incident.device for one in ask()] == ["sensor-cold-aisle", "ups-1"]
        assert [one.incident.incident for one in ask(device="ups-1")] == [1]
        assert [one.incident.incident for one in ask(1)] == [3]
        before = partial(read_incidents.incidents_before, connection)
        assert [one.incident for one in before(None, 2)] == [3, 2]
        assert [one.incident for one in before(2, 9)] == [1]
        (ended,) = before(None, 9, [IncidentState.RESOLVED])
    assert ended.incident == 2


def test_troubles_in_their_order(room: Room) -> None:
    """Those without a fault now are last: a person must first see what is wrong."""
    _three_troubles(room)
    snapshot = room.runtime.snapshot
    with room.store.read() as connection:
        ask = partial(read_troubles.open_troubles, connection, snapshot, NIGHT)
        assert [one.progress.incident.device for one in ask()] == ["sensor-cold-aisle", "ups-1", "crac-1"]
        assert ask()[2].progress.hold == Hold(HoldReason.QUIET)
        assert [one.trouble.trouble for one in ask(device="ups-1")] == [1]
        assert [one.trouble.trouble for one in ask(1)] == [3]
        assert read_troubles.count_open(connection) == 3
        before = partial(read_troubles.troubles_before, connection, snapshot, NIGHT)
        assert [one.trouble.trouble for one in before(None, 2)] == [3, 2]
        assert [one.trouble.trouble for one in before(2, 9)] == [1]
        assert before(None, 9, [TroubleState.RESOLVED]) == []
    _over(room)
    with room.store.read() as connection:
        assert [one.trouble.trouble for one in ask_open(connection, room)] == [3, 1]
        assert read_troubles.count_open(connection) == 2
        (over,) = read_troubles.troubles_before(connection, snapshot, NIGHT, None, 9, [TroubleState.RESOLVED])
    assert over.trouble.trouble == 2
    assert over.progress.upcoming is None
    assert over.progress.hold == Hold(HoldReason.ENDED)


def ask_open(connection: sa.Connection, room: Room) -> list[read_troubles.TroubleProgress]:
    return read_troubles.open_troubles(connection, room.runtime.snapshot, room.clock.wall())


def test_a_trouble_with_its_rungs_notices_and_history(room: Room) -> None:
    _three_troubles(room)
    _over(room)
    with room.store.read() as connection:
        detail = partial(read_troubles.trouble_detail, connection, room.runtime.snapshot, NIGHT)
        ups, over = detail(1), detail(2)
        assert detail(99) is None
        incident = read_incidents.incident_detail(connection, 2)
        assert read_incidents.incident_detail(connection, 99) is None
    assert ups
    progress = ups.one.progress
    assert progress.hold is None
    assert progress.current
    assert progress.upcoming
    next_one = progress.upcoming
    assert (progress.current.rung, next_one.rung, next_one.due_at) == ("owner", "on-site", NIGHT + 1200)
    duty, owner = progress.notices
    assert (duty.person, duty.state, owner.person, owner.state) == ("sun.tao", "delivered", "chen.jing", "pending")
    assert owner.last
    assert (owner.last.delivered, owner.last.detail, owner.last.at) == (False, "HTTP 503", NIGHT + 660)
    assert over
    assert [(one.incident, step.kind) for one, step, _ in over.transitions] == [(2, "opened"), (2, "resolved")]
    assert {notice.kind for notice in over.one.progress.notices} >= {"page", "recovered"}
    assert incident
    assert [one.kind for one, _ in incident.transitions] == ["opened", "resolved"]


def test_a_trouble_has_its_cause_and_the_worst_of_its_other_incidents_first(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_troubles, "MEMBERS_SHOWN", 2)
    alarm(room, "ups-1")
    for rule, level in (
        ("power.battery-replace", Level.WARNING), ("power.battery-low", Level.CRITICAL), ("power.overload", Level.WARNING),
    ):  # fmt: skip
        room.clock.advance(1)
        room.say("ups-1", rule, level, Evidence("device.alarm", "warning"))
    room.say("ups-1", "power.battery-replace", Level.OK, Evidence("device.alarm", "ok"))
    with room.store.read() as connection:
        (card,) = ask_open(connection, room)
        detail = read_troubles.trouble_detail(connection, room.runtime.snapshot, NIGHT, card.trouble.trouble)
    assert card.progress.incident.rule == "device.alarm"
    assert [one.rule for one in card.others] == ["power.battery-low", "power.overload"]
    assert (card.count, card.standing.open, card.trouble.level) == (4, 3, Level.CRITICAL)
    assert detail
    assert [one.rule for one in detail.one.others] == ["power.battery-low", "power.overload", "power.battery-replace"]


def test_the_rungs_of_a_trouble_go_on_when_its_fault_comes_back(room: Room) -> None:
    room.heat()
    room.decide_rungs()
    room.heat(Level.OK, 22.0)
    room.clock.advance(30)
    room.heat()
    with room.store.read() as connection:
        (progress,) = read_incidents.open_incidents(connection, room.runtime.snapshot, room.clock.wall())
        assert (progress.incident.recurrence, progress.trouble.recurrence) == (2, 2)
        assert [(step.rung, step.decided_at, step.due_at) for step in progress.steps[:2]] == [
            ("duty", NIGHT, NIGHT), ("owner", None, NIGHT + 630),
        ]  # fmt: skip
        assert len(progress.steps) == 4
        assert [(notice.kind, notice.recurrence) for notice in progress.notices] == [("page", 1)]
        assert progress.hold is None


def test_devices_with_every_probe_and_age(room: Room) -> None:
    room.read("ups-1", {("battery.charge", "", ""): 97.0}, every_s=30.0, age_s=5.0)
    room.read("ups-1", {("battery.charge", "", ""): Missing(Reason.TIMEOUT, "2 s")}, every_s=30.0)
    with room.store.read() as connection:
        devices = read_devices.device_readings(connection, room.runtime.snapshot, NIGHT + 80, NIGHT)
        assert [one.device.device for one in devices] == list(room.runtime.snapshot.devices)
        (ups,) = read_devices.device_readings(connection, room.runtime.snapshot, NIGHT + 80, NIGHT + 79, "ups-1")
        (column,) = ups.columns
        assert (column.age_s, column.every_s, column.stale, ups.silent) == (80.0, 30.0, False, False)
        assert list(column.values) == [Missing(Reason.TIMEOUT, "2 s")]
        (later,) = read_devices.device_readings(connection, room.runtime.snapshot, NIGHT + 91, NIGHT + 90, "ups-1")
        assert later.stale
        assert read_devices.device_readings(connection, room.runtime.snapshot, NIGHT, NIGHT, "nothing") == []


def test_the_history_is_the_newest_frames_in_time_order(room: Room) -> None:
    for turn in range(5):
        room.read("ups-1", {("battery.charge", "", ""): float(turn), ("output.load", "", ""): 1.0})
        room.clock.advance(30)
    with room.store.read() as connection:
        found = read_history.readings_since(connection, "ups-1", NIGHT + 30, most=3)
        assert [point.value for point in found["battery.charge", ""]] == [2.0, 3.0, 4.0]
        assert set(read_history.readings_since(connection, "ups-1", NIGHT, quantity="output.load")) == {
            ("output.load", "")
        }
        assert len(read_history.readings_since(connection, "ups-1", NIGHT)["output.load", ""]) == 5


def test_no_agent_is_silent_because_of_the_time_before_the_start(room: Room) -> None:
    room.read("ups-1", {("battery.charge", "", ""): 97.0})
    with room.store.read() as connection:
        (missed,) = read_agents.agent_statuses(connection, room.runtime.snapshot, NIGHT + 3600, NIGHT + 3590)
        (silent,) = read_agents.agent_statuses(connection, room.runtime.snapshot, NIGHT + 3600, NIGHT)
    assert (missed.silent, silent.silent) == (False, True)
    assert (missed.age_s, missed.heard_at) == (3600.0, NIGHT)


def test_the_signature_changes_when_the_shown_data_change(room: Room) -> None:
    def signature() -> read_changes.Signature:
        with room.store.read() as connection:
            return read_changes.signature(connection)

    empty = signature()
    room.heat()
    opened = signature()
    assert opened.incidents != empty.incidents
    room.decide_rungs()
    paged = signature()
    assert paged.incidents != opened.incidents
    room.deliver()
    delivered = signature()
    assert delivered.incidents != paged.incidents
    room.clock.advance(1)
    room.read("ups-1", {("battery.charge", "", ""): 97.0})
    assert signature().readings != delivered.readings
    assert signature().incidents == delivered.incidents
    assert signature() == signature()


def test_every_page_and_metric_can_be_read(room: Room) -> None:
    room.read_everything()
    room.heat()
    room.decide_rungs()
    room.deliver()
    with browser(room.front) as web:
        for path in (
            "/", "/troubles", "/troubles/1", "/devices", "/devices/ups-1", "/metrics", "/api/v1/incidents?state=all",
            "/api/v1/troubles?state=all", "/api/v1/troubles/1", "/api/v1/incidents/1", "/api/v1/devices", "/api/v1/devices/ups-1", "/api/v1/agents",
            "/api/v1/devices/ups-1/history?quantity=output.load",
        ):  # fmt: skip
            assert web.get(path).status_code == 200, path
        metrics = web.get("/metrics").text
    assert 'watchkeeper_incidents_open{device="sensor-cold-aisle"' in metrics
    assert "watchkeeper_output_load_ratio{" in metrics


def test_readings_of_a_former_probe_are_not_current(room: Room) -> None:
    room.read("ups-1", {("battery.charge", "", ""): 97.0})
    room.read_otherwise("ups-1", "ipmi")
    room.read("ups-1", {("battery.charge", "", ""): 96.0})
    with room.store.read() as connection:
        (ups,) = read_devices.device_readings(connection, room.runtime.snapshot, NIGHT, NIGHT, "ups-1")
    assert [(column.probe, column.values) for column in ups.columns] == [("ipmi", (96.0,))]
