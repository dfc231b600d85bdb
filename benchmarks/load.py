"""A load generator in a process of its own: requests prepared before the clock starts, one socket an agent, kept open.

    python -m benchmarks.load PLAN.json        prints "ready", waits for a line, runs, prints its result as JSON

Every agent's first request is sent before that and not counted: it declares the series (ours), or creates them (theirs).
"""

import gzip
import json
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.fixtures import HOST
from benchmarks.report import MEDIAN, P99, quantile

READINGS, VARIANTS = 200, 16
PATIENCE_S = 10.0
EVENTS_EVERY = 100  # one push in so many tells a verdict change
RULE = "device.alarm"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send where. `kind` is one of `KINDS`; every agent sends `each` requests after its first, or as many of them as
    `seconds` allow."""

    kind: str
    port: int
    tokens: dict[str, str]
    each: int
    seconds: float
    zipped: bool = False


@dataclass(slots=True)
class Result:
    """What came of it. Latencies are seconds from the request's first byte to its answer's last."""

    good: int = 0
    bad: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_s: float = 0.0
    p50_s: float = 0.0
    p99_s: float = 0.0

    @property
    def rate(self) -> float:
        """Answered with 2xx, a second."""
        return self.good / self.seconds if self.seconds else 0.0


# ---- requests ----


def _column(variant: int, start: int, stop: int) -> str:
    """Some of a push's values as JSON; of a variant of its own, so that they differ from push to push."""
    return ",".join(str(round(20 + (variant * 31 + index * 7) % 400 / 10, 1)) for index in range(start, stop))


def ours(plan: Plan, devices: int) -> Iterator[list[bytes]]:
    """Pushes of docs/protocol.md: 200 readings of one device, or of ten with 20 each; and verdict changes now and then."""
    wide = READINGS // devices
    columns = [
        [f'["yes",{_column(variant, at * wide + 1, at * wide + wide)}]' for at in range(devices)]
        for variant in range(VARIANTS)
    ]
    for place, (name, token) in enumerate(plan.tokens.items()):
        head = f'{{"protocol":1,"agent":"{name}","epoch":"bench","sent_at":{time.time():.3f},"bundle":""'
        blocks = json.dumps([_block(name, at, wide) for at in range(devices)], separators=(",", ":"))
        pushes, seq, told = [], 0, 0
        for number in range(plan.each + 1):
            if number and (number + place) % EVENTS_EVERY == 0:
                told += 1
                text = f'{head},"lane":"events","items":[{json.dumps(_verdict(name, told))}]}}'
            else:
                frames = (
                    f'{{"seq":{seq + at + 1},"age_s":0.2,"block":{at + 1},"values":{column}}}'
                    for at, column in enumerate(columns[(place + number) % VARIANTS])
                )
                declared = f',"blocks":{blocks}' if number == 0 else ""
                text = f'{head}{declared},"lane":"readings","items":[{",".join(frames)}]}}'
                seq += devices
            pushes.append(_request("POST", "/v1/push", text.encode(), plan, f"Authorization: Bearer {token}\r\n"))
        yield pushes


def _block(name: str, at: int, wide: int) -> dict[str, Any]:
    series = [["device.answering", "", "", ""]]
    series += [["temperature.component", f"core-{index}", "", ""] for index in range(1, wide)]
    return {"block": at + 1, "device": f"{name}-{at}", "probe": "host", "every_s": 15.0, "series": series}


def _verdict(name: str, told: int) -> dict[str, Any]:
    level = ("critical", "ok")[(told + 1) % 2]
    evidence = {
        "quantity": "device.alarm",
        "value": level,
        "expects": "is critical",
        "first_value": level,
        "first_age_s": 0.3,
    }
    return {
        "seq": told, "kind": "verdict", "id": f"{name}-{told}", "device": f"{name}-0", "rule": RULE, "instance": "",
        "level": level, "age_s": 0.2, "evidence": evidence,
    }  # fmt: skip


def theirs(plan: Plan, method: str, path: str) -> Iterator[list[bytes]]:
    """200 samples in the exposition format, each agent's under its own name."""
    texts = []
    for variant in range(VARIANTS):
        values = _column(variant, 0, READINGS).split(",")
        lines = (
            f'temperature_component_celsius{{device="NAME-0",part="core-{n}"}} {one}\n' for n, one in enumerate(values)
        )
        texts.append("".join(lines))
    for place, name in enumerate(plan.tokens):
        bodies = [text.replace("NAME", name).encode() for text in texts]
        yield [
            _request(method, path.replace("NAME", name), bodies[(place + number) % VARIANTS], plan)
            for number in range(plan.each + 1)
        ]


def _request(method: str, path: str, body: bytes, plan: Plan, more: str = "") -> bytes:
    if plan.zipped:
        body = gzip.compress(body, 3)
        more += "Content-Encoding: gzip\r\n"
    head = f"{method} {path} HTTP/1.1\r\nHost: {HOST}:{plan.port}\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


KINDS: dict[str, Callable[[Plan], Iterator[list[bytes]]]] = {
    "ours": lambda plan: ours(plan, 1),
    "ours-ten": lambda plan: ours(plan, 10),
    "pushgateway": lambda plan: theirs(plan, "PUT", "/metrics/job/NAME"),
    "victoria": lambda plan: theirs(plan, "POST", "/api/v1/import/prometheus"),
}


# ---- sending ----


class _Wire:
    """One agent's connection: a request, its answer, the next request."""

    __slots__ = ("_at", "_began", "_buffer", "_requests", "link")

    def __init__(self, port: int, requests: Sequence[bytes]) -> None:
        self.link = socket.create_connection((HOST, port), 60.0)
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
        self._requests, self._at, self._began, self._buffer = requests, 0, 0.0, b""

    def send(self) -> bool:
        """The next request, if there is one."""
        if self._at == len(self._requests):
            return False
        self._began = time.perf_counter()
        self.link.sendall(self._requests[self._at])
        self._at += 1
        return True

    def take(self) -> tuple[str, float] | None:
        """What has come: the status and how long it took, once it is whole."""
        got = self.link.recv(65536)
        if not got:
            return "closed", 0.0
        self._buffer += got
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return None
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line[:15].lower() == b"content-length:"), 0)
        if len(body) < length:
            return None
        self._buffer = b""
        return head[9:12].decode(), time.perf_counter() - self._began


def greet(wires: Sequence[_Wire]) -> None:
    """Each agent's first request."""
    for wire in wires:
        wire.send()
    for wire in wires:
        answer = None
        while answer is None:
            answer = wire.take()
        assert answer[0].startswith("2"), answer


def run(plan: Plan, wires: Sequence[_Wire]) -> Result:
    """Send the others, or until the time is over; what is under way then is waited for."""
    result, took = Result(), []
    selector = selectors.EpollSelector()
    began, cpu, busy = time.perf_counter(), time.process_time(), len(wires)
    stop = began + plan.seconds
    for wire in wires:
        selector.register(wire.link, selectors.EVENT_READ, wire)
        wire.send()
    while busy and time.perf_counter() < stop + PATIENCE_S:
        for key, _ in selector.select(1.0):
            answer = key.data.take()
            if answer is None:
                continue
            status, seconds = answer
            if status[0] == "2":
                result.good += 1
                took.append(seconds)
            else:
                result.bad[status] = result.bad.get(status, 0) + 1
            if status == "closed" or time.perf_counter() > stop or not key.data.send():
                selector.unregister(key.fileobj)
                busy -= 1
    result.seconds, result.cpu_s = time.perf_counter() - began, time.process_time() - cpu
    result.p50_s, result.p99_s = quantile(took, MEDIAN), quantile(took, P99)
    return result


def main() -> None:
    plan = Plan(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    prepared = list(KINDS[plan.kind](plan))
    wires = [_Wire(plan.port, requests) for requests in prepared]
    greet(wires)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(asdict(run(plan, wires))), flush=True)
    for wire in wires:
        wire.link.close()


if __name__ == "__main__":
    main()
