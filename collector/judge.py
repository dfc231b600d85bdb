"""The rules whose inputs the collector itself sees: an agent that has fallen silent, and its own disk."""

import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from collector.apply import COLLECTOR, apply_events
from collector.office import Office
from collector.store.schema import agent
from model.device import Category
from model.reading import Reading, Series
from model.verdict import Event, Key
from rules.evaluate import State, evaluate, to_verdict

SILENT_AFTER = 3
"""An agent is silent when it missed this many of its intervals."""


@dataclass(slots=True)
class Judge:
    """Judges what no agent can. Its states are worked out anew after a restart: an incident that stands simply stands."""

    office: Office
    reserve_bytes: int
    full: bool = False
    _states: dict[Key, State] = field(default_factory=dict)

    def look(self) -> None:
        """Take the collector's own readings, judge them, and keep what changed."""
        self.full = disk_is_full(self.office, self.reserve_bytes)
        with self.office.store.read() as connection:
            heard = {row.agent: row.heard_at for row in connection.execute(sa.select(agent.c.agent, agent.c.heard_at))}
        now = self.office.clock.wall()
        events = [event for reading in self._readings(heard, now) for event in self._judged(reading)]
        if events:
            with self.office.store.write() as connection:
                apply_events(connection, self.office.desk(), [(COLLECTOR, event) for event in events], now)

    def _readings(self, heard: Mapping[str, float], now: float) -> Iterator[Reading]:
        disk = Series(COLLECTOR, "collector.disk", source="disk_usage")
        yield Reading(disk, now, "full" if self.full else "ok")
        for one in self.office.orders.agents.values():
            since = max(heard.get(one.agent, 0.0), self.office.started_at)  # nobody is blamed for our own absence
            silent = now - since > SILENT_AFTER * one.interval_s
            yield Reading(Series(one.agent, "agent.heard"), now, "no" if silent else "yes")

    def _judged(self, reading: Reading) -> Iterator[Event]:
        series, at, value = reading
        for rule in self.office.orders.rules.of(series, Category.WATCHKEEPER):
            key = (series.device, rule.rule, series.instance)
            before = self._states.get(key)
            after = evaluate(rule, before, value, at, lambda: uuid.uuid4().hex)
            self._states[key] = after
            if before is None or after.level is not before.level:
                yield to_verdict(rule, after, series)


def disk_is_full(office: Office, reserve_bytes: int) -> bool:
    """Whether the embedded store's disk has less than the reserve left. What is left then is for incidents and pages."""
    folder = office.store.folder
    return folder is not None and shutil.disk_usage(folder).free < reserve_bytes
