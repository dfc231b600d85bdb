"""The messages that people get: subject, text and facts, in the person's language. Pure."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from watchkeeper.collector.notify.durations import duration, readable
from watchkeeper.collector.notify.i18n import Translate, marked, translator
from watchkeeper.collector.policy.incidents import Incident
from watchkeeper.collector.site.inventory import Person, Rung, Vendor
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.model.event import EVENT_QUANTITY
from watchkeeper.model.quantity import QUANTITIES, SECOND
from watchkeeper.model.reading import Missing, Value
from watchkeeper.model.verdict import Companion


class NoticeKind(StrEnum):
    """Why a person gets a message."""

    PAGE = "page"  # a rung of the ladder was decided
    RISEN = "risen"  # the fault they were notified of has become critical
    PASSED = "passed"  # the fault was over before anybody could be notified
    RECOVERED = "recovered"
    WITHDRAWN = "withdrawn"


_SUBJECTS = {
    NoticeKind.PAGE: marked("[{level}] {device}: {title}"),
    NoticeKind.RISEN: marked("[now {level}] {device}: {title}"),
    NoticeKind.PASSED: marked("[cleared before notification] {device}: {title}"),
    NoticeKind.RECOVERED: marked("[recovered] {device}: {title}"),
    NoticeKind.WITHDRAWN: marked("[withdrawn] {device}: {title}"),
}
LEVELS = {
    "ok": marked("ok"),
    "warning": marked("warning"),
    "critical": marked("critical"),
    "unknown": marked("unknown"),
}
LIMITS = {
    "above": marked("above"),
    "below": marked("below"),
    "outside": marked("outside"),
    "missing": marked("missing"),
}
STATE_LABELS = {
    ("device.answering", "yes"): marked("reachable"),
    ("device.answering", "no"): marked("unreachable"),
    ("breaker.state", "closed"): marked("closed (on)"),
    ("breaker.state", "open"): marked("open (off)"),
    ("contact.state", "closed"): marked("closed circuit"),
    ("contact.state", "open"): marked("open circuit"),
    ("battery.test", "running"): marked("in progress"),
    ("agent.heard", "yes"): marked("received"),
    ("agent.heard", "no"): marked("no data"),
}
"""(quantity, state) -> label, where the name of the state alone is not clear, or has another word in Chinese."""
BECAUSE_ROLE_EMPTY = marked("You are notified because nobody has the role: {roles}")
BECAUSE_NOT_REACHED = marked("You are notified because {person} could not be reached")
"""Why a message goes to this person (`NoticeDraft.because`), where that is not clear."""
_OVER = (NoticeKind.PASSED, NoticeKind.RECOVERED, NoticeKind.WITHDRAWN)
_HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class NoticeDraft:
    """One message to one person, before it is composed. `because` is the reason why it is this person, if that is not clear (a
    fallback)."""

    kind: NoticeKind
    incident: Incident
    person: Person
    now: float
    rung: Rung | None = None
    because: str = ""
    url: str = ""


def compose(draft: NoticeDraft, snapshot: Snapshot) -> tuple[str, str, Mapping[str, Any]]:
    """Return subject, text and facts. Times in the text are in the site's timezone, times in the facts UTC seconds."""
    say = translator(draft.person.language)
    incident = draft.incident
    title = title_of(incident, snapshot, say)
    subject = say(_SUBJECTS[draft.kind]).format(level=say(LEVELS[incident.level]), device=incident.device, title=title)
    lines = [line for line in _lines(draft, snapshot, say) if line]
    return " ".join(subject.split()), "\n".join(lines), _facts(draft, snapshot, title)


def plain(draft: NoticeDraft) -> tuple[str, str, Mapping[str, Any]]:
    """The same message in a few English words that cannot fail, for the case that `compose` fails."""
    incident = draft.incident
    subject = f"[{draft.kind.value}: {incident.level.value}] {incident.device}: {incident.rule}"
    facts = _bare_facts(draft, incident.rule)
    lines = (facts["rung"], incident.instance, draft.because, draft.url)
    return " ".join(subject.split()), "\n".join(filter(None, lines)), facts


def title_of(incident: Incident, snapshot: Snapshot, say: Translate) -> str:
    """The rule's title in the reader's language, with the instance's label; the rule's name if the rule is gone."""
    rule = snapshot.rules.named(incident.rule)
    title = say(rule.title) if rule else incident.rule
    place = label_text(incident.evidence.quantity, incident.evidence.label, say) or incident.instance
    return f"{title} ({place})" if place else title


def label_text(quantity: str, label: str, say: Translate) -> str:
    """The label of a series. That of an event is a sentence of ours; any other is a name that the device gives."""
    return say(label) if quantity == EVENT_QUANTITY else label


def _lines(draft: NoticeDraft, snapshot: Snapshot, say: Translate) -> list[str]:
    incident, rung = draft.incident, draft.rung
    rule = snapshot.rules.named(incident.rule)
    lines = [_measured(draft, say), _when(draft, snapshot, say)]
    if incident.evidence.says:
        lines.insert(1, say("Reason: {says}").format(says=say(incident.evidence.says)))
    lines[1:1] = [companion_text(one, say) for one in incident.evidence.companions]
    if rung and rung.say:
        lines.append(say("To do: {what}").format(what=say(rung.say)))
    if rung and rung.vendor_contact:
        lines.append(_vendor(incident, snapshot, say))
    if rule and rule.advice and draft.kind in (NoticeKind.PAGE, NoticeKind.RISEN):
        lines.append(say(rule.advice))
    device = snapshot.device(incident.device)
    if device and device.location:
        lines.append(say("Where: {place}").format(place=device.location))
    lines.append(say(draft.because))
    if rule and rule.clause:
        lines.append(say("Regulation: {clause}").format(clause=rule.clause))
    lines.append(draft.url)
    return lines


def _measured(draft: NoticeDraft, say: Translate) -> str:
    evidence = draft.incident.evidence
    quantity = QUANTITIES.get(evidence.quantity)
    name = say(quantity.title) if quantity else evidence.quantity
    value = format_value(evidence.value, evidence.quantity, say)
    limit = format_limit(evidence.expects, say)
    if limit:
        value = say("{value} ({limit})").format(value=value, limit=limit)
    measured = say("{name}: {value}").format(name=name, value=value)
    return say("Last bad reading: {what}").format(what=measured) if draft.kind in _OVER else measured


def companion_text(companion: Companion, say: Translate) -> str:
    """A reading by which the rule's limit counts, or does not count any more."""
    quantity = QUANTITIES.get(companion.quantity)
    name = say(quantity.title) if quantity else companion.quantity
    value = format_value(companion.value, companion.quantity, say)
    what = say("{name}: {value}").format(name=f"{name} ({companion.label})" if companion.label else name, value=value)
    if companion.holds:
        return say("At the same time: {what}").format(what=what)
    return say("The limit no longer counts: {what}").format(what=what)


def format_limit(expects: str, say: Translate) -> str:
    """A rule's limit in the reader's language. Empty for `is`: there the value alone is clear."""
    word, _, rest = expects.partition(" ")
    return "" if word == "is" else f"{say(LIMITS.get(word, word))} {readable(rest, say)}".strip()


def format_value(value: Value, quantity: str, say: Translate) -> str:
    """A value with its unit, the label of a state, or the reason why there is no value."""
    if isinstance(value, Missing):
        return say("no reading: {reason}").format(reason=say(value.detail or value.reason.value))
    if isinstance(value, str):
        return say(STATE_LABELS.get((quantity, value), value))
    if quantity in QUANTITIES and QUANTITIES[quantity].unit is SECOND:
        return duration(value, say)
    unit = QUANTITIES[quantity].unit.symbol if quantity in QUANTITIES else ""
    number = f"{value:.0f}" if abs(value) >= 100 and value == int(value) else f"{value:.1f}".removesuffix(".0")  # noqa: PLR2004 -- three digits are enough
    return f"{number} {unit}".strip()


def _when(draft: NoticeDraft, snapshot: Snapshot, say: Translate) -> str:
    incident = draft.incident
    began = clock_time(incident.began_at, snapshot)
    if incident.ended_at is not None and draft.kind in _OVER:
        lasted = span(incident.ended_at - incident.began_at, say)
        return say("From {began} to {ended}, {lasted}").format(
            began=began, ended=clock_time(incident.ended_at, snapshot), lasted=lasted
        )
    return say("Since {began}, unresolved for {lasted}").format(
        began=began, lasted=span(draft.now - incident.began_at, say)
    )


def clock_time(at: float, snapshot: Snapshot) -> str:
    """A UTC time in the site's timezone: `2026-11-21 03:00:07`."""
    zone = snapshot.configuration.inventory.site.timezone
    return datetime.datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S")


def span(seconds: float, say: Translate) -> str:
    """A duration in the two largest units."""
    whole = max(0, int(seconds))
    if whole < 60:  # noqa: PLR2004 -- below a minute
        return say("{s} s").format(s=whole)
    if whole < _HOUR_S:
        return say("{min} min {s} s").format(min=whole // 60, s=whole % 60)
    return say("{h} h {min} min").format(h=whole // _HOUR_S, min=whole % _HOUR_S // 60)


def _vendor(incident: Incident, snapshot: Snapshot, say: Translate) -> str:
    vendor = _vendor_of(incident, snapshot)
    if vendor is None:
        return say("No maintenance vendor is configured for {device}: find the manufacturer's service line").format(
            device=incident.device
        )
    details = ", ".join(filter(None, (vendor.phone, vendor.contract, vendor.hours)))
    return say("Call {vendor}: {details}").format(vendor=vendor.name, details=details)


def _vendor_of(incident: Incident, snapshot: Snapshot) -> Vendor | None:
    device = snapshot.device(incident.device)
    vendors = snapshot.configuration.contacts.vendors
    return next((one for one in vendors if device and one.vendor == device.vendor), None)


def _facts(draft: NoticeDraft, snapshot: Snapshot, title: str) -> Mapping[str, Any]:
    value = draft.incident.evidence.value
    vendor = _vendor_of(draft.incident, snapshot) if draft.rung and draft.rung.vendor_contact else None
    return {
        **_bare_facts(draft, title),
        "value": None if isinstance(value, Missing) else value,
        "vendor": {"name": vendor.name, "phone": vendor.phone, "contract": vendor.contract} if vendor else None,
    }


def _bare_facts(draft: NoticeDraft, title: str) -> dict[str, Any]:
    incident = draft.incident
    return {
        "kind": draft.kind.value, "incident": incident.incident, "recurrence": incident.recurrence,
        "device": incident.device, "rule": incident.rule, "instance": incident.instance, "title": title,
        "level": incident.level.value, "rung": draft.rung.rung if draft.rung else "",
        "person": draft.person.person, "began_at": incident.began_at, "ended_at": incident.ended_at,
        "told_at": draft.now, "verdict": incident.verdict_id, "quantity": incident.evidence.quantity,
    }  # fmt: skip
