"""The lines of a message about people and further incidents, the order of all lines, and the facts."""

from dataclasses import replace

from tests.message_drafts import (
    ACTS,
    BEGAN,
    NOW,
    OVER,
    SUN,
    TOLD,
    ZHOU,
    behind,
    both,
    draft,
    incident,
    message,
    snapshot,
    trouble,
)
from watchkeeper.collector.notify.compose import compose, plain
from watchkeeper.collector.notify.message.draft import (
    Act,
    Contact,
    Lead,
    NextCall,
    NoticeDraft,
    NoticeKind,
)
from watchkeeper.collector.policy.incidents import IncidentState, TransitionKind
from watchkeeper.collector.site.inventory import Language, Person, Rung
from watchkeeper.model.verdict import Level

# ---- people ----


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


def test_who_took_over_is_on_site_or_called_the_vendor() -> None:
    acts = (
        ACTS[0], Act(TransitionKind.TAKEN_OVER, ZHOU, BEGAN + 480), Act(TransitionKind.ON_SITE, SUN, BEGAN + 540),
        Act(TransitionKind.VENDOR, ZHOU, BEGAN + 600, "ticket 7"),
    )  # fmt: skip
    english, chinese = both(handover={"acts": acts})
    assert english[3:6] == [
        "Taken over by 周刚 138 0000 0008 at 03:08",
        "On site since 03:09: 孙涛 138 0000 0004",
        "Handed to the vendor by 周刚 138 0000 0008 at 03:10: ticket 7",
    ]
    assert chinese[3] == "已由 周刚 138 0000 0008 于 03:08 接手"
    assert chinese[4] == "03:09 起在现场：孙涛 138 0000 0004"
    assert chinese[5] == "已由 周刚 138 0000 0008 于 03:10 转交维保服务商：ticket 7"


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


def test_further_incidents_are_counted_by_rule_and_the_worst_are_named() -> None:
    found = behind(6)  # the worst first, as they are gathered
    others = (
        found[3],
        incident(rule="service.down", device="shop", level=Level.WARNING, incident=8),
        *found[:3],
        *found[4:],
    )
    subject, lines = message(Language.ENGLISH, others=others)
    assert subject.endswith("Room temperature 41 °C (outside 18 .. 27 °C) and 7 more")
    assert lines[3] == "And 7 more: web-4, shop, web-1, web-2, web-3, … (Device unreachable 6, Service is down 1)"
    assert both(others=others)[1][3] == "另有 7 项：web-4, shop, web-1, web-2, web-3, …（设备不可达 6, 服务中断 1）"
    _, text, facts = plain(draft(Language.ENGLISH, others=others))
    assert facts["others"] == [5, 8, 2, 3, 4, 6, 7]
    assert "and 7 more" in plain(draft(Language.ENGLISH, others=others))[0]
    assert text == ""


def test_only_what_is_there_now_is_counted_until_it_is_over() -> None:
    first, *rest = behind(3)
    others = (*rest, replace(first, state=IncidentState.RESOLVED, ended_at=NOW - 60))
    assert "And 2 more: web-2, web-3 (Device unreachable 2)" in both(others=others)[0]
    over = both(incident(**OVER), kind=NoticeKind.RECOVERED, others=others)[0]
    assert "And 3 more: web-2, web-3, web-1 (Device unreachable 3)" in over


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
    taken = {"acknowledged_by": "sun.tao"}
    facts = compose(draft(Language.ENGLISH, handover={"acts": ACTS}, trouble=taken), snapshot())[2]
    assert (facts["value"], facts["now"]) == (27.4, {"value": 41.0, "at": NOW - 12})
    assert facts["first"] == {"value": 27.2, "at": BEGAN - 60}
    assert facts["worst"] == {"value": 42.5, "at": NOW - 300}
    assert (facts["per_hour"], facts["acknowledged_by"]) == (40.8, "sun.tao")
    assert facts["escalated"] == [{"by": "孙涛", "at": BEGAN + 420, "note": "the compressor is seized"}]


def test_a_draft_of_which_nothing_is_known_is_composed_from_its_evidence() -> None:
    bare = NoticeDraft(NoticeKind.PAGE, Lead(trouble(incident()), incident()), Person("li.na", "李娜", ()), NOW)
    subject, text, _ = compose(bare, snapshot())
    assert subject.endswith("Room temperature 27.4 °C at 03:00:00 (outside 18 .. 27 °C)")
    assert text.splitlines()[:2] == [
        "Room temperature out of range: 27.4 °C (outside 18 .. 27 °C)",
        "Since 2026-11-21 03:00:00, unresolved for 20 min",
    ]
