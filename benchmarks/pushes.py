"""Durable pushes per second into one collector, compared with Pushgateway and VictoriaMetrics under one load generator."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.fixtures import (
    HOST,
    REPOSITORY,
    MeasuredProcess,
    NotInstalled,
    free_port,
    program,
    running,
    temporary_folder,
)
from benchmarks.load import PUSHES_PER_EVENT, READINGS_PER_PUSH, LoadPlan, LoadResult
from benchmarks.processes import BenchmarkDeployment, deploy, pushed_device
from benchmarks.report import ReportRow, show

AGENT_COUNT, RUNS, RUN_S, REQUESTS_PER_AGENT = 256, 3, 4.0, 120
PUSHGATEWAY_REQUESTS_PER_AGENT = 4  # it is slow
VICTORIA, PUSHGATEWAY = "VictoriaMetrics", "Pushgateway"


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """One run: the result of the load generator, and the cores that the receiver used."""

    result: LoadResult
    cores: float

    @property
    def rate(self) -> float:
        return self.result.rate


def main() -> None:
    """Ours and VictoriaMetrics in turn, plain and gzipped; Pushgateway once; then ours with ten devices a push."""
    with temporary_folder("pushes") as folder:
        agents = [f"agent-{number}" for number in range(AGENT_COUNT)]
        devices = [pushed_device(10 * n + at, f"{one}-{at}", one) for n, one in enumerate(agents) for at in range(10)]
        deployment = deploy(folder / "deployment", agents, devices)
        (folder / "deployment" / "collector.db").rename(folder / "empty.db")
        rows, notes = [], []
        for zipped in (False, True):
            how = "gzipped" if zipped else "plain"
            pairs = [
                (_ours(folder, deployment, "ours", zipped), _victoria(folder, deployment, zipped)) for _ in range(RUNS)
            ]
            mine = median_run([ours for ours, _ in pairs])
            notes.append(summary(f"ours, {how}", mine))
            what = f"pushes of {READINGS_PER_PUSH} readings, {how}"
            peers = [(VICTORIA, [peer for _, peer in pairs])]
            if not zipped:
                peers.append((PUSHGATEWAY, [_pushgateway(folder, deployment)]))
            for name, found in peers:
                good = [one for one in found if isinstance(one, MeasuredRun)]
                why = next((one for one in found if isinstance(one, str)), name)
                rows.append(ReportRow(what, "1/s", mine.rate, median_run(good).rate if good else None, why))
                notes += [summary(f"{name}, {how}", median_run(good))] if good else []
        ten = _ours(folder, deployment, "ours-ten", zipped=False)
        rows.append(
            ReportRow(f"pushes of ten devices with {READINGS_PER_PUSH // 10} readings each, plain", "1/s", ten.rate)
        )
        notes.append(summary("ours, ten devices", ten))
    share = f"one push in {PUSHES_PER_EVENT} of ours is a verdict change (an incident opens, or ends)"
    show(f"pushes: {AGENT_COUNT} agents, one connection each; {share}; medians of {RUNS}", rows, notes)


def median_run(runs: Sequence[MeasuredRun]) -> MeasuredRun:
    """The run with the median rate."""
    return sorted(runs, key=lambda one: one.rate)[len(runs) // 2]


def summary(name: str, run: MeasuredRun) -> str:
    """The run as one line."""
    result = run.result
    bad = f", refused {result.bad}" if result.bad else ""
    return (
        f"{name}: p50 {1000 * result.p50_s:.0f} ms, p99 {1000 * result.p99_s:.0f} ms; {run.cores:.2f} cores, "
        f"{1e6 * run.cores / run.rate:.0f} us of CPU each; the generator used {result.cpu_s / result.seconds:.2f} cores{bad}"
    )


def _ours(folder: Path, deployment: BenchmarkDeployment, kind: str, zipped: bool) -> MeasuredRun:
    """Measure a real collector that starts with an empty store."""
    for file in deployment.folder.glob("collector.db*"):
        file.unlink()
    shutil.copy(folder / "empty.db", deployment.folder / "collector.db")
    with deployment.collector() as collector:
        return measure(
            folder,
            LoadPlan(kind, deployment.port, dict(deployment.tokens), REQUESTS_PER_AGENT, RUN_S, zipped),
            collector,
        )


def measure(folder: Path, plan: LoadPlan, receiver: MeasuredProcess) -> MeasuredRun:
    """Run the load generator against this process."""
    file = folder / "plan.json"
    file.write_text(json.dumps(asdict(plan)), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.load", str(file)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            assert process.stdout.readline().strip() == "ready"
            before = receiver.cpu_s()
            process.stdin.write("go\n")
            process.stdin.flush()
            result = LoadResult(**json.loads(process.stdout.readline()))
        finally:
            process.kill()
    return MeasuredRun(result, (receiver.cpu_s() - before) / result.seconds)


def _victoria(folder: Path, deployment: BenchmarkDeployment, zipped: bool) -> MeasuredRun | str:
    port, data = free_port(), folder / "victoria"
    shutil.rmtree(data, ignore_errors=True)
    words = [f"-httpListenAddr={HOST}:{port}", f"-storageDataPath={data}", "-retentionPeriod=1"]
    plan = LoadPlan("victoria", port, dict(deployment.tokens), REQUESTS_PER_AGENT, RUN_S, zipped)
    return _peer(folder, "victoria-metrics", "victoria-metrics", words, plan)


def _pushgateway(folder: Path, deployment: BenchmarkDeployment) -> MeasuredRun | str:
    port = free_port()
    words = [f"--web.listen-address={HOST}:{port}", f"--persistence.file={folder / 'pushgateway'}"]
    plan = LoadPlan("pushgateway", port, dict(deployment.tokens), PUSHGATEWAY_REQUESTS_PER_AGENT, RUN_S)
    return _peer(folder, "prometheus-pushgateway", "prometheus-pushgateway", words, plan)


def _peer(folder: Path, name: str, package: str, words: Sequence[str], plan: LoadPlan) -> MeasuredRun | str:
    """Measure a peer, or return the reason why it cannot be measured."""
    try:
        command = [program(name, package), *words]
    except NotInstalled as missing:
        return str(missing)
    with running(command, folder / f"{name}.log", plan.port) as peer:
        return measure(folder, plan, peer)
