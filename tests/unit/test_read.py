"""The queries behind pages, API and metrics, on both stores."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collector_room import NIGHT, Room, browser
from watchkeeper.collector.policy.incidents import State
from watchkeeper.collector.read import views
from watchkeeper.model.reading import Missing, Reason
from watchkeeper.model.verdict import Evidence, Level


@pytest.fixture
def room(tmp_path: Path, store_url: str) -> Iterator[Room]:
    with Room(tmp_path, store_url) as room:
        yield room


def alarm(room: Room, device: str, level: Level = Level.WARNING) -> None:
    room.say(device, "device.alarm", level, Evidence("device.alarm", str(level)))


def test_incidents_with_progress_and_details(room: Room) -> None:
    alarm(room, "ups-1")
    room.clock.advance(60)
    alarm(room, "crac-1")
    room.heat()
    room.climb()
    room.deliver("chen.jing")
    room.clock.advance(minutes=10)
    room.climb()
    room.deliver("chen.jing")
    alarm(room, "crac-1", Level.OK)
    with room.store.read() as connection:
        climbs = views.open_climbs(connection)
        assert [climb.incident.device for climb in climbs] == ["sensor-cold-aisle", "ups-1"]
        assert views.count_open(connection) == 2
        assert [climb.incident.incident for climb in views.open_climbs(connection, device="ups-1")] == [1]
        assert [climb.incident.incident for climb in views.open_climbs(connection, 1)] == [3]
        assert [climb.incident.incident for climb in views.climbs_before(connection, None, 2)] == [3, 2]
        assert [climb.incident.incident for climb in views.climbs_before(connection, 2, 9)] == [1]
        over = views.climbs_before(connection, None, 9, [State.RESOLVED])
        assert [climb.incident.incident for climb in over] == [2]
        assert over[0].upcoming is None
        ups = climbs[1]
        assert ups.reached
        assert ups.upcoming
        assert (ups.reached.rung, ups.upcoming.rung, ups.upcoming.due_at) == ("owner", "on-site", NIGHT + 1200)
        duty, owner = ups.notices
        assert (duty.person, duty.state, owner.person, owner.state) == ("sun.tao", "delivered", "chen.jing", "pending")
        assert owner.last
        assert (owner.last.delivered, owner.last.detail, owner.last.at) == (False, "HTTP 503", NIGHT + 660)
        story = views.story(connection, 2)
        assert story
        assert [one.kind for one, _ in story.transitions] == ["opened", "resolved"]
        assert {notice.kind for notice in story.notices} >= {"page", "recovered"}
        assert views.story(connection, 99) is None


def test_the_progress_is_that_of_the_current_round(room: Room) -> None:
    room.heat()
    room.climb()
    room.heat(Level.OK, 22.0)
    room.clock.advance(30)
    room.heat()
    with room.store.read() as connection:
        (climb,) = views.open_climbs(connection)
        assert climb.incident.round == 2
        assert [step.decided_at for step in climb.steps] == [None] * 4
        assert climb.notices == ()
        story = views.story(connection, climb.incident.incident)
        assert story
        assert len(story.steps) == 5


def test_devices_with_every_probe_and_age(room: Room) -> None:
    room.read("ups-1", {("battery.charge", "", ""): 97.0}, every_s=30.0, age_s=5.0)
    room.read("ups-1", {("battery.charge", "", ""): Missing(Reason.TIMEOUT, "2 s")}, every_s=30.0)
    with room.store.read() as connection:
        devices = views.watched(connection, room.runtime.snapshot, NIGHT + 80, NIGHT)
        assert [one.device.device for one in devices] == list(room.runtime.snapshot.devices)
        (ups,) = views.watched(connection, room.runtime.snapshot, NIGHT + 80, NIGHT + 79, "ups-1")
        (column,) = ups.columns
        assert (column.age_s, column.every_s, column.stale, ups.silent) == (80.0, 30.0, False, False)
        assert list(column.values) == [Missing(Reason.TIMEOUT, "2 s")]
        (later,) = views.watched(connection, room.runtime.snapshot, NIGHT + 91, NIGHT + 90, "ups-1")
        assert later.stale
        assert views.watched(connection, room.runtime.snapshot, NIGHT, NIGHT, "nothing") == []


def test_the_history_is_the_newest_frames_in_time_order(room: Room) -> None:
    for turn in range(5):
        room.read("ups-1", {("battery.charge", "", ""): float(turn), ("output.load", "", ""): 1.0})
        room.clock.advance(30)
    with room.store.read() as connection:
        found = views.past(connection, "ups-1", NIGHT + 30, most=3)
        assert [point.value for point in found["battery.charge", ""]] == [2.0, 3.0, 4.0]
        assert set(views.past(connection, "ups-1", NIGHT, quantity="output.load")) == {("output.load", "")}
        assert len(views.past(connection, "ups-1", NIGHT)["output.load", ""]) == 5


def test_no_agent_is_silent_because_of_the_time_before_the_start(room: Room) -> None:
    room.read("ups-1", {("battery.charge", "", ""): 97.0})
    with room.store.read() as connection:
        (missed,) = views.agents(connection, room.runtime.snapshot, NIGHT + 3600, NIGHT + 3590)
        (silent,) = views.agents(connection, room.runtime.snapshot, NIGHT + 3600, NIGHT)
    assert (missed.silent, silent.silent) == (False, True)
    assert (missed.age_s, missed.heard_at) == (3600.0, NIGHT)


def test_the_signature_changes_when_the_shown_data_change(room: Room) -> None:
    def signature() -> views.Signature:
        with room.store.read() as connection:
            return views.signature(connection)

    empty = signature()
    room.heat()
    opened = signature()
    assert opened.incidents != empty.incidents
    room.climb()
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
    room.climb()
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
        (ups,) = views.watched(connection, room.runtime.snapshot, NIGHT, NIGHT, "ups-1")
    assert [(column.probe, column.values) for column in ups.columns] == [("ipmi", (96.0,))]
