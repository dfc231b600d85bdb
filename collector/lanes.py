"""Which items of which lane are new: replays are dropped, gaps counted, blocks remembered. Used inside the journal's
transaction, by its one thread."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from json import dumps, loads

import sqlalchemy as sa

from collector.apply import Blocks
from collector.store.engine import Store
from collector.store.schema import agent, block, lane
from model.batch import Block, Frame, Push, Tombstone
from model.errors import WatchkeeperError
from model.reading import Series

Known = tuple[str, str, str]


class UnknownBlocks(WatchkeeperError):
    """Frames under blocks that were never declared here: declare them and send again."""

    def __init__(self, blocks: Iterable[int]) -> None:
        self.blocks = tuple(sorted(set(blocks)))
        super().__init__(f"blocks never declared in this epoch: {', '.join(map(str, self.blocks))}")


class BadPush(WatchkeeperError):
    """A push that contradicts what its agent declared."""


@dataclass(slots=True)
class _Lane:
    seq: int = 0
    items: int = 0
    gaps: int = 0
    dropped: int = 0
    heard_at: float = 0.0


class Lanes:
    """The lanes of the pushes in hand, and every block met so far."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.blocks: Blocks = {}
        self._epochs: set[tuple[str, str]] = set()  # whose blocks are all in `blocks`
        self._lanes: dict[Known, _Lane] = {}
        self._declared: list[Push] = []
        self._pushes: list[Push] = []

    def open(self, connection: sa.Connection, pushes: Sequence[Push]) -> None:
        """Read, and lock, the lanes of these pushes; nobody else moves them before our transaction ends."""
        self._pushes = list(pushes)
        self._declared = []
        agents = sorted({push.agent for push in pushes})
        query = sa.select(lane).where(lane.c.agent.in_(agents)).order_by(lane.c.agent, lane.c.epoch, lane.c.lane)
        self._lanes = {
            (row.agent, row.epoch, row.lane): _Lane(row.seq, row.items, row.gaps, row.dropped, row.heard_at)
            for row in connection.execute(query.with_for_update())
        }
        self.know(connection, {(push.agent, push.epoch) for push in pushes})

    def know(self, connection: sa.Connection, epochs: set[tuple[str, str]]) -> None:
        """Read the blocks of these (agent, epoch) that are not known yet."""
        for who, epoch in epochs - self._epochs:
            query = sa.select(block).where(block.c.agent == who, block.c.epoch == epoch)
            for row in connection.execute(query):
                series = tuple(Series(row.device, *words) for words in loads(row.series))
                found = Block(row.block, row.device, row.probe, row.every_s, series)
                self.blocks[who, epoch, row.block] = found
            self._epochs.add((who, epoch))

    def take(self, push: Push, heard_at: float) -> tuple[int, int]:
        """Count a push in. Returns (items up to this seq are replays, the lane now stands at). Raises UnknownBlocks or
        BadPush, and then nothing was counted."""
        declared = {one.block: one for one in push.blocks}
        for number, one in declared.items():
            held = self.blocks.get((push.agent, push.epoch, number))
            if held is not None and held.series != one.series:
                raise BadPush(f"block {number} was declared with other series in this epoch; use a new number")
        self._check_frames(push, declared)
        known = self._lanes.setdefault((push.agent, push.epoch, push.lane.value), _Lane())
        after = known.seq
        for seq, body in push.items:
            if seq <= known.seq:
                continue
            first = body.first if isinstance(body, Tombstone) else seq
            known.gaps += max(0, first - known.seq - 1)
            known.dropped += body.frames if isinstance(body, Tombstone) else 0
            known.items += 0 if isinstance(body, Tombstone) else 1
            known.seq = seq
        known.heard_at = heard_at
        self.blocks.update({(push.agent, push.epoch, number): one for number, one in declared.items()})
        if declared:
            self._declared.append(push)
        return after, known.seq

    def _check_frames(self, push: Push, declared: dict[int, Block]) -> None:
        unknown = []
        for _, body in push.items:
            if not isinstance(body, Frame):
                continue
            under = declared.get(body.block) or self.blocks.get((push.agent, push.epoch, body.block))
            if under is None:
                unknown.append(body.block)
            elif len(under.series) != len(body.values):
                raise BadPush(
                    f"a frame of {len(body.values)} values under block {body.block}, which has {len(under.series)} series"
                )
        if unknown:
            raise UnknownBlocks(unknown)

    def close(self, connection: sa.Connection) -> None:
        """Write what `take` counted."""
        touched = {(push.agent, push.epoch, push.lane.value) for push in self._pushes}
        moved = [
            {
                "agent": who, "epoch": epoch, "lane": name, "seq": one.seq, "items": one.items, "gaps": one.gaps,
                "dropped": one.dropped, "heard_at": one.heard_at,
            }
            for (who, epoch, name), one in self._lanes.items()
            if (who, epoch, name) in touched
        ]  # fmt: skip
        if moved:
            connection.execute(self._store.upsert(lane), moved)
        self._write_agents(connection)
        blocks = {(push.agent, push.epoch, one.block): one for push in self._declared for one in push.blocks}
        rows = [
            {
                "agent": who, "epoch": epoch, "block": number, "device": one.device, "probe": one.probe,
                "every_s": one.every_s,
                "series": dumps([[s.quantity, s.instance, s.label, s.source] for s in one.series], ensure_ascii=False),
            }
            for (who, epoch, number), one in blocks.items()
        ]  # fmt: skip
        if rows:
            connection.execute(self._store.upsert(block), rows)

    def _write_agents(self, connection: sa.Connection) -> None:
        rows = {
            push.agent: {
                "agent": push.agent, "epoch": push.epoch, "heard_at": one.heard_at,
                "skew_s": push.sent_at - one.heard_at, "bundle": push.bundle, "behind_until": 0.0,
            }
            for push in self._pushes
            if (one := self._lanes.get((push.agent, push.epoch, push.lane.value))) is not None
        }  # fmt: skip
        if rows:
            connection.execute(self._store.upsert(agent, keep=("behind_until",)), list(rows.values()))

    def forget(self) -> None:
        """The transaction failed: what it declared is not there."""
        self.blocks.clear()
        self._epochs.clear()
        self._lanes.clear()
