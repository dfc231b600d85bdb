"""Who is who at a moment: the watch by the roster, its next handover, and whom a rung reaches. Pure; `at` is UTC seconds.

A shift begins the first time the site's clock reads its start, or jumps over it, and lasts until the next one begins:
at every moment exactly one shift is on, also on the days the clocks change.
"""

import datetime
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from watchkeeper.collector.site.inventory import (
    DUTY,
    OWNER,
    Configuration,
    Contacts,
    Ladder,
    Person,
    Rung,
    Shift,
    Site,
    Turn,
)

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class DutyShift:
    """One shift of one day: from `begins` (UTC seconds) until the next watch begins, `person` holds it."""

    begins: float
    day: datetime.date
    shift: str
    person: Person


def shift_at(contacts: Contacts, site: Site, at: float) -> DutyShift:
    """The watch that is on at a moment. An overnight shift, its turn and its swaps belong to the day it began."""
    begun = (start for start in _starts(contacts, site, at) if start[0] <= at)
    return _duty_shift(contacts, max(begun, key=lambda start: start[1]))


def next_handover(contacts: Contacts, site: Site, at: float) -> DutyShift:
    """The watch that takes over next; its `begins` is the moment of the handover."""
    begins = min(start[0] for start in _starts(contacts, site, at) if start[0] > at)
    return shift_at(contacts, site, begins)


def on_duty(contacts: Contacts, site: Site, at: float) -> tuple[Person, ...]:
    """Who holds the watch. Never empty."""
    return (shift_at(contacts, site, at).person,)


def people_in_role(name: str, configuration: Configuration, owner: str, at: float) -> tuple[Person, ...]:
    """Who a role or person of a ladder is, for a device (or agent) of this owner; () where it is nobody."""
    contacts = configuration.contacts
    if name == DUTY:
        return on_duty(contacts, configuration.inventory.site, at)
    names = (owner,) if name == OWNER else contacts.roles.get(name, (name,))
    return tuple(person for wanted in names for person in contacts.people if person.person == wanted)


def people_of(names: Iterable[str], configuration: Configuration, owner: str, at: float) -> tuple[Person, ...]:
    """Everybody whom these roles and persons are, each once, in this order."""
    found = (person for name in names for person in people_in_role(name, configuration, owner, at))
    return tuple({person.person: person for person in found}.values())


@dataclass(frozen=True, slots=True)
class Audience:
    """Whom a rung reaches. Where `missing_roles` names roles that are nobody, the ladder's fallback is among the
    people, and the message must say so."""

    people: tuple[Person, ...]
    missing_roles: tuple[str, ...] = ()


def audience(rung: Rung, ladder: Ladder, configuration: Configuration, owner: str, at: float) -> Audience:
    """Work out a rung's audience for a device (or agent) of this owner. Never empty with books that were cross-checked."""
    missing = tuple(name for name in rung.tell if not people_in_role(name, configuration, owner, at))
    names = (*rung.tell, *ladder.fallback) if missing else rung.tell
    return Audience(people_of(names, configuration, owner, at), missing)


_Start = tuple[float, datetime.datetime, Shift]
"""When a shift begins: UTC seconds, and the same as the site's clock reads it."""


def _starts(contacts: Contacts, site: Site, at: float) -> Iterator[_Start]:
    """Every start that could be the last before, or the first after, a moment."""
    today = datetime.datetime.fromtimestamp(at, site.timezone).date()
    for day in (today - _DAY, today, today + _DAY, today + 2 * _DAY):
        for shift in contacts.shifts:
            reads = datetime.datetime.combine(day, shift.start)
            yield _first_reading(reads, site.timezone), reads, shift


def _first_reading(reads: datetime.datetime, zone: ZoneInfo) -> float:
    """The first moment (UTC seconds) at which a clock of the zone reads this, or has jumped over it."""
    first = reads.replace(tzinfo=zone).timestamp()
    other = reads.replace(tzinfo=zone, fold=1).timestamp()
    if other >= first:  # an ordinary time, or the first of two
        return first
    # The clock never reads this. PEP 495: the two answers then lie around the jump, which is looked for between them.
    around = range(int(other), int(first) + 1)
    return float(around[bisect_left(around, reads, key=lambda moment: _local(moment, zone))])


def _local(moment: float, zone: ZoneInfo) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(moment, zone).replace(tzinfo=None)


def _duty_shift(contacts: Contacts, start: _Start) -> DutyShift:
    begins, reads, shift = start
    day = reads.date()
    name = _whose(contacts, shift, day)
    person = next(person for person in contacts.people if person.person == name)
    return DutyShift(begins, day, shift.shift, person)


def _whose(contacts: Contacts, shift: Shift, day: datetime.date) -> str:
    for swap in contacts.swaps:
        if (swap.date, swap.shift) == (day, shift.shift):
            return swap.person
    turns = (day - shift.since).days // (7 if shift.turn is Turn.WEEK else 1)
    return shift.rotation[turns % len(shift.rotation)]
