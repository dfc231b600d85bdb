"""`/metrics` for Prometheus, in base units. Readings are written here, straight from the columns they are kept in, so that
100,000 series cost no more than prometheus-client itself; the collector's own metrics are prometheus-client's."""

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.registry import Collector
from pydantic_core import from_json

from collector.ingest import Ingest
from collector.journal import Journal
from collector.office import Office
from collector.orders import Orders
from collector.store.schema import block, latest
from collector.tallies import Tallies
from model.device import Device
from model.quantity import QUANTITIES, Quantity, Sort

SHOWN_FOR = 2
"""A reading is exported until its frame is this many intervals old: what is silent disappears instead of lying on."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Family:
    """How a quantity is exported: a value times `factor`, or, for a state, 1 for the one that holds and 0 for the rest."""

    name: str
    kind: str
    says: str
    factor: float = 1.0
    states: tuple[str, ...] = ()

    @property
    def head(self) -> str:
        """Its HELP and TYPE."""
        return f"# HELP {self.name} {self.says}\n# TYPE {self.name} {self.kind}\n"


def family(quantity: Quantity) -> Family:
    """Name and meaning by Prometheus' conventions: base units, `_total` for what only grows."""
    name = "watchkeeper_" + quantity.name.replace(".", "_")
    if quantity.sort is Sort.STATE:
        says = f"{quantity.title}: 1 for the state that holds, 0 for the others."
        return Family(name.removesuffix("_state") + "_state", "gauge", says, states=quantity.states)
    unit = quantity.unit
    name += f"_{unit.base}" if unit.base else ""
    says = f"{quantity.title}, in {unit.base.replace('_', ' ')}." if unit.base else f"{quantity.title}."
    if quantity.sort is Sort.COUNTER:
        return Family(name + "_total", "counter", says, unit.to_base)
    return Family(name, "gauge", says, unit.to_base)


FAMILIES = {name: family(quantity) for name, quantity in QUANTITIES.items()}


@dataclass(frozen=True, slots=True)
class _Slot:
    """One series, ready but for its value: where its lines go and how they begin."""

    lines: list[str]
    prefixes: tuple[str, ...]
    factor: float
    states: tuple[str, ...]


class Metrics:
    """Renders everything. Safe to call from any thread; one rendering at a time."""

    def __init__(self, office: Office, journal: Journal, ingest: Ingest) -> None:
        self._office = office
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        own: Collector = Tallies(office, journal, ingest)
        self._registry.register(own)
        self._lock = threading.Lock()
        self._orders: Orders | None = None
        self._slots: dict[tuple[str, str, int], tuple[_Slot, ...]] = {}
        self._lines: dict[str, list[str]] = {}

    def render(self) -> bytes:
        """The exposition, in the text format 0.0.4. Reads the store: call it in a thread. Raises StoreError."""
        with self._lock:
            readings = self._readings()
        return readings.encode() + generate_latest(self._registry)

    def _readings(self) -> str:
        orders = self._office.orders
        if orders is not self._orders:  # categories and places may be others now
            self._orders, self._slots = orders, {}
            self._lines = {name: [] for name in FAMILIES}
        now = self._office.clock.wall()
        fresh = sa.and_(latest.c.at > now - SHOWN_FOR * block.c.every_s)
        same = sa.and_(
            latest.c.agent == block.c.agent, latest.c.epoch == block.c.epoch, latest.c.block == block.c.block
        )
        columns = (latest.c.device, latest.c.agent, latest.c.epoch, latest.c.block, latest.c.column)
        with self._office.store.read() as connection:
            found = connection.execute(sa.select(*columns).join(block, same).where(fresh)).all()
            self._know(connection, orders, found)
        for lines in self._lines.values():
            lines.clear()
        for row in found:
            slots = self._slots[row.agent, row.epoch, row.block]
            for slot, value in zip(slots, from_json(row.column)["values"], strict=False):
                _write(slot, value)
        return "".join(FAMILIES[name].head + "".join(lines) for name, lines in self._lines.items() if lines)

    def _know(self, connection: sa.Connection, orders: Orders, found: Sequence[Any]) -> None:
        """Keep the slots of exactly the blocks in use."""
        used = {(row.agent, row.epoch, row.block): row.device for row in found}
        kept = {key: slots for key, slots in self._slots.items() if key in used}
        for key, name in used.items():
            if key in kept:
                continue
            where = (block.c.agent == key[0], block.c.epoch == key[1], block.c.block == key[2])
            series = connection.execute(sa.select(block.c.series).where(*where)).scalar_one()
            device = orders.devices.get(name)
            kept[key] = tuple(self._slot(device, *words[:3]) for words in json.loads(series)) if device else ()
        self._slots = kept

    def _slot(self, device: Device, quantity: str, instance: str, label: str) -> _Slot:
        if quantity not in FAMILIES:  # an agent newer than we are
            return _Slot([], (), 1.0, ())
        one = FAMILIES[quantity]
        labels = _labels(device, instance, label)
        ends = [f',state="{state}"' for state in one.states] or [""]
        prefixes = tuple(f"{one.name}{{{labels}{end}}} " for end in ends)
        return _Slot(self._lines[quantity], prefixes, one.factor, one.states)


def _write(slot: _Slot, value: float | str | None) -> None:
    if type(value) is float or type(value) is int:
        if not slot.states and slot.prefixes:
            slot.lines.append(f"{slot.prefixes[0]}{value * slot.factor!r}\n")
    elif value in slot.states:
        named = zip(slot.prefixes, slot.states, strict=True)
        slot.lines.extend(f"{prefix}{1 if value == state else 0}\n" for prefix, state in named)


def _labels(device: Device, instance: str, label: str) -> str:
    """Whose reading it is. `part` tells disks, phases and probes apart (`instance` is Prometheus' own word for the
    scraped address); an empty label is none."""
    named = {
        "device": device.device, "category": device.category.value, "location": device.location, "part": instance,
        "label": label,
    }  # fmt: skip
    return ",".join(f'{name}="{_escaped(text)}"' for name, text in named.items() if text)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
