"""Drafts of messages about a room that is too hot, and their lines in both languages."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from tests.collector_room import NIGHT, ROOT
from watchkeeper.collector.notify.compose import compose
from watchkeeper.collector.notify.message.draft import (
    Act,
    Contact,
    Handover,
    Lead,
    NoticeDraft,
    NoticeKind,
    Notified,
)
from watchkeeper.collector.policy.course import Course, Sample, Trend
from watchkeeper.collector.policy.incidents import Incident, IncidentState, TransitionKind
from watchkeeper.collector.policy.troubles import Trouble
from watchkeeper.collector.site.inventory import Language, Person
from watchkeeper.collector.site.load import read_configuration
from watchkeeper.collector.site.snapshot import Snapshot, make_snapshot
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
    about = about or incident()
    known = replace(trouble(about), **fields.pop("trouble", {}))
    lead = Lead(known, about, tuple(fields.pop("others", ())), handover)
    return NoticeDraft(kind, lead, Person("li.na", "李娜", (), language), NOW, **fields)


def trouble(about: Incident) -> Trouble:
    """The trouble of an incident."""
    return Trouble(
        1, "room-1", about.level, BEGAN, BEGAN, trouble=1, ended_at=about.ended_at, quiet_since=about.ended_at
    )


def message(language: Language, *args: Any, **fields: Any) -> tuple[str, list[str]]:
    subject, text, _ = compose(draft(language, *args, **fields), snapshot())
    return subject, text.splitlines()


def both(*args: Any, **fields: Any) -> tuple[list[str], list[str]]:
    """The lines in English and in Chinese."""
    return message(Language.ENGLISH, *args, **fields)[1], message(Language.CHINESE, *args, **fields)[1]


def subjects(*args: Any, **fields: Any) -> tuple[str, str]:
    return message(Language.ENGLISH, *args, **fields)[0], message(Language.CHINESE, *args, **fields)[0]


ACTS = (
    Act(TransitionKind.ACKNOWLEDGED, SUN, BEGAN + 300, "on my\nway"),
    Act(TransitionKind.ESCALATED, SUN, BEGAN + 420, "the compressor is seized"),
)
TOLD = (Notified(SUN, BEGAN, delivered=True), Notified(Contact("gone"), BEGAN + 600, delivered=False))


def behind(count: int) -> Sequence[Incident]:
    one = incident(Evidence("device.answering", "no", "is no"), rule="device.not-answering")
    some = [replace(one, device=f"web-{n}", incident=n + 1, began_at=BEGAN + n) for n in range(1, count + 1)]
    return tuple(replace(one, level=Level.WARNING) if one.device != "web-4" else one for one in some)
