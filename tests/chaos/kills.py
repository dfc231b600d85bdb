"""A simulated room with a real agent and a real collector. Both are killed with SIGKILL again and again, at named commit
points and at random, while faults come and go. At the end their data are compared with the log of the room.

To run it by hand: `python -m tests.chaos kills --rounds 100 [--seed N]`.
"""

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import requests

from tests.chaos.comparing import Decisions, compare_decisions, compare_recoveries, end_everything
from tests.chaos.serving import Serving
from watchkeeper.collector.site.snapshot import read_snapshot
from watchkeeper.collector.store.engine import Store
from watchkeeper.demo import WebhookReceiver
from watchkeeper.deployment import AGENT, random_secret, write_deployment
from watchkeeper.simulator.running import RunningRoom, running_room

POINTS = {
    "agent": ("agent.event.before-commit", "agent.event.committed", "agent.readings.committed",
              "agent.push.answered", "agent.settled"),
    "collector": ("collector.journal.before-commit", "collector.journal.committed", "collector.push.answered",
                  "collector.apply.before-commit", "collector.apply.committed", "collector.rung.before-commit",
                  "collector.rung.committed", "collector.message.sent", "collector.receipt.committed"),
}  # fmt: skip
FAULTS = ("heat", "power-cut", "dead-sensor-2", "damp")
RUNGS_S = {"duty": 0.0, "owner": 1.0, "on-site": 2.0, "vendor": 6.0}
SETTLE_S = 90.0
SERVING_S = 4.0  # a collector that serves for so long decides every due rung; it looks twice a second
ROOT = Path(__file__).resolve().parents[2]


@dataclass(slots=True)
class Tally:
    """The result of the comparison."""

    kills: Counter[str] = field(default_factory=Counter)
    frames_given: int = 0
    frames_kept: int = 0
    frames_committed: int = 0
    values_kept: int = 0
    values_invented: int = 0
    readings_lost: int = 0
    events: int = 0
    events_lost: int = 0
    decisions: Decisions = field(default_factory=Decisions)
    pages: int = 0
    pages_lost: int = 0
    deliveries_repeated: int = 0
    standing_differs: int = 0
    reconciled: int = 0

    def faults(self) -> dict[str, int]:
        """The counts that must all be 0."""
        names = ("values_invented", "readings_lost", "events_lost", "pages_lost", "standing_differs", "reconciled")
        own = {name: getattr(self, name) for name in names if getattr(self, name)}
        return own | self.decisions.faults()


class Chaos:
    """One run in a folder of its own."""

    def __init__(self, folder: Path, room: RunningRoom, receiver: WebhookReceiver, seed: int, log: TextIO) -> None:
        self.folder, self.room, self.receiver, self.log = folder, room, receiver, log
        self.chance = random.Random(seed)  # noqa: S311 -- must be repeatable, and is no secret
        self.tally = Tally()
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.on: set[str] = set()
        self.port = free_port()
        key = {"webhook": receiver.key, "room": room.community}
        self.home = write_deployment(folder, self.port, _configuration(room, receiver.port), key)
        self.serving = Serving(self.home.url)

    # ---- killing ----

    def start(self, name: str, kill_at: str = "") -> None:
        """Start the agent or the collector. With `kill_at`, it kills itself at that commit point."""
        self.running[name] = start_program(name, self.folder / f"{name}.yml", self.log, kill_at)

    def kill(self, name: str) -> None:
        """Send SIGKILL."""
        self.running[name].kill()
        self.running[name].wait()

    def round(self) -> None:
        """Kill one of the two, at a commit point or at a random moment, and start it again."""
        self.switch()
        name = self.chance.choice(tuple(POINTS))
        point = self.chance.choice((*POINTS[name], "random"))
        self.kill(name)
        self.tally.kills[f"{name}.random"] += 1
        if point == "random":
            self.start(name)
            time.sleep(self.chance.uniform(0.2, 3.0))
            self.kill(name)
        else:
            self.start(name, f"{point}:{self.chance.randint(1, 3)}")
            self.switch()
            try:
                self.running[name].wait(timeout=6)
                assert self.running[name].returncode == -signal.SIGKILL, f"{name} ended by itself; see {self.log.name}"
            except subprocess.TimeoutExpired:  # this point was not reached
                point = "random"
                self.kill(name)
        self.tally.kills[point if point != "random" else f"{name}.random"] += 1
        time.sleep(self.chance.choice((0.0, 0.0, 1.5)))
        self.start(name)

    def switch(self) -> None:
        """Break or repair something in the room."""
        fault = self.chance.choice(FAULTS)
        self.room.switch(fault, on=fault not in self.on)
        self.on ^= {fault}

    # ---- settling ----

    def settle(self) -> None:
        """Repair everything, and wait until nothing is pending any more."""
        for fault in FAULTS:
            self.room.switch(fault, on=False)
        self._wait("every fault is resolved", lambda: not self._open())
        self.running["agent"].send_signal(signal.SIGTERM)  # it stores its readings, and stops reading
        assert self.running["agent"].wait(15) == 0
        self._wait("every message is delivered", lambda: not self._pending())
        self.start("agent")  # it pushes what is left in its spool
        self._wait("the spool is empty", self._spool_is_empty)
        self.kill("agent")
        time.sleep(0.5)
        self.running["collector"].send_signal(signal.SIGTERM)
        assert self.running["collector"].wait(15) == 0

    def _wait(self, what: str, there: Any) -> None:
        until = time.monotonic() + SETTLE_S
        while time.monotonic() < until:
            try:
                if there():
                    return
            except (requests.RequestException, sqlite3.OperationalError):
                pass
            time.sleep(0.2)
        raise AssertionError(f"not within {SETTLE_S:.0f} s: {what}; see {self.log.name}")

    def _open(self) -> list[Any]:
        answer = requests.get(f"{self.home.url}/api/v1/incidents", timeout=2)
        return list(answer.json()["incidents"])

    def _pending(self) -> int:
        return int(self._rows("SELECT count(*) AS n FROM outbox WHERE state = 'pending'")[0]["n"])

    def _spool_is_empty(self) -> bool:
        spool = self._spool("SELECT (SELECT count(*) FROM readings) + (SELECT count(*) FROM events) AS n")
        return int(spool[0]["n"]) < 30

    # ---- comparing ----

    def _rows(self, query: str) -> list[sqlite3.Row]:
        return _query(self.folder / "collector.db", query)

    def _spool(self, query: str) -> list[sqlite3.Row]:
        return _query(self.folder / "agent" / "spool.db", query)

    def compare(self) -> Tally:
        """Compare the stored data with the room's log."""
        self._compare_lanes()
        self._compare_values()
        self._compare_pages()
        self._compare_rungs()
        return self.tally

    def _compare_lanes(self) -> None:
        """Every sequence number that the spool committed is at the collector, exactly once, in one epoch."""
        given = {row["lane"]: row for row in self._spool("SELECT * FROM lanes")}
        lanes = self._rows("SELECT * FROM lane")
        epochs = {row["epoch"] for row in lanes}
        assert len(epochs) == 1, f"the spool began a new epoch: {epochs}"
        for row in lanes:
            missing = int(given[row["lane"]]["settled"]) - int(row["seq"])
            lost = int(row["gaps"]) + int(row["dropped"]) + max(0, missing)
            if row["lane"] == "events":
                self.tally.events, self.tally.events_lost = int(row["items"]), lost
            else:
                self.tally.frames_committed, self.tally.readings_lost = int(row["items"]), lost
        kept = self._rows("SELECT count(*) AS n, count(DISTINCT seq) AS seqs FROM history")[0]
        self.tally.frames_kept = int(kept["n"])
        self.tally.readings_lost += (
            abs(self.tally.frames_committed - int(kept["seqs"])) + int(kept["n"]) - int(kept["seqs"])
        )
        assert not self._rows("SELECT id FROM journal"), "a push was journalled but never applied"
        states = [json.loads(row["body"])["level"] for row in self._spool("SELECT body FROM states")]
        self.tally.standing_differs = sum(level in ("warning", "critical") for level in states)  # no incident is open
        counters = {row["name"]: row["count"] for row in self._rows("SELECT * FROM tally")}
        self.tally.reconciled = int(counters.get("reconciled", 0))

    def _compare_values(self) -> None:
        """Every temperature in the store is one that the room gave, at about that time."""
        truth: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for line in self.room.given():
            self.tally.frames_given += 1
            for oid, raw in line["values"].items():
                if isinstance(raw, int):
                    truth.setdefault((line["device"], oid), []).append((line["at"], float(raw)))
        sources = {(row["epoch"], row["block"]): json.loads(row["series"]) for row in self._rows("SELECT * FROM block")}
        for row in self._rows("SELECT * FROM history"):
            values = json.loads(row["column"])["values"]
            for (quantity, _, _, source), value in zip(sources[row["epoch"], row["block"]], values, strict=True):
                if quantity not in ("temperature.ambient", "humidity.relative") or not isinstance(value, float | int):
                    continue
                self.tally.values_kept += 1
                near = [raw for at, raw in truth.get((row["device"], source), ()) if abs(at - row["at"]) < 3]
                if not any(abs(raw * scale - value) < 1e-6 for raw in near for scale in (1, 0.1)):
                    self.tally.values_invented += 1

    def _compare_rungs(self) -> None:
        store = Store(f"sqlite:///{self.folder / 'collector.db'}")
        try:
            found = compare_decisions(store, RUNGS_S, self.serving.without_interruption, SERVING_S)
            end_everything(store, read_snapshot(self.folder), time.time())
            compare_recoveries(store, found)
        finally:
            store.close()
        self.tally.decisions = found

    def _compare_pages(self) -> None:
        """Every message in the outbox reached the receiver, with its key."""
        keys = {row["key"] for row in self._rows("SELECT key FROM outbox")}
        received = {page.key for page in self.receiver.messages}
        self.tally.pages = len(keys)
        self.tally.pages_lost = len(keys - received)
        tries = self._rows("SELECT count(*) AS n FROM receipt WHERE delivered")[0]["n"]
        self.tally.deliveries_repeated = int(tries) - len(keys)


def _query(file: Path, query: str) -> list[sqlite3.Row]:
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def start_program(name: str, config: Path, log: TextIO, kill_at: str = "") -> "subprocess.Popen[bytes]":
    """Start an agent or a collector. With `kill_at`, it kills itself at that commit point."""
    command = [sys.executable, "-m", "watchkeeper", name, "run", "--config", str(config)]
    environ = {**os.environ, **({"WATCHKEEPER_KILL_AT": kill_at} if kill_at else {})}
    return subprocess.Popen(command, cwd=ROOT, env=environ, stdout=log, stderr=log, start_new_session=True)


def free_port() -> int:
    """A port of 127.0.0.1 that is free now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _configuration(room: RunningRoom, port: int) -> Mapping[str, str]:
    kinds = {"ups": "ups", "pac": "cooling", "sensor-1": "env", "sensor-2": "env"}
    devices = "\n".join(
        f"  - {{device: {name}, agent: {AGENT}, category: {kinds[name]}, probe: snmp, address: '{address}', every: 500 ms,\n"
        f"     timeout: 300 ms, retries: 0, owner: olga, snmp: {{version: 2c, community: room}}}}"
        for name, address in room.addresses.items()
    )
    return {
        "inventory.yml": "site: {name: Chaos, timezone: Asia/Shanghai}\n"
        f"agents:\n  - {{agent: {AGENT}, owner: olga, interval: 60 s}}\ndevices:\n{devices}\n",
        "rules/quick.yml": QUICK,
        **ladder_files(port),
    }


def ladder_files(port: int) -> Mapping[str, str]:
    """contacts.yml and ladders.yml; everybody has a webhook at this port."""
    people = "\n".join(
        f"  - {{person: {person}, name: {person}, channels: [{{via: webhook, url: 'http://127.0.0.1:{port}/', secret: webhook}}]}}"
        for person in ("day", "olga", "hao", "amy")
    )
    tells = {"duty": "duty", "owner": "owner", "on-site": "owner, head", "vendor": "assistant"}
    rungs = "\n".join(f"      - {{rung: {name}, after: {s:g} s, tell: [{tells[name]}]}}" for name, s in RUNGS_S.items())
    return {
        "contacts.yml": f"people:\n{people}\nshifts:\n  - {{shift: day, start: 08:30, end: 17:00, rotation: [day]}}\n"
        "  - {shift: night, start: 17:00, end: 08:30, rotation: [day]}\nroles: {head: [hao], assistant: [amy]}\n",
        "ladders.yml": f"ladders:\n  - ladder: fault\n    fallback: [head]\n    rungs:\n{rungs}\n",
    }


QUICK = """\
changes:
  - {rule: environment.temperature, because: quick, clear: {margin: 0.1 °C, for: 1 s},
     warning: {outside: 21 .. 23 °C, for: 1 s}, critical: {outside: 18 .. 27 °C}}
  - {rule: environment.humidity, because: quick, clear: {margin: 0.5 %, for: 1 s},
     warning: {outside: 40 .. 60 %, for: 1 s}, critical: {outside: 30 .. 70 %, for: 1 s}}
  - {rule: environment.cooling-fault, because: quick, clear: {for: 1 s}}
  - {rule: power.on-battery, because: quick, clear: {for: 1 s}}
  - {rule: power.input-lost, because: quick, clear: {for: 1 s}}
  - {rule: device.not-answering, because: quick, critical: {is: no, for: 1 s}, clear: {for: 1 s}}
off:
  - {rule: power.alarms, because: others tell it}
  - {rule: power.battery-charge, because: it takes two hours to charge}
  - {rule: power.battery-low, because: the same}
  - {rule: power.battery-runtime, because: the same}
  - {rule: power.output-off, because: the same}
"""


@contextmanager
def chaos(folder: Path, seed: int) -> Iterator[Chaos]:
    """Start everything, and stop everything at the end, even after an error."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        log = held.enter_context((folder / "log").open("w", encoding="utf-8"))
        receiver = held.enter_context(WebhookReceiver.listening(random_secret(), 1.0, quiet=True))
        room = held.enter_context(running_room(folder / "room", pace=60, seed=seed))
        made = Chaos(folder, room, receiver, seed, log)
        try:
            yield made
        finally:
            made.serving.stop()
            for process in made.running.values():
                process.kill()
                process.wait()


def run(folder: Path, rounds: int, seed: int) -> Tally:
    """Run so many rounds, then compare."""
    with chaos(folder, seed) as one:
        one.start("collector")
        one.start("agent")
        time.sleep(3)
        for _ in range(rounds):
            one.round()
        one.settle()
        return one.compare()
