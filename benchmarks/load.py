"""A load generator that runs as a separate process. Each agent has one connection, which stays open.

    python -m benchmarks.load PLAN.json        prints "ready", waits for a line, runs, prints its result as JSON

All requests are prepared before the run. The first request of every agent is sent before the run too, and is not counted:
it declares the series (ours) or creates them (peers).
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

READINGS_PER_PUSH, VARIANTS = 200, 16
GRACE_S = 10.0  # for the requests that are open when the time is over
PUSHES_PER_EVENT = 100  # one push of so many has a verdict change
RULE = "device.alarm"


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What to send. `kind` is one of `LOAD_KINDS`. Every agent sends at most `each` requests after its first, during at most
    `seconds`."""

    kind: str
    port: int
    tokens: dict[str, str]
    each: int
    seconds: float
    zipped: bool = False


@dataclass(slots=True)
class LoadResult:
    """The result of a run. Latencies are in seconds, from the first byte of the request to the last byte of the answer."""

    good: int = 0
    bad: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_s: float = 0.0
    p50_s: float = 0.0
    p99_s: float = 0.0

    @property
    def rate(self) -> float:
        """Requests per second that were answered with 2xx."""
        return self.good / self.seconds if self.seconds else 0.0


# ---- requests ----


def _column(variant: int, start: int, stop: int) -> str:
    """Values of a push as JSON. Different variants have different values."""
    return ",".join(str(round(20 + (variant * 31 + index * 7) % 400 / 10, 1)) for index in range(start, stop))


def ours(plan: LoadPlan, devices: int) -> Iterator[list[bytes]]:
    """Pushes (docs/protocol.md) with 200 readings of one device, or 20 of each of ten devices; some have a verdict change."""
    width = READINGS_PER_PUSH // devices
    columns = [
        [f'["yes",{_column(variant, at * width + 1, at * width + width)}]' for at in range(devices)]
        for variant in range(VARIANTS)
    ]
    for place, (name, token) in enumerate(plan.tokens.items()):
        head = f'{{"protocol":1,"agent":"{name}","epoch":"bench","sent_at":{time.time():.3f},"bundle":""'
        blocks = json.dumps([_block(name, at, width) for at in range(devices)], separators=(",", ":"))
        pushes, seq, events = [], 0, 0
        for number in range(plan.each + 1):
            if number and (number + place) % PUSHES_PER_EVENT == 0:
                events += 1
                text = f'{head},"lane":"events","items":[{json.dumps(_verdict(name, events))}]}}'
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


def _block(name: str, at: int, width: int) -> dict[str, Any]:
    series = [["device.answering", "", "", ""]]
    series += [["temperature.component", f"core-{index}", "", ""] for index in range(1, width)]
    return {"block": at + 1, "device": f"{name}-{at}", "probe": "host", "every_s": 15.0, "series": series}


def _verdict(name: str, seq: int) -> dict[str, Any]:
    level = ("critical", "ok")[(seq + 1) % 2]
    evidence = {
        "quantity": "device.alarm",
        "value": level,
        "expects": "is critical",
        "first_value": level,
        "first_age_s": 0.3,
    }
    return {
        "seq": seq, "kind": "verdict", "id": f"{name}-{seq}", "device": f"{name}-0", "rule": RULE, "instance": "",
        "level": level, "age_s": 0.2, "evidence": evidence,
    }  # fmt: skip


def theirs(plan: LoadPlan, method: str, path: str) -> Iterator[list[bytes]]:
    """Requests with 200 samples in the exposition format, under the agent's name."""
    texts = []
    for variant in range(VARIANTS):
        values = _column(variant, 0, READINGS_PER_PUSH).split(",")
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


def _request(method: str, path: str, body: bytes, plan: LoadPlan, more: str = "") -> bytes:
    if plan.zipped:
        body = gzip.compress(body, 3)
        more += "Content-Encoding: gzip\r\n"
    head = f"{method} {path} HTTP/1.1\r\nHost: {HOST}:{plan.port}\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


LOAD_KINDS: dict[str, Callable[[LoadPlan], Iterator[list[bytes]]]] = {
    "ours": lambda plan: ours(plan, 1),
    "ours-ten": lambda plan: ours(plan, 10),
    "pushgateway": lambda plan: theirs(plan, "PUT", "/metrics/job/NAME"),
    "victoria": lambda plan: theirs(plan, "POST", "/api/v1/import/prometheus"),
}


# ---- sending ----


class _Connection:
    """One agent's connection. It sends the next request after the answer to the last one."""

    __slots__ = ("_at", "_began", "_buffer", "_requests", "link")

    def __init__(self, port: int, requests: Sequence[bytes]) -> None:
        self.link = socket.create_connection((HOST, port), 60.0)
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
        self._requests, self._at, self._began, self._buffer = requests, 0, 0.0, b""

    def send(self) -> bool:
        """Send the next request. Returns False if there is none."""
        if self._at == len(self._requests):
            return False
        self._began = time.perf_counter()
        self.link.sendall(self._requests[self._at])
        self._at += 1
        return True

    def take(self) -> tuple[str, float] | None:
        """Receive data. Returns the HTTP status and the latency in seconds when the answer is complete, otherwise None."""
        data = self.link.recv(65536)
        if not data:
            return "closed", 0.0
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return None
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line[:15].lower() == b"content-length:"), 0)
        if len(body) < length:
            return None
        self._buffer = b""
        return head[9:12].decode(), time.perf_counter() - self._began


def send_first_requests(connections: Sequence[_Connection]) -> None:
    """Send each agent's first request, and wait for the answers."""
    for connection in connections:
        connection.send()
    for connection in connections:
        answer = None
        while answer is None:
            answer = connection.take()
        assert answer[0].startswith("2"), answer


def run(plan: LoadPlan, connections: Sequence[_Connection]) -> LoadResult:
    """Send the other requests until the time is over, then wait for the open ones."""
    result, took = LoadResult(), []
    selector = selectors.EpollSelector()
    began, cpu, busy = time.perf_counter(), time.process_time(), len(connections)
    stop = began + plan.seconds
    for connection in connections:
        selector.register(connection.link, selectors.EVENT_READ, connection)
        connection.send()
    while busy and time.perf_counter() < stop + GRACE_S:
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
    plan = LoadPlan(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    prepared = list(LOAD_KINDS[plan.kind](plan))
    connections = [_Connection(plan.port, requests) for requests in prepared]
    send_first_requests(connections)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(asdict(run(plan, connections))), flush=True)
    for connection in connections:
        connection.link.close()


if __name__ == "__main__":
    main()
