"""Collectors whose clocks are changed while faults are there. Each is a real process with a preloaded shim (`shim.c`) that changes its
wall clock, and for a start of the machine also its boot clock and boot id. Agents are threads of ours that push to it."""

import os
import random
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import TextIO
from unittest import mock

import requests
import sqlalchemy as sa

from tests.chaos.comparing import rows_of
from tests.chaos.kills import free_port, ladder_files, start_program
from tests.chaos.outcome import Outcome
from tests.conftest import _postgres, _postgres_programs
from watchkeeper.collector.access.tokens import TokenKind, mint
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.migrate import migrate
from watchkeeper.collector.store.schema import incident, outbox, rung
from watchkeeper.demo import WebhookReceiver
from watchkeeper.deployment import random_secret
from watchkeeper.model.batch import STANDING
from watchkeeper.model.errors import StoreError
from watchkeeper.model.verdict import ActiveVerdicts, Event, Evidence, Key, Level, Verdict
from watchkeeper.model.wire import encode_event

HOUR, YEARS = 3600.0, 11.5 * 365 * 86_400.0
RUNGS_S = {"duty": 0.0, "owner": 3.0, "on-site": 4.0, "vendor": 8.0}
EARLY_S = 0.6
LATE_S = 25.0
"""A doubt lasts 10 s at most, a start of a process on a busy machine as long."""

SETTLE_S = 90.0
AGENTS = 3


def shim(folder: Path) -> Path:
    """Compile the shim."""
    library = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl", "-lm"], check=True)
    return library


class Clocks:
    """The clocks of one process: what is added to its wall clock and its boot clock, and its boot id."""

    def __init__(self, folder: Path, name: str, library: Path) -> None:
        self._file, self._boot_id, self._library = folder / f"{name}.shim", folder / f"{name}.boot-id", library
        self.wall = self.boot = 0.0
        self.restart_machine("first")
        self.set()

    def set(self, wall: float = 0.0, boot: float | None = None) -> None:
        """Change them now, in one write."""
        self.wall, self.boot = wall, self.boot if boot is None else boot
        with self._file.open("r+b" if self._file.exists() else "w+b") as file:
            file.write(struct.pack("dd", self.wall, self.boot))
        self._file.chmod(0o644)

    def restart_machine(self, boot_id: str) -> None:
        """The next process begins in another boot of the machine."""
        self._boot_id.write_text(f"{boot_id}\n", encoding="ascii")

    @property
    def environ(self) -> dict[str, str]:
        """What the process is started with."""
        return {
            "LD_PRELOAD": str(self._library), "WATCHKEEPER_SHIM": str(self._file),
            "WATCHKEEPER_BOOT_ID": str(self._boot_id),
        }  # fmt: skip


@dataclass(slots=True)
class Fault:
    """A fault that began at `began` (monotonic), and when each rung was first seen decided."""

    device: str
    began: float
    decided: dict[str, float] = field(default_factory=dict)


class Agent:
    """Pushes heartbeats and verdicts until it is stopped. `wrong` is by how much its wall clock is wrong."""

    def __init__(self, name: str, token: str, urls: Sequence[str], chance: random.Random) -> None:
        self.name, self._urls, self._chance = name, urls, chance
        self._head = {"Authorization": f"Bearer {token}"}
        self._waiting: list[Event] = []
        self._bad: dict[Key, Verdict] = {}
        self._seq = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self.wrong: Callable[[], float] = lambda: 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def say(self, *verdicts: Verdict) -> None:
        """Push these."""
        with self._lock:
            self._waiting += verdicts
            for one in verdicts:
                if one.level.bad:
                    self._bad[one.key] = one
                else:
                    self._bad.pop(one.key, None)

    def stop(self) -> None:
        """Push no more."""
        self._over.set()
        self._thread.join()

    @property
    def idle(self) -> bool:
        """Whether everything was answered."""
        return not self._waiting

    def _run(self) -> None:
        while not self._over.wait(0.25):
            with suppress(requests.RequestException):
                self._push()

    def _push(self) -> None:
        with self._lock:
            sent = list(self._waiting)
        items = [{"seq": self._seq + 1 + n, **encode_event(one, time.monotonic())} for n, one in enumerate(sent)]
        body = {
            "protocol": 1, "agent": self.name, "epoch": "chaos", "lane": "events", "more": False,
            "sent_at": time.time() + self.wrong(), "items": items,
        }  # fmt: skip
        answer = requests.post(f"{self._chance.choice(self._urls)}/v1/push", json=body, headers=self._head, timeout=5)
        if answer.ok:
            self._seq += len(sent)
            with self._lock:
                del self._waiting[: len(sent)]
                if any(one["kind"] == STANDING for one in answer.json()["requests"]):
                    self._waiting.append(ActiveVerdicts(time.monotonic(), tuple(self._bad.values())))


class Site:
    """One or two collectors, agents, a webhook, and what became of each fault."""

    def __init__(  # noqa: PLR0917 -- what a run is made of
        self, folder: Path, store_url: str, receiver: WebhookReceiver, seed: int, log: TextIO, count: int
    ) -> None:
        self.folder, self.log, self.receiver = folder, log, receiver
        self.chance = random.Random(seed)  # noqa: S311 -- must be repeatable, and is no secret
        library = shim(folder)
        self.clocks = [Clocks(folder, f"collector-{number}", library) for number in range(count)]
        self.faults: list[Fault] = []
        self.store = Store(store_url)
        migrate(self.store)
        names = [f"agent-{number}" for number in range(AGENTS)]
        ports = [free_port() for _ in range(count)]
        self.urls = [f"http://127.0.0.1:{port}" for port in ports]
        store = store_url.removeprefix("sqlite:///") if self.store.embedded else "'secret:store'"
        files = {"inventory.yml": _inventory(names), **ladder_files(receiver.port), "ladders.yml": _ladders()}
        for number, port in enumerate(ports):
            files[f"collector-{number}.yml"] = (
                f"name: c{number}\nport: {port}\nstore: {store}\nsecrets: secrets.yml\nreserve: 1 MB\n"
            )
        files["secrets.yml"] = f"store: '{store_url}'\nwebhook: {receiver.key}\n"
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
            (folder / name).chmod(0o600)
        tokens = {name: mint(self.store, TokenKind.AGENT, name, time.time()) for name in names}
        self.agents = [
            Agent(name, token, self.urls, random.Random(f"{seed}{name}"))  # noqa: S311 -- must be repeatable
            for name, token in tokens.items()
        ]
        self.running: list[subprocess.Popen[bytes]] = []
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    # ---- processes ----

    def start(self, number: int = 0) -> None:
        """Start a collector with its clocks, and wait until it serves."""
        with mock.patch.dict(os.environ, self.clocks[number].environ):
            made = start_program("collector", self.folder / f"collector-{number}.yml", self.log)
        self.running[number : number + 1] = [made]
        wait_for("it serves", lambda: self._serves(number))
        if not self._watch.is_alive():
            self._watch.start()

    def kill(self, number: int = 0) -> None:
        """Send SIGKILL."""
        self.running[number].kill()
        self.running[number].wait()

    def _serves(self, number: int) -> bool:
        assert self.running[number].poll() is None, f"it ended by itself; see {self.log.name}"
        with suppress(requests.RequestException):
            return requests.get(f"{self.urls[number]}/healthz", timeout=1).status_code in (200, 503)
        return False

    def stop(self) -> None:
        """Stop everything."""
        self._over.set()
        for agent in self.agents:
            agent.stop()
        for process in self.running:
            process.kill()
            process.wait()
        if self._watch.is_alive():
            self._watch.join()
        self.store.close()

    # ---- faults ----

    def fault(self) -> None:
        """A device gets a fault now."""
        agent = len(self.faults) % AGENTS
        made = Fault(f"agent-{agent}-{len(self.faults)}", time.monotonic())
        self.faults.append(made)
        self.agents[agent].say(_verdict(made, Level.CRITICAL))

    def _look(self) -> None:
        """See which rungs are decided, five times a second."""
        while not self._over.wait(0.2):
            with suppress(StoreError):
                self._note()

    def _note(self) -> None:
        query = (
            sa.select(incident.c.device, rung.c.rung)
            .join(rung, rung.c.trouble == incident.c.trouble)
            .where(rung.c.decided_at.is_not(None))
        )
        now, known = time.monotonic(), {one.device: one for one in self.faults}
        with self.store.read() as connection:
            for device, name in connection.execute(query):
                if device in known:
                    known[device].decided.setdefault(name, now)

    def settle(self) -> None:
        """Wait until every rung is decided, end every fault, and wait until every message is delivered."""
        with suppress(AssertionError):
            wait_for("every rung is decided", lambda: all(len(one.decided) == len(RUNGS_S) for one in self.faults))
        for one in self.faults:
            self.agents[int(one.device.split("-")[1])].say(_verdict(one, Level.OK))
        with suppress(AssertionError):
            wait_for("everything is told", lambda: all(one.idle for one in self.agents) and not self._pending())

    def _pending(self) -> bool:
        return any(row.state == "pending" for row in rows_of(self.store, outbox))

    def outcome(self, rounds: int) -> Outcome:
        """Compare the decisions with the true time."""
        early = [
            (one.device, name)
            for one in self.faults
            for name, at in one.decided.items()
            if at < self._due(one, name) - EARLY_S
        ]
        late = [(one.device, name) for one in self.faults for name in RUNGS_S
                if one.decided.get(name, float("inf")) > self._due(one, name) + LATE_S]  # fmt: skip
        messages = [row for row in rows_of(self.store, outbox) if row.about == "trouble"]
        undelivered = sum(row.state != "delivered" for row in messages)
        paged = [(row.about_id, row.recurrence, row.rung, row.person) for row in messages if row.kind == "page"]
        doubled = len(paged) - len(set(paged))
        found = sum(row.rule == "watchkeeper.clock" for row in rows_of(self.store, incident))
        note = f"{len(self.faults)} faults, {len(messages)} messages, {found} findings about a clock"
        note += f"; early {early[:3]}" if early else ""
        note += f"; late {late[:3]}" if late else ""
        clean = not (early or late or doubled or undelivered)
        return Outcome(rounds, rounds if clean else 0, len(late) + undelivered, doubled, len(early), 0, note)

    def _due(self, one: Fault, name: str) -> float:
        return one.began + RUNGS_S[name]


def _verdict(fault: Fault, level: Level) -> Verdict:
    since = fault.began if level is Level.CRITICAL else time.monotonic()
    evidence = Evidence("device.alarm", "active", "is active", "", "active", since)
    return Verdict(f"{fault.device}-{level}", fault.device, "device.alarm", "", level, since, evidence)


def wait_for(what: str, there: Callable[[], bool]) -> None:
    """Wait until it is so. Raises AssertionError."""
    until = time.monotonic() + SETTLE_S
    while time.monotonic() < until:
        if there():
            return
        time.sleep(0.1)
    raise AssertionError(f"not within {SETTLE_S:.0f} s: {what}")


def _inventory(names: Sequence[str]) -> str:
    devices = "\n".join(
        f"  - {{device: {name}-{n}, agent: {name}, category: network, probe: snmp, address: 10.{at}.{n // 100}.{n % 100},"
        f" owner: olga, location: Row {name} {n}, snmp: {{version: 2c, community: webhook}}}}"
        for at, name in enumerate(names)
        for n in range(1100)
        if n % AGENTS == at
    )
    listed = "\n".join(f"  - {{agent: {name}, owner: olga, interval: 60 s}}" for name in names)
    return f"site: {{name: Clocks, timezone: Asia/Shanghai}}\nagents:\n{listed}\ndevices:\n{devices}\n"


def _ladders() -> str:
    tells = {"duty": "duty", "owner": "owner", "on-site": "owner, head", "vendor": "assistant"}
    rungs = "\n".join(f"      - {{rung: {name}, after: {s:g} s, tell: [{tells[name]}]}}" for name, s in RUNGS_S.items())
    return f"ladders:\n  - ladder: fault\n    fallback: [head]\n    rungs:\n{rungs}\n"


@contextmanager
def site(folder: Path, seed: int, *, collectors: int = 1, database: bool = False) -> Iterator[tuple[Site, Clocks]]:
    """The site, and the clocks of its database server. Everything is stopped at the end."""
    with ExitStack() as held:
        log = held.enter_context((folder / "log").open("w", encoding="utf-8"))
        held.enter_context(mock.patch.object(ThreadingHTTPServer, "request_queue_size", 512))
        receiver = held.enter_context(WebhookReceiver.listening(random_secret(), 1.0, quiet=True))
        url = f"sqlite:///{folder / 'collector.db'}"
        home = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="watchkeeper-pg-", dir="/tmp")))
        server = Clocks(home, "server", shim(home))
        if database:
            programs = _postgres_programs()
            assert programs is not None, "needs PostgreSQL's initdb on PATH or in /usr/lib/postgresql"
            with mock.patch.dict(os.environ, server.environ):
                held.enter_context(_postgres(programs, str(home)))
            url = f"postgresql+psycopg://watchkeeper@/postgres?host={home}"
        made = Site(folder, url, receiver, seed, log, collectors)
        try:
            for number in range(collectors):
                made.start(number)
            yield made, server
        finally:
            made.stop()
