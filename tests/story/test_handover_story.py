"""What messages tell while a fault goes on, from the readings that the store has at that minute. On SQLite and PostgreSQL."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.collector_room import NIGHT, Room
from watchkeeper.collector.notify import handover
from watchkeeper.collector.notify.message.draft import Lead
from watchkeeper.collector.process import actions
from watchkeeper.collector.site.inventory import Language
from watchkeeper.collector.store import readings
from watchkeeper.collector.store.schema import outbox, trouble
from watchkeeper.collector.store.troubles import trouble_from_row
from watchkeeper.model.device import Category
from watchkeeper.model.event import EVENT_QUANTITY
from watchkeeper.model.reading import Missing, Reason, Value
from watchkeeper.model.verdict import Evidence, Level

SENSOR = "sensor-cold-aisle"
TEMPERATURE = ("temperature.ambient", "", "")


@pytest.fixture
def room(tmp_path: Path, store_url: str) -> Iterator[Room]:
    """A room whose people read English."""
    with Room(tmp_path, store_url) as room:
        snapshot = room.runtime.snapshot
        configuration = snapshot.configuration
        people = tuple(replace(person, language=Language.ENGLISH) for person in configuration.contacts.people)
        configuration = replace(configuration, contacts=replace(configuration.contacts, people=people))
        room.runtime.activate(replace(snapshot, configuration=configuration))
        yield room


def heat_up(room: Room, minutes: int, start: float = 27.4, step: float = 0.68) -> None:
    """It is too hot from now on, and hotter with every minute."""
    room.read(SENSOR, {TEMPERATURE: start})
    room.heat(value=start)
    work(room)
    for minute in range(1, minutes + 1):
        room.clock.advance(60)
        room.read(SENSOR, {TEMPERATURE: start + minute * step})
        work(room)


def work(room: Room) -> None:
    room.decide_rungs()
    room.deliver()


def wait(room: Room, minutes: int, value: Value | None = None) -> None:
    """Let time pass, with a reading a minute if there is a value. The agent pushes in any case."""
    for _ in range(minutes):
        room.clock.advance(60)
        if value is None:
            room.push_nothing()
        else:
            room.read(SENSOR, {TEMPERATURE: value})
        work(room)


def cool(room: Room, *, read: bool = True) -> None:
    """The fault goes away, and stays away for long enough."""
    room.say(SENSOR, "environment.temperature", Level.OK, Evidence("temperature.ambient", 24.0))
    work(room)
    room.clock.advance(60)
    if read:
        room.read(SENSOR, {TEMPERATURE: 24.0})
    work(room)


def messages(room: Room, kind: str = "page") -> dict[tuple[str, str], list[str]]:
    """(rung or kind, person) -> subject and lines."""
    with room.store.read() as connection:
        found = connection.execute(sa.select(outbox).where(outbox.c.kind == kind).order_by(outbox.c.id)).all()
    return {(row.rung, row.person): [row.subject, *row.text.splitlines()] for row in found}


def test_twenty_minutes_in_owner_and_head_read_the_value_of_that_minute(room: Room) -> None:
    heat_up(room, 20)
    pages = messages(room)
    first, owner = pages["duty", "sun.tao"], pages["owner", "wang.lei"]
    assert first[0] == "[critical] 冷通道 · sensor-cold-aisle: Room temperature 27.4 °C (outside 18 .. 27 °C)"
    assert first[1] == "Room temperature out of range: 27.4 °C (outside 18 .. 27 °C), read at 03:00:00"
    assert owner[1] == "Room temperature out of range: 34.2 °C (outside 18 .. 27 °C), read at 03:10:00"
    for person in ("wang.lei", "zhou.gang"):
        page = pages["on-site", person]
        assert page[0] == "[critical] 冷通道 · sensor-cold-aisle: Room temperature 41 °C (outside 18 .. 27 °C)"
        assert page[1:4] == [
            "Room temperature out of range: 41 °C (outside 18 .. 27 °C), read at 03:20:00",
            "It is rising by 40.8 °C per hour. First: 27.4 °C at 02:59:00. It has not been worse.",
            "Since 2026-11-21 03:00:00, unresolved for 20 min",
        ]
        assert "Nobody has acknowledged it yet" in page
        assert "Notified so far: 孙涛 03:00, 王磊 03:10" in page
        assert "Next, at 04:00 (in 40 min): 赵敏 138 0000 0007" in page
    assert "Notified together with you: 王磊 138 0000 0005" in pages["on-site", "zhou.gang"]


def test_the_recovery_tells_the_worst_value_and_who_acted(room: Room) -> None:
    heat_up(room, 5)
    notifier = room.runtime.notifier()
    actions.acknowledge(notifier, 1, "sun.tao", room.clock.wall(), "on my way")
    room.clock.advance(60)
    actions.escalate(notifier, 1, "sun.tao", room.clock.wall(), "the compressor: it is seized")
    room.deliver()
    owner = messages(room)["owner", "wang.lei"]
    assert "Acknowledged by 孙涛 138 0000 0004 at 03:05: on my way" in owner
    assert "Escalated by 孙涛 138 0000 0004 at 03:06: the compressor: it is seized" in owner
    assert "Next, at 03:20 (in 14 min): 王磊 138 0000 0005, 周刚 138 0000 0008" in owner
    wait(room, 3, 24.0)
    cool(room)
    told = messages(room, "recovered")
    assert {person for _, person in told} == {"sun.tao", "wang.lei"}
    assert told["recovered", "wang.lei"] == [
        "[recovered] 冷通道 · sensor-cold-aisle: Room temperature out of range",
        "Room temperature: 24 °C, read at 03:10:00",
        "First: 27.4 °C at 02:59:00. Worst: 30.8 °C at 03:05:00.",
        "From 2026-11-21 03:00:00 to 03:09:00, 9 min",
        "Acknowledged by 孙涛 138 0000 0004 at 03:05: on my way",
        "Escalated by 孙涛 138 0000 0004 at 03:06: the compressor: it is seized",
        "Notified so far: 孙涛 03:00, 王磊 03:06",
        "Regulation: 3.6, 4.2.5.1",
        "https://watch.example/troubles/1",
    ]


def test_a_recovery_before_its_reading_does_not_tell_the_bad_value_as_the_present_one(room: Room) -> None:
    heat_up(room, 2)
    room.clock.advance(30)
    cool(room, read=False)
    (told,) = messages(room, "recovered").values()
    assert told[1] == "First: 27.4 °C at 02:59:00. Worst: 28.8 °C at 03:02:00."


def test_an_old_value_is_called_old(room: Room) -> None:
    heat_up(room, 5)
    wait(room, 5)
    owner = messages(room)["owner", "wang.lei"]
    assert owner[1] == (
        "Room temperature out of range: no current reading. The last one is 5 min old: 30.8 °C (outside 18 .. 27 °C), "
        "read at 03:05:00"
    )
    assert "rising" not in owner[2]


def test_readings_of_a_silent_agent_are_old(room: Room) -> None:
    room.read(SENSOR, {TEMPERATURE: 30.0}, every_s=600)
    room.heat(value=30.0)
    work(room)
    room.clock.advance(minutes=10)
    work(room)
    assert "no current reading. The last one is 10 min old: 30 °C" in messages(room)["owner", "wang.lei"][1]


def test_a_reading_that_fails_now_is_told_with_the_last_value(room: Room) -> None:
    heat_up(room, 9)
    wait(room, 1, Missing(Reason.TIMEOUT, "no answer within 2 s"))
    owner = messages(room)["owner", "wang.lei"]
    assert owner[1] == "Room temperature out of range: no reading: no answer within 2 s, at 03:10:00"
    assert owner[2].endswith("Last value: 33.5 °C at 03:09:00.")


def test_the_first_page_has_the_verdict_s_value_where_its_reading_comes_later(room: Room) -> None:
    room.read(SENSOR, {TEMPERATURE: 25.0}, age_s=15)
    room.heat(value=31.5)
    work(room)
    (page,) = messages(room).values()
    assert "31.5 °C" in page[1]
    assert "25 °C" not in page[1]


def test_a_restarted_agent_s_columns_are_read_by_their_own_declaration(room: Room) -> None:
    heat_up(room, 9)
    other = ("humidity.relative", "", "")
    room.clock.advance(60)
    room.read(SENSOR, {other: 45.0, TEMPERATURE: 33.0})
    work(room)
    owner = messages(room)["owner", "wang.lei"]
    assert "33 °C" in owner[1]
    assert owner[2].endswith("Worst: 33.5 °C at 03:09:00.")


def test_a_fault_that_returns_tells_how_often_and_how_long_it_was_there(room: Room) -> None:
    heat_up(room, 4)
    cool(room)
    wait(room, 6, 24.0)
    heat_up(room, 0, 30.0)
    page = messages(room, "returned")["returned", "sun.tao"]
    assert page[0] == "[again critical] 冷通道 · sensor-cold-aisle: Room temperature 30 °C (outside 18 .. 27 °C)"
    assert page[1] == "Room temperature out of range: 30 °C (outside 18 .. 27 °C), read at 03:11:00"
    assert "Since 2026-11-21 03:11:00, unresolved for 0 s" in page
    assert "2 times in 11 min, faulty for 4 min of it" in page
    assert "Notified so far: 孙涛 03:00" in page
    assert "Next, at 03:17 (in 6 min): 王磊 138 0000 0005" in page


def test_two_rungs_at_once_know_of_each_other(room: Room) -> None:
    """The collector was down: duty and owner are due at the same moment."""
    room.heat()
    room.clock.advance(minutes=11)
    room.push_nothing()
    work(room)
    pages = messages(room)
    assert "Next, at once: 王磊 138 0000 0005" in pages["duty", "sun.tao"]
    assert "Notified so far: 孙涛 (not delivered)" in pages["owner", "wang.lei"]
    assert "Next, at 03:20 (in 9 min): 王磊 138 0000 0005, 周刚 138 0000 0008" in pages["owner", "wang.lei"]


def test_an_event_that_a_device_told_once_has_no_value_now(room: Room) -> None:
    evidence = Evidence(EVENT_QUANTITY, "critical", "is critical", "fan 2 failed")
    room.say("ups-1", "device.event", Level.CRITICAL, evidence, "fan 2")
    room.clock.advance(minutes=10)
    work(room)
    owner = messages(room)["owner", "chen.jing"]
    assert owner[1] == "Event reported by the device (fan 2 failed): critical"


def test_the_last_rung_says_that_nobody_comes_after_it(room: Room) -> None:
    room.heat()
    room.clock.advance(minutes=61)
    work(room)
    assert "Nobody else is notified after this" in messages(room)["vendor", "zhao.min"]


@pytest.mark.parametrize("trouble", ["a column", "a query"])
def test_a_page_goes_out_where_what_it_should_tell_cannot_be_read(
    room: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    def broken(connection: sa.Connection, *_: object) -> None:
        if trouble == "a column":
            raise ValueError("this column has another form")
        connection.execute(sa.text("SELECT nothing FROM nowhere"))

    room.read(SENSOR, {TEMPERATURE: 31.5})
    monkeypatch.setattr(handover, "newest_readings", broken)
    room.heat()
    work(room)
    room.clock.advance(minutes=10)
    work(room)
    pages = messages(room)
    assert list(pages) == [("duty", "sun.tao"), ("owner", "wang.lei")]
    assert pages["owner", "wang.lei"][0] == (
        "[critical] sensor-cold-aisle: Room temperature 31.5 °C at 03:00:00 (outside 18 .. 27 °C)"
    )
    assert "could not be read" in caplog.text
    cool(room)
    assert len(messages(room, "recovered")) == 2


# ---- what it costs ----


def statements(room: Room, action: Callable[[], object]) -> list[str]:
    seen: list[str] = []

    def note(*args: Any) -> None:
        seen.append(args[2])

    sa.event.listen(room.store.engine, "before_cursor_execute", note)
    action()
    sa.event.remove(room.store.engine, "before_cursor_execute", note)
    return seen


def test_many_faults_and_troubles_cost_a_few_queries(room: Room) -> None:
    """One look at the newest readings and at the rest for all of them, and one at the history of each device."""
    sensors = [name for name, device in room.runtime.snapshot.devices.items() if device.category is Category.ENV]
    assert len(sensors) > 1

    def cost(devices: list[str], faults: int) -> int:
        room.clock.advance(minutes=20)
        values = {("temperature.ambient", f"{room.clock.wall()} {n}", ""): 60.0 + n for n in range(faults)}
        for device in devices:
            room.read(device, values)
            for _, name, _ in values:
                evidence = Evidence("temperature.ambient", 60.0, "outside 18 .. 27 °C", name, 60.0, room.clock.wall())
                room.say(device, "environment.temperature", Level.CRITICAL, evidence, name)
        with room.store.read() as connection:
            found = connection.execute(sa.select(trouble).order_by(trouble.c.trouble.desc()).limit(len(devices)))
            known = [trouble_from_row(row) for row in found]
            leads: dict[int, Lead] = {}
            now = room.clock.wall()
            seen = statements(room, lambda: leads.update(room.runtime.notifier().leads(connection, known, now)))
        assert all(lead.handover.course.fresh for lead in leads.values())
        return len(seen)

    one = cost(sensors[:1], 1)
    assert cost(sensors[:1], 30) == one <= 10
    assert cost(sensors, 1) <= one + len(sensors)


def test_a_long_fault_is_looked_at_in_steps(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    for minute in range(100):
        room.read(SENSOR, {TEMPERATURE: float(minute)}, age_s=6000 - 60 * minute)
    with room.store.read() as connection:
        whole = readings.past_numbers(connection, SENSOR, [TEMPERATURE[:2]], NIGHT - 9000)
        late = readings.past_numbers(connection, SENSOR, [TEMPERATURE[:2]], NIGHT - 330)
        nothing = readings.past_numbers(connection, SENSOR, [TEMPERATURE[:2]], NIGHT)
        monkeypatch.setattr(readings, "MOST_FRAMES", 30)
        monkeypatch.setattr(readings, "_FRAMES", readings._frames())
        thinned = readings.past_numbers(connection, SENSOR, [TEMPERATURE[:2]], NIGHT - 9000)
    key = TEMPERATURE[:2]
    assert ([one.value for one in whole.samples[key]], whole.one_in) == ([float(n) for n in range(100)], 1)
    assert [one.value for one in late.samples[key]] == [95.0, 96.0, 97.0, 98.0, 99.0]
    assert (nothing.samples[key], nothing.one_in) == ([], 1)
    assert thinned.one_in == 4
    assert [one.value for one in thinned.samples[key]] == [float(n) for n in range(3, 100, 4)]
