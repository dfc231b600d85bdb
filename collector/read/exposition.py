"""`/metrics` for Prometheus, in base units. Readings are formatted here, directly from their stored columns, so that
100,000 series cost no more than with prometheus-client. The self-metrics use prometheus-client."""

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
from watchkeeper.collector.read.blocks import same_block
from watchkeeper.collector.read.self_metrics import SelfMetrics
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store.schema import block, latest
from watchkeeper.model.device import Device
from watchkeeper.model.quantity import PERCENT, QUANTITIES, Quantity, QuantityType, Unit

_BlockKey = tuple[str, str, int]
"""(agent, epoch, block)."""

_BLOCKS_PER_QUERY = 200

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Family:
    """How a quantity is exported: as its value times `factor`; a state as one sample for each of `states`, 1 for the
    current one and 0 for the others."""

    name: str
    kind: str
    help: str
    factor: float = 1.0
    states: tuple[str, ...] = ()

    @property
    def head(self) -> str:
        """The HELP and TYPE lines."""
        return f"# HELP {self.name} {self.help}\n# TYPE {self.name} {self.kind}\n"


def family(quantity: Quantity) -> Family:
    """The metric family of a quantity, by the conventions of Prometheus: base units, and `_total` for a counter."""
    name = "watchkeeper_" + quantity.name.replace(".", "_")
    if quantity.type is QuantityType.STATE:
        text = f"{quantity.title}: 1 for the current state, 0 for the others."
        return Family(name.removesuffix("_state") + "_state", "gauge", text, states=quantity.states)
    unit = quantity.unit
    name += f"_{unit.base}" if unit.base else ""
    text = f"{quantity.title}{_unit_text(unit)}."
    if quantity.type is QuantityType.COUNTER:
        return Family(name + "_total", "counter", text, unit.to_base)
    return Family(name, "gauge", text, unit.to_base)


def _unit_text(unit: Unit) -> str:
    if unit is PERCENT:
        return ", 1 is 100 %"
    return f", in {unit.base.replace('_', ' ')}" if unit.base else ""


_COLLECTOR_QUANTITIES = (
    "agent.heard",
    "agent.twin",
    "collector.disk",
)  # only for the collector's own rules; no agent reads them
_UNKNOWN_FAMILY = Family("", "gauge", "")  # a quantity of an agent that is newer than the collector
FAMILIES = {name: family(quantity) for name, quantity in QUANTITIES.items() if name not in _COLLECTOR_QUANTITIES}


@dataclass(frozen=True, slots=True)
class _BlockLines:
    """The lines of a block without their values, by index of the series: the list that gets the line, the beginning of
    the line (empty for a state), and the factor. `states` has for each state its name and the beginning of its line. A
    few long lists, and not an object for each series, keep the pauses of the garbage collector short."""

    lines: list[list[str]]
    prefixes: list[str]
    factors: list[float]
    states: dict[int, dict[str, str]]


class Metrics:
    """Renders `/metrics`. Safe to call from any thread; renders once at a time."""

    def __init__(self, runtime: Runtime, journal: Journal, ingest: AgentEndpoint) -> None:
        self._runtime = runtime
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        own: Collector = SelfMetrics(runtime, journal, ingest)
        self._registry.register(own)
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._blocks: dict[_BlockKey, _BlockLines] = {}
        self._lines: dict[str, list[str]] = {}

    def render(self) -> bytes:
        """The exposition, in the text format 0.0.4. Reads the store: call it in a thread. Raises StoreError."""
        with self._lock:
            readings = self._readings()
        return readings.encode() + generate_latest(self._registry)

    def _readings(self) -> str:
        snapshot = self._runtime.snapshot
        if snapshot is not self._snapshot:  # categories and locations may have changed
            self._snapshot, self._blocks = snapshot, {}
            self._lines = {name: [] for name in FAMILIES}
        now = self._runtime.clock.wall()
        fresh = sa.and_(latest.c.at > now - EXPORTED_FOR_INTERVALS * block.c.every_s)
        columns = (latest.c.device, latest.c.agent, latest.c.epoch, latest.c.block, latest.c.column)
        with self._runtime.store.read() as connection:
            found = connection.execute(sa.select(*columns).join(block, same_block(latest)).where(fresh)).all()
            self._prepare_blocks(connection, snapshot, found)
        for lines in self._lines.values():
            lines.clear()
        for row in found:
            if (key := (row.agent, row.epoch, row.block)) in self._blocks:
                _append_lines(self._blocks[key], from_json(row.column)["values"])
        return "".join(FAMILIES[name].head + "".join(lines) for name, lines in self._lines.items() if lines)

    def _prepare_blocks(self, connection: sa.Connection, snapshot: Snapshot, found: Sequence[Any]) -> None:
        """Prepare the blocks in use, and drop all others."""
        used = {(row.agent, row.epoch, row.block) for row in found}
        self._blocks = {key: lines for key, lines in self._blocks.items() if key in used}
        unknown = sorted(used - self._blocks.keys())
        for start in range(0, len(unknown), _BLOCKS_PER_QUERY):
            keys = sa.tuple_(block.c.agent, block.c.epoch, block.c.block).in_(
                unknown[start : start + _BLOCKS_PER_QUERY]
            )
            for row in connection.execute(sa.select(block).where(keys)):
                device = snapshot.devices.get(row.device)
                if device and device.probe == row.probe:  # not the readings of an earlier probe of the device
                    self._blocks[row.agent, row.epoch, row.block] = self._block_lines(device, json.loads(row.series))

    def _block_lines(self, device: Device, series: Sequence[Sequence[str]]) -> _BlockLines:
        block_lines = _BlockLines([], [], [], {})
        for index, (quantity, instance, label, _source) in enumerate(series):
            metric = FAMILIES.get(quantity, _UNKNOWN_FAMILY)
            labels = _labels(device, instance, label)
            if metric.states:
                block_lines.states[index] = {
                    name: f'{metric.name}{{{labels},state="{name}"}} ' for name in metric.states
                }
            block_lines.lines.append(self._lines.get(quantity, []))
            block_lines.prefixes.append(
                "" if metric.states or metric is _UNKNOWN_FAMILY else f"{metric.name}{{{labels}}} "
            )
            block_lines.factors.append(metric.factor)
        return block_lines


def _append_lines(block_lines: _BlockLines, values: Sequence[float | str | None]) -> None:
    for index, (lines, prefix, factor, value) in enumerate(
        zip(block_lines.lines, block_lines.prefixes, block_lines.factors, values, strict=True)
    ):
        if isinstance(value, str):
            states = block_lines.states.get(index, {})
            if value in states:
                lines.extend(f"{begins}{1 if name == value else 0}\n" for name, begins in states.items())
        elif prefix and value is not None:
            lines.append(f"{prefix}{value * factor!r}\n")


def _labels(device: Device, instance: str, label: str) -> str:
    """The labels of a reading. `part` is the instance (a disk, a phase, a probe), because Prometheus uses `instance`
    for the scraped address. Empty labels are left out."""
    labels = {
        "device": device.device, "category": device.category.value, "location": device.location, "part": instance,
        "label": label,
    }  # fmt: skip
    return ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items() if text)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
