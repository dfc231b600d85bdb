"""Collectors with a folder each on one store, without threads: `turn` is one turn of their tickers."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from tests.story.world import CONTACTS, INVENTORY, LADDERS
from watchkeeper.collector.process.configuration.finding import FolderInForce
from watchkeeper.collector.process.configuration.reload import ConfigReloader
from watchkeeper.collector.process.own.rules import OwnRules
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.site.files import SiteFiles
from watchkeeper.collector.store.configurations import activations
from watchkeeper.collector.store.configurations.activations import Activation
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.migrate import migrate
from watchkeeper.collector.store.peers import CollectorIdentity, beat, enter
from watchkeeper.collector.store.schema import incident
from watchkeeper.model.clock import FakeClock

NOON = 1_799_985_600.0


def inventory(*devices: str) -> str:
    """The inventory of World with other devices."""
    head = INVENTORY[: INVENTORY.index("devices:")]
    lines = (
        f"  - {{device: {name}, agent: room-1, category: server, probe: snmp, address: 10.0.0.9, owner: olga, "
        "snmp: {version: 2c, community: c}}\n"
        for name in devices
    )
    return head + "devices:\n" + "".join(lines)


@dataclass
class Collector:
    """One of them. Each `start` is a new process."""

    name: str
    folder: Path
    store: Store
    clock: FakeClock
    runtime: Runtime | None = None
    edits: int = 0

    def write(self, **texts: str) -> None:
        """Change files of the folder: `inventory`, `contacts`, `ladders`, or a rule file as `rules`."""
        for name, text in texts.items():
            self.edits += 1
            file = self.folder / ("rules/own.yml" if name == "rules" else f"{name}.yml")
            file.parent.mkdir(parents=True, exist_ok=True)
            # The size tells the change, whatever the file system's clock says.
            file.write_text(text + "#" * self.edits + "\n", encoding="utf-8")

    def start(self) -> "Collector":
        """Start it as main.py does."""
        self.reloader = ConfigReloader(self.folder, self.name, lambda _folder, _files: "")
        snapshot = self.reloader.choose(self.store, self.clock.wall())
        identity = CollectorIdentity(self.name)
        enter(self.store, identity, "1", self.clock.wall())
        self.runtime = Runtime(self.store, self.clock, snapshot, identity=identity)
        self.reloader.begin(self.runtime)
        self.own_rules = OwnRules(self.runtime, (FolderInForce(self.runtime),))
        return self

    def stop(self) -> None:
        """Stop it; its last beat stays in the store."""
        self.runtime = None

    def turn(self) -> None:
        """One turn of the ticker."""
        if self.runtime:
            self.reloader.refresh(self.runtime)
            beat(self.store, self.runtime.identity, self.clock.wall())

    @property
    def running(self) -> Runtime:
        """Its runtime, while it runs."""
        assert self.runtime, f"{self.name} does not run"
        return self.runtime

    @property
    def devices(self) -> list[str]:
        """The devices of its active configuration."""
        return sorted(self.running.snapshot.devices)


@dataclass
class PairRoom:
    """Two collectors, `a` and `b`, whose folders are equal at first."""

    url: str
    place: Path
    clock: FakeClock = field(default_factory=lambda: FakeClock(NOON))

    def __post_init__(self) -> None:
        self.store = Store(self.url)
        migrate(self.store)
        self.a, self.b = (Collector(name, self.place / name, self.store, self.clock) for name in ("a", "b"))
        for one in (self.a, self.b):
            one.folder.mkdir()
            self.lay(
                one,
                {
                    "inventory": inventory("web-1"),
                    "contacts": CONTACTS,
                    "ladders": LADDERS,
                },
            )

    @staticmethod
    def lay(one: Collector, texts: Mapping[str, str]) -> None:
        """Write files as they are."""
        for name, text in texts.items():
            (one.folder / f"{name}.yml").write_text(text, encoding="utf-8")

    def copy(self, source: Collector, target: Collector) -> None:
        """Bring a folder up to date."""
        shutil.rmtree(target.folder)
        shutil.copytree(source.folder, target.folder)

    def turns(self, count: int = 3) -> None:
        """Let both work."""
        for _ in range(count):
            self.clock.advance(0.5)
            self.a.turn()
            self.b.turn()

    def away(self, seconds: float = 60.0) -> None:
        """Let time pass in which nobody works."""
        self.clock.advance(seconds)

    @property
    def history(self) -> list[Activation]:
        """Every activation, oldest first."""
        with self.store.read() as connection:
            return activations.activations_before(connection, None, 10_000)[::-1]

    def files(self, number: int) -> SiteFiles:
        """The files of a number."""
        with self.store.read() as connection:
            return activations.files_of(connection, number)

    def states(self) -> list[tuple[str, str]]:
        """(device, state) of every incident."""
        with self.store.read() as connection:
            rows = connection.execute(sa.select(incident.c.device, incident.c.state).order_by(incident.c.incident))
            return [(row.device, row.state) for row in rows]

    def close(self) -> None:
        """Close the connections."""
        self.store.close()
