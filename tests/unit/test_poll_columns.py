"""The limits on the columns of a device, and the safety of what a probe returns."""

from collections.abc import Sequence

import pytest

from watchkeeper.agent.poll.checked import SweepCheck
from watchkeeper.agent.poll.columns import (
    CHANGES_AT_ONCE,
    CHANGES_PER_S,
    EXCESS,
    FORGET_S,
    MAX_COLUMNS,
    MAX_NAMES,
    ColumnLimits,
)
from watchkeeper.model.device import Category, Device
from watchkeeper.model.reading import Missing, Reason, Series, Sweep, Value

DEVICE = Device("ups-1", "room", Category.UPS, "snmp", "10.0.0.7")
UNSAFE = "a\x1b[31m\u202e\x9bb\nc"
SAFE = "a\ufffd[31m\ufffd\ufffdb\ufffdc"


def swept(names: Sequence[str], at: float = 0.0, values: Sequence[Value] = (), label: str = "") -> Sweep:
    series = (
        Series("ups-1", "device.answering"), *(Series("ups-1", "device.number", name, label) for name in names)
    )  # fmt: skip
    return Sweep("ups-1", at, series, ("yes", *(values or map(float, range(len(names))))))


def named(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def told(limits: ColumnLimits, sweep: Sweep) -> dict[str, Value]:
    """The values by instance, without device.answering; `device.excess` under its own name."""
    admitted = limits.admit(DEVICE, sweep)
    assert len(admitted.series) == len(admitted.values)
    assert admitted.values[0] == "yes"
    return {one.series.instance or one.series.quantity: one.value for one in list(admitted.readings())[1:]}


def test_a_device_within_the_limits_is_passed_on_as_it_is() -> None:
    limits = ColumnLimits()
    for sweep in (swept(["a"]), swept(["a", "b"], 60.0), swept(named("x", MAX_COLUMNS - 1), 120.0)):
        assert limits.admit(DEVICE, sweep) is sweep
    assert limits.facts("ups-1") == ()


def test_columns_beyond_the_limit_are_left_out_and_counted() -> None:
    limits = ColumnLimits()
    first = told(limits, swept(["a", "b"]))
    values = told(limits, swept([*named("x", MAX_COLUMNS), "a", "b"], 60.0))
    assert first == {"a": 0.0, "b": 1.0}
    assert len(values) == MAX_COLUMNS  # with device.excess, and without device.answering
    assert values[EXCESS] == 3.0
    assert (values["a"], values["b"]) == (MAX_COLUMNS, MAX_COLUMNS + 1.0), "what was there before stays"
    assert values["x7"] == 7.0
    ((name, text),) = limits.facts("ups-1")
    assert (name, text.startswith("3 left out")) == ("excess", True)


def test_the_count_goes_back_to_none_when_the_device_is_sane_again() -> None:
    limits = ColumnLimits()
    told(limits, swept(named("x", MAX_COLUMNS + 10)))
    assert told(limits, swept(["a"], 60.0)) == {"a": 0.0, EXCESS: 0.0}
    assert limits.facts("ups-1") == ()


def test_a_device_that_invents_names_at_each_sweep_is_bounded_and_old_names_are_forgotten() -> None:
    limits, seen, declared = ColumnLimits(), set[str](), set[tuple[Series, ...]]()
    for sweep in range(1440):  # a day
        found = limits.admit(DEVICE, swept(["a", *named(f"{sweep}-", 100)], sweep * 60.0))
        declared.add(found.series)
        seen |= {one.instance for one in found.series}
        assert found.values[1] == 0.0, "the reading that stays is always shown"
    assert len(seen) <= MAX_NAMES + MAX_COLUMNS
    assert sum(map(len, declared)) <= CHANGES_AT_ONCE + CHANGES_PER_S * FORGET_S + MAX_COLUMNS
    held = limits._held["ups-1"]
    assert len(held.gone) <= MAX_NAMES
    again = told(limits, swept(["a", "new"], 3 * FORGET_S))
    assert again == {"a": 0.0, "new": 1.0, EXCESS: 0.0}
    assert len(held.gone) <= 101


def test_columns_that_change_too_often_stay_as_they_were_until_there_is_room() -> None:
    limits, names = ColumnLimits(), named("x", 4000)
    for number in range(5):  # 20,005 columns declared
        found = limits.admit(DEVICE, swept(names, number * 0.001, label=str(number)))
    assert found.series[1].label == "3", "the fifth change comes too soon"
    values = told(limits, swept([*names[1:], "new"], 1.0, label="9"))
    assert values["x1"] == 0.0
    assert isinstance(values["x0"], Missing)
    assert values[EXCESS] == 1.0
    assert "new" not in values
    later = told(limits, swept([*names[1:], "new"], 5000.0, label="9"))
    assert (later["new"], later[EXCESS]) == (3999.0, 0.0)


def test_two_columns_of_one_name_are_no_excess() -> None:
    limits = ColumnLimits()
    sweep = swept(["a", "a"])
    assert limits.admit(DEVICE, sweep) is sweep


def test_a_device_that_left_is_forgotten() -> None:
    limits = ColumnLimits()
    told(limits, swept(named("x", MAX_COLUMNS + 10)))
    limits.keep([])
    sweep = swept(["a"])
    assert limits.admit(DEVICE, sweep) is sweep


# ---- what a probe returns ----


def test_words_and_reasons_of_a_device_are_made_safe_and_short() -> None:
    check = SweepCheck()
    sweep = Sweep(
        "ups-1", 1.0, (Series("ups-1", "device.answering"), Series("ups-1", "device.event", UNSAFE, UNSAFE * 100, UNSAFE)),
        ("yes", Missing(Reason.ABSENT, UNSAFE)),
    )  # fmt: skip
    checked = check.check(DEVICE, sweep)
    series = checked.series[1]
    assert (series.instance, series.source) == (SAFE, SAFE)
    assert len(series.label) <= 200
    assert series.label.isprintable()
    assert checked.values[1] == Missing(Reason.ABSENT, SAFE)
    assert check.check(DEVICE, sweep).series is checked.series, "the same tuple at each sweep"


def test_a_good_sweep_is_passed_on_as_it_is() -> None:
    sweep = swept(["机房一号", "b"], values=[1.5, Missing(Reason.TIMEOUT, "no answer")])
    assert SweepCheck().check(DEVICE, sweep) is sweep


@pytest.mark.parametrize(
    ("given", "made"),
    [(7, 7.0), (UNSAFE, SAFE), (float("inf"), None), (10**400, None), (True, None), (None, None), ("x" * 500, None)],
)
def test_a_value_is_a_number_a_short_text_or_missing(given: object, made: Value | None) -> None:
    (_, value) = SweepCheck().check(DEVICE, swept(["a"], values=[given])).values  # type: ignore[list-item]
    if made is not None:
        assert value == made
    elif isinstance(given, str):
        assert isinstance(value, str)
        assert len(value) <= 200
    else:
        assert isinstance(value, Missing)
        assert value.reason is Reason.IMPLAUSIBLE
