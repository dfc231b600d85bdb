"""A new sign-in link for a person who asks on the sign-in page. It goes to that person's own channels, so that nobody needs to
prove anything. The response does not show whether the person exists."""

import json

import sqlalchemy as sa

from watchkeeper.collector.access.links import SIGN_IN_S
from watchkeeper.collector.notify.enqueue import Notifier
from watchkeeper.collector.notify.i18n import marked, translator
from watchkeeper.collector.notify.notice import About, Notice, page_path, write
from watchkeeper.collector.site.inventory import Person
from watchkeeper.collector.store.schema import sign_in

BETWEEN_S = 60.0
HOUR_S = 3600.0
EACH_AN_HOUR, ALL_AN_HOUR = 5, 60
"""One request of a person a minute, and so many an hour: of a person, and of all."""

_SUBJECT = marked("[Watchkeeper] Your sign-in link")
_TEXT = marked(
    "Somebody asked on the pages of {site} for a sign-in link for you. It works once, within one hour. Do not forward it: "
    "everybody who opens it acts as you."
)


def request_link(notifier: Notifier, name: str, now: float) -> bool:
    """Send a sign-in link to the person of that name, unless there is none, or too many were sent. Returns whether one was."""
    person = _person(notifier, name)
    if person is None or notifier.links is None or not notifier.url:
        return False
    with notifier.store.write() as connection:
        notifier.store.lock_names(connection, ["sign-in"])
        if _too_many(connection, person.person, now):
            return False
        row = {"person": person.person, "asked_at": now, "used_at": None}
        number = int(connection.execute(sa.insert(sign_in).returning(sign_in.c.id), row).scalar_one())
        write(notifier.store, connection, _notice(notifier, person, number, now))
    return True


def _person(notifier: Notifier, name: str) -> Person | None:
    """The person with this key; else the only one with this display name."""
    people = notifier.snapshot.configuration.contacts.people
    named = [one for one in people if one.name == name]
    return next((one for one in people if one.person == name), named[0] if len(named) == 1 else None)


def _too_many(connection: sa.Connection, person: str, now: float) -> bool:
    """Whether this person, or all persons together, have asked too often."""
    query = sa.select(sign_in.c.person, sign_in.c.asked_at).where(sign_in.c.asked_at > now - HOUR_S)
    recent = connection.execute(query).all()
    mine = [row.asked_at for row in recent if row.person == person]
    soon = bool(mine) and max(mine) > now - BETWEEN_S
    return soon or len(mine) >= EACH_AN_HOUR or len(recent) >= ALL_AN_HOUR


def _notice(notifier: Notifier, person: Person, number: int, now: float) -> Notice:
    say, site = translator(person.language), notifier.snapshot.configuration.inventory.site
    kind = About.SIGN_IN.value
    text = say(_TEXT).format(site=site.name) + "\n" + notifier.url + page_path(About.SIGN_IN, number)
    return Notice(
        about=About.SIGN_IN, id=number, key=f"{kind}-{number}-{int(now)}/{person.person}", expires_at=now + SIGN_IN_S,
        fallback=(), recurrence=1, kind=kind, rung=kind, person=person.person, created_at=now, subject=say(_SUBJECT),
        text=text, facts=json.dumps({"kind": kind, "person": person.person, "told_at": now}, ensure_ascii=False),
    )  # fmt: skip
