"""What tests of personal links share: the link of a message, and a phone that opens it and presses a button."""

import re

import httpx
import sqlalchemy as sa

from tests.collector_room import Room, words
from watchkeeper.channels.ports import Message
from watchkeeper.collector.access import tokens
from watchkeeper.collector.access.tokens import TokenKind
from watchkeeper.collector.store.schema import link_salt, outbox, rung, sign_in, token, transition

SITE = "https://watch.example"
OURS = {"origin": "null", "sec-fetch-site": "same-origin"}
"""What a browser says of a form on a page that names no referrer."""


def path_in(message: Message) -> str:
    found = re.search(rf"{SITE}(/t/[\w-]+)$", message.text)
    assert found, message.text
    return found[1]


def paged(room: Room) -> tuple[str, str]:
    """Who was paged, and the path of the link in the message."""
    return room.sent[0].person, path_in(room.sent[0])


def sign(room: Room, person: str, about: str = "trouble", number: int = 1) -> str:
    assert room.runtime.links
    return "/t/" + room.runtime.links.sign(person, about, number, room.clock.wall())


def fields(page: str, path: str, action: str) -> dict[str, str]:
    """The hidden fields of a form."""
    form = re.search(rf'<form method="post" action="{re.escape(path)}/{action}".*?</form>', page, re.DOTALL)
    assert form, words(page)
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form[0]))


def press(phone: httpx.Client, path: str, action: str, **more: str) -> httpx.Response:
    """Open the page and press a button."""
    where = path.partition("?")[0]
    sent = {**fields(phone.get(path).text, where, action), **more}
    return phone.post(f"{where}/{action}", data=sent, headers=OURS)


def signed_in(room: Room, phone: httpx.Client, person: str) -> None:
    ticket = tokens.mint(room.store, TokenKind.TICKET, person, room.clock.wall(), 60.0)
    assert phone.get(f"/enter?ticket={ticket}").status_code == 303


def written(room: Room) -> tuple[object, ...]:
    with room.store.read() as connection:
        counts = [
            connection.execute(sa.select(sa.func.count()).select_from(table)).scalar()
            for table in (transition, token, sign_in, outbox, link_salt)
        ]
        decided = connection.execute(sa.select(sa.func.count()).where(rung.c.decided_at.is_not(None))).scalar()
        used = connection.execute(sa.select(sa.func.count()).where(sign_in.c.used_at.is_not(None))).scalar()
    return (*counts, decided, used)
