"""An outbox without threads: channels that answer as told, and the rows as they are."""

import uuid
from typing import Any

import sqlalchemy as sa

from tests.story.world import NOON, World
from watchkeeper.channels.ports import Address, Message, Receipt, Via
from watchkeeper.collector.notify.notice import Urgency
from watchkeeper.collector.notify.outbox import Outbox
from watchkeeper.collector.store.schema import incident, outbox, receipt, rung, transition, trouble

FAILED = Receipt(delivered=False, detail="no route to host")
REFUSED = Receipt(delivered=False, detail="no such number", permanent=True)
SENT = Receipt(delivered=True, detail="202")


class Phone:
    """All channels of all people: `answers` what each try gets, by person or for everybody ("")."""

    def __init__(self) -> None:
        self.answers: dict[str, Receipt | Exception] = {"": SENT}
        self.sent: list[tuple[str, Via]] = []
        self.messages: list[Message] = []

    def __call__(self, address: Address) -> "_Channel":
        return _Channel(self, address)


class _Channel:
    def __init__(self, phone: Phone, address: Address) -> None:
        self._phone, self._address = phone, address

    def send(self, message: Message) -> Receipt:
        self._phone.sent.append((message.person, self._address.via))
        self._phone.messages.append(message)
        answer = self._phone.answers.get(message.person, self._phone.answers[""])
        if isinstance(answer, Exception):
            raise answer
        return answer


def emptied(world: World) -> World:
    """The same world as new. Making one takes longer than most tests."""
    with world.store.write() as connection:
        for table in (outbox, receipt, incident, trouble, rung, transition):
            connection.execute(sa.delete(table))
        connection.execute(sa.text("DELETE FROM sqlite_sequence"))
    world.clock.now = world.began
    world.seqs.clear()
    world.epoch = uuid.uuid4().hex
    return world


class Room:
    """A collector's outbox and what is in it. olga has two channels, everybody else one."""

    def __init__(self, world: World) -> None:
        self.world = emptied(world)
        self.phone = Phone()
        self.outbox = Outbox(self.world.runtime, self.phone)
        self.made = 0

    def put(self, person: str = "olga", **values: Any) -> int:
        self.made += 1
        row = {
            "key": f"k{self.made}", "about": "trouble", "about_id": self.made, "recurrence": 1, "kind": "page", "rung": "duty",
            "person": person, "created_at": NOON, "expires_at": None, "fallback": "[]", "subject": "s", "text": "t",
            "facts": "{}", "state": "pending", "next_at": NOON, "channel": 0, "attempts": 0, "handed_on": False,
            "urgency": Urgency.PAGE.value,
        }  # fmt: skip
        with self.world.store.write() as connection:
            added = connection.execute(sa.insert(outbox).returning(outbox.c.id), row | values)
            return int(added.scalar_one())

    def row(self, number: int = 1) -> "sa.Row[Any]":
        with self.world.store.read() as connection:
            return connection.execute(sa.select(outbox).where(outbox.c.id == number)).one()

    def next(self, number: int = 1) -> tuple[str, int, int, float]:
        """What a message is: its state, its next channel, the tries on that, and in how many seconds it is tried."""
        row = self.row(number)
        return row.state, row.channel, row.attempts, row.next_at - self.world.clock.wall()

    def receipts(self) -> list[tuple[Any, ...]]:
        with self.world.store.read() as connection:
            query = sa.select(
                receipt.c.outbox, receipt.c.at, receipt.c.channel, receipt.c.delivered, receipt.c.detail
            ).order_by(receipt.c.id)
            return [tuple(row) for row in connection.execute(query)]

    def claimed(self) -> list[int]:
        return [claim.row.id for claim in self.outbox.claim()]
