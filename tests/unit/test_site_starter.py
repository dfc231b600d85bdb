"""The starter files are correct and explain every key, and docs/operators.md shows them."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from watchkeeper.agent.config import AgentConfig, SpoolConfig
from watchkeeper.agent.config import read_config as read_agent
from watchkeeper.channels.ports import Via
from watchkeeper.collector.site.dependencies import Dependencies
from watchkeeper.collector.site.files import FILES
from watchkeeper.collector.site.load import parse_configuration, read_configuration
from watchkeeper.collector.site.settings import CollectorConfig
from watchkeeper.collector.site.settings import read_config as read_collector
from watchkeeper.documents.bind import load
from watchkeeper.model.batch import Document
from watchkeeper.model.errors import ConfigError
from watchkeeper.rules.load import load_rules, shipped

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
PAGE = ROOT / "docs" / "operators.md"
SETTINGS = [("collector.yml", CollectorConfig, []), ("agent.yml", AgentConfig, [SpoolConfig])]


def problems(*texts: str) -> list[str]:
    try:
        parse_configuration(*texts)
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


def test_the_starter_files_are_correct_and_have_the_ladder_of_the_regulation() -> None:
    configuration = read_configuration(CONFIGS)
    [ladder] = configuration.ladders.ladders
    assert [(rung.after_s / 60, rung.tell) for rung in ladder.rungs] == [
        (0, ("duty",)),
        (10, ("owner",)),
        (20, ("owner", "head")),
        (60, ("assistant",)),
    ]
    assert [rung.vendor_contact for rung in ladder.rungs] == [False, False, False, True]
    assert all(device.vendor for device in configuration.inventory.devices)
    categories = sorted(device.category for device in configuration.inventory.devices)
    assert categories == ["cooling", "env", "env", "server", "ups"]
    found = Dependencies.of(configuration)
    assert found.ancestors("app-server-1") == ("rack-a01", "ups-1", "feed-a")
    handovers = {f"{shift.start:%H:%M}-{shift.end:%H:%M}" for shift in configuration.contacts.shifts}
    assert handovers == {"08:30-17:00", "17:00-08:30"}


def test_the_commented_examples_are_correct() -> None:
    inventory, contacts, ladders = ((CONFIGS / name).read_text(encoding="utf-8") for name in FILES)
    shown, count = re.subn(r"^( +)# - \{via", r"\1- {via", contacts, flags=re.MULTILINE)
    assert count == 3
    person = parse_configuration(inventory, shown, ladders).contacts.people[0]
    assert [address.via for address in person.channels] == [Via.APPRISE, Via.WEBHOOK, Via.SMS, Via.CONSOLE]


@pytest.mark.parametrize("name", FILES)
def test_every_key_of_a_starter_file_is_explained_once(name: str) -> None:
    """The first use of a key has a comment on its line, above it or above its list."""
    lines = (CONFIGS / name).read_text(encoding="utf-8").splitlines()
    explained, bare = set[str](), set[str]()
    above = False
    for line in lines:
        code = line.lstrip("- ")
        key = re.match(r"([a-z_]+):", code)
        if key and key[1] not in explained:
            (explained if "#" in line or above else bare).add(key[1])
        above = line.lstrip().startswith("#")
    unexplained = bare - explained
    assert not unexplained


# ---- settings and rules ----


def test_the_settings_of_collector_and_agent_match() -> None:
    place = read_collector(CONFIGS / "collector.yml")
    config, _ = read_agent(CONFIGS / "agent.yml")
    assert place.path(place.config.site) == CONFIGS
    assert config.collector == place.config.own_url
    assert config.agent in {agent.agent for agent in read_configuration(CONFIGS).inventory.agents}


@pytest.mark.parametrize(("name", "cls", "parts"), SETTINGS)
def test_the_values_in_the_settings_are_the_defaults(name: str, cls: type[Any], parts: list[type[Any]]) -> None:
    """Deleting a key changes nothing, and the file never shows another default."""
    made = load((CONFIGS / name).read_text(encoding="utf-8"), name, cls)
    needed = {"agent": "room-1", "collector": "http://127.0.0.1:8760"} if cls is AgentConfig else {}
    assert made == cls(**needed)


@pytest.mark.parametrize(("name", "cls", "parts"), SETTINGS)
def test_every_setting_is_in_its_file_or_in_a_comment_of_it(name: str, cls: type[Any], parts: list[type[Any]]) -> None:
    text = (CONFIGS / name).read_text(encoding="utf-8")
    shown = re.sub(r"^# (?=[a-z_]+: )", "", text, flags=re.MULTILINE)
    written = set(re.findall(r"^ *([a-z_]+):", shown, re.MULTILINE))
    for part in (cls, *parts):
        assert {field.name.removesuffix("_s").removesuffix("_bytes") for field in dataclasses.fields(part)} <= written
    load(shown, name, cls)


def test_the_rules_of_the_site_can_be_loaded_with_the_shipped_ones() -> None:
    text = (CONFIGS / "rules" / "site.yml").read_text(encoding="utf-8")
    rules = load_rules((*shipped(), Document("site.yml", text)))
    devices = {device.device for device in read_configuration(CONFIGS).inventory.devices}
    for name in ("site.hot-aisle", "environment.temperature"):
        rule = rules.named(name)
        assert rule
        assert {*rule.scope.devices, *rule.scope.except_devices} <= devices
    shown = re.sub(r"^# (?=off:|  - )", "", text, flags=re.MULTILINE)
    assert set(load_rules((*shipped(), Document("site.yml", shown))).off) == {"server.swap-short"}


# ---- docs/operators.md shows real output ----


def test_the_page_for_operators_shows_the_real_errors() -> None:
    page = PAGE.read_text(encoding="utf-8")
    inventory, contacts, ladders = ((CONFIGS / name).read_text(encoding="utf-8") for name in FILES)
    found = problems(
        inventory.replace("owner: wang.lei            # called", "owner: wang.le             # called").replace(
            "192.0.2.22", "snmp://public@192.0.2.22"
        ),
        contacts.replace("end: 17:00 ", "end: 16:30 "),
        ladders.replace("tell: [owner, head]", "tell: [owner, boss]"),
    )
    found += problems(inventory, contacts, ladders.replace("after: 10 min", "after: 10"))
    shown = [line for block in re.findall(r"```text\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    assert shown == found


def test_the_page_for_operators_shows_parts_of_the_starter_files() -> None:
    page = PAGE.read_text(encoding="utf-8")
    starter = "".join((CONFIGS / name).read_text(encoding="utf-8") for name in FILES)
    plain = re.sub(r" +#.*", "", starter)
    for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL):
        assert block in plain


def test_the_old_key_of_the_site_s_folder_is_still_read(tmp_path: Path) -> None:
    (tmp_path / "collector.yml").write_text("books: site", encoding="utf-8")
    read = read_collector(tmp_path / "collector.yml")
    assert read.config.site == "site"
    assert [str(one).removeprefix(f"{tmp_path}/") for one in read.deprecated] == [
        "collector.yml:1:1: `books` is called `site` now; rename it"
    ]
