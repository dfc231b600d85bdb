"""Troubles in the API and on the pages: the incidents that belong together, and what a person sees while no fault is there."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.collector_room import NIGHT, Room, browser, words
from watchkeeper.collector.access import tokens
from watchkeeper.collector.access.tokens import TokenKind
from watchkeeper.collector.read import troubles as read_troubles
from watchkeeper.model.reading import Missing, Reason
from watchkeeper.model.verdict import Evidence, Level


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with Room(tmp_path) as room:
        yield room


@pytest.fixture
def web(room: Room) -> Iterator[httpx.Client]:
    with browser(room.front) as client:
        yield client


def enter(room: Room, web: httpx.Client) -> str:
    """Sign in. Returns the session's CSRF token."""
    ticket = tokens.mint(room.store, TokenKind.TICKET, "sun.tao", room.clock.wall(), 60.0)
    assert web.get(f"/enter?ticket={ticket}").status_code == 303
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', web.get("/").text)
    assert found
    return found[1]


def get(web: httpx.Client, path: str) -> Any:
    response = web.get(f"/api/v1/{path}")
    assert response.status_code == 200, response.text
    return response.json()


def silent(room: Room) -> None:
    no = Evidence("device.answering", "no", "is no")
    room.say("app-server-1", "device.not-answering", Level.CRITICAL, no)


def dark(room: Room, level: Level = Level.CRITICAL) -> None:
    room.say("ups-1", "power.output-off", level, Evidence("output.source", "none", "is none"))


# ---- the API ----


def test_troubles_by_state_and_page(room: Room, web: httpx.Client) -> None:
    for device in ("ups-1", "crac-1", "sensor-hot-aisle"):
        room.say(device, "device.alarm", Level.WARNING, Evidence("device.alarm", "warning"))
    room.say("crac-1", "device.alarm", Level.OK, Evidence("device.alarm", "ok"))
    open_now = get(web, "troubles")["troubles"]
    assert [(one["trouble"], one["quiet_since"]) for one in open_now] == [(3, None), (2, NIGHT), (1, None)]
    assert (open_now[1]["hold"], open_now[1]["next"]) == ({"reason": "quiet", "until": None}, None)
    assert open_now[1]["incidents_open"] == 0
    room.clock.advance(61)
    room.decide_rungs()
    assert [one["trouble"] for one in get(web, "troubles")["troubles"]] == [3, 1]
    (over,) = get(web, "troubles?state=resolved")["troubles"]
    assert (over["trouble"], over["hold"], over["next"]) == (2, {"reason": "ended", "until": None}, None)
    assert (over["ended_at"], over["quiet_since"], over["unresolved_s"]) == (NIGHT, None, 0.0)
    first = get(web, "troubles?state=all&limit=2")
    assert ([one["trouble"] for one in first["troubles"]], first["cursor"]) == ([3, 2], 2)
    second = get(web, f"troubles?state=all&limit=2&cursor={first['cursor']}")
    assert ([one["trouble"] for one in second["troubles"]], second["cursor"]) == ([1], None)


def test_a_trouble_names_its_cause_and_the_other_incidents(room: Room, web: httpx.Client) -> None:
    """Power is lost: the server behind the UPS is silent because of that. The sensor has nothing to do with it."""
    room.say("ups-1", "power.output-off", Level.CRITICAL, Evidence("output.source", "none", "is none"))
    room.clock.advance(20)
    room.say("app-server-1", "device.not-answering", Level.CRITICAL, Evidence("device.answering", "no", "is no"))
    room.heat()
    hot, dark = get(web, "troubles")["troubles"]
    assert (hot["cause"]["device"], hot["incidents"]) == ("sensor-cold-aisle", 1)
    assert (dark["cause"]["device"], dark["incidents"], dark["incidents_open"]) == ("ups-1", 2, 2)
    (effect,) = dark["others"]
    assert (effect["device"], effect["joined"], effect["explained_by"]) == ("app-server-1", "explained", 1)
    assert get(web, "incidents/2")["trouble"] == 1
    detail = get(web, "troubles/1")
    assert [(one["incident"], one["kind"]) for one in detail["timeline"]] == [(1, "opened"), (2, "opened")]


def test_an_incident_and_its_trouble_with_their_whole_history(room: Room, web: httpx.Client) -> None:
    room.heat(Level.WARNING)
    room.decide_rungs()
    room.heat(Level.OK, 22.0)
    room.clock.advance(61)
    room.decide_rungs()
    room.clock.advance(59)
    room.heat()
    kinds = [("opened", "agent:room-1"), ("resolved", "agent:room-1"), ("reopened", "agent:room-1")]
    incident = get(web, "incidents/1")
    assert [(one["kind"], one["by"]) for one in incident["timeline"]] == kinds
    assert (incident["recurrence"], incident["began_at"]) == (2, NIGHT + 120)
    detail = get(web, "troubles/1")
    assert [(one["kind"], one["by"]) for one in detail["timeline"]] == kinds
    assert [(rung["rung"], rung["decided_by"], rung["due_at"] - NIGHT) for rung in detail["rungs"]] == [
        ("duty", "clock", 0.0), ("owner", None, 720.0), ("on-site", None, 1320.0), ("vendor", None, 3720.0),
    ], "nobody is notified twice, and the two minutes without a fault do not count"  # fmt: skip
    assert detail["rungs"][2]["people"] == ["王磊", "周刚"]
    assert (detail["recurrence"], detail["state"], detail["opened_at"]) == (2, "open", NIGHT)
    assert [(notice["kind"], notice["recurrence"]) for notice in detail["told"]] == [
        ("page", 1), ("recovered", 1), ("returned", 2),
    ]  # fmt: skip


# ---- pages ----


def test_a_trouble_shows_its_cause_and_what_it_explains(room: Room, web: httpx.Client) -> None:
    dark(room)
    silent(room)
    room.decide_rungs()
    room.clock.advance(90)
    overview = words(web.get("/").text)
    assert "Open troubles: 1 critical UPS output off No. 1" in overview
    assert "2 of 2 faults are there now critical app-server-1 : Device unreachable" in overview
    page = words(web.get("/troubles/1").text)
    assert "critical app-server-1 : Device unreachable 03:00:00 · explained by another fault" in page
    assert "Fault began (critical) · app-server-1: Device unreachable agent room-1" in page
    assert "UPS output off and 1 more ups-1" in words(web.get("/troubles").text)
    assert "UPS output off and 1 more" in words(web.get("/devices/app-server-1").text)
    assert "共 2 项异常，2 项仍存在" in words(web.get("/troubles/1?lang=zh").text)


def test_an_old_link_to_an_incident_leads_to_its_trouble(room: Room, web: httpx.Client) -> None:
    room.heat()
    dark(room)
    silent(room)
    answer = web.get("/incidents/3")
    assert (answer.status_code, answer.headers["location"]) == (303, "/troubles/2#incident-3")
    assert 'id="incident-3"' in web.get("/troubles/2").text


def test_while_no_fault_is_there_the_page_says_so_and_when_it_is_over(room: Room, web: httpx.Client) -> None:
    room.heat()
    room.decide_rungs()
    room.clock.advance(minutes=5)
    room.heat(Level.OK, 22.0)
    room.clock.advance(30)
    room.decide_rungs()
    page = words(web.get("/").text)
    assert "Open troubles: 1 no fault now Room temperature out of range" in page
    assert "Last bad reading: Room temperature: 31.5 °C" in page
    assert "Lasted 5 min since 03:00:00" in page
    assert "No fault since 03:05:00 over at 03:06:00 if it stays so" in page
    assert "Next level – no fault is there now" in page
    room.heat()
    page = words(web.get("/").text)
    assert "critical Room temperature out of range" in page
    assert "Last bad reading" not in page
    assert "Unresolved for 5:00 since 03:00:00 · came back: 1 ×; the time without a fault does not count" in page
    assert "Next level 5:00 owner" in page, "ten minutes with a fault"
    room.heat(Level.OK, 22.0)
    assert "over at 03:15:30 if it stays so" in words(web.get("/").text), (
        "it came back, so it must stay away for longer"
    )
    room.clock.advance(601)
    room.decide_rungs()
    page = words(web.get("/").text)
    assert "No open troubles" in page
    assert "1 resolved Room temperature out of range" in page


def test_a_trouble_is_resolved_by_hand_only_if_no_verdict_of_it_is_bad(room: Room, web: httpx.Client) -> None:
    dark(room)
    silent(room)
    csrf = enter(room, web)
    room.say("ups-1", "power.output-off", Level.UNKNOWN, Evidence("output.source", Missing(Reason.TIMEOUT)))
    assert "Resolve by hand" not in words(web.get("/troubles/1").text), "another fault of it is still there"
    refused = web.post("/troubles/1/resolve", data={"csrf": csrf})
    assert refused.status_code == 409
    assert "(app-server-1, device.not-answering): the latest verdict is still critical" in words(refused.text)
    room.say("app-server-1", "device.not-answering", Level.UNKNOWN, Evidence("device.answering", Missing(Reason.HUNG)))
    assert "Resolve by hand" in words(web.get("/troubles/1").text)
    answer = web.post("/troubles/1/resolve", data={"csrf": csrf, "note": "seen with my own eyes"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/troubles/1")
    assert "No open troubles" in words(web.get("/").text)
    assert [one["state"] for one in get(web, "incidents?state=all")["incidents"]] == ["resolved", "resolved"]


def test_a_trouble_that_turns_out_to_be_part_of_another_one_leads_there(room: Room, web: httpx.Client) -> None:
    """The server is silent and says that a supply failed; the UPS behind it is read later."""
    silent(room)
    room.clock.advance(10)
    room.decide_rungs()
    room.clock.advance(60)
    room.say(
        "app-server-1", "hardware.power-supply", Level.CRITICAL, Evidence("psu.health", "critical", "is critical"), "1"
    )
    assert [one["trouble"] for one in get(web, "troubles")["troubles"]] == [2, 1]
    room.clock.advance(20)
    room.decide_rungs()
    dark(room)
    (one,) = get(web, "troubles?state=all")["troubles"]
    assert (one["trouble"], one["incidents"], one["cause"]["device"]) == (1, 3, "ups-1"), "people know this number"
    assert [(told["kind"], told["at"] - NIGHT) for told in one["told"]] == [("page", 10.0), ("page", 90.0)]
    assert get(web, "troubles/2")["trouble"] == 1, "a merged trouble gives the one that it is part of"
    assert "No. 2 is part of this trouble. critical UPS output off No. 1" in words(web.get("/troubles/2").text)
    assert "is part of this trouble" not in words(web.get("/troubles/1").text)
    csrf = enter(room, web)
    assert web.post("/troubles/2/acknowledge", data={"csrf": csrf}).status_code == 303
    assert get(web, "troubles/1")["acknowledged_by"] == "sun.tao"


def test_a_long_timeline_says_what_it_leaves_out(
    room: Room, web: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_troubles, "MEMBERS_SHOWN", 1)
    dark(room)
    assert "are in the timeline" not in words(web.get("/troubles/1").text)
    silent(room)
    assert "Only the first 1 faults are in the timeline." in words(web.get("/troubles/1").text)


# ---- many at once ----


def three(room: Room) -> list[int]:
    for device in ("ups-1", "crac-1", "sensor-hot-aisle"):
        room.say(device, "device.alarm", Level.WARNING, Evidence("device.alarm", "warning"))
    return [1, 2, 3]


def answered_by(web: httpx.Client) -> list[Any]:
    found = get(web, "troubles?state=open")["troubles"]
    return [one["acknowledged_by"] for one in sorted(found, key=lambda one: one["trouble"])]


@pytest.mark.parametrize("action", ["acknowledge", "on-site"])
def test_many_troubles_are_answered_with_one_form(room: Room, web: httpx.Client, action: str) -> None:
    three(room)
    csrf = enter(room, web)
    answer = web.post(f"/answers/{action}", data={"csrf": csrf, "number": ["1", "3"]})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert answered_by(web) == ["sun.tao", None, "sun.tao"]


def test_one_that_is_over_does_not_hinder_the_others(room: Room, web: httpx.Client) -> None:
    three(room)
    csrf = enter(room, web)
    assert web.post("/answers/acknowledge", data={"csrf": csrf, "number": ["999", "2"]}).status_code == 303
    assert answered_by(web) == [None, "sun.tao", None]
    assert web.post("/answers/acknowledge", data={"csrf": csrf, "number": ["999"]}).status_code == 404


def test_an_answer_to_many_needs_the_form_and_a_choice(room: Room, web: httpx.Client) -> None:
    three(room)
    csrf = enter(room, web)
    assert web.post("/answers/acknowledge", data={"csrf": csrf}).status_code == 409
    assert web.post("/answers/escalate", data={"csrf": csrf, "number": ["1"]}).status_code == 404
    assert web.post("/answers/acknowledge", data={"number": ["1"]}).status_code == 403
    assert answered_by(web) == [None, None, None]
