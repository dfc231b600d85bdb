"""agent.yml and the bundle: what is accepted, and what is refused with which text."""

import dataclasses
import json
import math
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.agent_room import bundle, device
from watchkeeper.agent.config import AgentConfig, SpoolConfig, read_config
from watchkeeper.agent.push.bundle import decode_bundle, keep_bundle, load_bundle
from watchkeeper.model.device import Snmp
from watchkeeper.model.errors import ConfigError, WireError
from watchkeeper.model.sd_notify import notify, watchdog_s


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "agent.yml"
    file.write_text(text)
    return file


def test_a_short_agent_yml_is_enough(tmp_path: Path) -> None:
    config, places = read_config(written(tmp_path, "agent: room-1\ncollector: https://c.example:8760\n"))
    assert (config.agent, config.token) == ("room-1", "agent-token")
    assert places.spool == tmp_path / "agent" / "spool.db"
    assert places.bundle.parent == places.spool.parent
    assert places.secrets is None


def test_a_whole_agent_yml(tmp_path: Path) -> None:
    text = """
agent: room-1
collector: http://127.0.0.1:8760
token: room-1-token
secrets: secrets.yml
ca: /etc/ssl/ours.pem
spool: {path: /var/lib/watchkeeper/spool.db, size: 16 MB, age: 2 d}
"""
    config, places = read_config(written(tmp_path, text))
    assert (config.spool.size_bytes, config.spool.age_s) == (16_000_000, 172_800)
    assert places.spool == Path("/var/lib/watchkeeper/spool.db")
    assert places.ca == Path("/etc/ssl/ours.pem")
    assert places.secrets == tmp_path / "secrets.yml"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://c.example:8760", "https"),
        ("http://10.0.0.1", "https"),
        ("ftp://c.example", "https://"),
        ("c.example:8760", "https://"),
        ("https://user:secret@c.example", "no user"),
        ("https://c.example/?token=x", "no user"),
        ("https://c.example:port", "not an address"),
    ],
)
def test_a_wrong_address_is_refused_with_its_line(tmp_path: Path, address: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        read_config(written(tmp_path, f'agent: room-1\ncollector: "{address}"\n'))
    assert caught.value.problems[0].line == 2
    assert "secret" not in str(caught.value)


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(written(tmp_path, "agnt: room-1\ncollector: https://c\nspool: {size: 3, age: 1 d}\n"))
    assert len(caught.value.problems) == 3


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "agent.yml")


# ---- the bundle ----


def as_json(**changes: Any) -> dict[str, Any]:
    whole = bundle(device("ups", snmp=Snmp(community="room")), device("box"))
    return {**json.loads(json.dumps(dataclasses.asdict(whole))), **changes}


def test_a_bundle_is_decoded_as_it_was_encoded() -> None:
    assert decode_bundle(as_json(), "room-1") == bundle(device("ups", snmp=Snmp(community="room")), device("box"))


def test_keys_of_a_newer_collector_are_skipped() -> None:
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    raw = as_json(mood=deep)
    raw["devices"][0]["colour"] = "grey"
    assert len(decode_bundle(raw, "room-1").devices) == 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"agent": "room-2"}, "room-2"),
        ({"interval_s": 0}, "interval_s"),
        ({"interval_s": "often"}, "interval_s"),
        ({"devices": {}}, r"bundle\.devices: expected a list"),
        ({"devices": [{"device": "x"}]}, r"bundle\.devices\[0\]: a device needs `agent`"),
        ({"devices": [{"device": "x", "agent": "room-1", "category": "toaster", "probe": "host"}]}, "toaster"),
        ({"devices": [{"device": "x", "agent": "room-2", "category": "env", "probe": "host"}]}, "room-2"),
        (
            {"devices": [{"device": "x", "agent": "room-1", "category": "env", "probe": "host", "every_s": 0}]},
            "every_s",
        ),
        (
            {"devices": [{"device": "x", "agent": "room-1", "category": "env", "probe": "snmp", "snmp": {}}]},
            "community",
        ),
        ({"devices": [{"device": "x", "agent": "room-1", "category": "env", "probe": "host"}] * 2}, "is there twice"),
        ({"rules": [{"name": "x"}]}, "text"),
        ({"version": 3}, r"bundle\.version: expected a word, found `3`"),
        ({"version": None}, r"bundle\.version: expected a word, found nothing"),
        ({"interval_s": "15"}, r"bundle\.interval_s: expected a number, found `15`"),
        ({"interval_s": True}, r"bundle\.interval_s: `true` is not a finite number"),
        ({"interval_s": math.inf}, r"bundle\.interval_s: `inf` is not a finite number"),
        (
            {"devices": [{"device": "x", "agent": "room-1", "category": "env", "probe": "host", "retries": 1.5}]},
            r"bundle\.devices\[0\]\.retries: `1.5` is not a whole number",
        ),
        (
            {
                "devices": [
                    {"device": "x", "agent": "room-1", "category": "env", "probe": "modbus", "modbus": {"unit": 256}}
                ]
            },
            r"bundle\.devices\[0\]\.modbus\.unit: must be between 0 and 255",
        ),
    ],
)
def test_a_wrong_bundle_is_refused_with_the_place(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(WireError, match=says):
        decode_bundle(as_json(**changes), "room-1")


def test_a_bundle_is_written_atomically_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "bundle.json"
    assert load_bundle(file, "room-1") is None
    keep_bundle(file, bundle(device()))
    keep_bundle(file, bundle(device(), version="v2"))
    found = load_bundle(file, "room-1")
    assert found is not None
    assert found.version == "v2"
    assert file.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == [file]


def test_a_broken_bundle_on_disk_is_reported_with_its_file(tmp_path: Path) -> None:
    file = tmp_path / "bundle.json"
    file.write_text("{")
    with pytest.raises(WireError, match=r"bundle\.json"):
        load_bundle(file, "room-1")


# ---- systemd ----


def test_a_notification_reaches_systemd(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(10)
        assert notify("READY=1", {"NOTIFY_SOCKET": address})
        assert listener.recv(100) == b"READY=1"


def test_without_systemd_nothing_is_sent_and_nothing_breaks(tmp_path: Path) -> None:
    assert not notify("READY=1", {})
    assert not notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "nobody")})


def test_only_the_process_that_systemd_watches_has_a_watchdog() -> None:
    assert watchdog_s({"WATCHDOG_USEC": "30000000"}) == 30.0
    assert watchdog_s({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}) == 30.0
    assert watchdog_s({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}) is None
    assert watchdog_s({}) is None


def test_every_key_of_agent_yml_is_documented() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "agent.md").read_text(encoding="utf-8")
    keys = {key.name for key in dataclasses.fields(AgentConfig)} - {"spool"}
    keys |= {f"spool.{key.name.removesuffix('_bytes').removesuffix('_s')}" for key in dataclasses.fields(SpoolConfig)}
    assert {key for key in keys if f"`{key}`" not in text} == set()
