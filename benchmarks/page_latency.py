"""The time from a bad reading to its page, with a real agent, a real collector and a webhook. The peer is Prometheus with
Alertmanager at their defaults (scrape and evaluation every 15 s, group_wait 30 s), at the same time.

Our agent reads simulated devices, whose log has the time of each bad value. Prometheus scrapes this process.
"""

import contextlib
import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.fixtures import HOST, NotInstalled, free_port, program, running, temporary_folder
from benchmarks.processes import BenchmarkDeployment, deploy, device
from benchmarks.report import MEDIAN, P99, ReportRow, quantile, show
from watchkeeper.simulator.running import RunningRoom, running_room

AGENT, WEBHOOK_SECRET = "room-1", "s" * 64
ROOM_COUNT, OUR_RUN_S, FAULT_S = 12, 75.0, 8.0
PEER_FAULTS, PEER_RUN_S = 12, 150.0
ON_BATTERY, COOLING_FAULT = "power.on-battery", "environment.cooling-fault"
OUTPUT_SOURCE, UNIT_STATUS = "1.3.6.1.2.1.33.1.4.1.0", "1.3.6.1.4.1.318.1.1.13.1.3.1.0"
SOURCE_BATTERY, UNIT_FAULTY = 5, 5
OTHER_RULES = (
    "power.output-off", "power.bypass", "power.input-lost", "power.battery-low", "power.battery-replace",
    "power.battery-charge", "power.battery-runtime", "power.overload", "power.alarms", "environment.temperature",
    "environment.humidity",
)  # fmt: skip
"""Rules that would page a second time for the same fault."""


@dataclass(frozen=True, slots=True)
class ReceivedPost:
    """A received POST and its time (UTC seconds)."""

    at: float
    body: dict[str, Any]


@dataclass(slots=True)
class PageReceiver:
    """Receives the pages of both sides, and exposes the peer's faults as metrics. The times are UTC seconds."""

    posts: list[ReceivedPost] = field(default_factory=list)
    faults: dict[int, float] = field(default_factory=dict)
    seen: dict[int, float] = field(default_factory=dict)
    port: int = 0

    def exposition(self) -> bytes:
        """The metrics for Prometheus. Notes when Prometheus first saw a fault."""
        now = time.time()
        for number in self.faults:
            self.seen.setdefault(number, now)
        lines = (f'bench_fault{{fault="{n}"}} {int(n in self.faults)}\n' for n in range(PEER_FAULTS))
        return ("# TYPE bench_fault gauge\n" + "".join(lines)).encode()


def main() -> None:
    """Measure both at the same time."""
    with temporary_folder("page") as folder, _page_receiver() as receiver, contextlib.ExitStack() as cleanup:
        rooms = [cleanup.enter_context(running_room(folder / f"room-{n}", seed=n)) for n in range(ROOM_COUNT)]
        deployment = _deploy(folder / "deployment", rooms, receiver.port)
        why = ""
        try:
            cleanup.enter_context(_prometheus(folder, receiver.port))
        except NotInstalled as missing:
            why = str(missing)
        cleanup.enter_context(deployment.collector())
        cleanup.enter_context(deployment.agent(AGENT))
        peer = threading.Thread(target=_break_peer, args=(receiver,))
        if not why:
            peer.start()
        _break_ours(rooms)
        if not why:
            peer.join()
        _report(ours(rooms, receiver), receiver, why)


def _report(took: Sequence[float], receiver: PageReceiver, why: str) -> None:
    paged = {
        int(alert["labels"]["fault"]): post.at
        for post in reversed(receiver.posts)
        for alert in post.body.get("alerts", ())
    }
    seen = [paged[n] - at for n, at in receiver.seen.items() if n in paged]
    began = [paged[n] - at for n, at in receiver.faults.items() if n in paged]
    who = why or "Prometheus + Alertmanager, from the scrape that saw it"
    rows = [
        ReportRow(
            "bad reading seen -> page, p50", "s", quantile(took, MEDIAN), quantile(seen, MEDIAN) if seen else None, who
        ),
        ReportRow(
            "bad reading seen -> page, p99",
            "s",
            quantile(took, P99),
            quantile(seen, P99) if seen else None,
            who if why else "its worst",
        ),
    ]
    notes = [
        f"ours: {len(took)} faults, the worst {max(took, default=0):.2f} s; without the time until a fault is read, at most an interval"
    ]
    if seen:
        notes.append(
            f"peer: {len(seen)} of {PEER_FAULTS} faults; from the fault itself: p50 {quantile(began, MEDIAN):.0f} s,"
            f" worst {max(began):.0f} s"
        )
    show("page_latency", rows, notes)


# ---- ours ----


def _deploy(folder: Path, rooms: Sequence[RunningRoom], port: int) -> BenchmarkDeployment:
    devices = [
        device(
            f"{name}-{n}",
            AGENT,
            category,
            "snmp",
            "1 s",
            snmp="version: 2c, community: public",
            address=room.addresses[name],
            location=f"Place {name} {n}",  # what fails in one place at one time would be one trouble and one page
        )
        for n, room in enumerate(rooms)
        for name, category in (("ups", "ups"), ("pac", "cooling"))
    ]
    because = "because: the faults of the benchmark must be separate and short"
    rules = "changes:\n" + "".join(
        f"  - {{rule: {name}, {because}, clear: {{for: 0 s}}}}\n" for name in (ON_BATTERY, COOLING_FAULT)
    )
    rules += "off:\n" + "".join(f"  - {{rule: {name}, {because}}}\n" for name in OTHER_RULES)
    channel = f"{{via: webhook, url: 'http://{HOST}:{port}/', secret: signing-key}}"
    return deploy(folder, [AGENT], devices, rules=rules, channel=channel, secrets=f"signing-key: {WEBHOOK_SECRET}\n")


def _break_ours(rooms: Sequence[RunningRoom]) -> None:
    """Break and repair each device once, at a random moment: a fault that comes back continues its trouble, without a page."""
    time.sleep(6)
    breakers = [
        threading.Thread(target=_break_one, args=(room, fault, random.Random(f"{n}{fault}")))
        for n, room in enumerate(rooms)
        for fault in ("power-cut", "heat")
    ]
    for thread in breakers:
        thread.start()
    for thread in breakers:
        thread.join()
    time.sleep(5)


def _break_one(room: RunningRoom, fault: str, chance: random.Random) -> None:
    time.sleep((OUR_RUN_S - FAULT_S) * chance.random())
    room.switch(fault)
    time.sleep(FAULT_S)
    room.switch(fault, on=False)


def ours(rooms: Sequence[RunningRoom], receiver: PageReceiver) -> list[float]:
    """The time in seconds from the first bad value of each fault to its page."""
    pages: dict[str, list[float]] = {}
    for post in receiver.posts:
        facts = post.body.get("facts", {})
        if facts.get("kind") == "page" and facts["rung"] == "duty":
            pages.setdefault(facts["device"], []).append(post.at)
    took = []
    for n, room in enumerate(rooms):
        given = room.given()
        for name, oid, bad in (("ups", OUTPUT_SOURCE, SOURCE_BATTERY), ("pac", UNIT_STATUS, UNIT_FAULTY)):
            faults = _faults(given, name, oid, bad)
            paged = pages.get(f"{name}-{n}", [])
            assert len(paged) == len(faults), f"{name}-{n}: {len(faults)} faults, {len(paged)} pages"
            took += [at - fault for fault, at in zip(faults, paged, strict=True)]
    return took


def _faults(given: Sequence[dict[str, Any]], name: str, oid: str, bad: int) -> list[float]:
    """The times at which a device began to give a bad value."""
    found, was = [], False
    for answer in given:
        if answer["device"] == name and oid in answer["values"]:
            now = answer["values"][oid] == bad
            if now and not was:
                found.append(answer["at"])
            was = now
    return found


# ---- the peer ----


def _break_peer(receiver: PageReceiver) -> None:
    """Begin the faults one after the other, each in an alert group of its own; then wait for the last page."""
    began, chance = time.monotonic(), random.Random(3)
    time.sleep(20)  # one scrape and one evaluation without a fault
    for number in range(PEER_FAULTS):
        receiver.faults[number] = time.time()
        time.sleep(60 / PEER_FAULTS * 2 * chance.random())
    while time.monotonic() < began + PEER_RUN_S and sum("alerts" in post.body for post in receiver.posts) < PEER_FAULTS:
        time.sleep(0.5)


@contextlib.contextmanager
def _prometheus(folder: Path, port: int) -> Iterator[None]:
    prometheus = program("prometheus", "prometheus")
    alertmanager = program("prometheus-alertmanager", "prometheus-alertmanager")
    web, manager = free_port(), free_port()
    (folder / "rules.yml").write_text(
        "groups: [{name: bench, rules: [{alert: Fault, expr: bench_fault > 0}]}]\n", encoding="ascii"
    )
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 15s, evaluation_interval: 15s}\nrule_files: [rules.yml]\n"
        f"alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{HOST}:{manager}']}}]}}]}}\n"
        f"scrape_configs: [{{job_name: bench, static_configs: [{{targets: ['{HOST}:{port}']}}]}}]\n",
        encoding="ascii",
    )
    (folder / "alertmanager.yml").write_text(
        "route: {receiver: bench, group_by: [fault], group_wait: 30s}\n"
        f"receivers: [{{name: bench, webhook_configs: [{{url: 'http://{HOST}:{port}/', send_resolved: false}}]}}]\n",
        encoding="ascii",
    )
    commands = (
        (manager, [
            alertmanager, f"--config.file={folder / 'alertmanager.yml'}", f"--storage.path={folder / 'alerts'}",
            f"--web.listen-address={HOST}:{manager}", "--cluster.listen-address=",
        ]),
        (web, [
            prometheus, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address={HOST}:{web}", "--log.level=error",
        ]),
    )  # fmt: skip
    with contextlib.ExitStack() as cleanup:
        for port_used, command in commands:
            cleanup.enter_context(running(command, folder / f"peer-{port_used}.log", port_used))
        yield


# ---- the receiver ----


@contextlib.contextmanager
def _page_receiver() -> Iterator[PageReceiver]:
    receiver = PageReceiver()
    server = ThreadingHTTPServer((HOST, 0), _handler(receiver))
    receiver.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()


def _handler(receiver: PageReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = receiver.exposition()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            at = time.time()
            receiver.posts.append(ReceivedPost(at, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    return Handler
