"""A real agent process that listens for traps: what it pushes for one; and without traps, what it does not import."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.agent_room import TOKEN, FakeCollector, bundle, serving
from tests.traps_room import MEMORY, free_port, ups
from watchkeeper.model.batch import Bundle, Document, TrapSettings
from watchkeeper.model.verdict import Level, Verdict
from watchkeeper.rules.load import shipped

ROOT = Path(__file__).resolve().parents[2]
LOOK = "import watchkeeper.agent.main, sys; print([name for name in sys.modules if name.startswith(('watchkeeper.agent.traps', 'pysnmp'))])"


def verdicts(collector: FakeCollector) -> list[Verdict]:
    bodies = [item.body for push in collector.pushes for item in push.items]
    return [one for one in bodies if isinstance(one, Verdict) and one.rule == "device.event"]


def served(port: int) -> Bundle:
    board = replace(ups("board-1", f"127.0.0.1:{free_port()}"), every_s=3600.0, timeout_s=0.2, retries=0)
    rules = tuple(Document(Path(one.name).name, one.text) for one in shipped())
    return replace(bundle(board), rules=rules, traps=TrapSettings(f"127.0.0.1:{port}"))


@pytest.mark.skipif(shutil.which("snmpinform") is None, reason="needs snmpinform on PATH (Debian: snmp)")
def test_an_inform_is_acknowledged_and_its_verdict_pushed_at_once(tmp_path: Path) -> None:
    """Also if the device answers no poll."""
    secrets = tmp_path / "secrets.yml"
    secrets.touch(mode=0o600)
    secrets.write_text(f"agent-token: {TOKEN}\ncommunity: ours\n")
    file, port = tmp_path / "agent.yml", free_port()
    with serving(FakeCollector(served=served(port))) as collector:
        file.write_text(f"agent: room-1\ncollector: http://127.0.0.1:{collector.port}\nsecrets: secrets.yml\n")
        command = [sys.executable, "-m", "watchkeeper", "agent", "run", "--config", str(file)]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as agent:
            assert agent.stderr is not None
            said = ""
            while "listening on" not in said:
                said += agent.stderr.readline()
                assert agent.poll() is None, said
            environ = {**os.environ, "SNMP_PERSISTENT_DIR": str(tmp_path), "MIBS": ""}
            inform = ["snmpinform", "-v2c", "-cours", "-t", "2", f"127.0.0.1:{port}", "", MEMORY]
            assert subprocess.run(inform, env=environ, capture_output=True, check=False).returncode == 0
            collector.wait_for(lambda: bool(verdicts(collector)))
            agent.send_signal(signal.SIGTERM)
            said += agent.stderr.read()
            assert agent.wait(20) == 0
    (one, *_) = verdicts(collector)
    assert (one.device, one.instance, one.level) == ("board-1", MEMORY, Level.CRITICAL)
    assert one.evidence.label == "Uncorrectable memory errors"
    assert f"traps: board-1: Uncorrectable memory errors (critical): {MEMORY}" in said
    assert "since the agent started: 1 accepted" in said
    assert "Traceback" not in said


def test_an_agent_without_traps_imports_only_their_events() -> None:
    found = subprocess.run([sys.executable, "-c", LOOK], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert found.strip() == "['watchkeeper.agent.traps', 'watchkeeper.agent.traps.events']"
