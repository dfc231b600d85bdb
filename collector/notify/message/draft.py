"""What a message is made of, before it is composed."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from watchkeeper.collector.policy.course import Course
from watchkeeper.collector.policy.incidents import Incident, TransitionKind
from watchkeeper.collector.policy.ladder import ScheduledRung
from watchkeeper.collector.site.inventory import Person, Rung


class NoticeKind(StrEnum):
    """Why a person gets a message."""

    PAGE = "page"  # a rung of the ladder was decided
    RISEN = "risen"  # the fault they were notified of has become critical
    PASSED = "passed"  # the fault was over before anybody could be notified
    RECOVERED = "recovered"
    WITHDRAWN = "withdrawn"


OVER = (NoticeKind.PASSED, NoticeKind.RECOVERED, NoticeKind.WITHDRAWN)
"""The fault is over when such a message is written."""


class Contact(NamedTuple):
    """A person as colleagues see them: name and phone ("" if they have none)."""

    name: str
    phone: str = ""


NOT_READ = Course()


class Act(NamedTuple):
    """What a person did about a fault: acknowledged, escalated or resolved it. `note` is their own words."""

    kind: TransitionKind
    who: Contact
    at: float
    note: str = ""


class Notified(NamedTuple):
    """A person who was paged for the fault, when that was decided, and whether a channel has delivered a page to them."""

    who: Contact
    at: float
    delivered: bool


class NextCall(NamedTuple):
    """Who is notified next, and when. Nobody, if the ladder has no further rung."""

    people: tuple[Contact, ...] = ()
    due_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Rounds:
    """How often a fault has begun since `since`, and for how many seconds of that time it was there."""

    count: int
    since: float
    bad_s: float


@dataclass(frozen=True, slots=True)
class Handover:
    """What a person needs in order to take over, beside the incident itself. `steps` are the rungs of the present recurrence;
    `next_call` is None where nothing can be said about it. `dependants` are the devices that depend on the faulty one. The
    rest is of the present recurrence, oldest first."""

    course: Course = NOT_READ
    acts: tuple[Act, ...] = ()
    notified: tuple[Notified, ...] = ()
    steps: tuple[ScheduledRung, ...] = ()
    next_call: NextCall | None = None
    dependants: tuple[str, ...] = ()
    rounds: Rounds | None = None


NOTHING_KNOWN = Handover()


@dataclass(frozen=True, slots=True)
class NoticeDraft:
    """One message to one person, before it is composed. `incident` is what it is about first; `others` are further incidents
    of the same cause. `because` is the reason why it is this person, if that is not clear (a fallback). `together` are the
    people who are notified at the same moment, this person among them. `rounds` replaces the handover's where a flapping
    fault is more than one incident."""

    kind: NoticeKind
    incident: Incident
    person: Person
    now: float
    rung: Rung | None = None
    because: str = ""
    url: str = ""
    handover: Handover = NOTHING_KNOWN
    together: tuple[Person, ...] = ()
    others: tuple[Incident, ...] = ()
    rounds: Rounds | None = None
