"""Gathers from the store what the messages about incidents must tell: of many incidents at once, in a few queries."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import sqlalchemy as sa

from watchkeeper.collector.notify.message.draft import Act, Contact, Handover, NextCall, NoticeKind, Notified, Rounds
from watchkeeper.collector.notify.message.readings import by_number
from watchkeeper.collector.notify.notice import About
from watchkeeper.collector.policy import freshness
from watchkeeper.collector.policy.course import TREND_S, Course, Judged, Newest, Sample, course_of
from watchkeeper.collector.policy.incidents import Incident, Transition, TransitionKind
from watchkeeper.collector.policy.ladder import ScheduledRung, ladder_for, stopping_levels, upcoming
from watchkeeper.collector.policy.roster import audience
from watchkeeper.collector.site.inventory import COLLECTOR, Contacts, Ladder, Ladders, Person, Rung
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store import rows
from watchkeeper.collector.store.readings import NewestFrame, Past, SeriesKey, newest_readings, past_numbers
from watchkeeper.collector.store.schema import agent, outbox
from watchkeeper.model.verdict import Evidence, Level
from watchkeeper.rules.rule import Band, Rule

log = logging.getLogger(__name__)

_BEGINNINGS = frozenset({TransitionKind.OPENED, TransitionKind.REOPENED})
_BAD_VERDICTS = _BEGINNINGS | {TransitionKind.RISEN, TransitionKind.EASED}
_ACTS = frozenset({TransitionKind.ACKNOWLEDGED, TransitionKind.ESCALATED, TransitionKind.RESOLVED})
_UNREAD_EVERY_S = 30.0
"""The interval of a device that is not in the inventory any more."""


def gather(
    connection: sa.Connection, snapshot: Snapshot, incidents: Collection[Incident], now: float
) -> dict[int, Handover]:
    """What is known of each incident, by its number. Where this fails, the result is empty and the caller's transaction goes
    on: a message without it is still a message."""
    if not incidents:
        return {}
    try:
        with connection.begin_nested():
            return _gather(connection, snapshot, incidents, now)
    except Exception:
        log.exception("what the messages should tell about %d incidents could not be read", len(incidents))
        return {}


def _gather(
    connection: sa.Connection, snapshot: Snapshot, incidents: Collection[Incident], now: float
) -> dict[int, Handover]:
    numbers = [one.incident for one in incidents]
    contacts = snapshot.configuration.contacts
    steps = rows.rungs_of(connection, numbers)
    happened = rows.present_transitions(connection, incidents)
    notified = _notified(connection, incidents, contacts)
    courses = _courses(connection, snapshot, incidents, happened, now)
    return {
        one.incident: Handover(
            course=courses[one.incident],
            acts=tuple(_acts(one, happened[one.incident], contacts)),
            notified=notified.get(one.incident, ()),
            steps=tuple(steps.get((one.incident, one.recurrence), ())),
            rounds=_rounds(one, happened[one.incident], now),
        )
        for one in incidents
    }


# ---- people ----


def contact_of(name: str, contacts: Contacts) -> Contact:
    """A person by the name in contacts.yml, or by that name alone, if they are no longer there."""
    found = next((one for one in contacts.people if one.person == name), None)
    return contact(found) if found else Contact(name)


def contact(person: Person) -> Contact:
    """A person's name and phone."""
    return Contact(person.name, person.phone)


def _acts(incident: Incident, happened: Iterable[Transition], contacts: Contacts) -> Iterator[Act]:
    for one in happened:
        kind, _, name = one.by.partition(":")
        earlier = one.kind is TransitionKind.RESOLVED and incident.open
        if one.kind in _ACTS and kind == "person" and not earlier:
            # The note of an escalation is `RUNG: WORDS`, or the rung alone.
            note = one.note.partition(": ")[2] if one.kind is TransitionKind.ESCALATED else one.note
            yield Act(one.kind, contact_of(name, contacts), one.at, note)


def _notified(
    connection: sa.Connection, incidents: Iterable[Incident], contacts: Contacts
) -> dict[int, tuple[Notified, ...]]:
    """Who was paged in the present recurrence, each person once, in this order."""
    present = {one.incident: one.recurrence for one in incidents}
    columns = (outbox.c.about_id, outbox.c.recurrence, outbox.c.person, outbox.c.created_at, outbox.c.state)
    pages = sa.and_(
        outbox.c.about == About.INCIDENT.value,
        outbox.c.about_id.in_(list(present)),
        outbox.c.kind == NoticeKind.PAGE.value,
    )
    found: dict[int, dict[str, Notified]] = {}
    for row in connection.execute(sa.select(*columns).where(pages).order_by(outbox.c.id)):
        if row.recurrence != present[row.about_id]:
            continue
        mine, delivered = found.setdefault(row.about_id, {}), row.state == "delivered"
        if row.person not in mine or (delivered and not mine[row.person].delivered):
            mine[row.person] = Notified(contact_of(row.person, contacts), row.created_at, delivered)
    return {number: tuple(people.values()) for number, people in found.items()}


def rung_of(ladders: Ladders, level: Level, step: ScheduledRung) -> tuple[Ladder, Rung]:
    """The ladder and the rung of a step. Where the configuration no longer has them: the ladder of the level, its
    fallback."""
    named = (ladder for ladder in ladders.ladders if ladder.ladder == step.ladder)
    ladder = next(named, None) or ladder_for(level, ladders)
    rung = next((rung for rung in ladder.rungs if rung.rung == step.rung), None)
    return ladder, rung or Rung(step.rung, 0.0, ladder.fallback)


def next_call(
    incident: Incident, steps: Sequence[ScheduledRung], snapshot: Snapshot, now: float, *, decided: str = ""
) -> NextCall:
    """Who is notified next, by the undecided rungs of an incident; `decided` is the rung that is decided at this
    moment."""
    ladders = snapshot.configuration.ladders
    step = upcoming(one for one in steps if one.rung != decided)
    held = incident.acknowledged_at is not None and incident.level in stopping_levels(ladders)
    if step is None or held or not incident.open:
        return NextCall()
    ladder, rung = rung_of(ladders, incident.level, step)
    owner = snapshot.owner(incident.device)
    people = audience(rung, ladder, snapshot.configuration, owner, max(step.due_at, now)).people
    return NextCall(tuple(contact(person) for person in people), step.due_at)


def _rounds(incident: Incident, happened: Iterable[Transition], now: float) -> Rounds | None:
    """How often a fault that recurred has begun, if it did."""
    if incident.recurrence == 1:
        return None
    since, bad_s, began = incident.began_at, 0.0, None
    for one in happened:
        if one.kind in _BEGINNINGS:
            began, since = one.at, min(since, one.at)
        elif one.kind is TransitionKind.RESOLVED and began is not None:
            bad_s, began = bad_s + one.at - began, None
    last = 0.0 if began is None else now - began
    return Rounds(incident.recurrence, since, bad_s + max(0.0, last))


# ---- readings ----


def _courses(
    connection: sa.Connection,
    snapshot: Snapshot,
    incidents: Collection[Incident],
    happened: Mapping[int, Sequence[Transition]],
    now: float,
) -> dict[int, Course]:
    probes = {device.device: device.probe for device in snapshot.devices.values()}
    newest = newest_readings(connection, probes, {_key(one) for one in incidents if one.device in probes})
    past = _pasts(connection, incidents, newest, now)
    silent = _silent_agents(connection, snapshot, now)
    found = {}
    for one in incidents:
        rule, frame = snapshot.rules.named(one.rule), newest.get(_key(one))
        judged_at = max((step.at for step in happened[one.incident] if step.kind in _BAD_VERDICTS), default=0.0)
        mine = past.get(one.device) or Past({})
        found[one.incident] = course_of(
            Judged(one.evidence, max(judged_at, one.began_at), one.began_at, one.ended_at),
            _newest(one, frame, silent, now),
            mine.samples.get(_key(one)[1:], ()),
            limit=_limit(one.evidence, one.level, rule),
            every_s=snapshot.devices[one.device].every_s if one.device in snapshot.devices else _UNREAD_EVERY_S,
            now=now,
            one_in=mine.one_in,
        )
    return found


def _key(incident: Incident) -> SeriesKey:
    return incident.device, incident.evidence.quantity, incident.instance


def _newest(incident: Incident, frame: NewestFrame | None, silent: frozenset[str], now: float) -> Newest | None:
    if frame:
        return Newest(frame.sample, frame.every_s, frame.agent in silent)
    # What the collector itself judges, it looks at twice a second.
    if incident.agent == COLLECTOR and incident.open:
        return Newest(Sample(now, incident.evidence.value), 1.0)
    return None


def _pasts(
    connection: sa.Connection, incidents: Iterable[Incident], newest: Mapping[SeriesKey, NewestFrame], now: float
) -> dict[str, Past]:
    """The past numbers of the incidents' series, by device: one look at each device that was read."""
    wanted: dict[str, list[Incident]] = {}
    for one in incidents:
        if _key(one) in newest and by_number(one.evidence):
            wanted.setdefault(one.device, []).append(one)
    found = {}
    for device, mine in wanted.items():
        blocks = {frame.block: frame.series for frame in (newest[_key(one)] for one in mine)}
        firsts = (one.began_at if one.evidence.first_at is None else one.evidence.first_at for one in mine)
        since = min(now - TREND_S, *firsts)
        found[device] = past_numbers(connection, device, {_key(one)[1:] for one in mine}, since, blocks)
    return found


def _silent_agents(connection: sa.Connection, snapshot: Snapshot, now: float) -> frozenset[str]:
    heard = connection.execute(sa.select(agent.c.agent, agent.c.heard_at))
    known = {row.agent: row.heard_at for row in heard}
    return frozenset(
        name
        for name, one in snapshot.agents.items()
        if name in known and freshness.silent(now - known[name], one.interval_s)
    )


def _limit(evidence: Evidence, level: Level, rule: Rule | None) -> Band | None:
    """The numbers that the broken limit allows: the limit as it was written then, or the present one of that level."""
    if rule is None or not by_number(evidence):
        return None
    limits = [limit for limit in (rule.critical, rule.warning) if limit and not limit.states]
    same = [limit for limit in limits if limit.text == evidence.expects] or [
        limit for limit in limits if limit.level is level
    ]
    return same[0].allowed if same else None
