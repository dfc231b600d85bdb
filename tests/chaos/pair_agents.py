"""Agents that push faults of many devices to two collectors, for `chaos_pair`. Each keeps its events until one of the two has
answered, as a real agent does, and sends them to the other one meanwhile."""

import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import requests

from watchkeeper.model.verdict import Evidence, Level, Verdict
from watchkeeper.model.wire import encode_event

DEVICES_EACH, GROUP = 100, 5
"""The first device of each group is a switch, and two others depend on it."""

LASTS_S = (0.5, 14.0)
EVENTS_PER_S = 0.7
SILENT, ALARM = ("device.not-answering", "device.answering"), ("device.alarm", "device.alarm")


def inventory(agents: Sequence[str]) -> str:
    """inventory.yml."""
    devices = "\n".join(
        f"  - {{device: {name}-{n}, agent: {name}, category: network, probe: snmp, address: 10.{at}.{n // 100}.{n % 100},"
        f" owner: olga, location: Row {name} {n // 2}, snmp: {{version: 2c, community: webhook}}"
        + (f", depends_on: {name}-{n - n % GROUP}" if n % GROUP in (1, 2) else "")
        + "}"
        for at, name in enumerate(agents)
        for n in range(DEVICES_EACH)
    )
    listed = "\n".join(f"  - {{agent: {name}, owner: olga, interval: 60 s}}" for name in agents)
    return f"site: {{name: Chaos, timezone: Asia/Shanghai}}\nagents:\n{listed}\ndevices:\n{devices}\n"


@dataclass(slots=True)
class _Agent:
    """One agent: what is bad now and until when, and the events that no collector has answered yet."""

    name: str
    token: str
    urls: Sequence[str]
    chance: random.Random
    bad: dict[tuple[str, str, str], float] = field(default_factory=dict)
    waiting: list[Verdict] = field(default_factory=list)
    seq: int = 0
    made: int = 0
    pushes: int = 0
    repeated: int = 0

    def change(self) -> None:
        """A new fault begins, and those that have lasted long enough end."""
        now = time.monotonic()
        for key in [key for key, until in self.bad.items() if until <= now]:
            del self.bad[key]
            self._say(key, Level.OK)
        device = f"{self.name}-{self.chance.randrange(DEVICES_EACH)}"
        key = (device, *self.chance.choice((SILENT, SILENT, ALARM)))
        if key not in self.bad:
            self.bad[key] = now + self.chance.uniform(*LASTS_S)
            self._say(key, self.chance.choice((Level.WARNING, Level.CRITICAL)))

    def end_all(self) -> None:
        """Every fault ends."""
        for key in self.bad:
            self._say(key, Level.OK)
        self.bad.clear()

    def _say(self, key: tuple[str, str, str], level: Level) -> None:
        device, rule, quantity = key
        self.made += 1
        evidence = Evidence(quantity, "no", "is no", "", "no", time.monotonic())
        self.waiting.append(Verdict(f"{self.name}-{self.made}", device, rule, "", level, time.monotonic(), evidence))

    def push(self) -> None:
        """Send what waits, to one of the two; again later if there is no answer."""
        if not self.waiting:
            return
        sent = list(self.waiting)
        items = [{"seq": self.seq + 1 + n, **encode_event(one, time.monotonic())} for n, one in enumerate(sent)]
        body = {
            "protocol": 1, "agent": self.name, "epoch": "chaos", "lane": "events", "more": False,
            "sent_at": time.time(), "items": items,
        }  # fmt: skip
        head = {"Authorization": f"Bearer {self.token}"}
        try:
            answer = requests.post(f"{self.chance.choice(self.urls)}/v1/push", json=body, headers=head, timeout=5)
        except requests.RequestException:
            self.repeated += 1
            time.sleep(0.2)
            return
        if not answer.ok:
            assert answer.status_code >= 500, answer.text
            self.repeated += 1
            return
        self.pushes += 1
        self.seq += len(sent)
        del self.waiting[: len(sent)]


class Agents:
    """All agents, each in a thread."""

    def __init__(self, urls: Sequence[str], tokens: Mapping[str, str], seed: int) -> None:
        self._agents = [
            _Agent(name, token, urls, random.Random(f"{seed}{name}"))  # noqa: S311 -- must be repeatable
            for name, token in tokens.items()
        ]
        self._over, self._gone = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(one,), daemon=True) for one in self._agents]

    def start(self) -> None:
        """Begin to push."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End every fault, and wait until all is answered."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def abandon(self) -> None:
        """End without waiting for answers."""
        self._over.set()
        self._gone.set()

    def _run(self, one: _Agent) -> None:
        while not self._over.is_set():
            one.change()
            one.push()
            self._over.wait(one.chance.expovariate(EVENTS_PER_S))
        one.end_all()
        while one.waiting and not self._gone.is_set():
            one.push()

    @property
    def pushes(self) -> int:
        """How many pushes were answered."""
        return sum(one.pushes for one in self._agents)

    @property
    def repeated(self) -> int:
        """How many were not."""
        return sum(one.repeated for one in self._agents)
