"""A notice: anything that must be said to one person, and its row in the outbox."""

import json
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from watchkeeper.collector.notify.message.draft import NoticeKind
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import outbox
from watchkeeper.model.verdict import Level

LEASE_S = 60.0
"""For how long a message in the outbox belongs to the worker that sends it."""


class About(StrEnum):
    """What a notice is about."""

    TROUBLE = "trouble"
    SIGN_IN = "sign-in"  # a link that somebody asked for on the sign-in page
    REPLY = "reply"  # a reply that changed nothing; its number is that of the trouble, or 0
    TEST = "test"  # of a channel


PATHS = MappingProxyType({About.TROUBLE: "/troubles/{id}", About.SIGN_IN: "/sign-in/{id}"})
"""The page of each thing, for somebody who is signed in. A message leaves with a personal link instead. A test has no page: there is
nothing to do about it."""


def page_path(about: About, number: int) -> str:
    """The path of the page of a thing."""
    return PATHS[about].format(id=number)


class Urgency(IntEnum):
    """Which message goes first: the one with the lowest number. Below PAGE are critical pages, below NOTICE other pages."""

    CRITICAL = 0
    RISEN = 1
    PAGE = 10
    NOTICE = 20
    END = 22
    TEST = 30


PAGES = (NoticeKind.PAGE, NoticeKind.RETURNED, NoticeKind.ON_SITE)
"""What somebody must act on now. A fault that is back never waits, and neither does the question whether somebody is on site."""

_URGENCIES = MappingProxyType(
    {
        NoticeKind.RISEN.value: Urgency.RISEN,
        NoticeKind.RECOVERED.value: Urgency.END,
        NoticeKind.WITHDRAWN.value: Urgency.END,
        About.TEST.value: Urgency.TEST,
    }
)


def urgency_of(kind: str, level: str) -> Urgency:
    """How urgent a notice of this kind about a fault of this level is."""
    if kind in PAGES:
        return Urgency.CRITICAL if level == Level.CRITICAL else Urgency.PAGE
    return _URGENCIES.get(kind, Urgency.NOTICE)


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


def write(store: Store, connection: sa.Connection, notice: Notice, channel: int = 0) -> None:
    """Put a notice into the outbox, unless it is there already. `channel` is the person's channel that is tried first."""
    row: dict[str, Any] = {
        "about": notice.about.value, "about_id": notice.id, "key": notice.key, "expires_at": notice.expires_at,
        "fallback": json.dumps(notice.fallback, ensure_ascii=False), "recurrence": notice.recurrence,
        "kind": notice.kind, "rung": notice.rung, "person": notice.person, "created_at": notice.created_at,
        "subject": notice.subject, "text": notice.text, "facts": notice.facts, "state": "pending",
        "next_at": notice.created_at, "channel": channel, "attempts": 0, "handed_on": False,
        "urgency": urgency_of(notice.kind, str(json.loads(notice.facts).get("level", ""))).value,
    }  # fmt: skip
    connection.execute(store.insert_new(outbox), row)
    _hurry_earlier(connection, notice, row["urgency"])
    # An older message that waits because no channel worked is tried again now: this one comes after it.
    put_off = sa.and_(outbox.c.state == "pending", outbox.c.next_at > notice.created_at + LEASE_S)
    mine = sa.and_(_same_thing(notice.about, notice.id), outbox.c.person == notice.person)
    connection.execute(sa.update(outbox).where(mine, put_off), {"next_at": notice.created_at})


def _hurry_earlier(connection: sa.Connection, notice: Notice, urgency: int) -> None:
    """An older message about the same thing goes out before this one, so it is as urgent as this one."""
    mine = sa.and_(_same_thing(notice.about, notice.id), outbox.c.person == notice.person, outbox.c.state == "pending")
    connection.execute(sa.update(outbox).where(mine, outbox.c.urgency > urgency), {"urgency": urgency})


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
