"""What outlives a restart of the agent of what was read of a device."""

import pytest

from tests.agent_room import device
from tests.presence_room import EVERY_S, FIVE, Hub, Row
from watchkeeper.rules import presence
from watchkeeper.rules.parts import READINGS
from watchkeeper.rules.presence import Presence


def test_what_was_read_before_a_restart_and_is_missing_after_it_is_gone() -> None:
    hub = Hub()
    hub.read(*FIVE)
    again = hub.restarted()
    again.read(*FIVE[:4], times=10)
    assert again.gone() == {}, "our own first sweeps may be incomplete"
    again.read(*FIVE[:4])
    assert again.gone() == {("sensor.absent", "temperature 5"): 300.0}


def test_what_was_missing_for_a_moment_before_a_restart_is_not_gone_after_it() -> None:
    hub = Hub()
    hub.read(*FIVE)
    hub.read(*FIVE[:4])
    again = hub.restarted()
    again.read(*FIVE[:4])
    assert again.gone() == {}
    again.read(*FIVE, times=2)
    assert again.last.series is again.series


def test_what_was_gone_before_a_restart_stays_gone_since_then() -> None:
    hub = Hub()
    hub.read(*FIVE)
    hub.read(*FIVE[:4], times=10)
    again = hub.restarted(boot_later=-7_000.0)
    again.read(*FIVE[:4])
    assert again.gone() == {("sensor.absent", "temperature 5"): 10 * EVERY_S}


def test_a_restart_while_the_device_is_silent() -> None:
    hub = Hub()
    hub.read(*FIVE)
    hub.read(*FIVE[:4], times=10)
    again = hub.restarted()
    again.read(answering="no", times=10)
    again = again.restarted()
    again.read(*FIVE[:4])
    assert again.parts() == {"temperature 5"}


def test_a_record_of_another_device_or_form_is_not_used() -> None:
    hub = Hub(address="10.0.0.1")
    hub.read(*FIVE)
    other = hub.restarted(address="10.0.0.2")
    other.read(*FIVE[:4], times=30)
    assert other.gone() == {}
    for text in ("", "{}", "[]", "nonsense", '{"of": "", "had": [["leak"]], "gone": [], "most": 1}'):
        broken = Hub({"hub": text})
        broken.read(*FIVE[:4], times=30)
        assert broken.gone() == {}


def test_records_are_kept_when_they_change_and_forgotten_with_the_device() -> None:
    hub = Hub()
    hub.read(*FIVE)
    assert set(hub.presence.take_unsaved()) == {"hub"}
    hub.read(*FIVE, times=5)
    assert not hub.presence.changed
    hub.read(*FIVE[:4], times=2)
    hub.presence.take_unsaved()
    hub.read(*FIVE[:4])
    assert hub.presence.changed, "it is gone now"
    hub.presence.take_unsaved()
    hub.presence.activate([])
    assert hub.presence.take_unsaved() == {"hub": None}
    unread = Presence(lambda *_: True, {"old": "{}"})
    unread.activate([device("new")])
    assert unread.take_unsaved() == {"old": None}


def test_a_device_whose_names_change_all_the_time_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert presence.MAX_ABSENCES == 1000
    monkeypatch.setattr(presence, "MAX_ABSENCES", 50)
    hub = Hub()
    for number in range(60):
        hub.read(*FIVE, ("disk.usage", f"/job{number}", 1.0))
    hub.read(*FIVE, times=3)
    assert len(hub.parts()) == 50


def test_what_is_gone_is_told_although_the_device_is_off_after_the_restart() -> None:
    """A column that is missing in three answers ends its verdict."""
    hub = Hub()
    power: Row = ("power.state", "", "on")
    hub.read(*FIVE, power)
    hub.read(*FIVE[:4], power, times=10)
    assert hub.parts() == {"temperature 5"}
    again = hub.restarted()
    again.read(("power.state", "", "off"), times=5)
    assert again.parts() == {"temperature 5"}
    again.read(*FIVE[:4], power, times=20)
    assert again.parts() == {"temperature 5"}


def test_that_it_gives_few_readings_is_told_from_the_first_answer_after_a_restart_on() -> None:
    hub = Hub()
    hub.read(*FIVE)
    hub.read(*FIVE[:2], times=5)
    hub.presence.take_unsaved()
    hub.read(*FIVE[:2], times=2)
    assert not hub.presence.changed
    again = hub.restarted()
    again.read(*FIVE[:2])
    assert again.value(READINGS) == "few"
    again.read(*FIVE)
    assert again.value(READINGS) == "ok"
