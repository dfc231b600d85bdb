"""Who may read and who may write: tokens, one-time links, cookies, CSRF, Host and Origin."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from tests.collector_room import Room, browser, words
from watchkeeper.collector.access import tokens
from watchkeeper.collector.access.tokens import TokenKind
from watchkeeper.collector.store.retention import delete_expired
from watchkeeper.collector.store.schema import removal, request, rung, token, transition
from watchkeeper.collector.web.app import build_app
from watchkeeper.collector.web.edge.guard import BODY_LIMIT

BASE = "http://127.0.0.1:8760"
WRITES = [
    "/troubles/1/acknowledge", "/troubles/1/escalate", "/troubles/1/resolve", "/devices/ups-1/poll",
    "/devices/ups-1/removed", "/leave",
    "/api/v1/troubles/1/acknowledge", "/api/v1/troubles/1/escalate", "/api/v1/troubles/1/resolve",
    "/api/v1/devices/ups-1/poll", "/api/v1/devices/ups-1/removed",
]  # fmt: skip


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


def ticket(room: Room, person: str = "zhang.wei") -> str:
    return tokens.mint(room.store, TokenKind.TICKET, person, room.clock.wall(), tokens.TICKET_S)


def bearer(room: Room, kind: TokenKind = TokenKind.PERSON, name: str = "zhang.wei") -> dict[str, str]:
    text = tokens.mint(room.store, kind, name, room.clock.wall())
    room.runtime.tokens.invalidate()
    return {"authorization": f"Bearer {text}"}


def enter(room: Room, web: httpx.Client) -> str:
    """Open a session; returns the CSRF token of its pages."""
    assert web.get(f"/enter?ticket={ticket(room)}").status_code == 303
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', web.get("/").text)
    assert found
    return found[1]


def written(room: Room) -> tuple[object, ...]:
    """Everything that a person's write would change."""
    with room.store.read() as connection:
        counts = [
            connection.execute(sa.select(sa.func.count()).select_from(table)).scalar()
            for table in (transition, request, removal, token)
        ]
        decided = connection.execute(sa.select(sa.func.count()).where(rung.c.decided_at.is_not(None))).scalar()
    return (*counts, decided)


# ---- anonymous ----


def test_nobody_writes_without_a_token(room: Room, web: httpx.Client) -> None:
    before = written(room)
    for path in WRITES:
        response = web.post(path, json={}) if path.startswith("/api") else web.post(path)
        assert response.status_code == 401, path
        assert response.headers["www-authenticate"] == "Bearer"
        assert written(room) == before, path


@pytest.mark.parametrize("csrf", ["", "0" * 64])
def test_a_cookie_alone_writes_nothing(room: Room, web: httpx.Client, csrf: str) -> None:
    enter(room, web)
    before = written(room)
    for path in WRITES:
        if path.startswith("/api"):
            response = web.post(path, json={}, headers={"x-csrf-token": csrf})
        else:
            response = web.post(path, data={"csrf": csrf})
        assert response.status_code == 403, path
        assert written(room) == before, path


def test_tokens_of_agents_and_tickets_do_not_authenticate_a_person(room: Room, web: httpx.Client) -> None:
    for kind in (TokenKind.AGENT, TokenKind.TICKET, TokenKind.SESSION):
        response = web.post("/api/v1/troubles/1/acknowledge", json={}, headers=bearer(room, kind, "room-1"))
        assert response.status_code == 401, kind
    response = web.post("/api/v1/troubles/1/acknowledge", json={}, headers={"authorization": "Bearer nonsense"})
    assert response.status_code == 401


def test_a_wrong_bearer_is_anonymous_even_with_a_good_cookie(room: Room, web: httpx.Client) -> None:
    csrf = enter(room, web)
    headers = {"authorization": "Bearer wrong", "x-csrf-token": csrf}
    assert web.post("/api/v1/troubles/1/acknowledge", json={}, headers=headers).status_code == 401


# ---- a link, a session ----


def test_a_link_works_once_and_leaves_no_secret(room: Room, web: httpx.Client) -> None:
    text = ticket(room)
    first = web.get(f"/enter?ticket={text}")
    assert (first.status_code, first.headers["location"], first.content) == (303, "/", b"")
    cookie = first.headers["set-cookie"]
    for part in ("watchkeeper=", "HttpOnly", "SameSite=strict", "Path=/"):
        assert part in cookie
    assert "Secure" not in cookie
    assert text not in cookie
    assert first.headers["referrer-policy"] == "no-referrer"
    web.cookies.clear()
    second = web.get(f"/enter?ticket={text}")
    assert second.status_code == 410
    assert "set-cookie" not in second.headers
    assert "watchkeeper collector link" in second.text
    assert text not in second.text
    with room.store.read() as connection:
        assert text not in str(connection.execute(sa.select(token)).all())


def test_a_link_expires(room: Room, web: httpx.Client) -> None:
    text = ticket(room)
    room.clock.advance(tokens.TICKET_S)
    assert web.get(f"/enter?ticket={text}").status_code == 410
    assert web.get("/enter").status_code == 410


def test_only_expired_tokens_are_deleted(room: Room) -> None:
    now = room.clock.wall()
    for lasts_s in (10.0, 30.0, None):
        tokens.mint(room.store, TokenKind.SESSION, "li.na", now, lasts_s)
    delete_expired(room.store, now + 20, 3600.0)
    with room.store.read() as connection:
        left = connection.execute(sa.select(token.c.expires_at).order_by(token.c.expires_at)).scalars()
        assert set(left) == {now + 30, None}


def test_a_head_request_does_not_spend_a_link(room: Room, web: httpx.Client) -> None:
    text = ticket(room)
    assert web.head(f"/enter?ticket={text}").status_code == 405
    assert web.get(f"/enter?ticket={text}").status_code == 303


def test_over_https_the_cookie_is_secure(room: Room) -> None:
    with browser(room.front, "https://watch.example") as web:
        assert "Secure" in web.get(f"/enter?ticket={ticket(room)}").headers["set-cookie"]


def test_a_form_with_its_token_acknowledges_as_that_person(room: Room, web: httpx.Client) -> None:
    csrf = enter(room, web)
    headers = {"origin": BASE}
    response = web.post("/troubles/1/acknowledge", data={"csrf": csrf, "note": "on my way"}, headers=headers)
    assert (response.status_code, response.headers["location"]) == (303, "/troubles/1")
    page = web.get("/troubles/1").text
    assert "on my way" in page
    assert page.count("张伟") >= 2  # the person who is signed in, and who acknowledged


def test_a_form_of_another_site_does_nothing(room: Room, web: httpx.Client) -> None:
    csrf = enter(room, web)
    before = written(room)
    for origin in ("https://evil.example", "http://127.0.0.1:9999", "null"):
        response = web.post("/troubles/1/acknowledge", data={"csrf": csrf}, headers={"origin": origin})
        assert response.status_code == 403, origin
    assert written(room) == before


def test_a_csrf_token_is_valid_for_one_session(room: Room, web: httpx.Client) -> None:
    earlier = enter(room, web)
    web.cookies.clear()
    assert enter(room, web) != earlier
    assert web.post("/troubles/1/acknowledge", data={"csrf": earlier}).status_code == 403


def test_the_api_by_cookie_needs_the_header(room: Room, web: httpx.Client) -> None:
    csrf = enter(room, web)
    response = web.post("/api/v1/troubles/1/acknowledge", json={}, headers={"x-csrf-token": csrf})
    assert response.status_code == 200
    assert response.json()["acknowledged_by"] == "zhang.wei"


def test_signing_out_ends_the_session(room: Room, web: httpx.Client) -> None:
    csrf = enter(room, web)
    session = web.cookies["watchkeeper"]
    assert web.post("/leave", data={"csrf": csrf}).status_code == 303
    assert "watchkeeper" not in web.cookies
    again = web.post("/troubles/1/acknowledge", data={"csrf": csrf}, headers={"cookie": f"watchkeeper={session}"})
    assert again.status_code == 401


def test_a_session_expires(room: Room, web: httpx.Client) -> None:
    csrf = enter(room, web)
    room.clock.advance(tokens.session_s(room.runtime.snapshot.configuration.contacts))
    assert web.post("/troubles/1/acknowledge", data={"csrf": csrf}).status_code == 401


def test_a_link_from_another_site_is_requested_again(room: Room, web: httpx.Client) -> None:
    """A link in a chat: the browser sends the SameSite=Strict cookie only when our own page requests the page again."""
    led = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    first = web.get("/troubles/1", headers=led)
    assert 'http-equiv="refresh" content="0"' in first.text
    assert "Room temperature" not in first.text
    second = web.get("/troubles/1", headers={**led, "sec-fetch-site": "same-origin"})
    assert "Room temperature" in second.text


# ---- reading ----


READS = [
    "/",
    "/devices",
    "/devices/ups-1",
    "/troubles",
    "/troubles/1",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/api/v1/duty",
]


def test_reading_is_open_on_the_loopback_only(room: Room, web: httpx.Client) -> None:
    closed = build_app(room.runtime, room.ingest, room.metrics, ["watch.example"], open_reading=False)
    person = bearer(room)
    with browser(closed, "https://watch.example") as stranger:
        for path in READS:
            assert web.get(path).status_code == 200, path
            assert stranger.get(path).status_code == 401, path
            assert stranger.get(path, headers=person).status_code == 200, path
        assert stranger.get("/healthz").status_code == 200
        assert stranger.get("/static/watch.css").status_code == 200
        assert stranger.get(f"/enter?ticket={ticket(room)}").status_code == 303
        assert stranger.get("/devices").status_code == 200


def test_a_page_that_needs_a_person_says_how_to_sign_in(room: Room) -> None:
    closed = build_app(room.runtime, room.ingest, room.metrics, ["watch.example"], open_reading=False)
    with browser(closed, "https://watch.example") as stranger:
        page = words(stranger.get("/troubles/1").text)
        assert "Sign in This page is only for persons in contacts.yml. Open a sign-in link" in page
        assert "run on the collector's machine: watchkeeper collector link PERSON" in page
        assert "登录 本页面仅供 contacts.yml 中的人员查看。" in words(stranger.get("/?lang=zh").text)


def test_a_form_that_is_refused_says_what_to_do(room: Room, web: httpx.Client) -> None:
    enter(room, web)
    page = words(web.post("/troubles/1/acknowledge", data={"csrf": "0" * 64}).text)
    assert "Forbidden the CSRF token is missing or belongs to another session; load the page again" in page
    assert "Nothing was changed." in page
    refused = web.post("/api/v1/troubles/1/acknowledge", json={}).json()
    assert refused["error"].startswith("forbidden: the CSRF token is missing")


def test_only_our_own_host_names_are_served(web: httpx.Client) -> None:
    for host in ("evil.example", "evil.example:8760", "127.0.0.1.evil.example", ""):
        response = web.get("/", headers={"host": host})
        assert response.status_code == 421, host
        assert "hosts" in response.text
    for host in ("127.0.0.1:8760", "localhost", "LOCALHOST:1", "[::1]:8760", "[::1]", "watch.example"):
        assert web.get("/healthz", headers={"host": host}).status_code == 200, host


def guarded(response: httpx.Response) -> bool:
    policy = response.headers["content-security-policy"]
    return (
        "default-src 'self'" in policy
        and "unsafe" not in policy
        and response.headers["x-frame-options"] == "DENY"
        and response.headers["x-content-type-options"] == "nosniff"
        and response.headers["referrer-policy"] == "same-origin"
    )


def test_every_page_has_the_security_headers(web: httpx.Client) -> None:
    for path in (*READS, "/nowhere", "/static/watch.js", "/enter"):
        response = web.get(path)
        assert guarded(response), path
        if not path.startswith("/static"):
            assert response.headers["cache-control"] == "no-store"
    assert guarded(web.get("/", headers={"host": "evil.example"}))


def test_pages_need_nothing_from_outside(web: httpx.Client) -> None:
    for path in READS:
        text = web.get(path).text
        assert not re.search(r"""(?:src|href|action)=["'](?:https?:)?//""", text), path
        assert " style=" not in text, path
        assert not re.search(r"<script(?! src=)|\son\w+=", text), f"the policy forbids scripts in the page: {path}"


def test_a_body_too_large_is_not_read(room: Room, web: httpx.Client) -> None:
    assert web.post("/troubles/1/acknowledge", content=b"x" * (BODY_LIMIT + 1)).status_code == 413

    def drops() -> Iterator[bytes]:
        for _ in range(3):
            yield b"x" * (BODY_LIMIT // 2)

    assert web.post("/troubles/1/acknowledge", content=drops()).status_code == 413


def test_agents_go_straight_to_the_ingest(web: httpx.Client) -> None:
    response = web.post("/v1/push", content=b"{}", headers={"host": "any.name"})
    assert response.status_code == 401
    assert "content-security-policy" not in response.headers
