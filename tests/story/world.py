"""A whole collector without sockets and threads, on a fake clock. Tests push as an agent, let time pass, and read messages."""

import functools
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

from sqlalchemy import select

from watchkeeper.channels.ports import Address, Message, Receipt
from watchkeeper.collector.intake.journal import Journal
from watchkeeper.collector.intake.turns import Answer, Waiting
from watchkeeper.collector.notify.outbox import Outbox
from watchkeeper.collector.policy.incidents import Incident
from watchkeeper.collector.policy.troubles import Trouble
from watchkeeper.collector.process.due import chase, decide_due, end_quiet
from watchkeeper.collector.process.own.disk import DiskSpace
from watchkeeper.collector.process.own.of_agents.heard import AgentsHeard
from watchkeeper.collector.process.own.rules import OwnRules
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.process.troubles.separate import separate
from watchkeeper.collector.site.load import parse_configuration
from watchkeeper.collector.site.snapshot import Snapshot, make_snapshot
from watchkeeper.collector.store import rows
from watchkeeper.collector.store.connections.limits import StoreLimits
from watchkeeper.collector.store.engine import LIMITS, Store
from watchkeeper.collector.store.migrate import migrate
from watchkeeper.collector.store.schema import incident, tally, trouble
from watchkeeper.collector.store.troubles import trouble_from_row
from watchkeeper.model.batch import Document
from watchkeeper.model.clock import FakeClock
from watchkeeper.model.verdict import ActiveVerdicts, Event, Evidence, Level, Verdict
from watchkeeper.model.wire import decode_push, encode_event

INVENTORY = """
site: {name: Room 1, timezone: Asia/Shanghai}
agents:
  - {agent: room-1, interval: 15 s, owner: olga}
devices:
  - {device: sensor-1, agent: room-1, category: env, probe: snmp, address: 10.0.0.9, owner: olga, vendor: acme,
     location: Row A, snmp: {version: 2c, community: c}}
  - {device: web-1, agent: room-1, category: server, probe: host, owner: olga, vendor: acme}
"""
CONTACTS = """
people:
  - {person: day, name: 张伟, language: zh, channels: [{via: console}]}
  - {person: night, name: Night, channels: [{via: console}]}
  - {person: olga, name: Olga, channels: [{via: webhook, url: "http://127.0.0.1:1/owner", secret: s}, {via: console}]}
  - {person: hao, name: Hao, channels: [{via: console}]}
  - {person: amy, name: Amy, channels: [{via: console}]}
shifts:
  - {shift: day, start: "08:30", end: "17:00", rotation: [day]}
  - {shift: night, start: "17:00", end: "08:30", rotation: [night]}
roles: {head: [hao], assistant: [amy]}
vendors: [{vendor: acme, name: Acme Cooling, phone: "400 100 2000", contract: C-17}]
"""
LADDERS = """
ladders:
  - ladder: fault
    fallback: [head]
    rungs:
      - {rung: duty, after: 0 min, tell: [duty], say: Start at once.}
      - {rung: owner, after: 10 min, tell: [owner]}
      - {rung: on-site, after: 20 min, tell: [owner, head]}
      - {rung: vendor, after: 60 min, tell: [assistant], vendor_contact: yes}
"""
NOON = 1_799_985_600.0  # 2027-01-15 12:00 in Shanghai: the day shift


@functools.cache
def _snapshot(inventory: str, contacts: str, ladders: str, rules: str = "") -> Snapshot:
    return make_snapshot(
        parse_configuration(inventory, contacts, ladders), (Document("own.yml", rules),) if rules else ()
    )


@dataclass(frozen=True, slots=True)
class Delivered:
    """One message that a channel received. `minute` counts from the start of the test."""

    minute: float
    person: str
    kind: str
    rung: str
    message: Message
    via: str = ""


@dataclass
class World:
    """The collector and its surroundings. Channels whose `via` is in `broken` fail."""

    url: str
    inventory: str = INVENTORY
    contacts: str = CONTACTS
    ladders: str = LADDERS
    clock: FakeClock = field(default_factory=lambda: FakeClock(now=NOON))
    told: list[Delivered] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    seqs: dict[tuple[str, str], int] = field(default_factory=dict)
    epoch: str = "epoch-1"
    limits: StoreLimits = LIMITS
    name: str = ""

    def __post_init__(self) -> None:
        self.began = self.clock.wall()
        self.store = Store(self.url, self.limits)
        migrate(self.store)
        self.start()

    def start(self) -> None:
        """Start the collector with the data in the store, also as a restart."""
        snapshot = _snapshot(self.inventory, self.contacts, self.ladders)
        self.runtime = Runtime(self.store, self.clock, snapshot, "http://room")
        self.outbox = Outbox(self.runtime, self._open, collector=self.name)
        self.journal = Journal(self.store, self.runtime, self.clock, lambda: None)
        self.disk = DiskSpace(self.store, reserve_bytes=0)
        self.own_rules = OwnRules(self.runtime, (self.disk, AgentsHeard(self.store, deaf=lambda: self.disk.full)))
        self.journal.recover()

    def close(self) -> None:
        """Close the connections."""
        self.outbox.stop()
        self.store.close()

    def _open(self, address: Address) -> SimpleNamespace:
        return SimpleNamespace(send=lambda message: self._receive(address, message))

    def _receive(self, address: Address, message: Message) -> Receipt:
        if address.via.value in self.broken:
            return Receipt(delivered=False, detail="broken", permanent=True)
        minute = round((self.clock.wall() - self.began) / 60, 2)
        facts = message.facts
        self.told.append(
            Delivered(minute, message.person, str(facts["kind"]), str(facts["rung"]), message, address.via.value)
        )
        return Receipt(delivered=True, detail="ok")

    # ---- actions ----

    def verdict(
        self, level: Level, *, age_s: float = 0.0, rule: str = "environment.temperature", device: str = "sensor-1",
        instance: str = "", quantity: str = "temperature.ambient",
    ) -> Verdict:  # fmt: skip
        """A verdict change that began `age_s` ago, on the agent's boot clock."""
        evidence = Evidence(quantity, 24.5, "outside 21 to 23 °C", "", 24.1, self.clock.boot() - age_s - 60)
        return Verdict(uuid.uuid4().hex, device, rule, instance, level, self.clock.boot() - age_s, evidence)

    def body(self, *events: Event, more: bool = False, wrong_by_s: float = 0.0, agent: str = "room-1") -> bytes:
        """The body of a push with these events, as an agent sends it now."""
        lane = (agent, self.epoch)
        start = self.seqs.get(lane, 0) + 1
        items = [{"seq": start + n, **encode_event(event, self.clock.boot())} for n, event in enumerate(events)]
        self.seqs[lane] = start + len(events) - 1
        push = {
            "protocol": 1, "agent": agent, "epoch": self.epoch, "lane": "events", "more": more,
            "sent_at": self.clock.wall() + wrong_by_s, "items": items,
        }  # fmt: skip
        return json.dumps(push).encode()

    def deliver(self, body: bytes) -> Answer:
        """Let the collector process a push and everything that follows at once."""
        answers: list[Answer] = []
        now = self.clock.wall()
        self.journal.turn([Waiting(decode_push(json.loads(body), now), body, now, answers.append)])
        self.beat()
        return answers[0]

    def push(self, *events: Event, **options: object) -> Answer:
        """Push these events."""
        return self.deliver(self.body(*events, **options))  # type: ignore[arg-type]

    def beat(self) -> None:
        """End what is over, decide the due rungs, and deliver the messages."""
        now = self.clock.wall()
        separate(self.runtime.notifier(), now)
        chase(self.runtime.notifier(), now)
        end_quiet(self.runtime.notifier(), now)
        while decide_due(self.runtime.notifier(), self.clock.wall()):
            pass
        self.outbox.deliver()

    def advance(self, minutes: float, step_s: float = 15.0) -> None:
        """Let time pass. The collector works every `step_s` seconds."""
        left = minutes * 60
        while left > 0:
            self.clock.advance(min(step_s, left))
            left -= step_s
            self.beat()

    def look(self, minutes: float) -> None:
        """Let time pass. The collector evaluates its own rules every five seconds."""
        for _ in range(int(minutes * 12)):
            self.clock.advance(5)
            self.own_rules.look()
            self.beat()

    def adopt(self, inventory: str | None = None, contacts: str | None = None, rules: str = "") -> None:
        """Load a changed configuration."""
        self.runtime.activate(_snapshot(inventory or self.inventory, contacts or self.contacts, self.ladders, rules))
        self.beat()

    def act(self, action: Callable[..., Trouble], number: int, person: str = "day", note: str = "") -> Trouble:
        """Let a person act on a trouble."""
        done = action(self.runtime.notifier(), number, person, self.clock.wall(), note)
        self.beat()
        return done

    def standing(self, *verdicts: Verdict) -> ActiveVerdicts:
        """The agent's whole set of non-ok verdicts."""
        return ActiveVerdicts(self.clock.boot(), verdicts)

    # ---- results ----

    def incidents(self) -> list[Incident]:
        """Every incident, oldest first."""
        with self.store.read() as connection:
            return [rows.incident_from_row(row) for row in connection.execute(incident.select().order_by("incident"))]

    def troubles(self) -> list[Trouble]:
        """Every trouble, oldest first."""
        with self.store.read() as connection:
            found = connection.execute(trouble.select().order_by("trouble"))
            return [trouble_from_row(row) for row in found]

    def tally(self, name: str) -> int:
        """The value of a stored counter."""
        with self.store.read() as connection:
            return int(connection.execute(select(tally.c["count"]).where(tally.c.name == name)).scalar_one())

    def happened(self, number: int = 1) -> list[str]:
        """The kinds of an incident's transitions, in order."""
        with self.store.read() as connection:
            return [step.kind.value for step, _ in rows.transitions_of(connection, number)]

    def pages(self, *kinds: str) -> list[tuple[float, str, str]]:
        """(minute, person, rung or kind) of every message received, of these kinds or all."""
        return [(one.minute, one.person, one.rung or one.kind) for one in self.told if not kinds or one.kind in kinds]


def older(verdict: Verdict, seconds: float) -> Verdict:
    """The same verdict, begun earlier."""
    return replace(verdict, since=verdict.since - seconds)
