"""Shared by the tests of the agent: short forms of the nouns, and a collector that can misbehave."""

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from watchkeeper.agent.spool.batch import Batch
from watchkeeper.agent.spool.spool import Spool
from watchkeeper.model.batch import Bundle, Document, Frame, Lane, Push
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.device import Category, Device
from watchkeeper.model.reading import Series, Sweep, Value
from watchkeeper.model.verdict import Evidence, Level, Verdict
from watchkeeper.model.wire import decode_push
from watchkeeper.rules.evaluate import RuleState

TOKEN = "the-token-nobody-may-see"

RULES = """
rules:
  - rule: heat
    clause: "3.6"
    title: Heat
    advice: Cool it
    quantity: temperature.ambient
    critical: {above: 30 °C}
  - rule: long-heat
    clause: "3.6"
    title: Heat for long
    advice: Cool it
    quantity: temperature.supply
    warning: {above: 25 °C, for: 10 min}
  - rule: silent
    clause: "4.1"
    title: Silent
    advice: Go there
    quantity: device.answering
    critical: {is: "no", for: 1 min}
"""


def device(name: str = "box", **more: Any) -> Device:
    fields: dict[str, Any] = {"agent": "room-1", "category": Category.ENV, "probe": "fake", "every_s": 30.0, **more}
    return Device(name, **fields)


def bundle(*devices: Device, version: str = "v1", rules: str = RULES, interval_s: float = 15.0) -> Bundle:
    return Bundle(version, "room-1", interval_s, devices, (Document("rules.yml", rules),))


def columns(name: str = "box", *quantities: str) -> tuple[Series, ...]:
    return (Series(name, "device.answering"), *(Series(name, quantity) for quantity in quantities))


def sweep(series: tuple[Series, ...], at: float, *values: Value, answering: str = "yes") -> Sweep:
    return Sweep(series[0].device, at, series, (answering, *values))


def verdict(number: int, level: Level = Level.CRITICAL, since: float = 1000.0) -> Verdict:
    evidence = Evidence("temperature.ambient", 31.0, "above 30 °C", "", 30.5, since - 60.0)
    return Verdict(f"id-{number}", "box", "heat", str(number), level, since, evidence)


def state(level: Level = Level.CRITICAL, since: float = 1000.0) -> RuleState:
    return RuleState(
        level, since, "id-1", Evidence("temperature.ambient", 31.0, first_value=30.5, first_at=since - 60.0)
    )


def fill(spool: Spool, clock: FakeClock, frames: int, value: Value = 20.0) -> int:
    """Add that many frames, one a second, and flush; returns their block."""
    block = spool.declare("box", "fake", 30.0, columns("box", "temperature.ambient"))
    for _ in range(frames):
        clock.advance(1)
        spool.add_frame(block, clock.boot(), ("yes", value))
    assert spool.flush()
    return block


def everything(spool: Spool, lane: Lane) -> Batch:
    return spool.batch(lane, 1_000_000, 1_000_000_000)


def items(batch: Batch) -> list[dict[str, Any]]:
    return [json.loads(body) for body in batch.items]


Behaviour = Callable[["FakeCollector", "_Handler", bytes], None]


@dataclass
class FakeCollector:
    """Accepts pushes as docs/protocol.md says; `behave` has one misbehaviour for each of the next pushes."""

    served: Bundle | None = None
    behave: list[Behaviour] = field(default_factory=list)
    refuse: Callable[[Push], int] = lambda push: 0
    requests: list[dict[str, str]] = field(default_factory=list)
    port: int = 0
    pushes: list[Push] = field(default_factory=list)
    taken: dict[tuple[str, Lane], dict[int, Any]] = field(default_factory=dict)
    through: dict[tuple[str, Lane], int] = field(default_factory=dict)
    blocks: set[tuple[str, int]] = field(default_factory=set)
    fetched: int = 0
    tokens: set[str] = field(default_factory=set)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def take(self, body: bytes) -> tuple[int, dict[str, Any]]:
        push = decode_push(json.loads(body), 1e6)
        self.pushes.append(push)
        if status := self.refuse(push):
            return status, {"error": f"no: {status}"}
        self.blocks |= {(push.epoch, block.block) for block in push.blocks}
        used = {item.body.block for item in push.items if isinstance(item.body, Frame)}
        if unknown := sorted(number for number in used if (push.epoch, number) not in self.blocks):
            return 409, {"error": "never declared here", "blocks": unknown}
        lane = (push.epoch, push.lane)
        for item in push.items:
            if item.seq > self.through.get(lane, 0):
                assert item.seq not in self.taken.setdefault(lane, {}), "doubled"
                self.taken[lane][item.seq] = item.body
                self.through[lane] = item.seq
        answer: dict[str, Any] = {"lane": push.lane, "through": self.through.get(lane, 0), "requests": self.requests}
        return 200, {**answer, "bundle": self.served.version if self.served else ""}

    def seqs(self, lane: Lane) -> list[int]:
        return sorted(seq for (_, where), found in self.taken.items() if where is lane for seq in found)

    def wait_for(self, what: Callable[[], bool], timeout_s: float = 20.0) -> None:
        with self.arrived:
            assert self.arrived.wait_for(what, timeout_s)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65_536  # an answer is one packet, and does not wait 40 ms for the acknowledgement of its head
    collector: FakeCollector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.collector.tokens.add(self.headers["Authorization"])
        with self.collector.arrived:
            if self.collector.behave:
                self.collector.behave.pop(0)(self.collector, self, body)
            else:
                self.answer(*self.collector.take(body))
            self.collector.arrived.notify_all()

    def do_GET(self) -> None:
        served = self.collector.served
        with self.collector.arrived:
            self.collector.fetched += 1
            self.collector.arrived.notify_all()
        if served is None:
            self.answer(503, {"error": "not yet"})
        elif self.headers.get("If-None-Match") == f'"{served.version}"':
            self.send_response(304)
            self.end_headers()
        else:
            self.answer(200, asdict(served))

    def answer(self, status: int, body: Any, **headers: str) -> None:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def hang_up(self) -> None:
        """End the connection without an answer."""
        self.close_connection = True

    def log_message(self, *args: Any) -> None:
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: Any) -> None:
        """Ignore the broken connection of an agent that was killed."""


def says(status: int, body: Any = None, **headers: str) -> Behaviour:
    """Answer with that status, and accept nothing."""
    return lambda _, handler, __: handler.answer(status, body if body is not None else {"error": "no"}, **headers)


def hangs_up(_: FakeCollector, handler: _Handler, __: bytes) -> None:
    """Accept nothing, and do not answer."""
    handler.hang_up()


def takes_and_hangs_up(collector: FakeCollector, handler: _Handler, body: bytes) -> None:
    """Accept everything, and close the connection before the answer."""
    collector.take(body)
    handler.hang_up()


def forgets_blocks(collector: FakeCollector, handler: _Handler, body: bytes) -> None:
    """Forget the blocks, like a collector restored from a backup."""
    collector.blocks.clear()
    handler.answer(*collector.take(body))


@contextmanager
def serving(collector: FakeCollector) -> Iterator[FakeCollector]:
    """Serve the collector on a free port of loopback."""
    handler = type("Handler", (_Handler,), {"collector": collector})
    server = _Server(("127.0.0.1", 0), handler)
    collector.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
