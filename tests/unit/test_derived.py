"""The dew point of a place that measures temperature and humidity."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.profile_box import BOX, Box
from watchkeeper.agent.poll.derived import derive, dew_point
from watchkeeper.model.reading import Missing, Reason, Series, Sweep, Value

WARM, DAMP, DEW = "temperature.ambient", "humidity.relative", "temperature.dewpoint"
ANSWERING = Series("room", "device.answering")


def series(*parts: tuple[str, str, str]) -> tuple[Series, ...]:
    """Series of quantity, instance and label."""
    return (ANSWERING, *(Series("room", *part, f"1.3.{number}") for number, part in enumerate(parts, 1)))


def derived(*parts: tuple[str, str, str]) -> list[tuple[str, str]]:
    """The derived series: instance and label."""
    given = series(*parts)
    return [(one.instance, one.label) for one in derive(given).series[len(given) :]]


@pytest.mark.parametrize(
    ("temperature", "humidity", "expected"),
    [(20.0, 50.0, 9.26), (25.0, 60.0, 16.7), (0.0, 100.0, 0.0), (22.0, 100.0, 22.0), (30.0, 10.0, -5.0), (-10.0, 80.0, -12.8)],
)  # fmt: skip
def test_the_dew_point(temperature: float, humidity: float, expected: float) -> None:
    assert dew_point(temperature, humidity) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize(
    ("temperature", "humidity", "reason"),
    [
        (20.0, 0.0, Reason.IMPLAUSIBLE), (20.0, 101.0, Reason.IMPLAUSIBLE), (-250.0, 50.0, Reason.IMPLAUSIBLE),
        (Missing(Reason.TIMEOUT, "t"), 50.0, Reason.TIMEOUT), (20.0, Missing(Reason.ABSENT, "h"), Reason.ABSENT),
        ("warm", 50.0, Reason.MALFORMED), (20.0, "damp", Reason.MALFORMED),
    ],
)  # fmt: skip
def test_without_both_there_is_none(temperature: Value, humidity: Value, reason: Reason) -> None:
    value = dew_point(temperature, humidity)
    assert isinstance(value, Missing)
    assert value.reason is reason


def test_places_are_paired_by_label_or_name() -> None:
    assert derived((WARM, "", ""), (DAMP, "", "")) == [("", "")]
    assert derived((WARM, "port 1", ""), (DAMP, "port 1", ""), (WARM, "port 2", "")) == [("port 1", "")]
    assert derived((WARM, "1", "rack 7"), (DAMP, "2", "rack 7"), (DAMP, "3", "rack 8")) == [("1", "rack 7")]
    assert derived((DAMP, "a", "rack 8"), (WARM, "b", "rack 7"), (WARM, "c", "rack 8")) == [("c", "rack 8")]


@pytest.mark.parametrize(
    "parts",
    [
        [(WARM, "1", ""), (DAMP, "1", "")],  # row 1 of two tables
        [(WARM, "1.2", ""), (DAMP, "1.2", "")],
        [(WARM, "internal", ""), (DAMP, "port", "")],
        [(WARM, "1", "rack"), (WARM, "2", "rack"), (DAMP, "3", "rack")],
        [(WARM, "1", "rack"), (DAMP, "2", "rack"), (DAMP, "3", "rack")],
        [(WARM, "a", "rack 1"), (DAMP, "a", "rack 2")],
        [("temperature.component", "", ""), (DAMP, "", "")],
        [(WARM, "", ""), ("humidity.setpoint", "", "")],
        [(WARM, "", ""), (DAMP, "", ""), (DEW, "elsewhere", "")],  # one that is measured
        [(WARM, "", "")],
        [],
    ],
)  # fmt: skip
def test_nothing_is_derived_where_it_is_not_certain(parts: Sequence[tuple[str, str, str]]) -> None:
    assert derived(*parts) == []
    given = series(*parts)
    sweep = Sweep("room", 1.0, given, ("yes", *[1.0] * len(parts)))
    assert derive(given).extend(sweep) is sweep, "and nothing is copied"


def test_the_source_says_that_it_is_derived_and_from_what() -> None:
    one = derive(series((WARM, "", "hall"), (DAMP, "", "hall"))).series[-1]
    assert (one.device, one.quantity) == ("room", DEW)
    assert one.source == "derived: dew point of 1.3.1 and 1.3.2"
    assert (
        len(derive((Series("room", WARM, source="x" * 190), Series("room", DAMP, source="x" * 190))).series[-1].source)
        <= 200
    )


def test_a_measured_sensor_and_its_dew_point_are_read_together() -> None:
    profile = f"""readings:
  - {{quantity: temperature.ambient, oid: {BOX}.1.0, raw_unit: 1 °C, source: X}}
  - {{quantity: humidity.relative, oid: {BOX}.2.0, raw_unit: 1 %, source: X}}
"""
    box = Box(profile, {f"{BOX}.1.0": 20, f"{BOX}.2.0": 50})
    sweep = asyncio.run(box.probe.sweep(box.device))
    whole = derive(sweep.series).extend(sweep)
    assert [(one.quantity, value) for one, value in zip(whole.series, whole.values, strict=True)][-1] == (DEW, 9.26)
