"""The page at 03:00, on a phone: 1 or 300 troubles, two taps, and what stays when the page renews itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.browser.test_browser import elsewhere, ticket
from tests.chromium import PROGRAM, Chromium
from tests.collector_room import Room, serving
from tests.phone_room import PHONE, accessibility_faults, break_many, broken_tokens, seen_without_scrolling
from watchkeeper.collector.process import actions
from watchkeeper.collector.store.schema import transition, trouble
from watchkeeper.collector.web.app import build_app
from watchkeeper.model.verdict import Evidence, Level

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs chromium on PATH (Debian: chromium)")

TEXTS = {
    "en": ("I am working on it", "I am on site", "On site 孙涛"),
    "zh": ("我在处理", "我在现场", "到达现场 孙涛"),
}
ALARM = Evidence("device.alarm", "warning", "is warning")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("phone")) as browser:
        yield browser


@pytest.fixture(autouse=True)
def phone(browser: Chromium) -> None:
    browser.resize(*PHONE)
    browser.ask("Network.clearBrowserCookies")
    browser.ask("Emulation.setEmulatedMedia", features=[])


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with Room(tmp_path) as room:
        room.give_phones()
        room.heat()
        room.read("sensor-cold-aisle", {("temperature.ambient", "", ""): 33.4}, every_s=30)
        room.decide_rungs()
        room.deliver()
        room.clock.advance(20)
        yield room


@pytest.fixture
def url(room: Room, browser: Chromium) -> Iterator[str]:
    with serving(room.front) as url:
        yield url
        browser.ask("Page.navigate", url="about:blank")


def link_of(room: Room) -> str:
    return room.sent[0].text.splitlines()[-1].removeprefix("https://watch.example")


def enter(room: Room, browser: Chromium, url: str, language: str = "en") -> None:
    browser.open(f"{url}/enter?ticket={ticket(room)}")
    browser.open(f"{url}/?lang={language}")


def alarm(room: Room, device: str = "crac-1") -> None:
    room.say(device, "device.alarm", Level.WARNING, ALARM)
    room.clock.advance(2)


# ---- two taps ----


@pytest.mark.parametrize("language", ["en", "zh"])
def test_from_the_message_to_on_site_in_two_taps_without_a_sign_in(
    room: Room, browser: Chromium, language: str
) -> None:
    """Nothing can be read without a person. The first tap is on the link, the second one on a button that is in sight."""
    working, button, after = TEXTS[language]
    front = build_app(room.runtime, room.ingest, room.metrics, [], open_reading=False)
    browser.ask("Emulation.setUserAgentOverride", userAgent="phone", acceptLanguage=language)
    with serving(front) as url:
        link = url + link_of(room)
        with elsewhere(f'<a href="{link}">{link}</a>') as chat:
            browser.open(chat)
            browser.click(link)
            browser.until("document.readyState === 'complete' && document.querySelector('.bar') !== null")
            assert seen_without_scrolling(browser, working)
            assert seen_without_scrolling(browser, button)
            assert "33.4 °C" in browser.text(), "the value now, beside the one that began it"
            assert "31.5 °C" in browser.text()
            assert broken_tokens(browser) == []
            browser.click(button)
            browser.until_reads(after)
        browser.ask("Page.navigate", url="about:blank")
    with room.store.read() as connection:
        last = connection.execute(sa.select(transition).order_by(transition.c.id.desc())).first()
    assert last is not None
    assert (last.kind, last.by) == ("on-site", "person:sun.tao")


# ---- 1 and 300 troubles ----


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_worst_of_three_hundred_troubles_is_on_the_first_screen(
    room: Room, url: str, browser: Chromium, language: str
) -> None:
    break_many(room, 300)
    actions.acknowledge(room.runtime.notifier(), 2, "wang.lei", room.clock.wall())
    enter(room, browser, url, language)
    assert "301" in browser.run("document.querySelector('h1').innerText")
    assert browser.run("document.querySelectorAll('#part-waiting article.card').length") == 3
    assert browser.run("document.querySelectorAll('#part-waiting .group').length") == 3
    assert browser.run("document.querySelectorAll('#part-waiting .group li').length") == 297
    assert browser.run("document.querySelector('article.card').dataset.trouble") == "1", "critical, and the oldest"
    assert browser.run("document.querySelector('#part-working article').dataset.trouble") == "2"
    first = browser.run("document.querySelector('article.card').getBoundingClientRect().bottom")
    assert first <= PHONE[1]
    assert seen_without_scrolling(browser, TEXTS[language][1])
    assert browser.run("document.documentElement.scrollHeight") < 5 * PHONE[1]
    assert browser.run("document.documentElement.scrollWidth") <= PHONE[0]
    assert broken_tokens(browser) == []


def test_every_trouble_of_a_group_can_be_opened(room: Room, url: str, browser: Chromium) -> None:
    break_many(room, 30)
    enter(room, browser, url)
    browser.run("document.querySelector('.group summary').click()")
    browser.click(browser.run("document.querySelector('.group[open] li a').innerText"))
    browser.until("location.pathname.startsWith('/troubles/')")
    assert "Device unreachable" in browser.text()


def test_many_troubles_are_answered_by_two_taps_but_none_that_was_not_seen(
    room: Room, url: str, browser: Chromium
) -> None:
    break_many(room, 30)
    enter(room, browser, url)
    browser.run("document.querySelector('.group summary').click()")
    boxes = "document.querySelectorAll('.group[open] input[type=checkbox]').length"
    before = browser.run(boxes)
    assert before > 1
    room.clock.advance(2)
    break_many(room, 12, first=30)
    browser.until(f"{boxes} > {before}")
    assert browser.run("document.querySelectorAll('.group[open] input:checked').length") == before
    browser.click("I am working on them")
    browser.until("document.body.innerText.includes('Acknowledged: ')")
    with room.store.read() as connection:
        taken = sa.select(sa.func.count()).select_from(trouble).where(trouble.c.acknowledged_by == "sun.tao")
        assert connection.execute(taken).scalar_one() == before


def test_a_quiet_trouble_is_last(room: Room, url: str, browser: Chromium) -> None:
    alarm(room)
    room.heat(Level.OK, 22.0)
    enter(room, browser, url)
    assert browser.run("[...document.querySelectorAll('.part')].map(one => one.id)") == ["part-waiting", "part-quiet"]
    assert browser.run("document.querySelector('#part-quiet article').dataset.trouble") == "1"


@pytest.mark.parametrize("width", [320, 390])
def test_nothing_is_wider_than_the_screen_and_no_value_is_broken(
    room: Room, url: str, browser: Chromium, width: int
) -> None:
    room.read_everything()
    browser.resize(width, 844)
    enter(room, browser, url)
    for path in ("/", "/troubles/1", "/troubles", "/devices", "/devices/ups-1", link_of(room)):
        browser.open(url + path)
        browser.run("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert browser.run("document.documentElement.scrollWidth") <= width, path
        assert broken_tokens(browser) == [], path


# ---- the page renews itself ----


def test_focus_text_and_opened_parts_stay_when_the_page_renews_itself(room: Room, url: str, browser: Chromium) -> None:
    enter(room, browser, url)
    browser.run("document.querySelector('.more').open = true")
    browser.run("document.querySelector('.more [data-key=comment]').open = true")
    browser.run("document.querySelector('.more [data-key=comment] input[name=note]').focus()")
    browser.ask("Input.insertText", text="the fan")
    browser.run("document.activeElement.setSelectionRange(4, 7)")
    alarm(room)
    browser.until_reads("Open troubles: 2")
    field = "document.activeElement"
    assert browser.run(f"[{field}.name, {field}.value, {field}.selectionStart, {field}.selectionEnd]") == [
        "note", "the fan", 4, 7,
    ]  # fmt: skip
    assert browser.run("document.querySelector('.more').open")
    browser.ask("Input.insertText", text="compressor")
    browser.run(f"{field}.form.requestSubmit()")
    browser.until_reads("Comment: the compressor")


def test_a_text_that_is_marked_stays_marked(room: Room, url: str, browser: Chromium) -> None:
    enter(room, browser, url)
    browser.run("getSelection().selectAllChildren(document.querySelector('#card-1 h2'))")
    browser.run("document.querySelector('#card-1 h2 a').focus()")
    alarm(room)
    browser.until_reads("Open troubles: 2")
    assert browser.run("getSelection().toString()") == "Room temperature out of range"
    assert browser.run("document.activeElement.getAttribute('href')") == "/troubles/1"


def test_a_note_is_kept_although_its_form_is_no_longer_there(room: Room, url: str, browser: Chromium) -> None:
    """The fault ends while somebody writes why he escalates it."""
    enter(room, browser, url)
    browser.open(f"{url}/troubles/1")
    browser.click("Cannot be resolved …")
    browser.run("document.querySelector('[data-key=escalate] input[name=note]').focus()")
    browser.ask("Input.insertText", text="no cold air")
    room.heat(Level.OK, 22.0)
    room.clock.advance(2)
    browser.until_reads("There is new information.")
    assert "no fault now" in browser.text()
    assert browser.run("document.activeElement.value") == "no cold air"


def test_the_focus_follows_a_trouble_into_another_part(room: Room, url: str, browser: Chromium) -> None:
    alarm(room)
    enter(room, browser, url)
    browser.run("document.querySelector('#card-1 button').focus()")
    actions.acknowledge(room.runtime.notifier(), 1, "wang.lei", room.clock.wall())
    room.clock.advance(2)
    browser.until("document.querySelector('#part-working #card-1') !== null")
    assert browser.run("document.activeElement.getAttribute('href')") == "/troubles/1"


def test_the_place_on_the_page_stays(room: Room, url: str, browser: Chromium) -> None:
    for device in ("ups-1", "sensor-hot-aisle"):
        alarm(room, device)
    enter(room, browser, url)
    browser.run("scrollTo(0, document.querySelector('#card-3').getBoundingClientRect().top - 5)")
    before = browser.run("document.querySelector('#card-3').getBoundingClientRect().top")
    room.say("crac-1", "device.not-answering", Level.CRITICAL, Evidence("device.answering", "no", "is no"))
    room.clock.advance(2)
    browser.until_reads("Open troubles: 4")
    after = browser.run("document.querySelector('#card-3').getBoundingClientRect().top")
    assert abs(after - before) < 2, (before, after)


def test_a_screen_reader_is_told_of_news_once(room: Room, url: str, browser: Chromium) -> None:
    enter(room, browser, url)
    region = "document.getElementById('news').textContent"
    assert browser.run(f"[{region}, document.getElementById('news').getAttribute('role')]") == ["", "status"]
    browser.run(
        f"window.said = []; new MutationObserver(() => said.push({region}))"
        ".observe(document.getElementById('news'), {childList: true, subtree: true, characterData: true}); 0"
    )
    alarm(room)
    browser.until_reads("Open troubles: 2")
    actions.acknowledge(room.runtime.notifier(), 1, "wang.lei", room.clock.wall())
    room.clock.advance(2)
    browser.until("document.querySelector('#part-working #card-1') !== null")
    room.read("sensor-cold-aisle", {("temperature.ambient", "", ""): 34.0}, every_s=30)
    room.clock.advance(12)
    browser.until_reads("34 °C")
    assert browser.run("window.said") == [
        "New trouble: warning, Device reports an alarm, crac-1",
        "critical, Room temperature out of range, sensor-cold-aisle, acknowledged by 王磊",
    ]


# ---- everybody ----


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(room: Room, url: str, browser: Chromium, language: str, scheme: str) -> None:
    break_many(room, 12)
    actions.acknowledge(room.runtime.notifier(), 1, "wang.lei", room.clock.wall())
    room.read_everything()
    browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    enter(room, browser, url, language)
    for path in (
        "/",
        "/troubles/1",
        "/troubles/2",
        "/troubles",
        "/devices",
        "/devices/ups-1",
        "/sign-in",
        link_of(room),
    ):
        browser.open(url + path)
        browser.run("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert accessibility_faults(browser) == [], path
