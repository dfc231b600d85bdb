"""The lines of a message about people: who has acted, who was notified, whom to call, and what depends on the device. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator

from watchkeeper.collector.notify.i18n import Translate
from watchkeeper.collector.notify.message.draft import OVER, Act, Contact, NoticeDraft, NoticeKind
from watchkeeper.collector.notify.message.values import short_time, span
from watchkeeper.collector.policy.incidents import Incident, TransitionKind
from watchkeeper.collector.site.inventory import Vendor
from watchkeeper.collector.site.snapshot import Snapshot

NAMED = 5
"""How many devices or people a line names; the rest is counted."""

NOTE_LENGTH = 160

_ACTS = (
    (TransitionKind.ACKNOWLEDGED, TransitionKind.TAKEN_OVER), (TransitionKind.ON_SITE,), (TransitionKind.ESCALATED,),
    (TransitionKind.VENDOR,), (TransitionKind.RESOLVED,),
)  # fmt: skip
"""What persons do, in the order of the lines; of one group the newest replaces the others."""


def to_do_lines(draft: NoticeDraft, snapshot: Snapshot, say: Translate) -> Iterator[str]:
    """What the rung asks for, the vendor to call, and why it is this person."""
    rung = draft.rung
    if rung and rung.say:
        yield say("To do: {what}").format(what=say(rung.say))
    if rung and rung.vendor_contact:
        yield _vendor_line(draft.incident, snapshot, say)
    yield draft.because


def people_lines(draft: NoticeDraft, snapshot: Snapshot, say: Translate) -> Iterator[str]:
    """Who has acted, who knows of it, and who is next."""
    yield from _act_lines(draft, snapshot, say)
    told = [
        f"{one.who.name} {short_time(one.at, draft.now, snapshot)[:-3]}"
        if one.delivered
        else f"{one.who.name} ({say('not delivered')})"
        for one in draft.handover.notified
    ]
    if told:
        yield say("Notified so far: {people}").format(people=_listed(told))
    if draft.kind in OVER:
        return
    others = [_contact(Contact(one.name, one.phone)) for one in draft.together if one.person != draft.person.person]
    if others:
        yield say("Notified together with you: {people}").format(people=_listed(others))
    yield _next_line(draft, snapshot, say)


def _act_lines(draft: NoticeDraft, snapshot: Snapshot, say: Translate) -> Iterator[str]:
    """Who works on it, who escalated it and why, who is on site ...: the newest of each before the fault's end, all of them
    after it."""
    acts = draft.handover.acts
    over = draft.kind in OVER
    for kinds in _ACTS:
        mine = [one for one in acts if one.kind in kinds]
        for one in mine if over else mine[-1:]:
            yield _act_line(one, draft, snapshot, say)
    acknowledged = any(one.kind in _ACTS[0] for one in acts)
    if not acknowledged and draft.handover.notified and draft.kind is not NoticeKind.WITHDRAWN:
        yield say("Nobody acknowledged it") if over else say("Nobody has acknowledged it yet")


def _act_line(one: Act, draft: NoticeDraft, snapshot: Snapshot, say: Translate) -> str:
    texts = {
        TransitionKind.ACKNOWLEDGED: say("Acknowledged by {person} at {time}"),
        TransitionKind.TAKEN_OVER: say("Taken over by {person} at {time}"),
        TransitionKind.ESCALATED: say("Escalated by {person} at {time}"),
        TransitionKind.ON_SITE: say("On site since {time}: {person}"),
        TransitionKind.VENDOR: say("Handed to the vendor by {person} at {time}"),
    }
    text = texts.get(one.kind) or say("Resolved by hand by {person} at {time}")
    line = text.format(person=_contact(one.who), time=short_time(one.at, draft.now, snapshot)[:-3])
    return say("{name}: {value}").format(name=line, value=shortened(one.note)) if one.note else line


def _next_line(draft: NoticeDraft, snapshot: Snapshot, say: Translate) -> str:
    coming = draft.handover.next_call
    if coming is None:
        return ""
    if not coming.people:
        return say("Nobody else is notified after this")
    people = _listed([_contact(one) for one in coming.people])
    left = coming.due_at - draft.now
    if left < 1:
        return say("Next, at once: {people}").format(people=people)
    at = short_time(coming.due_at, draft.now, snapshot)[:-3]
    return say("Next, at {time} (in {left}): {people}").format(time=at, left=span(left, say), people=people)


def dependants_line(draft: NoticeDraft, say: Translate) -> str:
    """What depends on the device."""
    names = draft.handover.dependants
    if not names or draft.kind in OVER:
        return ""
    return say("Devices that depend on it ({count}): {names}").format(count=len(names), names=_listed(names))


def others_line(draft: NoticeDraft, snapshot: Snapshot, say: Translate) -> str:
    """The further incidents of the same cause: how many of which rule, and the worst of them by name."""
    if not draft.others:
        return ""
    rules = Counter(one.rule for one in draft.others).most_common()
    first = {one.rule: one for one in reversed(draft.others)}
    counts = [f"{_rule_title(first[rule], snapshot, say)} {count}" for rule, count in rules]
    names = dict.fromkeys(one.device for one in draft.others)
    text = say("And {count} more: {names} ({counts})")
    return text.format(count=len(draft.others), names=_listed(list(names)), counts=_listed(counts))


def _rule_title(incident: Incident, snapshot: Snapshot, say: Translate) -> str:
    rule = snapshot.rules.named(incident.rule)
    return say(rule.title) if rule else incident.rule


def _vendor_line(incident: Incident, snapshot: Snapshot, say: Translate) -> str:
    vendor = vendor_of(incident, snapshot)
    if vendor is None:
        text = say("No maintenance vendor is configured for {device}: find the manufacturer's service line")
        return text.format(device=incident.device)
    details = ", ".join(filter(None, (vendor.phone, vendor.contract, vendor.hours)))
    return say("Call {vendor}: {details}").format(vendor=vendor.name, details=details)


def vendor_of(incident: Incident, snapshot: Snapshot) -> Vendor | None:
    """The maintenance vendor of the incident's device."""
    device = snapshot.device(incident.device)
    vendors = snapshot.configuration.contacts.vendors
    return next((one for one in vendors if device and one.vendor == device.vendor), None)


def _contact(one: Contact) -> str:
    return f"{one.name} {one.phone}".strip()


def _listed(names: Iterable[str]) -> str:
    """Names in one line, the rest of a long list left out."""
    every = list(names)
    return ", ".join([*every[:NAMED], "…"] if len(every) > NAMED else every)


def shortened(note: str) -> str:
    """A person's words in one line of bounded length."""
    text = " ".join(note.split())
    return text if len(text) <= NOTE_LENGTH else f"{text[: NOTE_LENGTH - 1]}…"
