"""The time that 10,000 verdict changes take from the push to the incidents and their troubles, and how many pages they cause.
They come in pushes of 200, into a store on disk. There is no peer: no other program has troubles."""

import json
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from benchmarks.fixtures import temporary_folder
from benchmarks.processes import deploy, pushed_device
from benchmarks.report import ReportRow, show
from watchkeeper.collector.intake.journal import Journal, Waiting
from watchkeeper.collector.opening import open_secrets, open_store
from watchkeeper.collector.process.due import decide_due
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.site.settings import read_config
from watchkeeper.collector.site.snapshot import read_snapshot
from watchkeeper.collector.store.schema import incident, outbox, trouble
from watchkeeper.model.clock import SystemClock
from watchkeeper.model.verdict import Evidence, Level, Verdict
from watchkeeper.model.wire import decode_push, encode_event

DEVICE_COUNT, PUSH_VERDICTS = 10_000, 200
AGENT = "room-1"
RULE, QUANTITY = "environment.temperature", "temperature.ambient"


def main() -> None:
    """One rule in one place; one rule in 10,000 places; and silent devices behind one silent switch."""
    rows = []
    for what, location, parent, rule in (
        ("one rule in one place", "Row A", "", (RULE, QUANTITY)),
        ("unrelated devices", "", "", (RULE, QUANTITY)),
        ("behind one silent switch", "", "host-0", ("device.not-answering", "device.answering")),
    ):
        with temporary_folder("burst") as folder:
            took_s, over_s, troubles, pages = _measure(folder, location, parent, rule)
        rows += [
            ReportRow(f"{DEVICE_COUNT:,} verdicts, {what}: opened", "s", took_s),
            ReportRow("  and their rungs decided", "s", over_s),
            ReportRow("  troubles", "", troubles),
            ReportRow("  pages of the first rung", "", pages),
        ]
    show(
        f"burst: {DEVICE_COUNT:,} faults at once, in pushes of {PUSH_VERDICTS}",
        rows,
        ["no peer: no other program has troubles"],
    )


def _measure(folder: Path, location: str, parent: str, rule: tuple[str, str]) -> tuple[float, float, float, float]:
    devices = [
        pushed_device(n, f"host-{n}", AGENT, location=location or f"Place {n}", parent=parent if n else "")
        for n in range(DEVICE_COUNT)
    ]
    deploy(folder, [AGENT], devices)
    config = read_config(folder / "collector.yml")
    store, clock = open_store(config, open_secrets(config)), SystemClock()
    runtime = Runtime(store, clock, read_snapshot(folder))
    journal = Journal(store, runtime, clock, lambda: None)
    began = time.perf_counter()
    for body in _bodies(clock, *rule):
        answers: list[object] = []
        now = clock.wall()
        journal.turn([Waiting(decode_push(json.loads(body), now), body, now, answers.append)])
        assert isinstance(answers[0], int), answers
    took_s = time.perf_counter() - began
    while decide_due(runtime.notifier(), clock.wall()):
        pass
    over_s = time.perf_counter() - began - took_s
    with store.read() as connection:
        opened, found, pages = (
            int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())
            for table in (incident, trouble, outbox)
        )
    assert opened == DEVICE_COUNT
    store.close()
    return took_s, over_s, found, pages


def _bodies(clock: SystemClock, rule: str, quantity: str) -> Sequence[bytes]:
    """The pushes."""
    boot = clock.boot()
    verdicts = [
        Verdict(
            uuid.uuid4().hex, f"host-{n}", rule, "", Level.CRITICAL, boot, Evidence(quantity, 30.0, "x", "", 30.0, boot)
        )
        for n in range(DEVICE_COUNT)
    ]
    bodies = []
    for start in range(0, DEVICE_COUNT, PUSH_VERDICTS):
        items = [
            {"seq": start + n + 1, **encode_event(one, boot)}
            for n, one in enumerate(verdicts[start : start + PUSH_VERDICTS])
        ]
        push = {
            "protocol": 1, "agent": AGENT, "epoch": "bench", "lane": "events", "more": False,
            "sent_at": clock.wall(), "items": items,
        }  # fmt: skip
        bodies.append(json.dumps(push).encode())
    return bodies


if __name__ == "__main__":
    main()
