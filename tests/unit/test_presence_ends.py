"""How an absence ends, and a device that gives few readings."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.presence_room import FIVE, NOT_THERE, SILENT, Hub, Row, warm
from watchkeeper.model.reading import Missing, Reason
from watchkeeper.rules.parts import READINGS
from watchkeeper.rules.presence import BY_INVENTORY

# ---- how it ends ----


def test_a_confirmed_removal_is_forgotten_until_it_is_back() -> None:
    hub = Hub()
    hub.read(*FIVE)
    hub.read(*FIVE[:4], times=5)
    hub.presence.remove("hub", "temperature 5", "removed: by li.na")
    (removal,) = hub.presence.removals
    assert (removal.device, removal.reason) == ("hub", "removed: by li.na")
    assert removal.keys == {("temperature.ambient", "5"), ("sensor.absent", "temperature 5")}
    hub.read(*FIVE[:4], times=20)
    assert hub.last.series is hub.series
    hub.read(*FIVE)
    hub.read(*FIVE[:4], times=3)
    assert hub.parts() == {"temperature 5"}


def test_a_removal_of_what_keeps_its_column_is_never_present_again() -> None:
    hub = Hub()
    hub.read(*FIVE, ("psu.health", "2", "ok"))
    empty: Row = ("psu.health", "2", Missing(Reason.ABSENT, "the part is not installed"))
    hub.read(*FIVE, empty, times=5)
    hub.presence.remove("hub", "psu 2", "removed")
    hub.read(*FIVE, empty, times=50)
    assert hub.last.series is hub.series


@pytest.mark.parametrize("part", ["temperature 1", "temperature 4", "5", "", "no such part", READINGS])
def test_only_what_is_gone_can_be_removed(part: str) -> None:
    hub = Hub()
    hub.read(*FIVE)
    hub.read(*FIVE[:4], times=5)
    hub.presence.remove("hub", part, "removed")
    hub.presence.remove("no such device", "temperature 5", "removed")
    assert hub.presence.removals == []
    hub.read(*FIVE[:4])
    assert hub.parts() == {"temperature 5"}


def test_what_is_missing_for_a_moment_cannot_be_removed() -> None:
    hub = Hub()
    hub.read(*FIVE)
    hub.read(*FIVE[:4])
    hub.presence.remove("hub", "temperature 5", "removed")
    assert hub.presence.removals == []


def test_a_second_confirmation_changes_nothing() -> None:
    hub = Hub()
    hub.read(*FIVE)
    hub.read(*FIVE[:4], times=5)
    for _ in range(2):
        hub.presence.remove("hub", "temperature 5", "removed")
    assert len(hub.presence.removals) == 1


@pytest.mark.parametrize("pattern", ["5", "temperature 5", "temp*"])
def test_the_inventory_says_that_a_part_is_removed(pattern: str) -> None:
    hub = Hub()
    hub.read(*FIVE)
    hub.read(*FIVE[:4], times=5)
    hub.define(without=(pattern,))
    hub.read(*FIVE[:4])
    assert hub.last.series is hub.series
    assert [(one.reason, ("sensor.absent", "temperature 5") in one.keys) for one in hub.presence.removals] == [
        (BY_INVENTORY, True)
    ]


def test_a_part_that_the_device_is_without_is_not_missed_while_others_are() -> None:
    hub = Hub(without=("4",))
    hub.read(*FIVE)
    hub.read(*FIVE[:3], times=4)
    assert hub.parts() == {"temperature 5"}


# ---- a device that gives few readings ----


def test_fewer_than_half_of_the_readings_are_one_finding() -> None:
    hub = Hub()
    hub.read(*FIVE)
    hub.read(*FIVE[:2], times=5)
    assert hub.value(READINGS) == "few"
    assert hub.gone() == {}
    hub.read(*FIVE, times=2)
    assert hub.value(READINGS) == "ok"
    hub.read(*FIVE, times=25)
    assert hub.last.series is hub.series


def test_half_of_the_readings_are_enough() -> None:
    hub = Hub()
    six = [*FIVE, *warm("6")]
    hub.read(*six)
    hub.read(*six[:3], times=5)
    assert hub.value(READINGS) is None
    assert hub.parts() == {"temperature 4", "temperature 5", "temperature 6"}


def test_of_few_readings_each_is_told() -> None:
    hub = Hub()
    hub.read(*FIVE[:3])
    hub.read(*[(one, part, NOT_THERE) for one, part, _ in FIVE[:3]], times=4)
    assert hub.value(READINGS) is None
    assert hub.parts() == {"temperature 1", "temperature 2", "temperature 3"}


@pytest.mark.parametrize("rows", [[], [("uptime", "", 9000.0)], [("uptime", "", 9000.0), ("leak", "1", SILENT)]])
def test_a_device_that_gives_nothing(rows: list[Row]) -> None:
    hub = Hub()
    hub.read(*rows)
    assert hub.value(READINGS) == "none"


def test_a_device_with_many_readings_that_gives_none_any_more() -> None:
    hub = Hub()
    hub.read(*FIVE)
    hub.read(*[(one, part, Missing(Reason.MALFORMED, "")) for one, part, _ in FIVE])
    assert hub.value(READINGS) == "none"


def test_another_profile_that_reads_less_than_half_is_found_even_if_it_asks_for_no_more() -> None:
    hub = Hub()
    hub.read(*FIVE)
    hub.asked = lambda series: series.instance in ("1", "2")
    hub.read(*FIVE[:2], times=3)
    assert hub.value(READINGS) == "few"


def test_it_is_remembered_over_a_restart_how_much_was_read() -> None:
    hub = Hub()
    hub.read(*FIVE)
    again = hub.restarted()
    again.read(*FIVE[:2], times=10)
    assert again.value(READINGS) is None, "our own first sweeps may be incomplete"
    again.read(*FIVE[:2])
    assert again.value(READINGS) == "few"


def test_another_profile_after_a_restart_that_reads_less_than_half_is_found_too() -> None:
    hub = Hub()
    hub.read(*FIVE)
    again = hub.restarted()
    again.asked = lambda series: series.instance in ("1", "2")
    again.read(*FIVE[:2], times=11)
    assert again.value(READINGS) == "few"


def test_of_few_readings_what_is_gone_is_told_although_no_other_has_a_value() -> None:
    hub = Hub()
    hub.read(*FIVE[:2])
    broken: Row = ("temperature.ambient", "1", Missing(Reason.MALFORMED, ""))
    hub.read(broken, times=4)
    assert hub.value(READINGS) == "none"
    assert hub.parts() == {"temperature 2"}


def test_a_device_that_has_just_started_is_not_blind() -> None:
    hub = Hub()
    hub.read(*FIVE, ("uptime", "", 9000.0))
    hub.read(("uptime", "", 20.0))
    assert hub.value(READINGS) is None
    hub.read(("uptime", "", 300.0))
    assert hub.value(READINGS) == "none"


@pytest.mark.parametrize("uptime", [0.0, 20.0])
def test_a_device_whose_uptime_stands_still_is_blind_after_a_while(uptime: float) -> None:
    hub = Hub()
    row: Row = ("uptime", "", uptime)
    hub.read(*FIVE, row)
    hub.read(row, times=10)
    assert hub.value(READINGS) is None
    hub.read(row)
    assert hub.value(READINGS) == "none"


def test_what_was_removed_one_by_one_does_not_count_any_more() -> None:
    hub = Hub()
    hub.read(*FIVE)
    for number in (4, 3, 2, 1):
        hub.read(*FIVE[:number], times=5)
        hub.presence.remove("hub", f"temperature {number + 1}", "removed")
        hub.read(*FIVE[:number], times=20)
        assert hub.last.series is hub.series, number


def test_what_may_come_and_go_does_not_count() -> None:
    """A machine whose containers have ended is not blind."""
    hub = Hub()
    hub.judged = lambda series: not series.instance.startswith("network veth")
    guests: list[Row] = [("network.sent", f"veth{number}", 1.0) for number in range(20)]
    hub.read(*FIVE, *guests)
    hub.read(*FIVE, times=5)
    assert hub.last.series is hub.series
    hub.read(*FIVE, *[(one, part, SILENT) for one, part, _ in guests], times=5)
    assert hub.last.series is hub.series


def test_a_device_of_which_only_such_things_have_a_value_gives_few_readings_but_not_none() -> None:
    for number, told in ((5, "few"), (0, None)):
        hub = Hub()
        hub.judged = lambda series: not series.instance.startswith("network veth")
        guest: Row = ("network.sent", "veth1", 1.0)
        hub.read(*FIVE[:number], guest)
        hub.read(*[(one, part, Missing(Reason.MALFORMED, "")) for one, part, _ in FIVE[:number]], guest)
        assert hub.value(READINGS) == told


def test_a_person_confirms_that_it_gives_less_now() -> None:
    hub = Hub()
    hub.read(*FIVE)
    hub.read(*FIVE[:2], times=5)
    hub.presence.remove("hub", READINGS, "rebuilt")
    (removal,) = hub.presence.removals
    assert (READINGS, "") in removal.keys
    assert ("temperature.ambient", "5") in removal.keys
    hub.read(*FIVE[:2], times=20)
    assert hub.last.series is hub.series


def test_what_is_gone_stays_so_while_the_device_gives_few_readings() -> None:
    hub = Hub()
    hub.read(*FIVE)
    hub.read(*FIVE[:4], times=5)
    hub.read(*FIVE[:1], times=20)
    assert hub.parts() == {"temperature 5"}
    hub.define()
    hub.read(*FIVE[:1])
    assert hub.parts() == {"temperature 5"}


# ---- any run ----

STEPS = st.lists(st.sampled_from(["there", "away", "empty", "timeout", "silent"]), min_size=1, max_size=40)


def play(hub: Hub, steps: Iterable[str]) -> None:
    for step in steps:
        last: dict[str, list[Row]] = {
            "there": warm("5"),
            "away": [],
            "empty": [("temperature.ambient", "5", NOT_THERE)],
            "timeout": [("temperature.ambient", "5", SILENT)],
            "silent": [("temperature.ambient", "5", SILENT)],
        }
        hub.read(*FIVE[:4], *last[step], answering="no" if step == "silent" else "yes")


@given(STEPS, st.integers(0, 40))
def test_a_restart_in_between_changes_nothing_that_lasts(steps: list[str], cut: int) -> None:
    whole, hub = Hub(), Hub()
    play(whole, ["there", *steps])
    play(hub, ["there", *steps[:cut]])
    hub = hub.restarted()
    play(hub, steps[cut:])
    for end in ("away", "empty"):
        play(whole, [end] * 15)
        play(hub, [end] * 15)
        assert whole.parts() == hub.parts() == {"temperature 5"}
    play(whole, ["there"] * 25)
    play(hub, ["there"] * 25)
    assert whole.last.series is whole.series
    assert hub.last.series is hub.series


@given(STEPS)
def test_nothing_is_told_before_three_answers_without_it(steps: list[str]) -> None:
    hub, misses = Hub(), 0
    play(hub, ["there"])
    for step in steps:
        play(hub, [step])
        misses = 0 if step == "there" else misses + (step in ("away", "empty"))
        assert not hub.parts() or misses >= 3


@given(STEPS)
def test_what_never_had_a_value_is_never_told(steps: list[str]) -> None:
    hub = Hub()
    play(hub, [step for step in steps if step != "there"])
    assert hub.gone() == {}
