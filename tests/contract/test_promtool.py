"""promtool checks our metrics and the scrape configuration that we ship."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.collector_room import ROOT, Room

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool on PATH (Debian: prometheus)")


def check(what: str, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["promtool", "check", what, *arguments], input=given, capture_output=True, check=False)


def test_promtool_accepts_our_metrics(tmp_path: Path) -> None:
    """With a value of every quantity, and with incidents, agents, messages and refused requests."""
    with Room(tmp_path) as room:
        room.read_everything()
        room.heat()
        room.decide_rungs()
        room.deliver()
        room.ingest.refused[400] = 1
        done = check("metrics", given=room.metrics.render())
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_promtool_rejects_a_bad_metric() -> None:
    assert check("metrics", given=b"camelCase_count 1\n").returncode != 0


def test_promtool_accepts_the_scrape_configuration() -> None:
    done = check("config", str(ROOT / "configs" / "prometheus" / "prometheus.yml"))
    assert done.returncode == 0, done.stderr
