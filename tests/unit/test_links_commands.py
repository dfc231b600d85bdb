"""The commands and settings of personal links."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from watchkeeper.collector.access.links import TROUBLE, Links
from watchkeeper.collector.cli import collector
from watchkeeper.collector.opening import open_links, open_secrets, open_store
from watchkeeper.collector.site.settings import ConfigFile, read_config
from watchkeeper.collector.store.engine import Store
from watchkeeper.model.clock import SystemClock
from watchkeeper.model.errors import SecretError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
PHONE = "[{via: apprise, secret: phone}]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(CONFIGS, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    config_file = read_config(folder / "collector.yml")
    store = open_store(config_file, open_secrets(config_file))
    yield store
    store.close()


def run(folder: Path, *words: str) -> str:
    result = CliRunner().invoke(collector, [*words, "--config", str(folder / "collector.yml")], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def opened(folder: Path, store: Store) -> Links:
    """The links of a collector that has just been started."""
    config_file = read_config(folder / "collector.yml")
    links = open_links(config_file, open_secrets(config_file), store, SystemClock())
    assert links
    return links


def test_links_outlive_a_restart_and_end_by_a_command(folder: Path, store: Store) -> None:
    zhang, li = (opened(folder, store).sign(person, TROUBLE, 1, 100.0) for person in ("zhang.wei", "li.na"))
    assert opened(folder, store).read(zhang)
    run(folder, "token", "revoke", "person", "zhang.wei")
    assert opened(folder, store).read(zhang) is None
    assert opened(folder, store).read(li)
    assert "all links sent so far have ended" in run(folder, "links", "rotate")
    assert opened(folder, store).read(li) is None


def test_a_copy_of_the_store_makes_no_links(folder: Path, store: Store, tmp_path: Path) -> None:
    text = opened(folder, store).sign("zhang.wei", TROUBLE, 1, 100.0)
    run(folder, "backup", str(folder / "copy.zip"))
    (folder / "other").mkdir()
    shutil.copytree(CONFIGS, folder / "other", dirs_exist_ok=True)
    run(folder / "other", "restore", str(folder / "copy.zip"))
    shutil.copy(folder / "links.key", folder / "other")
    config_file = read_config(folder / "other" / "collector.yml")
    other = open_store(config_file, open_secrets(config_file))
    assert opened(folder / "other", other).read(text) is None, "a restore ends them, although the secret is the same"
    other.close()


def settings(folder: Path, text: str) -> ConfigFile:
    (folder / "collector.yml").write_text(text, encoding="utf-8")
    return read_config(folder / "collector.yml")


def test_the_secret_can_be_named(folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHKEEPER_SECRET_LINKS", "s" * 32)
    named = settings(folder, "link_key: links\n")
    links = open_links(named, open_secrets(named), store, SystemClock())
    assert links
    assert not (folder / "links.key").exists()
    monkeypatch.setenv("WATCHKEEPER_SECRET_LINKS", "short")
    with pytest.raises(SecretError, match="at least 32"):
        open_links(named, open_secrets(named), store, SystemClock())
    missing = settings(folder, "link_key: other\n")
    with pytest.raises(SecretError, match="no secret called `other`"):
        open_links(missing, open_secrets(missing), store, SystemClock())


def test_a_shared_store_has_links_only_with_a_named_secret(folder: Path) -> None:
    shared = settings(folder, "store: secret:url\n")
    store = Store("postgresql://watchkeeper@db.invalid/watchkeeper")
    assert open_links(shared, open_secrets(shared), store, SystemClock()) is None
    store.close()


def test_check_warns_of_links_that_nobody_else_can_open(folder: Path) -> None:
    assert "links in messages" not in run(folder, "check")
    contacts = folder / "contacts.yml"
    text = contacts.read_text(encoding="utf-8")
    contacts.write_text(
        re.sub(r"channels: \[.*?\]|channels:\n( +- .*\n)+", f"channels: {PHONE}\n", text), encoding="utf-8"
    )
    assert "collector.yml: links in messages begin with http://127.0.0.1:8760" in run(folder, "check")
    settings(folder, "url: https://watch.example\n")
    assert "links in messages" not in run(folder, "check")
