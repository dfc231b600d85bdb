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

from watchkeeper.collector.intake.endpoint import AgentEndpoint
from watchkeeper.collector.intake.journal import Journal
from watchkeeper.collector.policy.freshness import EXPORTED_FOR_INTERVALS
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.read.self_metrics import SelfMetrics
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store.schema import block, latest
from watchkeeper.model.device import Device
from watchkeeper.model.quantity import PERCENT, QUANTITIES, Quantity, Sort, Unit

Key = tuple[str, str, int]
"""(agent, epoch, block)."""

_AT_ONCE = 200

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
    says = f"{quantity.title}{_measure(unit)}."
    if quantity.sort is Sort.COUNTER:
        return Family(name + "_total", "counter", says, unit.to_base)
    return Family(name, "gauge", says, unit.to_base)


def _measure(unit: Unit) -> str:
    if unit is PERCENT:
        return ", 1 is 100 %"
    return f", in {unit.base.replace('_', ' ')}" if unit.base else ""


_OUR_OWN = ("agent.heard", "collector.disk")  # no agent reads them: they are what collector/read/self_metrics counts
_UNKNOWN = Family("", "gauge", "")  # of an agent newer than we are
FAMILIES = {name: family(quantity) for name, quantity in QUANTITIES.items() if name not in _OUR_OWN}


@dataclass(frozen=True, slots=True)
class _Columns:
    """The series of a block, ready but for their values: where each writes its line, how that begins (empty for a
    state), and times what.
    Long lists instead of many objects, so that the garbage collector has little to hold the event loop up with.
    `states` has, by index, each state's name and the beginning of its line."""

    lines: list[list[str]]
    prefixes: list[str]
    factors: list[float]
    states: dict[int, dict[str, str]]


class Metrics:
    """Renders everything. Safe to call from any thread; one rendering at a time."""

    def __init__(self, runtime: Runtime, journal: Journal, ingest: AgentEndpoint) -> None:
        self._runtime = runtime
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        own: Collector = SelfMetrics(runtime, journal, ingest)
        self._registry.register(own)
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._columns: dict[Key, _Columns] = {}
        self._lines: dict[str, list[str]] = {}

    def render(self) -> bytes:
        """The exposition, in the text format 0.0.4. Reads the store: call it in a thread. Raises StoreError."""
        with self._lock:
            readings = self._readings()
        return readings.encode() + generate_latest(self._registry)

    def _readings(self) -> str:
        snapshot = self._runtime.snapshot
        if snapshot is not self._snapshot:  # categories and places may be others now
            self._snapshot, self._columns = snapshot, {}
            self._lines = {name: [] for name in FAMILIES}
        now = self._runtime.clock.wall()
        fresh = sa.and_(latest.c.at > now - EXPORTED_FOR_INTERVALS * block.c.every_s)
        same = sa.and_(
            latest.c.agent == block.c.agent, latest.c.epoch == block.c.epoch, latest.c.block == block.c.block
        )
        columns = (latest.c.device, latest.c.agent, latest.c.epoch, latest.c.block, latest.c.column)
        with self._runtime.store.read() as connection:
            found = connection.execute(sa.select(*columns).join(block, same).where(fresh)).all()
            self._know(connection, snapshot, found)
        for lines in self._lines.values():
            lines.clear()
        for row in found:
            if (key := (row.agent, row.epoch, row.block)) in self._columns:
                _write(self._columns[key], from_json(row.column)["values"])
        return "".join(FAMILIES[name].head + "".join(lines) for name, lines in self._lines.items() if lines)

    def _know(self, connection: sa.Connection, snapshot: Snapshot, found: Sequence[Any]) -> None:
        """Keep the columns of exactly the blocks in use."""
        used = {(row.agent, row.epoch, row.block) for row in found}
        self._columns = {key: columns for key, columns in self._columns.items() if key in used}
        unknown = sorted(used - self._columns.keys())
        for start in range(0, len(unknown), _AT_ONCE):
            keys = sa.tuple_(block.c.agent, block.c.epoch, block.c.block).in_(unknown[start : start + _AT_ONCE])
            for row in connection.execute(sa.select(block).where(keys)):
                device = snapshot.devices.get(row.device)
                if device and device.probe == row.probe:  # what another probe read before is history
                    self._columns[row.agent, row.epoch, row.block] = self._prepare(device, json.loads(row.series))

    def _prepare(self, device: Device, series: Sequence[Sequence[str]]) -> _Columns:
        columns = _Columns([], [], [], {})
        for index, (quantity, instance, label, _source) in enumerate(series):
            one = FAMILIES.get(quantity, _UNKNOWN)
            labels = _labels(device, instance, label)
            if one.states:
                columns.states[index] = {name: f'{one.name}{{{labels},state="{name}"}} ' for name in one.states}
            columns.lines.append(self._lines.get(quantity, []))
            columns.prefixes.append("" if one.states or one is _UNKNOWN else f"{one.name}{{{labels}}} ")
            columns.factors.append(one.factor)
        return columns


def _write(columns: _Columns, values: Sequence[float | str | None]) -> None:
    for index, (lines, prefix, factor, value) in enumerate(
        zip(columns.lines, columns.prefixes, columns.factors, values, strict=True)
    ):
        if isinstance(value, str):
            states = columns.states.get(index, {})
            if value in states:
                lines.extend(f"{begins}{1 if name == value else 0}\n" for name, begins in states.items())
        elif prefix and value is not None:
            lines.append(f"{prefix}{value * factor!r}\n")


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
