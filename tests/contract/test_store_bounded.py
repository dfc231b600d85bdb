"""Tables that could grow without end: what is deleted, what stays, and that pages do not read what is old."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.collector_room import NIGHT, Room, browser, words
from watchkeeper.channels.ports import Proof, Receipt, Via
from watchkeeper.collector.notify.delivery.claims import TRIES_KEPT, Claim, write_receipt
from watchkeeper.collector.process.apply import OPEN_OF_DEVICE
from watchkeeper.collector.process.own.of_agents.limits import REPORTED_AGAIN_S, LimitsKept
from watchkeeper.collector.read.incidents import MOST_EVENTS
from watchkeeper.collector.site.inventory import PersonAddress
from watchkeeper.collector.store.retention import BLOCKS_OF_DEVICE, EPOCHS_OF_AGENT, IDLE_S, delete_expired
from watchkeeper.collector.store.schema import block, history, incident, lane, latest, outbox, receipt, tally
from watchkeeper.model.batch import Lane
from watchkeeper.model.reading import Series
from watchkeeper.model.verdict import Evidence, Level, Verdict

HISTORY_S = 48 * 3600.0
DAY_S = 86_400.0


@pytest.fixture
def room(tmp_path: Path, store_url: str) -> Iterator[Room]:
    with Room(tmp_path, store_url) as room:
        yield room


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Room]:
    with Room(tmp_path) as room:
        yield room


def add(room: Room, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
    with room.store.write() as connection:
        room.store.write_many(connection, table, rows)


def select(room: Room, *columns: Any) -> list[tuple[Any, ...]]:
    with room.store.read() as connection:
        return [tuple(row) for row in connection.execute(sa.select(*columns).order_by(*columns))]


# ---- tries of a message ----


def failed(number: int) -> Receipt:
    return Receipt(delivered=False, detail=f"no answer {number}")


def test_of_many_failed_tries_the_first_and_the_newest_are_kept_and_all_are_counted(room: Room) -> None:
    room.heat()
    room.decide_rungs()
    with room.store.read() as connection:
        row = connection.execute(sa.select(outbox)).first()
    assert row
    claim = Claim(1, (row,), 0, PersonAddress(Via.CONSOLE), 0.0, 0.0, 15.0)
    for number in range(100):
        outcome = Receipt(delivered=True, detail="once") if number == 50 else failed(number)
        with room.store.write() as connection:
            write_receipt(room.store, connection, claim, NIGHT + number, "console", outcome)
    details = [detail for _, detail in select(room, receipt.c.id, receipt.c.detail)]
    assert details[:2] == ["no answer 0", "once"]
    assert details[2:] == [f"no answer {number}" for number in range(100 - TRIES_KEPT, 100)]
    assert select(room, outbox.c.left_out) == [(100 - TRIES_KEPT - 2,)]
    counts = dict(select(room, tally.c.name, tally.c.count))
    assert (counts["deliveries console failed"], counts["deliveries console delivered"]) == (99, 1)
    page = browser(room.front).get("/troubles/1").text
    assert f"{100 - TRIES_KEPT - 2} failed attempts are left out" in words(page)


# ---- blocks, epochs, tests ----


def blocks(agent: str, epoch: str, device: str, numbers: range) -> list[dict[str, Any]]:
    return [
        {"agent": agent, "epoch": epoch, "block": number, "device": device, "probe": "snmp", "every_s": 30.0,
         "series": "[]", "facts": "[]"}
        for number in numbers
    ]  # fmt: skip


def lanes(agent: str, epoch: str, heard_at: float) -> dict[str, Any]:
    return {"agent": agent, "epoch": epoch, "lane": Lane.READINGS.value, "seq": 1, "items": 1, "gaps": 0, "dropped": 0,
            "heard_at": heard_at}  # fmt: skip


def test_blocks_of_dead_epochs_are_deleted_except_those_of_the_newest_frames(room: Room) -> None:
    now = room.clock.wall()
    add(room, lane, [lanes("room-1", "old", now - HISTORY_S - 2 * DAY_S), lanes("room-1", "late", now - HISTORY_S)])
    for epoch in ("old", "late", "no lane"):
        add(room, block, blocks("room-1", epoch, "ups-1", range(1, 6)))
    frame = {
        "device": "ups-1",
        "probe": "snmp",
        "agent": "room-1",
        "epoch": "old",
        "block": 3,
        "at": 1.0,
        "column": "{}",
    }
    add(room, latest, [frame])
    delete_expired(room.store, now, HISTORY_S)
    assert select(room, block.c.epoch, block.c.block) == [*(("late", n) for n in range(1, 6)), ("old", 3)]


def test_unused_blocks_of_a_device_are_noted_and_deleted_an_hour_later(room: Room) -> None:
    now = room.clock.wall()
    add(room, lane, [lanes("room-1", "now", now)])
    add(room, block, blocks("room-1", "now", "ups-1", range(1, 31)) + blocks("room-1", "now", "crac-1", range(31, 36)))
    frame = {"device": "ups-1", "agent": "room-1", "epoch": "now", "seq": 1, "at": now, "column": "{}"}
    add(room, history, [{**frame, "block": 5}])
    newest = {**frame, "block": 7, "probe": "snmp"}
    del newest["seq"]
    add(room, latest, [newest])
    kept = {5, 7, *range(31 - BLOCKS_OF_DEVICE, 36)}

    def noted() -> set[int]:
        return {number for number, idle_at in select(room, block.c.block, block.c.idle_at) if idle_at is not None}

    delete_expired(room.store, now, HISTORY_S)
    assert noted() == set(range(1, 31)) - kept
    delete_expired(room.store, now + IDLE_S - 1, HISTORY_S)
    add(room, history, [{**frame, "block": 9}])
    delete_expired(room.store, now + IDLE_S, HISTORY_S)
    assert {number for (number,) in select(room, block.c.block)} == kept | {9}
    assert noted() == set()


def test_an_agent_that_begins_many_epochs_keeps_the_newest(room: Room) -> None:
    now = room.clock.wall()
    add(room, lane, [lanes("flood", f"epoch-{number}", now - number) for number in range(3 * EPOCHS_OF_AGENT)])
    add(room, lane, [lanes("room-1", "epoch", now - 1000)])
    delete_expired(room.store, now, HISTORY_S)
    kept = {epoch for (epoch,) in select(room, lane.c.epoch)}
    assert kept == {"epoch", *(f"epoch-{number}" for number in range(EPOCHS_OF_AGENT))}


def test_old_tests_of_channels_are_deleted_except_the_last(room: Room) -> None:
    now = room.clock.wall()
    add(room, outbox, [message(number, "test", 0, now - age_d * DAY_S) for number, age_d in enumerate((50, 40, 20), 1)])
    add(room, outbox, [message(9, "test", 1, now - 50 * DAY_S), message(10, "trouble", 1, now - 500 * DAY_S)])
    add(room, receipt, [delivery(number, now) for number in (1, 2, 3, 9, 10)])
    delete_expired(room.store, now, HISTORY_S)
    assert [number for (number,) in select(room, outbox.c.id)] == [3, 9, 10]
    assert [number for (number,) in select(room, receipt.c.outbox)] == [3, 9, 10]


def message(number: int, about: str, about_id: int, at: float) -> dict[str, Any]:
    return {
        "id": number, "key": f"k{number}", "about": about, "about_id": about_id, "recurrence": 1, "kind": "page", "rung": "duty",
        "person": "zhang.wei", "created_at": at, "expires_at": None, "fallback": "[]", "subject": "s", "text": "t", "facts": "{}",
        "state": "delivered", "next_at": at, "channel": 0, "attempts": 1, "handed_on": False, "urgency": 10, "prove_by": None,
        "left_out": 0,
    }  # fmt: skip


def delivery(about: int, at: float) -> dict[str, Any]:
    return {
        "outbox": about,
        "at": at,
        "channel": "console",
        "delivered": True,
        "detail": "taken",
        "proof": Proof.ACCEPTED.value,
    }


# ---- faults without end ----


def test_a_device_with_endless_faults_opens_only_so_many_and_its_agent_exceeds_its_limits(room: Room) -> None:
    source = LimitsKept(room.store, lambda _: "")
    series, snapshot = Series("room-1", "agent.limits"), room.runtime.snapshot
    assert source.values(snapshot, 0.0)[series] == "ok"
    evidence = Evidence("device.alarm", "critical")

    def bad(device: str, part: int) -> Verdict:
        return Verdict(
            f"{device}-{part}", device, "device.alarm", f"part-{part}", Level.CRITICAL, room.clock.wall(), evidence
        )

    room.push(Lane.EVENTS, [bad("ups-1", part) for part in range(OPEN_OF_DEVICE + 20)])
    room.push(Lane.EVENTS, [bad("ups-1", part) for part in range(OPEN_OF_DEVICE + 20, OPEN_OF_DEVICE + 40)])
    room.push(Lane.EVENTS, [bad("crac-1", part) for part in range(3)])
    query = sa.select(incident.c.device, sa.func.count()).group_by(incident.c.device)
    with room.store.read() as connection:
        assert {row[0]: row[1] for row in connection.execute(query)} == {"ups-1": OPEN_OF_DEVICE, "crac-1": 3}
    assert source.values(snapshot, 10.0)[series] == "exceeded"
    assert source.values(snapshot, 9.0 + REPORTED_AGAIN_S)[series] == "exceeded"
    assert source.values(snapshot, 10.0 + REPORTED_AGAIN_S)[series] == "ok"


# ---- pages ----


class Work:
    """Counts the steps of SQLite's machine: the same for the same plan and rows, however busy this computer is."""

    def __init__(self, room: Room) -> None:
        self.steps = 0
        room.store.engine.dispose()
        sa.event.listen(room.store.engine, "connect", self._count)

    def _count(self, connection: Any, _: object) -> None:
        connection.set_progress_handler(self._add, 100)

    def _add(self) -> int:
        self.steps += 1
        return 0


PAGES = ("/", "/devices", "/devices/ups-1", "/troubles", "/troubles/1", "/channels", "/metrics", "/api/v1/troubles",
         "/api/v1/troubles/1", "/api/v1/incidents/1", "/api/v1/agents", "/api/v1/devices", "/api/v1/channels")  # fmt: skip
OLD = 100_000


def test_pages_read_the_same_of_a_store_with_a_hundred_thousand_old_rows(embedded: Room) -> None:
    room = embedded
    room.read_everything()
    room.heat()
    room.decide_rungs()
    room.deliver()
    now = room.clock.wall()
    messages = [message(number, "trouble", 1, now - number) for number in range(100, 100 + MOST_EVENTS)]
    add(room, outbox, messages)
    add(room, receipt, [delivery(one["id"], now - one["id"] + place) for one in messages for place in range(20)])
    work, web = Work(room), browser(room.front)

    def steps(path: str) -> int:
        web.get(path)
        before = work.steps
        assert web.get(path).status_code == 200, path
        return work.steps - before

    few = {path: steps(path) for path in PAGES}
    add(room, outbox, [message(number, "trouble", 1, now - DAY_S) for number in range(1_000, 1_000 + OLD // 20)])
    many = itertools.product(range(1_000, 1_000 + OLD // 20), range(20))
    add(room, receipt, [delivery(number, now - DAY_S + place) for number, place in many])
    for epoch in range(100):
        add(room, block, blocks("room-1", f"old-{epoch}", "ups-1", range(1, OLD // 100 + 1)))
    after = {path: steps(path) for path in PAGES}
    few["/metrics"] += OLD // 200  # it counts the messages, in an index
    more = {path: (few[path], count) for path, count in after.items() if count > 1.2 * few[path] + 10}
    assert not more, "steps of a hundred, before and after"


def test_a_long_history_comes_in_parts_without_a_gap(embedded: Room) -> None:
    room = embedded
    room.heat()
    now = room.clock.wall()
    add(room, outbox, [message(number, "trouble", 1, now + number) for number in range(1, 2 * MOST_EVENTS + 51)])
    web = browser(room.front)
    address, seen, parts = "/api/v1/troubles/1", [], 0
    while address:
        found = web.get(address).json()
        shown = [one["at"] for one in found["told"] if found["earlier"] is None or one["at"] >= found["earlier"]]
        seen += reversed(shown)
        parts += 1
        address = f"/api/v1/troubles/1?before={found['earlier']}" if found["earlier"] is not None else ""
    assert seen == [now + number for number in range(2 * MOST_EVENTS + 50, 0, -1)]
    assert parts == 3
    page = web.get("/troubles/1").text
    assert "Earlier events" in page
    assert "Earlier events" not in web.get(f"/troubles/1?before={now + 5}").text


def test_lists_come_in_parts(embedded: Room) -> None:
    web = browser(embedded.front)
    for path, name in (("devices", "device"), ("agents", "agent"), ("channels", "person")):
        whole = [one[name] for one in web.get(f"/api/v1/{path}").json()]
        found, address = [], f"/api/v1/{path}?limit=1"
        while address:
            answer = web.get(address)
            found += [one[name] for one in answer.json()]
            address = answer.links.get("next", {}).get("url", "")
        assert found == whole
        assert len(set(whole)) >= 1
