"""What was read before and is gone: when it is told, and when it is not."""

import dataclasses

import pytest

from tests.agent_room import device
from tests.presence_room import ENV, EVERY_S, FIVE, NOT_THERE, SILENT, Hub, Row
from watchkeeper.model.device import Device, Modbus, Snmp
from watchkeeper.model.reading import (
    AUTOMOUNTED,
    NO_READING,
    NOT_AVAILABLE,
    NOT_VALID,
    Missing,
    Reason,
    Series,
    Sweep,
    Value,
)
from watchkeeper.rules.parts import definition_of


@pytest.mark.parametrize(
    ("quantity", "value", "told"),
    [
        ("psu.health", "ok", "hardware.absent"),
        ("fan.speed", 4000.0, "hardware.absent"),
        ("memory.health", "ok", "hardware.absent"),
        ("drive.health", "ok", "hardware.absent"),
        ("temperature.ambient", 21.0, "sensor.absent"),
        ("humidity.relative", 50.0, "sensor.absent"),
        ("leak", "dry", "sensor.absent"),
        ("smoke", "clear", "sensor.absent"),
        ("temperature.setpoint", 21.0, "reading.absent"),
        ("disk.usage", 40.0, "reading.absent"),
        ("output.load", 40.0, "reading.absent"),
    ],
)
@pytest.mark.parametrize("way", ["no column", "no answer"])
def test_a_reading_that_vanishes_is_gone_after_three_answered_sweeps(
    quantity: str, value: Value, told: str, way: str
) -> None:
    hub = Hub()
    hub.read(*FIVE, (quantity, "x", value))
    left: list[Row] = [*FIVE, (quantity, "x", NOT_THERE)] if way == "no answer" else FIVE
    hub.read(*left, times=2)
    assert hub.gone() == {}
    part = f"{quantity.partition('.')[0]} x"
    hub.read(*left)
    assert hub.gone() == {(told, part): 2 * EVERY_S}
    hub.read(*left)
    assert hub.gone() == {(told, part): 3 * EVERY_S}
    assert isinstance(hub.value(quantity, "x"), Missing), "its own column stays"


def test_what_never_had_a_value_is_not_missed() -> None:
    hub = Hub()
    empty: list[Row] = [("psu.health", "2", NOT_THERE), ("input.voltage", "L3", Missing(Reason.TIMEOUT, ""))]
    hub.read(*FIVE, *empty, times=20)
    hub.read(*FIVE, times=20)
    assert hub.last.series is hub.series


def test_a_sweep_with_everything_is_handed_on_as_it_is() -> None:
    hub = Hub()
    for _ in range(5):
        assert hub.read(*FIVE).series is hub.series
    hub.read(*FIVE, ("psu.health", "2", NOT_THERE))
    first = hub.last
    assert hub.read(*FIVE, ("psu.health", "2", NOT_THERE)).series is first.series


def test_the_columns_stay_the_same_tuple_while_something_is_gone() -> None:
    hub = Hub()
    hub.read(*FIVE)
    hub.read(*FIVE[:4], times=3)
    before = hub.last.series
    assert hub.read(*FIVE[:4], times=4).series is before
    silent = hub.read(*[(one, part, SILENT) for one, part, _ in FIVE[:4]], answering="no")
    assert silent.series is before


@pytest.mark.parametrize("value", [SILENT, Missing(Reason.MALFORMED, ""), Missing(Reason.HUNG, ""), "unknown"])
def test_a_value_that_cannot_be_read_is_there(value: Value) -> None:
    hub = Hub()
    hub.read(*FIVE, ("psu.health", "1", "ok"))
    hub.read(*FIVE, ("psu.health", "1", value), times=30)
    assert hub.gone() == {}


@pytest.mark.parametrize(
    ("detail", "sensor", "hardware", "reading"),
    [
        (f"{NOT_VALID}: the device answers `2` for 1.3", 60.0, 60.0, None),
        (f"{NOT_AVAILABLE} -1, which means: not available", 60.0, 60.0, None),
        (f"{NO_READING} of this sensor now", 600.0, 60.0, None),
        ("the part is not installed", 60.0, 60.0, 60.0),
    ],
)
def test_a_part_that_says_it_has_no_value(
    detail: str, sensor: float | None, hardware: float | None, reading: float | None
) -> None:
    for quantity, after in (("temperature.supply", sensor), ("psu.power", hardware), ("output.power", reading)):
        hub = Hub()
        hub.read(*FIVE, (quantity, "x", 20.0))
        told = next(
            (
                n * EVERY_S
                for n in range(100)
                if hub.read(*FIVE, (quantity, "x", Missing(Reason.ABSENT, detail))) and hub.gone()
            ),
            None,
        )
        assert told == after, quantity


def test_a_battery_that_says_absent_is_gone() -> None:
    hub = Hub()
    hub.read(*FIVE, ("battery.state", "", "ok"))
    hub.read(*FIVE, ("battery.state", "", "absent"), times=3)
    assert hub.parts() == {"battery.state"}


def test_an_alarm_an_event_and_the_uptime_may_disappear() -> None:
    hub = Hub()
    hub.read(*FIVE, ("device.alarm", "1", "critical"), ("device.event", "2", "warning"), ("uptime", "", 9000.0))
    hub.read(*FIVE, times=20)
    assert hub.last.series is hub.series


def test_the_return_is_told_for_a_while() -> None:
    hub = Hub()
    hub.read(*FIVE)
    hub.read(*FIVE[:4], times=10)
    key = ("sensor.absent", "temperature 5")
    hub.read(*FIVE)
    assert hub.gone() == {key: 0.0}
    assert hub.value("temperature.ambient", "5") == 21.0
    hub.read(*FIVE, times=19)
    assert hub.gone() == {key: 0.0}
    hub.read(*FIVE)
    assert hub.last.series is hub.series
    hub.read(*FIVE[:4], times=3)
    assert hub.gone() == {key: 60.0}, "it is watched again"


def test_a_reading_that_misses_two_sweeps_is_never_told() -> None:
    hub = Hub()
    for _ in range(10):
        hub.read(*FIVE)
        hub.read(*FIVE[:4], times=2)
        assert hub.gone() == {}


def test_all_readings_of_one_part_are_one_finding_from_the_first_on() -> None:
    hub = Hub()
    disk: list[Row] = [("disk.usage", "/data", 40.0), ("disk.size", "/data", 1e9), ("disk.inodes", "/data", 1.0)]
    hub.read(*FIVE, *disk)
    hub.read(*FIVE, *disk[:2], times=5)
    hub.read(*FIVE, times=5)
    assert hub.gone() == {("reading.absent", "disk /data"): 9 * EVERY_S}


def test_readings_without_an_instance_are_found_one_by_one() -> None:
    hub = Hub()
    ups: list[Row] = [("battery.charge", "", 100.0), ("battery.runtime", "", 900.0)]
    hub.read(*FIVE, *ups)
    hub.read(*FIVE, ups[1], times=3)
    hub.read(*FIVE, times=3)
    assert hub.parts() == {"battery.charge", "battery.runtime"}


def test_parts_of_the_same_instance_are_found_apart() -> None:
    hub = Hub()
    hub.read(*FIVE, ("psu.health", "1", "ok"), ("fan.health", "1", "ok"))
    hub.read(*FIVE, ("fan.health", "1", "ok"), times=3)
    hub.read(*FIVE, times=3)
    assert hub.parts() == {"psu 1", "fan 1"}


def test_a_value_that_times_out_first_and_is_absent_then_is_gone() -> None:
    hub = Hub()
    hub.read(*FIVE)
    hub.read(*FIVE[:4], ("temperature.ambient", "5", SILENT), times=3)
    hub.read(*FIVE[:4], ("temperature.ambient", "5", NOT_THERE), times=3)
    assert hub.parts() == {"temperature 5"}


# ---- a device that starts, sleeps or is silent ----


def test_a_device_that_has_just_started_may_answer_with_a_part() -> None:
    hub = Hub()
    hub.read(*FIVE, ("uptime", "", 9000.0))
    for number in range(9):
        hub.read(*FIVE[:4], ("uptime", "", 10.0 + 30 * number))
        assert hub.gone() == {}
    hub.read(*FIVE, ("uptime", "", 310.0), times=3)
    assert hub.last.series is hub.series


def test_what_is_still_missing_after_its_start_is_gone() -> None:
    hub = Hub()
    hub.read(*FIVE, ("uptime", "", 9000.0))
    told = [bool(hub.read(*FIVE[:4], ("uptime", "", 10.0 + 30 * n)) and hub.gone()) for n in range(12)]
    assert told == [False] * 10 + [True] * 2, "300 s after its start"


def test_a_silence_is_no_absence_and_is_followed_by_a_time_to_settle() -> None:
    hub = Hub()
    hub.read(*FIVE)
    silent: list[Row] = [(one, part, SILENT) for one, part, _ in FIVE]
    hub.read(*silent, times=50, answering="no")
    assert hub.gone() == {}
    hub.read(*FIVE[:4], times=10)
    assert hub.gone() == {}
    hub.read(*FIVE[:4])
    assert hub.parts() == {"temperature 5"}


def test_an_absence_that_began_before_a_silence_needs_no_new_time() -> None:
    """Else a device that loses a poll now and then would never be found."""
    hub = Hub()
    hub.read(*FIVE)
    for _ in range(3):
        hub.read(*FIVE[:4])
        hub.read(*FIVE[:4], answering="no")
    assert hub.parts() == {"temperature 5"}


def test_while_a_machine_is_off_nothing_of_it_is_missed() -> None:
    hub = Hub()
    hub.read(*FIVE, ("power.state", "", "on"))
    off: list[Row] = [(one, part, NOT_THERE) for one, part, _ in FIVE]
    hub.read(*off, ("power.state", "", "off"), times=100)
    assert hub.gone() == {}
    hub.read(*FIVE[:4], ("power.state", "", "on"), times=10)
    assert hub.gone() == {}
    hub.read(*FIVE[:4], ("power.state", "", "on"))
    assert hub.parts() == {"temperature 5"}


def test_of_a_service_that_is_down_nothing_is_missed() -> None:
    hub = Hub()
    hub.read(("service.state", "", "up"), ("response.time", "", 0.1), ("connections.usage", "", 3.0))
    hub.read(
        ("service.state", "", "down"), ("response.time", "", NOT_THERE), ("connections.usage", "", NOT_THERE), times=60
    )
    assert hub.gone() == {}


# ---- what is not missed ----


def test_a_series_under_a_new_name_is_not_gone() -> None:
    hub = Hub()
    columns = (
        Series("hub", "device.answering"),
        *(Series("hub", "leak", name, name, f"1.3.{n}") for n, name in enumerate("ab")),
    )
    hub.presence.join(Sweep("hub", 10_000.0, columns, ("yes", "dry", "dry")), ENV)
    renamed = (*columns[:2], dataclasses.replace(columns[2], instance="rack 2", label="rack 2"))
    for at in range(10_030, 10_400, 30):
        last = hub.presence.join(Sweep("hub", float(at), renamed, ("yes", "dry", "dry")), ENV)
    assert last.series is renamed


def test_another_mount_is_not_the_old_one_under_a_new_name() -> None:
    hub = Hub()
    names = ("/", "/data", "/data2")
    columns = [Series("hub", "disk.usage", name, name, "statvfs") for name in names]
    answering = Series("hub", "device.answering")
    hub.presence.join(Sweep("hub", 10_000.0, (answering, *columns[:2]), ("yes", 1.0, 1.0)), ENV)
    after = (answering, columns[0], columns[2])
    for at in range(10_030, 10_400, 30):
        hub.last = hub.presence.join(Sweep("hub", float(at), after, ("yes", 1.0, 1.0)), ENV)
    assert hub.parts() == {"disk /data"}


def test_a_series_without_a_source_is_not_taken_for_a_new_name() -> None:
    hub = Hub()
    answering = Series("hub", "device.answering")
    hub.presence.join(Sweep("hub", 10_000.0, (answering, Series("hub", "leak", "a")), ("yes", "dry")), ENV)
    after = (answering, Series("hub", "leak", "b"))
    for at in range(10_030, 10_400, 30):
        hub.last = hub.presence.join(Sweep("hub", float(at), after, ("yes", "dry")), ENV)
    assert hub.parts() == {"leak a"}


def test_a_row_that_took_the_place_of_another_is_not_its_new_name() -> None:
    hub = Hub()
    answering = Series("hub", "device.answering")
    both = (answering, Series("hub", "leak", "a", "a", "1.3.1"), Series("hub", "leak", "b", "b", "1.3.2"))
    hub.presence.join(Sweep("hub", 10_000.0, both, ("yes", "dry", "dry")), ENV)
    moved = (answering, Series("hub", "leak", "b", "b", "1.3.1"))
    for at in range(10_030, 10_400, 30):
        hub.last = hub.presence.join(Sweep("hub", float(at), moved, ("yes", "dry")), ENV)
    assert hub.parts() == {"leak a"}


def test_what_the_profile_no_longer_asks_for_is_not_gone() -> None:
    hub = Hub()
    hub.read(*FIVE)
    hub.asked = lambda series: series.instance != "5"
    hub.read(*FIVE[:4], times=20)
    assert hub.last.series is hub.series


def test_a_profile_that_stops_asking_ends_an_absence() -> None:
    hub = Hub()
    hub.read(*FIVE)
    hub.read(*FIVE[:4], times=10)
    hub.asked = lambda series: series.instance != "5"
    hub.define()
    hub.read(*FIVE[:4])
    assert hub.gone() == {}


def test_a_file_system_that_is_mounted_when_it_is_used_is_not_gone() -> None:
    hub = Hub()
    answering, root = Series("hub", "device.answering"), Series("hub", "disk.usage", "/", "/", "statvfs")
    held = (answering, root, Series("hub", "disk.usage", "/home/a", "/home/a", f"{AUTOMOUNTED}, statvfs"))
    hub.presence.join(Sweep("hub", 10_000.0, held, ("yes", 1.0, 1.0)), ENV)
    for at in range(10_030, 10_400, 30):
        hub.last = hub.presence.join(Sweep("hub", float(at), held[:2], ("yes", 1.0)), ENV)
    assert hub.gone() == {}


def test_what_no_rule_judges_is_not_kept() -> None:
    hub = Hub()
    hub.judged = lambda series: series.instance != "disk /media/usb"
    hub.read(*FIVE, ("disk.usage", "/media/usb", 3.0), ("disk.usage", "/data", 3.0))
    hub.read(*FIVE, ("disk.usage", "/data", NOT_THERE), times=5)
    assert hub.parts() == {"disk /data"}
    assert hub.value("disk.usage", "/media/usb") is None


def test_a_rule_that_begins_to_judge_finds_what_vanishes_from_then_on() -> None:
    hub = Hub()
    hub.judged = lambda series: False
    hub.read(*FIVE)
    hub.judged = lambda series: True
    hub.define()
    hub.read(*FIVE)
    hub.read(*FIVE[:4], times=3)
    assert hub.parts() == {"temperature 5"}


def test_a_device_that_was_redefined_begins_anew() -> None:
    for change in ({"address": "10.0.0.2"}, {"profile": "other"}, {"probe": "modbus"}, {"modbus": Modbus(unit=2)}):
        hub = Hub(address="10.0.0.1")
        hub.read(*FIVE)
        hub.define(**{"address": "10.0.0.1", **change})
        hub.read(*FIVE[:4], times=20)
        assert hub.last.series is hub.series, change


def test_a_new_owner_interval_or_login_is_no_other_device() -> None:
    hub = Hub()
    hub.read(*FIVE)
    hub.define(owner="li.na", every_s=60.0, timeout_s=9.0, location="B")
    hub.read(*FIVE[:4], times=3)
    assert hub.parts() == {"temperature 5"}


def test_the_definition_ignores_the_login() -> None:
    one: Device = device("hub", probe="snmp", address="10.0.0.1", snmp=Snmp(community="a"))
    assert definition_of(one) == definition_of(dataclasses.replace(one, snmp=Snmp(community="b")))
