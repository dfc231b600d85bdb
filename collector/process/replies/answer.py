"""Carries out what a person answered by a channel with a way back, in one transaction with the note that it was: read again after a
crash, a reply changes nothing twice. The caller has found out whose reply it is.

A reply that is unclear or comes too late changes nothing that it must not. The person is told why, with a new code."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from watchkeeper.collector.notify.enqueue import Notifier
from watchkeeper.collector.notify.i18n import translator
from watchkeeper.collector.notify.message import reply_words
from watchkeeper.collector.notify.message.draft import OVER
from watchkeeper.collector.notify.message.values import short_time
from watchkeeper.collector.notify.notice import About
from watchkeeper.collector.policy.replies.codes import key_of
from watchkeeper.collector.policy.replies.lateness import Lateness, lateness
from watchkeeper.collector.policy.replies.reading import AnswerKind, ClearAnswer, Unclear, read_reply
from watchkeeper.collector.policy.troubles import Trouble
from watchkeeper.collector.process import actions
from watchkeeper.collector.process.replies.refusal import refuse
from watchkeeper.collector.site.inventory import Person
from watchkeeper.collector.store import troubles
from watchkeeper.collector.store.engine import JoinedStore
from watchkeeper.collector.store.schema import outbox, reply
from watchkeeper.model.errors import Conflict

UNKNOWN_REPLIES = "replies-unknown-"
"""The counters of replies that are not of exactly one person, and are ignored; the way follows."""


class ReplyVia(StrEnum):
    """By which way a reply came."""

    SMS = "sms"
    MAIL = "mail"
    WEBHOOK = "webhook"


class Outcome(StrEnum):
    """What became of a reply."""

    APPLIED = "applied"
    LATE = "late"
    REFUSED = "refused"
    REPEATED = "repeated"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A reply of a person. `source` makes it one reply, however often it is read."""

    via: ReplyVia
    source: str
    person: Person


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a reply, and why it changed nothing ("" if it did). `before` is what became of it when it was first read, if
    that was before."""

    outcome: Outcome
    why: str = ""
    trouble: int = 0
    before: Outcome | None = None


_DOORS = {
    ReplyVia.SMS: reply_words.BY_SMS,
    ReplyVia.MAIL: reply_words.BY_MAIL,
    ReplyVia.WEBHOOK: reply_words.BY_WEBHOOK,
}
_ACTIONS: Mapping[AnswerKind, Callable[..., Trouble]] = MappingProxyType({
    AnswerKind.ACKNOWLEDGE: actions.acknowledge,
    AnswerKind.ON_SITE: actions.on_site,
    AnswerKind.ESCALATE: actions.escalate,
    AnswerKind.COMMENT: actions.comment,
})  # fmt: skip


def take_text(notifier: Notifier, incoming: Incoming, text: str, now: float, code: str = "") -> Result:
    """Carry out the answer in a text. `code` is the code of the answered message, if it is known from elsewhere. Raises StoreError,
    and then nothing has changed."""
    said = read_reply(text, code)

    def told(connection: sa.Connection) -> "sa.Row[Any] | None":
        return _message_of_code(connection, said.code, incoming.person.person)

    return _take(notifier, incoming, said, told, now)


def take_answer(  # noqa: PLR0917 -- positional, as every action
    notifier: Notifier, incoming: Incoming, key: str, kind: AnswerKind, note: str, now: float
) -> Result:
    """Carry out the answer to the message with this idempotency key, which must be one to the person. Raises StoreError."""

    def told(connection: sa.Connection) -> "sa.Row[Any] | None":
        mine = (outbox.c.key == key, outbox.c.person == incoming.person.person, outbox.c.about == About.TROUBLE.value)
        return connection.execute(sa.select(outbox).where(*mine)).first()

    said = ClearAnswer("", kind, note) if note or kind is not AnswerKind.COMMENT else Unclear()
    return _take(notifier, incoming, said, told, now)


def _take(
    notifier: Notifier,
    incoming: Incoming,
    said: ClearAnswer | Unclear,
    message_of: Callable[[sa.Connection], "sa.Row[Any] | None"],
    now: float,
) -> Result:
    with notifier.store.write() as connection:
        troubles.lock_all(notifier.store, connection)
        number = _note_once(notifier, connection, incoming, said, now)
        if not number:
            return _repeated(connection, incoming)
        told = message_of(connection)
        joined = replace(notifier, store=JoinedStore(notifier.store, connection))
        if told is None or isinstance(said, Unclear):
            unclear = isinstance(said, Unclear) and (told is not None or not said.code)
            result = Result(
                Outcome.REFUSED,
                reply_words.NOT_CLEAR if unclear else _unknown(incoming.via),
                told.about_id if told else 0,
            )
        else:
            result = _carry_out(joined, connection, incoming, said, told, now)
        values = {"outcome": result.outcome.value, "trouble": result.trouble}
        connection.execute(sa.update(reply).where(reply.c.id == number), values)
        if result.outcome is not Outcome.APPLIED and incoming.via is not ReplyVia.WEBHOOK:
            refuse(joined, connection, number, incoming.person, result.trouble, result.why, now)
        return result


def _unknown(via: ReplyVia) -> str:
    return reply_words.NO_SUCH_KEY if via is ReplyVia.WEBHOOK else reply_words.NO_SUCH_CODE


def _note_once(
    notifier: Notifier, connection: sa.Connection, incoming: Incoming, said: ClearAnswer | Unclear, now: float
) -> int:
    """Note the reply. Returns its number; 0 if it was noted before."""
    kind = said.kind.value if isinstance(said, ClearAnswer) else ""
    row = {
        "via": incoming.via.value, "source": incoming.source, "received_at": now, "person": incoming.person.person,
        "trouble": 0, "answer": kind, "outcome": Outcome.REFUSED.value,
    }  # fmt: skip
    added = notifier.store.insert_new(reply).values(row).returning(reply.c.id)
    return int(connection.execute(added).scalar() or 0)


def _repeated(connection: sa.Connection, incoming: Incoming) -> Result:
    mine = (reply.c.via == incoming.via.value, reply.c.source == incoming.source)
    row = connection.execute(sa.select(reply.c.outcome, reply.c.trouble).where(*mine)).one()
    return Result(Outcome.REPEATED, "", row.trouble, Outcome(row.outcome))


def _carry_out(  # noqa: PLR0917 -- positional, as every action
    notifier: Notifier,
    connection: sa.Connection,
    incoming: Incoming,
    said: ClearAnswer,
    told: "sa.Row[Any]",
    now: float,
) -> Result:
    person = incoming.person.person
    known = troubles.follow(connection, told.about_id, lock=True)
    if known is None:
        return Result(Outcome.REFUSED, reply_words.NO_SUCH_CODE)
    number = known.trouble
    why = _lateness(notifier, connection, incoming, said.kind, told, known, now)
    if why:
        say = translator(incoming.person.language)
        text = say(reply_words.LATE_NOTE).format(answer=say(reply_words.ANSWERS[said.kind]), note=said.note).strip()
        actions.comment(notifier, number, person, now, _note(incoming, text, told, known))
        return Result(Outcome.LATE, why, number)
    try:
        _ACTIONS[said.kind](notifier, number, person, now, _note(incoming, said.note, told, known))
    except Conflict as error:
        return Result(Outcome.REFUSED, str(error), number)
    return Result(Outcome.APPLIED, "", number)


def _lateness(  # noqa: PLR0917 -- everything that an answer depends on
    notifier: Notifier,
    connection: sa.Connection,
    incoming: Incoming,
    kind: AnswerKind,
    told: "sa.Row[Any]",
    known: Trouble,
    now: float,
) -> str:
    """Why the answer comes too late, in the person's language; empty if it does not."""
    person = incoming.person
    steps = troubles.rungs_of(connection, [known.trouble]).get(known.trouble, [])
    ended = _ended_since(connection, known, person.person, told.id)
    why = lateness(kind, person.person, told.created_at, known, steps, ended_since=ended)
    if why is Lateness.NO:
        return ""
    by = notifier.name_of(known.acknowledged_by or "")
    time = short_time(known.acknowledged_at or now, now, notifier.snapshot)
    say = str if incoming.via is ReplyVia.WEBHOOK else translator(person.language)  # a program reads English
    return say(reply_words.LATE[why]).format(person=by, time=time)


def _ended_since(connection: sa.Connection, known: Trouble, person: str, number: int) -> bool:
    """Whether the person was told that the trouble is over, after this message."""
    mine = (
        outbox.c.about == About.TROUBLE.value, outbox.c.about_id.in_(troubles.numbers_of(connection, known.trouble)),
        outbox.c.person == person, outbox.c.id > number, outbox.c.kind.in_([kind.value for kind in OVER]),
    )  # fmt: skip
    return connection.execute(sa.select(outbox.c.id).where(*mine).limit(1)).first() is not None


def _message_of_code(connection: sa.Connection, code: str, person: str) -> "sa.Row[Any] | None":
    """The message to the person that has this code, the newest first."""
    if not code:
        return None
    number = int(code[:-2])
    mine = (
        outbox.c.about.in_([About.TROUBLE.value, About.REPLY.value]), outbox.c.about_id == number,
        outbox.c.person == person, outbox.c.kind.not_in([kind.value for kind in OVER]),
    )  # fmt: skip
    rows = {row.key: row for row in connection.execute(sa.select(outbox).where(*mine).order_by(outbox.c.id.desc()))}
    return rows.get(key_of(code, number, person, rows))


def _note(incoming: Incoming, text: str, told: "sa.Row[Any]", known: Trouble) -> str:
    """The person's words, and how they came: the timeline shows it, because a sender can be forged."""
    say = translator(incoming.person.language)
    door = say(_DOORS[incoming.via])
    if told.about_id != known.trouble:
        door += "; " + say(reply_words.MERGED_NOTE).format(number=told.about_id)
    return f"{text} ({door})".strip()
