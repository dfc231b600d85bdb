"""What tests of replies share: a collector whose people have telephones, and gammu-smsd's folder."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa

from tests.story.world import CONTACTS, LADDERS, World
from watchkeeper.collector.process.replies.sms import SmsReplies
from watchkeeper.collector.process.replies.ways import WaysBack
from watchkeeper.collector.store.schema import reply, transition
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.verdict import Level

ON_SITE = LADDERS.replace("after: 20 min, tell: [owner, head]", "after: 20 min, tell: [owner, head], on_site: [owner]")
PHONES = {"day": "+86 138 0000 0001", "olga": "138-0000-0002", "amy": "+86 138 0000 0005", "hao": "+86 138 0000 0005"}


def contacts(spool: Path) -> str:
    """day and olga are paged by SMS; amy and hao share a telephone."""
    text = CONTACTS.replace(
        "name: 张伟, language: zh, channels: [{via: console}]",
        "name: 张伟, language: zh, channels: [{via: sms, spool: SPOOL}]",
    )
    text = text.replace('{via: webhook, url: "http://127.0.0.1:1/owner", secret: s}', "{via: sms, spool: SPOOL}")
    for person, phone in PHONES.items():
        text = text.replace(f"person: {person},", f'person: {person}, phone: "{phone}",')
    return text.replace("SPOOL", str(spool))


class Modem:
    """The collector of a room whose people answer by SMS."""

    def __init__(self, url: str, folder: Path) -> None:
        for name in ("inbox", "outbox", "sent", "error"):
            (folder / name).mkdir()
        self.spool, self.inbox = folder, folder / "inbox"
        self.world = World(url, contacts=contacts(folder), ladders=ON_SITE)
        self.start()
        self._second = 0

    def start(self) -> None:
        """Start the collector, also as a restart."""
        self.world.start()
        runtime = self.world.runtime
        ways = WaysBack(Secrets(environ={}), sms=True)
        runtime._notifier = replace(runtime.notifier(), way_back=ways)
        self.replies = SmsReplies(runtime)

    def receive(self, text: str, person: str = "day", *, sender: str = "") -> list[Path]:
        """gammu-smsd writes an SMS, in parts if it is long; a minute ago, so that it is complete."""
        self._second += 1
        number = sender or PHONES[person].replace(" ", "").replace("-", "")
        parts = [text[at : at + 67] for at in range(0, len(text), 67)] or [""]
        files = []
        for part, words in enumerate(parts):
            file = self.inbox / f"IN20270115_1200{self._second:02}_00_{number}_{part:02}.txt"
            file.write_bytes(b"\xfe\xff" + words.encode("utf-16-be"))
            os.utime(file, (self.world.clock.wall() - 60,) * 2)
            files.append(file)
        return files

    def answer(self, text: str, person: str = "day", *, sender: str = "") -> None:
        """An SMS comes in and is taken."""
        self.receive(text, person, sender=sender)
        assert self.replies.take() == 1
        self.world.beat()

    def code(self, person: str = "day", which: int = -1) -> str:
        """The code in a message to the person: the newest one."""
        texts = [one.message.text for one in self.world.told if one.person == person]
        found = re.search(r"(\d+[A-Z]{2})\b", texts[which])
        assert found, texts[which]
        return found[1]

    def fault(self) -> str:
        """A critical fault, and the code in the page to the person on duty."""
        self.world.push(self.world.verdict(Level.CRITICAL))
        return self.code()

    def outcomes(self) -> list[tuple[str, str, str]]:
        """(person, answer, outcome) of every reply."""
        with self.world.store.read() as connection:
            columns = (reply.c.person, reply.c.answer, reply.c.outcome)
            return [tuple(row) for row in connection.execute(sa.select(*columns).order_by(reply.c.id))]

    def notes(self) -> list[tuple[str, str]]:
        """(kind, note) of what persons did."""
        with self.world.store.read() as connection:
            steps = connection.execute(
                sa.select(transition).where(transition.c.by.like("person:%")).order_by(transition.c.id)
            )
            return [(row.kind, row.note) for row in steps]

    def refusals(self) -> list[str]:
        return [f"{one.message.subject}\n{one.message.text}" for one in self.world.told if one.kind == "reply"]


@contextmanager
def modem(url: str, folder: Path) -> Iterator[Modem]:
    made = Modem(url, folder)
    try:
        yield made
    finally:
        made.world.close()
