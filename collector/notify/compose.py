"""What a person is told: subject, text and facts, in that person's language. Pure."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from watchkeeper.collector.notify.i18n import Translate, marked, translator
from watchkeeper.collector.policy.incidents import Incident
from watchkeeper.collector.site.inventory import Person, Rung
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.model.quantity import QUANTITIES
from watchkeeper.model.reading import Missing, Value


class Kind(StrEnum):
    """Why somebody is told something."""

    PAGE = "page"  # a rung of the ladder
    RISEN = "risen"  # what they were paged for has become critical
    PASSED = "passed"  # it came and went while nobody could be told
    RECOVERED = "recovered"
    WITHDRAWN = "withdrawn"


_SUBJECTS = {
    Kind.PAGE: marked("[{level}] {device}: {title}"),
    Kind.RISEN: marked("[now {level}] {device}: {title}"),
    Kind.PASSED: marked("[came and went] {device}: {title}"),
    Kind.RECOVERED: marked("[recovered] {device}: {title}"),
    Kind.WITHDRAWN: marked("[withdrawn] {device}: {title}"),
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
_OVER = (Kind.PASSED, Kind.RECOVERED, Kind.WITHDRAWN)
_HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Telling:
    """What is told to one person. `because` says why it is this person where that is not plain (a fallback)."""

    kind: Kind
    incident: Incident
    person: Person
    now: float
    rung: Rung | None = None
    because: str = ""
    url: str = ""


def compose(telling: Telling, snapshot: Snapshot) -> tuple[str, str, Mapping[str, Any]]:
    """Return subject, text and facts. Times of day in the text are the site's; times in facts are UTC seconds."""
    say = translator(telling.person.language)
    incident = telling.incident
    title = title_of(incident, snapshot, say)
    subject = say(_SUBJECTS[telling.kind]).format(
        level=say(LEVELS[incident.level]), device=incident.device, title=title
    )
    lines = [line for line in _lines(telling, snapshot, say) if line]
    return " ".join(subject.split()), "\n".join(lines), _facts(telling, snapshot, title)


def plain(telling: Telling) -> tuple[str, str, Mapping[str, Any]]:
    """The same in the barest English words, from nothing that could be wrong: for when `compose` fails."""
    incident = telling.incident
    subject = f"[{telling.kind.value}: {incident.level.value}] {incident.device}: {incident.rule}"
    facts = _bare_facts(telling, incident.rule)
    lines = (facts["rung"], incident.instance, telling.because, telling.url)
    return " ".join(subject.split()), "\n".join(filter(None, lines)), facts


def title_of(incident: Incident, snapshot: Snapshot, say: Translate) -> str:
    """The rule's title in words, with the instance people know; the rule's name where the rule is gone."""
    rule = snapshot.rules.named(incident.rule)
    title = say(rule.title) if rule else incident.rule
    place = incident.evidence.label or incident.instance
    return f"{title} ({place})" if place else title


def _lines(telling: Telling, snapshot: Snapshot, say: Translate) -> list[str]:
    incident, rung = telling.incident, telling.rung
    rule = snapshot.rules.named(incident.rule)
    lines = [_what(telling, say), _when(telling, snapshot, say)]
    if incident.evidence.says:
        lines.insert(1, say("Reason: {says}").format(says=incident.evidence.says))
    if rung and rung.say:
        lines.append(say("To do: {what}").format(what=say(rung.say)))
    if rung and rung.vendor_contact:
        lines.append(_vendor(incident, snapshot, say))
    if rule and rule.advice and telling.kind in (Kind.PAGE, Kind.RISEN):
        lines.append(say(rule.advice))
    device = snapshot.device(incident.device)
    if device and device.location:
        lines.append(say("Where: {place}").format(place=device.location))
    lines.append(telling.because)
    if rule and rule.clause:
        lines.append(say("Regulation: {clause}").format(clause=rule.clause))
    lines.append(telling.url)
    return lines


def _what(telling: Telling, say: Translate) -> str:
    evidence = telling.incident.evidence
    quantity = QUANTITIES.get(evidence.quantity)
    name = say(quantity.title) if quantity else evidence.quantity
    measured = f"{name}: {in_words(evidence.value, evidence.quantity, say)}"
    limit = limit_in_words(evidence.expects, say)
    what = f"{measured} ({limit})" if limit else measured
    return say("It was: {what}").format(what=what) if telling.kind in _OVER else what


def limit_in_words(expects: str, say: Translate) -> str:
    """A limit as the rule has it, in the reader's language. Empty for `is`: there the value says it all."""
    word, _, rest = expects.partition(" ")
    return "" if word == "is" else f"{say(LIMITS.get(word, word))} {rest}".strip()


def in_words(value: Value, quantity: str, say: Translate) -> str:
    """A value with its unit, a state, or why there is none."""
    if isinstance(value, Missing):
        return say("no reading: {reason}").format(reason=value.detail or value.reason.value)
    if isinstance(value, str):
        return say(value)
    unit = QUANTITIES[quantity].unit.symbol if quantity in QUANTITIES else ""
    number = f"{value:.0f}" if abs(value) >= 100 and value == int(value) else f"{value:.1f}".removesuffix(".0")  # noqa: PLR2004 -- three digits say enough
    return f"{number} {unit}".strip()


def _when(telling: Telling, snapshot: Snapshot, say: Translate) -> str:
    incident = telling.incident
    began = clock_time(incident.began_at, snapshot)
    if incident.ended_at is not None and telling.kind in _OVER:
        lasted = span(incident.ended_at - incident.began_at, say)
        return say("Since {began} until {ended}, for {lasted}").format(
            began=began, ended=clock_time(incident.ended_at, snapshot), lasted=lasted
        )
    return say("Since {began}, unresolved for {lasted}").format(
        began=began, lasted=span(telling.now - incident.began_at, say)
    )


def clock_time(at: float, snapshot: Snapshot) -> str:
    """A UTC time on the site's clock: `2026-11-21 03:00:07`."""
    zone = snapshot.configuration.inventory.site.timezone
    return datetime.datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S")


def span(seconds: float, say: Translate) -> str:
    """How long, in the two units that matter."""
    whole = max(0, int(seconds))
    if whole < 60:  # noqa: PLR2004 -- below a minute
        return say("{s} s").format(s=whole)
    if whole < _HOUR_S:
        return say("{min} min {s} s").format(min=whole // 60, s=whole % 60)
    return say("{h} h {min} min").format(h=whole // _HOUR_S, min=whole % _HOUR_S // 60)


def _vendor(incident: Incident, snapshot: Snapshot, say: Translate) -> str:
    device = snapshot.device(incident.device)
    vendor = next((v for v in snapshot.configuration.contacts.vendors if device and v.vendor == device.vendor), None)
    if vendor is None:
        return say("No maintenance vendor is named for {device}: look for its maker's service line").format(
            device=incident.device
        )
    details = ", ".join(filter(None, (vendor.phone, vendor.contract, vendor.hours)))
    return say("Call {vendor}: {details}").format(vendor=vendor.name, details=details)


def _facts(telling: Telling, snapshot: Snapshot, title: str) -> Mapping[str, Any]:
    value = telling.incident.evidence.value
    device = snapshot.device(telling.incident.device)
    vendor = next((v for v in snapshot.configuration.contacts.vendors if device and v.vendor == device.vendor), None)
    return {
        **_bare_facts(telling, title),
        "value": None if isinstance(value, Missing) else value,
        "vendor": {"name": vendor.name, "phone": vendor.phone, "contract": vendor.contract}
        if vendor and telling.rung and telling.rung.vendor_contact else None,
    }  # fmt: skip


def _bare_facts(telling: Telling, title: str) -> dict[str, Any]:
    incident = telling.incident
    return {
        "kind": telling.kind.value, "incident": incident.incident, "recurrence": incident.recurrence,
        "device": incident.device, "rule": incident.rule, "instance": incident.instance, "title": title,
        "level": incident.level.value, "rung": telling.rung.rung if telling.rung else "",
        "person": telling.person.person, "began_at": incident.began_at, "ended_at": incident.ended_at,
        "told_at": telling.now, "verdict": incident.verdict_id, "quantity": incident.evidence.quantity,
    }  # fmt: skip
