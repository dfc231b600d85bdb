"""Durable pushes a second into one collector, against Pushgateway and VictoriaMetrics, by the same load generator."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.fixtures import HOST, HOUSE, Absent, Running, free_port, program, running, scratch
from benchmarks.load import EVENTS_EVERY, READINGS, Plan, Result
from benchmarks.processes import Home, device, write_deployment
from benchmarks.report import Row, show

AGENTS, ROUNDS, SECONDS, EACH = 256, 3, 4.0, 120
FEW = 4  # requests an agent of the slow peer
VICTORIA, PUSHGATEWAY = "VictoriaMetrics", "Pushgateway"


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: what the generator says, and how many cores the receiver used meanwhile."""

    result: Result
    cores: float

    @property
    def rate(self) -> float:
        return self.result.rate


def main() -> None:
    """Ours and VictoriaMetrics in turn, plain and gzipped; the slow peer once; ours again with many devices a push."""
    with scratch("pushes") as folder:
        agents = [f"agent-{number}" for number in range(AGENTS)]
        devices = [device(f"{one}-{at}", one, "server", "host", "15 s") for one in agents for at in range(10)]
        home = write_deployment(folder / "home", agents, devices)
        (folder / "home" / "collector.db").rename(folder / "empty.db")
        rows, notes = [], []
        for zipped in (False, True):
            how = "gzipped" if zipped else "plain"
            pairs = [(_ours(folder, home, "ours", zipped), _victoria(folder, home, zipped)) for _ in range(ROUNDS)]
            mine = middle([ours for ours, _ in pairs])
            notes.append(told(f"ours, {how}", mine))
            what = f"pushes of {READINGS} readings, {how}"
            peers = [(VICTORIA, [peer for _, peer in pairs])]
            if not zipped:
                peers.append((PUSHGATEWAY, [_pushgateway(folder, home)]))
            for name, found in peers:
                good = [one for one in found if isinstance(one, Measured)]
                why = next((one for one in found if isinstance(one, str)), name)
                rows.append(Row(what, "1/s", mine.rate, middle(good).rate if good else None, why))
                notes += [told(f"{name}, {how}", middle(good))] if good else []
        ten = _ours(folder, home, "ours-ten", zipped=False)
        rows.append(Row("the same as ten devices of 20, plain", "1/s", ten.rate))
        notes.append(told("ours, ten devices", ten))
    share = f"one push in {EVENTS_EVERY} of ours is a verdict change (an incident opens, or ends)"
    show(f"pushes: {AGENTS} agents, one connection each; {share}; medians of {ROUNDS}", rows, notes)


def middle(runs: Sequence[Measured]) -> Measured:
    """The run with the median rate."""
    return sorted(runs, key=lambda one: one.rate)[len(runs) // 2]


def told(name: str, one: Measured) -> str:
    """The run in a sentence."""
    result = one.result
    bad = f", refused {result.bad}" if result.bad else ""
    return (
        f"{name}: p50 {1000 * result.p50_s:.0f} ms, p99 {1000 * result.p99_s:.0f} ms; {one.cores:.2f} cores, "
        f"{1e6 * one.cores / one.rate:.0f} us of CPU each; the generator used {result.cpu_s / result.seconds:.2f} cores{bad}"
    )


def _ours(folder: Path, home: Home, kind: str, zipped: bool) -> Measured:
    """A real collector, each time with an empty store."""
    for file in home.folder.glob("collector.db*"):
        file.unlink()
    shutil.copy(folder / "empty.db", home.folder / "collector.db")
    with home.collector() as one:
        return measure(folder, Plan(kind, home.port, dict(home.tokens), EACH, SECONDS, zipped), one)


def measure(folder: Path, plan: Plan, one: Running) -> Measured:
    """Let the generator run against this process."""
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
    return Measured(result, (one.cpu_s() - before) / result.seconds)


def _victoria(folder: Path, home: Home, zipped: bool) -> Measured | str:
    port, data = free_port(), folder / "victoria"
    shutil.rmtree(data, ignore_errors=True)
    words = [f"-httpListenAddr={HOST}:{port}", f"-storageDataPath={data}", "-retentionPeriod=1"]
    plan = Plan("victoria", port, dict(home.tokens), EACH, SECONDS, zipped)
    return _peer(folder, "victoria-metrics", "victoria-metrics", words, plan)


def _pushgateway(folder: Path, home: Home) -> Measured | str:
    port = free_port()
    words = [f"--web.listen-address={HOST}:{port}", f"--persistence.file={folder / 'pushgateway'}"]
    plan = Plan("pushgateway", port, dict(home.tokens), FEW, SECONDS)
    return _peer(folder, "prometheus-pushgateway", "prometheus-pushgateway", words, plan)


def _peer(folder: Path, name: str, package: str, words: Sequence[str], plan: Plan) -> Measured | str:
    """Measure it; or tell why not."""
    try:
        command = [program(name, package), *words]
    except Absent as absent:
        return str(absent)
    with running(command, folder / f"{name}.log", plan.port) as one:
        return measure(folder, plan, one)
