"""The history of configurations: the page `/changes`, and the commands `changes` and `activate`."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.collector_room import Room, browser, enter
from watchkeeper.cli import command_line
from watchkeeper.collector.site.files import read_files
from watchkeeper.collector.site.in_force import FolderStanding, InForce
from watchkeeper.collector.store.configurations import activations
from watchkeeper.collector.store.configurations.activations import FolderState, How, Overtaken
from watchkeeper.collector.store.engine import Store

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    shutil.copytree(CONFIGS, folder)
    (folder / "collector.yml").write_text("store: ../store.db\nname: east\n")
    return folder


def call(site: Path, *arguments: str) -> str:
    done = CliRunner().invoke(command_line, ["collector", *arguments, "--config", str(site / "collector.yml")])
    assert done.exit_code == 0, f"{done.output} {done.exception}"
    return done.output


def edit(site: Path, old: str, new: str) -> None:
    file = site / "inventory.yml"
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def test_the_commands_activate_list_show_and_write(site: Path, tmp_path: Path) -> None:
    assert "is in force as configuration 1" in call(site, "activate")
    assert "is in force already, as configuration 1" in call(site, "activate")
    edit(site, "room-1", "room-9")
    shown = call(site, "activate")
    assert "+++ b/inventory.yml" in shown
    assert "is in force as configuration 2" in shown
    second, first = call(site, "changes").splitlines()[:2]
    assert second.split()[:1] + first.split()[:1] == ["2", "1"]
    assert "east  command" in second
    assert "inventory.yml +" in second
    assert first.endswith("the first")
    assert "room-9" in call(site, "changes", "2")
    out = tmp_path / "out"
    call(site, "changes", "1", "--out", str(out))
    assert "room-1" in (out / "inventory.yml").read_text(encoding="utf-8")
    assert read_files(out).texts.keys() == read_files(site).texts.keys()


def test_a_folder_with_errors_is_not_put_in_force(site: Path) -> None:
    call(site, "activate")
    (site / "inventory.yml").write_text("agents: [\n")
    done = CliRunner().invoke(command_line, ["collector", "activate", "--config", str(site / "collector.yml")])
    assert done.exit_code != 0
    assert call(site, "changes").count("\n") == 1


def test_a_name_that_only_what_is_in_force_has_gets_a_token(site: Path) -> None:
    """Another collector's folder added the agent; the folder here is older."""
    edit(site, "room-1", "room-9")
    call(site, "activate")
    edit(site, "room-9", "room-1")
    for name in ("room-1", "room-9"):
        assert call(site, "token", "agent", name).strip()


def test_of_two_writers_with_one_number_the_second_is_refused(store_url: str, site: Path) -> None:
    from watchkeeper.collector.store.migrate import migrate  # noqa: PLC0415 -- only this test needs it

    store = Store(store_url)
    migrate(store)
    files = read_files(site)
    with store.write() as connection:
        activations.put_in_force(store, connection, InForce(), files, 1.0, "a", "", How.START)
    with pytest.raises(Overtaken), store.write() as connection:
        activations.put_in_force(store, connection, InForce(), files, 2.0, "b", "", How.START)
    with store.read() as connection:
        assert [one.collector for one in activations.activations_before(connection, None, 9)] == ["a"]
    store.close()


def test_the_page_lists_and_shows_texts_only_to_a_person(tmp_path: Path, site: Path) -> None:
    with Room(tmp_path) as room:
        files = read_files(site)
        with room.store.write() as connection:
            first = activations.put_in_force(room.store, connection, InForce(), files, 1.0, "east", "", How.START)
        edit(site, "room-1", "room-<b>")
        with room.store.write() as connection:
            activations.put_in_force(
                room.store, connection, first, read_files(site), 2.0, "west", "Li Na <li@site.example>", How.CHANGE
            )
            state = FolderState("east", 1, 2, FolderStanding.OLDER, 3.0)
            activations.note_folder(room.store, connection, state)
        room.runtime.notice = "This collector follows configuration 2, which collector west put in force. Its own folder has the older configuration 1, and is not used. Bring the folder up to date."
        web = browser(room.front)
        listed = web.get("/changes").text
        assert "Li Na &lt;li@site.example&gt;" in listed
        assert "older than what is in force" in listed
        assert "follows configuration 2" in listed
        chinese = browser(room.front).get("/changes?lang=zh").text
        assert "本采集中心使用由采集中心 west 启用的配置 2" in chinese
        assert "文件变更" in chinese
        anonymous = web.get("/changes/2").text
        assert "Sign in to see" in anonymous
        assert "room-&lt;b&gt;" not in anonymous
        enter(room, web)
        assert "room-&lt;b&gt;" in web.get("/changes/2").text
        assert web.get("/changes/3").status_code == 404
