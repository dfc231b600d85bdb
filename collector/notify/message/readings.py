"""The lines of a message about the fault itself: the value now, its course, how long and how often. Pure."""

from collections.abc import Iterator

from watchkeeper.collector.notify.i18n import Translate
from watchkeeper.collector.notify.message.draft import OVER, NoticeDraft, NoticeKind
from watchkeeper.collector.notify.message.values import (
    clock_time,
    format_limit,
    format_value,
    quantity_of,
    short_time,
    span,
    title_of,
)
from watchkeeper.collector.policy.course import Course, Sample, Trend
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.model.quantity import ABSENCE_QUANTITIES
from watchkeeper.model.reading import Missing
from watchkeeper.model.verdict import Evidence

_TIMERS = frozenset({*ABSENCE_QUANTITIES, "battery.discharging", "uptime", "running.time"})
"""Quantities that only count the time: that they rise, and their worst value, tell nothing."""


def by_number(evidence: Evidence) -> bool:
    """Whether a number that breaks a limit says what is wrong. Otherwise the rule's title does."""
    return isinstance(evidence.value, float | int) and evidence.quantity not in _TIMERS


def headline(draft: NoticeDraft, snapshot: Snapshot, say: Translate) -> str:
    """What is wrong, for the subject: the value against its limit, or the rule's title."""
    course, evidence = draft.handover.course, draft.incident.evidence
    shown = course.now or Sample(draft.incident.began_at, evidence.value)
    unclear = course.inside or isinstance(shown.value, Missing) or not by_number(evidence)
    if unclear or draft.kind in OVER:
        return title_of(draft.incident, snapshot, say)
    value = format_value(shown.value, evidence.quantity, say)
    if not course.fresh:
        value = _at(value, shown.at, draft, snapshot, say)
    return f"{quantity_of(draft.incident, say)} {_with_limit(value, draft, say)}"


def value_line(draft: NoticeDraft, snapshot: Snapshot, say: Translate) -> str:
    """The value now, with the time when it was read. An old one is called old."""
    course, incident = draft.handover.course, draft.incident
    # The subject has the name of a number already.
    name = title_of(incident, snapshot, say) if by_number(incident.evidence) else quantity_of(incident, say)
    if draft.kind in OVER:
        return _value_after(draft, snapshot, say)
    if course.now is None:
        value = format_value(incident.evidence.value, incident.evidence.quantity, say)
        return say("{name}: {value}").format(name=name, value=_with_limit(value, draft, say))
    value = format_value(course.now.value, incident.evidence.quantity, say)
    at = short_time(course.now.at, draft.now, snapshot)
    if not course.fresh:
        age = span(draft.now - course.now.at, say)
        text = say("{name}: no current reading. The last one is {age} old: {value}, read at {time}")
        return text.format(name=name, age=age, value=_with_limit(value, draft, say), time=at)
    if course.inside:
        text = say("{name}: {value}, back inside the limit now ({limit}), read at {time}")
        limit = format_limit(incident.evidence.expects, say)
        return text.format(name=name, value=value, limit=limit, time=at)
    if isinstance(course.now.value, Missing):
        return say("{name}: {value}, at {time}").format(name=name, value=value, time=at)
    text = say("{name}: {value}, read at {time}")
    return text.format(name=name, value=_with_limit(value, draft, say), time=at)


def _value_after(draft: NoticeDraft, snapshot: Snapshot, say: Translate) -> str:
    """The value after the end of the fault, where it is known. Otherwise the last bad one, unless the worst is told anyway."""
    course, evidence = draft.handover.course, draft.incident.evidence
    name = quantity_of(draft.incident, say)
    if draft.kind is not NoticeKind.WITHDRAWN and course.now and course.fresh:
        value = format_value(course.now.value, evidence.quantity, say)
        at = short_time(course.now.at, draft.now, snapshot)
        return say("{name}: {value}, read at {time}").format(name=name, value=value, time=at)
    if course.worst and by_number(evidence):
        return ""
    value = _with_limit(format_value(evidence.value, evidence.quantity, say), draft, say)
    return say("Last bad reading: {what}").format(what=say("{name}: {value}").format(name=name, value=value))


def course_line(draft: NoticeDraft, snapshot: Snapshot, say: Translate) -> str:
    """Where the value goes, the first bad one, and the worst one. Only what the lines before do not say."""
    course = draft.handover.course
    sentences = []
    if not by_number(draft.incident.evidence):
        return _known_line(draft, snapshot, say)
    if course.fresh and draft.kind not in OVER:
        sentences.append(_trend(course, draft.incident.evidence.quantity, say))
    if course.first and course.first not in (course.now, course.worst):
        sentences.append(say("First: {what}.").format(what=_sample(course.first, draft, snapshot, say)))
    sentences.append(_worst(draft, snapshot, say))
    return " ".join(filter(None, (*sentences, _known_line(draft, snapshot, say))))


def _known_line(draft: NoticeDraft, snapshot: Snapshot, say: Translate) -> str:
    known = draft.handover.course.known
    if known is None or draft.kind in OVER:
        return ""
    return say("Last value: {what}.").format(what=_sample(known, draft, snapshot, say))


def _trend(course: Course, quantity: str, say: Translate) -> str:
    if course.trend is None:
        return ""
    if course.per_hour is None or course.trend is Trend.STEADY:
        words = {
            Trend.RISING: say("It is rising."),
            Trend.FALLING: say("It is falling."),
            Trend.STEADY: say("It is steady."),
        }
        return words[course.trend]
    text = (
        say("It is rising by {change} per hour.")
        if course.trend is Trend.RISING
        else say("It is falling by {change} per hour.")
    )
    return text.format(change=format_value(abs(course.per_hour), quantity, say))


def _worst(draft: NoticeDraft, snapshot: Snapshot, say: Translate) -> str:
    course = draft.handover.course
    if course.worst is None:
        return ""
    if course.now and course.worst.value == course.now.value and draft.kind not in OVER:
        return say("It has not been worse.") if course.first and course.first.value != course.worst.value else ""
    worst = _sample(course.worst, draft, snapshot, say)
    if course.one_in > 1:
        return say("Worst: {what} (one reading in {n} was looked at).").format(what=worst, n=course.one_in)
    return say("Worst: {what}.").format(what=worst)


def _sample(sample: Sample, draft: NoticeDraft, snapshot: Snapshot, say: Translate) -> str:
    return _at(format_value(sample.value, draft.incident.evidence.quantity, say), sample.at, draft, snapshot, say)


def _at(value: str, at: float, draft: NoticeDraft, snapshot: Snapshot, say: Translate) -> str:
    return say("{value} at {time}").format(value=value, time=short_time(at, draft.now, snapshot))


def _with_limit(value: str, draft: NoticeDraft, say: Translate) -> str:
    limit = format_limit(draft.incident.evidence.expects, say)
    return say("{value} ({limit})").format(value=value, limit=limit) if limit else value


def time_lines(draft: NoticeDraft, snapshot: Snapshot, say: Translate) -> Iterator[str]:
    """Since when, for how long, and how often."""
    trouble = draft.trouble
    # A fault that comes and goes: the line below tells of the whole time, this one of the present.
    again = trouble.recurrence > 1 and draft.kind not in OVER
    since = draft.incident.began_at if again else trouble.opened_at
    began = clock_time(since, snapshot)
    until = draft.now if trouble.ended_at is None else trouble.ended_at
    if draft.kind in OVER:
        ended = short_time(until, since, snapshot)
        yield say("From {began} to {ended}, {lasted}").format(began=began, ended=ended, lasted=span(until - since, say))
    else:
        yield say("Since {began}, unresolved for {lasted}").format(began=began, lasted=span(draft.now - since, say))
    if trouble.recurrence > 1:
        text = say("{count} times in {period}, faulty for {bad} of it")
        period, bad = span(until - trouble.opened_at, say), span(trouble.bad_s(draft.now), say)
        yield text.format(count=trouble.recurrence, period=period, bad=bad)
