"""The collector's background loop under load, the reload of the configuration, and requests to agents."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.story.world import World
from watchkeeper.collector import ticker as module
from watchkeeper.collector.intake.requests import Requests
from watchkeeper.collector.process.actions import poll_now
from watchkeeper.collector.process.configuration.reload import ConfigReloader
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.migrate import migrate
from watchkeeper.collector.store.retention import delete_expired
from watchkeeper.collector.store.schema import history
from watchkeeper.collector.ticker import Ticker
from watchkeeper.model.clock import FakeClock, SystemClock
from watchkeeper.model.errors import ConfigError, StoreError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


# ---- the loop ----


class Part:
    """A task of the loop that counts its calls and may raise an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.done = 0
        self.error = error
        self.again = threading.Event()

    def __call__(self, *_: object) -> None:
        self.done += 1
        self.again.set()
        if self.error:
            raise self.error

    look = refresh = wake = __call__


def wait(there: Callable[[], bool]) -> None:
    tries = threading.Event()
    for _ in range(1000):
        if there():
            return
        tries.wait(0.01)
    raise AssertionError("it did not come")


def test_every_part_runs_however_often_the_ticker_is_woken(tmp_path: Path) -> None:
    """A busy collector is woken many times a second all the time; silent agents must still be found."""
    world = World(f"sqlite:///{tmp_path}/ticker.db")
    world.runtime.clock = SystemClock()
    reloader, judge, requests = Part(), Part(), Part()
    ticker = Ticker(world.runtime, reloader, judge, requests, Part())  # type: ignore[arg-type]
    ticker.start()
    ended = threading.Event()

    def wake() -> None:
        while not ended.wait(0.001):
            ticker.wake()

    waking = threading.Thread(target=wake)
    waking.start()
    try:
        wait(lambda: min(reloader.done, judge.done, requests.done) >= 2)
    finally:
        ended.set()
        waking.join()
        ticker.stop()
        world.close()


def test_a_part_that_fails_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(f"sqlite:///{tmp_path}/ticker.db")
    decided = Part()
    monkeypatch.setattr(module, "decide_due", decided)
    reloader, judge, requests, outbox = Part(StoreError("away")), Part(ValueError("a bug")), Part(), Part()
    Ticker(world.runtime, reloader, judge, requests, outbox).turn()  # type: ignore[arg-type]
    assert [part.done for part in (reloader, judge, requests, decided, outbox)] == [1] * 5
    assert "a background task waits for the store: away" in caplog.text
    world.close()


# ---- the configuration folder ----


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    shutil.copytree(CONFIGS, tmp_path / "site")
    store = Store(f"sqlite:///{tmp_path}/store.db")
    migrate(store)
    yield Runtime(store, FakeClock(), ConfigReloader(tmp_path / "site").read())
    store.close()


@pytest.fixture
def reloader(runtime: Runtime, tmp_path: Path) -> ConfigReloader:
    return ConfigReloader(tmp_path / "site")


def agents(runtime: Runtime) -> list[str]:
    return list(runtime.snapshot.agents)


def test_a_change_is_activated_once_it_no_longer_changes(
    runtime: Runtime, reloader: ConfigReloader, tmp_path: Path
) -> None:
    file = tmp_path / "site" / "inventory.yml"
    whole = file.read_text().replace("room-1", "room-9")
    file.write_text(whole[: len(whole) // 2])
    reloader.refresh(runtime)
    file.write_text(whole)
    reloader.refresh(runtime)
    assert (agents(runtime), runtime.problem) == (["room-1"], "")
    reloader.refresh(runtime)
    assert agents(runtime) == ["room-9"]


def _vanish(file: Path) -> None:
    file.unlink()


def _break(file: Path) -> None:
    file.write_text("agents: [\n")


def _other_letters(file: Path) -> None:
    file.write_bytes("# 机房".encode("gbk"))


@pytest.mark.parametrize("spoil", [_vanish, _break, _other_letters])
@pytest.mark.parametrize("name", ["inventory.yml", "rules/site.yml"])
def test_a_mistake_leaves_the_previous_configuration_active_and_is_said(
    runtime: Runtime, reloader: ConfigReloader, tmp_path: Path, spoil: Callable[[Path], None], name: str
) -> None:
    before = runtime.snapshot
    file = tmp_path / "site" / name
    good = file.read_bytes()
    spoil(file)
    for _ in range(3):
        reloader.refresh(runtime)
    if (spoil, name) == (_vanish, "rules/site.yml"):  # this is no error: there are fewer rules
        assert len(runtime.snapshot.rules.rules) < len(before.rules.rules)
        return
    assert runtime.snapshot is before
    assert name in runtime.problem
    file.write_bytes(good)
    for _ in range(2):
        reloader.refresh(runtime)
    assert runtime.problem == ""


def test_a_file_deleted_while_the_folder_is_read_counts_as_missing(
    runtime: Runtime, reloader: ConfigReloader, tmp_path: Path
) -> None:
    before = runtime.snapshot
    (tmp_path / "site" / "rules" / "vanished.yml").symlink_to(tmp_path / "nowhere")
    for _ in range(3):
        reloader.refresh(runtime)
    assert runtime.snapshot is before


def test_an_editor_s_lock_file_is_no_rule_file(runtime: Runtime, reloader: ConfigReloader, tmp_path: Path) -> None:
    (tmp_path / "site" / "rules" / ".#site.yml").symlink_to("somebody@somewhere:1")
    reloader.reload()
    reloader.refresh(runtime)
    assert runtime.problem == ""


def test_a_configuration_that_the_store_could_not_take_is_tried_again(
    runtime: Runtime, reloader: ConfigReloader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "site" / "inventory.yml"
    file.write_text(file.read_text().replace("room-1", "room-9"))
    reloader.refresh(runtime)
    with monkeypatch.context() as patched:
        patched.setattr("watchkeeper.collector.process.runtime.withdraw_gone", Part(StoreError("full")))
        with pytest.raises(StoreError):
            reloader.refresh(runtime)
    assert agents(runtime) == ["room-1"]
    reloader.refresh(runtime)
    assert agents(runtime) == ["room-9"]


def test_a_signal_reloads_everything(runtime: Runtime, reloader: ConfigReloader) -> None:
    before = runtime.snapshot
    reloader.refresh(runtime)
    assert runtime.snapshot is before
    reloader.reload()
    reloader.refresh(runtime)
    assert runtime.snapshot is not before


def test_a_rule_file_in_another_encoding_is_an_error_text_also_at_the_start(runtime: Runtime, tmp_path: Path) -> None:
    _other_letters(tmp_path / "site" / "rules" / "own.yml")
    with pytest.raises(ConfigError, match=r"own\.yml:0:0: is not UTF-8"):
        ConfigReloader(tmp_path / "site").read()
    assert agents(runtime) == ["room-1"]


# ---- requests to agents, and retention ----


def test_any_collector_gives_an_agent_a_request_once(tmp_path: Path) -> None:
    world = World(f"sqlite:///{tmp_path}/requests.db")
    collectors = [Requests(world.store, world.clock), Requests(world.store, world.clock)]
    poll_now(world.runtime.notifier(), "sensor-1", "day", 0.0)
    for one in collectors:
        one.refresh()
    asked = {"kind": "poll-now", "device": "sensor-1"}
    assert collectors[1].take("room-2") == []
    assert collectors[1].take("room-1") == [asked]
    for _ in range(2):
        for one in reversed(collectors):
            one.refresh()
    assert [one.take("room-1") for one in collectors] == [[], []]
    world.close()


def test_old_readings_are_deleted_in_small_steps_also_those_of_a_wrong_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watchkeeper.collector.store.retention._DELETE_BATCH_ROWS", 3)
    world = World(f"sqlite:///{tmp_path}/old.db")
    now = world.clock.wall()
    ages = [*([-1e8] * 4), *([200.0] * 8), 50.0, 20.0, 200.0]
    rows: list[dict[str, Any]] = [
        {"device": "d", "agent": "a", "epoch": "e", "block": 1, "seq": n, "at": now - age, "column": "{}"}
        for n, age in enumerate(ages)
    ]
    with world.store.write() as connection:
        connection.execute(sa.insert(history), rows)
    delete_expired(world.store, now, 100.0)
    with world.store.read() as connection:
        assert list(connection.execute(sa.select(history.c.seq)).scalars()) == [12, 13]
    world.close()
