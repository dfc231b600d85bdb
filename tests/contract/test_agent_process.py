"""A real agent process: what it imports, how it starts and stops, and what it still has after a kill."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent_room import TOKEN, FakeCollector, bundle, device, everything, items, serving
from watchkeeper.agent.spool.spool import Limits, Spool
from watchkeeper.model.batch import Lane
from watchkeeper.model.clock import SystemClock
from watchkeeper.model.device import Category
from watchkeeper.model.verdict import Verdict

ROOT = Path(__file__).resolve().parents[2]

RULES = """
rules:
  - rule: always
    clause: "4.2"
    title: Always
    advice: Nothing
    quantity: uptime
    warning: {above: 0 s}
"""

WRITER = """
import sys
from pathlib import Path
from watchkeeper.agent.spool.spool import Limits, Spool
from watchkeeper.model.batch import Frame
from watchkeeper.model.clock import SystemClock
from tests.agent_room import columns, state, verdict

spool = Spool(Path(sys.argv[1]), Limits(), SystemClock())
block = spool.declare("box", "fake", 30.0, columns("box", "leak"))
first = max(spool.given_before.values())
for number in range(first + 1, first + 100_000):
    spool.add_frame(block, SystemClock().boot(), ("yes", "dry"))
    spool.add_events([verdict(number)], {("box", "heat", ""): state(since=float(number))})
    assert spool.flush()
    print(number, flush=True)
"""


@contextlib.contextmanager
def python(*arguments: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process; it is killed at the end, so that a failed assertion does not wait for it."""
    with subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("point", ["", "agent.event.before-commit:7", "agent.event.committed:7"])
def test_a_killed_writer_still_has_everything_that_it_acknowledged(tmp_path: Path, point: str) -> None:
    file = tmp_path / "spool.db"
    acknowledged = 0
    for _ in range(2):
        environ = {"WATCHKEEPER_KILL_AT": point} if point else {}
        with python("-c", WRITER, str(file), **environ) as writer:
            assert writer.stdout is not None
            if not point:
                stop_after = random.randrange(5, 40)  # noqa: S311 -- any moment will do
                for _ in range(stop_after):
                    acknowledged = int(writer.stdout.readline())
                writer.kill()
            for line in writer.stdout.read().splitlines():
                acknowledged = int(line)
            assert writer.wait() == -signal.SIGKILL, writer.stderr and writer.stderr.read()
        with contextlib.closing(Spool(file, Limits(), SystemClock())) as spool:
            events = [item["seq"] for item in items(everything(spool, Lane.EVENTS))]
            frames = [item["seq"] for item in items(everything(spool, Lane.READINGS))]
            assert events == frames == list(range(1, len(events) + 1))
            assert len(events) in (acknowledged, acknowledged + 1)
            (kept,) = spool.states().values()
            assert kept.since == len(events), "the state is that of the last event"


@pytest.fixture
def collector() -> Iterator[FakeCollector]:
    watched = device("here", probe="host", category=Category.SERVER, every_s=0.2)
    with serving(FakeCollector(served=bundle(watched, rules=RULES))) as found:
        yield found


@pytest.fixture
def agent_yml(tmp_path: Path, collector: FakeCollector) -> Path:
    secrets = tmp_path / "secrets.yml"
    secrets.touch(mode=0o600)
    secrets.write_text(f"agent-token: {TOKEN}\n")
    file = tmp_path / "agent.yml"
    file.write_text(f"agent: room-1\ncollector: http://127.0.0.1:{collector.port}\nsecrets: secrets.yml\n")
    return file


def launch(agent_yml: Path, **environ: str) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
    return python("-m", "watchkeeper", "agent", "run", "--config", str(agent_yml), **environ)


def test_an_agent_starts_pushes_and_stops_cleanly(agent_yml: Path, collector: FakeCollector, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        with launch(agent_yml, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="300000") as agent:
            assert systemd.recv(100) == b"READY=1"
            collector.wait_for(
                lambda: {"verdict", "standing"} <= kinds(collector) and bool(collector.seqs(Lane.READINGS))
            )
            assert b"WATCHDOG=1" in (systemd.recv(1000), systemd.recv(1000))  # one of them is STATUS
            agent.send_signal(signal.SIGHUP)
            collector.wait_for(lambda: collector.fetched == 2)
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(20) == 0
            assert agent.stderr is not None
            said = agent.stderr.read()
        told = []
        while not told or told[-1] != b"STOPPING=1":
            told.append(systemd.recv(100))
    assert TOKEN not in said
    assert "Traceback" not in said
    assert (tmp_path / "agent" / "spool.db.bundle.json").exists()


def kinds(collector: FakeCollector) -> set[str]:
    names = {"Verdict": "verdict", "ActiveVerdicts": "standing"}
    return {names.get(type(item.body).__name__, "") for push in collector.pushes for item in push.items}


def test_a_killed_agent_continues_from_its_spool_and_its_bundle_on_disk(
    agent_yml: Path, collector: FakeCollector
) -> None:
    with launch(agent_yml) as agent:
        collector.wait_for(lambda: bool(collector.seqs(Lane.READINGS)) and bool(collector.seqs(Lane.EVENTS)))
        agent.kill()
    collector.served = None  # nobody hands out a bundle any more
    collector.pushes.clear()
    before = len(collector.seqs(Lane.READINGS))
    with launch(agent_yml) as agent:
        collector.wait_for(lambda: len(collector.seqs(Lane.READINGS)) > before + 1)
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(20) == 0
    assert {push.bundle for push in collector.pushes} == {"v1"}
    assert len({epoch for epoch, _ in collector.taken}) == 1
    for lane in Lane:
        seqs = collector.seqs(lane)
        assert seqs == list(range(1, len(seqs) + 1)), "no gap, and (the collector asserts it) nothing twice"
    status = subprocess.run(
        [sys.executable, "-m", "watchkeeper", "agent", "status", "--config", str(agent_yml)],
        cwd=ROOT, text=True, capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert "last answer" in status
    assert "readings:" in status
    assert TOKEN not in status


@pytest.mark.parametrize(
    "point",
    ["agent.event.before-commit", "agent.event.committed", "agent.readings.committed:2", "agent.push.answered:3",
     "agent.settled"],
)  # fmt: skip
def test_an_agent_killed_at_any_commit_loses_and_doubles_nothing(
    agent_yml: Path, collector: FakeCollector, point: str
) -> None:
    with launch(agent_yml, WATCHKEEPER_KILL_AT=point) as agent:
        assert agent.wait(20) == -signal.SIGKILL
    before = len(collector.seqs(Lane.READINGS))
    with launch(agent_yml) as agent:
        collector.wait_for(lambda: len(collector.seqs(Lane.READINGS)) > before and "verdict" in kinds(collector))
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(20) == 0
    assert len({epoch for epoch, _ in collector.taken}) == 1
    for lane in Lane:
        seqs = collector.seqs(lane)
        assert seqs == list(range(1, len(seqs) + 1))
    changes = [item.body for push in collector.pushes for item in push.items if isinstance(item.body, Verdict)]
    assert len({change.id for change in changes}) == 1, "judged once, whatever happened"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("agent: room-1\ncollector: http://c.example\n", "https"),
        ("agent: room-1\ncollector: http://127.0.0.1:1\n", "no secret called"),
        ("agent: room-1\ncollector: http://127.0.0.1:1\nsecrets: none.yml\n", "none.yml"),
    ],
)
def test_an_agent_that_cannot_start_says_why_in_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "agent.yml"
    file.write_text(text)
    with launch(file) as agent:
        assert agent.wait(20) == 1
        assert agent.stderr is not None
        said = agent.stderr.read()
    assert says in said
    assert "Traceback" not in said


IMPORTS = """
import asyncio, json, sys
from pathlib import Path
import watchkeeper.agent.main as main

real = main.AgentService._beat
async def beat(self):
    for _ in range(200):
        await asyncio.sleep(0.01)
        if "watchkeeper.agent.probes.host.probe" in sys.modules:
            break
    print(json.dumps(sorted(sys.modules)), flush=True)
    self._stopping.set()
    await real(self)
main.AgentService._beat = beat
main.run(Path(sys.argv[1]))
"""


def test_an_agent_of_a_host_imports_nothing_heavy(agent_yml: Path) -> None:
    with python("-c", IMPORTS, str(agent_yml)) as agent:
        out, err = agent.communicate(timeout=30)
    modules = set(json.loads(out or "[]"))
    assert "watchkeeper.agent.probes.host.probe" in modules, err
    heavy = {"pydantic", "pysnmp", "pyipmi", "cryptography", "gufo", "sqlalchemy", "fastapi"}
    assert not heavy & {name.partition(".")[0] for name in modules}
