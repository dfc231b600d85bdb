"""The lines of a message about the fault: the value now, its course, durations, and the end; in both languages."""

from dataclasses import replace

import pytest

from tests.message_drafts import (
    ACTS,
    BEGAN,
    HOTTER,
    NOW,
    OVER,
    SUN,
    TOLD,
    both,
    draft,
    incident,
    message,
    snapshot,
    subjects,
)
from watchkeeper.collector.notify.compose import SUBJECT_LENGTH, compose
from watchkeeper.collector.notify.i18n import translator
from watchkeeper.collector.notify.message.draft import (
    Act,
    NextCall,
    NoticeKind,
)
from watchkeeper.collector.notify.message.values import duration, format_value, span
from watchkeeper.collector.policy.course import Course, Sample, Trend
from watchkeeper.collector.policy.incidents import IncidentState, TransitionKind
from watchkeeper.collector.site.inventory import Language
from watchkeeper.model.reading import Missing, Reason
from watchkeeper.model.verdict import Evidence

# ---- the subject ----


def test_the_subject_is_level_place_device_and_the_value_now_against_its_limit() -> None:
    english, chinese = subjects()
    assert english == "[critical] 冷通道 · sensor-cold-aisle: Room temperature 41 °C (outside 18 .. 27 °C)"
    assert chinese == "【严重】冷通道 · sensor-cold-aisle：机房温度 41 °C（超出 18 .. 27 °C）"
    assert max(map(len, (english, chinese))) <= SUBJECT_LENGTH
    assert subjects(kind=NoticeKind.RISEN)[0].startswith("[now critical] 冷通道 · sensor-cold-aisle: Room temp")
    assert subjects(kind=NoticeKind.RISEN)[1].startswith("【已转为严重】冷通道 · sensor-cold-aisle：机房温度 41 °C")


def test_a_long_subject_leaves_the_place_to_the_text() -> None:
    about = incident(device="sensor-hot-aisle-north-of-the-second-row")
    known = snapshot()
    device = replace(known.devices["sensor-cold-aisle"], device=about.device, location="Room 2, row B")
    known = replace(known, devices={**known.devices, about.device: device})
    subject, text, _ = compose(draft(Language.ENGLISH, about), known)
    assert subject == f"[critical] {about.device}: Room temperature 41 °C (outside 18 .. 27 °C)"
    assert "Where: Room 2, row B" in text.splitlines()
    assert not any("冷通道" in line for line in both()[0])


def test_a_state_is_named_by_the_rule_s_title() -> None:
    evidence = Evidence("device.answering", "no", "is no", says="timeout")
    about = incident(evidence, rule="device.not-answering")
    course = Course(now=Sample(NOW - 5, "no"), fresh=True, first=Sample(BEGAN, "no"))
    subject, lines = message(Language.ENGLISH, about, course)
    assert subject == "[critical] 冷通道 · sensor-cold-aisle: Device unreachable"
    assert lines[:3] == ["Reachability: unreachable, read at 03:19:55", "Reason: timeout",
                         "Since 2026-11-21 03:00:00, unresolved for 20 min"]  # fmt: skip


# ---- the value now and its course ----


def test_the_value_now_its_course_and_since_when() -> None:
    english, chinese = both()
    assert english[:3] == [
        "Room temperature out of range: 41 °C (outside 18 .. 27 °C), read at 03:19:48",
        "It is rising by 40.8 °C per hour. First: 27.2 °C at 02:59:00. Worst: 42.5 °C at 03:15:00.",
        "Since 2026-11-21 03:00:00, unresolved for 20 min",
    ]
    assert chinese[:3] == [
        "机房温度超出范围：41 °C（超出 18 .. 27 °C），读取于 03:19:48",
        "正在上升，每小时 40.8 °C。 首次异常：27.2 °C（02:59:00）。 最差：42.5 °C（03:15:00）。",
        "自 2026-11-21 03:00:00 起，已 20 分钟未解决",
    ]


def test_a_stale_value_is_not_the_value_now() -> None:
    stale = replace(HOTTER, now=Sample(NOW - 480, 34.0), fresh=False, trend=None)
    english, chinese = both(course=stale)
    assert english[0] == (
        "Room temperature out of range: no current reading. The last one is 8 min old: 34 °C (outside 18 .. 27 °C), "
        "read at 03:12:00"
    )
    assert chinese[0] == (
        "机房温度超出范围：无最新读数。上次读数已是 8 分钟前的：34 °C（超出 18 .. 27 °C），读取于 03:12:00"
    )
    assert "rising" not in english[1]
    assert subjects(course=stale)[0].endswith("Room temperature 34 °C at 03:12:00 (outside 18 .. 27 °C)")
    assert compose(draft(Language.ENGLISH, course=stale), snapshot())[2]["now"] is None


def test_a_value_back_inside_the_limit_is_not_said_to_break_it() -> None:
    back = replace(HOTTER, now=Sample(NOW - 12, 26.5), inside=True, trend=Trend.FALLING, per_hour=None)
    english, chinese = both(course=back)
    assert english[0] == (
        "Room temperature out of range: 26.5 °C, back inside the limit now (outside 18 .. 27 °C), read at 03:19:48"
    )
    assert english[1].startswith("It is falling. First")
    assert chinese[0] == "机房温度超出范围：26.5 °C，目前已回到限值内（超出 18 .. 27 °C），读取于 03:19:48"
    assert subjects(course=back)[0].endswith("sensor-cold-aisle: Room temperature out of range")


def test_a_missing_value_is_told_with_its_reason_and_the_last_value() -> None:
    gone = replace(HOTTER, now=Sample(NOW - 12, Missing(Reason.TIMEOUT)), known=Sample(NOW - 42, 40.0), trend=None)
    english, chinese = both(course=gone)
    assert english[0] == "Room temperature out of range: no reading: timeout, at 03:19:48"
    assert english[1].endswith("Last value: 40 °C at 03:19:18.")
    assert chinese[1].endswith("上次值：40 °C（03:19:18）。")
    assert subjects(course=gone)[0].endswith(": Room temperature out of range")


@pytest.mark.parametrize(
    ("trend", "english", "chinese"),
    [
        (Trend.RISING, "It is rising.", "正在上升。"), (Trend.FALLING, "It is falling.", "正在下降。"),
        (Trend.STEADY, "It is steady.", "保持平稳。"),
    ],
)  # fmt: skip
def test_too_few_readings_give_no_rate(trend: Trend, english: str, chinese: str) -> None:
    lines = both(course=replace(HOTTER, trend=trend, per_hour=None))
    assert lines[0][1].startswith(f"{english} First")
    assert lines[1][1].startswith(f"{chinese} 首次")


def test_what_the_value_says_is_not_said_again() -> None:
    now = Sample(NOW - 12, 41.0)
    assert both(course=replace(HOTTER, worst=now))[0][1].endswith("First: 27.2 °C at 02:59:00. It has not been worse.")
    alone = Course(now=now, fresh=True, first=now, worst=now)
    assert both(course=alone)[0][1].startswith("Since")
    assert both(course=replace(HOTTER, worst=HOTTER.first, trend=None))[0][1] == "Worst: 27.2 °C at 02:59:00."


def test_a_worst_value_of_some_readings_says_so() -> None:
    english, chinese = both(course=replace(HOTTER, one_in=12))
    assert english[1].endswith("Worst: 42.5 °C at 03:15:00 (one reading in 12 was looked at).")
    assert chinese[1].endswith("最差：42.5 °C（03:15:00）（每 12 个读数取 1 个）。")


def test_a_timer_has_no_worst_value() -> None:
    gone = incident(Evidence("hardware.absent", 300.0, "above 60 s", "psu 2"), rule="server.part-gone")
    course = Course(Sample(NOW - 5, 1500.0), fresh=True, worst=Sample(NOW - 5, 1500.0), trend=Trend.RISING)
    assert both(gone, course)[0][:2] == [
        "Component gone for (psu 2): 25 min (above 1 min), read at 03:19:55",
        "Since 2026-11-21 03:00:00, unresolved for 20 min",
    ]


def test_how_often_a_flapping_fault_was_there() -> None:
    flapping = {"recurrence": 9, "opened_at": NOW - 28 * 60, "began_at": NOW - 19 * 60}
    about = incident(began_at=NOW - 90)
    english, chinese = both(about, trouble=flapping)
    assert english[2:4] == [
        "Since 2026-11-21 03:18:30, unresolved for 1 min 30 s",
        "9 times in 28 min, faulty for 19 min of it",
    ]
    assert "28 分钟内发生 9 次，其中异常 19 分钟" in chinese
    ended = {**flapping, "ended_at": NOW - 120, "quiet_since": NOW - 120}
    over = both(incident(**OVER), kind=NoticeKind.RECOVERED, trouble=ended)[0]
    assert "From 2026-11-21 02:52:00 to 03:18:00, 26 min" in over
    assert "9 times in 26 min, faulty for 17 min of it" in over
    assert not any("times in" in line for line in both()[0])


def test_the_time_is_that_of_the_trouble_whichever_incident_it_is_told_by() -> None:
    assert "Since 2026-11-21 03:00:00, unresolved for 20 min" in both(incident(began_at=BEGAN + 300))[0]


# ---- durations ----


@pytest.mark.parametrize(
    ("seconds", "english", "chinese"),
    [
        (0, "0 s", "0 秒"), (59, "59 s", "59 秒"), (240, "4 min", "4 分钟"), (245, "4 min 5 s", "4 分 5 秒"),
        (3600, "1 h", "1 小时"), (3630, "1 h", "1 小时"), (3900, "1 h 5 min", "1 小时 5 分"), (86_400, "1 d", "1 天"),
        (180_000, "2 d 2 h", "2 天 2 小时"), (-5, "0 s", "0 秒"),
    ],
)  # fmt: skip
def test_durations_read_as_people_say_them(seconds: float, english: str, chinese: str) -> None:
    assert span(seconds, translator(Language.ENGLISH)) == english
    assert span(seconds, translator(Language.CHINESE)) == chinese


@pytest.mark.parametrize(
    ("value", "text"), [(0.354, "0.35 s"), (2.0, "2 s"), (9.97, "10 s"), (61.5, "1 min 1 s"), (-259_200.0, "-3 d")]
)
def test_measured_durations(value: float, text: str) -> None:
    assert duration(value, translator(Language.ENGLISH)) == text


def test_the_time_left_on_battery_is_a_duration() -> None:
    assert format_value(240.0, "battery.runtime", translator(Language.ENGLISH)) == "4 min"
    low = incident(Evidence("battery.runtime", 240.0, "below 10 min"), rule="power.battery-runtime", device="ups-1")
    course = Course(Sample(NOW - 5, 240.0), fresh=True, trend=Trend.FALLING, per_hour=-1800.0)
    subject, lines = message(Language.ENGLISH, low, course)
    assert subject == "[critical] 配电间 · ups-1: Battery runtime left 4 min (below 10 min)"
    assert lines[1] == "It is falling by 30 min per hour."


# ---- the end ----


def test_a_recovery_tells_how_long_the_worst_and_who_acted() -> None:
    course = replace(HOTTER, now=Sample(NOW - 5, 24.0), inside=True)
    fields = {"kind": NoticeKind.RECOVERED, "handover": {"acts": ACTS, "notified": TOLD, "next_call": NextCall()}}
    subject, lines = message(Language.ENGLISH, incident(**OVER), course, **fields)
    assert subject == "[recovered] 冷通道 · sensor-cold-aisle: Room temperature out of range"
    assert lines == [
        "Room temperature: 24 °C, read at 03:19:55",
        "First: 27.2 °C at 02:59:00. Worst: 42.5 °C at 03:15:00.",
        "From 2026-11-21 03:00:00 to 03:19:55, 19 min 55 s",
        "Acknowledged by 孙涛 138 0000 0004 at 03:05: on my way",
        "Escalated by 孙涛 138 0000 0004 at 03:07: the compressor is seized",
        "Notified so far: 孙涛 03:00, gone (not delivered)",
        "Regulation: 3.6, 4.2.5.1",
    ]
    chinese = message(Language.CHINESE, incident(**OVER), course, **fields)[1]
    assert chinese[:3] == ["机房温度：24 °C，读取于 03:19:55", "首次异常：27.2 °C（02:59:00）。 最差：42.5 °C（03:15:00）。",
                           "2026-11-21 03:00:00 至 03:19:55，持续 19 分 55 秒"]  # fmt: skip


def test_a_recovery_without_a_reading_after_it_tells_no_value_now() -> None:
    lines = both(incident(**OVER), replace(HOTTER, now=None, fresh=False), kind=NoticeKind.RECOVERED)[0]
    assert lines[0].startswith("First: ")
    state = incident(Evidence("device.answering", "no", "is no"), rule="device.not-answering", **OVER)
    assert both(state, Course(), kind=NoticeKind.RECOVERED)[0][0] == "Last bad reading: Reachability: unreachable"
    assert both(state, Course(), kind=NoticeKind.RECOVERED)[1][0] == "最后一次异常读数：可达性：不可达"


def test_a_fault_closed_by_hand_tells_who_closed_it() -> None:
    acts = (Act(TransitionKind.RESOLVED, SUN, NOW - 5, "the sensor was scrapped"),)
    english, chinese = both(incident(**OVER), kind=NoticeKind.RECOVERED, handover={"acts": acts})
    assert "Resolved by hand by 孙涛 138 0000 0004 at 03:19: the sensor was scrapped" in english
    assert "已由 孙涛 138 0000 0004 于 03:19 手动关闭：the sensor was scrapped" in chinese


def test_a_withdrawal_tells_why_and_no_value_now() -> None:
    about = incident(state=IncidentState.WITHDRAWN, ended_at=NOW)
    lines = both(about, kind=NoticeKind.WITHDRAWN, because="the rule is gone", handover={"notified": TOLD})[0]
    assert lines[0].startswith("First: ")
    assert "the rule is gone" in lines
    assert not any("read at" in line or "acknowledged" in line for line in lines)
