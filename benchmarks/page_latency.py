"""From a bad reading to its page: real agent, real collector, a webhook; beside Prometheus and Alertmanager at their
defaults (scrape and evaluation every 15 s, group_wait 30 s), at the same time.

Ours reads simulated devices whose log tells when each bad value was given; theirs scrapes this process, which knows.
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

from benchmarks.fixtures import HOST, Absent, free_port, program, running, scratch
from benchmarks.processes import Home, device, write_deployment
from benchmarks.report import MEDIAN, P99, Row, quantile, show
from watchkeeper.simulator.running import RunningRoom, running_room

AGENT, SECRET = "room-1", "s" * 64
ROOMS, LASTS_S = 3, 75.0
THEIR_FAULTS, THEY_LAST_S = 12, 150.0
ON_BATTERY, COOLING_FAULT = "power.on-battery", "environment.cooling-fault"
OUTPUT_SOURCE, UNIT_STATUS = "1.3.6.1.2.1.33.1.4.1.0", "1.3.6.1.4.1.318.1.1.13.1.3.1.0"
BATTERY, FAULTY = 5, 5
OFF = (
    "power.output-off", "power.bypass", "power.input-lost", "power.battery-low", "power.battery-replace",
    "power.battery-charge", "power.battery-runtime", "power.overload", "power.alarms", "environment.temperature",
    "environment.humidity",
)  # fmt: skip
"""Rules that would page for the same fault again."""


@dataclass(frozen=True, slots=True)
class Hook:
    """One POST that came in, and when (UTC seconds)."""

    at: float
    body: dict[str, Any]


@dataclass(slots=True)
class Receiver:
    """Takes what either side sends, and shows the peers' faults as metrics."""

    hooks: list[Hook] = field(default_factory=list)
    faults: dict[int, float] = field(default_factory=dict)
    seen: dict[int, float] = field(default_factory=dict)
    port: int = 0

    def exposition(self) -> bytes:
        """What Prometheus scrapes; notes when it first saw a fault."""
        now = time.time()
        for number in self.faults:
            self.seen.setdefault(number, now)
        lines = (f'bench_fault{{fault="{n}"}} {int(n in self.faults)}\n' for n in range(THEIR_FAULTS))
        return ("# TYPE bench_fault gauge\n" + "".join(lines)).encode()


def main() -> None:
    """Both at once."""
    with scratch("page") as folder, _listening() as receiver, contextlib.ExitStack() as held:
        rooms = [held.enter_context(running_room(folder / f"room-{n}", seed=n)) for n in range(ROOMS)]
        home = _furnish(folder / "home", rooms, receiver.port)
        why = ""
        try:
            held.enter_context(_prometheus(folder, receiver.port))
        except Absent as absent:
            why = str(absent)
        held.enter_context(home.collector())
        held.enter_context(home.agent(AGENT))
        theirs = threading.Thread(target=_break_theirs, args=(receiver,))
        if not why:
            theirs.start()
        _break_ours(rooms)
        if not why:
            theirs.join()
        _report(ours(rooms, receiver), receiver, why)


def _report(took: Sequence[float], receiver: Receiver, why: str) -> None:
    paged = {
        int(alert["labels"]["fault"]): hook.at
        for hook in reversed(receiver.hooks)
        for alert in hook.body.get("alerts", ())
    }
    seen = [paged[n] - at for n, at in receiver.seen.items() if n in paged]
    began = [paged[n] - at for n, at in receiver.faults.items() if n in paged]
    who = why or "Prometheus + Alertmanager, from the scrape that saw it"
    rows = [
        Row(
            "bad reading seen -> page, p50", "s", quantile(took, MEDIAN), quantile(seen, MEDIAN) if seen else None, who
        ),
        Row(
            "the same, p99",
            "s",
            quantile(took, P99),
            quantile(seen, P99) if seen else None,
            who if why else "the same, the worst",
        ),
    ]
    notes = [
        f"{len(took)} faults of ours, the worst {max(took, default=0):.2f} s; not counted: up to an interval until a fault is read"
    ]
    if seen:
        notes.append(
            f"{len(seen)} of {THEIR_FAULTS} faults of theirs; counted from the fault itself: p50 {quantile(began, MEDIAN):.0f} s,"
            f" worst {max(began):.0f} s"
        )
    show("page_latency", rows, notes)


# ---- ours ----


def _furnish(folder: Path, rooms: Sequence[RunningRoom], port: int) -> Home:
    devices = [
        device(
            f"{name}-{n}",
            AGENT,
            category,
            "snmp",
            "1 s",
            snmp="version: 2c, community: public",
            address=room.addresses[name],
        )
        for n, room in enumerate(rooms)
        for name, category in (("ups", "ups"), ("pac", "cooling"))
    ]
    because = "because: a benchmark needs its faults apart and quickly over"
    rules = "changes:\n" + "".join(
        f"  - {{rule: {name}, {because}, clear: {{for: 0 s}}}}\n" for name in (ON_BATTERY, COOLING_FAULT)
    )
    rules += "off:\n" + "".join(f"  - {{rule: {name}, {because}}}\n" for name in OFF)
    channel = f"{{via: webhook, url: 'http://{HOST}:{port}/', secret: hook}}"
    return write_deployment(folder, [AGENT], devices, rules=rules, channel=channel, secrets=f"hook: {SECRET}\n")


def _break_ours(rooms: Sequence[RunningRoom]) -> None:
    """Break and mend each device again and again, all of them out of step."""
    time.sleep(6)
    breakers = [
        threading.Thread(target=_break_one, args=(room, fault, random.Random(f"{n}{fault}")))
        for n, room in enumerate(rooms)
        for fault in ("power-cut", "heat")
    ]
    for one in breakers:
        one.start()
    for one in breakers:
        one.join()
    time.sleep(5)


def _break_one(room: RunningRoom, fault: str, chance: random.Random) -> None:
    until = time.monotonic() + LASTS_S
    while time.monotonic() < until:
        room.switch(fault)
        time.sleep(2 + chance.random())
        room.switch(fault, on=False)
        time.sleep(2 + chance.random())


def ours(rooms: Sequence[RunningRoom], receiver: Receiver) -> list[float]:
    """How long each fault took, from the first bad value the device gave to its page."""
    pages: dict[str, list[float]] = {}
    for hook in receiver.hooks:
        facts = hook.body.get("facts", {})
        if facts.get("kind") == "page" and facts["rung"] == "duty":
            pages.setdefault(facts["device"], []).append(hook.at)
    took = []
    for n, room in enumerate(rooms):
        given = room.given()
        for name, oid, bad in (("ups", OUTPUT_SOURCE, BATTERY), ("pac", UNIT_STATUS, FAULTY)):
            faults = _faults(given, name, oid, bad)
            came = pages.get(f"{name}-{n}", [])
            assert len(came) == len(faults), f"{name}-{n}: {len(faults)} faults, {len(came)} pages"
            took += [at - fault for fault, at in zip(faults, came, strict=True)]
    return took


def _faults(given: Sequence[dict[str, Any]], name: str, oid: str, bad: int) -> list[float]:
    """When a device first gave a bad value, each time."""
    found, was = [], False
    for answer in given:
        if answer["device"] == name and oid in answer["values"]:
            now = answer["values"][oid] == bad
            if now and not was:
                found.append(answer["at"])
            was = now
    return found


# ---- theirs ----


def _break_theirs(receiver: Receiver) -> None:
    """One fault after the other within a minute, each an alert group of its own; then wait for the last page."""
    began, chance = time.monotonic(), random.Random(3)
    time.sleep(20)  # one scrape and evaluation without any
    for number in range(THEIR_FAULTS):
        receiver.faults[number] = time.time()
        time.sleep(60 / THEIR_FAULTS * 2 * chance.random())
    while (
        time.monotonic() < began + THEY_LAST_S and sum("alerts" in hook.body for hook in receiver.hooks) < THEIR_FAULTS
    ):
        time.sleep(0.5)


@contextlib.contextmanager
def _prometheus(folder: Path, port: int) -> Iterator[None]:
    prometheus = program("prometheus", "prometheus")
    alertmanager = program("prometheus-alertmanager", "prometheus-alertmanager")
    there, manager = free_port(), free_port()
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
        (there, [
            prometheus, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address={HOST}:{there}", "--log.level=error",
        ]),
    )  # fmt: skip
    with contextlib.ExitStack() as held:
        for listens, command in commands:
            held.enter_context(running(command, folder / f"peer-{listens}.log", listens))
        yield


# ---- the receiver ----


@contextlib.contextmanager
def _listening() -> Iterator[Receiver]:
    receiver = Receiver()
    server = ThreadingHTTPServer((HOST, 0), _handler(receiver))
    receiver.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
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
            receiver.hooks.append(Hook(at, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler
