"""A real Prometheus, fed by the scrape configuration we ship, has an answer for every expression of the dashboard."""

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
PATIENCE_S = 40.0


def expressions() -> set[str]:
    """What Grafana asks, with its variables put in: all devices, and the shortest rate it would take."""
    found = {target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())}
    return {text.replace("$device", ".*").replace("$__rate_interval", "1m") for text in found}


@contextlib.contextmanager
def prometheus(folder: Path, target: str) -> Iterator[httpx.Client]:
    """One that scrapes `target` every second by our configuration, and nothing else of it changed."""
    text = SCRAPE
    for ours, here in (("127.0.0.1:8760", target), ("scrape_interval: 15s", "scrape_interval: 1s")):
        assert text.count(ours) == 1
        text = text.replace(ours, here)
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


def answer(client: httpx.Client, expression: str) -> list[Any]:
    try:
        said = client.get("/api/v1/query", params={"query": expression})
    except httpx.TransportError:
        return []  # not up yet
    if said.status_code == 503:
        return []  # nor ready
    assert said.status_code == 200, f"{expression}: {said.text}"
    found: list[Any] = said.json()["data"]["result"]
    return found


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs prometheus on PATH (Debian: prometheus)")
def test_every_expression_of_the_dashboard_has_an_answer(tmp_path: Path) -> None:
    waiting = expressions()
    assert len(waiting) > 30
    with (
        Room(tmp_path) as room,
        serving(room.front) as url,
        prometheus(tmp_path, url.removeprefix("http://")) as client,
    ):
        room.read_everything()
        room.heat()
        room.climb()
        room.deliver()
        assert httpx.get(f"{url}/v1/bundle").status_code == 401  # counted among the refused
        until = time.monotonic() + PATIENCE_S
        while waiting and time.monotonic() < until:
            waiting = {expression for expression in waiting if not answer(client, expression)}
            time.sleep(0.2)
        assert not waiting, (tmp_path / "log").read_text()
        (temperature,) = answer(client, 'watchkeeper_temperature_ambient_celsius{device="sensor-cold-aisle"}')
        assert temperature["value"][1] == "50"
        assert temperature["metric"] == {
            "__name__": "watchkeeper_temperature_ambient_celsius", "device": "sensor-cold-aisle", "category": "env",
            "location": "冷通道", "job": "watchkeeper", "instance": url.removeprefix("http://"),
        }  # fmt: skip
        assert not answer(client, "watchkeeper_no_such_thing"), "an empty answer would have been noticed"


def test_the_dashboard_asks_its_own_datasource_and_its_panels_do_not_overlap() -> None:
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
