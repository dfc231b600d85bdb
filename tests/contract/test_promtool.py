"""What Prometheus' own tools say of our metrics and of the configuration that feeds it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.collector_room import ROOT, Room

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool on PATH (Debian: prometheus)")


def check(what: str, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["promtool", "check", what, *arguments], input=given, capture_output=True, check=False)


def test_promtool_is_content_with_our_metrics(tmp_path: Path) -> None:
    """With every quantity, incidents, agents, messages and refusals there."""
    with Room(tmp_path) as room:
        room.read_everything()
        room.heat()
        room.climb()
        room.deliver()
        room.ingest.refused[400] = 1
        done = check("metrics", given=room.metrics.render())
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_promtool_can_be_discontent() -> None:
    assert check("metrics", given=b"camelCase_count 1\n").returncode != 0


def test_promtool_is_content_with_the_scrape_configuration() -> None:
    done = check("config", str(ROOT / "configs" / "prometheus" / "prometheus.yml"))
    assert done.returncode == 0, done.stderr
