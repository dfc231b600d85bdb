"""The block of a frame: the series that its values belong to."""

import functools
import json

import sqlalchemy as sa

from watchkeeper.collector.store.schema import block
from watchkeeper.model.reading import Series


def same_block(table: sa.Table) -> "sa.ColumnElement[bool]":
    """The condition that joins a table of frames with their blocks."""
    return sa.and_(table.c.agent == block.c.agent, table.c.epoch == block.c.epoch, table.c.block == block.c.block)


@functools.lru_cache(maxsize=4096)
def block_series(device: str, series: str) -> tuple[Series, ...]:
    """The series of a block. `series` is the JSON text in the table `block`."""
    return tuple(Series(device, *parts) for parts in json.loads(series))
