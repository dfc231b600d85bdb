"""`watchkeeper collector set-aside`: list, try again, drop."""

import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from watchkeeper.collector.cli import collector
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.migrate import migrate
from watchkeeper.collector.store.schema import journal

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The store of a collector in `tmp_path`, with two pushes that are set aside and one that is not."""
    shutil.copytree(CONFIGS, tmp_path, dirs_exist_ok=True)
    (tmp_path / "collector.yml").write_text("store: collector.db\n")
    made = Store(f"sqlite:///{tmp_path}/collector.db")
    migrate(made)
    with made.write() as connection:
        for fault in ("StoreRefused: bad", None, "KeyError: 'x'\nand more"):
            row = {"agent": "room-1", "received_at": 1_800_000_000.0, "after_seq": 0, "body": b"{}", "fault": fault}
            connection.execute(sa.insert(journal), row)
    return made


def ask(tmp_path: Path, *words: str) -> Result:
    return CliRunner().invoke(collector, ["set-aside", *words, "--config", str(tmp_path / "collector.yml")])


def test_they_are_listed_each_in_one_line(store: Store, tmp_path: Path) -> None:
    said = ask(tmp_path, "list").output.splitlines()
    assert said[0] == "1  room-1  2027-01-15 08:00:00 UTC  2 bytes  StoreRefused: bad"
    assert said[1].startswith("3  room-1  ")
    assert len(said) == 2
    store.close()


def test_one_is_tried_again_and_one_is_dropped_with_a_record(store: Store, tmp_path: Path) -> None:
    assert ask(tmp_path, "retry", "1").output == "1 push is applied again\n"
    assert ask(tmp_path, "drop", "3", "--why", "a test").output == "1 push is dropped\n"
    with store.read() as connection:
        first, _, third = connection.execute(sa.select(journal).order_by(journal.c.id)).all()
    assert (first.again, first.dropped_at) == (True, None)
    assert (third.again, third.dropped_why) == (False, "a test")
    assert third.dropped_by.startswith("user:")
    assert ask(tmp_path, "list").output.count("\n") == 1
    store.close()


@pytest.mark.parametrize("words", [("retry", "1", "2"), ("drop", "9", "--why", "x")])
def test_a_number_that_is_not_set_aside_changes_nothing(store: Store, tmp_path: Path, words: tuple[str, ...]) -> None:
    refused = ask(tmp_path, *words)
    assert "are set aside; see `watchkeeper collector set-aside list`" in str(refused.exception)
    with store.read() as connection:
        assert not any(row.again or row.dropped_at for row in connection.execute(sa.select(journal)))
    store.close()
