"""A collector in a test's folder, with the starter files and a fake clock. Tests push as agents through the journal.
Nothing runs in the background."""

import asyncio
import contextlib
import functools
import html
import itertools
import re
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import uvicorn

from watchkeeper.channels.ports import Message, Receipt, Via
from watchkeeper.collector.access import tokens
from watchkeeper.collector.access.links import Links
from watchkeeper.collector.access.tokens import TokenKind
from watchkeeper.collector.intake.endpoint import AgentEndpoint
from watchkeeper.collector.intake.journal import Journal
from watchkeeper.collector.intake.requests import Requests
from watchkeeper.collector.intake.turns import Answer, Waiting
from watchkeeper.collector.notify.outbox import Outbox
from watchkeeper.collector.process.due import decide_due, end_quiet
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.read.exposition import Metrics
from watchkeeper.collector.site.inventory import PersonAddress
from watchkeeper.collector.site.load import read_configuration
from watchkeeper.collector.site.snapshot import Snapshot, make_snapshot
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.migrate import migrate
from watchkeeper.collector.web.app import CollectorApp, build_app
from watchkeeper.model.batch import Block, Facts, Frame, Item, Lane, Push, Tombstone
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.quantity import QUANTITIES
from watchkeeper.model.reading import Series, Value
from watchkeeper.model.verdict import Event, Evidence, Level, Verdict
from watchkeeper.model.wire import encode_values

ROOT = Path(__file__).resolve().parents[1]
Readings = Mapping[tuple[str, str, str], Value] | Mapping[tuple[str, str, str, str], Value]
"""(quantity, instance, label) -> value."""

NIGHT = 1_795_201_200.0  # 2026-11-21 03:00:00 at the site, 2026-11-20 19:00:00 UTC


@functools.cache
def _snapshot() -> Snapshot:
    return make_snapshot(read_configuration(ROOT / "configs"))


@functools.cache
def _empty_store() -> bytes:
    """The bytes of an SQLite store right after its migration, so that only the first test runs the migration."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/empty.db")
        migrate(store)
        store.close()
        return Path(folder, "empty.db").read_bytes()


class Room:
    """A collector with its own store. Pushes come from the agent room-1 of the starter files."""

    def __init__(self, folder: Path, url: str = "") -> None:
        self.clock = FakeClock(NIGHT)
        if not url:
            (folder / "collector.db").write_bytes(_empty_store())
        self.store = Store(url or f"sqlite:///{folder / 'collector.db'}")
        if url:
            migrate(self.store)
        links = Links(self.store, self.clock, "the secret of the links of this room")
        self.runtime = Runtime(self.store, self.clock, _snapshot(), "https://watch.example", links)
        self.requests = Requests(self.store, self.clock)
        self.journal = Journal(self.store, self.runtime, self.clock, lambda: None)
        self.ingest = AgentEndpoint(self.runtime, self.journal, self.requests, lambda: False)
        self.metrics = Metrics(self.runtime, self.journal, self.ingest)
        self.front = build_app(self.runtime, self.ingest, self.metrics, ["watch.example"])
        self.epoch = "epoch-1"
        self.sent: list[Message] = []
        self._seqs = {lane: itertools.count(1) for lane in Lane}
        self._blocks: dict[tuple[str, tuple[tuple[str, str, str], ...]], Block] = {}
        self._ids = itertools.count(1)
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.store.close()

    def push(self, lane: Lane, bodies: Sequence[Event | Frame | Tombstone], blocks: Sequence[Block] = ()) -> Answer:
        items = tuple(Item(next(self._seqs[lane]), body) for body in bodies)
        push = Push("room-1", self.epoch, lane, self.clock.wall(), "", blocks=tuple(blocks), items=items)
        answers: list[Answer] = []
        self.journal.turn([Waiting(push, b"{}", self.clock.wall(), answers.append)])
        assert isinstance(answers[0], int), answers[0]
        assert not self.journal.faults
        return answers[0]

    def read(
        self, device: str, readings: Readings, every_s: float = 30.0, age_s: float = 0.0, *, facts: Facts = ()
    ) -> None:
        """Push the readings of a sweep of a device."""
        key = (device, tuple(readings))
        declared = key in self._blocks
        if not declared:
            series = tuple(Series(device, *words) for words in readings)
            self._blocks[key] = Block(
                next(self._numbers), device, self.runtime.snapshot.devices[device].probe, every_s, series, facts
            )
        frame = Frame(self._blocks[key].block, self.clock.wall() - age_s, encode_values(tuple(readings.values())))
        self.push(Lane.READINGS, [frame], () if declared else [self._blocks[key]])

    def read_everything(self, turn: int = 0) -> None:
        """Push one reading of every quantity: room temperatures of a sensor, output of a UPS, everything of a
        server."""
        for device, first in (("sensor-cold-aisle", "temperature"), ("ups-1", "output"), ("app-server-1", "")):
            readings: dict[tuple[str, str, str], Value] = {}
            for quantity in QUANTITIES.values():
                if quantity.name.startswith(first):
                    value: Value = quantity.states[0] if quantity.states else 50.0 + turn
                    readings[quantity.name, "", ""] = value
            self.read(device, readings)

    def move(self, device: str, location: str) -> None:
        """Load a configuration in which a device has another location."""
        snapshot = self.runtime.snapshot
        moved = replace(snapshot.devices[device], location=location)
        self.runtime.activate(replace(snapshot, devices={**snapshot.devices, device: moved}))

    def read_otherwise(self, device: str, probe: str) -> None:
        """Load a configuration in which another probe reads a device."""
        snapshot = self.runtime.snapshot
        changed = replace(snapshot.devices[device], probe=probe)
        self._blocks.clear()
        self.runtime.activate(replace(snapshot, devices={**snapshot.devices, device: changed}))

    def remove(self, device: str) -> None:
        """Load a configuration without a device."""
        snapshot = self.runtime.snapshot
        left = {name: one for name, one in snapshot.devices.items() if name != device}
        self.runtime.activate(replace(snapshot, devices=left))

    def give_phones(self) -> None:
        """Load a configuration in which everybody has a phone, by Apprise, instead of the console."""
        snapshot = self.runtime.snapshot
        contacts = snapshot.configuration.contacts
        phone = (PersonAddress(Via.APPRISE, secret="phone"),)
        people = tuple(replace(one, channels=phone) for one in contacts.people)
        changed = replace(snapshot.configuration, contacts=replace(contacts, people=people))
        self.runtime.activate(replace(snapshot, configuration=changed))

    def skip(self, lane: Lane, items: int) -> None:
        """Leave a gap of so many items in the sequence."""
        for _ in range(items):
            next(self._seqs[lane])

    def push_nothing(self) -> None:
        """Push without items, as a heartbeat."""
        self.push(Lane.READINGS, [])

    def say(self, device: str, rule: str, level: Level, evidence: Evidence, instance: str = "") -> None:
        """Push a verdict change."""
        since = self.clock.wall()
        self.push(Lane.EVENTS, [Verdict(f"v{next(self._ids)}", device, rule, instance, level, since, evidence)])

    def heat(self, level: Level = Level.CRITICAL, value: float = 31.5) -> None:
        """Push a verdict change of the temperature in the cold aisle."""
        expects = "outside 18 .. 27 °C" if level is Level.CRITICAL else "outside 21 .. 23 °C"
        evidence = Evidence("temperature.ambient", value, expects, first_value=value, first_at=self.clock.wall() - 60)
        self.say("sensor-cold-aisle", "environment.temperature", level, evidence)

    def decide_rungs(self) -> None:
        """End what is over, and decide all rungs that are due now."""
        end_quiet(self.runtime.notifier(), self.clock.wall())
        while decide_due(self.runtime.notifier(), self.clock.wall()):
            pass

    def deliver(self, *unreached: str) -> None:
        """Deliver the messages in the outbox. The persons named here cannot be reached."""
        outbox = Outbox(self.runtime, lambda _: _Sender(unreached, self.sent))
        outbox.deliver()
        outbox.stop()


def words(page: str) -> str:
    """The visible text of a page, in one line."""
    body = re.sub(r"<(head|script|svg).*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


@dataclass(frozen=True)
class _Sender:
    """A channel for everybody: it delivers, except to the unreached persons."""

    unreached: tuple[str, ...]
    sent: list[Message]

    def send(self, message: Message) -> Receipt:
        self.sent.append(message)
        if message.person in self.unreached:
            return Receipt(delivered=False, detail="HTTP 503")
        return Receipt(delivered=True, detail="accepted")


class _Asgi(httpx.BaseTransport):
    """A transport to an application in this process. Each request has its own event loop."""

    def __init__(self, app: CollectorApp) -> None:
        self._app = httpx.ASGITransport(app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return asyncio.run(
            self._answer(httpx.Request(request.method, request.url, headers=request.headers, content=request.read()))
        )

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = await self._app.handle_async_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())


def browser(app: CollectorApp, base: str = "http://127.0.0.1:8760") -> httpx.Client:
    """A client that keeps cookies as a browser does, and follows no redirect."""
    return httpx.Client(transport=_Asgi(app), base_url=base)


@contextlib.contextmanager
def serving(front: CollectorApp) -> Iterator[str]:
    """Run the application with the real server on a port of 127.0.0.1. Yields its URL."""
    config = uvicorn.Config(front, port=0, log_level="warning", access_log=False, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        front.close()
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()
        assert not thread.is_alive()


def enter(room: Room, web: httpx.Client, person: str = "sun.tao") -> None:
    """Open a session for that person."""
    ticket = tokens.mint(room.store, TokenKind.TICKET, person, room.clock.wall(), 60.0)
    assert web.get(f"/enter?ticket={ticket}").status_code == 303


def csrf(page: str) -> str:
    """The token of a page's forms."""
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert found
    return found[1]
