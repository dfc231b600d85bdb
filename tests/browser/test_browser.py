"""The pages in a real browser, over real HTTP: signing in by the one-time link, clicking, with and without JavaScript."""

import contextlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.chromium import PROGRAM, Chromium
from tests.collector_room import Room, serving
from watchkeeper.collector.access import tokens
from watchkeeper.collector.access.tokens import TokenKind
from watchkeeper.collector.store.schema import transition
from watchkeeper.collector.web.app import CollectorApp, build_app
from watchkeeper.model.verdict import Evidence, Level

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs chromium on PATH (Debian: chromium)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def browser(folder: Path) -> Iterator[Chromium]:
    with Chromium(folder) as browser:
        yield browser


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with Room(tmp_path) as room:
        room.give_phones()
        room.heat()
        room.decide_rungs()
        room.deliver()
        room.clock.advance(245)
        yield room


@pytest.fixture
def url(room: Room, browser: Chromium) -> Iterator[str]:
    with serving(room.front) as url:
        yield url
        browser.ask("Page.navigate", url="about:blank")


@pytest.fixture
def front(room: Room) -> CollectorApp:
    """As on a network: nothing can be read without a person."""
    return build_app(room.runtime, room.ingest, room.metrics, [], open_reading=False)


def ticket(room: Room) -> str:
    return tokens.mint(room.store, TokenKind.TICKET, "sun.tao", room.clock.wall(), 3600.0)


@contextlib.contextmanager
def elsewhere(page: str) -> Iterator[str]:
    """Another site with one page. To a browser, `localhost` is another site than 127.0.0.1."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("scripts", [True, False])
def test_woken_at_three(room: Room, url: str, browser: Chromium, scripts: bool) -> None:
    """Sign in, acknowledge, escalate, and see that the owner is notified: also without JavaScript."""
    browser.resize(390, 844)
    browser.ask("Emulation.setScriptExecutionDisabled", value=not scripts)
    secret = ticket(room)
    browser.open(f"{url}/enter?ticket={secret}")
    browser.until_reads("孙涛 Sign out")
    assert secret not in browser.run("location.href")
    assert "Unresolved for 4:0" in browser.text()
    browser.click("I am working on it")
    browser.until_reads("Acknowledgement 孙涛 03:04:05")
    assert "Next level 5:5" in browser.text()
    browser.click("Cannot be resolved …")
    browser.click("Escalate now")
    browser.until_reads("Escalated by hand: owner")
    room.deliver()
    browser.open(f"{url}/troubles/1")
    assert "owner ✓ 03:04:05 · 孙涛 王磊 ✓ delivered" in browser.text()
    browser.open(f"{url}/enter?ticket={secret}")
    assert "This sign-in link was used already, or has expired" in browser.text()
    browser.open(url)
    browser.click("Sign out")
    browser.until_reads("You are not signed in and can only read.")
    browser.ask("Emulation.setScriptExecutionDisabled", value=False)


def test_a_link_in_a_chat_opens_the_page_signed_in(room: Room, url: str, browser: Chromium) -> None:
    """Although the cookie is SameSite=Strict."""
    browser.open(f"{url}/enter?ticket={ticket(room)}")
    with elsewhere(f'<a href="{url}/troubles/1">trouble 1</a>') as chat:
        browser.open(chat)
        browser.click("trouble 1")
        browser.until_reads("孙涛 Sign out")
        assert "Room temperature out of range" in browser.text()


def test_a_form_of_another_site_does_nothing(room: Room, url: str, browser: Chromium) -> None:
    browser.open(f"{url}/enter?ticket={ticket(room)}")
    with elsewhere(f'<form method="post" action="{url}/troubles/1/acknowledge"><button>Win</button></form>') as evil:
        browser.open(evil)
        browser.click("Win")
        browser.until_reads("Sign in")
    browser.open(f"{url}/troubles/1")
    assert "Acknowledgement –" in browser.text()


def test_timers_run_and_a_change_is_shown(room: Room, url: str, browser: Chromium) -> None:
    browser.resize(1280, 900)
    browser.open(f"{url}/?lang=en")
    browser.until("document.querySelector('[data-since]').textContent >= '4:06'")
    room.say("crac-1", "device.alarm", Level.WARNING, Evidence("device.alarm", "warning", "is warning"))
    room.clock.advance(2)
    browser.until_reads("Device reports an alarm")
    browser.until_reads("Open troubles: 2")


def test_an_opened_form_stays_open(room: Room, url: str, browser: Chromium) -> None:
    browser.open(f"{url}/enter?ticket={ticket(room)}")
    browser.run("document.querySelector('.more').open = true")
    browser.click("Cannot be resolved …")
    room.say("crac-1", "device.alarm", Level.WARNING, Evidence("device.alarm", "warning", "is warning"))
    room.clock.advance(2)
    browser.until_reads("Open troubles: 2")
    assert "Escalate now" in browser.text()


def test_a_page_says_that_the_collector_is_gone(room: Room, browser: Chromium) -> None:
    with serving(room.front) as url:
        browser.open(f"{url}/?lang=en")
    browser.until_reads("The collector does not answer. What you see is old.")


def test_no_page_is_wider_than_a_phone(room: Room, url: str, browser: Chromium) -> None:
    room.read_everything()
    browser.resize(360, 740)
    for path in ("/?lang=en", "/troubles/1", "/devices", "/devices/ups-1", "/troubles", "/docs", "/?lang=zh"):
        browser.open(url + path)
        assert browser.run("document.documentElement.scrollWidth") <= 360, path


PHONE = {
    "en": ("You act as {name} through the link in your message.", "I am working on it", "Still working on it"),
    "zh": ("您通过通知中的链接，以{name}的身份操作。", "我在处理", "仍在处理"),
}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_from_the_message_in_two_taps_without_a_sign_in(
    room: Room, front: CollectorApp, browser: Chromium, language: str
) -> None:
    """On a phone, and nothing can be read without a person. The first tap is on the link in the message."""
    banner, button, after = PHONE[language]
    message = room.sent[0]
    name = next(one.name for one in room.runtime.snapshot.configuration.contacts.people if one.person == message.person)
    browser.resize(390, 844)
    browser.ask("Network.clearBrowserCookies")
    browser.ask("Emulation.setUserAgentOverride", userAgent="phone", acceptLanguage=language)
    with serving(front) as url:
        link = url + message.text.splitlines()[-1].removeprefix("https://watch.example")
        with elsewhere(f'<a href="{link}">{link}</a>') as chat:
            browser.open(chat)
            browser.click(link)
            browser.until_reads(banner.format(name=name))
            browser.click(button)
            browser.until_reads(after)
        assert browser.run("document.cookie") == ""
        assert browser.run("document.documentElement.scrollWidth") <= 390
        assert browser.ask("Network.getCookies", urls=[url])["cookies"] == []
        room.clock.advance(86_400)
        browser.ask("Page.navigate", url="about:blank")
    with room.store.read() as connection:
        last = connection.execute(sa.select(transition).order_by(transition.c.id.desc())).first()
    assert last is not None
    assert (last.kind, last.by) == ("acknowledged", f"person:{message.person}")


def test_a_page_by_link_follows_changes_and_says_when_the_link_has_ended(
    room: Room, front: CollectorApp, browser: Chromium
) -> None:
    """Never that the collector does not answer."""
    path = room.sent[0].text.splitlines()[-1].removeprefix("https://watch.example")
    browser.ask("Emulation.setUserAgentOverride", userAgent="phone", acceptLanguage="en")
    with serving(front) as url:
        browser.open(url + path)
        browser.until_reads("You act as")
        room.heat(Level.OK, 22.0)
        room.clock.advance(61)
        room.decide_rungs()
        room.clock.advance(2)
        browser.until_reads("resolved Room temperature out of range")
        room.clock.advance(86_401)
        room.say("crac-1", "device.alarm", Level.WARNING, Evidence("device.alarm", "warning", "is warning"))
        room.clock.advance(2)
        browser.until_reads("Your sign-in or link has ended. What you see is old.")
        assert "The collector does not answer" not in browser.text()
        browser.ask("Page.navigate", url="about:blank")


def test_a_page_whose_session_has_ended_says_so(room: Room, front: CollectorApp, browser: Chromium) -> None:
    browser.ask("Emulation.setUserAgentOverride", userAgent="phone", acceptLanguage="en")
    with serving(front) as url:
        browser.open(f"{url}/enter?ticket={ticket(room)}")
        browser.until_reads("孙涛 Sign out")
        tokens.revoke(room.store, TokenKind.PERSON, "sun.tao")
        room.clock.advance(2)
        room.say("crac-1", "device.alarm", Level.WARNING, Evidence("device.alarm", "warning", "is warning"))
        browser.until_reads("Your sign-in or link has ended. What you see is old.")
        assert "The collector does not answer" not in browser.text()
        browser.click("Sign in again")
        browser.until_reads("Send me a new link")
        browser.ask("Page.navigate", url="about:blank")
