"""The messages that people get: subject, text and facts, in the person's language. Pure.

A message hands a fault over: it tells what is wrong now, how it went, who has acted and who is next, in the order in which a
person who was just woken needs it."""

from collections.abc import Iterator, Mapping
from typing import Any

from watchkeeper.collector.notify.i18n import Translate, marked, translator
from watchkeeper.collector.notify.message.draft import NoticeDraft, NoticeKind
from watchkeeper.collector.notify.message.people import (
    dependants_line,
    others_line,
    people_lines,
    to_do_lines,
    vendor_of,
)
from watchkeeper.collector.notify.message.readings import course_line, headline, time_lines, value_line
from watchkeeper.collector.notify.message.values import LEVELS, companion_text, title_of
from watchkeeper.collector.policy.course import Sample
from watchkeeper.collector.policy.incidents import TransitionKind
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.model.reading import Missing

_SUBJECTS = {
    NoticeKind.PAGE: marked("[{level}] {device}: {title}"),
    NoticeKind.RISEN: marked("[now {level}] {device}: {title}"),
    NoticeKind.RETURNED: marked("[again {level}] {device}: {title}"),
    NoticeKind.FLAPPING: marked("[flapping, {level}] {device}: {title}"),
    NoticeKind.ON_SITE: marked("[are you on site?] {device}: {title}"),
    NoticeKind.TAKEN_OVER: marked("[taken over] {device}: {title}"),
    NoticeKind.MENTIONED: marked("[comment] {device}: {title}"),
    NoticeKind.PASSED: marked("[cleared before notification] {device}: {title}"),
    NoticeKind.RECOVERED: marked("[recovered] {device}: {title}"),
    NoticeKind.WITHDRAWN: marked("[withdrawn] {device}: {title}"),
}
BECAUSE_ROLE_EMPTY = marked("You are notified because nobody has the role: {roles}")
BECAUSE_NOT_REACHED = marked("You are notified because {person} could not be reached")
"""Why a message goes to this person (`NoticeDraft.because`), where that is not clear."""

SUBJECT_LENGTH = 90
"""A longer subject leaves out the place, which the text then has."""


def compose(draft: NoticeDraft, snapshot: Snapshot) -> tuple[str, str, Mapping[str, Any]]:
    """Return subject, text and facts. Times in the text are in the site's timezone, times in the facts UTC seconds."""
    say = translator(draft.person.language)
    place = _place(draft, snapshot)
    subject = _subject(draft, snapshot, say, place)
    if len(subject) > SUBJECT_LENGTH and place:
        subject = _subject(draft, snapshot, say, "")
    else:
        place = ""
    lines = (" ".join(line.split()) for line in _lines(draft, snapshot, say, place))
    facts = _facts(draft, snapshot, title_of(draft.incident, snapshot, say))
    return subject, "\n".join(filter(None, lines)), facts


def plain(draft: NoticeDraft) -> tuple[str, str, Mapping[str, Any]]:
    """The same message in a few English words that cannot fail, for the case that `compose` fails."""
    incident = draft.incident
    more = f" and {len(draft.others)} more" if draft.others else ""
    subject = f"[{draft.kind.value}: {incident.level.value}] {incident.device}: {incident.rule}{more}"
    facts = _bare_facts(draft, incident.rule)
    lines = (facts["rung"], incident.instance, draft.because, draft.url)
    return " ".join(subject.split()), "\n".join(filter(None, lines)), facts


def _place(draft: NoticeDraft, snapshot: Snapshot) -> str:
    device = snapshot.device(draft.incident.device)
    return device.location if device else ""


def _subject(draft: NoticeDraft, snapshot: Snapshot, say: Translate, place: str) -> str:
    """Level, place, device, value against limit."""
    incident = draft.incident
    title = headline(draft, snapshot, say)
    if draft.others:
        title = say("{title} and {count} more").format(title=title, count=len(draft.others))
    device = f"{place} · {incident.device}" if place else incident.device
    text = say(_SUBJECTS[draft.kind]).format(level=say(LEVELS[incident.level]), device=device, title=title)
    return " ".join(text.split())


def _lines(draft: NoticeDraft, snapshot: Snapshot, say: Translate, place: str) -> Iterator[str]:
    incident = draft.incident
    rule = snapshot.rules.named(incident.rule)
    yield value_line(draft, snapshot, say)
    yield course_line(draft, snapshot, say)
    yield from (companion_text(one, say) for one in incident.evidence.companions)
    if incident.evidence.says:
        yield say("Reason: {says}").format(says=say(incident.evidence.says))
    yield from time_lines(draft, snapshot, say)
    yield others_line(draft, snapshot, say)
    yield from to_do_lines(draft, snapshot, say)
    yield from people_lines(draft, snapshot, say)
    yield dependants_line(draft, say)
    if rule and rule.advice and draft.kind in (NoticeKind.PAGE, NoticeKind.RISEN, NoticeKind.RETURNED):
        yield say(rule.advice)
    if place:
        yield say("Where: {place}").format(place=place)
    if rule and rule.clause:
        yield say("Regulation: {clause}").format(clause=rule.clause)
    yield draft.url


def _facts(draft: NoticeDraft, snapshot: Snapshot, title: str) -> Mapping[str, Any]:
    value = draft.incident.evidence.value
    course = draft.handover.course
    vendor = vendor_of(draft.incident, snapshot) if draft.rung and draft.rung.vendor_contact else None
    return {
        **_bare_facts(draft, title),
        "value": None if isinstance(value, Missing) else value,
        "vendor": {"name": vendor.name, "phone": vendor.phone, "contract": vendor.contract} if vendor else None,
        "now": _sample_facts(course.now if course.fresh else None),
        "first": _sample_facts(course.first),
        "worst": _sample_facts(course.worst),
        "per_hour": course.per_hour,
        "acknowledged_by": draft.trouble.acknowledged_by,
        "escalated": [
            {"by": one.who.name, "at": one.at, "note": one.note}
            for one in draft.handover.acts
            if one.kind is TransitionKind.ESCALATED
        ],
    }


def _sample_facts(sample: Sample | None) -> Mapping[str, Any] | None:
    if sample is None:
        return None
    return {"value": None if isinstance(sample.value, Missing) else sample.value, "at": sample.at}


def _bare_facts(draft: NoticeDraft, title: str) -> dict[str, Any]:
    incident = draft.incident
    return {
        "kind": draft.kind.value, "trouble": draft.trouble.trouble, "incident": incident.incident,
        "recurrence": draft.trouble.recurrence, "others": [one.incident for one in draft.others],
        "device": incident.device, "rule": incident.rule, "instance": incident.instance, "title": title,
        "level": incident.level.value, "rung": draft.rung.rung if draft.rung else "",
        "person": draft.person.person, "began_at": incident.began_at, "ended_at": incident.ended_at,
        "told_at": draft.now, "verdict": incident.verdict_id, "quantity": incident.evidence.quantity,
    }  # fmt: skip
