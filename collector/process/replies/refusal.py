"""Tells a person that a reply changed nothing, why, and how to write. It goes out by the person's own channels."""

import json

import sqlalchemy as sa

from watchkeeper.collector.notify.enqueue import Notifier
from watchkeeper.collector.notify.i18n import translator
from watchkeeper.collector.notify.message import reply_words
from watchkeeper.collector.notify.message.answer_line import LINE
from watchkeeper.collector.notify.notice import About, Notice, page_path, write
from watchkeeper.collector.policy.replies.codes import code_of
from watchkeeper.collector.site.inventory import Person
from watchkeeper.collector.store import troubles
from watchkeeper.collector.store.schema import reply

MATTERS_S = 3600.0
WITHIN_S, MOST = 600.0, 3
"""At most so many in this time: a machine that answers every message must not be answered for ever."""


def refuse(  # noqa: PLR0917 -- positional, as every action
    notifier: Notifier, connection: sa.Connection, number: int, person: Person, trouble: int, why: str, now: float
) -> bool:
    """Write the message about the reply `number`; `why` is in the person's language, or an English text of the catalogue. Returns
    whether it was written."""
    recent = (reply.c.person == person.person, reply.c.outcome != "applied", reply.c.received_at > now - WITHIN_S)
    if (connection.execute(sa.select(sa.func.count()).where(*recent)).scalar() or 0) > MOST:
        return False
    say = translator(person.language)
    known = troubles.follow(connection, trouble) if trouble else None
    key = f"reply-{number}-{int(now)}/{person.person}"
    lines = [say(why)]
    if known is None or known.open:
        lines.append(say(reply_words.HOW))
    if known is not None and known.open:
        lines.append(say(LINE).format(code=code_of(known.trouble, person.person, key)))
    if known is not None and notifier.url:
        lines.append(notifier.url + page_path(About.TROUBLE, known.trouble))
    about = known.trouble if known else 0
    kind = About.REPLY.value
    subject = say(reply_words.SUBJECT).format(number=about) if about else say(reply_words.SUBJECT_ANY)
    notice = Notice(
        about=About.REPLY, id=about, key=key, expires_at=now + MATTERS_S, fallback=(), recurrence=1, kind=kind,
        rung=kind, person=person.person, created_at=now, subject=subject, text="\n".join(lines),
        facts=json.dumps({"kind": kind, "person": person.person, "trouble": about, "told_at": now, "rung": ""}, ensure_ascii=False),
    )  # fmt: skip
    write(notifier.store, connection, notice)
    return True
