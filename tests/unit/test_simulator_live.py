"""The running room and its folder: fault switches, pace and logs."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from watchkeeper.model.clock import FakeClock
from watchkeeper.model.errors import WatchkeeperError
from watchkeeper.simulator.cli import simulate
from watchkeeper.simulator.devices import FAULTS
from watchkeeper.simulator.faults import active_faults, switch
from watchkeeper.simulator.live import LiveRoom


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def live(tmp_path: Path, clock: FakeClock) -> Iterator[LiveRoom]:
    with LiveRoom(tmp_path, clock, pace=60) as room:
        yield room


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_at_pace_60_a_minute_passes_in_a_second(live: LiveRoom, clock: FakeClock) -> None:
    clock.advance(2.5)
    assert live.look().elapsed_s == pytest.approx(150)


def test_a_fault_takes_effect_when_it_is_switched(live: LiveRoom, clock: FakeClock, tmp_path: Path) -> None:
    clock.advance(minutes=1)
    switch(tmp_path, "heat", on=True)
    assert not live.look().compressor
    assert live.look().temperature_celsius == 22
    clock.advance(10)
    assert live.look().temperature_celsius > 25
    switch(tmp_path, "heat", on=False)
    hot = live.look()
    assert hot.compressor
    clock.advance(30)
    assert live.look().temperature_celsius < hot.temperature_celsius - 3


def test_switches_are_logged_with_their_time(live: LiveRoom, clock: FakeClock, tmp_path: Path) -> None:
    start = clock.wall()
    switch(tmp_path, "power-cut", on=True)
    live.look()
    live.look()
    clock.advance(5)
    switch(tmp_path, "power-cut", on=False)
    live.look()
    assert lines(tmp_path / "faults.jsonl") == [
        {"at": start, "fault": "power-cut", "on": True},
        {"at": start + 5, "fault": "power-cut", "on": False},
    ]


def test_a_dead_device_is_active_at_once(live: LiveRoom, tmp_path: Path) -> None:
    assert not live.is_active("dead-ups")
    switch(tmp_path, "dead-ups", on=True)
    assert live.is_active("dead-ups")


def test_an_answer_is_in_the_log_before_it_is_sent(live: LiveRoom, clock: FakeClock, tmp_path: Path) -> None:
    live.note_answer("ups", {"1.3.6.1": 5, "1.3.7.1": "°"})
    assert lines(tmp_path / "given.jsonl") == [
        {"at": clock.wall(), "device": "ups", "values": {"1.3.6.1": 5, "1.3.7.1": "°"}}
    ]


def test_a_second_room_in_the_folder_continues_its_logs_and_faults(tmp_path: Path, clock: FakeClock) -> None:
    for _ in range(2):
        with LiveRoom(tmp_path, clock) as room:
            room.note_answer("ups", {"1": 1})
            switch(tmp_path, "heat", on=True)
    assert len(lines(tmp_path / "given.jsonl")) == 2
    with LiveRoom(tmp_path, clock) as room:
        assert room.faults == {"heat"}


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WatchkeeperError, match=r"file: .*; the room needs a folder to write in"):
        LiveRoom(tmp_path / "file", clock)


def test_switching_from_several_threads_loses_no_fault(tmp_path: Path) -> None:
    threads = [threading.Thread(target=switch, args=(tmp_path, fault), kwargs={"on": True}) for fault in FAULTS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert active_faults(tmp_path) == FAULTS.keys()


def test_unknown_words_in_the_faults_file_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "faults").write_text("heat\nmeteorite\n")
    assert active_faults(tmp_path) == {"heat"}


def test_an_unknown_fault_or_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(WatchkeeperError, match="no fault called `meteorite`; there are heat, "):
        switch(tmp_path, "meteorite", on=True)
    with pytest.raises(WatchkeeperError, match="nowhere: no such folder"):
        switch(tmp_path / "nowhere", "heat", on=True)


def test_the_commands_switch_and_list(tmp_path: Path) -> None:
    def run(*words: str) -> str:
        done = CliRunner().invoke(simulate, [*words, "--room", str(tmp_path)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    assert run("fault", "heat", "on") == "active: heat\n"
    assert run("fault", "dead-pac", "on") == "active: dead-pac, heat\n"
    listed = {line.split()[1]: line.split()[0] for line in run("faults").splitlines()}
    assert listed == dict.fromkeys(FAULTS, "off") | {"heat": "on", "dead-pac": "on"}
    assert run("fault", "heat", "off") == "active: dead-pac\n"
