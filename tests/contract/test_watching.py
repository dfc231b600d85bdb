"""The collector's word about itself over HTTP: /healthz, /readyz, refused sign-ins, the page and the metrics without the store."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.collector_room import Room, _snapshot, browser, enter, words
from tests.security_room import listening
from watchkeeper.channels.ports import Receipt
from watchkeeper.collector.access.refusals import Refused
from watchkeeper.collector.opening import open_watch
from watchkeeper.collector.process.apply import apply_events
from watchkeeper.collector.process.health import heartbeat as heartbeat_module
from watchkeeper.collector.process.health.health import TURN, WRITE
from watchkeeper.collector.process.health.heartbeat import Heartbeat, Ping, send
from watchkeeper.collector.site.settings import read_config
from watchkeeper.collector.store.peers import CollectorIdentity, leave
from watchkeeper.collector.store.peers import enter as enter_collector
from watchkeeper.collector.web.app import build_app
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.errors import StoreError
from watchkeeper.model.verdict import Evidence, Level, Verdict


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with Room(tmp_path) as room:
        for work in (WRITE, TURN):
            room.runtime.health.expect(work)
        yield room


@pytest.fixture
def web(room: Room) -> Iterator[httpx.Client]:
    with browser(room.front) as client:
        yield client


def broken(*_: object, **__: object) -> None:
    raise StoreError("the database at 10.0.0.5 is away")


# ---- /healthz and /readyz ----


def test_healthz_says_what_is_not_done(room: Room, web: httpx.Client) -> None:
    assert (web.get("/healthz").status_code, web.get("/healthz").text) == (200, "alive\n")
    room.clock.advance(31)
    room.runtime.health.done(TURN)
    answer = web.get("/healthz")
    assert (answer.status_code, answer.text) == (503, "nothing was written to the store for 31 s\n")
    room.runtime.health.done(WRITE)
    assert web.get("/healthz").status_code == 200


def test_readyz_is_503_until_the_first_turn_and_while_stopping(room: Room, web: httpx.Client) -> None:
    assert (web.get("/readyz").status_code, web.get("/readyz").text) == (
        503,
        "it is starting: the first turn is not done\n",
    )
    room.runtime.health.done(TURN)
    assert (web.get("/readyz").status_code, web.get("/readyz").text) == (200, "ready\n")
    room.runtime.health.stopping = True
    assert (web.get("/readyz").status_code, web.get("/readyz").text) == (503, "it is stopping\n")
    assert web.get("/healthz").status_code == 200


def test_both_answer_everybody_without_the_store(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe asks by the address of the machine, which is not in `hosts`, and has no token."""
    room.runtime.health.done(TURN)
    monkeypatch.setattr(room.store, "read", broken)
    monkeypatch.setattr(room.store, "write", broken)
    closed = build_app(room.runtime, room.ingest, room.metrics, ["watch.example"], open_reading=False)
    with browser(closed, "https://10.1.2.3:8760") as stranger:
        for path in ("/healthz", "/readyz"):
            assert stranger.get(path).status_code == 200
            assert stranger.get(path, headers={"authorization": "Bearer nonsense"}).status_code == 200
            head = stranger.head(path)
            assert (head.status_code, head.content) == (200, b"")
            assert stranger.post(path).status_code == 405
            assert stranger.get(path).headers["cache-control"] == "no-store"
    assert not room.runtime.refusals.total


# ---- refusals ----


def push(web: httpx.Client, token: str) -> int:
    return web.post("/v1/push", json={}, headers={"authorization": f"Bearer {token}"}).status_code


def test_each_kind_of_refusal_is_counted_once_with_its_source(room: Room, web: httpx.Client) -> None:
    assert push(web, "wrong") == 401
    assert web.get("/devices", headers={"authorization": "Bearer wrong"}).status_code == 200  # from this machine
    assert (
        web.post("/api/v1/troubles/1/acknowledge", json={}, headers={"authorization": "Bearer wrong"}).status_code
        == 401
    )
    assert web.get("/enter?ticket=wrong").status_code == 410
    assert web.get("/t/wrong").status_code == 410
    assert web.post("/api/v1/replies", json={"key": "x", "answer": "ok"}).status_code == 401
    kinds = Refused
    assert room.runtime.refusals.total == {
        kinds.AGENT: 1, kinds.PERSON: 2, kinds.TICKET: 1, kinds.LINK: 1, kinds.REPLY: 1,
    }  # fmt: skip
    assert room.runtime.refusals.recent() == {"127.0.0.1": 6}


def test_who_sends_no_token_or_an_ended_session_is_not_counted(room: Room, web: httpx.Client) -> None:
    assert web.post("/v1/push", json={}).status_code == 401
    web.get("/")
    enter(room, web)
    web.get("/")
    web.cookies.set("watchkeeper", "ended")
    web.get("/")
    assert not room.runtime.refusals.total


def test_no_refused_token_is_logged(room: Room, web: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    push(web, "s3cret-guess")
    web.get("/enter?ticket=s3cret-guess")
    assert "a wrong agent's token from 127.0.0.1" in caplog.text
    assert "s3cret" not in caplog.text


# ---- the page and the metrics ----


def samples(web: httpx.Client, name: str, **labels: str) -> list[float]:
    families = text_string_to_metric_families(web.get("/metrics").text)
    found = (one for family in families for one in family.samples if one.name == name)
    return [one.value for one in found if labels.items() <= one.labels.items()]


def test_the_page_shows_the_collectors_and_what_is_wrong(room: Room, web: httpx.Client) -> None:
    for name in ("alpha", "beta", "gamma"):
        enter_collector(room.store, CollectorIdentity(name, name), "1.2", room.clock.wall())
    leave(room.store, CollectorIdentity("gamma", "gamma"), room.clock.wall())
    room.clock.advance(40)
    enter_collector(room.store, CollectorIdentity("alpha", "alpha"), "1.2", room.clock.wall())
    push(web, "wrong")
    page = words(web.get("/channels").text)
    assert "alpha at work 03:00:40 03:00:40 1.2" in page
    assert "beta not at work 03:00:00" in page
    assert "gamma stopped" in page
    assert "nothing was written to the store for 40 s" in page
    assert "Heartbeat: none: if this collector stops, nobody outside is told" in page
    assert "Refused sign-ins in 5 minutes: 127.0.0.1 (1)" in page
    chinese = words(web.get("/channels?lang=zh").text)
    assert "40 秒内未能写入存储" in chinese
    assert "beta 未工作" in chinese


def test_the_page_names_the_open_faults_of_collectors(room: Room, web: httpx.Client) -> None:
    evidence = Evidence("collector.heard", "no", "is no")
    verdict = Verdict("v", "collector", "watchkeeper.peer-silent", "beta", Level.WARNING, room.clock.wall(), evidence)
    with room.store.write() as connection:
        apply_events(connection, room.runtime.notifier(), [("collector", verdict)], room.clock.wall())
    assert "A collector is not at work (beta)" in words(web.get("/channels").text)


def test_the_heartbeat_is_on_the_page_and_in_the_metrics(room: Room, web: httpx.Client) -> None:
    wrong = [""]
    heartbeat = Heartbeat(
        "https://hc.example/s3cret",
        60.0,
        room.runtime.health,
        room.clock,
        lambda _: Receipt(delivered=not wrong[0], detail=wrong[0]),
    )
    room.runtime.heartbeat = heartbeat
    for _ in range(2):
        room.clock.advance(1)
        for work in (WRITE, TURN):
            room.runtime.health.done(work)
        heartbeat.step()
    assert "Heartbeat: 03:00:02" in words(web.get("/channels").text)
    assert samples(web, "watchkeeper_heartbeat_seconds") == [room.clock.wall()]
    wrong[0] = "the address answered 404"
    room.clock.advance(31)
    heartbeat.step()
    page = web.get("/channels?lang=zh").text
    assert "心跳: 失败 · 该地址返回 404" in words(page)
    assert "s3cret" not in page
    assert samples(web, "watchkeeper_heartbeat_failures_total") == [1.0]


def test_without_the_store_the_metrics_still_say_what_the_collector_knows(
    room: Room, web: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(web, "wrong")
    assert samples(web, "watchkeeper_healthy") == [1.0]
    assert samples(web, "watchkeeper_incidents_open") == []
    assert len(samples(web, "watchkeeper_agent_heard_age_seconds")) == 1
    room.clock.advance(45)
    room.runtime.health.done(TURN)
    monkeypatch.setattr(room.store, "read", broken)
    answer = web.get("/metrics")
    assert answer.status_code == 200
    assert "10.0.0.5" not in answer.text
    assert samples(web, "watchkeeper_healthy") == [0.0]
    assert samples(web, "watchkeeper_work_age_seconds", work="write") == [45.0]
    assert samples(web, "watchkeeper_sign_ins_refused_total", kind="agent") == [1.0]
    assert samples(web, "watchkeeper_agent_heard_age_seconds") == [], "what is in the store is absent, not old"


# ---- the request of a heartbeat ----


def test_a_redirect_is_no_receipt_and_is_not_followed() -> None:
    with listening({"Location": "/elsewhere"}, 302) as (port, asked):
        receipt = send(Ping("POST", f"http://127.0.0.1:{port}/s3cret/fail", "the reason"))
    assert not receipt.delivered
    assert receipt.detail == "the address answered 302"
    assert [path for path, _ in asked] == ["/s3cret/fail"]


def test_an_answer_of_2xx_is_a_receipt() -> None:
    with listening({}, 200) as (port, asked):
        assert send(Ping("GET", f"http://127.0.0.1:{port}/s3cret")).delivered
    assert asked == [("/s3cret", "")]


def test_what_went_wrong_does_not_quote_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/s3cret"
        with monkeypatch.context() as patched:
            patched.setattr(heartbeat_module, "DEADLINE_S", 0.2)
            late = send(Ping("GET", url))
    refused = send(Ping("GET", url))
    assert (late.delivered, refused.delivered) == (False, False)
    assert refused.detail == "the address cannot be reached: Connection refused"
    assert "s3cret" not in late.detail


def test_a_heartbeat_without_its_secret_does_not_keep_the_collector_from_starting(tmp_path: Path) -> None:
    (tmp_path / "collector.yml").write_text("heartbeat: {url: secret:nowhere}\n")
    watch = open_watch(read_config(tmp_path / "collector.yml"), Secrets(), FakeClock(), _snapshot())
    assert watch.heartbeat
    watch.heartbeat.step()
    assert "no secret called `nowhere`" in watch.heartbeat.wrong
    assert watch.heartbeat.failures == 1
