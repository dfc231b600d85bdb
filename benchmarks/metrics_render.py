"""/metrics with 100,000 series: rendering beside prometheus-client's own, and how long the event loop is held meanwhile."""

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

from benchmarks.fixtures import HOUSE, scratch
from benchmarks.processes import Home, device, write_deployment
from benchmarks.report import Row, median, show

DEVICES, SERIES, ROUNDS = 1_000, 100, 5
AGENT = "room-1"
_GET = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=60).read().count(b'\\n'))"


def main() -> None:
    """Alternately ours and theirs; then ours over HTTP, with a heart beating on the loop that serves it."""
    with scratch("metrics") as folder:
        devices = [device(f"host-{n}", AGENT, "server", "host", "60 s") for n in range(DEVICES)]
        home = write_deployment(folder, [AGENT], devices)
        _fill(folder / "collector.db")
        ours, theirs, still, held = asyncio.run(_measure(home))
    rows = [
        Row(
            f"{DEVICES * SERIES:,} series rendered, CPU",
            "s",
            median(ours),
            median(theirs),
            "prometheus-client generate_latest",
        )
    ]
    rows.append(Row("event loop held at most, while served over HTTP", "ms", 1000 * median(held)))
    notes = [f"worst of {ROUNDS} rounds {1000 * max(held):.0f} ms; without any request {1000 * still:.0f} ms"]
    show("metrics_render", rows, notes)


async def _measure(home: Home) -> tuple[list[float], list[float], float, list[float]]:
    import uvicorn  # noqa: PLC0415 -- a benchmark pays for what it uses

    from watchkeeper.collector.main import RunningCollector  # noqa: PLC0415 -- the same
    from watchkeeper.collector.site.settings import read_config  # noqa: PLC0415 -- the same

    collector = RunningCollector(read_config(home.folder / "collector.yml"))
    metrics = collector.app.web.state.metrics
    render = _theirs()
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(_cpu_s(metrics.render))
        theirs.append(_cpu_s(render))
    lines = metrics.render().count(b"\nwatchkeeper_temperature_component_celsius{")
    assert lines == render().count(b"\nwatchkeeper_temperature_component_celsius{") == DEVICES * SERIES
    del render
    gc.collect()  # the peer's objects are not the collector's to walk
    gc.freeze()  # as collector.main.run does
    config = uvicorn.Config(collector.app, port=home.port, log_level="error", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    with server.capture_signals():
        serving = asyncio.create_task(server._serve())  # noqa: SLF001 -- `serve` would take our signals
        while not server.started:
            await asyncio.sleep(0.05)
        still = await _longest_hold(asyncio.sleep(2))
        held = [await _longest_hold(_get(f"{home.url}/metrics")) for _ in range(ROUNDS)]
        server.should_exit = True
        await serving
    collector.store.close()
    return ours, theirs, still, held


def _cpu_s(work: Callable[[], bytes]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


async def _get(url: str) -> None:
    """Ask from another process, so that only the answering happens here."""
    asking = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _GET, url, stdout=asyncio.subprocess.PIPE, cwd=HOUSE
    )
    said, _ = await asking.communicate()
    assert int(said) > DEVICES * SERIES, said


async def _longest_hold(what: Coroutine[Any, Any, None]) -> float:
    """Seconds that the loop's millisecond beat came too late, at most, while this went on."""
    task = asyncio.ensure_future(what)
    clock, worst = asyncio.get_running_loop().time, 0.0
    while not task.done():
        slept = clock()
        await asyncio.sleep(0.001)
        worst = max(worst, clock() - slept - 0.001)
    await task
    return worst


def _fill(file: Path) -> None:
    """The latest frame of every device, a minute's worth fresh."""
    series = json.dumps([["temperature.component", f"core-{n}", f"core {n}", ""] for n in range(SERIES)])
    now = time.time()
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        for n in range(DEVICES):
            name, values = f"host-{n}", [round(20 + (n * 7 + i) % 500 / 10, 1) for i in range(SERIES)]
            db.execute(
                "INSERT INTO block (agent, epoch, block, device, probe, every_s, series) VALUES (?, 'e', ?, ?, 'host', 60, ?)",
                (AGENT, n + 1, name, series),
            )
            db.execute(
                "INSERT INTO latest (device, probe, agent, epoch, block, at, \"column\") VALUES (?, 'host', ?, 'e', ?, ?, ?)",
                (name, AGENT, n + 1, now, json.dumps({"values": values})),
            )


def _theirs() -> Callable[[], bytes]:
    """The same series in prometheus-client's own registry."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest  # noqa: PLC0415 -- the same

    registry = CollectorRegistry()
    labels = ("device", "category", "part", "label")
    gauge = Gauge("watchkeeper_temperature_component_celsius", "Component temperature.", labels, registry=registry)
    for n in range(DEVICES):
        for i in range(SERIES):
            gauge.labels(f"host-{n}", "server", f"core-{i}", f"core {i}").set(round(20 + (n * 7 + i) % 500 / 10, 1))
    return lambda: generate_latest(registry)
