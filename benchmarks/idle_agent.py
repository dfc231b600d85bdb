"""Memory and CPU of an agent that reads its host every 15 s and pushes to a collector. The peer is node_exporter, scraped
every 15 s in the same minute."""

import contextlib
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from benchmarks.fixtures import HOST, MeasuredProcess, NotInstalled, free_port, program, running, temporary_folder
from benchmarks.processes import deploy, device
from benchmarks.report import ReportRow, show

HOST_INTERVAL_S, SCRAPES, STARTUP_S = 15.0, 4, 6.0
AGENT = "room-1"


def main() -> None:
    """Measure for one minute."""
    with temporary_folder("idle") as folder:
        deployment = deploy(
            folder / "deployment", [AGENT], [device("host-1", AGENT, "server", "host", f"{HOST_INTERVAL_S:g} s")]
        )
        with deployment.collector(), deployment.agent(AGENT) as ours, _node_exporter(folder) as (peer, port, why):
            time.sleep(STARTUP_S)  # the start is not idle time
            began, before = time.monotonic(), [process.cpu_s() if process else 0.0 for process in (ours, peer)]
            for number in range(SCRAPES):
                if peer:
                    urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=10).read()
                time.sleep(max(0.0, began + HOST_INTERVAL_S * (number + 1) - time.monotonic()))
            lasted = time.monotonic() - began
            used = [
                100 * (process.cpu_s() - was) / lasted if process else None
                for process, was in zip((ours, peer), before, strict=True)
            ]
            memory = ours.rss_mb(), peer.rss_mb() if peer else None
    who = why or "node_exporter, scraped"
    rows = [
        ReportRow("resident memory", "MB", memory[0], memory[1], who),
        ReportRow("CPU of one core", "%", used[0] or 0.0, used[1], who),
    ]
    show(f"idle_agent: this host every {HOST_INTERVAL_S:g} s, for {lasted:.0f} s", rows)


@contextlib.contextmanager
def _node_exporter(folder: Path) -> Iterator[tuple[MeasuredProcess | None, int, str]]:
    port = free_port()
    try:
        command = [
            program("prometheus-node-exporter", "prometheus-node-exporter"),
            f"--web.listen-address={HOST}:{port}",
        ]
    except NotInstalled as missing:
        yield None, 0, str(missing)
        return
    with running(command, folder / "node_exporter.log", port) as exporter:
        yield exporter, port, ""
