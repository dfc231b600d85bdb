"""How long a critical page waits behind a storm: 1,000 warnings to one person, whose first channel hangs; then a critical page of another
room to the same person. The outbox is the collector's, the sockets are real, on the loopback."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import sqlalchemy as sa

from benchmarks.fixtures import temporary_folder
from benchmarks.report import ReportRow, show
from watchkeeper.channels.ports import Address, Channel
from watchkeeper.channels.webhook import WebhookChannel
from watchkeeper.collector.notify.notice import Urgency
from watchkeeper.collector.notify.outbox import Outbox
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.site.load import parse_configuration
from watchkeeper.collector.site.snapshot import make_snapshot
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.migrate import migrate
from watchkeeper.collector.store.schema import outbox, receipt
from watchkeeper.documents.secrets import Secret
from watchkeeper.model.clock import SystemClock

WARNINGS, CRITICAL_AFTER_S, CHANNEL_TIMEOUT_S, GIVE_UP_S = 1_000, 2.0, 10.0, 180.0
INVENTORY = "site: {name: Room, timezone: Asia/Shanghai}\nagents: [{agent: room-1, owner: ann}]\ndevices: []\n"
LADDERS = "ladders: [{ladder: fault, fallback: [ann], rungs: [{rung: duty, after: 0 min, tell: [ann]}]}]\n"
CONTACTS = """
people:
  - {{person: ann, name: Ann, channels: [{{via: webhook, url: "{0}", secret: s}}, {{via: webhook, url: "{1}", secret: s}}]}}
shifts: [{{shift: all, start: "08:00", end: "08:00", rotation: [ann]}}]
"""


class _Receiver:
    """Takes messages, or hangs until the end. `at` is when each notice, alone or joined, was accepted."""

    def __init__(self, *, hangs: bool) -> None:
        self.at: dict[str, float] = {}
        self.messages = 0
        self.go_on = threading.Event()
        if not hangs:
            self.go_on.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if receiver.go_on.is_set():
                    receiver.take(message)
                    self.send_response(200)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                else:
                    receiver.go_on.wait()

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, message: dict[str, object]) -> None:
        self.messages += 1
        facts = message["facts"]
        joined = facts.get("notices") if isinstance(facts, dict) else None
        for key in [one["key"] for one in joined] if joined else [str(message["key"])]:
            self.at.setdefault(key, time.monotonic())


def main() -> None:
    """Measure one storm."""
    first, second = _Receiver(hangs=True), _Receiver(hangs=False)
    with temporary_folder("storm") as folder:
        rows = _storm(folder, first, second)
    first.go_on.set()
    for one in (first, second):
        one.server.shutdown()
        one.server.server_close()
    show(f"storm: {WARNINGS:,} warnings to a person whose first channel hangs", rows, [
        "the peer's figure, from the issue: Alertmanager, one notification of the whole group after 1.1 s",
    ])  # fmt: skip


def _storm(folder: Path, first: _Receiver, second: _Receiver) -> list[ReportRow]:
    clock, store = SystemClock(), Store(f"sqlite:///{folder / 'collector.db'}")
    migrate(store)
    contacts = CONTACTS.format(first.url, second.url)
    runtime = Runtime(store, clock, make_snapshot(parse_configuration(INVENTORY, contacts, LADDERS), ()))

    def opener(address: Address) -> Channel:
        return WebhookChannel(address.url, Secret("key"), clock, CHANNEL_TIMEOUT_S)

    running, began, most = Outbox(runtime, opener), time.monotonic(), 0
    _put(store, clock.wall(), [f"w{n}" for n in range(WARNINGS)], Urgency.PAGE)
    running.start()
    time.sleep(CRITICAL_AFTER_S)
    asked = time.monotonic()
    _put(store, clock.wall(), ["critical"], Urgency.CRITICAL)
    running.wake()
    while len(second.at) <= WARNINGS and time.monotonic() < began + GIVE_UP_S:
        most = max(most, _attempts())
        time.sleep(0.05)
    told_s = max(second.at.values()) - began
    running.stop()
    with store.read() as connection:
        query = sa.select(sa.func.count()).select_from(receipt).where(receipt.c.delivered)
        receipts = connection.execute(query).scalar_one()
    store.close()
    return [
        ReportRow("critical page of another room, after it was written", "s", second.at["critical"] - asked),
        ReportRow(f"all {WARNINGS:,} warnings told, after the first", "s", told_s),
        ReportRow("messages that told them", "", second.messages),
        ReportRow("notices accepted", "", len(second.at)),
        ReportRow("receipts of delivered notices", "", receipts),
        ReportRow("threads of deliveries, the most", "", most),
        ReportRow("threads of deliveries, at the end", "", _attempts()),
    ]


def _attempts() -> int:
    return sum(thread.name == "outbox attempt" for thread in threading.enumerate())


def _put(store: Store, now: float, keys: list[str], urgency: Urgency) -> None:
    level = "critical" if urgency is Urgency.CRITICAL else "warning"
    with store.write() as connection:
        start = connection.execute(sa.select(sa.func.coalesce(sa.func.max(outbox.c.id), 0))).scalar_one()
        rows = [
            {"key": key, "about": "trouble", "about_id": start + n, "recurrence": 1, "kind": "page", "rung": "duty",
             "person": "ann", "created_at": now, "expires_at": None, "fallback": "[]", "text": "t", "facts": "{}",
             "subject": f"[{level}] host-{start + n}: Memory used (RAM)", "state": "pending", "next_at": now, "channel": 0,
             "attempts": 0, "handed_on": False, "urgency": urgency.value}
            for n, key in enumerate(keys, 1)
        ]  # fmt: skip
        connection.execute(sa.insert(outbox), rows)
