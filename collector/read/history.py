"""Past readings. Read only; times are UTC seconds."""

import json
from dataclasses import dataclass

import sqlalchemy as sa

from watchkeeper.collector.read.blocks import block_series, same_block
from watchkeeper.collector.store.schema import block, history
from watchkeeper.model.reading import Value
from watchkeeper.model.wire import decode_values


@dataclass(frozen=True, slots=True)
class Point:
    """One past value of a series."""

    at: float
    value: Value


def readings_since(
    connection: sa.Connection, device: str, since: float, most: int = 2000, quantity: str | None = None
) -> dict[tuple[str, str], list[Point]]:
    """The readings of a device since then, by (quantity, instance), oldest first; of at most the newest `most`
    frames."""
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
        for series, value in zip(block_series(device, row.series), values, strict=True):
            if quantity in (None, series.quantity):
                found.setdefault((series.quantity, series.instance), []).append(Point(row.at, value))
    return found
