"""Sequence tracking: which items of a lane are new. Replays are dropped, gaps counted, blocks kept. Used by the journal's
thread, inside its transaction."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from json import dumps, loads
from typing import Any

import sqlalchemy as sa

from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import agent, block, lane
from watchkeeper.model.batch import Block, Blocks, Frame, Push, Tombstone
from watchkeeper.model.errors import WatchkeeperError
from watchkeeper.model.reading import Series

Known = tuple[str, str, str]


class UnknownBlocks(WatchkeeperError):
    """A push has frames of blocks that were not declared. The agent declares them and sends again."""

    def __init__(self, blocks: Iterable[int]) -> None:
        self.blocks = tuple(sorted(set(blocks)))
        super().__init__(f"blocks never declared in this epoch: {', '.join(map(str, self.blocks))}")


class BadPush(WatchkeeperError):
    """A push contradicts what its agent declared, or cannot be journalled."""


class StaleEpoch(WatchkeeperError):
    """Another process has used this epoch, or this one was set back: it must begin a new one, so that nobody's items pass for
    replays of the other's."""


@dataclass(slots=True)
class _Lane:
    seq: int = 0
    items: int = 0
    gaps: int = 0
    dropped: int = 0
    heard_at: float = 0.0
    session: str = ""
    turn: int = 0


class Sequences:
    """The lanes of the pushes being journalled, and every block seen so far."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.blocks: Blocks = {}
        self._epochs: set[tuple[str, str]] = set()  # epochs whose blocks are all in `blocks`
        self._sequences: dict[Known, _Lane] = {}
        self._taken: list[Push] = []

    def open(self, connection: sa.Connection, pushes: Sequence[Push]) -> None:
        """Read and lock the lanes of these pushes until the transaction ends."""
        self._taken = []
        wanted = {(push.agent, push.epoch, push.lane.value) for push in pushes}
        if not self._store.embedded:
            self._sequences = {}  # another collector may have changed them
        if unread := wanted - self._sequences.keys():
            self._sequences |= self._locked(connection, unread)
        if fresh := wanted - self._sequences.keys():  # a row that is not there cannot be locked
            self._store.lock_names(connection, {f"agent {who}" for who, _, _ in fresh})
            self._sequences |= self._locked(connection, fresh)
        self.know(connection, {(push.agent, push.epoch) for push in pushes})

    def _locked(self, connection: sa.Connection, wanted: set[Known]) -> dict[Known, _Lane]:
        agents = sorted({who for who, _, _ in wanted})
        query = sa.select(lane).where(lane.c.agent.in_(agents)).order_by(lane.c.agent, lane.c.epoch, lane.c.lane)
        return {
            (row.agent, row.epoch, row.lane): _Lane(
                row.seq, row.items, row.gaps, row.dropped, row.heard_at, row.session, row.turn
            )
            for row in connection.execute(query.with_for_update())
        }

    def learn(self, connection: sa.Connection, push: Push) -> None:
        """Read the blocks of a push that another collector, or an earlier run, journalled."""
        epoch = (push.agent, push.epoch)
        if any(isinstance(body, Frame) and (*epoch, body.block) not in self.blocks for _, body in push.items):
            self._epochs.discard(epoch)
            self.know(connection, {epoch})

    def know(self, connection: sa.Connection, epochs: set[tuple[str, str]]) -> None:
        """Read the blocks of these (agent, epoch), where they have not been read."""
        for who, epoch in epochs - self._epochs:
            query = sa.select(block).where(block.c.agent == who, block.c.epoch == epoch)
            for row in connection.execute(query):
                series = tuple(Series(row.device, *words) for words in loads(row.series))
                facts = tuple((name, text) for name, text in loads(row.facts))
                found = Block(row.block, row.device, row.probe, row.every_s, series, facts)
                self.blocks[who, epoch, row.block] = found
            self._epochs.add((who, epoch))

    def take(self, push: Push, heard_at: float) -> tuple[int, int]:
        """Count the items of a push. Returns (the seq up to which items are replays, the new seq of the lane). Raises
        UnknownBlocks, BadPush or StaleEpoch; then nothing was counted."""
        declared = {one.block: one for one in push.blocks}
        for number, one in declared.items():
            held = self.blocks.get((push.agent, push.epoch, number))
            if held is not None and held.series != one.series:
                raise BadPush(f"block {number} was declared with other series in this epoch; use a new number")
        self._check_frames(push, declared)
        known = self._sequences.setdefault((push.agent, push.epoch, push.lane.value), _Lane())
        _require_own(push, known)
        after = known.seq
        for seq, body in push.items:
            if seq <= known.seq:
                continue
            first = body.first if isinstance(body, Tombstone) else seq
            if known.seq:  # an epoch may begin at any seq
                known.gaps += max(0, first - known.seq - 1)
            known.dropped += body.frames if isinstance(body, Tombstone) else 0
            known.items += 0 if isinstance(body, Tombstone) else 1
            known.seq = seq
        known.heard_at, known.session, known.turn = heard_at, push.origin.session, push.origin.turn
        self.blocks.update({(push.agent, push.epoch, number): one for number, one in declared.items()})
        self._taken.append(push)
        return after, known.seq

    def _check_frames(self, push: Push, declared: dict[int, Block]) -> None:
        unknown = []
        for _, body in push.items:
            if not isinstance(body, Frame):
                continue
            under = declared.get(body.block) or self.blocks.get((push.agent, push.epoch, body.block))
            if under is None:
                unknown.append(body.block)
            elif len(under.series) != len(body.columns["values"]):
                raise BadPush(
                    f"a frame of {len(body.columns['values'])} values under block {body.block}, which has {len(under.series)} series"
                )
        if unknown:
            raise UnknownBlocks(unknown)

    def close(self, connection: sa.Connection) -> None:
        """Write what `take` counted."""
        touched = sorted({(push.agent, push.epoch, push.lane.value) for push in self._taken})
        if touched:
            self._store.write_many(connection, lane, [self._row(known) for known in touched], keep=())
            self._write_agents(connection)
        blocks = {(push.agent, push.epoch, one.block): one for push in self._taken for one in push.blocks}
        rows = [
            {
                "agent": who, "epoch": epoch, "block": number, "device": one.device, "probe": one.probe,
                "every_s": one.every_s,
                "series": dumps([[s.quantity, s.instance, s.label, s.source] for s in one.series], ensure_ascii=False),
                "facts": dumps(one.facts, ensure_ascii=False),
            }
            for (who, epoch, number), one in blocks.items()
        ]  # fmt: skip
        self._store.write_many(connection, block, rows, keep=())

    def _row(self, known: Known) -> dict[str, Any]:
        (who, epoch, name), one = known, self._sequences[known]
        return {
            "agent": who, "epoch": epoch, "lane": name, "seq": one.seq, "items": one.items, "gaps": one.gaps,
            "dropped": one.dropped, "heard_at": one.heard_at, "session": one.session, "turn": one.turn,
        }  # fmt: skip

    def _write_agents(self, connection: sa.Connection) -> None:
        rows = {}
        for push in self._taken:
            heard_at = self._sequences[push.agent, push.epoch, push.lane.value].heard_at
            rows[push.agent] = {
                "agent": push.agent, "epoch": push.epoch, "heard_at": heard_at, "skew_s": push.sent_at - heard_at,
                "bundle": push.bundle, "backlog_since": 0.0, "backlog_until": 0.0,
            }  # fmt: skip
        # Sorted by name, as every collector locks them, so that two of them cannot deadlock.
        ordered = [rows[name] for name in sorted(rows)]
        self._store.write_many(connection, agent, ordered, keep=("backlog_since", "backlog_until"))

    def forget(self) -> None:
        """Forget everything after a transaction that failed: what it declared is not in the store."""
        self.blocks.clear()
        self._epochs.clear()
        self._sequences.clear()


def _require_own(push: Push, known: _Lane) -> None:
    """Raises StaleEpoch where this process cannot know what was sent in this lane."""
    origin = push.origin
    if not (origin.session and known.session):
        return
    if origin.session == known.session:
        if origin.turn < known.turn:
            raise StaleEpoch(
                f"the process `{origin.session}` was set back: it sent push {known.turn} before, and this is {origin.turn}"
            )
    elif known.session not in origin.previous:
        raise StaleEpoch(f"another process, `{known.session}`, has sent items of the epoch `{push.epoch}`")
