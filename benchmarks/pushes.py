"""Durable pushes a second into one collector, against Pushgateway and VictoriaMetrics, by the same load generator."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from benchmarks.ground import HOST, HOUSE, Absent, Running, free_port, program, running, scratch
from benchmarks.home import Home, device, furnish
from benchmarks.load import EVENTS_EVERY, READINGS, Plan, Result
from benchmarks.report import Row, show

AGENTS, SECONDS, EACH = 256, 6.0, 200
FEW = 4  # of the slow peer's


def main() -> None:
    """Ours and the peers', plain and gzipped."""
    with scratch("pushes") as folder:
        agents = [f"agent-{number}" for number in range(AGENTS)]
        devices = [device(f"{one}-{at}", one, "server", "host", "15 s") for one in agents for at in range(10)]
        home = furnish(folder / "home", agents, devices)
        rows, notes = [], []
        for zipped in (False, True):
            what = "gzipped" if zipped else "plain"
            ours, used = _ours(folder, home, "ours", zipped=zipped)
            notes.append(told(f"ours, {what}", ours, used))
            for name, start in (("VictoriaMetrics", _victoria), ("Pushgateway", _pushgateway)):
                peer = _peer(folder, name, start, home, zipped=zipped)
                if isinstance(peer, str):
                    rows.append(Row(f"pushes of {READINGS} readings, {what}", "1/s", ours.rate, None, peer))
                else:
                    rows.append(Row(f"pushes of {READINGS} readings, {what}", "1/s", ours.rate, peer[0].rate, name))
                    notes.append(told(f"{name}, {what}", *peer))
        ours, used = _ours(folder, home, "ours-by-device", zipped=False)
        rows.append(Row("ten devices of 20 readings in each, plain", "1/s", ours.rate))
        notes.append(told("ours, ten devices", ours, used))
    share = f"one push in {EVENTS_EVERY} of ours is a verdict change (an incident opens, or ends)"
    show(f"pushes: {AGENTS} agents, one connection each; {share}", rows, notes)


def told(name: str, result: Result, used: float) -> str:
    bad = f", refused {result.bad}" if result.bad else ""
    return (
        f"{name}: {result.good} answered 2xx in {result.seconds:.1f} s, p50 {1000 * result.p50_s:.0f} ms, "
        f"p99 {1000 * result.p99_s:.0f} ms; it used {used:.2f} cores, the generator {result.cpu_s / result.seconds:.2f}{bad}"
    )


def _ours(folder: Path, home: Home, kind: str, *, zipped: bool) -> tuple[Result, float]:
    """A store of its own each time, as the lanes' seqs begin anew."""
    (folder / "home" / "collector.db").rename(folder / "kept.db")
    for name in ("collector.db-wal", "collector.db-shm"):
        (folder / "home" / name).unlink(missing_ok=True)
    (folder / "home" / "collector.db").write_bytes((folder / "kept.db").read_bytes())
    try:
        with home.collector() as one:
            return measure(folder, Plan(kind, home.port, dict(home.tokens), EACH, SECONDS, zipped), one)
    finally:
        for name in ("collector.db", "collector.db-wal", "collector.db-shm"):
            (folder / "home" / name).unlink(missing_ok=True)
        (folder / "kept.db").rename(folder / "home" / "collector.db")


def measure(folder: Path, plan: Plan, one: Running) -> tuple[Result, float]:
    """Let the generator run; return its result and how many cores the receiver used meanwhile."""
    file = folder / "plan.json"
    file.write_text(json.dumps(asdict(plan)), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.load", str(file)]
    with subprocess.Popen(command, cwd=HOUSE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            assert process.stdout.readline().strip() == "ready"
            before = one.cpu_s()
            process.stdin.write("go\n")
            process.stdin.flush()
            result = Result(**json.loads(process.stdout.readline()))
        finally:
            process.kill()
    return result, (one.cpu_s() - before) / result.seconds


def _peer(folder: Path, name: str, start: object, home: Home, *, zipped: bool) -> tuple[Result, float] | str:
    kind = {"VictoriaMetrics": "victoria", "Pushgateway": "pushgateway"}[name]
    try:
        with contextlib.ExitStack() as held:
            one, port = held.enter_context(start(folder))  # type: ignore[operator]
            each = EACH if kind == "victoria" else FEW
            return measure(folder, Plan(kind, port, dict(home.tokens), each, SECONDS, zipped), one)
    except Absent as absent:
        return str(absent)


@contextlib.contextmanager
def _victoria(folder: Path) -> Iterator[tuple[Running, int]]:
    port = free_port()
    command = [
        program("victoria-metrics", "victoria-metrics"), f"-httpListenAddr={HOST}:{port}",
        f"-storageDataPath={folder / 'victoria'}", "-retentionPeriod=1",
    ]  # fmt: skip
    with running(command, folder / "victoria.log", port) as one:
        yield one, port


@contextlib.contextmanager
def _pushgateway(folder: Path) -> Iterator[tuple[Running, int]]:
    port = free_port()
    command = [
        program("prometheus-pushgateway", "prometheus-pushgateway"), f"--web.listen-address={HOST}:{port}",
        f"--persistence.file={folder / 'pushgateway'}",
    ]  # fmt: skip
    with running(command, folder / "pushgateway.log", port) as one:
        yield one, port
