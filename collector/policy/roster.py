"""The duty roster: who is on duty, when the next handover is, and which people a rung pages. Pure; `at` is UTC seconds.

A shift begins when the site's clock first shows its start time, or jumps over it, and lasts until the next shift
begins. So exactly one shift is on duty at every moment, also on the days when the clocks change."""

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
_WEEK_S = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class DutyShift:
    """One shift of one day: `person` is on duty from `begins` (UTC seconds) until the next shift begins."""

    begins: float
    day: datetime.date
    shift: str
    person: Person


def shift_at(contacts: Contacts, site: Site, at: float) -> DutyShift:
    """The shift that is on duty at a moment. An overnight shift, its turn and its swaps belong to the day it began."""
    begun = (start for start in _starts(contacts, site, at) if start[0] <= at)
    return _duty_shift(contacts, max(begun, key=lambda start: start[1]))


def next_handover(contacts: Contacts, site: Site, at: float) -> DutyShift:
    """The shift that takes over next. Its `begins` is the time of the handover."""
    begins = min(start[0] for start in _starts(contacts, site, at) if start[0] > at)
    return shift_at(contacts, site, begins)


def longest_shift_s(contacts: Contacts) -> float:
    """The longest time for which somebody has the watch. Where a rotation moves on once a week, that is the week."""
    return max(_WEEK_S if shift.turn is Turn.WEEK else _lasts_s(shift) for shift in contacts.shifts)


def _lasts_s(shift: Shift) -> float:
    start, end = (datetime.datetime.combine(datetime.date.min, time) for time in (shift.start, shift.end))
    return ((end - start) % _DAY or _DAY).total_seconds()


def on_duty(contacts: Contacts, site: Site, at: float) -> tuple[Person, ...]:
    """The people on duty. Never empty."""
    return (shift_at(contacts, site, at).person,)


def people_in_role(name: str, configuration: Configuration, owner: str, at: float) -> tuple[Person, ...]:
    """The people of a role, or the person of that name, for a device (or agent) of this owner. May be empty."""
    contacts = configuration.contacts
    if name == DUTY:
        return on_duty(contacts, configuration.inventory.site, at)
    names = (owner,) if name == OWNER else contacts.roles.get(name, (name,))
    return tuple(person for wanted in names for person in contacts.people if person.person == wanted)


def people_of(names: Iterable[str], configuration: Configuration, owner: str, at: float) -> tuple[Person, ...]:
    """The people of these roles and persons, each once, in this order."""
    found = (person for name in names for person in people_in_role(name, configuration, owner, at))
    return tuple({person.person: person for person in found}.values())


@dataclass(frozen=True, slots=True)
class Audience:
    """The people that a rung pages. `missing_roles` are roles that have no person: if there are any, `people` includes
    the ladder's fallback, and the message must say so."""

    people: tuple[Person, ...]
    missing_roles: tuple[str, ...] = ()


def audience(rung: Rung, ladder: Ladder, configuration: Configuration, owner: str, at: float) -> Audience:
    """The audience of a rung, for a device (or agent) of this owner. Never empty in a cross-checked configuration."""
    missing = tuple(name for name in rung.tell if not people_in_role(name, configuration, owner, at))
    names = (*rung.tell, *ladder.fallback) if missing else rung.tell
    return Audience(people_of(names, configuration, owner, at), missing)


_Start = tuple[float, datetime.datetime, Shift]
"""When a shift begins: in UTC seconds, and in site time."""


def _starts(contacts: Contacts, site: Site, at: float) -> Iterator[_Start]:
    """Every start that can be the last before a moment, or the first after it."""
    today = datetime.datetime.fromtimestamp(at, site.timezone).date()
    for day in (today - _DAY, today, today + _DAY, today + 2 * _DAY):
        for shift in contacts.shifts:
            local = datetime.datetime.combine(day, shift.start)
            yield _first_utc_s(local, site.timezone), local, shift


def _first_utc_s(local: datetime.datetime, zone: ZoneInfo) -> float:
    """The first moment (UTC seconds) at which a clock of the zone shows this time, or has jumped over it."""
    first = local.replace(tzinfo=zone).timestamp()
    other = local.replace(tzinfo=zone, fold=1).timestamp()
    if other >= first:  # an ordinary time, or the first of two
        return first
    # The clock jumps over this time. By PEP 495 one result is before the jump and one after it: search between them.
    around = range(int(other), int(first) + 1)
    return float(around[bisect_left(around, local, key=lambda moment: _local(moment, zone))])


def _local(moment: float, zone: ZoneInfo) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(moment, zone).replace(tzinfo=None)


def _duty_shift(contacts: Contacts, start: _Start) -> DutyShift:
    begins, local, shift = start
    day = local.date()
    name = _person_on_shift(contacts, shift, day)
    person = next(person for person in contacts.people if person.person == name)
    return DutyShift(begins, day, shift.shift, person)


def _person_on_shift(contacts: Contacts, shift: Shift, day: datetime.date) -> str:
    for swap in contacts.swaps:
        if (swap.date, swap.shift) == (day, shift.shift):
            return swap.person
    turns = (day - shift.since).days // (7 if shift.turn is Turn.WEEK else 1)
    return shift.rotation[turns % len(shift.rotation)]
