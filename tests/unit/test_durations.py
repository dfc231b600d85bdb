"""Measured durations in messages and on pages."""

import pytest

from watchkeeper.collector.notify.i18n import translator
from watchkeeper.collector.notify.message.values import duration, readable
from watchkeeper.collector.site.inventory import Language


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"), (0.0123456, "0.012 s"), (59.0, "59 s"), (60.0, "1 min"), (90.0, "1 min 30 s"), (240.0, "4 min"),
        (3599.6, "59 min 59 s"), (3630.0, "1 h"), (12_000.0, "3 h 20 min"), (86_400.0, "1 d"), (200_000.0, "2 d 7 h"),
        (-86_400.0, "-1 d"), (-30.0, "-30 s"),
    ],
)  # fmt: skip
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds, translator(Language.ENGLISH)) == text


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        ("240 s", "4 min"), ("5 min", "5 min"), ("1.5 h", "1 h 30 min"), ("14 d", "14 d"), ("85 %", "85 %"), ("18 .. 27 °C", "18 .. 27 °C"),
        ("", ""), ("5 m/s", "5 m/s"), ("5 .. 10 min", "5 .. 10 min"),
    ],
)  # fmt: skip
def test_a_limit_that_is_a_duration_reads_as_one(limit: str, text: str) -> None:
    assert readable(limit, translator(Language.ENGLISH)) == text


def test_durations_are_translated() -> None:
    chinese = translator(Language.CHINESE)
    assert [duration(seconds, chinese) for seconds in (5.0, 240.0, 250.0, 7200.0, 9000.0)] == [
        "5 秒", "4 分钟", "4 分 10 秒", "2 小时", "2 小时 30 分",
    ]  # fmt: skip
