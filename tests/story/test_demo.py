"""`watchkeeper demo` and `watchkeeper up`, as a new user starts them."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from tests.chaos.kills import free_port

ROOT = Path(__file__).resolve().parents[2]


def test_the_demo_reaches_every_level_in_order_and_ends_by_itself(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "watchkeeper", "demo", "--dir", str(tmp_path / "demo"), "--minute", "0.3"]
    done = subprocess.run(
        [*command, "--port", str(free_port())], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = re.findall(r"^ +([\d.]+) min  ([\w-]+) +(\S+)", done.stdout, re.MULTILINE)
    pages = [(rung, person) for _, rung, person in lines if rung in ("duty", "owner", "on-site", "vendor")]
    assert pages[:2] == [("duty", "张伟"), ("owner", "王磊")]
    assert sorted(pages[2:4]) == [("on-site", "周刚"), ("on-site", "王磊")]  # at once, in either order
    assert pages[4:] == [("vendor", "赵敏")]
    minutes = {rung: float(minute) for minute, rung, _ in lines}
    for rung, due in (("duty", 0), ("owner", 10), ("on-site", 20), ("vendor", 60)):
        assert minutes[rung] >= due
    assert "acknowledged by 张伟" in done.stdout.partition("owner")[0]
    assert "Demo Power Service, 400 000 0000" in done.stdout
    assert re.search(r"vendor +赵敏 +\[critical\] Hall 1 · ups: .* and 5 more", done.stdout), (
        "one trouble: the UPS on battery, its three phases, and the two silent devices behind it"
    )
    assert "Devices that depend on it (2): sensor-1, sensor-2" in done.stdout
    assert re.search(r"Act as 张伟, without a sign-in: http://127.0.0.1:\d+/t/[\w-]{40,}$", done.stdout, re.MULTILINE)
    assert {person for _, kind, person in lines if kind == "recovered"} == {"张伟", "王磊", "周刚", "赵敏"}


def test_up_shows_this_host_until_ctrl_c(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "watchkeeper", "up", "--dir", str(tmp_path / "run"), "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        link = _link(process)
        try:
            _until_readings(f"http://127.0.0.1:{port}/api/v1/devices")
            session = requests.Session()
            page = session.get(link, timeout=5)
            assert page.ok
            assert session.cookies
            assert requests.get(link, timeout=5).status_code >= 400  # the link works once
        finally:
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in output
    assert link.partition("ticket=")[2] not in output


def test_closing_the_terminal_stops_both_processes(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "watchkeeper", "up", "--dir", str(tmp_path / "run"), "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        _link(process)
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=30)  # returns when no process has the output open any more
    assert process.returncode == 0
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5)


def _link(process: "subprocess.Popen[str]") -> str:
    for line in process.stdout or ():
        if found := re.search(r"http://\S+/enter\?ticket=\S+", line):
            return found[0]
    raise AssertionError("no link was printed")


def _until_readings(url: str) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        devices = requests.get(url, timeout=5).json()
        readings = requests.get(f"{url}/{devices[0]['device']}", timeout=5).json()["readings"]
        if any(one["quantity"] == "memory.usage" and one["value"] is not None for one in readings):
            return
        time.sleep(0.2)
    raise AssertionError("no readings came")
