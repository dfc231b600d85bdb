"""The rules whose inputs the collector itself sees: an agent that has fallen silent, and its own disk."""

import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import sqlalchemy as sa

from watchkeeper.collector.policy import freshness
from watchkeeper.collector.process.apply import apply_events
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.site.inventory import COLLECTOR
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store.schema import agent
from watchkeeper.model.device import Category
from watchkeeper.model.reading import Series, Value
from watchkeeper.model.verdict import Event, Key
from watchkeeper.rules.evaluate import RuleState, evaluate, rebase, to_verdict

AWAY_S = 10.0
"""Looks are half a second apart. After a longer pause we were away, or without our store, and blame nobody for that."""


class _Word(NamedTuple):
    """An agent's last word: its time as stored, when we first saw that (boot clock), and whether it came in our life."""

    heard_at: float
    seen_at: float
    fresh: bool


@dataclass(slots=True)
class Judge:
    """Judges what no agent can, by the boot clock: a wall clock that jumps makes nobody silent, and nobody heard. When we
    come back nothing is said of an agent before it speaks or has had its time to: an incident that stands simply stands."""

    runtime: Runtime
    reserve_bytes: int
    full: bool = False
    _states: dict[Key, RuleState] = field(default_factory=dict)
    _words: dict[str, _Word] = field(default_factory=dict)
    _listened_at: float = float("-inf")

    def look(self) -> None:
        """Take the collector's own readings, judge them, and keep what changed: both or, where the store refuses, none."""
        self.full = disk_is_full(self.runtime, self.reserve_bytes)
        notifier = self.runtime.notifier()
        boot, wall = self.runtime.clock.boot(), self.runtime.clock.wall()
        self._listen(notifier.snapshot, boot)
        states = {key: state for key, state in self._states.items() if _in_force(key, notifier.snapshot)}
        events: list[tuple[str, Event]] = []
        for series, value in self._readings(notifier.snapshot, boot):
            for rule in notifier.snapshot.rules.of(series, Category.WATCHKEEPER):
                key = (series.device, rule.rule, series.instance)
                before = states.get(key)
                after = states[key] = evaluate(rule, before, value, boot, lambda: uuid.uuid4().hex)
                if before is None or after.level is not before.level:
                    events.append((COLLECTOR, to_verdict(rule, rebase(after, wall - boot), series)))
        if events:
            with self.runtime.store.write() as connection:
                apply_events(connection, notifier, events, wall)
        self._states = states

    def _listen(self, snapshot: Snapshot, boot: float) -> None:
        with self.runtime.store.read() as connection:
            heard = {row.agent: row.heard_at for row in connection.execute(sa.select(agent.c.agent, agent.c.heard_at))}
        deaf = self.full or boot - self._listened_at > AWAY_S  # a full disk takes no agent's word
        before, self._words, self._listened_at = {} if deaf else self._words, {}, boot
        for name in snapshot.agents:
            known, heard_at = before.get(name), heard.get(name, 0.0)
            if known is None or known.heard_at != heard_at:
                known = _Word(heard_at, boot, fresh=known is not None)
            self._words[name] = known

    def _readings(self, snapshot: Snapshot, boot: float) -> Iterator[tuple[Series, Value]]:
        yield Series(COLLECTOR, "collector.disk", source="disk_usage"), "full" if self.full else "ok"
        for name, word in self._words.items():
            if freshness.silent(boot - word.seen_at, snapshot.agents[name].interval_s):
                yield Series(name, "agent.heard"), "no"
            elif word.fresh:
                yield Series(name, "agent.heard"), "yes"


def _in_force(key: Key, snapshot: Snapshot) -> bool:
    device, rule, _ = key
    return snapshot.rules.named(rule) is not None and (device == COLLECTOR or device in snapshot.agents)


def disk_is_full(runtime: Runtime, reserve_bytes: int) -> bool:
    """Whether the embedded store's disk has less than the reserve left. What is left then is for incidents and pages."""
    folder = runtime.store.folder
    return folder is not None and shutil.disk_usage(folder).free < reserve_bytes
