"""Readings of the past. Read only; times are UTC seconds."""

import json
from dataclasses import dataclass

import sqlalchemy as sa

from watchkeeper.collector.read.blocks import declared, same_block
from watchkeeper.collector.store.schema import block, history
from watchkeeper.model.reading import Value
from watchkeeper.model.wire import decode_values


@dataclass(frozen=True, slots=True)
class Point:
    """One value of one series in the past."""

    at: float
    value: Value


def readings_since(
    connection: sa.Connection, device: str, since: float, most: int = 2000, quantity: str | None = None
) -> dict[tuple[str, str], list[Point]]:
    """What was read of a device since then, by (quantity, instance), oldest first: the newest `most` frames of it."""
    query = (
        sa.select(history.c.at, history.c.column, block.c.series)
        .join(block, same_block(history))
        .where(history.c.device == device, history.c.at >= since)
        .order_by(history.c.at.desc(), history.c.id.desc())
        .limit(most)
    )
    found: dict[tuple[str, str], list[Point]] = {}
    for row in reversed(connection.execute(query).all()):
        values = decode_values(json.loads(row.column))
        for series, value in zip(declared(device, row.series), values, strict=True):
            if quantity in (None, series.quantity):
                found.setdefault((series.quantity, series.instance), []).append(Point(row.at, value))
    return found
