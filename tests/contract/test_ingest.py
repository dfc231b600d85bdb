"""The endpoints for agents. Every kind of bad request gets its documented status (docs/protocol.md), and changes nothing."""

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
from watchkeeper.collector.intake.body import BODY_LIMIT
from watchkeeper.collector.intake.endpoint import AgentEndpoint
from watchkeeper.collector.intake.requests import Requests
from watchkeeper.collector.process.actions import poll_now
from watchkeeper.collector.process.guarded_clock import GuardedClock
from watchkeeper.collector.store import engine
from watchkeeper.collector.store.migrate import migrate
from watchkeeper.collector.store.schema import journal, metadata
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.errors import StoreError, StoreFull
from watchkeeper.model.verdict import Level

BLOCK = {"block": 1, "device": "sensor-1", "probe": "snmp", "every_s": 15.0,
         "series": [["temperature.ambient", "", "", "1.2.3"], ["humidity.relative", "", "", ""]]}  # fmt: skip


class AgentApi:
    """The endpoints of a collector with a running journal, and an agent that calls them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.full = False
        self.token = mint(world.store, TokenKind.AGENT, "room-1", world.clock.wall())
        self.requests = Requests(world.store, world.clock)
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
        """All rows of all tables in the store."""
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
def agent_api(store_url: str) -> Iterator[AgentApi]:
    world = World(store_url)
    made = AgentApi(world)
    yield made
    world.journal.stop()
    world.close()


def test_an_answered_push_is_in_the_store(agent_api: AgentApi) -> None:
    answer = agent_api.push()
    assert answer.status_code == 200
    assert answer.json() == {"lane": "readings", "through": 1, "requests": [], "now": agent_api.world.clock.wall(),
                             "bundle": agent_api.world.runtime.snapshot.bundles["room-1"].version}  # fmt: skip
    agent_api.world.journal.stop()  # this applies everything that is pending
    kept = agent_api.rows()
    assert [row[-1] for row in kept["latest"]] == ['{"values":[22.5,null],"missing":{"1":["timeout","no answer"]}}']
    assert kept["latest"][0][5] == pytest.approx(agent_api.world.clock.wall() - 2)
    assert kept["journal"] == []  # deleted when applied


def test_a_gzipped_push_is_accepted(agent_api: AgentApi) -> None:
    body = gzip.compress(json.dumps(push()).encode())
    assert agent_api.ask("POST", "/v1/push", body, content_encoding="gzip").status_code == 200


Refused = tuple[str, Callable[[AgentApi], httpx.Response], int]
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
    agent_api: AgentApi, ask: Callable[[AgentApi], httpx.Response], status: int
) -> None:
    before = agent_api.rows()
    answer = ask(agent_api)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert agent_api.token not in answer.text
    assert agent_api.rows() == before
    if status == 503:
        assert int(answer.headers["retry-after"]) > 0


def test_an_agent_removed_from_the_inventory_is_refused_with_any_token(agent_api: AgentApi) -> None:
    agent_api.token = mint(agent_api.world.store, TokenKind.AGENT, "room-0", agent_api.world.clock.wall())
    before = agent_api.rows()
    answer = agent_api.push({"agent": "room-0", "blocks": [], "items": []})
    assert answer.status_code == 403
    assert "room-0" in answer.json()["error"]
    assert agent_api.rows() == before


def test_frames_of_a_device_that_now_belongs_to_another_agent_are_ignored(agent_api: AgentApi) -> None:
    assert agent_api.push().status_code == 200
    inventory = INVENTORY.replace("devices:", "  - {agent: room-2, owner: olga}\ndevices:")
    agent_api.world.adopt(inventory.replace("sensor-1, agent: room-1", "sensor-1, agent: room-2"))
    frame = push()["items"][0] | {"seq": 2, "values": [99.0, None]}
    agent_api.push({"blocks": [], "items": [frame]})
    agent_api.world.journal.stop()
    assert not any("99.0" in row[-1] for row in (*agent_api.rows()["latest"], *agent_api.rows()["history"]))


def test_an_agent_must_retry_while_the_store_is_unavailable(
    agent_api: AgentApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreError("no connection to the store")

    agent_api.world.clock.advance(5)
    with monkeypatch.context() as patched:
        patched.setattr(agent_api.world.store, "read", away)
        answer = agent_api.push()
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0


def test_a_409_names_the_blocks_to_declare(agent_api: AgentApi) -> None:
    assert agent_api.push({"blocks": []}).json()["blocks"] == [1]
    assert agent_api.push().status_code == 200


def test_a_body_without_a_length_is_refused_when_it_becomes_too_large(agent_api: AgentApi) -> None:
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
                 "headers": [(b"authorization", f"Bearer {agent_api.token}".encode())]}  # fmt: skip
        await agent_api.ingest(scope, receive, send)
        return statuses[0]

    assert asyncio.run(asked()) == 413
    assert taken <= BODY_LIMIT + 1_000_000


def test_duplicates_change_nothing_and_gaps_are_counted(agent_api: AgentApi) -> None:
    frame = push()["items"][0]
    assert agent_api.push().json()["through"] == 1
    assert agent_api.push().json()["through"] == 1
    assert agent_api.push({"items": [frame | {"seq": 5}]}).json()["through"] == 5
    assert (
        agent_api.push({"items": [frame | {"seq": 2}]}).json()["through"] == 5
    )  # late and out of order: its seq makes it a replay
    assert agent_api.push({"items": [{"seq": 9, "first": 6, "frames": 4}]}).json()["through"] == 9
    agent_api.world.journal.stop()
    (lane,) = agent_api.rows()["lane"]
    assert lane[3:7] == (9, 2, 3, 4)  # seq, items, gaps, dropped
    assert len(agent_api.rows()["history"]) == 2


def test_an_agent_s_clock_that_is_an_hour_wrong_changes_no_time(agent_api: AgentApi) -> None:
    assert agent_api.push({"sent_at": agent_api.world.clock.wall() - 3600}).status_code == 200
    agent_api.world.journal.stop()
    assert agent_api.rows()["latest"][0][5] == pytest.approx(agent_api.world.clock.wall() - 2)
    assert agent_api.rows()["agent"][0][3] == pytest.approx(-3600)


def test_a_revoked_token_is_refused_within_a_second(agent_api: AgentApi) -> None:
    assert agent_api.push().status_code == 200
    revoke(agent_api.world.store, TokenKind.AGENT, "room-1")
    agent_api.world.clock.advance(1.5)
    assert agent_api.push().status_code == 401


def test_a_person_s_token_is_refused(agent_api: AgentApi) -> None:
    agent_api.token = mint(agent_api.world.store, TokenKind.PERSON, "day", 0.0)
    assert agent_api.push().status_code == 401


def test_the_bundle_has_an_etag_and_no_owners(agent_api: AgentApi) -> None:
    answer = agent_api.ask("GET", "/v1/bundle")
    body = answer.json()
    assert [device["device"] for device in body["devices"]] == ["sensor-1", "web-1"]
    assert "olga" not in answer.text
    assert any(rule["name"].endswith("environment.yml") for rule in body["rules"])
    again = agent_api.ask("GET", "/v1/bundle", if_none_match=answer.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")


def test_a_person_s_request_to_an_agent_is_in_its_next_answer_once(agent_api: AgentApi) -> None:
    poll_now(agent_api.world.runtime.notifier(), "sensor-1", "day", 0.0)
    agent_api.requests.refresh()
    assert agent_api.push().json()["requests"] == [{"kind": "poll-now", "device": "sensor-1"}]
    assert agent_api.push().json()["requests"] == []


def test_a_disk_that_becomes_full_while_writing_is_answered_503_and_loses_nothing(
    agent_api: AgentApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreFull("the store's disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("watchkeeper.collector.intake.journal.Journal._insert", full)
        assert agent_api.push().status_code == 503
    assert agent_api.rows()["lane"] == []
    assert agent_api.push().status_code == 200


def test_an_sqlite_file_that_cannot_grow_counts_as_a_full_disk(tmp_path: Any) -> None:
    store = engine.Store(f"sqlite:///{tmp_path}/small.db")
    migrate(store)
    row = {"agent": "a", "received_at": 0.0, "after_seq": 0, "body": b"x" * 500_000, "fault": None}
    with pytest.raises(StoreFull), store.write() as connection:
        _fill(connection, row)
    store.close()


def test_a_push_that_cannot_be_applied_stays_in_the_journal_and_others_are_applied(
    agent_api: AgentApi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    genuine = journal_module.apply

    def apply(connection: Any, notifier: Any, arrivals: Any, *rest: Any) -> Any:
        if any(arrival.push.epoch == "poison" for arrival in arrivals):
            raise RuntimeError("a bug")
        return genuine(connection, notifier, arrivals, *rest)

    monkeypatch.setattr(journal_module, "apply", apply)
    assert agent_api.push(event() | {"epoch": "poison"}).status_code == 200
    assert agent_api.push(event(id="v2") | {"epoch": "good"}).status_code == 200
    agent_api.world.journal.stop()
    for _ in range(2):
        agent_api.world.clock.advance(1)
        agent_api.world.journal.turn([])
    assert len(agent_api.rows()["journal"]) == 1
    assert agent_api.world.journal.faults == 1
    assert [one.level for one in agent_api.world.incidents()] == [Level.CRITICAL]


def _fill(connection: Any, row: dict[str, Any]) -> None:
    connection.exec_driver_sql("PRAGMA max_page_count = 40")
    connection.execute(journal.insert(), row)


def test_a_device_that_only_what_is_in_force_has_is_for_later_and_never_refused(
    agent_api: AgentApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another collector has put it in force, and this one takes it over within a turn: an agent sets aside what is refused."""
    unknown = {"blocks": [BLOCK | {"device": "web-9"}]}
    before = agent_api.rows()
    with monkeypatch.context() as patched:
        patched.setattr(agent_api.world.runtime, "is_behind", lambda: True)
        answer = agent_api.push(unknown)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert agent_api.push(unknown).status_code == 403
    assert agent_api.rows() == before


def test_a_collector_that_does_not_know_the_time_takes_only_the_votes_of_agents(agent_api: AgentApi) -> None:
    world = agent_api.world
    assert agent_api.push({"sent_at": 1.0}).status_code == 200
    told = world.clock.wall() + 60
    clock = GuardedClock(world.store, FakeClock(now=1000.0, since_boot=5.0), "boot-2", "one")
    world.runtime.clock = clock
    refused = agent_api.push({"sent_at": 61.0})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    clock.turn()
    assert clock.wall() == pytest.approx(told)
    answer = agent_api.push({"sent_at": 61.0})
    assert (answer.status_code, answer.json()["now"]) == (200, pytest.approx(told))
