"""Sequence tracking: which items of a lane are new. Replays are dropped, gaps counted, blocks kept. Used by the journal's
thread, inside its transaction."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from json import dumps, loads
from typing import Any

import sqlalchemy as sa

from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import agent, block, lane
from watchkeeper.model.batch import Block, Blocks, Frame, Push, Tombstone
from watchkeeper.model.errors import WatchkeeperError
from watchkeeper.model.reading import Series

Known = tuple[str, str, str]

BLOCKS_OF_DEVICE, SERIES_OF_DEVICE, SERIES_OF_AGENT = 500, 50_000, 500_000
"""How much an agent may have declared in an epoch, and that is still in use. Every series is kept in memory."""


READ_AGAIN_S, _FORGET_EVERY_S = 600.0, 60.0
"""Blocks in memory are so old at most. After that they are read again, without those that were found unused meanwhile."""


class UnknownBlocks(WatchkeeperError):
    """A push has frames of blocks that were not declared. The agent declares them and sends again."""

    def __init__(self, blocks: Iterable[int]) -> None:
        self.blocks = tuple(sorted(set(blocks)))
        super().__init__(f"blocks never declared in this epoch: {', '.join(map(str, self.blocks))}")


class BadPush(WatchkeeperError):
    """A push contradicts what its agent declared, or cannot be journalled."""


class TooManyDeclared(WatchkeeperError):
    """A push declares more blocks or series than an agent, or a device, may have."""


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


@dataclass(slots=True)
class _Declarations:
    """What an epoch has declared: the blocks and the series of each device."""

    blocks: "Counter[str]" = field(default_factory=Counter)
    series: "Counter[str]" = field(default_factory=Counter)
    total: int = 0
    numbers: set[int] = field(default_factory=set)

    def add(self, one: Block) -> None:
        self.numbers.add(one.block)
        self.blocks[one.device] += 1
        self.series[one.device] += len(one.series)
        self.total += len(one.series)

    def check(self, new: Iterable[Block]) -> None:
        """Raises TooManyDeclared if there would be too many with these."""
        after = _Declarations(Counter(self.blocks), Counter(self.series), self.total)
        for one in new:
            after.add(one)
            for count, most, what in (
                (after.blocks[one.device], BLOCKS_OF_DEVICE, f"blocks of device {one.device}"),
                (after.series[one.device], SERIES_OF_DEVICE, f"series of device {one.device}"),
                (after.total, SERIES_OF_AGENT, "series of one agent"),
            ):
                if count > most:
                    raise TooManyDeclared(f"more than {most} {what} in this epoch")


class Sequences:
    """The lanes of the pushes being journalled, and every block seen so far."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.blocks: Blocks = {}
        self._epochs: dict[tuple[str, str], float] = {}  # epochs whose blocks are all in `blocks`, and since when
        self._declared: dict[tuple[str, str], _Declarations] = {}
        self._sequences: dict[Known, _Lane] = {}
        self._taken: list[Push] = []
        self._unwritten: Blocks = {}  # new or changed since `open`
        self._idle: set[tuple[str, str, int]] = set()  # in memory only because a push in the journal needs them
        self._now = self._looked_at = float("-inf")

    def open(self, connection: sa.Connection, pushes: Sequence[Push]) -> None:
        """Read and lock the lanes of these pushes until the transaction ends."""
        self._taken, self._unwritten = [], {}
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
            self._epochs.pop(epoch, None)
            self.know(connection, {epoch}, unused=True)

    def newest(self, connection: sa.Connection, push: Push) -> bool:
        """Whether the agent has sent nothing on this lane after this push. Locks its lane."""
        if not self._store.embedded:
            connection.execute(sa.select(agent.c.agent).where(agent.c.agent == push.agent).with_for_update())
        epoch = connection.execute(sa.select(agent.c.epoch).where(agent.c.agent == push.agent)).scalar()
        same = (lane.c.agent == push.agent, lane.c.epoch == push.epoch, lane.c.lane == push.lane.value)
        seq = connection.execute(sa.select(lane.c.seq).where(*same)).scalar()
        return epoch == push.epoch and seq is not None and bool(push.items) and seq <= push.items[-1].seq

    def refresh(self, now: float) -> None:
        """Forget the blocks that were read too long ago. `now` is on the boot clock."""
        self._now = now
        if now - self._looked_at < _FORGET_EVERY_S:
            return
        self._looked_at = now
        for known in [known for known, read_at in self._epochs.items() if now - read_at > READ_AGAIN_S]:
            del self._epochs[known]
            if declared := self._declared.pop(known, None):
                for number in declared.numbers:
                    del self.blocks[*known, number]
                    self._idle.discard((*known, number))

    def know(self, connection: sa.Connection, epochs: set[tuple[str, str]], *, unused: bool = False) -> None:
        """Read the blocks of these (agent, epoch), where they have not been read. With `unused`, also those that must be
        declared again before another frame comes under them."""
        for who, epoch in epochs - self._epochs.keys():
            query = sa.select(block).where(block.c.agent == who, block.c.epoch == epoch)
            if not unused:
                query = query.where(block.c.idle_at.is_(None))
            for row in connection.execute(query):
                series = tuple(Series(row.device, *words) for words in loads(row.series))
                facts = tuple((name, text) for name, text in loads(row.facts))
                found = Block(row.block, row.device, row.probe, row.every_s, series, facts)
                self._keep(who, epoch, found)
                if row.idle_at is not None:
                    self._idle.add((who, epoch, row.block))
            self._epochs[who, epoch] = self._now

    def take(self, push: Push, heard_at: float) -> tuple[int, int]:
        """Count the items of a push. Returns (the seq up to which items are replays, the new seq of the lane). Raises
        UnknownBlocks, TooManyDeclared, BadPush or StaleEpoch; then nothing was counted."""
        declared = {one.block: one for one in push.blocks}
        self._check_blocks(push, declared)
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
        for number, one in declared.items():
            key = (push.agent, push.epoch, number)
            if self.blocks.get(key) != one or key in self._idle:
                self._keep(push.agent, push.epoch, one)
                self._unwritten[key] = one
                self._idle.discard(key)
        self._taken.append(push)
        return after, known.seq

    def _check_blocks(self, push: Push, declared: dict[int, Block]) -> None:
        new = []
        for number, one in declared.items():
            held = self.blocks.get((push.agent, push.epoch, number))
            if held is None:
                new.append(one)
            elif held.series != one.series:
                raise BadPush(f"block {number} was declared with other series in this epoch; use a new number")
        if new:
            self._declared.get((push.agent, push.epoch), _Declarations()).check(new)

    def _keep(self, who: str, epoch: str, one: Block) -> None:
        if (who, epoch, one.block) not in self.blocks:
            self._declared.setdefault((who, epoch), _Declarations()).add(one)
        self.blocks[who, epoch, one.block] = one

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
        rows = [
            {
                "agent": who, "epoch": epoch, "block": number, "device": one.device, "probe": one.probe,
                "every_s": one.every_s,
                "series": dumps([[s.quantity, s.instance, s.label, s.source] for s in one.series], ensure_ascii=False),
                "facts": dumps(one.facts, ensure_ascii=False),
            }
            for (who, epoch, number), one in self._unwritten.items()
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
        self._declared.clear()
        self._idle.clear()
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
