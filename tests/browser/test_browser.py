"""The pages in a real browser, over real HTTP: entering by the one-time link, clicking, with and without JavaScript."""

import contextlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chromium import PROGRAM, Chromium
from tests.collector_room import Room, serving
from watchkeeper.collector.access import tokens
from watchkeeper.collector.access.tokens import TokenKind
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
        room.heat()
        room.climb()
        room.deliver()
        room.clock.advance(245)
        yield room


@pytest.fixture
def url(room: Room, browser: Chromium) -> Iterator[str]:
    with serving(room.front) as url:
        yield url
        browser.ask("Page.navigate", url="about:blank")


def ticket(room: Room) -> str:
    return tokens.mint(room.store, TokenKind.TICKET, "sun.tao", room.clock.wall(), 3600.0)


@contextlib.contextmanager
def elsewhere(page: str) -> Iterator[str]:
    """Another site (`localhost` is another than 127.0.0.1 to a browser) with one page."""

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
    """Enter, say that one is working on it, give up, and see the owner told: also where JavaScript is off."""
    browser.resize(390, 844)
    browser.ask("Emulation.setScriptExecutionDisabled", value=not scripts)
    secret = ticket(room)
    browser.open(f"{url}/enter?ticket={secret}")
    browser.until_reads("孙涛 Leave")
    assert secret not in browser.run("location.href")
    assert "Unresolved for 4:0" in browser.text()
    assert "Next rung 5:5" in browser.text()
    browser.click("I am working on it")
    browser.until_reads("Acknowledged 孙涛 03:04:05")
    browser.click("Cannot be resolved …")
    browser.click("Escalate now")
    browser.until_reads("Escalated by hand: owner")
    room.deliver()
    browser.open(f"{url}/incidents/1")
    assert "owner ✓ 03:04:05 · 孙涛 王磊 ✓ delivered" in browser.text()
    browser.open(f"{url}/enter?ticket={secret}")
    assert "This link was used already" in browser.text()
    browser.open(url)
    browser.click("Leave")
    browser.until_reads("You are only reading")
    browser.ask("Emulation.setScriptExecutionDisabled", value=False)


def test_a_link_in_a_chat_opens_the_page_as_oneself(room: Room, url: str, browser: Chromium) -> None:
    """SameSite=Strict or not."""
    browser.open(f"{url}/enter?ticket={ticket(room)}")
    with elsewhere(f'<a href="{url}/incidents/1">incident 1</a>') as chat:
        browser.open(chat)
        browser.click("incident 1")
        browser.until_reads("孙涛 Leave")
        assert "Room temperature out of range" in browser.text()


def test_a_form_of_another_site_does_nothing(room: Room, url: str, browser: Chromium) -> None:
    browser.open(f"{url}/enter?ticket={ticket(room)}")
    with elsewhere(f'<form method="post" action="{url}/incidents/1/acknowledge"><button>Win</button></form>') as evil:
        browser.open(evil)
        browser.click("Win")
        browser.until_reads("Who are you?")
    browser.open(f"{url}/incidents/1")
    assert "Acknowledged –" in browser.text()


def test_the_clocks_run_and_a_change_comes_by_itself(room: Room, url: str, browser: Chromium) -> None:
    browser.resize(1280, 900)
    browser.open(f"{url}/?lang=en")
    browser.until("document.querySelector('[data-since]').textContent >= '4:06'")
    room.say("crac-1", "device.alarm", Level.WARNING, Evidence("device.alarm", "warning", "is warning"))
    room.clock.advance(2)
    browser.until_reads("Device reports an alarm of its own")
    browser.until_reads("Open incidents: 2")


def test_an_opened_form_is_not_taken_away(room: Room, url: str, browser: Chromium) -> None:
    browser.open(f"{url}/enter?ticket={ticket(room)}")
    browser.click("Cannot be resolved …")
    room.say("crac-1", "device.alarm", Level.WARNING, Evidence("device.alarm", "warning", "is warning"))
    room.clock.advance(2)
    browser.until_reads("Something has changed since.")
    assert "Escalate now" in browser.text()


def test_a_collector_that_is_gone_is_seen_to_be_gone(room: Room, browser: Chromium) -> None:
    with serving(room.front) as url:
        browser.open(f"{url}/?lang=en")
    browser.until_reads("The collector does not answer. What you see is old.")


def test_nothing_is_wider_than_a_phone(room: Room, url: str, browser: Chromium) -> None:
    room.read_everything()
    browser.resize(360, 740)
    for path in ("/?lang=en", "/incidents/1", "/devices", "/devices/ups-1", "/incidents", "/docs", "/?lang=zh"):
        browser.open(url + path)
        assert browser.run("document.documentElement.scrollWidth") <= 360, path
