"""Recorded devices through the whole probe: what ../shared/corpus knows to be right must come out right, none wrong."""

import asyncio
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from agent.probes.snmp import SnmpProbe
from agent.probes.testing import MemoryDevice, recorded
from agent.profiles import load_profiles
from documents.secrets import Secrets
from model.clock import FakeClock
from model.device import Category, Device, Snmp, SnmpVersion
from model.reading import Missing, Reading

CORPUS = Path(__file__).resolve().parents[2].parent / "shared" / "corpus"
pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="needs the recordings in ../shared/corpus")

UPS_MIB = "1.3.6.1.2.1.33."
TO_OUR_UNIT = {"runtime": 60.0}  # the corpus counts minutes
# Where the corpus is wrong: UPS-MIB::upsInputFrequency and upsOutputFrequency are in 0.1 Hertz, so 500 is 50 Hz, not 5
DISPUTED = {
    ("huaweiups_ups2000", UPS_MIB + "1.3.3.1.2.1"): 50.0,
    ("huaweiups_ups2000", UPS_MIB + "1.4.2.0"): 50.0,
}
# Volts in tenths against the MIB: seen to be impossible, hence missing, until the maker has a profile of its own
IMPLAUSIBLE = {("cxc_ups", UPS_MIB + "1.3.3.1.3.1")}
BATTERY = {"1": "unknown", "2": "ok", "3": "low", "4": "depleted"}
SOURCE = {"1": "other", "2": "none", "3": "mains", "4": "bypass", "5": "battery", "6": "booster", "7": "reducer"}
STATES = {UPS_MIB + "1.2.1.0": BATTERY, UPS_MIB + "1.4.1.0": SOURCE}

# recording -> the fewest usable rows that must come out right, so that a profile that reads nothing fails
FAMILIES = {"gude-esb_7213-12": 2, "gude-esb_7213-13": 2, "apc_airfm": 6}


def expected() -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    if CORPUS.is_dir():
        for line in (CORPUS / "expected.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            rows[row["recording"]].append(row)
    return rows


EXPECTED = expected()
UPSES = {
    name: sum(
        row["usable"] == "ok" and row["oid"].startswith((UPS_MIB + "1.2.", UPS_MIB + "1.3.", UPS_MIB + "1.4."))
        for row in rows
    )
    for name, rows in sorted(EXPECTED.items())
    if any(row["oid"].startswith(UPS_MIB + "1.2.") for row in rows)
}


def swept(name: str, profile: str, version: SnmpVersion = SnmpVersion.V2C) -> dict[str, Reading]:
    text = (CORPUS / "snmprec" / f"{name}.snmprec").read_text(encoding="utf-8", errors="replace")
    memory = MemoryDevice(recorded(text.splitlines()))
    probe = SnmpProbe(load_profiles(), Secrets(environ={}), FakeClock(), memory.open)
    device = Device(name, "agent", Category.UPS, "snmp", "recording", profile, snmp=Snmp(version, "community"))
    return {reading.series.source: reading for reading in asyncio.run(probe.sweep(device)).readings()}


def verdict(name: str, row: dict[str, Any], reading: Reading) -> str:
    """How a reading compares with the corpus's row: right, missing, or what is wrong with it."""
    value, place = reading.value, (name, row["oid"])
    if row["usable"] == "sentinel" or place in IMPLAUSIBLE:
        return "missing" if isinstance(value, Missing) else f"{row['oid']}: {value} should be missing"
    if row["sensor_class"] == "state":
        return "right" if value == STATES[row["oid"]][row["raw"]] else f"{row['oid']}: {row['raw']} became {value}"
    wanted = DISPUTED.get(place, row["value"] * TO_OUR_UNIT.get(row["sensor_class"], 1.0))
    near = isinstance(value, float) and abs(value - wanted) <= max(0.011 * abs(wanted), 0.06)
    return "right" if near else f"{row['oid']} ({row['descr']}): {value} should be {wanted}"


def compare(name: str, readings: dict[str, Reading]) -> list[str]:
    return [
        verdict(name, row, readings[row["oid"]])
        for row in EXPECTED[name]
        if row["usable"] in ("ok", "sentinel") and row["oid"] in readings
    ]


@pytest.mark.parametrize("name", UPSES)
def test_every_ups_that_speaks_rfc_1628_is_read_right(name: str) -> None:
    found = compare(name, swept(name, "ups-mib"))
    assert [verdict for verdict in found if verdict not in ("right", "missing")] == []
    assert found.count("right") >= UPSES[name] - sum(place[0] == name for place in IMPLAUSIBLE)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_other_families_are_recognised_and_read_right(name: str) -> None:
    found = compare(name, swept(name, "auto"))
    assert [verdict for verdict in found if verdict != "right"] == []
    assert len(found) >= FAMILIES[name]


@pytest.mark.parametrize("name", ["deltaups_rfc1628string", "generex-ups_cs141", "gude-esb_7213-12"])
def test_version_1_with_its_holes_reads_the_same(name: str) -> None:
    old, new = (swept(name, "auto", version) for version in (SnmpVersion.V1, SnmpVersion.V2C))
    assert {source: reading.value for source, reading in old.items()} == {
        source: reading.value for source, reading in new.items()
    }
