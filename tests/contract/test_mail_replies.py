"""Answers by mail, over a small IMAP server: only with the signed link of the answered message, from the person's own address, once."""

import imaplib
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.collector_room import Room
from tests.imap_room import PASSWORD, ImapServer
from watchkeeper.channels.mail_inbox import Mailbox, read_mail
from watchkeeper.collector.access.links import SIGN_IN, rotate
from watchkeeper.collector.notify.message.answer_line import WayBack
from watchkeeper.collector.policy.replies.reading import AnswerKind
from watchkeeper.collector.process import actions
from watchkeeper.collector.process.replies.mail import MailReplies
from watchkeeper.collector.store.schema import outbox, reply, tally, transition, trouble
from watchkeeper.documents.secrets import Secret


@pytest.fixture
def server() -> Iterator[ImapServer]:
    made = ImapServer()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with Room(tmp_path) as room:
        snapshot = room.runtime.snapshot
        contacts = snapshot.configuration.contacts
        people = tuple(replace(one, mail=f"{one.person}@site.example") for one in contacts.people)
        changed = replace(snapshot.configuration, contacts=replace(contacts, people=people))
        room.runtime._notifier = replace(room.runtime.notifier(), way_back=lambda _: WayBack.MAIL)
        room.runtime.activate(replace(snapshot, configuration=changed))
        room.give_phones()
        room.heat()
        room.decide_rungs()
        room.deliver()
        yield room


def replies(room: Room, server: ImapServer, password: str = PASSWORD) -> MailReplies:
    connect = partial(imaplib.IMAP4, "127.0.0.1", server.port, timeout=5.0)
    return MailReplies(room.runtime, Mailbox(connect, "watch", Secret(password), "INBOX"))


def mail(room: Room, text: str, *, sender: str = "", quoted: str | None = None, **headers: str) -> bytes:
    """A mail that answers the page."""
    page = room.sent[0]
    made = EmailMessage()
    made["From"] = sender or f"Zhang <{page.person.upper()}@site.example>"
    made["Subject"] = f"Re: {page.subject}"
    made["Message-ID"] = f"<{len(text)}.{abs(hash(text))}@site.example>"
    for name, value in headers.items():
        made[name.replace("_", "-")] = value
    lines = (page.text if quoted is None else quoted).split("\n")
    made.set_content(text + "\n\nOn Saturday, Watchkeeper wrote:\n" + "\n".join(f"> {line}" for line in lines))
    return made.as_bytes()


def acknowledged(room: Room) -> str | None:
    with room.store.read() as connection:
        return connection.execute(sa.select(trouble.c.acknowledged_by)).scalar()


def outcomes(room: Room) -> list[tuple[str, str]]:
    with room.store.read() as connection:
        return [
            tuple(row) for row in connection.execute(sa.select(reply.c.answer, reply.c.outcome).order_by(reply.c.id))
        ]


def unknown(room: Room) -> int:
    with room.store.read() as connection:
        return connection.execute(sa.select(tally.c.count).where(tally.c.name == "replies-unknown-mail")).scalar() or 0


def test_a_mail_says_how_to_answer_before_its_link(room: Room) -> None:
    *_, line, link = room.sent[0].text.split("\n")
    assert line.startswith("回复 1")
    assert "/t/" in link


@pytest.mark.parametrize("text", ["ok, on my way", "收到，马上来", "OK"])
def test_an_answer_that_quotes_the_link_counts_once(room: Room, server: ImapServer, text: str) -> None:
    server.folder.mails[7] = mail(room, text)
    taker = replies(room, server)
    assert taker.take() == 1
    assert acknowledged(room) == room.sent[0].person
    assert server.folder.seen == {7}
    assert taker.take() == 0
    server.folder.mails[8] = b"Received: again\r\n" + server.folder.mails[7]
    server.folder.seen.discard(7)  # a crash before it was marked, and a second copy
    assert taker.take() == 2
    assert outcomes(room) == [("acknowledge", "applied")]
    with room.store.read() as connection:
        note = connection.execute(sa.select(transition.c.note).order_by(transition.c.id.desc())).scalar() or ""
    assert note.endswith("(通过邮件)")


def test_the_code_may_be_written_and_must_be_that_of_the_message(room: Room, server: ImapServer) -> None:
    code = room.sent[0].text.split("\n")[-2].split()[1]
    server.folder.mails = {1: mail(room, f"{code} up no spare part"), 2: mail(room, "99ZZ ok")}
    assert replies(room, server).take() == 2
    assert outcomes(room) == [("escalate", "applied"), ("", "refused")]
    assert acknowledged(room) is None


def test_an_unclear_mail_is_answered_with_how_to_write(room: Room, server: ImapServer) -> None:
    server.folder.mails[1] = mail(room, "What is going on?")
    assert replies(room, server).take() == 1
    assert outcomes(room) == [("", "refused")]
    with room.store.read() as connection:
        row = connection.execute(sa.select(outbox).order_by(outbox.c.id.desc())).first()
    assert row
    assert (row.kind, row.person) == ("reply", room.sent[0].person)
    assert "未能识别您的回复" in row.text


def test_forged_mails_change_nothing_and_are_not_answered(room: Room, server: ImapServer) -> None:
    page = room.sent[0]
    people = room.runtime.snapshot.configuration.contacts.people
    other = next(one.person for one in people if one.person != page.person)
    assert room.runtime.links
    foreign = room.runtime.links.sign(other, "trouble", 1, room.clock.wall())
    sign_in = room.runtime.links.sign(page.person, SIGN_IN, 1, room.clock.wall())
    older = room.runtime.links.sign(page.person, "trouble", 1, room.clock.wall() - 7200)
    forged = [
        mail(room, "ok", sender="mallory@evil.example"),
        mail(room, "ok", sender=f"{page.person}@site.example, mallory@evil.example"),
        mail(room, "ok", sender=f"{other}@site.example"),
        mail(room, "ok", quoted=""),
        mail(room, "ok", quoted=page.text[:-1] + ("A" if page.text[-1] != "A" else "B")),
        *(mail(room, "ok", quoted=f"https://watch.example/t/{one}") for one in (foreign, sign_in, older)),
        b"",
        b"\xff\xfe\x00From: x\r\n\r\n\x80",
        b"From: =?utf-8?q?=ff?= <\r\nContent-Type: text/plain; charset=nonsense\r\n\r\nok",
    ]
    server.folder.mails = dict(enumerate(forged, 1))
    before = len(room.sent)
    assert replies(room, server).take() == len(forged)
    room.deliver()
    assert (acknowledged(room), outcomes(room), len(room.sent)) == (None, [], before)
    assert unknown(room) >= len(forged) - 3
    assert server.folder.seen == set(server.folder.mails)


def test_an_ended_link_and_a_machine_answer_nothing(room: Room, server: ImapServer) -> None:
    server.folder.mails = {
        1: mail(room, "ok", Auto_Submitted="auto-replied"), 2: mail(room, "ok", Precedence="bulk"), 3: mail(room, "ok", List_Id="x"),
    }  # fmt: skip
    assert replies(room, server).take() == 3
    rotate(room.store, room.clock.wall())
    room.clock.advance(2)
    server.folder.mails[4] = mail(room, "ok")
    assert replies(room, server).take() == 1
    assert (acknowledged(room), outcomes(room)) == (None, [])


def test_a_late_mail_is_noted_and_changes_nothing(room: Room, server: ImapServer) -> None:
    room.clock.advance(660)
    room.decide_rungs()
    server.folder.mails[1] = mail(room, "up")
    assert replies(room, server).take() == 1
    assert outcomes(room) == [("escalate", "late")]


def test_what_fails_in_the_store_stays_unread(room: Room, server: ImapServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.folder.mails[1] = mail(room, "ok")
    with monkeypatch.context() as broken:
        broken.setattr("watchkeeper.collector.process.replies.answer._ACTIONS", {AnswerKind.ON_SITE: actions.on_site})
        taker = replies(room, server)
        server.folder.mails[2] = mail(room, "here")
        assert (taker.take(), taker.take()) == (1, 0), "it keeps no other waiting"
        server.folder.mails.pop(2)
    assert outcomes(room) == [("on-site", "applied")]
    server.folder.seen.discard(2)
    assert server.folder.seen == set()
    assert replies(room, server).take() == 1
    assert outcomes(room) == [("on-site", "applied"), ("acknowledge", "applied")]


@pytest.mark.parametrize(
    ("behaviour", "said"), [("garbage", "cannot be reached"), ("forgets", "cannot mark a mail as read"), ("password", "refuses user or password")]
)  # fmt: skip
def test_a_mailbox_that_does_not_work_is_logged_once_without_secrets(
    behaviour: str, said: str, room: Room, server: ImapServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.folder.mails[1] = mail(room, "ok")
    server.folder.behaviour = behaviour
    taker = replies(room, server, "wrong-password" if behaviour == "password" else PASSWORD)
    assert (taker.take(), taker.take()) == (0, 0)
    assert caplog.text.count(said) == 1
    assert "wrong-password" not in caplog.text
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize("behaviour", ["silent", "hangs"])
def test_a_mailbox_that_hangs_is_left_at_the_deadline(behaviour: str, server: ImapServer) -> None:
    server.folder.mails[1] = b"From: x@x.example\r\n\r\nok"
    server.folder.behaviour = behaviour
    box = Mailbox(partial(imaplib.IMAP4, "127.0.0.1", server.port, timeout=30.0), "watch", Secret(PASSWORD), "INBOX")
    with pytest.raises(Exception, match=r"did not answer within 0\.5 s"):
        box.visit(lambda _: True, 0.5)


def test_a_mail_in_html_alone_is_read(room: Room, server: ImapServer) -> None:
    page = room.sent[0]
    made = EmailMessage()
    made["From"] = f"{page.person}@site.example"
    link = page.text.rpartition("\n")[2]
    made.set_content(
        f"<style>up</style><div>here</div><blockquote><a href='{link}'>link</a></blockquote>", subtype="html"
    )
    server.folder.mails[1] = made.as_bytes()
    assert replies(room, server).take() == 1
    assert outcomes(room) == [("on-site", "applied")]


def test_a_mail_without_an_identity_is_known_by_its_content() -> None:
    assert read_mail(b"From: a@b.example\r\n\r\nok").source != read_mail(b"From: a@b.example\r\n\r\nup").source
    assert read_mail(b"From: a@b.example\r\n\r\nok").source == read_mail(b"From: a@b.example\r\n\r\nok").source
