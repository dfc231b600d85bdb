"""Recorded devices through the whole probe: what ../shared/corpus knows to be right must come out right, and none wrong.

Recordings are answered from memory here; `python -m benchmarks.corpus` polls them over UDP with both engines.
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

NUMBERS, STATES = 97.5, 92.0  # per cent right, at least; docs/performance.md tells what is not
MOST_DISPUTED = 0.01


def recordings(*names: str) -> list[Path]:
    files = sorted((CORPUS / "snmprec").glob("*.snmprec"))
    return [file for file in files if not names or file.stem in names]


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return list(memory.read(recordings()))


@pytest.fixture(scope="module")
def yardstick() -> ModuleType:
    """The corpus's own score.py."""
    spec = importlib.util.spec_from_file_location("score", CORPUS / "score.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the yardstick leaves its files to the collector of garbage
def test_what_is_recorded_is_read_right_and_nothing_wrong(
    lines: list[str], yardstick: ModuleType, tmp_path: Path
) -> None:
    expected = disputes.without(CORPUS / "expected.jsonl", tmp_path / "expected.jsonl")
    assert expected.disputed <= MOST_DISPUTED * expected.rows
    (tmp_path / "probe.jsonl").write_text("\n".join(lines), encoding="utf-8")
    numbers, states, tally = yardstick.main(tmp_path, tmp_path / "probe.jsonl")
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
    """`verified` is no decoration."""
    read_by = {row["name"]: row["profile"] for row in map(json.loads, lines)}
    named = {
        (one.recording, profile.profile) for profile in load_profiles() for one in profile.verified if one.recording
    }
    assert {recording for recording, _ in named} <= {file.stem for file in recordings()}
    extended = {(profile.profile, base) for profile in load_profiles() for base in profile.extends}
    strangers = [
        (recording, name, read_by[recording])
        for recording, name in sorted(named)
        if read_by[recording] != name and (read_by[recording], name) not in extended
    ]
    assert not strangers


def test_no_device_gives_the_same_series_twice_or_a_state_that_is_none(lines: list[str]) -> None:
    rows: list[dict[str, Any]] = list(map(json.loads, lines))
    twice = Counter((row["name"], row["quantity"], row["instance"]) for row in rows)
    assert [key for key, count in twice.items() if count > 1] == []
    assert {row["level"] for row in rows if "state" in row} <= {"ok", "warning", "critical", "unknown"}


@pytest.mark.parametrize("name", ["generex-ups_cs141", "apc_airfm", "gude-esb_7213-12"])
def test_version_1_reads_the_same(name: str, lines: list[str]) -> None:
    """A device that empties a whole answer for one missing name is read by halves."""
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
