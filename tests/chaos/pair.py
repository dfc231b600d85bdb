"""Two collectors on one PostgreSQL, killed with SIGKILL in turn, at commit points and at random, while agents push faults that
come and go. At the end the store is compared with what the incidents say and with what the webhook has received.

To run it by hand: `python -m tests.chaos kills-pair --rounds 100 [--seed N]`. It needs PostgreSQL's programs.
"""

import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import TextIO
from unittest import mock

import requests
import sqlalchemy as sa

from tests.chaos.comparing import Decisions, compare_decisions, compare_recoveries, end_everything, rows_of
from tests.chaos.kills import POINTS, RUNGS_S, free_port, ladder_files, start_program
from tests.chaos.pair_agents import Agents, inventory
from tests.chaos.serving import Serving
from tests.conftest import _postgres, _postgres_programs
from watchkeeper.collector.access.tokens import TokenKind, mint
from watchkeeper.collector.site.snapshot import read_snapshot
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.migrate import migrate
from watchkeeper.collector.store.schema import incident, journal, outbox, receipt
from watchkeeper.demo import WebhookReceiver
from watchkeeper.deployment import random_secret

AGENT_COUNT, SETTLE_S, SERVING_S = 12, 180.0, 6.0
ROUND_S = 6.0


@dataclass(slots=True)
class PairTally:
    """The result of the comparison."""

    kills: Counter[str] = field(default_factory=Counter)
    pushes: int = 0
    pushes_repeated: int = 0
    decisions: Decisions = field(default_factory=Decisions)
    messages: int = 0
    messages_given_up: int = 0
    messages_lost: int = 0
    sent_again: int = 0
    left_in_journal: int = 0

    def faults(self) -> dict[str, int]:
        """The counts that must all be 0."""
        names = ("messages_lost", "messages_given_up", "left_in_journal")
        return {name: getattr(self, name) for name in names if getattr(self, name)} | self.decisions.faults()


class Pair:
    """One run in a folder of its own."""

    def __init__(self, folder: Path, store_url: str, receiver: WebhookReceiver, seed: int, log: TextIO) -> None:
        self.folder, self.receiver, self.log = folder, receiver, log
        self.chance = random.Random(seed)  # noqa: S311 -- must be repeatable, and is no secret
        self.tally = PairTally()
        self.store = Store(store_url)
        migrate(self.store)
        names = [f"agent-{number}" for number in range(AGENT_COUNT)]
        ports = [free_port(), free_port()]
        self.urls = [f"http://127.0.0.1:{port}" for port in ports]
        files = {"inventory.yml": inventory(names), **ladder_files(receiver.port)}
        for number, port in enumerate(ports):
            files[f"collector-{number}.yml"] = (
                f"name: {number}\nport: {port}\nstore: 'secret:store'\nsecrets: secrets.yml\n"
            )
        files["secrets.yml"] = f"store: '{store_url}'\nwebhook: {receiver.key}\n"
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
            (folder / name).chmod(0o600)
        tokens = {name: mint(self.store, TokenKind.AGENT, name, time.time()) for name in names}
        self.agents = Agents(self.urls, tokens, seed)
        self.running: list[Popen[bytes]] = []
        self.serving = [Serving(url) for url in self.urls]

    def start(self, number: int, kill_at: str = "") -> None:
        """Start one of the two. With `kill_at`, it kills itself at that commit point."""
        made = start_program("collector", self.folder / f"collector-{number}.yml", self.log, kill_at)
        self.running[number : number + 1] = [made]

    def round(self, number: int) -> None:
        """Kill one of the two at a commit point or at a random moment, and start it again; the other one goes on."""
        running = self.running[number]
        running.kill()
        running.wait()
        point = self.chance.choice((*POINTS["collector"], "random"))
        self.start(number, "" if point == "random" else f"{point}:{self.chance.randint(1, 5)}")
        self._wait("it serves, or is killed", lambda: self._killed(number) or self._serves(number))
        with suppress(TimeoutExpired):
            self.running[number].wait(self.chance.uniform(0.2, ROUND_S) if point == "random" else ROUND_S)
        killed = self._killed(number)
        self.tally.kills[point if killed else "random"] += 1
        if killed:
            self.start(number)
        self._wait("it serves", lambda: self._serves(number))

    def _killed(self, number: int) -> bool:
        code = self.running[number].poll()
        assert code in (None, -signal.SIGKILL), f"it ended by itself; see {self.log.name}"
        return code is not None

    def _serves(self, number: int) -> bool:
        with suppress(requests.RequestException):
            return requests.get(f"{self.urls[number]}/healthz", timeout=1).ok
        return False

    def settle(self) -> None:
        """End every fault, and wait until nothing is pending."""
        self.agents.stop()
        self._wait("every incident is over", lambda: not self._count(incident, "open"))
        self._wait("every message is delivered", lambda: not self._count(outbox, "pending"))
        for one in self.running:
            one.send_signal(signal.SIGTERM)
            one.wait(15)

    def wait_for_both(self) -> None:
        """Wait until both serve."""
        self._wait("both serve", lambda: self._serves(0) and self._serves(1))

    def _wait(self, what: str, there: Callable[[], bool]) -> None:
        until = time.monotonic() + SETTLE_S
        while time.monotonic() < until:
            if there():
                return
            time.sleep(0.2)
        raise AssertionError(f"not within {SETTLE_S:.0f} s: {what}; see {self.log.name}")

    def _count(self, table: sa.Table, state: str) -> int:
        return sum(row.state == state for row in rows_of(self.store, table))

    def compare(self) -> PairTally:
        """Compare the store with the incidents and with what was received."""
        tally = self.tally
        rows, received = rows_of(self.store, outbox), {one.key for one in self.receiver.messages}
        keys = {
            row.key for row in rows if row.state != "pending"
        }  # that began in the last moment; the next start sends it
        tally.messages, tally.messages_lost = len(rows), len(keys - received)
        tally.messages_given_up = self._count(outbox, "given-up")
        tally.sent_again = sum(row.delivered for row in rows_of(self.store, receipt)) - len(keys)
        tally.left_in_journal = len(rows_of(self.store, journal))
        tally.pushes, tally.pushes_repeated = self.agents.pushes, self.agents.repeated
        found = compare_decisions(self.store, RUNGS_S, self._served, SERVING_S)
        end_everything(self.store, read_snapshot(self.folder), time.time())
        compare_recoveries(self.store, found)
        tally.decisions = found
        return tally

    def _served(self, begin: float, end: float) -> float:
        return max(one.without_interruption(begin, end) for one in self.serving)


@contextmanager
def pair(folder: Path, seed: int, kind: type[Pair] = Pair) -> Iterator[Pair]:
    """Start everything, and stop everything at the end, even after an error."""
    programs = _postgres_programs()
    assert programs is not None, "needs PostgreSQL's initdb on PATH or in /usr/lib/postgresql (Debian: postgresql)"
    with ExitStack() as held:
        home = held.enter_context(tempfile.TemporaryDirectory(prefix="watchkeeper-pg-", dir="/tmp"))
        held.enter_context(_postgres(programs, home))
        log = held.enter_context((folder / "log").open("w", encoding="utf-8"))
        # Two collectors connect faster than a busy machine accepts; the default is 5.
        held.enter_context(mock.patch.object(ThreadingHTTPServer, "request_queue_size", 512))
        receiver = held.enter_context(WebhookReceiver.listening(random_secret(), 1.0, quiet=True))
        made = kind(folder, f"postgresql+psycopg://watchkeeper@/postgres?host={home}", receiver, seed, log)
        try:
            yield made
        finally:
            made.agents.abandon()
            for one in made.serving:
                one.stop()
            for process in made.running:
                process.kill()
                process.wait()
            made.store.close()


def run(folder: Path, rounds: int, seed: int) -> PairTally:
    """Run so many rounds, then compare."""
    with pair(folder, seed) as one:
        one.start(0)
        one.start(1)
        one.wait_for_both()
        one.agents.start()
        for number in range(rounds):
            one.round(number % 2)
        one.settle()
        return one.compare()
