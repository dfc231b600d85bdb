"""How long after its time a rung stands in the outbox, while 100,000 incidents are open. A real collector decides; this
process only looks into its store."""

import contextlib
import json
import random
import sqlite3
import time
from pathlib import Path

from benchmarks.fixtures import scratch
from benchmarks.processes import Home, device, write_deployment
from benchmarks.report import MEDIAN, P99, Row, quantile, show

OPEN, DEVICES, RULES = 100_000, 1_000, 100
DUE, OVER_S, BURST = 600, 20.0, 500
LOOK_S = 0.01
AGENT = "room-1"


def main() -> None:
    """Rungs one by one at random moments, then many at the same moment."""
    with scratch("rungs") as folder:
        devices = [device(f"host-{n}", AGENT, "server", "host", "15 s") for n in range(DEVICES)]
        rules = "rules:\n" + "".join(
            f"  - {{rule: bench.r{n}, clause: 4.2.6, title: A fault, advice: None., quantity: temperature.component,\n"
            f"     warning: {{above: 90 °C}}}}\n"
            for n in range(RULES)
        )
        home = write_deployment(folder, [AGENT], devices, rules=rules)
        picked = random.Random(1).sample(range(1, OPEN + 1), DUE + BURST)
        _fill(folder / "collector.db")
        with home.collector():
            single = _delays(home, picked[:DUE], OVER_S)
            burst = _delays(home, picked[DUE:], 0.0)
    rows = [
        Row(f"{DUE} rungs due at random moments of {OVER_S:g} s, p50", "s", quantile(single, MEDIAN)),
        Row("p99", "s", quantile(single, P99)),
        Row(f"{BURST} rungs due at the same moment, p50", "s", quantile(burst, MEDIAN)),
        Row("p99", "s", quantile(burst, P99)),
    ]
    show(f"rungs: due -> in the outbox, {OPEN:,} incidents open", rows, ["no peer: none has a ladder"])


def _fill(file: Path) -> None:
    """Write the incidents, each with three undecided rungs that come due after all of this is over."""
    began = time.time()
    evidence = json.dumps({"quantity": "temperature.component", "value": 95.0, "expects": "above 90 °C"})
    incidents = [
        (
            n,
            f"host-{n % DEVICES}",
            f"bench.r{n // DEVICES}",
            "",
            AGENT,
            "open",
            "warning",
            "warning",
            f"v{n}",
            1,
            began,
            evidence,
        )
        for n in range(OPEN)
    ]
    rungs = [
        (n + 1, 1, name, number, "fault", began + 1_000 * number + n % 977)
        for n in range(OPEN)
        for number, name in enumerate(("owner", "on-site", "vendor"), 1)
    ]
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        db.executemany(
            "INSERT INTO incident (incident, device, rule, instance, agent, state, level, verdict, verdict_id, recurrence, began_at,"
            " evidence) VALUES (? + 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            incidents,
        )
        db.executemany(
            "INSERT INTO rung (incident, recurrence, rung, number, ladder, due_at) VALUES (?, ?, ?, ?, ?, ?)", rungs
        )


def _delays(home: Home, numbers: list[int], over_s: float) -> list[float]:
    """Let a rung of each of these incidents be due within the next seconds; return how late each came."""
    start = time.time() + 2.0
    chance = random.Random(2)
    due = {number: start + over_s * chance.random() for number in numbers}
    with contextlib.closing(sqlite3.connect(home.folder / "collector.db", timeout=10.0)) as db:
        with db:
            db.executemany(
                "UPDATE rung SET due_at = ? WHERE incident = ? AND rung = 'owner'", [(at, n) for n, at in due.items()]
            )
        last = db.execute("SELECT coalesce(max(id), 0) FROM outbox").fetchone()[0]
        came: dict[int, float] = {}
        while len(came) < len(due) and time.time() < start + over_s + 30:
            for number, incident in db.execute("SELECT id, incident FROM outbox WHERE id > ?", (last,)).fetchall():
                last = max(last, number)
                if incident in due:
                    came.setdefault(incident, time.time() - due[incident])
            time.sleep(LOOK_S)
    assert len(came) == len(due), f"{len(due) - len(came)} rungs were not decided"
    return list(came.values())
