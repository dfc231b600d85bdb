"""Personal links over HTTP: what a page by link shows and does, for whom, and what it never does."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from tests.collector_room import Room, browser, words
from tests.link_room import OURS, SITE, fields, paged, path_in, press, sign, signed_in, written
from watchkeeper.channels.ports import Message
from watchkeeper.collector.access.links import rotate
from watchkeeper.collector.store.schema import metadata, outbox, transition
from watchkeeper.collector.web.app import CollectorApp, build_app
from watchkeeper.model.errors import StoreError
from watchkeeper.model.verdict import Evidence, Level


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


# ---- from the message ----


def test_from_the_message_to_the_acknowledgement_without_a_sign_in(room: Room, phone: httpx.Client) -> None:
    person, path = paged(room)
    name = next(one.name for one in room.runtime.snapshot.configuration.contacts.people if one.person == person)
    page = phone.get(path)
    assert page.status_code == 200
    assert f"You act as {name} through the link in your message." in words(page.text)
    assert "Room temperature out of range" in page.text
    done = press(phone, path, "acknowledge", note="on my way")
    assert (done.status_code, done.headers["location"]) == (303, path)
    after = words(phone.get(path).text)
    assert "on my way (" in after
    assert "Still working on it" in after
    with room.store.read() as connection:
        last = connection.execute(sa.select(transition).order_by(transition.c.id.desc())).first()
    assert last is not None
    assert (last.by, last.kind) == (f"person:{person}", "acknowledged")
    assert "set-cookie" not in page.headers
    assert "set-cookie" not in done.headers
    assert phone.get("/troubles/1").status_code == 401, "no session began"


def test_the_timeline_says_that_it_was_by_link(room: Room, phone: httpx.Client) -> None:
    path = sign(room, "zhang.wei")  # a person who reads Chinese
    press(phone, path, "acknowledge")
    assert "（通过链接）" in phone.get(path).text or "(通过链接)" in phone.get(path).text


@pytest.mark.parametrize("headers", [{}, {"sec-purpose": "prefetch"}, {"user-agent": "ChatBot/1.0 (link preview)"}])
def test_opening_a_link_spends_and_changes_nothing(room: Room, phone: httpx.Client, headers: dict[str, str]) -> None:
    room.clock.advance(60)
    before = written(room)
    for path in (paged(room)[1], sign(room, "zhang.wei", "sign-in")):
        for _ in range(3):
            phone.get(path, headers=headers)
            phone.head(path, headers=headers)
    assert phone.get(f"{paged(room)[1]}/acknowledge").status_code == 405
    assert written(room) == before


def test_each_person_has_a_link_of_their_own_and_no_link_is_stored(room: Room) -> None:
    room.clock.advance(3600)
    room.decide_rungs()
    room.deliver()
    paths = {message.person: path_in(message) for message in room.sent}
    assert len(set(paths.values())) == len(paths) > 2
    with room.store.read() as connection:
        for table in metadata.sorted_tables:
            stored = str(connection.execute(sa.select(table)).all())
            assert not [path for path in paths.values() if path.removeprefix("/t/") in stored], table.name
        assert f"{SITE}/troubles/1" in str(connection.execute(sa.select(outbox.c.text)).all())


def test_every_try_of_a_message_has_the_same_link(tmp_path: Path) -> None:
    with Room(tmp_path) as room:
        room.give_phones()
        room.heat()
        room.decide_rungs()
        for _ in range(3):
            room.deliver(*(one.person for one in room.runtime.snapshot.configuration.contacts.people))
            room.clock.advance(11)
        first = [message for message in room.sent if message.key == room.sent[0].key]
        assert len(first) > 2
        assert len({path_in(message) for message in first}) == 1


def test_every_address_of_a_page_becomes_a_link_and_nothing_else(room: Room) -> None:
    """A digest names several incidents; a text of a device may look like an address."""
    message = Message(
        "k", "zhang.wei", "s",
        f"{SITE}/troubles/1\n{SITE}/troubles/12\n{SITE}/troubles/1x {SITE}/troubles/{'9' * 17} {SITE}/devices/1 /troubles/1",
        {"url": f"{SITE}/troubles/1", "list": [{"url": f"{SITE}/sign-in/3"}], "number": 1},
    )  # fmt: skip
    sent = room.runtime.notifier().personal(message, room.clock.wall())
    first, second, rest = sent.text.split("\n")
    assert [first, second] == [SITE + sign(room, "zhang.wei", number=number) for number in (1, 12)]
    assert rest == message.text.split("\n")[2]
    assert sent.facts == {
        "url": first, "list": [{"url": SITE + sign(room, "zhang.wei", "sign-in", 3)}], "number": 1,
    }  # fmt: skip


# ---- what is not believed ----


def test_a_link_opens_no_other_incident(room: Room, phone: httpx.Client) -> None:
    room.say("crac-1", "device.alarm", Level.WARNING, Evidence("device.alarm", "warning", "is warning"))
    first, second = sign(room, "zhang.wei", number=1), sign(room, "zhang.wei", number=2)
    before = written(room)
    sent = fields(phone.get(first).text, first, "acknowledge")
    assert phone.post(f"{second}/acknowledge", data=sent, headers=OURS).status_code == 403
    assert phone.post("/troubles/1/acknowledge", data=sent, headers=OURS).status_code == 401
    assert phone.get("/troubles/2").status_code == 401
    assert written(room) == before


def wrong_links(room: Room) -> Iterator[str]:
    good = sign(room, "zhang.wei")
    yield "/t/x"
    yield good[:-1] + ("A" if good[-1] != "A" else "B")
    yield good + "A"
    yield sign(room, "nobody")
    yield sign(room, "zhang.wei", number=99)
    yield sign(room, "zhang.wei", "sign-in", 99)


def test_a_wrong_link_says_so_and_offers_a_new_one(room: Room, phone: httpx.Client) -> None:
    before = written(room)
    for path in wrong_links(room):
        for response in (
            phone.get(path), phone.get(f"{path}/events"), phone.post(f"{path}/acknowledge", headers=OURS),
            phone.post(f"{path}/enter", headers=OURS),
        ):  # fmt: skip
            assert response.status_code == 410, path
            assert "This link does not work any more" in response.text
            assert 'action="/sign-in"' in response.text
            assert "Room temperature" not in response.text
    assert written(room) == before


def test_a_link_ends_a_day_after_the_fault(room: Room, phone: httpx.Client) -> None:
    person, path = paged(room)
    room.heat(Level.OK, 22.0)
    room.clock.advance(61)
    room.decide_rungs()  # it is over
    room.clock.advance(86_399 - 61)
    assert phone.get(path).status_code == 200
    room.clock.advance(1)
    ended = phone.get(path)
    assert ended.status_code == 410
    assert f'value="{person}"' in ended.text, "who had the link need not type a name"


def test_a_link_ends_with_its_key_and_with_its_person(room: Room, phone: httpx.Client) -> None:
    path = sign(room, "zhang.wei")
    assert phone.get(path).status_code == 200
    rotate(room.store, room.clock.wall())
    room.clock.advance(2)
    assert phone.get(path).status_code == 410
    path = sign(room, "zhou.gang")
    assert phone.get(path).status_code == 200
    snapshot = room.runtime.snapshot
    contacts = snapshot.configuration.contacts
    left = replace(contacts, people=tuple(one for one in contacts.people if one.person != "zhou.gang"))
    room.runtime.activate(replace(snapshot, configuration=replace(snapshot.configuration, contacts=left)))
    assert phone.get(path).status_code == 410


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}, {"sec-fetch-site": "cross-site", "origin": "null"},
        {"sec-fetch-site": "same-site"}, {"origin": "https://evil.example"}, {"sec-fetch-site": "none"},
    ],
)  # fmt: skip
def test_a_form_of_another_site_does_nothing(room: Room, phone: httpx.Client, headers: dict[str, str]) -> None:
    _, path = paged(room)
    sent = fields(phone.get(path).text, path, "acknowledge")
    before = written(room)
    assert phone.post(f"{path}/acknowledge", data=sent, headers=headers).status_code == 403
    assert phone.post("/sign-in", data={"person": "zhang.wei"}, headers=headers).status_code == 403
    assert written(room) == before


@pytest.mark.parametrize("csrf", ["", "0" * 64, "é"])
def test_a_post_that_is_no_form_of_the_page_does_nothing(room: Room, phone: httpx.Client, csrf: str) -> None:
    _, path = paged(room)
    before = written(room)
    for action in ("acknowledge", "escalate", "resolve", "enter"):
        assert phone.post(f"{path}/{action}", data={"csrf": csrf}, headers=OURS).status_code == 403
    assert written(room) == before


def test_an_action_that_does_not_exist_is_not_found(room: Room, phone: httpx.Client) -> None:
    _, path = paged(room)
    sent = fields(phone.get(path).text, path, "acknowledge")
    response = phone.post(f"{path}/delete", data=sent, headers=OURS)
    assert response.status_code == 404
    assert f'<a href="{path}">Back</a>' in response.text


# ---- a browser with another session ----


def test_a_browser_of_another_person_must_choose(room: Room, phone: httpx.Client) -> None:
    signed_in(room, phone, "li.na")
    path = sign(room, "zhang.wei")
    page = phone.get(path).text
    assert "This link belongs to 张伟, but this browser is signed in as 李娜. As whom do you act?" in words(page)
    assert "I am working on it" not in page
    assert f'href="{path}?as=zhang.wei"' in page
    assert 'href="/troubles/1"' in page


def test_no_form_acts_silently_as_somebody_else(room: Room, phone: httpx.Client) -> None:
    path = sign(room, "zhang.wei")
    sent = fields(phone.get(path).text, path, "acknowledge")  # the page was open before the other person signed in
    signed_in(room, phone, "li.na")
    before = written(room)
    for choice in ({}, {"as": ""}, {"as": "li.na"}):
        response = phone.post(f"{path}/acknowledge", data={**sent, **choice}, headers=OURS)
        assert response.status_code == 409
        assert "this browser is signed in as 李娜, and the link belongs to 张伟" in response.text
    assert written(room) == before


def test_who_has_chosen_acts_and_the_timeline_says_so(room: Room, phone: httpx.Client) -> None:
    signed_in(room, phone, "li.na")
    path = sign(room, "zhang.wei")
    chosen = f"{path}?as=zhang.wei"
    assert "You act as 张伟 through the link in a message, although this browser is signed in as 李娜." in words(
        phone.get(chosen).text
    )
    done = press(phone, chosen, "acknowledge")
    assert (done.status_code, done.headers["location"]) == (303, chosen)
    with room.store.read() as connection:
        last = connection.execute(sa.select(transition).order_by(transition.c.id.desc())).first()
    assert last is not None
    assert (last.by, last.note) == ("person:zhang.wei", "(通过链接；浏览器登录的是李娜)")


def test_the_own_session_needs_no_choice(room: Room, phone: httpx.Client) -> None:
    signed_in(room, phone, "zhang.wei")
    path = sign(room, "zhang.wei")
    assert press(phone, path, "acknowledge").status_code == 303


def test_a_link_in_a_chat_is_requested_again_so_that_a_session_is_seen(room: Room, phone: httpx.Client) -> None:
    path = sign(room, "zhang.wei")
    first = phone.get(path, headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"})
    assert 'http-equiv="refresh" content="0"' in first.text
    assert "Room temperature" not in first.text


# ---- secrets ----


def test_no_response_tells_the_link_to_another_page(room: Room, phone: httpx.Client) -> None:
    _, path = paged(room)
    for response in (
        phone.get(path), phone.get("/t/wrong"), phone.post(f"{path}/acknowledge"), press(phone, path, "acknowledge"),
        phone.get(path, headers={"host": "evil.example"}), phone.post(f"{path}/acknowledge", content=b"x" * 70_000),
    ):  # fmt: skip
        assert response.headers["referrer-policy"] == "no-referrer", response.status_code
        assert response.headers["cache-control"] == "no-store"
    for other in ("/", "/sign-in", "/metrics"):
        assert phone.get(other).headers["referrer-policy"] == "same-origin"


def test_links_are_in_no_metric_and_no_log(room: Room, phone: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    _, path = paged(room)
    secret = path.removeprefix("/t/")
    press(phone, path, "acknowledge")
    phone.get(path + "A")
    phone.post(f"{path}/acknowledge")
    ours = [record for record in caplog.records if record.name != "httpx"]  # the test's own client
    assert not [record for record in ours if secret in record.getMessage()]
    assert secret not in room.metrics.render().decode()


def test_the_console_is_a_log_and_shows_no_link(tmp_path: Path) -> None:
    with Room(tmp_path) as room:
        room.heat()
        room.decide_rungs()
        room.deliver()
        assert room.sent[0].text.endswith(f"{SITE}/troubles/1")


def test_a_link_that_cannot_be_signed_leaves_the_plain_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> str:
        raise StoreError("the database is away")

    with Room(tmp_path) as room:
        room.give_phones()
        room.heat()
        room.decide_rungs()
        monkeypatch.setattr(type(room.runtime.links), "sign", fails)
        room.deliver()
        assert room.sent[0].text.endswith(f"{SITE}/troubles/1")
