"""Writes notices about incidents into the outbox, in the same transaction as the decision that causes them."""

import json
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import sqlalchemy as sa

from watchkeeper.collector.notify.compose import BECAUSE_NOT_REACHED, BECAUSE_ROLE_EMPTY, compose, plain
from watchkeeper.collector.notify.handover import gather, next_call, rung_of
from watchkeeper.collector.notify.i18n import translator
from watchkeeper.collector.notify.message.draft import NOTHING_KNOWN, Handover, NoticeDraft, NoticeKind
from watchkeeper.collector.notify.notice import About, Notice, write
from watchkeeper.collector.policy.incidents import Incident
from watchkeeper.collector.policy.ladder import ScheduledRung, ladder_for
from watchkeeper.collector.policy.roster import audience
from watchkeeper.collector.site.inventory import OWNER, Ladder, Person
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store import rows
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import outbox
from watchkeeper.model.clock import Clock

log = logging.getLogger(__name__)

RECOVERY_MATTERS_S = 86_400.0
"""For how long somebody is still told that a fault is over."""


@dataclass(frozen=True, slots=True)
class Notifier:
    """Writes notices under one configuration. `url` is the address of the pages."""

    store: Store
    snapshot: Snapshot
    url: str = ""

    def handovers(self, connection: sa.Connection, incidents: Collection[Incident], now: float) -> dict[int, Handover]:
        """What the messages about these incidents must tell, by their number. One call for many incidents is cheap."""
        return gather(connection, self.snapshot, incidents, now)

    def page(
        self,
        connection: sa.Connection,
        incident: Incident,
        step: ScheduledRung,
        now: float,
        known: Handover | None = None,
    ) -> None:
        """Notify everybody that a decided rung names, and the ladder's fallback where a role has no person. `known` is what
        `handovers` gave in this transaction, before any other message about the incident."""
        ladder, rung = rung_of(self.snapshot.configuration.ladders, incident.level, step)
        reached = audience(rung, ladder, self.snapshot.configuration, self.snapshot.owner(incident.device), now)
        missing = ", ".join(reached.missing_roles)
        handover = known or self._handover(connection, incident, now)
        handover = self._with_next(handover, incident, now, step.rung)
        for person in reached.people:
            say = translator(person.language)
            because = say(BECAUSE_ROLE_EMPTY).format(roles=missing) if missing else ""
            draft = NoticeDraft(
                NoticeKind.PAGE, incident, person, now, rung, because, self._link(incident), handover, reached.people
            )
            self._put(connection, draft, fallback=self._fallback(ladder, incident))

    def page_instead(self, connection: sa.Connection, failed: Notice, person: Person, now: float) -> None:
        """Send a page that reached nobody to `person`, in that person's language."""
        incident = rows.incident_by_number(connection, failed.id)
        if incident is None:
            return
        ladder = ladder_for(incident.level, self.snapshot.configuration.ladders)
        rung = next((rung for rung in ladder.rungs if rung.rung == failed.rung), None)
        because = translator(person.language)(BECAUSE_NOT_REACHED)
        handover = self._with_next(self._handover(connection, incident, now), incident, now)
        draft = NoticeDraft(
            NoticeKind.PAGE, incident, person, now, rung, because.format(person=failed.person), self._link(incident),
            handover,
        )  # fmt: skip
        self._put(connection, draft, failed.rung, fallback=failed.fallback)

    def tell(  # noqa: PLR0917 -- positional, as every method of the notifier
        self,
        connection: sa.Connection,
        kind: NoticeKind,
        incident: Incident,
        names: Iterable[str],
        now: float,
        because: str = "",
    ) -> None:
        """Tell these people what became of the incident; people who are no longer in contacts.yml are left out."""
        people = {person.person: person for person in self.snapshot.configuration.contacts.people}
        known = sorted(name for name in names if name in people)
        if not known:
            return
        handover = self._handover(connection, incident, now)
        handover = self._with_next(handover, incident, now) if kind is NoticeKind.RISEN else handover
        for name in known:
            draft = NoticeDraft(kind, incident, people[name], now, None, because, self._link(incident), handover)
            self._put(connection, draft)

    def tell_duty(self, connection: sa.Connection, kind: NoticeKind, incident: Incident, now: float) -> None:
        """Tell the people on duty, once."""
        ladder = ladder_for(incident.level, self.snapshot.configuration.ladders)
        owner = self.snapshot.owner(incident.device)
        reached = audience(ladder.rungs[0], ladder, self.snapshot.configuration, owner, now)
        self.tell(connection, kind, incident, [person.person for person in reached.people], now)

    def told(self, connection: sa.Connection, incident: Incident) -> set[str]:
        """The people who were paged for this incident and have not been told since that it has ended."""
        paged: set[str] = set()
        mine = (outbox.c.about == About.INCIDENT.value, outbox.c.about_id == incident.incident)
        query = sa.select(outbox.c.person, outbox.c.kind).where(*mine)
        for row in connection.execute(query.order_by(outbox.c.id)):
            if row.kind in (NoticeKind.RECOVERED, NoticeKind.WITHDRAWN):
                paged.discard(row.person)
            elif row.kind == NoticeKind.PAGE:
                paged.add(row.person)
        return paged

    def _handover(self, connection: sa.Connection, incident: Incident, now: float) -> Handover:
        return self.handovers(connection, [incident], now).get(incident.incident, NOTHING_KNOWN)

    def _with_next(self, handover: Handover, incident: Incident, now: float, decided: str = "") -> Handover:
        """The handover with the people who are notified after this message. `decided` is the rung of the message."""
        if handover is NOTHING_KNOWN:
            return handover
        coming = next_call(incident, handover.steps, self.snapshot, now, decided=decided)
        return replace(handover, next_call=coming)

    def _fallback(self, ladder: Ladder, incident: Incident) -> tuple[str, ...]:
        """The ladder's fallback, with the device's owner by name: the outbox knows no devices."""
        owner = self.snapshot.owner(incident.device)
        return tuple(name for name in (owner if name == OWNER else name for name in ladder.fallback) if name)

    def _link(self, incident: Incident) -> str:
        return f"{self.url}/incidents/{incident.incident}" if self.url else ""

    def _put(
        self, connection: sa.Connection, draft: NoticeDraft, rung: str = "", fallback: tuple[str, ...] = ()
    ) -> None:
        subject, text, facts = _composed(draft, self.snapshot)
        incident = draft.incident
        place = rung or (draft.rung.rung if draft.rung else "")
        notice = Notice(
            about=About.INCIDENT, id=incident.incident, key=idempotency_key(draft, place),
            # A page matters until its incident ends; then `expire` says so.
            expires_at=None if draft.kind in (NoticeKind.PAGE, NoticeKind.RISEN) else draft.now + RECOVERY_MATTERS_S,
            fallback=fallback, recurrence=incident.recurrence, kind=draft.kind.value,
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


def _composed(draft: NoticeDraft, snapshot: Snapshot) -> tuple[str, str, Mapping[str, Any]]:
    """The text by `compose`. Where that fails, the plainest words: a page in bad words is still a page."""
    try:
        return compose(draft, snapshot)
    except Exception:
        log.exception("a message about incident %d could not be composed", draft.incident.incident)
        return plain(draft)


def idempotency_key(draft: NoticeDraft, rung: str) -> str:
    """The same message to the same person about the same recurrence has the same key, however often it is decided. The
    fault's time keeps the numbers of two stores (a restored backup, say) apart."""
    incident = draft.incident
    message = "/".join(filter(None, (draft.kind.value, rung, draft.person.person)))
    return f"{incident.incident}-{incident.recurrence}-{int(incident.began_at)}/{message}"
