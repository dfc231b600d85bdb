"""Memory and CPU of an agent that watches its host every 15 s and pushes to a collector, beside node_exporter scraped
every 15 s, over the same minute."""

import contextlib
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from benchmarks.fixtures import HOST, Absent, Running, free_port, program, running, scratch
from benchmarks.processes import device, write_deployment
from benchmarks.report import Row, show

EVERY_S, ROUNDS, SETTLE_S = 15.0, 4, 6.0
AGENT = "room-1"


def main() -> None:
    """One minute."""
    with scratch("idle") as folder:
        home = write_deployment(folder / "home", [AGENT], [device("host-1", AGENT, "server", "host", f"{EVERY_S:g} s")])
        with home.collector(), home.agent(AGENT) as ours, _node_exporter(folder) as (peer, port, why):
            time.sleep(SETTLE_S)  # starting up is not idling
            began, before = time.monotonic(), [one.cpu_s() if one else 0.0 for one in (ours, peer)]
            for turn in range(ROUNDS):
                if peer:
                    urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=10).read()
                time.sleep(max(0.0, began + EVERY_S * (turn + 1) - time.monotonic()))
            lasted = time.monotonic() - began
            used = [
                100 * (one.cpu_s() - was) / lasted if one else None
                for one, was in zip((ours, peer), before, strict=True)
            ]
            memory = ours.rss_mb(), peer.rss_mb() if peer else None
    who = why or "node_exporter, scraped"
    rows = [
        Row("resident memory", "MB", memory[0], memory[1], who),
        Row("CPU, of one core", "%", used[0] or 0.0, used[1], who),
    ]
    show(f"idle_agent: this host every {EVERY_S:g} s, for {lasted:.0f} s", rows)


@contextlib.contextmanager
def _node_exporter(folder: Path) -> Iterator[tuple[Running | None, int, str]]:
    port = free_port()
    try:
        command = [
            program("prometheus-node-exporter", "prometheus-node-exporter"),
            f"--web.listen-address={HOST}:{port}",
        ]
    except Absent as absent:
        yield None, 0, str(absent)
        return
    with running(command, folder / "node_exporter.log", port) as one:
        yield one, port, ""
