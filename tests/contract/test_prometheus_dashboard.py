"""A real Prometheus that uses our scrape configuration has a result for every expression of the dashboard."""

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.collector_room import ROOT, Room, serving

DASHBOARD: Any = json.loads((ROOT / "configs" / "grafana" / "watchkeeper.json").read_text(encoding="utf-8"))
SCRAPE = (ROOT / "configs" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
RESULTS_WITHIN_S = 40.0


def expressions() -> set[str]:
    """The expressions that Grafana asks, with its variables set: all devices, and the shortest rate interval it uses."""
    found = {target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())}
    return {text.replace("$device", ".*").replace("$__rate_interval", "1m") for text in found}


@contextlib.contextmanager
def prometheus(folder: Path, target: str) -> Iterator[httpx.Client]:
    """A Prometheus with our configuration; only the target, and the interval of one second, are changed."""
    text = SCRAPE
    for shipped, here in (("127.0.0.1:8760", target), ("scrape_interval: 15s", "scrape_interval: 1s")):
        assert text.count(shipped) == 1
        text = text.replace(shipped, here)
    (folder / "prometheus.yml").write_text(text, encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = [
        "--storage.tsdb.path",
        str(folder / "data"),
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    command = ["prometheus", "--config.file", str(folder / "prometheus.yml"), *options]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as running:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
                yield client
        finally:
            running.terminate()


def result(client: httpx.Client, expression: str) -> list[Any]:
    try:
        response = client.get("/api/v1/query", params={"query": expression})
    except httpx.TransportError:
        return []  # not started yet
    if response.status_code == 503:
        return []  # not ready yet
    assert response.status_code == 200, f"{expression}: {response.text}"
    found: list[Any] = response.json()["data"]["result"]
    return found


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs prometheus on PATH (Debian: prometheus)")
def test_every_expression_of_the_dashboard_has_a_result(tmp_path: Path) -> None:
    waiting = expressions()
    assert len(waiting) > 30
    with (
        Room(tmp_path) as room,
        serving(room.front) as url,
        prometheus(tmp_path, url.removeprefix("http://")) as client,
    ):
        room.read_everything()
        room.heat()
        room.decide_rungs()
        room.deliver()
        assert httpx.get(f"{url}/v1/bundle").status_code == 401  # counted as a refused request
        until = time.monotonic() + RESULTS_WITHIN_S
        while waiting and time.monotonic() < until:
            waiting = {expression for expression in waiting if not result(client, expression)}
            time.sleep(0.2)
        assert not waiting, (tmp_path / "log").read_text()
        (temperature,) = result(client, 'watchkeeper_temperature_ambient_celsius{device="sensor-cold-aisle"}')
        assert temperature["value"][1] == "50"
        assert temperature["metric"] == {
            "__name__": "watchkeeper_temperature_ambient_celsius", "device": "sensor-cold-aisle", "category": "env",
            "location": "冷通道", "job": "watchkeeper", "instance": url.removeprefix("http://"),
        }  # fmt: skip
        assert not result(client, "watchkeeper_no_such_metric"), "the test notices an empty result"


def test_the_panels_use_the_datasource_variable_and_do_not_overlap() -> None:
    assert [one["name"] for one in DASHBOARD["templating"]["list"]] == ["datasource", "device"]
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
