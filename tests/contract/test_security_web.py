"""Attacks on pages and API: forged hosts, cookies and links, texts of devices that are markup, incomplete requests."""

import asyncio
import html.parser
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from tests.collector_room import Readings, Room, browser, serving
from watchkeeper.channels.ports import Message, Receipt
from watchkeeper.collector.access import tokens
from watchkeeper.collector.access.tokens import TokenKind
from watchkeeper.collector.notify.outbox import Outbox
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.migrate import migrate
from watchkeeper.collector.store.schema import token, transition
from watchkeeper.collector.web.app import CollectorApp, build_app
from watchkeeper.model.errors import StoreError
from watchkeeper.model.reading import Missing, Reason
from watchkeeper.model.verdict import Evidence, Level

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7777*7777}}%(x)s{0}&#x3c;b>"


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with Room(tmp_path) as room:
        room.heat()
        room.decide_rungs()
        yield room


@pytest.fixture
def web(room: Room) -> Iterator[httpx.Client]:
    with browser(room.front) as client:
        yield client


def link(room: Room, person: str = "zhang.wei") -> str:
    return "/enter?ticket=" + tokens.mint(room.store, TokenKind.TICKET, person, room.clock.wall(), tokens.TICKET_S)


def bearer(room: Room, name: str = "zhang.wei") -> dict[str, str]:
    text = tokens.mint(room.store, TokenKind.PERSON, name, room.clock.wall())
    room.runtime.tokens.invalidate()
    return {"authorization": f"Bearer {text}"}


def csrf(web: httpx.Client) -> str:
    return web.get("/").text.partition('name="csrf" value="')[2][:64]


def acknowledged(room: Room) -> int:
    with room.store.read() as connection:
        query = sa.select(sa.func.count()).where(transition.c.kind == "acknowledged")
        return int(connection.execute(query).scalar_one())


def raw(
    front: CollectorApp, messages: list[dict[str, Any]], headers: list[tuple[bytes, bytes]], path: str = "/"
) -> list[Any]:
    """One POST as a server passes it on, message by message; returns what the application sent."""
    came: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        came.append(message)

    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": headers,
        "scheme": "http", "http_version": "1.1", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8760), "root_path": "",
    }  # fmt: skip
    asyncio.run(front(scope, receive, send))
    return came


# ---- host names and other sites ----


def test_two_host_headers_are_refused(room: Room) -> None:
    for hosts in ([b"127.0.0.1", b"evil.example"], [b"evil.example", b"127.0.0.1"], [b"127.0.0.1", b"127.0.0.1"]):
        came = raw(room.front, [], [(b"host", host) for host in hosts], "/static/icon.svg")
        assert came[0]["status"] == 421, hosts


def test_no_page_of_another_site_may_embed_us(web: httpx.Client) -> None:
    for path in ("/", "/metrics", "/static/icon.svg", "/api/v1/troubles"):
        assert web.get(path).headers["cross-origin-resource-policy"] == "same-origin"


def test_under_a_public_name_reading_needs_a_person_even_from_127_0_0_1(room: Room) -> None:
    """A proxy forwards the requests of other machines."""
    with browser(room.front, "http://watch.example") as guest:
        for path in ("/", "/metrics", "/events", "/openapi.json", "/api/v1/agents"):
            assert guest.get(path).status_code == 401, path
        assert guest.get("/", headers=bearer(room)).status_code == 200
        assert guest.get(link(room)).status_code == 303
        assert guest.get("/").status_code == 200


def test_a_request_that_a_local_proxy_forwards_is_not_local(room: Room) -> None:
    with serving(room.front) as url:
        for headers, status in (
            ({}, 200),
            ({"x-forwarded-for": "192.0.2.7"}, 401),
            ({"x-forwarded-for": "127.0.0.1"}, 200),
        ):
            assert httpx.get(f"{url}/devices", headers=headers).status_code == status


def test_no_path_redirects_to_another_site_or_leaves_the_static_folder(web: httpx.Client) -> None:
    for path in (
        "//evil.example",
        "//evil.example/",
        "/\\evil.example/",
        "/devices/",
        "/enter?ticket=x&next=//evil.example",
    ):
        assert "evil" not in web.get(path).headers.get("location", ""), path
    for path in (
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/static/",
    ):
        assert web.get(path).status_code in (404, 405), path


def test_no_header_turns_a_read_into_a_write(room: Room, web: httpx.Client) -> None:
    web.get(link(room))
    headers = {"x-http-method-override": "POST", "x-http-method": "POST"}
    assert web.get("/troubles/1/acknowledge?_method=POST", headers=headers).status_code == 405
    assert acknowledged(room) == 0


# ---- links and sessions ----


def test_a_link_that_is_opened_twice_at_once_works_once(room: Room, store_url: str) -> None:
    store = Store(store_url)
    migrate(store)
    text = tokens.mint(store, TokenKind.TICKET, "zhang.wei", room.clock.wall(), tokens.TICKET_S)
    got: list[str | None] = []
    both = threading.Barrier(4)

    def spend() -> None:
        both.wait()
        got.append(tokens.redeem_ticket(store, text, room.clock.wall(), 60.0))

    threads = [threading.Thread(target=spend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as connection:
        assert [row.kind for row in connection.execute(sa.select(token))] == ["session"]
    store.close()
    assert len([one for one in got if one]) == 1


@pytest.mark.parametrize("header", [{"sec-purpose": "prefetch;prerender"}, {"purpose": "prefetch"}])
def test_a_prefetch_does_not_spend_a_link(room: Room, web: httpx.Client, header: dict[str, str]) -> None:
    where = link(room)
    ahead = web.get(where, headers=header)
    assert (ahead.status_code, "set-cookie" in ahead.headers) == (503, False)
    assert web.get(where).status_code == 303


def test_over_https_no_other_host_can_set_our_cookie(room: Room) -> None:
    with browser(room.front, "https://watch.example") as web:
        cookie = web.get(link(room)).headers["set-cookie"]
        assert cookie.startswith("__Host-watchkeeper=")
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=strict"} <= set(cookie.split("; "))
        assert "Domain" not in cookie
        session = cookie.partition("=")[2].partition(";")[0]
        form = csrf(web)
        web.cookies.clear()
        assert (
            web.get("/", headers={"cookie": f"watchkeeper={session}"}).status_code == 401
        )  # without the prefix: anonymous
        cookies = {"cookie": f"__Host-watchkeeper={session}"}
        left = web.post("/leave", data={"csrf": form}, headers={**cookies, "origin": "https://watch.example"})
        assert left.status_code == 303
        assert "Secure" in left.headers["set-cookie"]
        assert "Max-Age=0" in left.headers["set-cookie"]
        assert web.get("/", headers=cookies).status_code == 401


def test_a_person_who_was_removed_may_do_nothing(room: Room, web: httpx.Client) -> None:
    api = bearer(room, "li.na")
    web.get(link(room, "li.na"))
    form = csrf(web)
    snapshot = room.runtime.snapshot
    contacts = snapshot.configuration.contacts
    people = tuple(one for one in contacts.people if one.person != "li.na")
    gone = replace(snapshot.configuration, contacts=replace(contacts, people=people, shifts=contacts.shifts[1:]))
    room.runtime.activate(replace(snapshot, configuration=gone))
    assert web.post("/troubles/1/acknowledge", data={"csrf": form}).status_code == 401
    assert web.post("/api/v1/troubles/1/acknowledge", json={}, headers=api).status_code == 401
    assert acknowledged(room) == 0


def test_a_session_ends_when_its_persons_tokens_are_revoked(room: Room, web: httpx.Client) -> None:
    web.get(link(room))
    form, unspent = csrf(web), link(room)
    tokens.revoke(room.store, TokenKind.PERSON, "zhang.wei")
    room.clock.advance(1.1)  # until another process has read the store again
    assert web.post("/troubles/1/acknowledge", data={"csrf": form}).status_code == 401
    assert web.get(unspent).status_code == 410


# ---- what clients send ----


def test_an_anonymous_request_is_401_whatever_its_body(room: Room, web: httpx.Client) -> None:
    where = "/api/v1/troubles/1/acknowledge"
    for content in (b"{", b"[" * 60_000, b'{"note": 1}', b"\xff"):
        assert web.post(where, content=content, headers={"content-type": "application/json"}).status_code == 401
    parts = {"content-type": "multipart/form-data; boundary=x"}
    for content in (b"--x", b'--x\r\nContent-Disposition: form-data; name="csrf"; filename="f"\r\n\r\n1\r\n--x--\r\n'):
        assert web.post("/troubles/1/acknowledge", content=content, headers=parts).status_code == 401
    assert acknowledged(room) == 0


def test_an_incomplete_request_is_not_used(room: Room, web: httpx.Client) -> None:
    web.get(link(room))
    form, session = csrf(web), web.cookies["watchkeeper"]
    body = f"csrf={form}&note=half".encode()
    headers = [
        (b"host", b"127.0.0.1"), (b"cookie", f"watchkeeper={session}".encode()), (b"content-length", b"500"),
        (b"content-type", b"application/x-www-form-urlencoded"),
    ]  # fmt: skip
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": body, "more_body": True},
        {"type": "http.disconnect"},
    ]
    assert raw(room.front, messages, headers, "/troubles/1/acknowledge") == []
    assert acknowledged(room) == 0


def test_numbers_and_texts_that_a_database_cannot_store_are_refused(room: Room, web: httpx.Client) -> None:
    huge = 10**30
    for path in (
        f"/troubles/{huge}",
        f"/troubles?before={huge}",
        f"/incidents/{huge}",
        f"/api/v1/incidents/{huge}",
        f"/api/v1/troubles/{huge}",
        f"/api/v1/troubles?cursor={huge}",
    ):
        assert web.get(path).status_code == 422, path
    assert web.get(f"/api/v1/incidents?cursor={huge}").status_code == 422
    person = bearer(room)
    assert web.post("/api/v1/troubles/1/acknowledge", json={"note": "a\0b"}, headers=person).status_code == 422
    assert acknowledged(room) == 0


# ---- what strangers can read ----


def test_a_stranger_reads_neither_configuration_nor_database_errors(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.runtime.problem = "inventory.yml:3:4: a line of the configuration"
    closed = build_app(room.runtime, room.ingest, room.metrics, ["watch.example"], open_reading=False)
    person = bearer(room)
    with browser(closed, "https://watch.example") as web:
        for path in ("/", "/nowhere", "/enter", "/devices/ups-1", "/api/v1/troubles"):
            assert "of the configuration" not in web.get(path).text, path
        assert "of the configuration" in web.get("/", headers=person).text

        def broken(*_: object, **__: object) -> None:
            raise StoreError("the store refused: db.internal refused the user watchkeeper")

        monkeypatch.setattr(room.store, "read", broken)
        room.runtime.tokens.invalidate()
        for path in ("/", "/api/v1/troubles", "/v1/bundle"):
            response = web.get(path, headers={"authorization": "Bearer x"})
            assert (response.status_code, "db.internal" in response.text) == (503, False), path


# ---- texts of devices ----


class Marks(html.parser.HTMLParser):
    """The elements of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


def test_texts_of_devices_rules_persons_and_receivers_are_never_markup(room: Room, web: httpx.Client) -> None:
    readings: Readings = {
        ("temperature.ambient", EVIL[:60], EVIL): 31.0,
        ("device.alarm", "", EVIL): EVIL,
        ("humidity.relative", "1", "x"): Missing(Reason.FAULT, EVIL),
    }
    for _ in range(3):
        room.clock.advance(30)
        room.read("sensor-cold-aisle", readings)
    evidence = Evidence(EVIL, Missing(Reason.FAULT, EVIL), EVIL, EVIL, EVIL, room.clock.wall())
    room.say("sensor-cold-aisle", EVIL, Level.CRITICAL, evidence, EVIL[:60])
    room.say("ups-1", "device.alarm", Level.WARNING, Evidence("device.alarm", EVIL, f"is {EVIL}", EVIL))
    room.decide_rungs()
    outbox = Outbox(room.runtime, lambda _: _Refusing())
    outbox.deliver()
    outbox.stop()
    person = bearer(room)
    assert web.post("/api/v1/troubles/2/acknowledge", json={"note": EVIL}, headers=person).status_code == 200
    room.move("ups-1", EVIL)
    web.get(link(room))
    for language in ("en", "zh"):
        for path in (
            "/",
            "/devices",
            "/devices/sensor-cold-aisle",
            "/devices/ups-1",
            "/troubles",
            "/troubles/2",
            "/troubles/3",
        ):
            page = web.get(path, params={"lang": language})
            assert page.status_code == 200, path
            _is_ours(page.text, path)
    _is_ours(web.get(f"/devices/{EVIL}").text, "a device that is none")
    answers = (web.get(f"/api/v1/{path}") for path in ("troubles/2", "incidents/2", "devices/sensor-cold-aisle"))
    for response in answers:
        assert response.headers["content-type"] == "application/json"
        assert repr(EVIL) in str(response.json())


def _is_ours(page: str, path: str) -> None:
    for tag, attributes in Marks(page).elements:
        assert tag not in ("img", "iframe", "object"), path
        assert tag != "script" or attributes == {"src": "/static/watch.js", "defer": None}, path
        assert not any(name.startswith("on") or name == "style" for name in attributes), (path, tag, attributes)
        target = attributes.get("href") or attributes.get("src") or attributes.get("action") or "/"
        assert target.startswith(("/", "?", "#", "tel:")), (path, target)
    assert "60481729" not in page, path  # nor was it evaluated as a template


class _Refusing:
    """A receiver whose error texts contain markup."""

    def send(self, message: Message) -> Receipt:
        return Receipt(delivered=False, detail=f"{EVIL} to {message.person}")


def test_texts_of_devices_do_not_break_metrics(room: Room, web: httpx.Client) -> None:
    forged = 'x"} 1\nwatchkeeper_forged{a="\\'
    room.read("sensor-cold-aisle", {("temperature.ambient", forged, forged): 22.0})
    room.move("sensor-cold-aisle", forged)
    room.say("ups-1", forged, Level.CRITICAL, Evidence("device.alarm", "warning"))
    lines = web.get("/metrics").text.split("\n")
    assert not [line for line in lines if line.startswith(("watchkeeper_forged", "# TYPE watchkeeper_forged"))]
    assert any(r'part="x\"} 1\nwatchkeeper_forged{a=\"\\"' in line for line in lines)
    assert any(r'rule="x\"} 1\nwatchkeeper_forged{a=\"\\"' in line for line in lines)
