"""Answers by webhook call-back: signed by the person's own key, once, and for the message that was answered."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from tests.collector_room import ROOT, Room, browser
from watchkeeper.channels.ports import Address, Via
from watchkeeper.channels.webhook import sign
from watchkeeper.collector.store.schema import outbox, reply, transition, trouble
from watchkeeper.collector.web.app import build_app
from watchkeeper.documents.secrets import Secrets

SITE = "https://watch.example"
KEYS = Secrets(environ={"WATCHKEEPER_SECRET_PAGER": "the key of the pager", "WATCHKEEPER_SECRET_EMPTY": " "})


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with Room(tmp_path) as room:
        snapshot = room.runtime.snapshot
        hook = Address(Via.WEBHOOK, "https://pager.example/x", "pager")
        empty = Address(Via.WEBHOOK, "https://pager.example/y", "empty")
        contacts = snapshot.configuration.contacts
        people = tuple(replace(one, channels=(empty, hook)) for one in contacts.people)
        changed = replace(snapshot.configuration, contacts=replace(contacts, people=people))
        room.runtime.activate(replace(snapshot, configuration=changed))
        room.heat()
        room.decide_rungs()
        yield room


@pytest.fixture
def pager(room: Room) -> Iterator[httpx.Client]:
    front = build_app(room.runtime, room.ingest, room.metrics, ["watch.example"], open_reading=False, key_of=KEYS.get)
    with browser(front, SITE) as client:
        yield client


def message(room: Room) -> tuple[str, str]:
    """The key of the page, and its person."""
    with room.store.read() as connection:
        row = connection.execute(sa.select(outbox).order_by(outbox.c.id)).first()
    assert row
    return row.key, row.person


def post(
    pager: httpx.Client,
    room: Room,
    fields: object,
    *,
    key: str = "the key of the pager",
    late_s: float = 0.0,
    body: bytes = b"",
) -> httpx.Response:
    body = body or json.dumps(fields).encode()
    timestamp = str(int(room.clock.wall() - late_s))
    headers = {
        "watchkeeper-timestamp": timestamp,
        "watchkeeper-signature": sign(key, timestamp, body),
        "content-type": "application/json",
    }
    return pager.post("/api/v1/replies", content=body, headers=headers)


def written(room: Room) -> tuple[object, ...]:
    with room.store.read() as connection:
        tables = (reply, transition, outbox)
        counts = [connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() for table in tables]
        return (*counts, connection.execute(sa.select(trouble.c.acknowledged_by)).scalar())


def test_a_signed_answer_counts_once(room: Room, pager: httpx.Client) -> None:
    key, person = message(room)
    fields = {"key": key, "answer": "acknowledge", "note": "on my way"}
    first = post(pager, room, fields)
    assert (first.status_code, first.json()) == (200, {"outcome": "applied", "repeated": False, "trouble": 1})
    after = written(room)
    assert after[-1] == person
    for late_s in (0.0, 10.0):  # a replay of the same request, and the same answer signed again
        again = post(pager, room, fields, late_s=late_s)
        assert (again.status_code, again.json()) == (200, {"outcome": "applied", "repeated": True, "trouble": 1})
    assert written(room) == after
    with room.store.read() as connection:
        note = connection.execute(sa.select(transition.c.note).order_by(transition.c.id.desc())).scalar()
    assert note == "on my way (通过 Webhook)"


@pytest.mark.parametrize("answer", ["on-site", "escalate"])
def test_every_answer_is_carried_out(room: Room, pager: httpx.Client, answer: str) -> None:
    key, _ = message(room)
    before = written(room)
    assert post(pager, room, {"key": key, "answer": answer}).json()["outcome"] == "applied"
    assert written(room) != before


def test_what_is_not_signed_changes_and_tells_nothing(room: Room, pager: httpx.Client) -> None:
    key, _ = message(room)
    good = {"key": key, "answer": "acknowledge"}
    before = written(room)
    answers = [
        pager.post("/api/v1/replies", json=good),
        post(pager, room, good, key="another key"),
        post(pager, room, good, key=" "),
        post(pager, room, good, late_s=301.0),
        post(pager, room, good, late_s=-301.0),
        post(pager, room, {**good, "key": "17-1/page/duty/nobody"}),
        post(pager, room, {**good, "key": None}),
        post(pager, room, [key]),
        post(pager, room, {}, body=b"{"),
        post(pager, room, {}, body=b"[" * 50_000),
        post(pager, room, {}, body=b'{"key": "\\ud800"}'),
        post(pager, room, {}, body=b'{"key": "\\u0000"}'),
        post(pager, room, {}, body=b"\xff\xfe"),
    ]
    assert {one.status_code for one in answers} == {401}
    assert len({one.text for one in answers}) == 1
    assert written(room) == before


def test_a_changed_body_is_not_believed(room: Room, pager: httpx.Client) -> None:
    key, _ = message(room)
    body = json.dumps({"key": key, "answer": "acknowledge"}).encode()
    timestamp = str(int(room.clock.wall()))
    headers = {
        "watchkeeper-timestamp": timestamp,
        "watchkeeper-signature": sign("the key of the pager", timestamp, body),
    }
    changed = pager.post("/api/v1/replies", content=body.replace(b"acknowledge", b"escalate"), headers=headers)
    assert changed.status_code == 401


@pytest.mark.parametrize(
    "more", [{"answer": "resolve"}, {"answer": "reopen"}, {"answer": ""}, {}, {"answer": "comment", "note": "a\0b"}, {"answer": "comment", "as": "x"}]
)  # fmt: skip
def test_an_answer_that_is_none_is_refused(room: Room, pager: httpx.Client, more: dict[str, str]) -> None:
    key, _ = message(room)
    before = written(room)
    assert post(pager, room, {"key": key, **more}).status_code == 422
    assert written(room) == before


def test_a_late_answer_is_noted_and_says_so(room: Room, pager: httpx.Client) -> None:
    key, _ = message(room)
    room.clock.advance(660)
    room.decide_rungs()
    late = post(pager, room, {"key": key, "answer": "escalate"})
    assert (late.status_code, late.json()["outcome"]) == (409, "late")
    assert late.json()["error"] == "conflict: It was escalated already since that message."
    again = post(pager, room, {"key": key, "answer": "escalate"})
    assert (again.status_code, again.json()["outcome"], again.json()["repeated"]) == (409, "late", True)
    assert post(pager, room, {"key": key, "answer": "comment"}).json()["outcome"] == "refused"


def test_without_keys_no_reply_is_accepted(room: Room) -> None:
    key, _ = message(room)
    front = build_app(room.runtime, room.ingest, room.metrics, ["watch.example"])
    with browser(front, SITE) as client:
        assert post(client, room, {"key": key, "answer": "acknowledge"}).status_code == 401


def test_the_snippet_of_the_documentation_signs_what_is_accepted(
    room: Room, pager: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "webhook.md").read_text(encoding="utf-8")
    *_, snippet = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    scope: dict[str, Any] = {}
    exec(snippet, scope)  # noqa: S102 -- our own page
    monkeypatch.setattr("time.time", room.clock.wall)
    body, headers = scope["signed_reply"]("the key of the pager", message(room)[0], "on-site")
    assert pager.post("/api/v1/replies", content=body, headers=headers).json()["outcome"] == "applied"
