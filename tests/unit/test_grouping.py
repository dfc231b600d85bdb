"""Which incidents belong together, and which never do."""

from dataclasses import dataclass, field, replace

import pytest

from watchkeeper.collector.policy.grouping import (
    EXPLAINS_S,
    PARENT_LATE_S,
    SAME_DEVICE_S,
    SAME_PLACE_S,
    Candidates,
    Fault,
    Joined,
    Membership,
    can_be_explained,
)

NOW = 10_000.0


@dataclass
class Chain:
    """feed -> ups -> pdu -> web; switch -> web."""

    up: dict[str, tuple[str, ...]] = field(
        default_factory=lambda: {"web": ("pdu", "switch", "ups", "feed"), "pdu": ("ups", "feed"), "ups": ("feed",)}
    )

    def ancestors(self, name: str) -> tuple[str, ...]:
        return self.up.get(name, ())

    def dependants(self, name: str) -> tuple[str, ...]:
        return tuple(one for one, above in self.up.items() if name in above)


def fault(number: int, device: str, quantity: str, at: float = NOW, **change: object) -> Fault:
    made = Fault(number, device, f"rule.{quantity}", quantity, f"row of {device}", at, trouble=number)
    return replace(made, **change)  # type: ignore[arg-type]


def joined(new: Fault, *known: Fault) -> Membership | None:
    candidates = Candidates(Chain())
    for one in known:
        candidates.add(one)
    return candidates.membership(new)


SILENT_SWITCH = fault(1, "switch", "device.answering")
ON_BATTERY = fault(2, "ups", "output.source")


@pytest.mark.parametrize(
    ("cause", "quantity"),
    [
        (SILENT_SWITCH, "device.answering"),
        (ON_BATTERY, "device.answering"),
        (ON_BATTERY, "input.voltage"),
        (ON_BATTERY, "psu.health"),
        (replace(ON_BATTERY, quantity="breaker.state"), "power.state"),
    ],
)
def test_a_fault_of_what_a_device_depends_on_explains_it(cause: Fault, quantity: str) -> None:
    effect = fault(9, "web", quantity, NOW + EXPLAINS_S)
    assert joined(effect, cause) == Membership(cause.trouble, Joined.EXPLAINED, cause.incident)


@pytest.mark.parametrize(
    ("cause", "quantity"),
    [
        (SILENT_SWITCH, "disk.usage"),
        (SILENT_SWITCH, "cpu.usage"),
        (SILENT_SWITCH, "psu.health"),
        (replace(ON_BATTERY, began_at=NOW + 7_100.0), "disk.usage"),
        (
            replace(ON_BATTERY, quantity="battery.health", began_at=NOW + 7_100.0),
            "device.answering",
        ),  # a worn battery switches nothing off
        (replace(SILENT_SWITCH, quantity="cpu.usage"), "device.answering"),
        (replace(SILENT_SWITCH, device="other"), "device.answering"),
        (replace(SILENT_SWITCH, open=False), "device.answering"),
        (ON_BATTERY, "device.answering"),  # for two hours already: a server that dies now has a reason of its own
        (replace(SILENT_SWITCH, began_at=NOW + 7_200.0 + PARENT_LATE_S + 1.0), "device.answering"),
    ],
)
def test_an_unrelated_fault_is_never_hidden_behind_an_older_one(cause: Fault, quantity: str) -> None:
    assert joined(fault(9, "web", quantity, NOW + 7_200.0), cause) is None


def test_what_is_silent_explains_the_silence_behind_it_for_as_long_as_it_lasts() -> None:
    late = fault(9, "web", "device.answering", NOW + 30 * EXPLAINS_S)
    assert joined(late, SILENT_SWITCH) == Membership(1, Joined.EXPLAINED, 1)


def test_nothing_explains_its_own_cause() -> None:
    """The mains were lost first and explained the battery. They come and go; the battery, which is older now, explains nothing."""
    battery = replace(ON_BATTERY, explained_by=7)
    again = fault(7, "ups", "input.voltage", NOW + 200.0)
    assert joined(again, ON_BATTERY) == Membership(2, Joined.EXPLAINED, 2)
    assert joined(again, battery) is None
    assert joined(again, replace(ON_BATTERY, explained_by=8), fault(8, "feed", "input.state", explained_by=7)) is None


def test_the_nearest_cause_explains() -> None:
    pdu = fault(3, "pdu", "input.voltage", NOW + 60.0)
    found = joined(fault(9, "web", "device.answering", NOW + 90.0), ON_BATTERY, pdu)
    assert found == Membership(3, Joined.EXPLAINED, 3)


def test_a_later_fault_of_one_device_joins_only_what_explains_it() -> None:
    later = NOW + SAME_DEVICE_S + 1.0
    assert joined(fault(9, "ups", "battery.runtime", later), ON_BATTERY) == Membership(2, Joined.EXPLAINED, 2)
    assert joined(fault(9, "ups", "fan.health", later), ON_BATTERY) is None


@pytest.mark.parametrize(("after_s", "same"), [(0.0, True), (SAME_DEVICE_S, True), (SAME_DEVICE_S + 0.5, False)])
def test_faults_of_one_device_that_begin_together_are_one_trouble(after_s: float, same: bool) -> None:
    found = joined(fault(9, "web", "fan.health", NOW + after_s), fault(4, "web", "cpu.usage"))
    assert found == (Membership(4, Joined.DEVICE) if same else None)


@pytest.mark.parametrize(
    ("after_s", "same"), [(SAME_PLACE_S, True), (SAME_PLACE_S + 0.5, False), (-SAME_PLACE_S, True)]
)
def test_one_rule_that_fails_in_one_place_at_the_same_time_is_one_trouble(after_s: float, same: bool) -> None:
    first = fault(4, "a", "disk.usage", place="row 1")
    found = joined(fault(9, "b", "disk.usage", NOW + after_s, place="row 1"), first)
    assert found == (Membership(4, Joined.PLACE) if same else None)
    assert joined(fault(9, "b", "disk.usage", NOW, place="row 2"), first) is None
    assert joined(fault(9, "b", "cpu.usage", NOW, place="row 1"), first) is None


def test_a_burst_goes_on_while_each_fault_follows_the_one_before() -> None:
    candidates = Candidates(Chain())
    for number in range(1, 6):
        one = fault(number, f"d{number}", "disk.usage", NOW + number * SAME_PLACE_S, place="row 1", trouble=1)
        if number > 1:
            assert candidates.membership(one) == Membership(1, Joined.PLACE)
        candidates.add(one)


def test_a_cause_that_is_noticed_later_finds_its_effects() -> None:
    candidates = Candidates(Chain())
    early = fault(5, "web", "device.answering", NOW - 100.0)
    for one in (
        early,
        fault(6, "pdu", "disk.usage"),
        fault(7, "web", "device.answering", NOW - PARENT_LATE_S - 1.0),
        fault(8, "web", "device.answering", open=False),
    ):
        candidates.add(one)
    assert list(candidates.explained(SILENT_SWITCH)) == [early]


def test_a_fault_of_one_device_does_not_explain_an_earlier_one_of_it() -> None:
    candidates = Candidates(Chain())
    candidates.add(fault(5, "ups", "battery.runtime", NOW - 10.0))
    assert list(candidates.explained(ON_BATTERY)) == []


def test_only_what_may_have_its_cause_elsewhere_waits_for_its_parent() -> None:
    assert can_be_explained("device.answering")
    assert can_be_explained("input.voltage")
    assert not can_be_explained("disk.usage")


def test_what_is_explained_gathers_nothing_around_it() -> None:
    effect = fault(3, "web", "device.answering", explained_by=1)
    assert joined(fault(9, "web", "disk.usage"), effect) is None
    assert joined(fault(9, "db", "device.answering", place=effect.place), effect) is None
    assert joined(fault(9, "web", "disk.usage"), replace(effect, explained_by=0)) == Membership(3, Joined.DEVICE)


def test_what_is_explained_meanwhile_gathers_nothing_more_and_the_one_before_it_does() -> None:
    candidates = Candidates(Chain())
    for one in (fault(3, "web", "disk.usage", NOW - 5.0), fault(4, "web", "cpu.usage", NOW - 1.0)):
        candidates.add(one)
    candidates.set_explained(fault(4, "web", "cpu.usage"), 1)
    assert candidates.membership(fault(9, "web", "memory.usage")) == Membership(3, Joined.DEVICE)
    late = fault(9, "web", "memory.usage", NOW - 5.0 + SAME_DEVICE_S + 0.1)
    assert candidates.membership(late) is None, "that one is too old"


def test_of_two_faults_of_one_reading_the_first_explains_the_second_and_not_the_reverse() -> None:
    first, second = fault(1, "ups", "output.source"), fault(2, "ups", "input.voltage")
    assert joined(second, first) == Membership(1, Joined.EXPLAINED, 1)
    assert joined(first, second) == Membership(2, Joined.DEVICE)


def test_a_fault_does_not_explain_itself_nor_one_that_is_over() -> None:
    assert joined(replace(ON_BATTERY, trouble=0), ON_BATTERY) == Membership(2, Joined.DEVICE)
    assert joined(fault(9, "web", "device.answering"), replace(ON_BATTERY, open=False)) is None


def test_a_cause_may_be_noticed_later_by_so_much() -> None:
    early = fault(9, "web", "device.answering", NOW - PARENT_LATE_S)
    assert joined(early, ON_BATTERY) is not None
    assert joined(replace(early, began_at=early.began_at - 0.1), ON_BATTERY) is None


def test_a_fault_joins_the_latest_of_those_that_began_at_the_same_time() -> None:
    known = [fault(n, "web", "disk.usage", NOW + n, rule=f"r{n}") for n in (2, 1, 3)]
    assert joined(fault(9, "web", "cpu.usage", NOW + 2.5), *known) == Membership(3, Joined.DEVICE)
    assert joined(fault(9, "web", "cpu.usage", NOW + 2.0 - SAME_DEVICE_S), *known) == Membership(2, Joined.DEVICE)
