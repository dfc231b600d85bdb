"""Takes the mails of persons. We cannot check who sent a mail (SPF and DKIM are the mail server's), so that an answer counts only if
it quotes the personal link of the message that it answers: that link is signed."""

import logging
import re
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from watchkeeper.channels.mail_inbox import Mail, Mailbox
from watchkeeper.collector.access.links import TROUBLE, Link, ends_at
from watchkeeper.collector.notify.notice import About
from watchkeeper.collector.policy.replies.codes import code_of
from watchkeeper.collector.policy.replies.senders import person_of_mail
from watchkeeper.collector.process.replies.answer import UNKNOWN_REPLIES, Incoming, ReplyVia, take_text
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.site.inventory import Person
from watchkeeper.collector.store.schema import outbox
from watchkeeper.model.errors import ChannelError, StoreError
from watchkeeper.model.failpoint import failpoint

log = logging.getLogger(__name__)

_TOKEN = re.compile(r"/t/([A-Za-z0-9_-]{20,1200})")
_MOST_TOKENS = 20


class MailReplies:
    """The mailbox to which persons answer."""

    def __init__(self, runtime: Runtime, mailbox: Mailbox) -> None:
        self._runtime, self._mailbox = runtime, mailbox
        self._problem = ""
        self._stuck: set[str] = set()  # what could not be taken

    def take(self) -> int:
        """Take every unread mail. Returns how many. Raises StoreError; what is left stays unread. A mailbox that does not work is
        logged once."""
        try:
            count = self._mailbox.visit(self._try)
        except ChannelError as error:
            if str(error) != self._problem:
                log.warning("mail_replies: %s; this is tried again", error)
            self._problem = str(error)
            return 0
        self._problem = ""
        return count

    def _try(self, mail: Mail) -> bool:
        """Whether the mail was taken. One that cannot be must not keep the others waiting."""
        if mail.source in self._stuck:
            return False
        try:
            self._take(mail)
        except StoreError:
            raise
        except Exception:
            self._stuck.add(mail.source)
            log.exception("a mail could not be taken; it is tried again when the collector is restarted")
            return False
        failpoint("collector.reply.committed")
        return True

    def _take(self, mail: Mail) -> None:
        if mail.automatic:
            return
        runtime = self._runtime
        person = person_of_mail(runtime.snapshot.configuration.contacts.people, mail.sender)
        told = self._answered(person, mail) if person else None
        if person is None or told is None:
            log.warning("a mail is ignored: it is not of exactly one person, or does not quote that person's link")
            with runtime.store.write() as connection:
                runtime.store.add_to_counters(connection, {UNKNOWN_REPLIES + "mail": 1})
            return
        code = code_of(told.about_id, person.person, told.key)
        incoming = Incoming(ReplyVia.MAIL, mail.source, person)
        result = take_text(runtime.notifier(), incoming, mail.text, runtime.clock.wall(), code)
        log.info("a mail of %s about trouble %d: %s", person.person, result.trouble, result.outcome.value)

    def _answered(self, person: Person, mail: Mail) -> "sa.Row[Any] | None":
        """The message to the person whose link the mail quotes; the first link counts, which is that of the newest message."""
        with self._runtime.store.read() as connection:
            for link in self._links(mail):
                ended_at = ends_at(connection, link)
                if link.person != person.person or (ended_at is not None and self._runtime.clock.wall() >= ended_at):
                    continue
                mine = (
                    outbox.c.about.in_([About.TROUBLE.value, About.REPLY.value]), outbox.c.about_id == link.id,
                    outbox.c.person == person.person, outbox.c.created_at >= link.issued_at,
                    outbox.c.created_at < link.issued_at + 1,
                )  # fmt: skip
                row = connection.execute(sa.select(outbox).where(*mine).order_by(outbox.c.id.desc())).first()
                if row is not None:
                    return row
        return None

    def _links(self, mail: Mail) -> Iterator[Link]:
        links = self._runtime.links
        for token in _TOKEN.findall(mail.whole)[:_MOST_TOKENS] if links else ():
            link = links.read(token) if links else None
            if link is not None and link.about == TROUBLE:
                yield link
