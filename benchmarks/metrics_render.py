"""/metrics with 100,000 series: CPU compared with prometheus-client, and how long rendering blocks the event loop."""

import asyncio
import contextlib
import gc
import json
import sqlite3
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from benchmarks.fixtures import REPOSITORY, temporary_folder
from benchmarks.processes import BenchmarkDeployment, deploy, pushed_device
from benchmarks.report import ReportRow, median, show

DEVICE_COUNT, SERIES_PER_DEVICE, ROUND_COUNT = 1_000, 100, 5
AGENT = "room-1"
_GET_SCRIPT = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=60).read().count(b'\\n'))"


def main() -> None:
    """Render with both in turn. Then serve ours over HTTP, and measure how long the event loop is blocked."""
    with temporary_folder("metrics") as folder:
        devices = [pushed_device(n, f"host-{n}", AGENT, "60 s") for n in range(DEVICE_COUNT)]
        deployment = deploy(folder, [AGENT], devices)
        _fill(folder / "collector.db")
        ours, theirs, idle, blocked = asyncio.run(_measure(deployment))
    rows = [
        ReportRow(
            f"CPU to render {DEVICE_COUNT * SERIES_PER_DEVICE:,} series",
            "s",
            median(ours),
            median(theirs),
            "prometheus-client generate_latest",
        )
    ]
    rows.append(ReportRow("longest time that the event loop is blocked while serving", "ms", 1000 * median(blocked)))
    notes = [
        f"the worst of {ROUND_COUNT} rounds: {1000 * max(blocked):.0f} ms; without a request: {1000 * idle:.0f} ms"
    ]
    show("metrics_render", rows, notes)


async def _measure(deployment: BenchmarkDeployment) -> tuple[list[float], list[float], float, list[float]]:
    import uvicorn  # noqa: PLC0415 -- only this benchmark imports it

    from watchkeeper.collector.running import RunningCollector  # noqa: PLC0415 -- only this benchmark imports it
    from watchkeeper.collector.site.settings import read_config  # noqa: PLC0415 -- only this benchmark imports it

    collector = RunningCollector(read_config(deployment.folder / "collector.yml"))
    metrics = collector.app.web.state.metrics
    render = _theirs()
    ours, theirs = [], []
    for _ in range(ROUND_COUNT):
        ours.append(_cpu_s(metrics.render))
        theirs.append(_cpu_s(render))
    lines = metrics.render().count(b"\nwatchkeeper_temperature_component_celsius{")
    assert lines == render().count(b"\nwatchkeeper_temperature_component_celsius{") == DEVICE_COUNT * SERIES_PER_DEVICE
    del render
    gc.collect()  # so that the garbage collector does not walk the peer's objects
    gc.freeze()  # as collector.main.run does
    config = uvicorn.Config(collector.app, port=deployment.port, log_level="error", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    with server.capture_signals():
        serving = asyncio.create_task(server._serve())  # noqa: SLF001 -- `serve` would handle our signals
        while not server.started:
            await asyncio.sleep(0.05)
        idle = await _longest_block(asyncio.sleep(2))
        blocked = [await _longest_block(_get(f"{deployment.url}/metrics")) for _ in range(ROUND_COUNT)]
        server.should_exit = True
        await serving
    collector.store.close()
    return ours, theirs, idle, blocked


def _cpu_s(work: Callable[[], bytes]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


async def _get(url: str) -> None:
    """Request the URL from another process, so that this process only serves it."""
    asking = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _GET_SCRIPT, url, stdout=asyncio.subprocess.PIPE, cwd=REPOSITORY
    )
    output, _ = await asking.communicate()
    assert int(output) > DEVICE_COUNT * SERIES_PER_DEVICE, output


async def _longest_block(work: Coroutine[Any, Any, None]) -> float:
    """The longest time in seconds that a sleep of 1 ms took too long on the event loop during `work`."""
    task = asyncio.ensure_future(work)
    clock, worst = asyncio.get_running_loop().time, 0.0
    while not task.done():
        slept = clock()
        await asyncio.sleep(0.001)
        worst = max(worst, clock() - slept - 0.001)
    await task
    return worst


def _fill(file: Path) -> None:
    """Write a current frame of every device."""
    series = json.dumps([["temperature.component", f"core-{n}", f"core {n}", ""] for n in range(SERIES_PER_DEVICE)])
    now = time.time()
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        for n in range(DEVICE_COUNT):
            name, values = f"host-{n}", [round(20 + (n * 7 + i) % 500 / 10, 1) for i in range(SERIES_PER_DEVICE)]
            db.execute(
                "INSERT INTO block (agent, epoch, block, device, probe, every_s, series) VALUES (?, 'e', ?, ?, 'host', 60, ?)",
                (AGENT, n + 1, name, series),
            )
            db.execute(
                "INSERT INTO latest (device, probe, agent, epoch, block, at, \"column\") VALUES (?, 'host', ?, 'e', ?, ?, ?)",
                (name, AGENT, n + 1, now, json.dumps({"values": values})),
            )


def _theirs() -> Callable[[], bytes]:
    """A function that renders an equal set of series from prometheus-client's registry."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest  # noqa: PLC0415 -- only this benchmark imports it

    registry = CollectorRegistry()
    labels = ("device", "category", "part", "label")
    gauge = Gauge("watchkeeper_temperature_component_celsius", "Component temperature.", labels, registry=registry)
    for n in range(DEVICE_COUNT):
        for i in range(SERIES_PER_DEVICE):
            gauge.labels(f"host-{n}", "server", f"core-{i}", f"core {i}").set(round(20 + (n * 7 + i) % 500 / 10, 1))
    return lambda: generate_latest(registry)
