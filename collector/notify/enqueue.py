"""Who is told what, written into the outbox in the same transaction as the reason for it."""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa

from watchkeeper.collector.notify.compose import Kind, Telling, compose, plain
from watchkeeper.collector.notify.i18n import translator
from watchkeeper.collector.policy.incidents import Incident
from watchkeeper.collector.policy.ladder import Step, ladder_for
from watchkeeper.collector.policy.roster import audience, people_of
from watchkeeper.collector.site.inventory import Ladder, Rung
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import outbox
from watchkeeper.model.clock import Clock

log = logging.getLogger(__name__)

LEASE_S = 60.0
"""For how long a message in the outbox is its sender's."""


@dataclass(frozen=True, slots=True)
class Notifier:
    """Writes notices under the orders in force. `url` is where the pages are."""

    store: Store
    snapshot: Snapshot
    url: str = ""

    def page(self, connection: sa.Connection, incident: Incident, step: Step, now: float) -> None:
        """A rung was decided: everybody it names, or the ladder's fallback where a role is nobody."""
        ladder = self._ladder(incident, step)
        rung = next((rung for rung in ladder.rungs if rung.rung == step.rung), None)
        rung = rung or Rung(step.rung, 0.0, ladder.fallback)
        told = audience(rung, ladder, self.snapshot.configuration, self.snapshot.owner(incident.device), now)
        missing = ", ".join(told.missing_roles)
        for person in told.people:
            say = translator(person.language)
            because = say("Told to you because nobody is: {roles}").format(roles=missing) if missing else ""
            self._put(connection, Telling(Kind.PAGE, incident, person, now, rung, because, self._link(incident)))

    def instead(self, connection: sa.Connection, incident: Incident, rung: str, unreached: str, now: float) -> bool:
        """Somebody could not be reached on any channel: tell the next person of the fallback who has not been told of this
        rung. False if there is none."""
        ladder = ladder_for(incident.level, self.snapshot.configuration.ladders)
        same = (outbox.c.incident == incident.incident, outbox.c.round == incident.round, outbox.c.rung == rung)
        told = set(connection.execute(sa.select(outbox.c.person).where(*same)).scalars())
        for person in people_of(
            ladder.fallback, self.snapshot.configuration, self.snapshot.owner(incident.device), now
        ):
            if person.person in told | {unreached}:
                continue
            say = translator(person.language)
            because = say("Told to you because {person} could not be reached").format(person=unreached)
            step = next((one for one in ladder.rungs if one.rung == rung), None)
            telling = Telling(Kind.PAGE, incident, person, now, step, because, self._link(incident))
            self._put(connection, telling, rung)
            return True
        return False

    def tell(  # noqa: PLR0917 -- positional, as everywhere here
        self,
        connection: sa.Connection,
        kind: Kind,
        incident: Incident,
        names: Iterable[str],
        now: float,
        because: str = "",
    ) -> None:
        """Tell these people what became of the incident; who left the books meanwhile is left out."""
        people = {person.person: person for person in self.snapshot.configuration.contacts.people}
        for name in sorted(names):
            if name in people:
                self._put(connection, Telling(kind, incident, people[name], now, None, because, self._link(incident)))

    def tell_duty(self, connection: sa.Connection, kind: Kind, incident: Incident, now: float) -> None:
        """Tell whoever is on duty, once."""
        ladder = ladder_for(incident.level, self.snapshot.configuration.ladders)
        told = audience(ladder.rungs[0], ladder, self.snapshot.configuration, self.snapshot.owner(incident.device), now)
        self.tell(connection, kind, incident, [person.person for person in told.people], now)

    def told(self, connection: sa.Connection, incident: Incident) -> set[str]:
        """Who was paged for this incident and has not heard since that it is over."""
        paged: set[str] = set()
        query = sa.select(outbox.c.person, outbox.c.kind).where(outbox.c.incident == incident.incident)
        for row in connection.execute(query.order_by(outbox.c.id)):
            if row.kind in (Kind.RECOVERED, Kind.WITHDRAWN):
                paged.discard(row.person)
            elif row.kind == Kind.PAGE:
                paged.add(row.person)
        return paged

    def _ladder(self, incident: Incident, step: Step) -> Ladder:
        ladders = self.snapshot.configuration.ladders
        named = (ladder for ladder in ladders.ladders if ladder.ladder == step.ladder)
        return next(named, None) or ladder_for(incident.level, ladders)

    def _link(self, incident: Incident) -> str:
        return f"{self.url}/incidents/{incident.incident}" if self.url else ""

    def _put(self, connection: sa.Connection, telling: Telling, rung: str = "") -> None:
        subject, text, facts = _said(telling, self.snapshot)
        incident = telling.incident
        place = rung or (telling.rung.rung if telling.rung else "")
        row: dict[str, Any] = {
            "key": idempotency_key(telling, place),
            "incident": incident.incident, "round": incident.round, "kind": telling.kind.value,
            "rung": place or telling.kind.value,
            "person": telling.person.person, "created_at": telling.now, "subject": subject, "text": text,
            "facts": json.dumps(facts, ensure_ascii=False), "state": "pending", "next_at": telling.now, "channel": 0,
            "attempts": 0, "handed_on": False,
        }  # fmt: skip
        connection.execute(self.store.insert_new(outbox), row)
        # What waits because no channel of theirs worked is tried again now: this comes after it.
        mine = sa.and_(outbox.c.incident == incident.incident, outbox.c.person == telling.person.person)
        put_off = sa.and_(outbox.c.state == "pending", outbox.c.next_at > telling.now + LEASE_S)
        connection.execute(sa.update(outbox).where(mine, put_off), {"next_at": telling.now})


class Notifiers(Protocol):
    """Whoever holds the active configuration: it gives the notifier of this moment."""

    @property
    def store(self) -> Store:
        """The store that the notifier writes to."""

    @property
    def clock(self) -> Clock:
        """The collector's clock."""

    def notifier(self) -> Notifier:
        """The notifier under the configuration of this moment."""


def _said(telling: Telling, snapshot: Snapshot) -> tuple[str, str, Mapping[str, Any]]:
    """What `compose` makes of it; in the barest words where it fails, because a page in bad words is a page."""
    try:
        return compose(telling, snapshot)
    except Exception:
        log.exception("a message about incident %d could not be composed", telling.incident.incident)
        return plain(telling)


def idempotency_key(telling: Telling, rung: str) -> str:
    """The same thing said to the same person about the same round is the same message, whoever decides it again. The
    fault's time keeps two stores (a restored backup, say) from meaning different things by one number."""
    incident = telling.incident
    said = "/".join(filter(None, (telling.kind.value, rung, telling.person.person)))
    return f"{incident.incident}-{incident.round}-{int(incident.began_at)}/{said}"
