"""The collector's one source of time. `wall()` is the boot clock plus an offset, so it never jumps with the machine's wall clock, and
it asks nobody. Once a second a thread of its own looks at the other clocks (`policy/clocks.py` decides which is right)."""

import logging
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

from watchkeeper.collector.policy import clocks
from watchkeeper.collector.policy.clocks import Doubt, OtherClock, Others, OwnTime
from watchkeeper.collector.store.clock import kept as rows
from watchkeeper.collector.store.clock.kept import KeptTime
from watchkeeper.collector.store.clock.pending import hasten_lost, move_pending
from watchkeeper.collector.store.engine import Store
from watchkeeper.model.clock import Clock
from watchkeeper.model.errors import StoreError
from watchkeeper.model.worker import Worker

log = logging.getLogger(__name__)

LISTEN_S = 1.0
LATE_S = 20.0
"""Without a look for longer nothing is decided: this process stood still, or its boot clock cannot be what it seems."""

QUICK_S = 5.0
"""An answer of the database that took longer does not tell what its clock shows."""

WRONG_S = 60.0
"""By how much the machine's wall clock may differ before people are told."""

UNSURE_S = 86_400.0
"""After a start at which no other clock confirmed the time, or after the time was set, nothing is deleted for so long."""

BEAT_LATE_S = 12.0
_KEEP_AFTER_S, _KEEP_BY_S = 60.0, 0.5
_LONGEST_LADDER_S = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class ClockState:
    """What people are told. `doubt` is why nothing is decided now (None: it is). `wall_s` and `database_s` are by how much the
    machine's wall clock and the database's clock are ahead of the collectors' time. `jumps` counts the jumps noticed since the
    start."""

    doubt: Doubt | None = None
    wall_s: float = 0.0
    database_s: float = 0.0
    jumps: int = 0

    @property
    def wrong(self) -> bool:
        """Whether one of the two is wrong by so much that people are told."""
        return max(abs(self.wall_s), abs(self.database_s)) > WRONG_S


SURE = ClockState()


class GuardedClock:
    """The collectors' time. `machine` has the clocks of this machine, `name` is this collector's."""

    def __init__(self, store: Store, machine: Clock, boot_id: str, name: str) -> None:
        self.machine = machine
        self._store, self._boot_id, self._name = store, boot_id if store.embedded else "", name
        self._agents: dict[str, OtherClock] = {}
        self._heard: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()
        self._jumps, self._away = 0, False
        self._looked_at = machine.boot()
        self._wall = OtherClock(machine.wall() - self._looked_at, self._looked_at)
        self._skews: Mapping[str, float] = {}
        self._trusted = True
        self._guard, self._kept = self._begin()
        self._kept_at = self._looked_at
        self.worker = Worker("clock", self._next, self)

    # ---- a Clock ----

    def wall(self) -> float:
        """UTC seconds, by the collectors' time."""
        return self.machine.boot() + self._guard.offset_s

    def boot(self) -> float:
        """Seconds since this machine started."""
        return self.machine.boot()

    # ---- what others ask ----

    @property
    def state(self) -> ClockState:
        """What people are told now."""
        database_s = 0.0 if self._store.embedded else -self._kept.offset_s
        return ClockState(self._doubt(), self._wall.offset_s - self._guard.offset_s, database_s, self._jumps)

    @property
    def ready(self) -> bool:
        """Whether the time is known: after a start in another boot of the machine the first agents tell it. Until then nothing is
        written under it, nor while nobody looks at the clocks."""
        return self._guard.doubt is not Doubt.START and not self._late()

    @property
    def may_delete(self) -> bool:
        """Whether the time is so sure that what has expired by it may be deleted."""
        kept, sure, embedded = self._kept, self._guard.sure, self._store.embedded
        rested = (self.boot() if embedded else self.wall()) - kept.settled_at >= UNSURE_S
        return self._doubt() is None and ((sure and not kept.moved_s) or (rested and (sure or embedded)))

    def hear(self, agent: str, sent_at: float) -> None:
        """An agent has told its wall clock. Called for each push, from any thread."""
        boot = self.machine.boot()
        self._heard[agent] = (sent_at - boot, boot)

    def _doubt(self) -> Doubt | None:
        return self._guard.doubt or (Doubt.JUMP if self._late() else None)

    def _late(self) -> bool:
        return abs(self.machine.boot() - self._looked_at) > LATE_S

    # ---- the thread ----

    def start(self) -> None:
        """Look once a second from now on."""
        self.worker.start()

    def stop(self) -> None:
        """Look no more."""
        self.worker.stop(LISTEN_S)

    def _next(self) -> float:
        try:
            self.turn()
            self._away = False
        except StoreError as error:
            if not self._away:
                log.warning("clock: the store does not answer, so the time cannot be compared: %s", error)
            self._away = True
        return LISTEN_S

    def turn(self) -> None:
        """Look at the other clocks once. Raises StoreError."""
        with self._lock:
            self._listen()
            if self._store.embedded:
                self._look_embedded()
            else:
                self._look_at_database()

    def _listen(self) -> None:
        """Take what was heard since the last look."""
        boot = self.machine.boot()
        before = self._wall
        self._wall = clocks.observe(before, self.machine.wall() - boot, boot)
        if self._wall.moved_at == boot and before.moved_at != boot:
            self._noticed(f"the wall clock of this machine jumped by {self._wall.moved_s:+.1f} s")
        for agent in tuple(self._heard):
            offset_s, at = self._heard.pop(agent)
            self._agents[agent] = clocks.observe(self._agents.get(agent), offset_s, at)

    def _noticed(self, what: str) -> None:
        self._jumps += 1
        log.warning("clock: %s; the collector goes by its own time meanwhile", what)

    # ---- embedded: the boot clock and a stored offset ----

    def _look_embedded(self) -> None:
        boot = self.machine.boot()
        wall = self._wall.offset_s if self._trusted and self._wall.moved_at == -math.inf else None
        guard = clocks.look(self._guard, self._wall, Others(self._agents, self._skews, wall=wall), boot)
        self._tell(guard, self._wall)
        kept = replace(self._kept, offset_s=guard.offset_s, sure=guard.sure)
        if guard.step_s:
            self._step(guard, kept, boot)
            return
        self._guard, self._looked_at = guard, boot
        drift_s = abs(guard.offset_s - self._kept.offset_s)
        late = drift_s > 0.0 and boot - self._kept_at > _KEEP_AFTER_S
        if drift_s > _KEEP_BY_S or late or guard.sure is not self._kept.sure:
            with self._store.write() as connection:
                rows.keep(self._store, connection, kept)
            self._kept, self._kept_at = kept, boot

    def _step(self, guard: OwnTime, kept: KeptTime, settled_at: float) -> None:
        """Set the time, and move every pending time along, in one transaction."""
        before, since = self._guard, kept.since
        moved_s = kept.moved_s if before.doubt is Doubt.START else kept.moved_s + guard.step_s
        kept = replace(
            kept, steps=kept.steps + 1, moved_s=moved_s, since=min(since, since + guard.step_s), settled_at=settled_at
        )
        try:
            with self._store.write() as connection:
                if not rows.replace_step(connection, kept):
                    return  # another collector has set it
                move_pending(connection, guard.step_s, since)
                if guard.step_s < 0:
                    hasten_lost(connection, self.machine.boot() + guard.offset_s, _LONGEST_LADDER_S)
                self._guard = guard
        except StoreError:
            self._guard = before
            raise
        self._kept, self._kept_at, self._looked_at = kept, self.machine.boot(), self.machine.boot()
        log.warning(
            "clock: the collector's time was set by %+.1f s; everything that is awaited was moved along", guard.step_s
        )

    # ---- PostgreSQL: the database's clock ----

    def _look_at_database(self) -> None:
        sample = self._sample()
        if sample is None:
            return
        boot, reference, kept, beats = sample
        if (
            kept.steps != self._kept.steps
        ):  # another collector has set the time, or what the database's clock is wrong by
            moved_s = kept.moved_s - self._kept.moved_s
            self._guard = clocks.told(self._guard, moved_s, kept.offset_s - self._kept.offset_s)
            self._kept = kept
        ours, theirs = clocks.votes_of_peers(beats, self.wall(), boot + reference.offset_s, BEAT_LATE_S)
        guard = clocks.look(self._guard, reference, Others(self._agents, self._skews, ours, theirs), boot, follows=True)
        self._tell(guard, reference)
        if guard.step_s and not theirs and self._guard.doubt is not Doubt.START:
            self._step(guard, kept, boot + guard.offset_s)
        elif guard.doubt is None and abs(guard.gap_s) > clocks.TOLERANCE_S:
            self._correct(guard, kept)
        else:
            self._guard = guard
        self._looked_at = boot

    def _sample(self) -> tuple[float, OtherClock, KeptTime, list[float]] | None:
        """The boot clock, what the database's clock shows as the collectors' time, the row, and the signs of life of others."""
        with self._store.read() as connection:
            kept = rows.read(connection) or self._kept
            beats = rows.beats(connection, self._name)
            asked = self.machine.boot()
            shown = rows.database_now(connection)
            boot = self.machine.boot()
        if boot - asked > QUICK_S:
            return None
        return boot, OtherClock(shown + kept.offset_s - (asked + boot) / 2, boot), kept, beats

    def _correct(self, guard: OwnTime, kept: KeptTime) -> None:
        """The database's clock is wrong: from now on all collectors subtract that."""
        corrected = replace(kept, offset_s=kept.offset_s - guard.gap_s, steps=kept.steps + 1)
        with self._store.write() as connection:
            mine = rows.replace_step(connection, corrected)
        if mine:
            log.warning(
                "clock: the database's clock is wrong by %+.1f s; all collectors take that into account", guard.gap_s
            )
            self._kept, self._guard = corrected, replace(guard, gap_s=0.0)

    # ---- the start ----

    def _begin(self) -> tuple[OwnTime, KeptTime]:
        with self._store.write() as connection:
            kept, seen_at = rows.read(connection), rows.seen_at(connection)
            if self._store.embedded and kept is not None and kept.boot_id == self._boot_id:
                return self._continued(kept), kept
            boot, steps = self.machine.boot(), 0 if kept is None else kept.steps
            self._skews = rows.skews(connection)
            if self._store.embedded:
                shown = boot + self._wall.offset_s
                guard = clocks.begin(shown, boot, seen_at, self._skews)
                kept = KeptTime(self._boot_id, guard.offset_s, seen_at or 0.0, sure=False, settled_at=boot, steps=steps)
                rows.keep(self._store, connection, kept)
            else:
                kept = rows.first(
                    self._store, connection, KeptTime("", 0.0, 0.0, sure=True, settled_at=0.0, steps=steps)
                )
                shown = rows.database_now(connection) + kept.offset_s
                guard = clocks.begin(shown, self.machine.boot(), seen_at, {})
                guard = guard if guard.doubt else replace(guard, sure=True)
            self._trusted = clocks.plausible(shown, seen_at)
            if not self._trusted:
                self._wall = replace(self._wall, moved_at=boot)
            hasten_lost(connection, boot + guard.offset_s, _LONGEST_LADDER_S)
        if guard.doubt:
            log.warning("clock: after this start the clock that gives the time may be wrong; the first agents tell")
        return guard, kept

    def _continued(self, kept: KeptTime) -> OwnTime:
        """After a restart in the same boot of the machine. A wall clock that has jumped meanwhile is in doubt as usual."""
        guard = OwnTime(kept.offset_s, sure=kept.sure)
        gap_s = self._wall.offset_s - kept.offset_s
        if abs(gap_s) > clocks.TOLERANCE_S:
            self._wall = replace(self._wall, moved_at=self._wall.at, moved_s=gap_s)
            self._noticed(f"the wall clock of this machine jumped by {gap_s:+.1f} s while no collector ran")
        return guard

    def _tell(self, guard: OwnTime, reference: OtherClock) -> None:
        before = self._guard
        if guard.doubt and not before.doubt:
            log.warning(
                "clock: the time is in doubt: nothing is decided until other clocks have voted, or for %g s",
                clocks.DOUBT_S,
            )
        elif before.doubt and not guard.doubt:
            log.warning("clock: the time is no longer in doubt; the reference clock differs by %+.1f s", guard.gap_s)
        if not self._store.embedded and guard.jumps > before.jumps:
            gap_s = reference.offset_s - before.offset_s
            self._noticed(f"the database's clock differs by {gap_s:+.1f} s at once")


def state_of(clock: Clock) -> ClockState:
    """What people are told of a clock: one that is not guarded is never in doubt."""
    return clock.state if isinstance(clock, GuardedClock) else SURE


def machine_of(clock: Clock) -> Clock:
    """The machine's own clocks, for what other programs of this machine write."""
    return clock.machine if isinstance(clock, GuardedClock) else clock
