"""/api/v1: every operation, its documented errors, and the events of /events."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, ValidationError

from tests.collector_room import NIGHT, Room, browser
from watchkeeper.collector.access import tokens
from watchkeeper.collector.access.tokens import TokenKind
from watchkeeper.collector.web import schemas
from watchkeeper.collector.web.events import ChangeFeed
from watchkeeper.model.batch import Lane, Tombstone
from watchkeeper.model.reading import Missing, Reason, Value
from watchkeeper.model.verdict import Companion, Evidence, Level


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with Room(tmp_path) as room:
        yield room


@pytest.fixture
def web(room: Room) -> Iterator[httpx.Client]:
    text = tokens.mint(room.store, TokenKind.PERSON, "wang.lei", room.clock.wall())
    with browser(room.front) as client:
        client.headers["authorization"] = f"Bearer {text}"
        yield client


def get(web: httpx.Client, path: str) -> Any:
    response = web.get(f"/api/v1/{path}")
    assert response.status_code == 200, response.text
    return response.json()


def test_an_open_incident_and_its_trouble_with_the_next_rung(room: Room, web: httpx.Client) -> None:
    room.heat()
    room.decide_rungs()
    room.deliver()
    room.clock.advance(minutes=4)
    (incident,) = get(web, "incidents")["incidents"]
    assert incident["title"] == "Room temperature out of range"
    assert (incident["level"], incident["verdict"], incident["state"], incident["clause"]) == (
        "critical",
        "critical",
        "open",
        "3.6, 4.2.5.1",
    )
    assert (incident["began_at"], incident["unresolved_s"]) == (NIGHT, 240.0)
    assert (incident["quantity"], incident["value"], incident["expects"]) == (
        "temperature.ambient",
        31.5,
        "outside 18 .. 27 °C",
    )
    assert (incident["trouble"], incident["joined"], incident["explained_by"]) == (1, "first", 0)
    (one,) = get(web, "troubles")["troubles"]
    assert one["cause"] == incident
    assert (one["others"], one["incidents"], one["incidents_open"]) == ([], 1, 1)
    assert (one["trouble"], one["level"], one["state"], one["recurrence"]) == (1, "critical", "open", 1)
    assert (one["opened_at"], one["quiet_since"], one["unresolved_s"]) == (NIGHT, None, 240.0)
    assert (one["current"], one["next"]["rung"], one["next_in_s"]) == ("duty", "owner", 360.0)
    assert one["next"]["people"] == ["王磊"]
    assert one["hold"] is None
    (told,) = one["told"]
    assert (told["person"], told["kind"], told["rung"], told["state"]) == ("sun.tao", "page", "duty", "delivered")
    assert told["tries"] == [
        {"at": NIGHT, "channel": "console", "delivered": True, "detail": "accepted", "proof": "handed-over"}
    ]


def test_incidents_by_state_and_page(room: Room, web: httpx.Client) -> None:
    for device in ("ups-1", "crac-1", "sensor-hot-aisle"):
        room.say(device, "device.alarm", Level.WARNING, Evidence("device.alarm", "warning"))
    room.say("crac-1", "device.alarm", Level.OK, Evidence("device.alarm", "ok"))
    assert [one["incident"] for one in get(web, "incidents")["incidents"]] == [3, 1]
    (over,) = get(web, "incidents?state=resolved")["incidents"]
    assert (over["incident"], over["ended_at"]) == (2, NIGHT), (
        "an incident ends at once, its trouble only when that holds"
    )
    first = get(web, "incidents?state=all&limit=2")
    assert ([one["incident"] for one in first["incidents"]], first["cursor"]) == ([3, 2], 2)
    second = get(web, f"incidents?state=all&limit=2&cursor={first['cursor']}")
    assert ([one["incident"] for one in second["incidents"]], second["cursor"]) == ([1], None)


def test_an_incident_has_the_probes_reason(room: Room, web: httpx.Client) -> None:
    reason = "no answer from 192.0.2.11:161 in 2 s"
    room.say("ups-1", "device.not-answering", Level.CRITICAL, Evidence("device.answering", "no", "is no", says=reason))
    assert get(web, "incidents")["incidents"][0]["says"] == reason
    assert get(web, "incidents/1")["says"] == reason
    room.heat()
    assert get(web, "incidents/2")["says"] == "", "a value out of range needs no reason"


def test_an_incident_has_the_readings_that_make_it_one(room: Room, web: httpx.Client) -> None:
    told = (Companion("output.source", "battery", "bus 2"), Companion("leak", Missing(Reason.HUNG), holds=False))
    evidence = Evidence("battery.runtime", 240.0, "below 5 min", companions=told)
    room.say("ups-1", "power.battery-runtime", Level.CRITICAL, evidence)
    expected = [
        {"quantity": "output.source", "label": "bus 2", "value": "battery", "holds": True},
        {"quantity": "leak", "label": "", "value": None, "holds": False},
    ]
    assert get(web, "incidents")["incidents"][0]["companions"] == expected
    assert get(web, "incidents/1")["companions"] == expected


def test_no_model_of_the_api_ignores_an_unknown_field() -> None:
    """A field that is not declared would be lost in a response, and a misspelt one would be ignored in a request."""
    models = [one for one in vars(schemas).values() if isinstance(one, type) and issubclass(one, BaseModel)]
    assert len(models) > 10
    assert {one.model_config.get("extra") for one in models if one is not BaseModel} == {"forbid"}
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        schemas.NoteIn.model_validate({"note": "", "says": ""})


def test_a_person_acts(room: Room, web: httpx.Client) -> None:
    room.heat()
    room.decide_rungs()
    acknowledged = web.post("/api/v1/troubles/1/acknowledge", json={"note": "mine"})
    assert acknowledged.status_code == 200
    assert acknowledged.json()["acknowledged_by"] == "wang.lei"
    assert acknowledged.json()["timeline"][-1]["by"] == "person:wang.lei"
    escalated = web.post("/api/v1/troubles/1/escalate", json={}).json()
    assert (escalated["current"], escalated["next"]["rung"]) == ("owner", "on-site")
    for _ in ("on-site", "vendor"):
        web.post("/api/v1/troubles/1/escalate", json={})
    refused = web.post("/api/v1/troubles/1/escalate", json={})
    assert (refused.status_code, refused.json()) == (
        409,
        {"error": "conflict: trouble 1: every rung of its ladder has been decided"},
    )


def test_a_conflict_changes_nothing(room: Room, web: httpx.Client) -> None:
    room.heat()
    before = get(web, "troubles/1")
    refused = web.post("/api/v1/troubles/1/resolve", json={"note": "done"})
    assert refused.status_code == 409
    assert "the latest verdict is still critical" in refused.json()["error"]
    assert get(web, "troubles/1") == before
    room.heat(Level.OK, 22.0)
    room.clock.advance(61)
    room.decide_rungs()
    over = web.post("/api/v1/troubles/1/acknowledge", json={})
    assert (over.status_code, over.json()["error"]) == (
        409,
        "conflict: trouble 1 is resolved already and cannot be acknowledged",
    )


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "incidents/7", 404, "not found: there is no incident 7"),
        ("GET", "troubles/7", 404, "not found: there is no trouble 7"),
        ("POST", "troubles/7/acknowledge", 404, "not found: there is no trouble 7"),
        ("POST", "troubles/7/resolve", 404, "not found: there is no trouble 7"),
        ("POST", "troubles/7/escalate", 404, "not found: there is no trouble 7"),
        ("GET", "devices/none", 404, "not found: there is no device `none`"),
        ("POST", "devices/none/poll", 404, "not found: there is no device `none`"),
        ("GET", "devices/none/history?quantity=uptime", 404, "not found: there is no device `none`"),
        ("GET", "nothing", 404, "not found"),
        ("GET", "troubles?limit=0", 422, "unprocessable content: limit: Input should be greater than or equal to 1"),
        ("GET", "incidents?limit=0", 422, "unprocessable content: limit: Input should be greater than or equal to 1"),
        ("GET", "troubles?state=merged", 422, "unprocessable content: state: Input should be 'open', 'resolved'"),
        ("GET", "incidents?state=odd", 422, "unprocessable content: state: Input should be 'open', 'resolved'"),
        ("GET", "troubles/x", 422, "unprocessable content: number: Input should be a valid integer"),
        ("GET", "incidents/x", 422, "unprocessable content: number: Input should be a valid integer"),
        ("GET", "devices/ups-1/history", 422, "unprocessable content: quantity: Field required"),
        ("DELETE", "incidents/7", 405, "method not allowed"),
    ],
)
def test_errors_say_what_is_wrong(web: httpx.Client, method: str, path: str, status: int, error: str) -> None:
    """HTTP's own words first, then what is wrong."""
    response = web.request(method, f"/api/v1/{path}", json={} if method == "POST" else None)
    assert response.status_code == status
    assert list(response.json()) == ["error"]
    assert response.json()["error"].startswith(error)
    assert ("allow" in response.headers) == (status == 405), "RFC 9110: a 405 names the methods that there are"


def test_a_401_says_how_to_authenticate(web: httpx.Client) -> None:
    del web.headers["authorization"]
    response = web.post("/api/v1/troubles/1/acknowledge", json={})
    assert response.status_code == 401
    assert response.json()["error"] == (
        "authentication required: open a sign-in link from `watchkeeper collector link PERSON`, or send a person's token "
        "as `Authorization: Bearer TOKEN`"
    )


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "body: Field required"), (b"{", "1: JSON decode error"), (b"[]", "body: Input should be a valid dictionary"),
        (b'{"note": 5}', "note: Input should be a valid string"),
        (b'{"note": "' + b"x" * 1001 + b'"}', "note: String should have at most 1000 characters"),
        (b'{"notes": "on my way"}', "notes: unknown key"),
    ],
)  # fmt: skip
def test_an_invalid_body_is_refused(room: Room, web: httpx.Client, body: bytes, error: str) -> None:
    room.heat()
    response = web.post("/api/v1/troubles/1/acknowledge", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 422
    assert response.json()["error"].startswith(f"unprocessable content: {error}")
    assert get(web, "troubles/1")["acknowledged_by"] is None


def test_devices_with_readings_and_reasons(room: Room, web: httpx.Client) -> None:
    readings = {("battery.charge", "", ""): 97.0, ("input.voltage", "1", "phase 1"): Missing(Reason.TIMEOUT, "2 s")}
    room.read("ups-1", readings, age_s=4.0)
    room.clock.advance(10)
    devices = {one["device"]: one for one in get(web, "devices")}
    assert devices["ups-1"]["stale"] is False
    assert devices["ups-1"]["read_at"] == NIGHT - 4.0
    assert (devices["crac-1"]["stale"], devices["crac-1"]["read_at"]) == (True, None)
    detail = get(web, "devices/ups-1")
    assert (detail["owner"], detail["vendor"], detail["category"]) == ("chen.jing", "ups-vendor", "ups")
    charge, voltage = detail["readings"]
    assert (charge["value"], charge["unit"], charge["missing"], charge["age_s"]) == (97.0, "%", None, 14.0)
    assert (voltage["value"], voltage["missing"], voltage["detail"], voltage["label"]) == (
        None,
        "timeout",
        "2 s",
        "phase 1",
    )
    room.clock.advance(36)
    assert all(reading["stale"] for reading in get(web, "devices/ups-1")["readings"]), "the agent is silent"


def test_a_device_says_what_it_depends_on_and_what_depends_on_it(room: Room, web: httpx.Client) -> None:
    assert {one["device"]: one["depends_on"] for one in get(web, "devices")} == {
        "app-server-1": ["rack-a01"], "ups-1": ["feed-a"], "crac-1": [], "sensor-cold-aisle": [], "sensor-hot-aisle": [],
    }  # fmt: skip
    assert get(web, "devices/ups-1")["dependants"] == ["rack-a01", "app-server-1"]
    assert get(web, "devices/app-server-1")["dependants"] == []


def test_history(room: Room, web: httpx.Client) -> None:
    for value in (1.0, Missing(Reason.HUNG), 3.0):
        room.read(
            "app-server-1", {("disk.usage", "/", "/"): value, ("disk.usage", "/var", ""): 9.0, ("uptime", "", ""): 5.0}
        )
        room.clock.advance(15)
    root, var = get(web, "devices/app-server-1/history?quantity=disk.usage")
    assert (root["instance"], root["unit"], var["instance"]) == ("/", "%", "/var")
    assert [(point["at"] - NIGHT, point["value"], point["missing"]) for point in root["points"]] == [
        (0, 1.0, None), (15, None, "hung"), (30, 3.0, None),
    ]  # fmt: skip
    (only,) = get(web, f"devices/app-server-1/history?quantity=disk.usage&instance=/&since={NIGHT + 10}&limit=1")
    assert [point["value"] for point in only["points"]] == [3.0]
    assert get(web, "devices/app-server-1/history?quantity=leak") == []


def test_agents_and_their_lanes(room: Room, web: httpx.Client) -> None:
    (never,) = get(web, "agents")
    assert (never["heard_at"], never["silent"], never["lanes"]) == (None, False, [])
    room.read("ups-1", {("battery.charge", "", ""): 97.0})
    room.skip(Lane.READINGS, 3)
    room.push(Lane.READINGS, [Tombstone(2, 40)])
    room.clock.advance(20)
    (heard,) = get(web, "agents")
    assert (heard["heard_at"], heard["age_s"], heard["silent"], heard["bundle_current"]) == (NIGHT, 20.0, False, False)
    assert heard["lanes"] == [{"lane": "readings", "seq": 5, "items": 1, "gaps": 0, "dropped": 40}]
    room.skip(Lane.READINGS, 2)
    room.read("ups-1", {("battery.charge", "", ""): 96.0})
    assert get(web, "agents")[0]["lanes"] == [{"lane": "readings", "seq": 8, "items": 2, "gaps": 2, "dropped": 40}]
    room.epoch = "epoch-2"  # a new spool: `seq` starts anew, the counts include both
    room.push(Lane.READINGS, [Tombstone(9, 1)])
    assert get(web, "agents")[0]["lanes"] == [{"lane": "readings", "seq": 9, "items": 2, "gaps": 2, "dropped": 41}]
    room.clock.advance(46)
    assert get(web, "agents")[0]["silent"] is True


def test_duty(web: httpx.Client) -> None:
    on = get(web, "duty")
    assert (on["now"]["person"], on["now"]["shift"], on["now"]["begins_at"]) == ("sun.tao", "night", NIGHT - 10 * 3600)
    assert (on["next"]["person"], on["next"]["shift"], on["next"]["begins_at"]) == ("li.na", "day", NIGHT + 5.5 * 3600)


def test_poll_now(room: Room, web: httpx.Client) -> None:
    assert web.post("/api/v1/devices/ups-1/poll").status_code == 202
    room.requests.refresh()
    assert room.requests.take("room-1") == [{"kind": "poll-now", "device": "ups-1"}]


def test_openapi_documents_every_operation_and_error(web: httpx.Client) -> None:
    paths = web.get("/openapi.json").json()["paths"]
    assert len(paths) == 19
    for path, operations in paths.items():
        for method, operation in operations.items():
            statuses = set(operation["responses"])
            assert operation["description"], path
            assert {"401", "422", "503"} <= statuses
            if method == "post":
                assert {"403", "404"} <= statuses
            if ("/troubles/" in path or path.endswith("/removed")) and method == "post":
                assert "409" in statuses


def test_the_docs_page_lists_them(web: httpx.Client) -> None:
    page = web.get("/docs").text
    for path in web.get("/openapi.json").json()["paths"]:
        assert path in page


def test_an_unusable_store_is_503(room: Room, web: httpx.Client) -> None:
    with room.store.write() as connection:
        connection.exec_driver_sql("DROP TABLE incident")
    response = web.get("/api/v1/incidents")
    assert response.status_code == 503
    assert response.json()["error"].startswith("service unavailable: ")
    assert "incident" in response.json()["error"]
    assert web.get("/").status_code == 503


# ---- /events ----


def test_an_open_page_gets_an_event_after_a_change(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watchkeeper.collector.web.events.CHECK_S", 0.001)
    events = asyncio.run(_events(room))
    assert events[0].startswith(b"retry:")
    assert events[1:] == [b"event: readings", b"event: incidents", b"event: readings"]


async def _events(room: Room) -> list[bytes]:
    closing = False
    stream = ChangeFeed(room.runtime).stream(lambda: closing)
    found = [await anext(stream)]
    change = asyncio.create_task(_first(stream))
    await asyncio.sleep(0.05)
    assert not change.done(), "nothing has changed yet"
    await asyncio.to_thread(room.read, "ups-1", {("battery.charge", "", ""): 97.0})
    room.clock.advance(1)  # the store is read at most once a second
    found.append(await change)
    await asyncio.to_thread(room.heat)
    room.clock.advance(1)
    found += [await _first(stream), await _first(stream)]
    closing = True
    assert [event async for event in stream] == []
    return found


async def _first(stream: Any) -> bytes:
    async for event in stream:
        if event.startswith(b"event"):
            return bytes(event).partition(b"\n")[0]
    raise AssertionError("the stream ended")


def test_what_is_gone_and_a_confirmed_removal(room: Room, web: httpx.Client) -> None:
    gone = Missing(Reason.ABSENT, "gone")
    readings: dict[tuple[str, str, str], Value] = {
        ("device.answering", "", ""): "yes",
        ("psu.health", "2", "PS 2"): gone,
        ("hardware.absent", "psu 2", "PS 2 (psu)"): 120.0,
    }
    room.read("ups-1", readings, facts=(("profile", "p (A, ups)"), ("why", "because"), ("transport", "no GETBULK")))
    found = get(web, "devices/ups-1")
    assert found["gone"] == [
        {"part": "psu 2", "label": "PS 2 (psu)", "quantity": "hardware.absent", "since": NIGHT - 120, "confirmed_by": None,
         "confirmed_at": None}
    ]  # fmt: skip
    assert found["removed"] == []
    assert found["read_by"] == [
        {"probe": "snmp", "profile": "p (A, ups)", "why": "because", "facts": [["transport", "no GETBULK"]], "readings": 1,
         "with_value": 0}
    ]  # fmt: skip
    assert web.post("/api/v1/devices/ups-1/removed", json={"part": "psu 1"}).status_code == 409
    assert web.post("/api/v1/devices/ups-1/removed", json={"part": ""}).status_code == 422
    assert web.post("/api/v1/devices/none/removed", json={"part": "psu 2"}).status_code == 404
    answer = web.post("/api/v1/devices/ups-1/removed", json={"part": "psu 2", "note": "sold"}).json()
    assert (answer["gone"][0]["confirmed_at"], answer["removed"][0]["note"]) == (NIGHT, "sold")
    again = web.post("/api/v1/devices/ups-1/removed", json={"part": "psu 2", "note": "again"}).json()
    assert again["removed"] == answer["removed"]
