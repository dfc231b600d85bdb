"""Writes notices about troubles into the outbox, in the same transaction as the decision that causes them."""

import json
import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import sqlalchemy as sa

from watchkeeper.channels.ports import Address, Message
from watchkeeper.collector.access.links import Links
from watchkeeper.collector.notify.compose import BECAUSE_NOT_REACHED, BECAUSE_ROLE_EMPTY, compose, plain
from watchkeeper.collector.notify.handover import gather, next_call, rung_of
from watchkeeper.collector.notify.i18n import translator
from watchkeeper.collector.notify.message.answer_line import WayBack, with_answer_line
from watchkeeper.collector.notify.message.draft import NOTHING_KNOWN, OVER, Lead, NoticeDraft, NoticeKind
from watchkeeper.collector.notify.notice import PATHS, About, Notice, page_path, write
from watchkeeper.collector.policy.incidents import Incident
from watchkeeper.collector.policy.ladder import ScheduledRung, ladder_for
from watchkeeper.collector.policy.roster import audience
from watchkeeper.collector.policy.troubles import Trouble
from watchkeeper.collector.site.inventory import OWNER, Ladder, Person, Rung
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store import rows, troubles
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import outbox
from watchkeeper.model.clock import Clock

log = logging.getLogger(__name__)

RECOVERY_MATTERS_S = 86_400.0
"""For how long somebody is still told that a fault is over."""

ENDINGS = (NoticeKind.RECOVERED, NoticeKind.WITHDRAWN)


@dataclass(frozen=True, slots=True)
class Notifier:
    """Writes notices under one configuration. `url` is the address of the pages; `links` signs personal links; `way_back` says how
    a person can answer what leaves by an address."""

    store: Store
    snapshot: Snapshot
    url: str = ""
    links: Links | None = None
    way_back: Callable[[Address], WayBack] = lambda _: WayBack.NONE

    def leads(self, connection: sa.Connection, known: Collection[Trouble], now: float) -> dict[int, Lead]:
        """What the messages about these troubles must tell, by their number. One call for many troubles is cheap."""
        return gather(connection, self.snapshot, known, now)

    def page(
        self, connection: sa.Connection, trouble: Trouble, step: ScheduledRung, now: float, lead: Lead | None = None
    ) -> None:
        """Notify everybody that a decided rung names, and the ladder's fallback where a role has no person. `lead` is what
        `leads` gave in this transaction, before any other message about the trouble."""
        lead = self._with_next(lead or self._lead(connection, trouble, now), now, step.rung)
        ladder, rung = rung_of(self.snapshot.configuration.ladders, trouble.level, step)
        reached = audience(rung, ladder, self.snapshot.configuration, self.snapshot.owner(lead.incident.device), now)
        missing = ", ".join(reached.missing_roles)
        for person in reached.people:
            say = translator(person.language)
            because = say(BECAUSE_ROLE_EMPTY).format(roles=missing) if missing else ""
            draft = NoticeDraft(NoticeKind.PAGE, lead, person, now, rung, because, self._link(trouble), reached.people)
            self._put(connection, draft, fallback=self._fallback(ladder, lead.incident))

    def page_instead(self, connection: sa.Connection, failed: Notice, person: Person, now: float) -> None:
        """Send a page that reached nobody to `person`, in that person's language."""
        trouble = troubles.follow(connection, failed.id)
        if trouble is None:
            return
        ladder = ladder_for(trouble.level, self.snapshot.configuration.ladders)
        rung = next((rung for rung in ladder.rungs if rung.rung == failed.rung), None)
        because = translator(person.language)(BECAUSE_NOT_REACHED).format(person=failed.person)
        lead = self._with_next(self._lead(connection, trouble, now), now)
        draft = NoticeDraft(NoticeKind.PAGE, lead, person, now, rung, because, self._link(trouble))
        self._put(connection, draft, failed.rung, fallback=failed.fallback)

    def tell(  # noqa: PLR0917 -- positional, as every method of the notifier
        self,
        connection: sa.Connection,
        kind: NoticeKind,
        trouble: Trouble,
        names: Iterable[str],
        now: float,
        because: str = "",
    ) -> None:
        """Tell these people what became of the trouble; people who are no longer in contacts.yml are left out."""
        people = {person.person: person for person in self.snapshot.configuration.contacts.people}
        known = [people[name] for name in sorted(names) if name in people]
        if known:
            lead = self._lead(connection, trouble, now)
            lead = lead if kind in OVER else self._with_next(lead, now)
            for person in known:
                draft = NoticeDraft(kind, lead, person, now, None, because, self._link(trouble))
                self._put(connection, draft)

    def tell_duty(self, connection: sa.Connection, kind: NoticeKind, trouble: Trouble, now: float) -> None:
        """Tell the people on duty, once."""
        self.tell(connection, kind, trouble, self._on_duty(connection, trouble, now), now)

    def tell_return(self, connection: sa.Connection, trouble: Trouble, now: float) -> None:
        """A fault has come back after its recovery was told: tell duty, and everybody who was told of that."""
        names = self._on_duty(connection, trouble, now) | self.ever_told(connection, trouble)
        self.tell(connection, NoticeKind.RETURNED, trouble, names, now)

    def chase(self, connection: sa.Connection, trouble: Trouble, now: float) -> None:
        """Ask the people who must be on site whether they are: those of the highest decided rung that wants it."""
        wanted = self._on_site_rung(connection, trouble)
        if wanted is None:
            return
        ladder, rung = wanted
        lead = self._with_next(self._lead(connection, trouble, now), now)
        owner = self.snapshot.owner(lead.incident.device)
        asked = replace(rung, tell=rung.on_site)
        for person in audience(asked, ladder, self.snapshot.configuration, owner, now).people:
            draft = NoticeDraft(NoticeKind.ON_SITE, lead, person, now, rung, "", self._link(trouble))
            self._put(connection, draft, f"{rung.rung} {int(now)}")

    def _on_site_rung(self, connection: sa.Connection, trouble: Trouble) -> tuple[Ladder, Rung] | None:
        steps = troubles.rungs_of(connection, [trouble.trouble]).get(trouble.trouble, [])
        for step in reversed([one for one in steps if one.decided_at is not None]):
            ladder, rung = rung_of(self.snapshot.configuration.ladders, trouble.level, step)
            if rung.on_site:
                return ladder, rung
        return None

    def wants_on_site(self, trouble: Trouble, step: ScheduledRung) -> bool:
        """Whether somebody must come on site when this rung is decided."""
        return bool(rung_of(self.snapshot.configuration.ladders, trouble.level, step)[1].on_site)

    def told(self, connection: sa.Connection, trouble: Trouble) -> set[str]:
        """The people who were paged for this trouble and have not been told since that it is over."""
        paged: set[str] = set()
        for person, kind in self._notices(connection, trouble):
            if kind in ENDINGS:
                paged.discard(person)
            elif kind in (NoticeKind.PAGE, NoticeKind.RETURNED, NoticeKind.MENTIONED):
                paged.add(person)
        return paged

    def ever_told(self, connection: sa.Connection, trouble: Trouble) -> set[str]:
        """Everybody who was told of the trouble."""
        return {person for person, _ in self._notices(connection, trouble)}

    def _notices(self, connection: sa.Connection, trouble: Trouble) -> Iterator[tuple[str, str]]:
        """The notices about the trouble and about those that were merged into it, as (person, kind), oldest first."""
        numbers = troubles.numbers_of(connection, trouble.trouble)
        mine = (outbox.c.about == About.TROUBLE.value, outbox.c.about_id.in_(numbers))
        query = sa.select(outbox.c.person, outbox.c.kind).where(*mine).order_by(outbox.c.id)
        return ((row.person, row.kind) for row in connection.execute(query))

    def _on_duty(self, connection: sa.Connection, trouble: Trouble, now: float) -> set[str]:
        ladder = ladder_for(trouble.level, self.snapshot.configuration.ladders)
        cause = rows.incident_by_number(connection, trouble.cause)
        owner = self.snapshot.owner(cause.device if cause else "")
        reached = audience(ladder.rungs[0], ladder, self.snapshot.configuration, owner, now)
        return {person.person for person in reached.people}

    def _lead(self, connection: sa.Connection, trouble: Trouble, now: float) -> Lead:
        return self.leads(connection, [trouble], now)[trouble.trouble]

    def _with_next(self, lead: Lead, now: float, decided: str = "") -> Lead:
        """The lead with the people who are notified after this message. `decided` is the rung of the message."""
        if lead.handover is NOTHING_KNOWN:
            return lead
        coming = next_call(lead, self.snapshot, now, decided=decided)
        return replace(lead, handover=replace(lead.handover, next_call=coming))

    def name_of(self, person: str) -> str:
        """The display name of a person."""
        people = self.snapshot.configuration.contacts.people
        return next((one.name for one in people if one.person == person), person)

    def _fallback(self, ladder: Ladder, incident: Incident) -> tuple[str, ...]:
        """The ladder's fallback, with the device's owner by name: the outbox knows no devices."""
        owner = self.snapshot.owner(incident.device)
        return tuple(name for name in (owner if name == OWNER else name for name in ladder.fallback) if name)

    def _link(self, trouble: Trouble) -> str:
        """The address of the trouble's page. `personal` makes it personal."""
        return self.url + page_path(About.TROUBLE, trouble.trouble) if self.url else ""

    def personal(self, message: Message, at: float) -> Message:
        """The message as it leaves: each address of a page in it becomes the person's own link, issued at `at` (UTC seconds). The
        outbox does not have the links, because they let the person act. Without a signature an address stays as it is, and
        asks for a sign-in."""
        if not (self.url and self.links):
            return message
        paths = "|".join(re.escape(path.removesuffix("{id}")) for path in PATHS.values())
        address = re.compile(rf"{re.escape(self.url)}(?P<path>{paths})(?P<id>\d{{1,16}})(?!\w)")

        def signed(text: str) -> str:
            return address.sub(lambda found: self._signed(found, message.person, at), text)

        facts = json.loads(signed(json.dumps(message.facts, ensure_ascii=False)))
        return replace(message, text=signed(message.text), facts=facts)

    def answerable(self, message: Message, address: Address) -> Message:
        """The message with the line that tells how to answer it, if the channel that it leaves by has a way back."""
        people = self.snapshot.configuration.contacts.people
        person = next((one for one in people if one.person == message.person), None)
        return with_answer_line(message, self.way_back(address), person.language) if person else message

    def _signed(self, address: re.Match[str], person: str, at: float) -> str:
        about = next(about for about, path in PATHS.items() if path == address["path"] + "{id}")
        try:
            link = self.links.sign(person, about.value, int(address["id"]), at) if self.links else ""
        except Exception:  # a message with a plain address is better than none
            log.exception("a link to %s %s could not be signed", about.value, address["id"])
            return address[0]
        return f"{self.url}/t/{link}"

    def _put(
        self, connection: sa.Connection, draft: NoticeDraft, rung: str = "", fallback: tuple[str, ...] = ()
    ) -> None:
        subject, text, facts = _composed(draft, self.snapshot)
        trouble = draft.trouble
        place = rung or (draft.rung.rung if draft.rung else "")
        notice = Notice(
            about=About.TROUBLE, id=trouble.trouble, key=idempotency_key(draft, place),
            # A page matters until its trouble is over; then `expire` says so.
            expires_at=draft.now + RECOVERY_MATTERS_S if draft.kind in OVER else None,
            fallback=fallback, recurrence=trouble.recurrence, kind=draft.kind.value,
            rung=place or draft.kind.value, person=draft.person.person, created_at=draft.now, subject=subject,
            text=text, facts=json.dumps(facts, ensure_ascii=False),
        )  # fmt: skip
        write(self.store, connection, notice)


class Notifiers(Protocol):
    """The holder of the active configuration: it gives the notifier of this moment."""

    @property
    def store(self) -> Store:
        """The store that the notifier writes to."""

    @property
    def clock(self) -> Clock:
        """The collector's clock."""

    def notifier(self) -> Notifier:
        """The notifier under the configuration of this moment."""

    def current(self, connection: sa.Connection) -> Notifier:
        """The notifier under what is in force. Raises StoreError if that is not taken over yet."""


def _composed(draft: NoticeDraft, snapshot: Snapshot) -> tuple[str, str, Mapping[str, Any]]:
    """The text by `compose`. Where that fails, the plainest words: a page in bad words is still a page."""
    try:
        return compose(draft, snapshot)
    except Exception:
        log.exception("a message about trouble %d could not be composed", draft.trouble.trouble)
        return plain(draft)


def idempotency_key(draft: NoticeDraft, rung: str) -> str:
    """The same message to the same person about the same trouble has the same key, however often it is decided. A rung is
    decided once in a trouble; everything else once in each recurrence. The trouble's time keeps the numbers of two stores (a
    restored backup, say) apart."""
    trouble = draft.trouble
    message = "/".join(filter(None, (draft.kind.value, rung, draft.person.person)))
    recurrence = "" if draft.kind is NoticeKind.PAGE else f"-{trouble.recurrence}"
    return f"{trouble.trouble}{recurrence}-{int(trouble.opened_at)}/{message}"
