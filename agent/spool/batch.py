"""What the pusher takes out of the spool at once."""

from dataclasses import dataclass

from watchkeeper.model.batch import Block, Lane


@dataclass(frozen=True, slots=True)
class Batch:
    """The oldest items of a lane, ready to send: `items` are JSON texts with their ages now, `blocks` must be declared
    with them, `last` is the highest seq that this spool has given out in the lane, `settled` the highest that the collector
    has answered in this epoch."""

    lane: Lane
    epoch: str
    items: tuple[str, ...]
    through: int
    last: int
    blocks: tuple[Block, ...] = ()
    more: bool = False
    settled: int = 0
