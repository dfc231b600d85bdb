"""Recorded devices read by the whole probe: the values that ../shared/corpus verifies must be right, and none wrong.

Here the recordings are answered from memory; `python -m benchmarks.corpus` polls them over UDP with both engines.
"""

import asyncio
import gc
import importlib.util
import json
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks.corpus import disputes, memory
from watchkeeper.agent.probes.snmp.probe import SnmpProbe
from watchkeeper.agent.probes.testing import MemoryDevice, read_snmprec
from watchkeeper.documents.secrets import Secrets
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device, Snmp, SnmpVersion
from watchkeeper.model.reading import Missing
from watchkeeper.profiles import load_profiles

CORPUS = Path(__file__).resolve().parents[2].parent / "shared" / "corpus"
pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="needs the recordings in ../shared/corpus")

NUMBERS, STATES = 97.5, 95.0  # per cent right, at least; docs/performance.md lists the rest
MOST_DISPUTED = 0.02


def recordings(*names: str) -> list[Path]:
    files = sorted((CORPUS / "snmprec").glob("*.snmprec"))
    return [file for file in files if not names or file.stem in names]


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return list(memory.read(recordings()))


@pytest.fixture(scope="module")
def score() -> ModuleType:
    """The corpus's own score.py."""
    spec = importlib.util.spec_from_file_location("score", CORPUS / "score.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # score.py leaves its files open
def test_recorded_values_are_read_right_and_none_wrong(lines: list[str], score: ModuleType, tmp_path: Path) -> None:
    expected = disputes.without(CORPUS / "expected.jsonl", tmp_path / "expected.jsonl")
    assert expected.disputed <= MOST_DISPUTED * expected.rows
    (tmp_path / "probe.jsonl").write_text("\n".join(lines), encoding="utf-8")
    numbers, states, tally = score.main(tmp_path, tmp_path / "probe.jsonl", strict=True)
    gc.collect()
    assert numbers.get("wrong", 0) == 0
    assert tally["sentinel shown as a value"] == 0
    assert 100 * numbers["right"] / sum(numbers.values()) >= NUMBERS
    assert 100 * states["right"] / sum(states.values()) >= STATES


def test_every_recorded_device_is_recognised(lines: list[str]) -> None:
    found = {row["name"]: (row["vendor"], row["category"]) for row in map(json.loads, lines)}
    devices = map(json.loads, (CORPUS / "devices.jsonl").read_text(encoding="utf-8").splitlines())
    wrong = {
        device["recording"]: found.get(device["recording"])
        for device in devices
        if found.get(device["recording"]) != (device["vendor"], device["category"])
    }
    assert not wrong


def test_a_recording_that_a_profile_names_is_read_by_it(lines: list[str]) -> None:
    """A profile's `verified` must be true."""
    read_by = {row["name"]: row["profile"] for row in map(json.loads, lines)}
    named = {
        (one.recording, profile.profile) for profile in load_profiles() for one in profile.verified if one.recording
    }
    assert {recording for recording, _ in named} <= {file.stem for file in recordings()}
    extended = {(profile.profile, base) for profile in load_profiles() for base in profile.extends}
    others = [
        (recording, name, read_by[recording])
        for recording, name in sorted(named)
        if read_by[recording] != name and (read_by[recording], name) not in extended
    ]
    assert not others


def test_no_device_gives_a_series_twice_or_an_undefined_level(lines: list[str]) -> None:
    rows: list[dict[str, Any]] = list(map(json.loads, lines))
    twice = Counter((row["name"], row["quantity"], row["instance"]) for row in rows)
    assert [key for key, count in twice.items() if count > 1] == []
    assert {row["level"] for row in rows if "state" in row} <= {"ok", "warning", "critical", "unknown"}


@pytest.mark.parametrize("name", ["generex-ups_cs141", "apc_airfm", "gude-esb_7213-12"])
def test_version_1_gives_the_same_readings(name: str, lines: list[str]) -> None:
    """In SNMPv1 one missing object empties the whole answer, so requests are split."""
    (file,) = recordings(name)
    memory_device = MemoryDevice(read_snmprec(file.read_text(encoding="utf-8", errors="replace").splitlines()))
    probe = SnmpProbe(load_profiles(), Secrets(None), FakeClock(), memory_device.open)
    snmp = Snmp(SnmpVersion.V1, "none")
    device = Device(name, "bench", Category.SERVER, "snmp", "192.0.2.1", snmp=snmp)
    readings = asyncio.run(probe.sweep(device)).readings()
    values = {
        (one.series.quantity, one.series.instance): one.value for one in readings if not isinstance(one.value, Missing)
    }
    rows = [row for row in map(json.loads, lines) if row["name"] == name and "missing" not in row]
    assert values == {(row["quantity"], row["instance"]): row.get("value", row.get("state")) for row in rows}
