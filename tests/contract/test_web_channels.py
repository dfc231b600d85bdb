"""The channels of all persons as page, API and metrics: which robot is in use, and the last test."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.collector_room import Room, browser, words
from watchkeeper.channels.ports import Receipt
from watchkeeper.collector.notify.page_tests import write_weekly
from watchkeeper.collector.process.actions import acknowledge

TUESDAY = datetime(2026, 11, 24, 2, 30, tzinfo=UTC).timestamp()  # 10:30 in Shanghai


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with Room(tmp_path) as room:
        yield room


@pytest.fixture
def web(room: Room) -> Iterator[httpx.Client]:
    with browser(room.front) as client:
        yield client


def tested(room: Room) -> None:
    room.clock.now = TUESDAY
    write_weekly(room.runtime.notifier(), TUESDAY)
    room.deliver("wang.lei")
    for _ in range(2):
        room.clock.advance(10.0)
        room.deliver("wang.lei")


def test_the_page_shows_each_channel_with_its_last_test(room: Room, web: httpx.Client) -> None:
    before = words(web.get("/channels").text)
    assert "王磊 1 · console in use not tested yet" in before
    tested(room)
    page = words(web.get("/channels").text)
    assert "王磊 1 · console in use 10:30:00 delivery failed · HTTP 503" in page
    assert "孙涛 1 · console in use 10:30:00 handed over · accepted" in page
    assert "使用中 10:30:00 已交付 · accepted" in words(web.get("/channels?lang=zh").text)


def test_a_robot_that_is_left_out_is_shown(room: Room, web: httpx.Client) -> None:
    address = room.runtime.snapshot.configuration.contacts.people[0].channels[0]
    for _ in range(3):
        room.runtime.robots.note(address, Receipt(delivered=False, detail="500"), room.clock.boot())
    assert "console left out: it fails" in words(web.get("/channels").text)
    assert {one["breaker"] for one in web.get("/api/v1/channels").json()} == {"open"}
    assert samples(web, "watchkeeper_robot_state", state="open") == [1.0]


def test_the_api_says_the_same(room: Room, web: httpx.Client) -> None:
    tested(room)
    by_person = {one["person"]: one for one in web.get("/api/v1/channels").json()}
    assert by_person["wang.lei"] == {
        "person": "wang.lei", "channel": 1, "via": "console", "robot": "console", "breaker": "closed",
        "tested_at": TUESDAY, "test": "given-up", "proof": "", "detail": "HTTP 503",
    }  # fmt: skip
    assert (by_person["sun.tao"]["test"], by_person["sun.tao"]["proof"]) == ("delivered", "handed-over")


def samples(web: httpx.Client, name: str, **labels: str) -> list[float]:
    families = text_string_to_metric_families(web.get("/metrics").text)
    found = (one for family in families for one in family.samples if one.name == name)
    return [one.value for one in found if labels.items() <= one.labels.items()]


def test_tests_have_metrics_of_their_own_and_count_as_no_message(room: Room, web: httpx.Client) -> None:
    tested(room)
    assert samples(web, "watchkeeper_channel_test_delivered", person="sun.tao") == [1.0]
    assert samples(web, "watchkeeper_channel_test_delivered", person="wang.lei") == [0.0]
    assert samples(web, "watchkeeper_channel_test_seconds", person="wang.lei") == [TUESDAY]
    assert sum(samples(web, "watchkeeper_outbox_messages")) == 0.0
    assert samples(web, "watchkeeper_deliveries_total") == []


def test_a_test_is_in_no_trouble(room: Room, web: httpx.Client) -> None:
    """Its number, the place of the channel, may be a trouble's number too."""
    room.heat()
    room.decide_rungs()
    tested(room)
    told = web.get("/api/v1/troubles/1").json()["told"]
    assert {one["kind"] for one in told} == {"page"}
    acknowledge(room.runtime.notifier(), 1, "sun.tao", room.clock.wall())
    assert web.get("/troubles/1").status_code == 200
