"""The collector's own rules: what no agent can judge, because only the collector sees it (an agent that has fallen silent,
the collector's own disk)."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import sqlalchemy as sa

from watchkeeper.collector.policy import freshness
from watchkeeper.collector.policy.incidents import Incident
from watchkeeper.collector.process.apply import apply_events
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.site.inventory import COLLECTOR
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store import rows
from watchkeeper.collector.store.schema import agent
from watchkeeper.model.device import Category, Device
from watchkeeper.model.reading import Series, Sweep, Value
from watchkeeper.model.verdict import Event, Verdict
from watchkeeper.rules.evaluate import RuleState, state_of_verdict
from watchkeeper.rules.judge import Judge

AWAY_S = 10.0
"""The collector looks twice a second. After a longer pause it was stopped, or without its store: then no agent counts as
silent because of that time."""


class _Contact(NamedTuple):
    """The last contact with an agent: its time as stored, when this collector first saw that (boot clock), and whether the
    agent was heard since this collector began to listen."""

    heard_at: float
    seen_at: float
    fresh: bool


class OwnRules:
    """Judges by the boot clock, so that a wall clock that jumps makes no agent silent or heard. After a start no verdict on an
    agent is given before it is heard, or has had its time to be; an open incident simply stays open."""

    def __init__(self, runtime: Runtime, reserve_bytes: int) -> None:
        self._runtime = runtime
        self._reserve_bytes = reserve_bytes
        self._judge: Judge | None = None
        self._snapshot: Snapshot | None = None
        self._series: dict[str, tuple[Series, ...]] = {}
        self._contacts: dict[str, _Contact] = {}
        self._listened_at = float("-inf")
        self._unsaved: list[Event] = []
        self.full = False

    def look(self) -> None:
        """Read the collector's own quantities, judge them and apply what changed. Raises StoreError; the changes are then
        applied by the next look."""
        self.full = disk_is_full(self._runtime, self._reserve_bytes)
        notifier = self._runtime.notifier()
        boot, wall = self._runtime.clock.boot(), self._runtime.clock.wall()
        judge = self._activated(notifier.snapshot, boot, wall)
        self._listen(notifier.snapshot, boot)
        for device, value in self._readings(notifier.snapshot, boot):
            sweep = Sweep(device, boot, self._series[device], (value,))
            self._unsaved += (_moved(one, wall - boot) for one in judge.sweep(sweep, Category.WATCHKEEPER).events)
        if self._unsaved:
            with self._runtime.store.write() as connection:
                apply_events(connection, notifier, [(COLLECTOR, event) for event in self._unsaved], wall)
            self._unsaved = []

    def _activated(self, snapshot: Snapshot, boot: float, wall: float) -> Judge:
        """The judge under this snapshot. The first one continues with the open incidents of an earlier run."""
        if self._judge is None:
            with self._runtime.store.write() as connection:
                known = rows.lock_open_incidents(connection, COLLECTOR)
            self._judge = Judge({one.key: _state_of(one, boot - wall) for one in known})
        if snapshot is not self._snapshot:
            names = (COLLECTOR, *snapshot.agents)
            devices = (Device(name, COLLECTOR, Category.WATCHKEEPER, "") for name in names)
            # What is withdrawn here was withdrawn with the change of the configuration (`withdraw_gone`).
            self._judge.activate(snapshot.rules, devices, boot)
            self._series = {name: (Series(name, "agent.heard"),) for name in snapshot.agents}
            self._series[COLLECTOR] = (Series(COLLECTOR, "collector.disk", source="disk_usage"),)
            self._snapshot = snapshot
        return self._judge

    def _listen(self, snapshot: Snapshot, boot: float) -> None:
        with self._runtime.store.read() as connection:
            heard = {row.agent: row.heard_at for row in connection.execute(sa.select(agent.c.agent, agent.c.heard_at))}
        deaf = self.full or boot - self._listened_at > AWAY_S  # on a full disk no push is accepted
        before, self._contacts, self._listened_at = {} if deaf else self._contacts, {}, boot
        for name in snapshot.agents:
            known, heard_at = before.get(name), heard.get(name, 0.0)
            if known is None or known.heard_at != heard_at:
                known = _Contact(heard_at, boot, fresh=known is not None)
            self._contacts[name] = known

    def _readings(self, snapshot: Snapshot, boot: float) -> Iterator[tuple[str, Value]]:
        yield COLLECTOR, "full" if self.full else "ok"
        for name, contact in self._contacts.items():
            if freshness.silent(boot - contact.seen_at, snapshot.agents[name].interval_s):
                yield name, "no"
            elif contact.fresh:
                yield name, "yes"


def _state_of(known: Incident, offset_s: float) -> RuleState:
    """The state that an open incident of an earlier run gives, moved from the wall clock to the boot clock."""
    verdict = Verdict(
        known.verdict_id, known.device, known.rule, known.instance, known.verdict, known.began_at, known.evidence
    )
    return state_of_verdict(_moved_verdict(verdict, offset_s))


def _moved(event: Event, offset_s: float) -> Event:
    """The event on a clock that reads `offset_s` seconds more."""
    if isinstance(event, Verdict):
        return _moved_verdict(event, offset_s)
    return replace(event, at=event.at + offset_s)


def _moved_verdict(verdict: Verdict, offset_s: float) -> Verdict:
    evidence = verdict.evidence
    if evidence.first_at is not None:
        evidence = replace(evidence, first_at=evidence.first_at + offset_s)
    return replace(verdict, since=verdict.since + offset_s, evidence=evidence)


def disk_is_full(runtime: Runtime, reserve_bytes: int) -> bool:
    """Whether the disk of the embedded store has less free space than the reserve. The rest is for incidents and pages."""
    folder = runtime.store.folder
    return folder is not None and shutil.disk_usage(folder).free < reserve_bytes
