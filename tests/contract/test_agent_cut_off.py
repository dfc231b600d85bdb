"""An agent that no collector serves for a quarter of an hour says so: in its log, its status, and to systemd."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.agent_room import TOKEN, FakeCollector, fill, hangs_up, serving
from watchkeeper.agent.cli import agent
from watchkeeper.agent.push.pusher import Pusher
from watchkeeper.agent.push.uplink import Uplink
from watchkeeper.agent.spool.file import get_note
from watchkeeper.agent.spool.spool import Limits, Spool
from watchkeeper.documents.secrets import Secret
from watchkeeper.model.clock import FakeClock


class Room:
    """Spool, pusher and HTTP client of an agent, stepped by hand."""

    def __init__(self, folder: Path, collector: FakeCollector) -> None:
        self.collector, self.clock = collector, FakeClock()
        self.config = folder / "agent.yml"
        self.config.write_text(
            f"agent: room-1\ncollector: http://127.0.0.1:{collector.port}\nspool: {{path: spool.db}}\n"
        )
        self.spool = Spool(folder / "spool.db", Limits(), self.clock, "boot-1")
        self.uplink = Uplink(f"http://127.0.0.1:{collector.port}", "room-1", Secret(TOKEN))
        self.pusher = Pusher(
            self.spool, self.uplink, self.clock, "room-1", on_bundle=lambda _: None, on_request=lambda _: None,
            chance=lambda: 0.0,
        )  # fmt: skip

    def work_until(self, since: float, seconds: float) -> None:
        """Push until so much time has passed."""
        while self.clock.boot() - since < seconds:
            self.clock.advance(self.pusher.step() + 0.001)
        self.spool.flush()

    def status(self) -> str:
        """What the command prints."""
        return CliRunner().invoke(agent, ["status", "--config", str(self.config)]).output


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with serving(FakeCollector()) as collector:
        made = Room(tmp_path, collector)
        with contextlib.closing(made.uplink), contextlib.closing(made.spool):
            made.work_until(made.clock.boot(), 2)
            yield made


def test_it_says_so_loudly_after_a_quarter_of_an_hour_and_each_hour(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    def loud() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.levelname == "CRITICAL"]

    room.collector.behave += [hangs_up] * 400
    fill(room.spool, room.clock, 1)
    began = room.clock.boot()
    room.work_until(began, 840)
    assert room.pusher.cut_off is None
    assert not loud()
    assert "CUT OFF" not in room.status()
    room.work_until(began, 1000)
    assert room.pusher.cut_off
    assert room.pusher.cut_off.lasted_s >= 900
    assert len(loud()) == 1
    assert "nobody is notified" in loud()[0]
    assert "CUT OFF: no collector has accepted anything for 1" in room.status()
    room.work_until(began, 2 * 3600)
    assert len(loud()) == 2, "and again an hour later"


def test_it_is_over_when_a_collector_accepts_again(room: Room) -> None:
    room.collector.behave += [hangs_up] * 400
    fill(room.spool, room.clock, 1)
    room.work_until(room.clock.boot(), 1000)
    away = json.loads(get_note(room.spool._db, "away") or "{}")
    assert away["at_utc"] - away["since_utc"] > 900
    room.collector.behave.clear()
    room.work_until(room.clock.boot(), 120)
    assert room.pusher.cut_off is None
    assert "CUT OFF" not in room.status()


def test_an_old_note_without_its_beginning_is_understood(room: Room) -> None:
    room.spool.note("away", json.dumps({"at_utc": 1_800_000_000.0, "why": "503"}))
    room.spool.flush()
    assert "last failed push" in room.status()
    assert "CUT OFF" not in room.status()
