"""Devices and their latest readings. Read only; `now` and all times are UTC seconds."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from watchkeeper.collector.policy import freshness
from watchkeeper.collector.process.removals import ConfirmedRemoval, Gone, gone_parts, removals_of
from watchkeeper.collector.read.agents import agent_statuses
from watchkeeper.collector.read.blocks import block_series, same_block
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store.schema import block, latest
from watchkeeper.model.batch import Facts
from watchkeeper.model.device import Device
from watchkeeper.model.event import EVENT_QUANTITY
from watchkeeper.model.quantity import ABSENCE_QUANTITIES
from watchkeeper.model.reading import Missing, Series, Value
from watchkeeper.model.wire import decode_values
from watchkeeper.rules.parts import READINGS

_NOT_COUNTED = frozenset({"device.answering", "uptime", EVENT_QUANTITY, READINGS, *ABSENCE_QUANTITIES})


@dataclass(frozen=True, slots=True)
class ProbeReadings:
    """The latest readings of a device by one probe. All values are as old as their frame. `stale` means that they are
    too old to be current."""

    at: float
    age_s: float
    every_s: float
    stale: bool
    probe: str
    series: tuple[Series, ...]
    values: tuple[Value, ...]
    facts: Facts = ()

    @property
    def counted(self) -> tuple[int, int]:
        """How many of its readings have a value, and how many there are. Those about the device itself do not count."""
        own = [value for series, value in self.readings() if series.quantity not in _NOT_COUNTED]
        return sum(not isinstance(value, Missing) for value in own), len(own)

    def readings(self) -> Iterator[tuple[Series, Value]]:
        """Each series with its value."""
        return zip(self.series, self.values, strict=True)


@dataclass(frozen=True, slots=True)
class DeviceReadings:
    """A device of the inventory with its latest readings (none if it was never read). `silent` is about its agent."""

    device: Device
    columns: tuple[ProbeReadings, ...]
    silent: bool

    @property
    def stale(self) -> bool:
        """Whether all its readings are stale."""
        return all(column.stale for column in self.columns)


@dataclass(frozen=True, slots=True)
class DeviceParts:
    """What is gone of a device, each with the confirmation that its agent has not carried out yet; and all confirmed
    removals, newest first."""

    gone: tuple[tuple[Gone, ConfirmedRemoval | None], ...]
    removals: tuple[ConfirmedRemoval, ...]


def device_parts(connection: sa.Connection, device: str) -> DeviceParts:
    """What is gone of a device, and what persons confirmed."""
    past = removals_of(connection, device)
    pending = {one.part: one for one in past if one.done_at is None}
    gone = tuple((one, pending.get(one.part)) for one in gone_parts(connection, device))
    return DeviceParts(gone, tuple(past))


def device_readings(  # noqa: PLR0917 -- connection, snapshot and now come first in every function of this folder
    connection: sa.Connection,
    snapshot: Snapshot,
    now: float,
    started_at: float,
    device: str | None = None,
    among: Sequence[str] | None = None,
) -> list[DeviceReadings]:
    """The devices of the inventory, in its order, or only the one of that name, or those of these names."""
    statuses = agent_statuses(connection, snapshot, now, started_at)
    silent = {status.agent for status in statuses if status.silent}
    columns: dict[str, list[ProbeReadings]] = {}
    query = sa.select(latest, block.c.every_s, block.c.series, block.c.facts).join(block, same_block(latest))
    if device is not None:
        among = [device]
    if among is not None:
        query = query.where(latest.c.device.in_(among))
    for row in connection.execute(query):
        known = snapshot.devices.get(row.device)
        if known and known.probe == row.probe:  # not the readings of an earlier probe of the device
            columns.setdefault(row.device, []).append(_probe_readings(row, now, row.agent in silent))
    wanted = snapshot.devices.values() if among is None else filter(None, map(snapshot.devices.get, among))
    return [DeviceReadings(one, tuple(columns.get(one.device, ())), one.agent in silent) for one in wanted]


def _probe_readings(row: "sa.Row[Any]", now: float, silent: bool) -> ProbeReadings:
    age = max(0.0, now - row.at)
    stale = silent or freshness.stale(age, row.every_s)
    values = decode_values(json.loads(row.column))
    facts = tuple((name, text) for name, text in json.loads(row.facts))
    return ProbeReadings(
        row.at, age, row.every_s, stale, row.probe, block_series(row.device, row.series), values, facts
    )
