"""A new sign-in link on request, and sessions that renew themselves."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from tests.collector_room import Room, browser, words
from tests.link_room import OURS, SITE, fields, path_in, press, signed_in, written
from watchkeeper.collector.access import tokens
from watchkeeper.collector.access.links import SIGN_IN, TROUBLE, Link, rotate, spend
from watchkeeper.collector.access.tokens import TokenKind
from watchkeeper.collector.process.sign_in import request_link
from watchkeeper.collector.store.schema import sign_in
from watchkeeper.collector.web.app import CollectorApp, build_app
from watchkeeper.model.errors import StoreError


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with Room(tmp_path) as room:
        room.give_phones()
        room.heat()
        room.decide_rungs()
        room.deliver()
        room.clock.advance(2)
        yield room


@pytest.fixture
def front(room: Room) -> CollectorApp:
    """As on a network: nothing can be read without a person."""
    return build_app(room.runtime, room.ingest, room.metrics, ["watch.example"], open_reading=False)


@pytest.fixture
def phone(front: CollectorApp) -> Iterator[httpx.Client]:
    with browser(front, SITE) as client:
        yield client


# ---- a new link ----


def test_a_new_link_goes_to_the_persons_own_channels_and_signs_in_once(room: Room, phone: httpx.Client) -> None:
    assert 'action="/sign-in"' in phone.get("/troubles/1").text
    response = phone.post("/sign-in", data={"person": "zhang.wei"}, headers={"origin": SITE})
    assert response.status_code == 200
    room.sent.clear()
    room.deliver()
    (message,) = room.sent
    assert message.person == "zhang.wei"
    assert message.subject == "【Watchkeeper】您的登录链接"
    path = path_in(message)
    assert path not in response.text
    assert "Sign in as 张伟" in phone.get(path).text
    assert "Sign in as 张伟" in phone.get(path).text, "looking spends nothing"
    entered = press(phone, path, "enter")
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    for part in ("__Host-watchkeeper=", "HttpOnly", "SameSite=strict", "Secure"):
        assert part in entered.headers["set-cookie"]
    assert "张伟" in phone.get("/").text
    phone.cookies.clear()
    assert phone.get(path).status_code == 410


def test_a_sign_in_link_does_nothing_else(room: Room, phone: httpx.Client) -> None:
    phone.post("/sign-in", data={"person": "zhang.wei"})
    room.deliver()
    path = path_in(room.sent[-1])
    sent = fields(phone.get(path).text, path, "enter")
    before = written(room)
    for action in ("acknowledge", "escalate", "resolve"):
        assert phone.post(f"{path}/{action}", data=sent, headers=OURS).status_code == 404
    assert written(room) == before
    room.clock.advance(3600)
    assert phone.post(f"{path}/enter", data=sent, headers=OURS).status_code == 410


def test_who_asks_learns_nothing(room: Room, phone: httpx.Client) -> None:
    answers = {
        words(phone.post("/sign-in", data={"person": name}).text)
        for name in ("zhang.wei", "nobody", "zhang.wei", "", "张伟")
    }
    assert len(answers) == 1
    with room.store.read() as connection:
        assert len(connection.execute(sa.select(sign_in)).all()) == 1


def test_who_asks_learns_nothing_from_a_store_that_is_away(
    room: Room, phone: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away() -> None:
        raise StoreError("the database is away")

    monkeypatch.setattr(room.store, "write", away)
    assert phone.post("/sign-in", data={"person": "zhang.wei"}).status_code == 200
    assert "a sign-in link could not be sent: the database is away" in caplog.text


def test_facts_of_a_sign_in_message_hold_no_link(room: Room, phone: httpx.Client) -> None:
    phone.post("/sign-in", data={"person": "zhang.wei"})
    room.deliver()
    assert json.loads(json.dumps(room.sent[-1].facts)) == {
        "kind": "sign-in", "person": "zhang.wei", "told_at": room.clock.wall(),
    }  # fmt: skip


def test_both_databases_keep_salts_and_requests_alike(tmp_path: Path, store_url: str) -> None:
    with Room(tmp_path, store_url) as room:
        room.give_phones()
        now, links = room.clock.wall(), room.runtime.links
        assert links
        assert request_link(room.runtime.notifier(), "zhang.wei", now)
        assert not request_link(room.runtime.notifier(), "zhang.wei", now)
        room.deliver()
        link = links.read(path_in(room.sent[0]).removeprefix("/t/"))
        assert link == Link("zhang.wei", SIGN_IN, 1, int(now))
        assert [spend(room.store, link, now), spend(room.store, link, now)] == [True, False]
        text = links.sign("zhang.wei", TROUBLE, 1, now)
        for person in ("zhang.wei", "", "zhang.wei"):
            rotate(room.store, now, person)
            room.clock.advance(2)
            assert links.read(text) is None
            text = links.sign("zhang.wei", TROUBLE, 1, now)
        session = tokens.mint(room.store, TokenKind.SESSION, "zhang.wei", now, 100.0)
        assert tokens.renew_session(room.store, session, now + 99, 100.0) == now + 199
        assert tokens.renew_session(room.store, session, now + 199, 100.0) is None


# ---- sessions ----


def session_cookie(response: httpx.Response) -> int | None:
    found = re.search(r"__Host-watchkeeper=[^;]+;.*Max-Age=(\d+)", response.headers.get("set-cookie", ""))
    return int(found[1]) if found else None


def test_a_session_outlives_the_longest_shift_and_renews_itself(room: Room, phone: httpx.Client) -> None:
    lasts_s = int(tokens.session_s(room.runtime.snapshot.configuration.contacts))
    signed_in(room, phone, "zhang.wei")
    assert session_cookie(phone.get("/")) is None, "not at every request"
    for _ in range(3):
        room.clock.advance(lasts_s - 3700)
        assert session_cookie(phone.get("/")) == lasts_s
    room.clock.advance(lasts_s)
    assert phone.get("/").status_code == 401


def test_a_session_that_is_used_all_the_time_ends_after_thirty_days(room: Room, phone: httpx.Client) -> None:
    signed_in(room, phone, "zhang.wei")
    for _ in range(30 * 4 - 1):
        room.clock.advance(6 * 3600)
        assert phone.get("/").status_code == 200
    assert (session_cookie(phone.get("/")) or 0) <= 6 * 3600
    room.clock.advance(6 * 3600)
    assert phone.get("/").status_code == 401


def test_a_page_is_worth_more_than_a_renewal(room: Room, phone: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    signed_in(room, phone, "zhang.wei")
    room.clock.advance(7200)

    def away() -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(room.store, "write", away)
    assert phone.get("/").status_code == 200
