"""The block of a frame: which series its values belong to."""

import functools
import json

import sqlalchemy as sa

from watchkeeper.collector.store.schema import block
from watchkeeper.model.reading import Series


def same_block(table: sa.Table) -> "sa.ColumnElement[bool]":
    """The join of a table of frames with their blocks."""
    return sa.and_(table.c.agent == block.c.agent, table.c.epoch == block.c.epoch, table.c.block == block.c.block)


@functools.lru_cache(maxsize=4096)
def declared(device: str, series: str) -> tuple[Series, ...]:
    """The series of a block, of the JSON that the table `block` keeps."""
    return tuple(Series(device, *words) for words in json.loads(series))
