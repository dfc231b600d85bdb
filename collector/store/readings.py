"""Reads single series: their newest values, and their past. Times are UTC seconds."""

import functools
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import sqlalchemy as sa
from pydantic_core import from_json

from watchkeeper.collector.policy.course import Sample
from watchkeeper.collector.store.schema import block, history, latest
from watchkeeper.model.wire import decode_values

SeriesKey = tuple[str, str, str]
"""(device, quantity, instance)."""

MOST_FRAMES = 240
"""Of a device. Of a longer past, every second, third ... frame is read."""


BlockKey = tuple[str, str, int]
"""(agent, epoch, block)."""


@dataclass(frozen=True, slots=True)
class NewestFrame:
    """The newest frame of a device in which the series is, with the block that it belongs to and the block's series as in
    the table."""

    sample: Sample
    every_s: float
    block: BlockKey
    series: str

    @property
    def agent(self) -> str:
        """The agent that read it."""
        return self.block[0]


@dataclass(frozen=True, slots=True)
class Past:
    """Past numbers by (quantity, instance), oldest first. One frame in `one_in` was read."""

    samples: Mapping[tuple[str, str], list[Sample]]
    one_in: int = 1


def newest_readings(
    connection: sa.Connection, probes: Mapping[str, str], wanted: Collection[SeriesKey]
) -> dict[SeriesKey, NewestFrame]:
    """The newest reading of each of these series, for devices that are read by these probes. One query for all."""
    keys: dict[str, list[SeriesKey]] = {}
    for key in wanted:
        keys.setdefault(key[0], []).append(key)
    query = sa.select(latest, block.c.every_s, block.c.series).join(block, _same_block(latest))
    found: dict[SeriesKey, NewestFrame] = {}
    for row in connection.execute(query.where(latest.c.device.in_(sorted(keys)))):
        places = _places(row.series)
        mine = [key for key in keys[row.device] if key[1:] in places]
        if not mine or probes.get(row.device) != row.probe:  # the readings of an earlier probe of the device
            continue
        values = decode_values(json.loads(row.column))
        for key in mine:
            sample = Sample(row.at, values[places[key[1:]]])
            found[key] = NewestFrame(sample, row.every_s, (row.agent, row.epoch, row.block), row.series)
    return found


def past_numbers(
    connection: sa.Connection,
    device: str,
    wanted: Collection[tuple[str, str]],
    since: float,
    blocks: Mapping[BlockKey, str] = MappingProxyType({}),
) -> Past:
    """The numbers of these series of a device since then, of at most about MOST_FRAMES frames. One query, and one for each
    block of which `blocks` does not have the series."""
    frames = connection.execute(_FRAMES, {"device": device, "since": since}).all()
    samples: dict[tuple[str, str], list[Sample]] = {key: [] for key in wanted}
    where: dict[BlockKey, list[tuple[list[Sample], int]]] = {}
    for row in frames:
        key = (row.agent, row.epoch, row.block)
        if key not in where:
            places = _places(blocks[key] if key in blocks else _series_of(connection, key))
            where[key] = [(found, places[one]) for one, found in samples.items() if one in places]
        values = from_json(row.column)["values"]
        for found, place in where[key]:
            if type(values[place]) in (int, float):
                found.append(Sample(row.at, float(values[place])))
    return Past(samples, -(-frames[-1].total // MOST_FRAMES) if frames else 1)


def _series_of(connection: sa.Connection, key: BlockKey) -> str:
    return str(connection.execute(_SERIES, dict(zip(("agent", "epoch", "block"), key, strict=True))).scalar() or "[]")


@functools.lru_cache(maxsize=1024)
def _places(series: str) -> dict[tuple[str, str], int]:
    """The place of each (quantity, instance) in the columns of a block; the first, where one is there twice."""
    places: dict[tuple[str, str], int] = {}
    for place, (quantity, instance, *_) in enumerate(json.loads(series)):
        places.setdefault((quantity, instance), place)
    return places


def _same_block(table: sa.Table) -> "sa.ColumnElement[bool]":
    return sa.and_(table.c.agent == block.c.agent, table.c.epoch == block.c.epoch, table.c.block == block.c.block)


def _frames() -> "sa.Select[tuple[object, ...]]":
    """The frames of a device since a time, thinned out: first by what the index knows, so that the rest is never read."""
    numbered = (
        sa.select(
            history.c.id,
            sa.func.row_number().over(order_by=history.c.at.desc()).label("place"),
            sa.func.count().over().label("total"),
        )
        .where(history.c.device == sa.bindparam("device"), history.c.at >= sa.bindparam("since", type_=sa.Double))
        .subquery()
    )
    step = (numbered.c.total + MOST_FRAMES - 1) // MOST_FRAMES
    columns = (history.c.at, history.c.agent, history.c.epoch, history.c.block, history.c.column, numbered.c.total)
    joined = sa.select(*columns).join(numbered, numbered.c.id == history.c.id)
    return joined.where((numbered.c.place - 1) % step == 0).order_by(history.c.at, history.c.id)


# Built once: building takes longer than executing.
_FRAMES = _frames()
_SERIES = sa.select(block.c.series).where(
    block.c.agent == sa.bindparam("agent"),
    block.c.epoch == sa.bindparam("epoch"),
    block.c.block == sa.bindparam("block"),
)
