"""What people see: the pages, without JavaScript, in English and Chinese."""

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.collector_room import Room, browser, csrf, enter, words
from watchkeeper.collector.process import actions
from watchkeeper.collector.process.apply import apply_events
from watchkeeper.collector.site.inventory import Ladders, StopsAt
from watchkeeper.model.reading import Missing, Reason
from watchkeeper.model.verdict import Evidence, Level, Verdict

SENSOR = {
    ("device.answering", "", ""): "yes", ("temperature.ambient", "", ""): 31.5, ("humidity.relative", "", ""): 45.0,
}  # fmt: skip


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with Room(tmp_path) as room:
        yield room


@pytest.fixture
def web(room: Room) -> Iterator[httpx.Client]:
    with browser(room.front) as client:
        yield client


# ---- the overview ----


def test_a_room_without_troubles(room: Room, web: httpx.Client) -> None:
    page = words(web.get("/").text)
    assert "No open troubles" in page
    assert "2026-11-21 03:00:00 UTC+08:00" in page  # the site's time and its offset
    assert "孙涛 138 0000 0004 night · since 2026-11-20 17:00:00" in page
    assert "Handover 08:30:00 (in 5:30:00 ): 李娜, day" in page
    assert "room-1 ✗ no data yet" in page
    assert "You are not signed in and can only read." in page


def test_an_open_trouble_with_its_escalation(room: Room, web: httpx.Client) -> None:
    room.heat()
    room.decide_rungs()
    room.deliver()
    room.clock.advance(minutes=12)
    room.decide_rungs()
    room.deliver("wang.lei")
    page = words(web.get("/").text)
    assert "Open troubles: 1" in page
    assert "critical Room temperature out of range" in page
    assert "sensor-cold-aisle · 冷通道" in page
    assert "Room temperature: 31.5 °C (outside 18 .. 27 °C)" in page
    assert "Unresolved for 12:00 since 03:00:00" in page
    assert "Current level owner" in page
    assert "Next level 8:00 on-site" in page  # the time until then
    assert "duty ✓ 03:00:00 孙涛 ✓ handed over 03:00:00 · console" in page
    assert "owner ✓ 03:12:00 王磊 ✗ not delivered yet · console: HTTP 503" in page
    assert "on-site in 8:00 · 03:20:00 王磊 周刚" in page
    assert "vendor 04:00:00 赵敏" in page
    assert "Acknowledgement – not acknowledged" in page


def test_only_a_signed_in_person_has_buttons(room: Room, web: httpx.Client) -> None:
    room.heat()
    assert "I am working on it" not in words(web.get("/").text)
    enter(room, web)
    page = words(web.get("/").text)
    assert "I am working on it" in page
    assert "Cannot be resolved … Escalate to level “duty” now. These people are notified: 孙涛" in page
    assert "Resolve by hand" not in page, "its verdict is still bad"
    assert "You are not signed in" not in page


def test_acknowledge_and_escalate_by_form(room: Room, web: httpx.Client) -> None:
    room.heat()
    room.decide_rungs()
    enter(room, web)
    token = csrf(web.get("/").text)
    assert web.post("/troubles/1/acknowledge", data={"csrf": token}).status_code == 303
    assert web.post("/troubles/1/escalate", data={"csrf": token, "note": "fan is dead"}).status_code == 303
    page = words(web.get("/troubles/1").text)
    assert "Acknowledgement 孙涛 03:00:00" in page
    assert "owner ✓ 03:00:00 · 孙涛" in page
    assert "Escalated by hand : owner: fan is dead 孙涛" in page
    assert "Next level 20:00 on-site" in page, "later levels keep their own times"


def test_a_trouble_that_cannot_be_judged_is_resolved_by_hand(room: Room, web: httpx.Client) -> None:
    room.heat()
    enter(room, web)
    token = csrf(web.get("/").text)
    refused = web.post("/troubles/1/resolve", data={"csrf": token})
    assert refused.status_code == 409
    assert "the latest verdict is still critical" in words(refused.text)
    room.say("sensor-cold-aisle", "environment.temperature", Level.UNKNOWN, gone())
    page = words(web.get("/").text)
    assert "cannot be judged now" in page
    assert "Resolve by hand" in page
    assert web.post("/troubles/1/resolve", data={"csrf": token, "note": "seen with my own eyes"}).status_code == 303
    assert "No open troubles" in words(web.get("/").text)


def gone() -> Evidence:
    return Evidence("temperature.ambient", Missing(Reason.TIMEOUT, "no answer in 2 s"))


def test_critical_comes_before_warning_and_old_before_new(room: Room, web: httpx.Client) -> None:
    for device in ("ups-1", "crac-1"):
        room.say(device, "device.alarm", Level.WARNING, Evidence("device.alarm", "warning", "is warning"))
        room.clock.advance(60)
    room.heat()
    page = web.get("/").text
    places = [page.index(f">{device}</a>") for device in ("sensor-cold-aisle", "ups-1", "crac-1")]
    assert places == sorted(places)


def test_the_last_level(room: Room, web: httpx.Client) -> None:
    room.heat()
    room.clock.advance(minutes=61)
    room.decide_rungs()
    page = words(web.get("/").text)
    assert "Next level – this is the last level" in page
    assert "Current level vendor" in page


def test_an_acknowledgement_that_stops_the_escalation(room: Room, web: httpx.Client) -> None:
    snapshot = room.runtime.snapshot
    ladders = tuple(replace(one, stops_at=StopsAt.ACKNOWLEDGED) for one in snapshot.configuration.ladders.ladders)
    changed = replace(snapshot.configuration, ladders=Ladders(ladders))
    room.runtime.activate(replace(snapshot, configuration=changed))
    room.heat()
    room.decide_rungs()
    actions.acknowledge(room.runtime.notifier(), 1, "sun.tao", room.clock.wall())
    page = words(web.get("/").text)
    assert "Current level duty Next level – stopped by the acknowledgement" in page
    assert "03:10:00" not in page, "the time of a level that will not come"


def test_a_level_that_is_due(room: Room, web: httpx.Client) -> None:
    room.heat()
    page = words(web.get("/").text)
    assert "duty due now · 03:00:00" in page


def test_errors_in_the_configuration_are_shown_on_every_page(room: Room, web: httpx.Client) -> None:
    room.runtime.problem = "inventory.yml:3:5: no such <person>"
    for path in ("/", "/devices", "/troubles"):
        page = web.get(path).text
        assert "inventory.yml:3:5: no such &lt;person&gt;" in page
        assert "The configuration has errors; the previous configuration stays active." in page


# ---- foreign texts are no markup ----


def test_what_agents_and_people_write_is_never_markup(room: Room, web: httpx.Client) -> None:
    evil = "<script>alert(1)</script>"
    evidence = Evidence("disk.usage", 99.0, f"above {evil}", label=evil)
    room.say("app-server-1", "server.disk-full", Level.CRITICAL, evidence, instance=evil)
    room.read("app-server-1", {("disk.usage", evil, evil): Missing(Reason.FAULT, evil)})
    actions.acknowledge(room.runtime.notifier(), 1, "sun.tao", room.clock.wall(), evil)
    for path in ("/", "/troubles/1", "/troubles", "/devices", "/devices/app-server-1", "/?lang=zh"):
        text = web.get(path).text
        assert "<script>alert" not in text, path
        assert "alert(1)" in text, path


# ---- one trouble, and past troubles ----


def test_the_timeline_has_everything_in_order(room: Room, web: httpx.Client) -> None:
    room.heat(Level.WARNING, 23.6)
    room.decide_rungs()
    room.deliver()
    room.clock.advance(minutes=3)
    room.heat(Level.CRITICAL)
    actions.acknowledge(room.runtime.notifier(), 1, "sun.tao", room.clock.wall(), "on my way")
    room.clock.advance(minutes=2)
    room.heat(Level.OK, 22.0)
    room.clock.advance(61)
    room.decide_rungs()
    room.deliver()
    page = words(web.get("/troubles/1").text)
    order = [
        "03:00:00 Fault began (warning) agent room-1", "03:00:00 Escalated to: duty automatic", "Notification (duty) 孙涛",
        "✓ handed over · console: accepted 孙涛", "03:03:00 Became critical agent room-1", "Acknowledged : on my way 孙涛",
        "Notification: became critical 孙涛", "03:05:00 Resolved agent room-1", "03:06:01 Notification: recovered 孙涛",
    ]  # fmt: skip
    places = [page.index(text) for text in order]
    assert places == sorted(places)
    assert "resolved Room temperature out of range" in page
    assert "Lasted 5 min since 03:00:00" in page
    assert "Check that the air conditioners run" in page
    assert "Regulation: 3.6, 4.2.5.1" in page
    assert "Maintenance vendor: 精密空调维保服务商" in page


def test_a_trouble_has_its_latest_reading(room: Room, web: httpx.Client) -> None:
    for value in (23.0, 27.5, 31.5, 33.0):
        room.read("sensor-cold-aisle", {**SENSOR, ("temperature.ambient", "", ""): value}, every_s=15.0)
        room.clock.advance(15)
    room.heat(value=31.5)
    text = web.get("/troubles/1").text
    assert "Latest reading 33 °C 15 s ago" in words(text)
    assert text.count("<polyline") == 1


def test_a_trouble_says_why_its_device_is_unreachable(room: Room, web: httpx.Client) -> None:
    why = Missing(Reason.REFUSED, "no secret called `room-community`")
    room.read("ups-1", {("device.answering", "", ""): "no", ("uptime", "", ""): why})
    room.say("ups-1", "device.not-answering", Level.CRITICAL, Evidence("device.answering", "no", "is no"))
    page = words(web.get("/troubles/1").text)
    assert "Reachability: unreachable Latest reading unreachable 0 s ago access refused: no secret called" in page


def test_past_troubles_newest_first_page_by_page(
    room: Room, web: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watchkeeper.collector.web.pages.TROUBLES_PER_PAGE", 2)
    monkeypatch.setattr("watchkeeper.collector.web.pages.LISTED", 2)
    for device in ("ups-1", "crac-1", "sensor-hot-aisle"):
        room.say(device, "device.alarm", Level.WARNING, Evidence("device.alarm", "warning"))
    first = web.get("/troubles").text
    assert re.findall(r'<td class="number"><a href="/troubles/(\d+)">', first) == ["3", "2"]
    assert re.findall(r'<td class="number"><a href="/troubles/(\d+)">', web.get("/troubles?before=2").text) == ["1"]
    assert 'href="/troubles?before=2"' in first
    assert "Only the first 2 are shown" in words(web.get("/").text)


NO_PAGES = ("/troubles/99", "/incidents/99", "/devices/nothing", "/nowhere", "/troubles/99/acknowledge")


@pytest.mark.parametrize("path", NO_PAGES)
def test_an_address_that_does_not_exist(web: httpx.Client, path: str) -> None:
    response = web.get(path)
    assert "<html" in response.text
    if path.endswith("acknowledge"):
        assert (response.status_code, "Method not allowed" in words(response.text)) == (405, True)
    else:
        assert (response.status_code, "Not found" in words(response.text)) == (404, True)


# ---- devices ----


def test_devices_show_values_ages_and_why_one_is_missing(room: Room, web: httpx.Client) -> None:
    room.read(
        "ups-1",
        {
            ("device.answering", "", ""): "yes", ("output.source", "", ""): "mains", ("battery.charge", "", ""): 97.0,
            ("battery.runtime", "", ""): 2400.0, ("input.voltage", "1", "phase 1"): Missing(Reason.IMPLAUSIBLE, "6553 V"),
        },
    )  # fmt: skip
    room.clock.advance(12)
    page = words(web.get("/devices").text)
    assert "ups-1 UPS · 配电间 Reachability reachable Output source mains Battery charge 97 %" in page
    assert "Battery runtime left 40 min" in page
    assert "Input voltage phase 1 no reading: implausible value 6553 V 12 s ago" in page
    assert "sensor-hot-aisle Environment · 热通道 No reading yet." in page
    assert "STALE" not in page


def test_the_overview_of_a_small_room_has_its_devices(
    room: Room, web: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.read("ups-1", {("battery.charge", "", ""): 97.0})
    assert "ups-1 UPS · 配电间 Battery charge 97 % 0 s ago" in words(web.get("/").text)
    monkeypatch.setattr("watchkeeper.collector.web.pages.OVERVIEW_DEVICES", 1)
    assert "Battery charge" not in words(web.get("/").text)


def test_an_old_frame_is_stale_by_its_own_interval(room: Room, web: httpx.Client) -> None:
    room.read("sensor-cold-aisle", SENSOR, every_s=15.0)
    room.read("ups-1", {("battery.charge", "", ""): 97.0}, every_s=30.0)
    room.clock.advance(46)
    room.push_nothing()
    page = words(web.get("/devices").text)
    assert "Room temperature last value 31.5 °C Relative humidity last value 45 % STALE · 46 s ago" in page
    assert "Battery charge 97 % 46 s ago" in page


def test_everything_of_a_silent_agent_is_stale(room: Room, web: httpx.Client) -> None:
    room.read("ups-1", {("battery.charge", "", ""): 97.0}, every_s=300.0)
    room.clock.advance(46)  # three of the agent's intervals, of 15 s
    for path in ("/devices", "/devices/ups-1"):
        page = words(web.get(path).text)
        assert "No data from agent room-1: these values are not current." in page
        assert "STALE · 46 s ago" in page
    assert "room-1 ✗ NO DATA for 46 s" in words(web.get("/").text)


def test_a_device_has_sparklines(room: Room, web: httpx.Client) -> None:
    for value in (22.0, 24.0, 23.0):
        room.read("sensor-cold-aisle", {**SENSOR, ("temperature.ambient", "", ""): value}, every_s=15.0)
        room.clock.advance(15)
    text = web.get("/devices/sensor-cold-aisle").text
    assert text.count('<svg class="spark"') == 3
    assert "Room temperature 23 °C 22 °C – 24 °C" in words(text)


def test_poll_now(room: Room, web: httpx.Client) -> None:
    room.read("ups-1", {("battery.charge", "", ""): 97.0})
    enter(room, web)
    page = web.get("/devices/ups-1").text
    response = web.post("/devices/ups-1/poll", data={"csrf": csrf(page)})
    assert (response.status_code, response.headers["location"]) == (303, "/devices/ups-1?asked=yes")
    room.requests.refresh()
    assert room.requests.take("room-1") == [{"kind": "poll-now", "device": "ups-1"}]
    assert "Requested. The agent polls the device after its next push." in words(
        web.get("/devices/ups-1?asked=yes").text
    )


# ---- languages ----


def test_the_language_is_chosen_kept_and_negotiated(room: Room, web: httpx.Client) -> None:
    room.heat()
    chinese, english = "未解决故障：1", "Open troubles: 1"
    assert english in words(web.get("/").text)
    assert chinese in words(web.get("/", headers={"accept-language": "zh-CN,zh;q=0.9,en;q=0.8"}).text)
    assert english in words(web.get("/", headers={"accept-language": "zh;q=0.2,en;q=0.8,;q=x"}).text)
    assert english in words(web.get("/?lang=xx").text)
    asked = web.get("/?lang=zh")
    assert '<html lang="zh">' in asked.text
    assert chinese in words(web.get("/").text), "the cookie keeps it"
    assert english in words(web.get("/?lang=en").text)
    assert english in words(web.get("/", headers={"accept-language": "zh"}).text)


def test_an_engineer_reads_chinese(room: Room, web: httpx.Client) -> None:
    room.heat()
    room.decide_rungs()
    room.deliver()
    page = words(web.get("/?lang=zh").text)
    for text in (
        "严重 机房温度超出范围",
        "机房温度： 31.5 °C （超出 18 .. 27 °C）",
        "值班人员 ✓ 03:00:00 孙涛 ✓ 已交付",
        "立即到场",
        "维保服务商",
    ):
        assert text in page
    assert "检查精密空调是否运行" in words(web.get("/troubles/1").text)
    assert "未找到" in words(web.get("/troubles/99").text)


def test_a_state_has_the_right_word_for_each_quantity(room: Room, web: httpx.Client) -> None:
    """Chinese has one word for an open door and another for an open breaker."""
    room.read(
        "ups-1", {("breaker.state", "", ""): "open", ("door", "", ""): "open", ("contact.state", "", ""): "closed"}
    )
    assert "断路器状态 断开 门状态 打开 干接点状态 闭合" in words(web.get("/devices/ups-1?lang=zh").text)
    assert "Breaker state open (off) Door open" in words(web.get("/devices/ups-1?lang=en").text)


# ---- links ----


def test_every_link_leads_somewhere(room: Room, web: httpx.Client) -> None:
    """Also from troubles of an agent or of the collector, which are not devices."""
    room.read_everything()
    room.heat()
    for device, rule in (("room-1", "watchkeeper.agent-silent"), ("collector", "watchkeeper.disk-full")):
        verdict = Verdict(rule, device, rule, "", Level.CRITICAL, room.clock.wall(), Evidence("agent.heard", "no"))
        with room.store.write() as connection:
            apply_events(connection, room.runtime.notifier(), [("collector", verdict)], room.clock.wall())
    assert "No data from agent" in words(web.get("/").text)
    assert "Collector disk is full" in words(web.get("/").text)
    waiting, seen = ["/"], set[str]()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        response = web.get(path)
        assert response.status_code == 200, path
        if response.headers["content-type"].startswith("text/html"):
            found = {html.unescape(link) for link in re.findall(r'(?:href|src)="([^"#]+)"', response.text)}
            waiting += [link for link in found - seen - set(waiting) if link.startswith("/")]
    assert {"/devices/ups-1", "/troubles/1", "/static/watch.css", "/openapi.json"} <= seen
