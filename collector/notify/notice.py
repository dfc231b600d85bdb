"""A notice: anything that must be said to one person, and its row in the outbox."""

import json
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import outbox

LEASE_S = 60.0
"""For how long a message in the outbox belongs to the worker that sends it."""


class About(StrEnum):
    """What a notice is about."""

    TROUBLE = "trouble"
    SIGN_IN = "sign-in"  # a link that somebody asked for on the sign-in page
    REPLY = "reply"  # a reply that changed nothing; its number is that of the trouble, or 0


PATHS = MappingProxyType({About.TROUBLE: "/troubles/{id}", About.SIGN_IN: "/sign-in/{id}"})
"""The page of each thing, for somebody who is signed in. A message leaves with a personal link instead."""


def page_path(about: About, number: int) -> str:
    """The path of the page of a thing."""
    return PATHS[about].format(id=number)


@dataclass(frozen=True, slots=True)
class Notice:
    """What one person must be told. Everything that delivery needs to know is here; it asks nobody else.

    `about` and `id` say which thing it is about; `key` makes it one message, however often it is decided. After
    `expires_at` (UTC seconds; None: not known yet) a failed delivery is not tried again. `fallback` are the roles and persons
    who are told in order where `person` cannot be reached on any channel. `rung` is the rung of a trouble's page, or the
    kind; `recurrence` the trouble's. `facts` is JSON.
    """

    about: About
    id: int
    key: str
    expires_at: float | None
    fallback: tuple[str, ...]
    recurrence: int
    kind: str
    rung: str
    person: str
    created_at: float
    subject: str
    text: str
    facts: str


def write(store: Store, connection: sa.Connection, notice: Notice) -> None:
    """Put a notice into the outbox, unless it is there already."""
    row: dict[str, Any] = {
        "about": notice.about.value, "about_id": notice.id, "key": notice.key, "expires_at": notice.expires_at,
        "fallback": json.dumps(notice.fallback, ensure_ascii=False), "recurrence": notice.recurrence,
        "kind": notice.kind, "rung": notice.rung, "person": notice.person, "created_at": notice.created_at,
        "subject": notice.subject, "text": notice.text, "facts": notice.facts, "state": "pending",
        "next_at": notice.created_at, "channel": 0, "attempts": 0, "handed_on": False,
    }  # fmt: skip
    connection.execute(store.insert_new(outbox), row)
    # An older message that waits because no channel worked is tried again now: this one comes after it.
    put_off = sa.and_(outbox.c.state == "pending", outbox.c.next_at > notice.created_at + LEASE_S)
    mine = sa.and_(_same_thing(notice.about, notice.id), outbox.c.person == notice.person)
    connection.execute(sa.update(outbox).where(mine, put_off), {"next_at": notice.created_at})


def read(row: "sa.Row[Any]") -> Notice:
    """The notice of a row of the outbox."""
    return Notice(
        About(row.about), row.about_id, row.key, row.expires_at, tuple(json.loads(row.fallback)), row.recurrence,
        row.kind, row.rung, row.person, row.created_at, row.subject, row.text, row.facts,
    )  # fmt: skip


def expire(connection: sa.Connection, about: About, number: int, now: float) -> None:
    """What the pending notices ask for is no longer needed: they are sent once more, and not retried for ever."""
    waiting = sa.and_(_same_thing(about, number), outbox.c.state == "pending", outbox.c.expires_at.is_(None))
    connection.execute(sa.update(outbox).where(waiting), {"expires_at": now})


def people_notified(connection: sa.Connection, notice: Notice) -> set[str]:
    """Everybody for whom there is a notice of the same rung of the same thing."""
    same = (
        _same_thing(notice.about, notice.id), outbox.c.recurrence == notice.recurrence, outbox.c.rung == notice.rung,
    )  # fmt: skip
    return set(connection.execute(sa.select(outbox.c.person).where(*same)).scalars())


def _same_thing(about: About, number: int) -> "sa.ColumnElement[bool]":
    return sa.and_(outbox.c.about == about.value, outbox.c.about_id == number)
