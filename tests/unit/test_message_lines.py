"""Each line of a message, in both languages."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from tests.collector_room import NIGHT, ROOT
from watchkeeper.collector.notify.compose import SUBJECT_LENGTH, compose, plain
from watchkeeper.collector.notify.i18n import translator
from watchkeeper.collector.notify.message.draft import (
    Act,
    Contact,
    Handover,
    NextCall,
    NoticeDraft,
    NoticeKind,
    Notified,
    Rounds,
)
from watchkeeper.collector.notify.message.values import duration, format_value, span
from watchkeeper.collector.policy.course import Course, Sample, Trend
from watchkeeper.collector.policy.incidents import Incident, IncidentState, TransitionKind
from watchkeeper.collector.site.inventory import Language, Person, Rung
from watchkeeper.collector.site.load import read_configuration
from watchkeeper.collector.site.snapshot import Snapshot, make_snapshot
from watchkeeper.model.reading import Missing, Reason
from watchkeeper.model.verdict import Evidence, Level

BEGAN, NOW = NIGHT, NIGHT + 1200
LIMIT = "outside 18 .. 27 °C"
HOT = Evidence("temperature.ambient", 27.4, LIMIT, first_value=27.2, first_at=BEGAN - 60)
SUN, ZHOU = Contact("孙涛", "138 0000 0004"), Contact("周刚", "138 0000 0008")


@cache
def snapshot() -> Snapshot:
    return make_snapshot(read_configuration(ROOT / "configs"))


def incident(evidence: Evidence = HOT, **changes: Any) -> Incident:
    found = Incident(
        "sensor-cold-aisle", "environment.temperature", "", "room-1", Level.CRITICAL, Level.CRITICAL, "v1", BEGAN,
        evidence, incident=1,
    )  # fmt: skip
    return replace(found, **changes)


HOTTER = Course(
    now=Sample(NOW - 12, 41.0), fresh=True, first=Sample(BEGAN - 60, 27.2), worst=Sample(NOW - 300, 42.5),
    trend=Trend.RISING, per_hour=40.8,
)  # fmt: skip
OVER = {"state": IncidentState.RESOLVED, "ended_at": NOW - 5}


def draft(language: Language, about: Incident | None = None, course: Course = HOTTER, **fields: Any) -> NoticeDraft:
    handover = Handover(course=course, **fields.pop("handover", {}))
    kind = fields.pop("kind", NoticeKind.PAGE)
    person = Person("li.na", "李娜", (), language)
    return NoticeDraft(kind, about or incident(), person, NOW, handover=handover, **fields)


def message(language: Language, *args: Any, **fields: Any) -> tuple[str, list[str]]:
    subject, text, _ = compose(draft(language, *args, **fields), snapshot())
    return subject, text.splitlines()


def both(*args: Any, **fields: Any) -> tuple[list[str], list[str]]:
    """The lines in English and in Chinese."""
    return message(Language.ENGLISH, *args, **fields)[1], message(Language.CHINESE, *args, **fields)[1]


def subjects(*args: Any, **fields: Any) -> tuple[str, str]:
    return message(Language.ENGLISH, *args, **fields)[0], message(Language.CHINESE, *args, **fields)[0]


# ---- the subject ----


def test_the_subject_is_level_place_device_and_the_value_now_against_its_limit() -> None:
    english, chinese = subjects()
    assert english == "[critical] 冷通道 · sensor-cold-aisle: Room temperature 41 °C (outside 18 .. 27 °C)"
    assert chinese == "【严重】冷通道 · sensor-cold-aisle：机房温度 41 °C（超出 18 .. 27 °C）"
    assert max(map(len, (english, chinese))) <= SUBJECT_LENGTH
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
        "Component gone for (psu 2): 25 min (above 60 s), read at 03:19:55",
        "Since 2026-11-21 03:00:00, unresolved for 20 min",
    ]


def test_how_often_a_flapping_fault_was_there() -> None:
    rounds = Rounds(9, NOW - 28 * 60, 19 * 60)
    for fields in ({"rounds": rounds}, {"handover": {"rounds": rounds}}):
        english, chinese = both(**fields)
        assert "9 times in 28 min, faulty for 19 min of it" in english
        assert "28 分钟内发生 9 次，其中异常 19 分钟" in chinese
    assert not any("times in" in line for line in both(rounds=Rounds(1, BEGAN, 5.0))[0])


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


# ---- people ----

ACTS = (
    Act(TransitionKind.ACKNOWLEDGED, SUN, BEGAN + 300, "on my\nway"),
    Act(TransitionKind.ESCALATED, SUN, BEGAN + 420, "the compressor is seized"),
)
TOLD = (Notified(SUN, BEGAN, delivered=True), Notified(Contact("gone"), BEGAN + 600, delivered=False))


def test_who_acted_who_was_told_and_who_is_next() -> None:
    coming = NextCall((ZHOU, Contact("Ann")), NOW + 600)
    english, chinese = both(handover={"acts": ACTS, "notified": TOLD, "next_call": coming})
    assert english[3:7] == [
        "Acknowledged by 孙涛 138 0000 0004 at 03:05: on my way",
        "Escalated by 孙涛 138 0000 0004 at 03:07: the compressor is seized",
        "Notified so far: 孙涛 03:00, gone (not delivered)",
        "Next, at 03:30 (in 10 min): 周刚 138 0000 0008, Ann",
    ]
    assert chinese[3:7] == [
        "已由 孙涛 138 0000 0004 于 03:05 确认：on my way",
        "已由 孙涛 138 0000 0004 于 03:07 手动升级：the compressor is seized",
        "已通知：孙涛 03:00, gone (未送达)",
        "下一级，03:30（10 分钟后）：周刚 138 0000 0008, Ann",
    ]


def test_a_page_tells_the_newest_act_of_each_kind_and_a_recovery_all() -> None:
    acts = (*ACTS, Act(TransitionKind.ESCALATED, ZHOU, BEGAN + 900, ""))
    told = [line for line in both(handover={"acts": acts})[0] if line.startswith("Escalated")]
    assert told == ["Escalated by 周刚 138 0000 0008 at 03:15"]
    over = both(incident(**OVER), kind=NoticeKind.RECOVERED, handover={"acts": acts})[0]
    assert len([line for line in over if line.startswith("Escalated")]) == 2


def test_nobody_has_acknowledged_it() -> None:
    english, chinese = both(handover={"notified": TOLD})
    assert "Nobody has acknowledged it yet" in english
    assert "尚无人确认" in chinese
    assert not any("acknowledged" in line for line in both()[0]), "the first page is before anybody could"
    over = both(incident(**OVER), kind=NoticeKind.RECOVERED, handover={"notified": TOLD})
    assert "Nobody acknowledged it" in over[0]
    assert "无人确认过" in over[1]


def test_the_next_people() -> None:
    english, chinese = both(handover={"next_call": NextCall()})
    assert "Nobody else is notified after this" in english
    assert "此后不再通知其他人" in chinese
    english, chinese = both(handover={"next_call": NextCall((ZHOU,), NOW - 5)})
    assert "Next, at once: 周刚 138 0000 0008" in english
    assert "下一级，立即：周刚 138 0000 0008" in chinese
    assert not any("Next" in line or "Nobody" in line for line in both()[0]), "unknown is not nobody"


def test_who_is_notified_at_the_same_moment() -> None:
    people = (Person("li.na", "李娜", ()), Person("zhou", "周刚", (), phone="138 0000 0008"))
    english, chinese = both(together=people)
    assert "Notified together with you: 周刚 138 0000 0008" in english
    assert "与您同时通知：周刚 138 0000 0008" in chinese
    assert not any("together" in line for line in both(together=people[:1])[0])


def test_a_note_is_one_line_of_bounded_length() -> None:
    act = Act(TransitionKind.ACKNOWLEDGED, SUN, BEGAN, "x" * 500)
    (line,) = (line for line in both(handover={"acts": (act,)})[0] if line.startswith("Ack"))
    assert line.endswith("x…")
    assert len(line) < 220


def test_what_depends_on_the_device() -> None:
    names = tuple(f"web-{n}" for n in range(1, 8))
    english, chinese = both(handover={"dependants": names})
    assert "Devices that depend on it (7): web-1, web-2, web-3, web-4, web-5, …" in english
    assert "依赖它的设备（7 台）：web-1, web-2, web-3, web-4, web-5, …" in chinese


# ---- several incidents ----


def behind(count: int) -> Sequence[Incident]:
    one = incident(Evidence("device.answering", "no", "is no"), rule="device.not-answering")
    some = [replace(one, device=f"web-{n}", incident=n + 1, began_at=BEGAN + n) for n in range(1, count + 1)]
    return tuple(replace(one, level=Level.WARNING) if one.device != "web-4" else one for one in some)


def test_further_incidents_are_counted_by_rule_and_the_worst_are_named() -> None:
    others = (*behind(6), incident(rule="service.down", device="shop", level=Level.WARNING))
    subject, lines = message(Language.ENGLISH, others=others)
    assert subject.endswith("Room temperature 41 °C (outside 18 .. 27 °C) and 7 more")
    assert lines[3] == "And 7 more: web-4, shop, web-1, web-2, web-3, … (Device unreachable 6, Service is down 1)"
    assert both(others=others)[1][3] == "另有 7 项：web-4, shop, web-1, web-2, web-3, …（设备不可达 6, 服务中断 1）"
    _, text, facts = plain(draft(Language.ENGLISH, others=others))
    assert facts["others"] == [2, 3, 4, 5, 6, 7, 1]
    assert "and 7 more" in plain(draft(Language.ENGLISH, others=others))[0]
    assert text == ""


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


# ---- the rest ----


def test_the_order_is_that_in_which_a_person_needs_it() -> None:
    handover = {"acts": ACTS, "notified": TOLD, "next_call": NextCall((ZHOU,), NOW + 600), "dependants": ("web-1",)}
    rung = Rung("owner", 600.0, ("owner",), say="Start at once.", vendor_contact=True)
    lines = both(
        handover=handover, rung=rung, because="You are notified because of tests", url="https://x", others=behind(1)
    )[0]
    starts = ["Room temp", "It is rising", "Since", "And 1 more", "To do: Start", "Call", "You are notified",
              "Acknowledged", "Escalated", "Notified so far", "Next", "Devices that depend", "Check that", "Where", "Regulation", "https://x"]  # fmt: skip
    assert [line.startswith(start) for line, start in zip(lines, starts, strict=True)] == [True] * len(starts)


def test_programs_get_the_same_as_facts() -> None:
    about = incident(acknowledged_by="sun.tao")
    facts = compose(draft(Language.ENGLISH, about, handover={"acts": ACTS}), snapshot())[2]
    assert (facts["value"], facts["now"]) == (27.4, {"value": 41.0, "at": NOW - 12})
    assert facts["first"] == {"value": 27.2, "at": BEGAN - 60}
    assert facts["worst"] == {"value": 42.5, "at": NOW - 300}
    assert (facts["per_hour"], facts["acknowledged_by"]) == (40.8, "sun.tao")
    assert facts["escalated"] == [{"by": "孙涛", "at": BEGAN + 420, "note": "the compressor is seized"}]


def test_a_draft_of_which_nothing_is_known_is_composed_from_its_evidence() -> None:
    bare = NoticeDraft(NoticeKind.PAGE, incident(), Person("li.na", "李娜", ()), NOW)
    subject, text, _ = compose(bare, snapshot())
    assert subject.endswith("Room temperature 27.4 °C at 03:00:00 (outside 18 .. 27 °C)")
    assert text.splitlines()[:2] == [
        "Room temperature out of range: 27.4 °C (outside 18 .. 27 °C)",
        "Since 2026-11-21 03:00:00, unresolved for 20 min",
    ]
