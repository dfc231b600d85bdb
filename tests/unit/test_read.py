"""The queries behind pages, API and metrics, on both stores."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.collector_room import NIGHT, Room, browser
from watchkeeper.collector.policy.hold import Hold, HoldReason
from watchkeeper.collector.policy.incidents import IncidentState
from watchkeeper.collector.read import agents as read_agents
from watchkeeper.collector.read import changes as read_changes
from watchkeeper.collector.read import devices as read_devices
from watchkeeper.collector.read import history as read_history
from watchkeeper.collector.read import incidents as read_incidents
from watchkeeper.model.reading import Missing, Reason
from watchkeeper.model.verdict import Evidence, Level


@pytest.fixture
def room(tmp_path: Path, store_url: str) -> Iterator[Room]:
    with Room(tmp_path, store_url) as room:
        yield room


def alarm(room: Room, device: str, level: Level = Level.WARNING) -> None:
    room.say(device, "device.alarm", level, Evidence("device.alarm", str(level)))


def _three_incidents(room: Room) -> None:
    """1 on ups-1 (owner paged, not delivered), 2 on crac-1 (resolved), 3 on sensor-cold-aisle (critical)."""
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


def test_incidents_in_their_order(room: Room) -> None:
    _three_incidents(room)
    snapshot = room.runtime.snapshot
    with room.store.read() as connection:
        ask = partial(read_incidents.open_incidents, connection, snapshot, NIGHT)
        assert [one.incident.device for one in ask()] == ["sensor-cold-aisle", "ups-1"]
        assert [one.incident.incident for one in ask(device="ups-1")] == [1]
        assert [one.incident.incident for one in ask(1)] == [3]
        assert read_incidents.count_open(connection) == 2
        before = partial(read_incidents.incidents_before, connection, snapshot, NIGHT)
        assert [one.incident.incident for one in before(None, 2)] == [3, 2]
        assert [one.incident.incident for one in before(2, 9)] == [1]
        (over,) = before(None, 9, [IncidentState.RESOLVED])
    assert over.incident.incident == 2
    assert over.upcoming is None
    assert over.hold == Hold(HoldReason.ENDED)


def test_an_incident_with_its_rungs_notices_and_history(room: Room) -> None:
    _three_incidents(room)
    with room.store.read() as connection:
        detail = partial(read_incidents.incident_detail, connection, room.runtime.snapshot, NIGHT)
        ups, over = detail(1), detail(2)
        assert detail(99) is None
    assert ups
    assert ups.progress.hold is None
    assert ups.progress.current
    assert ups.progress.upcoming
    next_one = ups.progress.upcoming
    assert (ups.progress.current.rung, next_one.rung, next_one.due_at) == ("owner", "on-site", NIGHT + 1200)
    duty, owner = ups.progress.notices
    assert (duty.person, duty.state, owner.person, owner.state) == ("sun.tao", "delivered", "chen.jing", "pending")
    assert owner.last
    assert (owner.last.delivered, owner.last.detail, owner.last.at) == (False, "HTTP 503", NIGHT + 660)
    assert over
    assert [one.kind for one, _ in over.transitions] == ["opened", "resolved"]
    assert {notice.kind for notice in over.notices} >= {"page", "recovered"}


def test_the_progress_is_that_of_the_current_recurrence(room: Room) -> None:
    room.heat()
    room.decide_rungs()
    room.heat(Level.OK, 22.0)
    room.clock.advance(30)
    room.heat()
    with room.store.read() as connection:
        (progress,) = read_incidents.open_incidents(connection, room.runtime.snapshot, NIGHT)
        assert progress.incident.recurrence == 2
        assert [step.decided_at for step in progress.steps] == [None] * 4
        assert progress.notices == ()
        story = read_incidents.incident_detail(connection, room.runtime.snapshot, NIGHT, progress.incident.incident)
        assert story
        assert len(story.steps) == 5


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
            "/", "/incidents", "/incidents/1", "/devices", "/devices/ups-1", "/metrics", "/api/v1/incidents?state=all",
            "/api/v1/incidents/1", "/api/v1/devices", "/api/v1/devices/ups-1", "/api/v1/agents",
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
