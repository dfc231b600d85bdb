"""Gathers from the store what the messages about troubles must tell: of many troubles at once, in a few queries."""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import sqlalchemy as sa

from watchkeeper.collector.notify.message.draft import (
    NOT_READ,
    NOTHING_KNOWN,
    Act,
    Contact,
    Handover,
    Lead,
    NextCall,
    NoticeKind,
    Notified,
)
from watchkeeper.collector.notify.message.readings import by_number
from watchkeeper.collector.notify.notice import About
from watchkeeper.collector.policy import freshness
from watchkeeper.collector.policy.course import TREND_S, Course, Judged, Newest, Sample, course_of
from watchkeeper.collector.policy.incidents import Incident, Transition, TransitionKind
from watchkeeper.collector.policy.ladder import ScheduledRung, ladder_for, stopping_levels, upcoming
from watchkeeper.collector.policy.roster import audience
from watchkeeper.collector.policy.troubles import Trouble
from watchkeeper.collector.site.inventory import COLLECTOR, Contacts, Ladder, Ladders, Person, Rung
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store import rows
from watchkeeper.collector.store import troubles as troubles_of
from watchkeeper.collector.store.readings import NewestFrame, Past, SeriesKey, newest_readings, past_numbers
from watchkeeper.collector.store.schema import agent, outbox, trouble
from watchkeeper.model.event import EVENT_QUANTITY
from watchkeeper.model.verdict import Evidence, Level
from watchkeeper.rules.rule import Band, Rule

log = logging.getLogger(__name__)

_UNREAD_EVERY_S = 30.0
"""The interval of a device that is not in the inventory any more."""


def gather(connection: sa.Connection, snapshot: Snapshot, troubles: Collection[Trouble], now: float) -> dict[int, Lead]:
    """What is known of each trouble, by its number. Raises KeyError for a trouble without incidents."""
    leads = _leads(connection, troubles)
    handovers = _try_handovers(connection, snapshot, leads.values(), now)
    return {number: replace(lead, handover=handovers.get(number, NOTHING_KNOWN)) for number, lead in leads.items()}


def _leads(connection: sa.Connection, troubles: Collection[Trouble]) -> dict[int, Lead]:
    members: dict[int, list[Incident]] = {}
    for one in rows.incidents_of(connection, [known.trouble for known in troubles]):
        members.setdefault(one.trouble, []).append(one)
    causes = {one.incident: one for found in members.values() for one in found}
    elsewhere = {known.cause for known in troubles} - causes.keys()
    if elsewhere:
        causes |= rows.incidents_by_number(connection, elsewhere)
    found = {}
    for known in troubles:
        cause = causes[known.cause]
        others = (one for one in members.get(known.trouble, ()) if one.incident != cause.incident)
        found[known.trouble] = Lead(known, cause, tuple(sorted(others, key=_worst_first)))
    return found


def _worst_first(one: Incident) -> tuple[bool, bool, float]:
    return (not one.open, one.level is not Level.CRITICAL, one.began_at)


def _try_handovers(
    connection: sa.Connection, snapshot: Snapshot, leads: Collection[Lead], now: float
) -> dict[int, Handover]:
    """What else is known. Where this fails, the result is empty and the caller's transaction goes on: a message without it is
    still a message."""
    if not leads:
        return {}
    try:
        with connection.begin_nested():
            return _handovers(connection, snapshot, leads, now)
    except Exception:
        log.exception("what the messages should tell about %d troubles could not be read", len(leads))
        return {}


def _handovers(
    connection: sa.Connection, snapshot: Snapshot, leads: Collection[Lead], now: float
) -> dict[int, Handover]:
    numbers = [lead.trouble.trouble for lead in leads]
    contacts = snapshot.configuration.contacts
    steps = troubles_of.rungs_of(connection, numbers)
    happened = rows.told_transitions(connection, numbers, [lead.incident.incident for lead in leads])
    notified = _notified(connection, numbers, contacts)
    courses = _courses(connection, snapshot, [lead.incident for lead in leads], happened, now)
    acts: dict[int, list[Act]] = {}
    for number, _, step in happened:
        if step.by.startswith("person:"):
            acts.setdefault(number, []).append(_act(step, contacts))
    return {
        lead.trouble.trouble: Handover(
            course=courses[lead.incident.incident],
            acts=tuple(dict.fromkeys(acts.get(lead.trouble.trouble, ()))),
            notified=notified.get(lead.trouble.trouble, ()),
            steps=tuple(steps.get(lead.trouble.trouble, ())),
            dependants=snapshot.dependencies.dependants(lead.incident.device),
        )
        for lead in leads
    }


# ---- people ----


def contact_of(name: str, contacts: Contacts) -> Contact:
    """A person by the name in contacts.yml, or by that name alone, if they are no longer there."""
    found = next((one for one in contacts.people if one.person == name), None)
    return contact(found) if found else Contact(name)


def contact(person: Person) -> Contact:
    """A person's name and phone."""
    return Contact(person.name, person.phone)


def _act(step: Transition, contacts: Contacts) -> Act:
    # The note of an escalation is `RUNG: WORDS`, or the rung alone.
    note = step.note.partition(": ")[2] if step.kind is TransitionKind.ESCALATED else step.note
    return Act(step.kind, contact_of(step.by.partition(":")[2], contacts), step.at, note)


def _notified(connection: sa.Connection, numbers: Iterable[int], contacts: Contacts) -> dict[int, tuple[Notified, ...]]:
    """Who was told that the fault is there, each person once, in this order; also by a trouble that was merged into this
    one."""
    into = _merged(connection, numbers)
    columns = (outbox.c.about_id, outbox.c.person, outbox.c.created_at, outbox.c.state)
    pages = sa.and_(
        outbox.c.about == About.TROUBLE.value,
        outbox.c.about_id.in_(list(into)),
        outbox.c.kind.in_([NoticeKind.PAGE.value, NoticeKind.RETURNED.value]),
    )
    found: dict[int, dict[str, Notified]] = {}
    for row in connection.execute(sa.select(*columns).where(pages).order_by(outbox.c.id)):
        mine, delivered = found.setdefault(into[row.about_id], {}), row.state == "delivered"
        if row.person not in mine or (delivered and not mine[row.person].delivered):
            mine[row.person] = Notified(contact_of(row.person, contacts), row.created_at, delivered)
    return {number: tuple(people.values()) for number, people in found.items()}


def _merged(connection: sa.Connection, numbers: Iterable[int]) -> dict[int, int]:
    """The troubles of these numbers and those that were merged into them, each with the number that it now has."""
    into = {number: number for number in numbers}
    wanted = list(into)
    while wanted:
        query = sa.select(trouble.c.trouble, trouble.c.merged_into).where(trouble.c.merged_into.in_(wanted))
        new = {row.trouble: into[row.merged_into] for row in connection.execute(query) if row.trouble not in into}
        into |= new
        wanted = list(new)
    return into


def rung_of(ladders: Ladders, level: Level, step: ScheduledRung) -> tuple[Ladder, Rung]:
    """The ladder and the rung of a step. Where the configuration no longer has them: the ladder of the level, its
    fallback."""
    named = (ladder for ladder in ladders.ladders if ladder.ladder == step.ladder)
    ladder = next(named, None) or ladder_for(level, ladders)
    rung = next((rung for rung in ladder.rungs if rung.rung == step.rung), None)
    return ladder, rung or Rung(step.rung, 0.0, ladder.fallback)


def next_call(lead: Lead, snapshot: Snapshot, now: float, *, decided: str = "") -> NextCall:
    """Who is notified next, by the undecided rungs of a trouble; `decided` is the rung that is decided at this moment."""
    ladders, known = snapshot.configuration.ladders, lead.trouble
    step = upcoming(one for one in lead.handover.steps if one.rung != decided)
    held = known.acknowledged_at is not None and known.level in stopping_levels(ladders)
    if step is None or held or not known.open:
        return NextCall()
    ladder, rung = rung_of(ladders, known.level, step)
    owner = snapshot.owner(lead.incident.device)
    people = audience(rung, ladder, snapshot.configuration, owner, max(step.due_at, now)).people
    return NextCall(tuple(contact(person) for person in people), step.due_at)


# ---- readings ----


def _courses(
    connection: sa.Connection,
    snapshot: Snapshot,
    incidents: Collection[Incident],
    happened: Iterable[tuple[int, int, Transition]],
    now: float,
) -> dict[int, Course]:
    probes = {device.device: device.probe for device in snapshot.devices.values()}
    newest = newest_readings(connection, probes, {_key(one) for one in incidents if one.device in probes})
    past = _pasts(connection, incidents, newest, now)
    silent = _silent_agents(connection, snapshot, now)
    judged: dict[int, float] = {}
    for _, number, step in happened:
        if not step.by.startswith("person:"):
            judged[number] = max(step.at, judged.get(number, 0.0))
    found = {one.incident: NOT_READ for one in incidents}
    for one in incidents:
        if one.evidence.quantity == EVENT_QUANTITY:  # told once by the device: there is no value now
            continue
        rule, frame = snapshot.rules.named(one.rule), newest.get(_key(one))
        mine = past.get(one.device) or Past({})
        found[one.incident] = course_of(
            Judged(one.evidence, max(judged.get(one.incident, 0.0), one.began_at), one.began_at, one.ended_at),
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
