"""The door for agents: every kind of bad request gets its documented status (docs/protocol.md), and changes nothing."""

import asyncio
import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.story.world import INVENTORY, World
from watchkeeper.collector.access.tokens import TokenKind, mint, revoke
from watchkeeper.collector.intake import journal as journal_module
from watchkeeper.collector.intake.endpoint import BODY_LIMIT, AgentEndpoint
from watchkeeper.collector.intake.requests import Requests
from watchkeeper.collector.process.actions import poll_now
from watchkeeper.collector.store import engine
from watchkeeper.collector.store.migrate import migrate
from watchkeeper.collector.store.schema import journal, metadata
from watchkeeper.model.errors import StoreError, StoreFull
from watchkeeper.model.verdict import Level

BLOCK = {"block": 1, "device": "sensor-1", "probe": "snmp", "every_s": 15.0,
         "series": [["temperature.ambient", "", "", "1.2.3"], ["humidity.relative", "", "", ""]]}  # fmt: skip


class Door:
    """A collector's door with its journal running, and an agent in front of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.full = False
        self.token = mint(world.store, TokenKind.AGENT, "room-1", world.clock.wall())
        self.requests = Requests(world.store)
        self.ingest = AgentEndpoint(world.runtime, world.journal, self.requests, lambda: self.full)
        world.journal.start()

    def ask(self, method: str, path: str, content: bytes | None = None, **headers: str) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.ingest)
            async with httpx.AsyncClient(transport=transport, base_url="http://room") as client:
                named = {name.replace("_", "-"): value for name, value in headers.items()}
                given = {"authorization": f"Bearer {self.token}", **named}
                return await client.request(method, path, content=content, headers=given)

        return asyncio.run(asked())

    def push(self, change: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        return self.ask("POST", "/v1/push", json.dumps(push() | (change or {})).encode(), **headers)

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything in the store."""
        with self.world.store.read() as connection:
            return {
                table.name: [tuple(row) for row in connection.execute(table.select())]
                for table in metadata.sorted_tables
            }


def push() -> dict[str, Any]:
    return {
        "protocol": 1, "agent": "room-1", "epoch": "e", "lane": "readings", "sent_at": 1.0, "blocks": [BLOCK],
        "items": [{"seq": 1, "age_s": 2.0, "block": 1, "values": [22.5, None], "missing": {"1": ["timeout", "no answer"]}}],
    }  # fmt: skip


def event(**change: Any) -> dict[str, Any]:
    item = {"seq": 1, "kind": "verdict", "id": "v1", "device": "sensor-1", "rule": "environment.temperature",
            "instance": "", "level": "critical", "age_s": 1.0,
            "evidence": {"quantity": "temperature.ambient", "value": 30.0}}  # fmt: skip
    return {"lane": "events", "blocks": [], "items": [item | change]}


@pytest.fixture
def door(store_url: str) -> Iterator[Door]:
    world = World(store_url)
    made = Door(world)
    yield made
    world.journal.stop()
    world.close()


def test_a_push_is_on_disk_when_it_is_answered(door: Door) -> None:
    answer = door.push()
    assert answer.status_code == 200
    assert answer.json() == {"lane": "readings", "through": 1, "requests": [],
                             "bundle": door.world.runtime.snapshot.bundles["room-1"].version}  # fmt: skip
    door.world.journal.stop()  # whatever is still to be applied is applied
    kept = door.rows()
    assert [row[-1] for row in kept["latest"]] == ['{"values":[22.5,null],"missing":{"1":["timeout","no answer"]}}']
    assert kept["latest"][0][5] == pytest.approx(door.world.clock.wall() - 2)
    assert kept["journal"] == []  # trimmed once applied


def test_gzip_is_understood(door: Door) -> None:
    body = gzip.compress(json.dumps(push()).encode())
    assert door.ask("POST", "/v1/push", body, content_encoding="gzip").status_code == 200


Refused = tuple[str, Callable[[Door], httpx.Response], int]
REFUSED: list[Refused] = [
    ("no token", lambda d: d.push(authorization=""), 401),
    ("a wrong token", lambda d: d.push(authorization="Bearer nonsense"), 401),
    ("another scheme", lambda d: d.push(authorization=f"Basic {d.token}"), 401),
    ("another agent's name", lambda d: d.push({"agent": "room-2"}), 403),
    ("another agent's device", lambda d: d.push({"blocks": [BLOCK | {"device": "other"}]}), 403),
    ("an event of another's device", lambda d: d.push(event(device="collector")), 403),
    ("malformed JSON", lambda d: d.ask("POST", "/v1/push", b'{"protocol": 1'), 400),
    ("not UTF-8", lambda d: d.ask("POST", "/v1/push", b'{"agent": "\xff\xfe"}'), 400),
    ("endless nesting", lambda d: d.ask("POST", "/v1/push", b"[" * 100_000), 400),
    ("NaN", lambda d: d.ask("POST", "/v1/push", json.dumps(push()).replace("22.5", "NaN").encode()), 400),
    ("a number beyond any float", lambda d: d.ask("POST", "/v1/push", json.dumps(push()).replace("22.5", "9" * 400).encode()), 400),
    ("an array", lambda d: d.ask("POST", "/v1/push", b"[]"), 400),
    ("an empty body", lambda d: d.ask("POST", "/v1/push", b""), 400),
    ("another protocol", lambda d: d.push({"protocol": 2}), 400),
    ("no lane", lambda d: d.push({"lane": "gossip"}), 400),
    ("a text as seq", lambda d: d.push({"items": [push()["items"][0] | {"seq": "1"}]}), 400),
    ("true as seq", lambda d: d.push({"items": [push()["items"][0] | {"seq": True}]}), 400),
    ("a seq twice", lambda d: d.push({"items": push()["items"] * 2}), 400),
    ("a negative age", lambda d: d.push({"items": [push()["items"][0] | {"age_s": -1}]}), 400),
    ("null without a reason", lambda d: d.push({"items": [push()["items"][0] | {"missing": {}}]}), 400),
    ("a reason for what is there", lambda d: d.push({"items": [push()["items"][0] | {"missing": {"0": ["timeout", ""]}}]}), 400),
    ("an unknown level", lambda d: d.push(event(level="dire")), 400),
    ("a character no database keeps", lambda d: d.push(event(instance="a\0b")), 400),
    ("a number beyond any float, as evidence", lambda d: d.push(event(evidence={"quantity": "q", "value": 10**400})), 400),
    ("half a letter", lambda d: d.ask("POST", "/v1/push", json.dumps(push() | {"epoch": "\ud800"}).encode()), 400),
    ("too few values", lambda d: d.push({"items": [push()["items"][0] | {"values": [1.0], "missing": {}}]}), 400),
    ("frames under no block", lambda d: d.push({"blocks": []}), 409),
    ("100 MB", lambda d: d.ask("POST", "/v1/push", b"x" * 100_000_000), 413),
    ("a gzip bomb", lambda d: d.ask("POST", "/v1/push", gzip.compress(b" " * 200_000_000), content_encoding="gzip"), 413),
    ("half a gzip", lambda d: d.ask("POST", "/v1/push", gzip.compress(b"{}")[:-4], content_encoding="gzip"), 400),
    ("not gzip", lambda d: d.ask("POST", "/v1/push", b"{}", content_encoding="gzip"), 400),
    ("another coding", lambda d: d.ask("POST", "/v1/push", b"{}", content_encoding="br"), 400),
    ("another method", lambda d: d.ask("GET", "/v1/push"), 405),
    ("a full disk", lambda d: [setattr(d, "full", True), d.push()][1], 503),
]  # fmt: skip


@pytest.mark.parametrize(("ask", "status"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_bad_request_gets_its_status_and_changes_nothing(
    door: Door, ask: Callable[[Door], httpx.Response], status: int
) -> None:
    before = door.rows()
    answer = ask(door)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert door.token not in answer.text
    assert door.rows() == before
    if status == 503:
        assert int(answer.headers["retry-after"]) > 0


def test_an_agent_that_left_the_inventory_is_refused_whatever_token_it_has(door: Door) -> None:
    door.token = mint(door.world.store, TokenKind.AGENT, "room-0", door.world.clock.wall())
    before = door.rows()
    answer = door.push({"agent": "room-0", "blocks": [], "items": []})
    assert answer.status_code == 403
    assert "room-0" in answer.json()["error"]
    assert door.rows() == before


def test_frames_under_the_block_of_a_device_that_is_another_agent_s_now_count_for_nothing(door: Door) -> None:
    assert door.push().status_code == 200
    inventory = INVENTORY.replace("devices:", "  - {agent: room-2, owner: olga}\ndevices:")
    door.world.adopt(inventory.replace("sensor-1, agent: room-1", "sensor-1, agent: room-2"))
    frame = push()["items"][0] | {"seq": 2, "values": [99.0, None]}
    door.push({"blocks": [], "items": [frame]})
    door.world.journal.stop()
    assert not any("99.0" in row[-1] for row in (*door.rows()["latest"], *door.rows()["history"]))


def test_while_the_store_is_away_an_agent_is_asked_to_come_again(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreError("no connection to the store")

    door.world.clock.advance(5)
    with monkeypatch.context() as patched:
        patched.setattr(door.world.store, "read", away)
        answer = door.push()
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0


def test_a_409_names_the_blocks_to_declare(door: Door) -> None:
    assert door.push({"blocks": []}).json()["blocks"] == [1]
    assert door.push().status_code == 200


def test_a_body_without_a_length_is_stopped_where_it_becomes_too_large(door: Door) -> None:
    taken = 0

    async def asked() -> int:
        statuses: list[int] = []

        async def receive() -> dict[str, Any]:
            nonlocal taken
            taken += 1_000_000
            return {"type": "http.request", "body": b"x" * 1_000_000, "more_body": True}

        async def send(message: Any) -> None:
            statuses.append(message.get("status", 0))

        scope = {"type": "http", "method": "POST", "path": "/v1/push",
                 "headers": [(b"authorization", f"Bearer {door.token}".encode())]}  # fmt: skip
        await door.ingest(scope, receive, send)
        return statuses[0]

    assert asyncio.run(asked()) == 413
    assert taken <= BODY_LIMIT + 1_000_000


def test_duplicates_change_nothing_and_gaps_are_counted(door: Door) -> None:
    frame = push()["items"][0]
    assert door.push().json()["through"] == 1
    assert door.push().json()["through"] == 1
    assert door.push({"items": [frame | {"seq": 5}]}).json()["through"] == 5
    assert door.push({"items": [frame | {"seq": 2}]}).json()["through"] == 5  # late, out of order: a replay by its seq
    assert door.push({"items": [{"seq": 9, "first": 6, "frames": 4}]}).json()["through"] == 9
    door.world.journal.stop()
    (lane,) = door.rows()["lane"]
    assert lane[3:7] == (9, 2, 3, 4)  # seq, items, gaps, dropped
    assert len(door.rows()["history"]) == 2


def test_a_clock_an_hour_wrong_changes_no_time(door: Door) -> None:
    assert door.push({"sent_at": door.world.clock.wall() - 3600}).status_code == 200
    door.world.journal.stop()
    assert door.rows()["latest"][0][5] == pytest.approx(door.world.clock.wall() - 2)
    assert door.rows()["agent"][0][3] == pytest.approx(-3600)


def test_a_revoked_token_is_refused_within_a_second(door: Door) -> None:
    assert door.push().status_code == 200
    revoke(door.world.store, TokenKind.AGENT, "room-1")
    door.world.clock.advance(1.5)
    assert door.push().status_code == 401


def test_a_person_s_token_is_no_agent_s(door: Door) -> None:
    door.token = mint(door.world.store, TokenKind.PERSON, "day", 0.0)
    assert door.push().status_code == 401


def test_the_bundle_is_served_by_etag_and_has_no_owner_in_it(door: Door) -> None:
    answer = door.ask("GET", "/v1/bundle")
    body = answer.json()
    assert [device["device"] for device in body["devices"]] == ["sensor-1", "web-1"]
    assert "olga" not in answer.text
    assert any(rule["name"].endswith("environment.yml") for rule in body["rules"])
    again = door.ask("GET", "/v1/bundle", if_none_match=answer.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")


def test_what_a_person_asks_of_an_agent_comes_with_its_next_answer_once(door: Door) -> None:
    poll_now(door.world.runtime.notifier(), "sensor-1", "day", 0.0)
    door.requests.refresh()
    assert door.push().json()["requests"] == [{"kind": "poll-now", "device": "sensor-1"}]
    assert door.push().json()["requests"] == []


def test_a_full_disk_found_out_while_writing_is_answered_503_and_loses_nothing(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreFull("the store's disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("watchkeeper.collector.intake.journal.Journal._insert", full)
        assert door.push().status_code == 503
    assert door.rows()["lane"] == []
    assert door.push().status_code == 200


def test_an_sqlite_file_that_cannot_grow_is_a_full_disk(tmp_path: Any) -> None:
    store = engine.Store(f"sqlite:///{tmp_path}/small.db")
    migrate(store)
    row = {"agent": "a", "received_at": 0.0, "after_seq": 0, "body": b"x" * 500_000, "fault": None}
    with pytest.raises(StoreFull), store.write() as connection:
        _fill(connection, row)
    store.close()


def test_a_push_that_cannot_be_applied_stays_in_the_journal_and_the_others_go_on(
    door: Door, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    genuine = journal_module.apply

    def apply(connection: Any, notifier: Any, arrivals: Any, *rest: Any) -> Any:
        if any(arrival.push.epoch == "poison" for arrival in arrivals):
            raise RuntimeError("a bug")
        return genuine(connection, notifier, arrivals, *rest)

    monkeypatch.setattr(journal_module, "apply", apply)
    assert door.push(event() | {"epoch": "poison"}).status_code == 200
    assert door.push(event(id="v2") | {"epoch": "good"}).status_code == 200
    door.world.journal.stop()
    assert len(door.rows()["journal"]) == 1
    assert door.world.journal.faults == 1
    assert [one.level for one in door.world.incidents()] == [Level.CRITICAL]


def _fill(connection: Any, row: dict[str, Any]) -> None:
    connection.exec_driver_sql("PRAGMA max_page_count = 40")
    connection.execute(journal.insert(), row)
