"""Habits of SNMP devices: what they mean for requests, what is doubted, and what is kept over a restart."""

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from watchkeeper.agent.ports import NoAnswer
from watchkeeper.agent.probes.snmp.dialect.habits import (
    BULK_SILENCES,
    MAX_MUTE,
    RELEARN_S,
    STANDARD,
    Dialect,
    Habits,
    by_column,
    from_note,
    limit_from,
    parts_of,
    split_all,
    to_note,
)
from watchkeeper.agent.probes.snmp.dialect.requests import walk_table
from watchkeeper.agent.probes.snmp.dialect.unsigned import with_leading_zeros
from watchkeeper.agent.probes.snmp.probe import SNMP_RENEW_S, SnmpProbe
from watchkeeper.agent.probes.testing import MemoryDevice, MemorySession
from watchkeeper.agent.spool.memory import SpoolMemory
from watchkeeper.agent.spool.spool import Limits, Spool
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device, Snmp, SnmpVersion
from watchkeeper.model.habit import HABITS, sentence, source_with, words_of
from watchkeeper.model.json_fields import NAME_LIMIT
from watchkeeper.model.reading import Reason
from watchkeeper.profiles import load_profiles
from watchkeeper.profiles.decode import Raw

UPS = Device("ups-1", "room", Category.UPS, "snmp", "ups.room", snmp=Snmp(community="c"))
ALL = Habits(
    bulk=False, get=False, most=8, unsorted=True, repeats=True, mute=("1.3.6.1.2.1.1.1.0",), address="10.0.0.8",
    version="1", since=1000.0,
)  # fmt: skip
SILENCE = NoAnswer(Reason.TIMEOUT, "no answer")


def test_a_request_is_split_into_what_the_device_accepts() -> None:
    request = ("1.1", "1.2", "1.3", "1.4", "1.5")
    assert parts_of(Habits(most=2), request) == (("1.1", "1.2"), ("1.3", "1.4"), ("1.5",))
    assert parts_of(Habits(mute=("1.2",)), request) == (("1.1", "1.3", "1.4", "1.5"),)
    assert parts_of(Habits(most=3, mute=("1.2", "1.5")), request) == (("1.1", "1.3", "1.4"),)
    assert parts_of(Habits(mute=request), request) == ()
    assert split_all(STANDARD, (request,))[0] is request
    assert split_all(Habits(most=4), (request, ("2.1",))) == (request[:4], request[4:], ("2.1",))


def test_what_was_left_out_of_an_answer_shows_how_many_objects_it_had() -> None:
    request = ("1.1", "1.2", "1.3", "1.4")
    assert limit_from(request, ["1.4", "1.3"]) == 2
    assert limit_from(request, ["1.1"]) == 1


def test_objects_are_walked_by_the_column_that_they_belong_to() -> None:
    assert by_column(["1.1.0", "1.2.5", "1.2.6"]) == {"1.1": ["1.1.0"], "1.2": ["1.2.5", "1.2.6"]}


def test_what_is_missing_is_doubted_once_and_then_only_where_answers_may_be_cut() -> None:
    dialect = Dialect()
    request, answer = ("1.1", "1.2", "1.3", "1.4"), {"1.3": 1}
    assert dialect.doubts(request, answer) == ["1.1", "1.2", "1.4"]
    dialect.complete_checked, dialect.whole = True, 3
    assert dialect.doubts(request, answer) == ["1.4"]
    dialect.is_absent(["1.4"])
    assert dialect.doubts(request, answer) == []


def test_one_lost_datagram_does_not_end_the_use_of_getbulk() -> None:
    dialect = Dialect()
    for _ in range(BULK_SILENCES - 1):
        dialect.bulk_was_silent()
    assert dialect.habits.bulk
    dialect.bulk_was_silent()
    assert not dialect.habits.bulk


def test_only_so_many_objects_are_never_asked_for() -> None:
    dialect = Dialect()
    for number in range(MAX_MUTE + 5):
        dialect.never_ask(f"1.{number}")
        dialect.never_ask(f"1.{number}")
    assert len(dialect.habits.mute) == MAX_MUTE


def test_every_habit_is_a_word_and_every_word_a_sentence() -> None:
    words = [*ALL.words(), "any-id"]
    assert sorted(name for name, _ in words_of(source_with("snmp", words))) == sorted(HABITS)
    assert [*STANDARD.words()] == []
    assert "8" in sentence("most=8")
    assert sentence("from-a-newer-agent={x}") == "from-a-newer-agent={x}"
    assert len(source_with("snmp", [f"mute=1.3.6.1.4.1.{number}.1.2.3" for number in range(99)])) <= NAME_LIMIT


def test_a_note_gives_the_same_habits_but_not_to_another_address_or_version() -> None:
    note = to_note(ALL, UPS)
    assert from_note(note, UPS) == ALL
    assert from_note(note, replace(UPS, device="ups-2", timeout_s=9.0)) == ALL
    assert from_note(note, replace(UPS, address="ups.room:1161")) == STANDARD
    assert from_note(note, replace(UPS, snmp=Snmp(SnmpVersion.V1, "c"))) == STANDARD
    assert from_note(note, replace(UPS, snmp=Snmp(community="c", answers_from="10.0.0.9"))) == STANDARD
    assert to_note(STANDARD, UPS) == ""


@pytest.mark.parametrize(
    "note",
    ["", "{", "[]", "3", '{"of": "ups.room 2c", "most": "8"}', '{"of": "ups.room 2c", "new": 1}', '{"of": "ups.room 2c", "mute": [1]}',
     '{"of": "ups.room 2c", "mute": 1}', '{"of": "ups.room 2c", "bulk": 0}'],
)  # fmt: skip
def test_a_note_that_cannot_be_read_is_nothing(note: str) -> None:
    assert from_note(note, UPS) == STANDARD


def test_the_spool_keeps_what_probes_remember(tmp_path: Path) -> None:
    path, clock = tmp_path / "spool.db", FakeClock()
    spool = Spool(path, Limits(), clock)
    memory = SpoolMemory(path, spool.note)
    for device, text in (("ups-1", "one"), ("ups-2", "two"), ("ups-3", "three"), ("ups-1", "four")):
        memory.remember(device, text)
    assert memory.recall("ups-1") == "four"
    spool.close()
    spool = Spool(path, Limits(), clock)
    memory = SpoolMemory(path, spool.note)
    assert [memory.recall(f"ups-{number}") for number in range(1, 5)] == ["four", "two", "three", ""]
    memory.keep_only({"ups-2"})
    spool.close()
    assert SpoolMemory(path, lambda name, text: None).recall("ups-1") == ""
    assert SpoolMemory(path, lambda name, text: None).recall("ups-2") == "two"


def test_a_spool_that_cannot_be_read_remembers_nothing(tmp_path: Path) -> None:
    (tmp_path / "spool.db").write_bytes(b"no database")
    assert SpoolMemory(tmp_path / "spool.db", lambda name, text: None).recall("ups-1") == ""
    sqlite3.connect(tmp_path / "other.db").close()
    assert SpoolMemory(tmp_path / "other.db", lambda name, text: None).recall("ups-1") == ""


class Remembered:
    """A memory with one device's note."""

    def __init__(self, note: str) -> None:
        self.note = note

    def recall(self, device: str) -> str:
        return self.note if device == UPS.device else ""

    def remember(self, device: str, text: str) -> None:
        self.note = text


def test_after_a_week_all_is_tried_again_except_how_the_device_is_reached() -> None:
    clock = FakeClock()
    kept = Remembered(to_note(replace(ALL, since=clock.wall() - RELEARN_S + 100, mute=(), get=True), UPS))
    memory = MemoryDevice({"1.3.6.1.2.1.1.1.0": b"x", "1.3.6.1.2.1.1.2.0": "1.3.6.1.2.1.33", "1.3.6.1.2.1.1.3.0": 5})
    probe = SnmpProbe(load_profiles(), Secrets(environ={}), clock, memory.open, kept)
    asyncio.run(probe.sweep(UPS))
    assert sentence("most=8") in probe.habits_of("ups-1")
    clock.advance(SNMP_RENEW_S)
    asyncio.run(probe.sweep(UPS))
    assert probe.habits_of("ups-1") == tuple(map(sentence, ("version=1", "address=10.0.0.8")))
    assert from_note(kept.note, UPS) == replace(STANDARD, version="1", address="10.0.0.8", since=clock.wall())


@pytest.mark.parametrize(("retries", "requests"), [(0, 2), (1, 2), (2, 3)])
def test_a_device_that_is_down_costs_the_timeouts_that_the_inventory_says_and_two_at_least(
    retries: int, requests: int
) -> None:
    memory = MemoryDevice({"1.3.6.1.2.1.1.1.0": b"x", "1.3.6.1.2.1.1.2.0": "1.3.6.1.2.1.33", "1.3.6.1.2.1.1.3.0": 5,
                           "1.3.6.1.2.1.33.1.2.4.0": 97})  # fmt: skip
    probe = SnmpProbe(load_profiles(), Secrets(environ={}), FakeClock(), memory.open)
    ups = replace(UPS, retries=retries)
    asyncio.run(probe.sweep(ups))
    memory.dead, memory.sessions[0].requests[:] = SILENCE, []
    assert asyncio.run(probe.sweep(ups)).values[0] == "no"
    assert len(memory.sessions[0].requests) == requests


@pytest.mark.parametrize(
    ("message", "right"),
    [
        ("300441027fff", "300441027fff"),
        ("30034101ff", "3004410200ff"),
        ("30064104fffffffe", "3007410500fffffffe"),
        ("a2083006420480000000", "a209300742050080000000"),
        ("30084606ffffffffffff", "3009460700ffffffffffff"),
        ("04044102fffe", "04044102fffe"),  # inside an OCTET STRING it is text
        ("3004020280ff", "3004020280ff"),  # an INTEGER may be below zero
        ("30064104ffff", "30064104ffff"),  # no BER
    ],
)
def test_an_unsigned_number_gets_the_leading_zero_that_its_device_left_out(message: str, right: str) -> None:
    assert with_leading_zeros(bytes.fromhex(message)).hex() == right


class SlowDevice(MemoryDevice):
    """Answers no GET until `go_on` is set."""

    def __init__(self, objects: dict[str, Raw]) -> None:
        super().__init__(objects)
        self.go_on = asyncio.Event()

    async def open(self, device: Device, secrets: Secrets) -> MemorySession:
        session = await super().open(device, secrets)
        get_many = session.get_many

        async def slow(oids: Sequence[str]) -> dict[str, Raw]:
            await self.go_on.wait()
            return await get_many(oids)

        session.get_many = slow  # type: ignore[method-assign]  # this one device
        return session


async def cut_short(probe: SnmpProbe, device: Device) -> None:
    """The schedule cancels a sweep that takes too long."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(probe.sweep(device), 0.02)


def test_a_device_that_needs_longer_than_a_sweep_may_take_is_learnt_over_several_sweeps() -> None:
    async def run() -> None:
        memory = SlowDevice(
            {"1.3.6.1.2.1.1.1.0": b"x", "1.3.6.1.2.1.1.2.0": "1.3.6.1.2.1.33", "1.3.6.1.2.1.33.1.2.4.0": 97}
        )
        probe = SnmpProbe(load_profiles(), Secrets(environ={}), FakeClock(), memory.open)
        for _ in range(3):
            await cut_short(probe, UPS)
        memory.go_on.set()
        assert 97.0 in (await probe.sweep(UPS)).values
        assert len(memory.sessions) == 1
        memory.go_on.clear()
        await cut_short(probe, replace(UPS, device="ups-2"))
        await probe.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:  # cancelled, and not at its end yet
            _, pending = await asyncio.wait(left, timeout=10)
            assert not pending

    asyncio.run(run())


@pytest.mark.parametrize(
    ("has_bulk", "retries", "walks"), [(True, 0, 1), (True, 1, 1), (True, 2, 2), (False, 0, 1), (False, 1, 2)]
)
def test_a_walk_without_an_answer_is_repeated_as_often_as_the_inventory_says(
    has_bulk: bool, retries: int, walks: int
) -> None:
    """With GETBULK, a walk asks by GETNEXT too before it gives up: that counts as a repetition."""
    session = MemorySession({}, SnmpVersion.V2C, lambda: SILENCE)
    session.dialect.has_bulk = has_bulk
    with pytest.raises(NoAnswer):
        asyncio.run(walk_table(session, "1.3.6.1.2", retries))
    assert len(session.requests) == walks
