"""What a message is made of, before it is composed."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from watchkeeper.collector.policy.course import Course
from watchkeeper.collector.policy.incidents import Incident, TransitionKind
from watchkeeper.collector.policy.ladder import ScheduledRung
from watchkeeper.collector.policy.troubles import Trouble
from watchkeeper.collector.site.inventory import Person, Rung


class NoticeKind(StrEnum):
    """Why a person gets a message."""

    PAGE = "page"  # a rung of the ladder was decided
    RISEN = "risen"  # the fault they were notified of has become critical
    RETURNED = "returned"  # the fault they were told is over has come back
    FLAPPING = "flapping"  # the fault comes and goes
    ON_SITE = "on-site"  # somebody must be on site, and nobody has said that he is
    TAKEN_OVER = "taken-over"  # another person works on what they acknowledged
    MENTIONED = "mentioned"  # a person wants them to read a comment
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
class Handover:
    """What a person needs in order to take over, beside the incidents. `steps` are the rungs of the trouble; `next_call` is None
    where nothing can be said about it. `dependants` are the devices that depend on the faulty one. The rest is oldest
    first."""

    course: Course = NOT_READ
    acts: tuple[Act, ...] = ()
    notified: tuple[Notified, ...] = ()
    steps: tuple[ScheduledRung, ...] = ()
    next_call: NextCall | None = None
    dependants: tuple[str, ...] = ()


NOTHING_KNOWN = Handover()


@dataclass(frozen=True, slots=True)
class Lead:
    """A trouble as a message tells it: the incident that the message is about (the probable cause), the others of the trouble,
    the worst first, and what else is known."""

    trouble: Trouble
    incident: Incident
    others: tuple[Incident, ...] = ()
    handover: Handover = NOTHING_KNOWN


@dataclass(frozen=True, slots=True)
class NoticeDraft:
    """One message to one person, before it is composed. `because` is the reason why it is this person, if that is not clear (a
    fallback). `together` are the people who are notified at the same moment, this person among them."""

    kind: NoticeKind
    lead: Lead
    person: Person
    now: float
    rung: Rung | None = None
    because: str = ""
    url: str = ""
    together: tuple[Person, ...] = ()

    @property
    def trouble(self) -> Trouble:
        """The trouble that it is about."""
        return self.lead.trouble

    @property
    def incident(self) -> Incident:
        """The incident that it is about first."""
        return self.lead.incident

    @property
    def handover(self) -> Handover:
        """What else is known."""
        return self.lead.handover

    @property
    def others(self) -> tuple[Incident, ...]:
        """The other incidents of the trouble: while it goes on those that are there now, afterwards all."""
        every = self.lead.others
        return every if self.kind in OVER else tuple(one for one in every if one.open)
