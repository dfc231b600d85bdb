"""`watchkeeper discover` and `profile record` against a simulated recording on loopback."""

import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from watchkeeper.agent.tools import discover as finding
from watchkeeper.agent.tools.discover_cli import discover
from watchkeeper.agent.tools.profile_cli import profile
from watchkeeper.cli import command_line
from watchkeeper.collector.site.inventory import Inventory
from watchkeeper.documents.bind import load
from watchkeeper.model.device import Category, Snmp

ROOT = Path(__file__).resolve().parents[2]
BOX = ROOT / "docs" / "examples" / "coldwatch.snmprec"


@contextmanager
def answering(recording: Path) -> Iterator[str]:
    """`watchkeeper simulate recording` on a free port; yields HOST:PORT."""
    command = [sys.executable, "-m", "watchkeeper", "simulate", "recording", str(recording), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            found = re.search(r"@(127\.0\.0\.1:\d+)", process.stdout.readline())
            assert found
            yield found[1]
        finally:
            process.terminate()


def test_a_device_is_found_named_and_written_into_an_inventory(tmp_path: Path) -> None:
    out = tmp_path / "found.yml"
    with answering(BOX) as address:
        port = address.rpartition(":")[2]
        logins = ["--as", f"snmp://wrong@HOST:{port}", "--as", f"snmp://public@HOST:{port}"]
        done = CliRunner().invoke(discover, ["127.0.0.1/32", *logins, "--owner", "wang.lei", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "1 device answers (1 address)" in done.output
    assert "ColdWatch 4" in done.output
    text = out.read_text(encoding="utf-8")
    assert "public" not in text
    inventory = load(
        "site: {name: x, timezone: UTC}\nagents: [{agent: room-1, owner: wang.lei}]\n" + text, "found.yml", Inventory
    )
    (device,) = inventory.devices
    assert (device.device, device.address, device.probe, device.owner) == ("redacted", address, "snmp", "wang.lei")
    assert device.snmp == Snmp(community="room-community")


def test_a_bmc_is_found_by_its_presence_pong(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bmc:
        bmc.bind(("127.0.0.1", 0))
        monkeypatch.setattr(finding, "RMCP_PORT", bmc.getsockname()[1])

        def answer() -> None:
            ping, peer = bmc.recvfrom(100)
            assert ping == finding.PING
            bmc.sendto(bytes.fromhex("0600ff06000011be4000001000000000000000000000000000000000"), peer)

        listening = threading.Thread(target=answer)
        listening.start()
        done = CliRunner().invoke(discover, ["127.0.0.1/32", "--as", "snmp://public@HOST:1"])
        listening.join()
    assert "probe: ipmi" in done.stdout
    assert "category: bmc" in done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["10.0.0.0/8"], "at most 65536"),
        (["room"], "does not appear to be an IPv4 or IPv6 network"),
        (["10.0.0.0/30", "--as", "snmp://hunter2@10.0.0.1"], "with HOST in place of the address"),
        (["10.0.0.0/30", "--as", "ipmi://u@HOST?password=x"], "with HOST in place of the address"),
    ],
)
def test_a_network_that_cannot_be_searched_is_refused(words: list[str], says: str) -> None:
    done = CliRunner().invoke(discover, words)
    assert done.exit_code == 2
    assert says in done.output
    assert "hunter2" not in done.output


def test_names_tell_devices_apart() -> None:
    found = [finding.FoundDevice("h", Category.UPS, name, "") for name in ("UPS 1", "UPS 1", "", "", "hall/2")]
    named = [name for name, _ in finding.names(found)]
    assert named[0] == "ups-1"
    assert named[4] == "hall-2"
    assert len(set(named)) == len(named)


def test_a_recording_of_a_device_is_read_like_the_device(tmp_path: Path) -> None:
    out = tmp_path / "again.snmprec"
    with answering(BOX) as address:
        done = CliRunner().invoke(profile, ["record", f"snmp://public@{address}", "--out", str(out)])
        assert done.exit_code == 0, done.output
    assert "public" not in done.output
    assert out.read_text(encoding="utf-8") == BOX.read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("snmpget") is None, reason="needs snmpget on PATH (Debian: snmp)")
def test_a_simulated_recording_answers_net_snmp() -> None:
    with answering(BOX) as address:
        said = subprocess.run(
            ["snmpget", "-v1", "-c", "public", "-Oqv", address, "1.3.6.1.4.1.32473.7.2.1.2.1", "1.3.6.1.4.1.32473.7.3.1.0"],
            capture_output=True, text=True, check=True, env={"MIBS": "", "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
    assert said.stdout.split("\n")[:2] == ['"Cold aisle"', "1480"]


@pytest.mark.parametrize(("text", "says"), [("1.3.6|9|x\n", ":1:"), ("1.3.6.1.2.1.1.1.0|4|a\nnonsense\n", ":2:")])
def test_a_wrong_recording_is_refused_with_its_line(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "bad.snmprec").write_text(text, encoding="utf-8")
    done = CliRunner().invoke(command_line, ["simulate", "recording", str(tmp_path / "bad.snmprec"), "--port", "0"])
    assert done.exit_code == 1
    assert f"bad.snmprec{says}" in done.stderr
