"""Floods and bombs, against a real collector over TLS that may open few files. Meanwhile one agent reports faults, each of which must
be paged, and another one pushes readings."""

import http.server
import itertools
import resource
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import sqlalchemy as sa

from tests.chaos.flooding import AGENT as FLOOD
from tests.chaos.flooding import READY, bombs
from tests.chaos.kills import free_port, ladder_files
from tests.chaos.outcome import Attack, Outcome
from tests.conftest import ROOT
from tests.service_room import certify
from watchkeeper.collector.access.tokens import TokenKind, mint
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.migrate import migrate
from watchkeeper.collector.store.schema import incident
from watchkeeper.demo import WebhookReceiver
from watchkeeper.deployment import random_secret

OPEN_FILES = 1_024
ANSWER_S, PAGE_S, START_S = 10.0, 20.0, 60.0
MEMORY_KB = 400_000
"""By so much the collector may grow under bombs; a single one of them once made 1.8 GB."""

AGENTS = ("good", "other", FLOOD)


@dataclass(slots=True)
class Found:
    """What was seen: faults without a page, pages that came twice or without a fault, pushes that were not taken, the longest times."""

    faults: int = 0
    lost: int = 0
    refused: int = 0
    slowest_push_s: float = 0.0
    slowest_page_s: float = 0.0
    wrong: list[str] = field(default_factory=list)


class Target:
    """A collector, and the two agents that work as they should."""

    def __init__(self, folder: Path, port: int, receiver: WebhookReceiver, tokens: dict[str, str]) -> None:
        self.folder, self.port, self.receiver, self.tokens = folder, port, receiver, tokens
        self.certificate = str(folder / "localhost.pem")
        self.found = Found()
        self.process: subprocess.Popen[bytes] | None = None
        self._seqs = {name: itertools.count(1) for name in AGENTS}
        self._kept = self._session("other")

    def _session(self, agent: str) -> requests.Session:
        session = requests.Session()
        session.verify, session.trust_env = self.certificate, False  # the environment may name other certificates
        session.headers["Authorization"] = f"Bearer {self.tokens[agent]}"
        return session

    def push(self, agent: str, body: dict[str, Any], session: requests.Session) -> int:
        """Push; an agent tries again where nobody answers, or is told to. Returns the status."""
        head = {"protocol": 1, "agent": agent, "epoch": agent, "sent_at": time.time()}
        began, status = time.monotonic(), 0
        while status in (0, 429, 503) and time.monotonic() - began < ANSWER_S:
            try:
                status = session.post(
                    f"https://127.0.0.1:{self.port}/v1/push", json={**head, **body}, timeout=ANSWER_S
                ).status_code
            except requests.RequestException:
                status = 0
        self.found.slowest_push_s = max(self.found.slowest_push_s, time.monotonic() - began)
        self.found.refused += status != requests.codes.ok
        return status

    def work(self, number: int) -> None:
        """The one agent reports a fault, over a new connection, and later its end; the other one pushes a reading."""
        device, began = f"good-{number}", time.monotonic()
        self.found.faults += 1
        with self._session("good") as session:
            self.push("good", self._verdict(device, "critical"), session)
            self.push("other", self._reading(), self._kept)
            with self.receiver.changed:
                paged = self.receiver.changed.wait_for(lambda: self.pages(device), timeout=PAGE_S)
            self.found.lost += not paged
            self.found.slowest_page_s = max(self.found.slowest_page_s, time.monotonic() - began)
            self.push("good", self._verdict(device, "ok"), session)

    def pages(self, device: str) -> int:
        """How many pages about the device the person on duty has got."""
        return sum(
            one.kind == "page" and one.person == "day" and one.body["facts"]["device"] == device
            for one in self.receiver.messages
        )

    def _verdict(self, device: str, level: str) -> dict[str, Any]:
        seq = next(self._seqs["good"])
        evidence = {"quantity": "device.alarm", "value": level}
        event = {"seq": seq, "kind": "verdict", "id": f"v{seq}", "device": device, "rule": "device.alarm", "instance": "",
                 "level": level, "age_s": 0.0, "evidence": evidence}  # fmt: skip
        return {"lane": "events", "items": [event]}

    def _reading(self) -> dict[str, Any]:
        block = {
            "block": 1,
            "device": "other-0",
            "probe": "snmp",
            "every_s": 30.0,
            "series": [["temperature.component", "", "", ""]],
        }
        return {
            "lane": "readings",
            "blocks": [block],
            "items": [{"seq": next(self._seqs["other"]), "age_s": 0.0, "block": 1, "values": [20.0]}],
        }

    def memory_kb(self) -> int:
        """The largest memory that the collector has had."""
        assert self.process
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))

    def outcome(self, rounds: int, note: str) -> Outcome:
        """What became of the faults and pushes."""
        found = self.found
        doubled = sum(max(0, self.pages(f"good-{number}") - 1) for number in range(rounds))
        alive = self.process is not None and self.process.poll() is None
        lost = found.lost + found.refused
        good = alive and not lost and not doubled and not found.wrong
        said = f"{note}; slowest push {found.slowest_push_s:.1f} s, page {found.slowest_page_s:.1f} s"
        return Outcome(rounds, rounds if good else 0, lost, doubled, note="; ".join((said, *found.wrong[:3])))


@contextmanager
def target(folder: Path, rounds: int, contacts: Callable[[str], str] = str) -> Iterator[Target]:
    """Start a collector. `contacts` changes contacts.yml."""
    with ExitStack() as held:
        receiver = held.enter_context(WebhookReceiver.listening(random_secret(), 1.0, quiet=True))
        certify(folder, time.time(), 86_400.0)
        store = Store(f"sqlite:///{folder}/collector.db")
        migrate(store)
        tokens = {name: mint(store, TokenKind.AGENT, name, time.time()) for name in AGENTS}
        store.close()
        port = free_port()
        _write(folder, port, receiver, rounds, contacts)
        one = Target(folder, port, receiver, tokens)
        log = held.enter_context((folder / "log").open("wb"))
        one.process = subprocess.Popen(
            [sys.executable, "-m", "watchkeeper", "collector", "run", "--config", str(folder / "collector.yml")],
            cwd=ROOT, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        resource.prlimit(one.process.pid, resource.RLIMIT_NOFILE, (OPEN_FILES // 2, OPEN_FILES))
        try:
            _wait_for(one)
            yield one
        finally:
            one.process.kill()
            one.process.wait()


def _write(folder: Path, port: int, receiver: WebhookReceiver, rounds: int, contacts: Callable[[str], str]) -> None:
    names = [*(f"good-{number}" for number in range(rounds + 1)), "other-0", "flood-0"]
    devices = "\n".join(
        f"  - {{device: {name}, agent: {name.rpartition('-')[0]}, category: network, probe: snmp, address: 10.0.{at // 200}.{at % 200},"
        f" owner: olga, location: Row {at}, snmp: {{version: 2c, community: webhook}}}}"
        for at, name in enumerate(names)
    )
    listed = "\n".join(f"  - {{agent: {name}, owner: olga, interval: 60 s}}" for name in AGENTS)
    files = dict(ladder_files(receiver.port))
    files["contacts.yml"] = contacts(files["contacts.yml"])
    files["inventory.yml"] = f"site: {{name: Flood, timezone: Asia/Shanghai}}\nagents:\n{listed}\ndevices:\n{devices}\n"
    files["collector.yml"] = (
        f"port: {port}\nsecrets: secrets.yml\ntls: {{certificate: localhost.pem, key: localhost.pem}}\n"
    )
    files["secrets.yml"] = f"webhook: {receiver.key}\n"
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o600)


def _wait_for(one: Target) -> None:
    def serves() -> bool:
        try:
            return requests.get(f"https://127.0.0.1:{one.port}/healthz", timeout=1, verify=one.certificate).ok
        except requests.RequestException:
            return False

    _until(serves)


def _until(there: Callable[[], bool]) -> None:
    until = time.monotonic() + START_S
    while not there():
        if time.monotonic() > until:
            raise AssertionError("the collector or the flood did not start; see its log in the folder of the attack")
        time.sleep(0.1)


@contextmanager
def flooding(one: Target, kind: str, seed: int) -> Iterator[None]:
    """A flood in a process of its own."""
    words = [kind, str(one.port), one.certificate, one.tokens[FLOOD], str(seed)]
    with (one.folder / "flood.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.flooding", *words], cwd=ROOT, stdout=log, stderr=log
        )
        try:
            _until(lambda: READY in (one.folder / "flood.log").read_text(encoding="utf-8"))
            yield
            if process.poll() is not None:
                one.found.wrong.append(f"the flood ended; see {one.folder}/flood.log")
        finally:
            process.kill()
            process.wait()


def _flood(kind: str, rounds: int, seed: int, folder: Path) -> Outcome:
    with target(folder, rounds) as one, flooding(one, kind, seed):
        for number in range(rounds):
            one.work(number)
        return one.outcome(rounds, f"{one.memory_kb() // 1000} MB at most")


def _silent(rounds: int, seed: int, folder: Path) -> Outcome:
    return _flood("silent", rounds, seed, folder)


def _slow(rounds: int, seed: int, folder: Path) -> Outcome:
    return _flood("slow", rounds, seed, folder)


def _pushes(rounds: int, seed: int, folder: Path) -> Outcome:
    outcome = _flood("pushes", rounds, seed, folder)
    store = Store(f"sqlite:///{folder}/collector.db")
    with store.read() as connection:
        mine = sa.select(sa.func.count()).where(incident.c.device == "flood-0", incident.c.state == "open")
        faults = connection.execute(mine).scalar_one()
    store.close()
    note = f"{outcome.note}; {faults} faults of the flooding agent are open"
    return Outcome(outcome.run, outcome.survived, outcome.lost, outcome.doubled, note=note)


def _bombs(rounds: int, _seed: int, folder: Path) -> Outcome:
    with target(folder, rounds) as one:
        one.work(rounds)
        before, kinds, taken = one.memory_kb(), list(bombs()), 0
        for number in range(rounds):
            body, zipped = kinds[number % len(kinds)]
            thread = threading.Thread(target=_throw, args=(one, body, zipped))
            thread.start()
            one.work(number)
            thread.join()
            taken += 1
        grown = one.memory_kb() - before
        if grown > MEMORY_KB:
            one.found.wrong.append(f"the collector grew by {grown // 1000} MB")
        return one.outcome(rounds, f"{taken} bombs refused, {grown // 1000} MB more memory")


def _throw(one: Target, body: bytes, zipped: bool) -> None:
    head = {"Authorization": f"Bearer {one.tokens[FLOOD]}", **({"Content-Encoding": "gzip"} if zipped else {})}
    places = (("/v1/push", head), ("/v1/push", {}), ("/api/v1/troubles/1/comment", {}), ("/api/v1/replies", {}))
    for path, headers in places:
        sent = body if path == "/v1/push" else body[:60_000]
        try:
            answer = requests.post(
                f"https://127.0.0.1:{one.port}{path}", data=sent, headers=headers, timeout=60, verify=one.certificate
            )
        except requests.RequestException:
            continue  # it was refused before all of it was sent
        if not 400 <= answer.status_code < 500:
            one.found.wrong.append(f"{path} answered {answer.status_code} to a bomb")


class _Trickle(http.server.BaseHTTPRequestHandler):
    """Answers a byte now and then, and never ends."""

    def do_POST(self) -> None:  # the name that http.server wants
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        try:
            while True:
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.5)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Trickling(socketserver.ThreadingTCPServer):
    daemon_threads = True


@contextmanager
def _trickling() -> Iterator[int]:
    server = _Trickling(("127.0.0.1", 0), _Trickle)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def _trickle(rounds: int, _seed: int, folder: Path) -> Outcome:
    with _trickling() as slow_port:

        def contacts(text: str) -> str:
            slow = f"{{via: webhook, url: 'http://127.0.0.1:{slow_port}/', secret: webhook}}"
            return text.replace("name: day, channels: [", f"name: day, channels: [{slow}, ")

        with target(folder, rounds, contacts) as one:
            for number in range(rounds):
                one.work(number)
            return one.outcome(rounds, "the first channel of the person on duty trickles")


ATTACKS = (
    Attack("flood-silent", "600 sockets a second that say nothing, of 200 addresses, against 1,024 files", _silent),
    Attack(
        "flood-slow", "250 clients send heads and bodies a byte at a time, half of them with an agent's token", _slow
    ),
    Attack(
        "flood-agent",
        "An agent pushes by 24 connections as fast as it can: readings, blocks, parts, epochs, large bodies",
        _pushes,
    ),
    Attack("bombs", "Gzip bombs, millions of values, and deep nesting, with an agent's token and without", _bombs),
    Attack("trickle", "A webhook that answers a byte at a time, and never ends", _trickle, ci_rounds=10),
)
