"""/metrics: base units, who disappears when, and our own counts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.collector_room import Room
from watchkeeper.collector.process import actions
from watchkeeper.collector.read.exposition import FAMILIES, family
from watchkeeper.model.batch import Lane, Tombstone
from watchkeeper.model.quantity import QUANTITIES, QuantityType
from watchkeeper.model.reading import Missing, Reason
from watchkeeper.model.verdict import Evidence, Level

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with Room(tmp_path) as room:
        yield room


def scrape(room: Room) -> Samples:
    """What Prometheus would understand."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for one in text_string_to_metric_families(room.metrics.render().decode())
        for sample in one.samples
    }


def of(samples: Samples, name: str, **labels: str) -> list[float]:
    wanted = set(labels.items())
    return [value for (found, held), value in samples.items() if found == name and wanted <= held]


@pytest.mark.parametrize(
    ("quantity", "name", "given", "exported"),
    [
        ("temperature.ambient", "watchkeeper_temperature_ambient_celsius", 22.5, 22.5),
        ("humidity.relative", "watchkeeper_humidity_relative_ratio", 45.0, 0.45),
        ("fan.speed", "watchkeeper_fan_speed_hertz", 3000.0, 50.0),
        ("output.energy", "watchkeeper_output_energy_joules_total", 2.0, 7.2e6),
        ("battery.runtime", "watchkeeper_battery_runtime_seconds", 2400.0, 2400.0),
        ("network.received", "watchkeeper_network_received_bytes_total", 1e12, 1e12),
        ("network.errors", "watchkeeper_network_errors_total", 3.0, 3.0),
        ("load.1m", "watchkeeper_load_1m", 0.42, 0.42),
    ],
)
def test_readings_are_exported_in_base_units(
    room: Room, quantity: str, name: str, given: float, exported: float
) -> None:
    room.read("ups-1", {(quantity, "", ""): given})
    assert of(scrape(room), name, device="ups-1") == [pytest.approx(exported)]


def test_a_state_is_one_of_its_names(room: Room) -> None:
    room.read("ups-1", {("output.source", "", ""): "battery", ("battery.state", "", ""): "ok"})
    samples = scrape(room)
    assert of(samples, "watchkeeper_output_source_state", state="battery") == [1.0]
    assert sorted(of(samples, "watchkeeper_output_source_state")) == [0.0] * 7 + [1.0]
    assert of(samples, "watchkeeper_battery_state", state="ok") == [1.0]


def test_labels_tell_whose_reading_it_is_and_survive_any_text(room: Room) -> None:
    odd = 'a "b"\\c\nd é 机柜'
    room.read("app-server-1", {("disk.usage", odd, odd): 44.0, ("disk.usage", "/", ""): 50.0})
    labels = {"device": "app-server-1", "category": "server", "location": "机柜 A01, U20"}
    assert of(scrape(room), "watchkeeper_disk_usage_ratio", part=odd, label=odd, **labels) == [pytest.approx(0.44)]
    assert ("watchkeeper_disk_usage_ratio", frozenset({**labels, "part": "/"}.items())) in scrape(room)


def test_what_is_missing_is_absent(room: Room) -> None:
    room.read("ups-1", {("battery.charge", "", ""): Missing(Reason.TIMEOUT), ("device.answering", "", ""): "no"})
    samples = scrape(room)
    assert not of(samples, "watchkeeper_battery_charge_ratio")
    assert of(samples, "watchkeeper_device_answering_state", state="no") == [1.0]


def test_a_silent_device_disappears_within_two_intervals(room: Room) -> None:
    room.read("ups-1", {("battery.charge", "", ""): 97.0}, every_s=30.0)
    room.read("sensor-cold-aisle", {("temperature.ambient", "", ""): 22.0}, every_s=60.0)
    room.clock.advance(59)
    assert of(scrape(room), "watchkeeper_battery_charge_ratio")
    room.clock.advance(1)
    samples = scrape(room)
    assert not of(samples, "watchkeeper_battery_charge_ratio")
    assert of(samples, "watchkeeper_temperature_ambient_celsius")


def test_a_new_configuration_changes_labels_and_drops_what_is_gone(room: Room) -> None:
    room.read("ups-1", {("battery.charge", "", ""): 97.0})
    room.read("crac-1", {("cooling.output", "", ""): 50.0})
    assert of(scrape(room), "watchkeeper_cooling_output_ratio", location="机房 1, 东侧")
    room.move("crac-1", "room 2")
    room.remove("ups-1")
    samples = scrape(room)
    assert of(samples, "watchkeeper_cooling_output_ratio", location="room 2") == [0.5]
    assert not of(samples, "watchkeeper_battery_charge_ratio")


def test_the_newest_frame_is_shown_once_also_under_a_new_block(room: Room) -> None:
    room.read("ups-1", {("battery.charge", "", ""): 97.0})
    room.read("ups-1", {("battery.charge", "", ""): 96.0, ("output.load", "", ""): 40.0})
    samples = scrape(room)
    assert of(samples, "watchkeeper_battery_charge_ratio") == [pytest.approx(0.96)]
    assert of(scrape(room), "watchkeeper_output_load_ratio") == [pytest.approx(0.4)]


def test_incidents_rungs_and_messages_are_counted(room: Room) -> None:
    room.heat()
    room.say("ups-1", "device.alarm", Level.WARNING, Evidence("device.alarm", "warning"))
    room.decide_rungs()
    room.deliver("nobody.special")
    actions.escalate(room.runtime.notifier(), 1, "sun.tao", room.clock.wall())
    room.deliver("wang.lei")
    samples = scrape(room)
    incident = {"level": "critical", "rule": "environment.temperature", "device": "sensor-cold-aisle"}
    assert of(samples, "watchkeeper_incidents_open", **incident) == [1.0]
    assert sum(of(samples, "watchkeeper_incidents_open")) == 2.0
    assert of(samples, "watchkeeper_rungs_decided_total", rung="duty") == [2.0]
    assert of(samples, "watchkeeper_rungs_decided_total", rung="owner") == [1.0]
    assert of(samples, "watchkeeper_outbox_messages", state="delivered") == [2.0]
    assert of(samples, "watchkeeper_outbox_messages", state="pending") == [1.0]
    assert of(samples, "watchkeeper_outbox_messages", state="given-up") == [0.0]
    assert of(samples, "watchkeeper_deliveries_total", channel="console", outcome="delivered") == [2.0]
    assert of(samples, "watchkeeper_deliveries_total", channel="console", outcome="failed") == [1.0]
    room.heat(Level.OK, 22.0)
    assert not of(scrape(room), "watchkeeper_incidents_open", **incident)


def test_agents_and_lanes_are_counted(room: Room) -> None:
    assert not of(scrape(room), "watchkeeper_agent_clock_skew_seconds"), (
        "of an agent that was never heard nothing is known"
    )
    room.read("ups-1", {("battery.charge", "", ""): 97.0})
    room.skip(Lane.READINGS, 4)
    room.read("ups-1", {("battery.charge", "", ""): 97.0})
    room.skip(Lane.READINGS, 1)
    room.push(Lane.READINGS, [Tombstone(7, 2)])
    room.clock.advance(7)
    samples = scrape(room)
    lane = {"agent": "room-1", "lane": "readings"}
    assert of(samples, "watchkeeper_lane_items_total", **lane) == [2.0]
    assert of(samples, "watchkeeper_lane_gap_items_total", **lane) == [4.0]
    assert of(samples, "watchkeeper_lane_dropped_frames_total", **lane) == [2.0]
    assert of(samples, "watchkeeper_agent_heard_age_seconds", agent="room-1") == [7.0]
    assert of(samples, "watchkeeper_agent_clock_skew_seconds", agent="room-1") == [0.0]
    assert of(samples, "watchkeeper_agent_bundle_current", agent="room-1") == [0.0]


def test_the_collector_speaks_of_itself(room: Room) -> None:
    room.ingest.refused[401] = 3
    room.runtime.problem = "inventory.yml:1:1: an error"
    samples = scrape(room)
    assert of(samples, "watchkeeper_pushes_refused_total", status="401") == [3.0]
    assert of(samples, "watchkeeper_configuration_problem") == [1.0]
    assert of(samples, "watchkeeper_reconciled_total") == [0.0]
    assert of(samples, "watchkeeper_journal_waiting") == [0.0]
    assert of(samples, "watchkeeper_journal_faults_total") == [0.0]
    assert of(samples, "watchkeeper_build_info") == [1.0]
    assert of(samples, "process_resident_memory_bytes")[0] > 1e6


def test_every_quantity_has_a_name_of_its_own() -> None:
    names = [one.name for one in FAMILIES.values()]
    assert len(set(names)) == len(names)
    assert QUANTITIES.keys() - FAMILIES.keys() == {"agent.heard", "agent.twin", "collector.disk"}, "what no agent reads"
    for quantity in QUANTITIES.values():
        assert family(quantity).name.endswith("_total") == (quantity.type is QuantityType.COUNTER)


def test_a_series_of_an_unknown_quantity_is_left_out(room: Room) -> None:
    """An agent newer than its collector."""
    room.read("ups-1", {("flux.capacity", "", ""): 1.21, ("battery.charge", "", ""): 97.0, ("flux.mode", "", ""): "on"})
    assert b"flux" not in room.metrics.render()
    assert of(scrape(room), "watchkeeper_battery_charge_ratio")


def test_what_does_not_fit_its_quantity_is_left_out(room: Room) -> None:
    room.read("ups-1", {("battery.charge", "", ""): "full", ("output.source", "", ""): 3.0, ("leak", "", ""): "damp"})
    text = room.metrics.render()
    assert b'device="ups-1"' not in text


def test_rendering_again_says_the_same(room: Room) -> None:
    room.read_everything()
    first = [line for line in room.metrics.render().splitlines() if b"device=" in line]
    assert [line for line in room.metrics.render().splitlines() if b"device=" in line] == first
    assert len(first) == len(set(first))


def test_what_another_probe_read_before_is_gone(room: Room) -> None:
    """Otherwise one series would be told twice."""
    room.read("ups-1", {("battery.charge", "", ""): 97.0})
    room.read_otherwise("ups-1", "ipmi")
    assert not of(scrape(room), "watchkeeper_battery_charge_ratio")
    room.read("ups-1", {("battery.charge", "", ""): 96.0})
    assert of(scrape(room), "watchkeeper_battery_charge_ratio") == [pytest.approx(0.96)]
    assert room.metrics.render().count(b"watchkeeper_battery_charge_ratio{") == 1
