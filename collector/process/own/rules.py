"""The collector's own rules: what no agent can judge, because only the collector observes it (an agent that has fallen silent,
the collector's own disk)."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace

from watchkeeper.collector.policy.incidents import Incident
from watchkeeper.collector.process.apply import apply_events
from watchkeeper.collector.process.own.ports import OwnSource
from watchkeeper.collector.process.runtime import Runtime
from watchkeeper.collector.site.inventory import COLLECTOR
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store import rows
from watchkeeper.model.device import Category, Device
from watchkeeper.model.reading import Series, Sweep, Value
from watchkeeper.model.verdict import Event, Verdict, Withdrawal
from watchkeeper.rules.evaluate import RuleState, state_of_verdict
from watchkeeper.rules.judge import Judge

_NOT_OBSERVED = "the collector no longer observes it"


class OwnRules:
    """Judges what its sources observe, by the boot clock."""

    def __init__(self, runtime: Runtime, sources: Sequence[OwnSource]) -> None:
        self._runtime = runtime
        self._sources = tuple(sources)
        self._judge: Judge | None = None
        self._snapshot: Snapshot | None = None
        self._columns: dict[tuple[Series, ...], tuple[Series, ...]] = {}
        self._unsaved: list[Event] = []

    def look(self) -> None:
        """Read what the sources observe, judge it and apply what changed. Raises StoreError; the changes are then applied by
        the next look."""
        notifier = self._runtime.notifier()
        boot, wall = self._runtime.clock.boot(), self._runtime.clock.wall()
        judge = self._activated(notifier.snapshot, boot, wall)
        for sweep in self._sweeps(notifier.snapshot, boot):
            self._unsaved += (_moved(one, wall - boot) for one in judge.sweep(sweep, Category.WATCHKEEPER).events)
        if self._unsaved:
            with self._runtime.store.write() as connection:
                apply_events(connection, notifier, [(COLLECTOR, event) for event in self._unsaved], wall)
            self._unsaved = []

    def _activated(self, snapshot: Snapshot, boot: float, wall: float) -> Judge:
        """The judge under this snapshot. The first one continues with the open incidents of an earlier run, except those that
        only another collector observes."""
        if self._judge is None:
            with self._runtime.store.write() as connection:
                known = rows.lock_open_incidents(connection, COLLECTOR)
            observed = {
                (one.device, one.quantity, one.instance) for source in self._sources for one in source.series(snapshot)
            }
            ours = [one for one in known if (one.device, one.evidence.quantity, one.instance) in observed]
            self._judge = Judge({one.key: _state_of(one, boot - wall) for one in ours})
            own = ("", self._runtime.identity.name)
            over = [one for one in known if one not in ours and one.device == COLLECTOR and one.instance in own]
            self._unsaved += [Withdrawal(uuid.uuid4().hex, *one.key, wall, _NOT_OBSERVED) for one in over]
        if snapshot is not self._snapshot:
            names = (COLLECTOR, *snapshot.agents)
            devices = (Device(name, COLLECTOR, Category.WATCHKEEPER, "") for name in names)
            # What is withdrawn here was withdrawn with the change of the configuration (`withdraw_gone`).
            self._judge.activate(snapshot.rules, devices, boot)
            self._columns.clear()
            self._snapshot = snapshot
        return self._judge

    def _sweeps(self, snapshot: Snapshot, boot: float) -> list[Sweep]:
        """One sweep for each device with a known value."""
        found: dict[str, dict[Series, Value]] = {}
        for source in self._sources:
            for series, value in source.values(snapshot, boot).items():
                found.setdefault(series.device, {})[series] = value
        return [self._sweep(device, boot, values) for device, values in found.items()]

    def _sweep(self, device: str, boot: float, values: Mapping[Series, Value]) -> Sweep:
        columns = tuple(values)
        # The judge plans anew for another tuple, so the same columns are always the same object.
        return Sweep(device, boot, self._columns.setdefault(columns, columns), tuple(values.values()))


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
