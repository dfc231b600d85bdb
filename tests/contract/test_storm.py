"""A storm of warnings while the first channel hangs, with real threads and real sockets on the loopback: what is told, in which order,
how often, and which threads are left. Only the clock is not real: what is compared are counts and order."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.story.world import CONTACTS, NOON, World
from watchkeeper.channels.webhook import WebhookChannel
from watchkeeper.collector.notify.delivery.breaker import LONGEST_OPEN_S
from watchkeeper.collector.notify.delivery.plan import DIGEST_EVERY_S, DIGEST_MOST
from watchkeeper.collector.notify.delivery.robots import MAX_PER_PERSON, MAX_PER_ROBOT, SLOW_AFTER_S
from watchkeeper.collector.notify.notice import Urgency
from watchkeeper.collector.notify.outbox import Outbox
from watchkeeper.collector.store.schema import outbox
from watchkeeper.documents.secrets import Secret

WARNINGS = 1000
WAIT_S = 60.0
"""Only how long a broken test takes to fail."""


class Receiver:
    """A program of the operator: it takes messages, or hangs. `accepted` are the keys that it answered with 200, joined ones too."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.accepted: list[str] = []
        self.inside = 0
        self.changed = threading.Condition()
        self.hanging = False
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(receiver.take(json.loads(body)))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, name="receiver")
        self.thread.start()

    def take(self, message: dict[str, Any]) -> int:
        with self.changed:
            self.inside += 1
            self.changed.notify_all()
            hung = self.hanging
            self.changed.wait_for(lambda: not self.hanging, timeout=WAIT_S)
            self.inside -= 1
            if not hung:
                self.messages.append(message)
                joined = message["facts"].get("notices")
                self.accepted += [one["key"] for one in joined] if joined else [message["key"]]
            self.changed.notify_all()
        return 503 if hung else 200

    def wait(self, what: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(what, timeout=WAIT_S), (self.inside, len(self.accepted))

    def hang(self, *, hanging: bool) -> None:
        with self.changed:
            self.hanging = hanging
            self.changed.notify_all()

    def close(self) -> None:
        self.hang(hanging=False)
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receivers() -> Iterator[tuple[Receiver, Receiver]]:
    made = Receiver(), Receiver()
    yield made
    for one in made:
        one.close()


@pytest.fixture
def world(tmp_path: Path, receivers: tuple[Receiver, Receiver]) -> Iterator[World]:
    """olga has two webhooks. hao, in another room, shares the first with her, and has nothing else."""
    first, second = (f"{{via: webhook, url: '{one.url}', secret: s}}" for one in receivers)
    contacts = CONTACTS.replace(
        '{via: webhook, url: "http://127.0.0.1:1/owner", secret: s}, {via: console}', f"{first}, {second}"
    )
    made = World(f"sqlite:///{tmp_path / 'collector.sqlite'}", contacts=contacts)
    yield made
    made.close()


def put(world: World, keys: list[str], person: str, urgency: Urgency) -> None:
    with world.store.write() as connection:
        start = connection.execute(sa.select(sa.func.coalesce(sa.func.max(outbox.c.id), 0))).scalar_one()
        rows = [
            {"key": key, "about": "trouble", "about_id": start + n, "recurrence": 1, "kind": "page", "rung": "duty",
             "person": person, "created_at": NOON, "expires_at": None, "fallback": "[]", "subject": f"[warning] {key}",
             "text": "t", "facts": "{}", "state": "pending", "next_at": NOON, "channel": 0, "attempts": 0,
             "handed_on": False, "urgency": urgency.value}
            for n, key in enumerate(keys, 1)
        ]  # fmt: skip
        connection.execute(sa.insert(outbox), rows)


def attempts() -> int:
    return sum(thread.name == "outbox attempt" for thread in threading.enumerate())


def settled(what: Callable[[], bool]) -> bool:
    """Whether it becomes true."""
    pause = threading.Event()
    return any(what() or pause.wait(0.01) for _ in range(int(WAIT_S * 100)))


def tell_the_rest(world: World, running: Outbox, second: Receiver, held: int) -> None:
    """Let time pass until the whole storm is told, also what the first channel holds, which is given up meanwhile."""
    while len(second.accepted) < 1 + WARNINGS:
        assert settled(lambda: attempts() == held), "no further thread waits for the channel that hangs"
        turns = running.worker.beat_at
        world.clock.advance(DIGEST_EVERY_S)
        running.wake()
        assert settled(lambda before=turns: running.worker.beat_at > before)  # type: ignore[misc]  # the lambda has a default


def test_a_storm_and_a_hanging_channel_delay_no_critical_page_and_nothing_is_said_twice(
    world: World, receivers: tuple[Receiver, Receiver]
) -> None:
    first, second = receivers
    first.hang(hanging=True)
    warnings = [f"w{number}" for number in range(WARNINGS)]
    put(world, warnings, "olga", Urgency.PAGE)
    running = Outbox(world.runtime, lambda address: WebhookChannel(address.url, Secret("key"), world.clock, WAIT_S))
    running.start()
    digests = -(-WARNINGS // DIGEST_MOST)
    first.wait(lambda: first.inside == digests)

    put(world, ["critical"], "olga", Urgency.CRITICAL)
    running.wake()
    first.wait(lambda: first.inside == digests + 1)
    world.clock.advance(SLOW_AFTER_S)  # for so long a critical page waits for an answer
    running.wake()
    second.wait(lambda: second.accepted == ["critical"])

    tell_the_rest(world, running, second, held=digests + 1)
    assert Counter(second.accepted) == Counter([*warnings, "critical"]), "everything is told, and nothing twice"
    assert len(second.messages) <= 1 + 2 * digests, "in a handful of messages"
    assert first.inside == digests + 1

    first.hang(hanging=False)  # it answers 503 to what it held, and is back
    assert settled(lambda: attempts() == 0)
    world.clock.advance(LONGEST_OPEN_S)
    put(world, ["after"], "olga", Urgency.PAGE)
    running.wake()
    first.wait(lambda: first.accepted == ["after"])
    running.stop()
    assert len(second.accepted) == 1 + WARNINGS, "after the channel is back nothing is said twice"
    assert attempts() == 0, "no thread is left behind"


def test_a_channel_that_never_answers_keeps_its_share_of_threads_and_no_more(
    world: World, receivers: tuple[Receiver, Receiver]
) -> None:
    """Neither its deadline nor its probes add threads, however long it hangs."""
    first, second = receivers
    second.hang(hanging=True)
    first.hang(hanging=True)
    put(world, [f"w{number}" for number in range(200)], "olga", Urgency.PAGE)
    put(world, [f"c{number}" for number in range(50)], "olga", Urgency.CRITICAL)
    running = Outbox(world.runtime, lambda address: WebhookChannel(address.url, Secret("key"), world.clock, WAIT_S))
    running.start()
    first.wait(lambda: first.inside >= MAX_PER_PERSON)
    pause = threading.Event()
    most = 0
    for _ in range(100):
        world.clock.advance(10.0)
        running.wake()
        pause.wait(0.01)
        most = max(most, attempts())
    assert MAX_PER_PERSON <= most <= 2 * MAX_PER_ROBOT
    first.hang(hanging=False)
    second.hang(hanging=False)
    running.stop()
    assert attempts() == 0
