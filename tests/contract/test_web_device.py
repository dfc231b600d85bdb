"""A device's page: what is gone of it, and how it is read."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.collector_room import Room, browser, csrf, enter, words
from watchkeeper.model.batch import Facts
from watchkeeper.model.reading import Missing, Reason

SENSOR = {("device.answering", "", ""): "yes", ("temperature.ambient", "", ""): 31.5}


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with Room(tmp_path) as room:
        yield room


@pytest.fixture
def web(room: Room) -> Iterator[httpx.Client]:
    with browser(room.front) as client:
        yield client


def test_the_page_names_what_the_device_depends_on_and_what_depends_on_it(room: Room, web: httpx.Client) -> None:
    text = web.get("/devices/ups-1").text
    page = words(text).replace(" ,", ",")
    assert "Depends on: feed-a" in page
    assert "What depends on it: rack-a01, app-server-1" in page
    assert re.search('<a [^>]*href="/devices/app-server-1"[^>]*>app-server-1</a>', text)
    assert "/devices/rack-a01" not in text, "an unmonitored thing has no page"
    assert "epend" not in words(web.get("/devices/crac-1").text)


GONE = {
    ("device.answering", "", ""): "yes",
    ("temperature.ambient", "1", "Rack 1"): 22.0,
    ("temperature.ambient", "7", "Rack 7"): Missing(
        Reason.ABSENT, "it was read before, and the device no longer has it"
    ),
    ("sensor.absent", "temperature 7", "Rack 7 (temperature)"): 600.0,
    ("sensor.absent", "temperature 6", "Rack 6 (temperature)"): 0.0,
}


def test_the_page_says_what_is_gone_since_when_and_a_person_confirms_the_removal(room: Room, web: httpx.Client) -> None:
    room.read("sensor-cold-aisle", GONE)
    page = words(web.get("/devices/sensor-cold-aisle").text)
    assert "Rack 7 (temperature) 02:50:00 10 min –" in page
    assert "It was removed" not in page, "only a person who is signed in can confirm"
    assert "Rack 6" not in page.partition("No longer there")[2].partition("snmp")[0]
    enter(room, web)
    text = web.get("/devices/sensor-cold-aisle").text
    form = {"csrf": csrf(text), "part": "temperature 7", "note": " lent to <b>room 2</b> "}
    room.clock.advance(5)
    assert web.post("/devices/sensor-cold-aisle/removed", data=form).headers["location"] == "/devices/sensor-cold-aisle"
    page = words(web.get("/devices/sensor-cold-aisle").text)
    assert "removal confirmed by 孙涛; the agent is told with its next push" in page
    room.requests.refresh()
    told = {"kind": "removed", "device": "sensor-cold-aisle", "part": "temperature 7", "by": "sun.tao"}
    assert room.requests.take("room-1") == room.requests.take("room-1") == [told]
    room.clock.advance(30)
    room.read("sensor-cold-aisle", {key: value for key, value in GONE.items() if key[0] != "sensor.absent"})
    room.requests.refresh()
    assert room.requests.take("room-1") == []
    page = words(web.get("/devices/sensor-cold-aisle?lang=zh").text)
    assert "已确认的拆除" in page
    assert "Rack 7 (temperature) 02:50:00 03:00:05 · lent to <b>room 2</b> 孙涛" in page
    assert "已消失" not in page


def test_a_frame_from_before_the_confirmation_does_not_end_it(room: Room, web: httpx.Client) -> None:
    room.read("sensor-cold-aisle", GONE)
    enter(room, web)
    form = {"csrf": csrf(web.get("/devices/sensor-cold-aisle").text), "part": "temperature 7"}
    room.clock.advance(5)
    assert web.post("/devices/sensor-cold-aisle/removed", data=form).status_code == 303
    room.clock.advance(30)
    room.read("sensor-cold-aisle", SENSOR, age_s=40.0)
    room.requests.refresh()
    assert len(room.requests.take("room-1")) == 1


def test_what_is_not_gone_cannot_be_confirmed(room: Room, web: httpx.Client) -> None:
    room.read("sensor-cold-aisle", GONE)
    enter(room, web)
    form = {"csrf": csrf(web.get("/devices/sensor-cold-aisle").text), "part": "temperature 6"}
    answer = web.post("/devices/sensor-cold-aisle/removed", data=form)
    assert answer.status_code == 409
    assert "is not gone; gone is: `temperature 7`" in words(answer.text)


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ((("profile", "apc-ups (APC, ups)"), ("why", "sysObjectID 1.3")), "Profile: apc-ups (APC, ups) · Why this profile: sysObjectID 1.3 ·"),
        ((("profile", ""), ("why", "there is no profile `x`")), "Why this profile: there is no profile `x` · no profile fits this device ·"),
        ((), "polled every 30 s"),
        ((("profile", "p"), ("transport", "GETBULK is not used"), ("odd", "<i>")), "Profile: p · Transport: GETBULK is not used · odd: <i> ·"),
    ],
)  # fmt: skip
def test_the_page_says_how_the_device_is_read(room: Room, web: httpx.Client, facts: Facts, shown: str) -> None:
    room.read("sensor-cold-aisle", GONE, facts=facts)
    assert f"{shown} 1 of 2 readings have a value" in words(web.get("/devices/sensor-cold-aisle").text)
