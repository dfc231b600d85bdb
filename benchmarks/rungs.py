"""The delay from the time of a rung to its message in the outbox, while 100,000 incidents are open. A real collector decides
the rungs; this process only reads its store."""

import contextlib
import json
import random
import sqlite3
import time
from pathlib import Path

from benchmarks.fixtures import temporary_folder
from benchmarks.processes import BenchmarkDeployment, deploy, pushed_device
from benchmarks.report import MEDIAN, P99, ReportRow, quantile, show

OPEN_INCIDENTS, DEVICE_COUNT, RULE_COUNT = 100_000, 1_000, 100
SPREAD_RUNGS, SPREAD_S, BURST_RUNGS = 600, 20.0, 500
STORE_POLL_S = 0.01
AGENT = "room-1"


def main() -> None:
    """Measure rungs that are due at random moments, then many that are due at the same moment."""
    with temporary_folder("rungs") as folder:
        devices = [pushed_device(n, f"host-{n}", AGENT) for n in range(DEVICE_COUNT)]
        rules = "rules:\n" + "".join(
            f"  - {{rule: bench.r{n}, clause: 4.2.6, title: A fault, advice: None., quantity: temperature.component,\n"
            f"     warning: {{above: 90 °C}}}}\n"
            for n in range(RULE_COUNT)
        )
        deployment = deploy(folder, [AGENT], devices, rules=rules)
        picked = random.Random(1).sample(range(1, OPEN_INCIDENTS + 1), SPREAD_RUNGS + BURST_RUNGS)
        _fill(folder / "collector.db")
        with deployment.collector():
            spread = _delays(deployment, picked[:SPREAD_RUNGS], SPREAD_S)
            burst = _delays(deployment, picked[SPREAD_RUNGS:], 0.0)
    rows = [
        ReportRow(f"{SPREAD_RUNGS} rungs due at random moments of {SPREAD_S:g} s, p50", "s", quantile(spread, MEDIAN)),
        ReportRow("p99", "s", quantile(spread, P99)),
        ReportRow(f"{BURST_RUNGS} rungs due at the same moment, p50", "s", quantile(burst, MEDIAN)),
        ReportRow("p99", "s", quantile(burst, P99)),
    ]
    show(
        f"rungs: due -> in the outbox, {OPEN_INCIDENTS:,} incidents open, each a trouble",
        rows,
        ["no peer: no other program has a ladder"],
    )


def _fill(file: Path) -> None:
    """Write the incidents, each a trouble of its own with three undecided rungs that are due after the benchmark."""
    began = time.time()
    evidence = json.dumps({"quantity": "temperature.component", "value": 95.0, "expects": "above 90 °C"})
    incidents = [
        (n + 1, f"host-{n % DEVICE_COUNT}", f"bench.r{n // DEVICE_COUNT}", AGENT, f"v{n}", began, evidence, n + 1)
        for n in range(OPEN_INCIDENTS)
    ]
    troubles = [(n, n, AGENT, began, began) for n in range(1, OPEN_INCIDENTS + 1)]
    rungs = [
        (n + 1, 1, name, number, "fault", began + 1_000 * number + n % 977)
        for n in range(OPEN_INCIDENTS)
        for number, name in enumerate(("owner", "on-site", "vendor"), 1)
    ]
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        db.executemany(
            "INSERT INTO incident (incident, device, rule, instance, agent, state, level, verdict, verdict_id, recurrence, began_at,"
            " evidence, trouble) VALUES (?, ?, ?, '', ?, 'open', 'warning', 'warning', ?, 1, ?, ?, ?)",
            incidents,
        )
        db.executemany(
            "INSERT INTO trouble (trouble, cause, agent, state, level, recurrence, opened_at, began_at, wait_until, merged_into,"
            " flapping_told) VALUES (?, ?, ?, 'open', 'warning', 1, ?, ?, 0, 0, false)",
            troubles,
        )
        db.executemany(
            "INSERT INTO rung (trouble, recurrence, rung, number, ladder, due_at) VALUES (?, ?, ?, ?, ?, ?)", rungs
        )


def _delays(deployment: BenchmarkDeployment, numbers: list[int], over_s: float) -> list[float]:
    """Make one rung of each of these troubles due within `over_s` seconds. Returns the delay of each message in seconds."""
    start = time.time() + 2.0
    chance = random.Random(2)
    due = {number: start + over_s * chance.random() for number in numbers}
    with contextlib.closing(sqlite3.connect(deployment.folder / "collector.db", timeout=10.0)) as db:
        with db:
            db.executemany(
                "UPDATE rung SET due_at = ? WHERE trouble = ? AND rung = 'owner'", [(at, n) for n, at in due.items()]
            )
        last = db.execute("SELECT coalesce(max(id), 0) FROM outbox").fetchone()[0]
        delays: dict[int, float] = {}
        while len(delays) < len(due) and time.time() < start + over_s + 30:
            for number, trouble in db.execute("SELECT id, about_id FROM outbox WHERE id > ?", (last,)).fetchall():
                last = max(last, number)
                if trouble in due:
                    delays.setdefault(trouble, time.time() - due[trouble])
            time.sleep(STORE_POLL_S)
    assert len(delays) == len(due), f"{len(due) - len(delays)} rungs were not decided"
    return list(delays.values())
