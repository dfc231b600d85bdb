"""Where an agent listens for traps: from the inventory to the agent, by old and new bundles."""

import json
from pathlib import Path

import pytest
import yaml

from tests.story.world import CONTACTS, INVENTORY, LADDERS
from watchkeeper.agent.push.bundle import decode_bundle
from watchkeeper.collector.site.load import parse_configuration
from watchkeeper.collector.site.snapshot import bundle_to_json, make_snapshot
from watchkeeper.model.batch import Bundle, Document, TrapSettings
from watchkeeper.model.errors import ConfigError, WireError
from watchkeeper.rules.load import load_rules, shipped

AGENT = "{agent: room-1, interval: 15 s, owner: olga}"


def handed(traps: str) -> Bundle:
    """The bundle that the agent gets."""
    inventory = INVENTORY.replace(AGENT, f"{{agent: room-1, owner: olga{traps}}}")
    made = make_snapshot(parse_configuration(inventory, CONTACTS, LADDERS)).bundles["room-1"]
    again = decode_bundle(json.loads(json.dumps(bundle_to_json(made))), "room-1")
    assert again == made
    return again


@pytest.mark.parametrize(
    ("written", "host", "port"),
    [
        ("{}", "0.0.0.0", 1162),
        ('{listen: "127.0.0.1:162"}', "127.0.0.1", 162),
        ('{listen: "[::]:65535"}', "::", 65_535),
    ],
)
def test_the_bundle_says_where_an_agent_listens(written: str, host: str, port: int) -> None:
    traps = handed(f", traps: {written}").traps
    assert traps is not None
    assert (traps.host, traps.port) == (host, port)


def test_an_agent_does_not_listen_without_traps_in_its_bundle() -> None:
    whole = handed("")
    assert whole.traps is None
    old = json.loads(json.dumps(bundle_to_json(whole)))
    del old["traps"]
    assert decode_bundle(old, "room-1") == whole, "from a collector without support for traps"
    assert handed(", traps: {}").version != whole.version


@pytest.mark.parametrize(
    "listen", ["1162", ":1162", "0.0.0.0", "0.0.0.0:0", "0.0.0.0:65536", "room:1162", "::1:162", "[10.0.0.1]:1"]
)
def test_a_wrong_listen_address_is_refused_on_both_ends(listen: str) -> None:
    with pytest.raises(ConfigError, match="is not ADDRESS:PORT"):
        handed(f', traps: {{listen: "{listen}"}}')
    raw = bundle_to_json(Bundle("v1", "room-1", 15.0, traps=TrapSettings(listen)))
    with pytest.raises(WireError, match=r"bundle.traps.listen"):
        decode_bundle(json.loads(json.dumps(raw)), "room-1")


def test_the_example_of_the_documentation_is_valid() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "traps.md").read_text(encoding="utf-8")
    stanza, rule = (block.split("```")[0] for block in page.split("```yaml\n")[1:])
    assert yaml.safe_load(stanza)["agents"][0]["traps"] == {"listen": "0.0.0.0:1162"}
    assert load_rules((*shipped(), Document("own.yml", rule))).named("own.generator-start")
