"""Compares the rungs and messages in a collector's store with what happened to its incidents. The chaos tests use it."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import sqlalchemy as sa

from watchkeeper.collector.notify.enqueue import Notifier
from watchkeeper.collector.policy.troubles import FLAPPING_RECOVERED_AFTER_S
from watchkeeper.collector.process.due import end_quiet
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store.engine import Store
from watchkeeper.collector.store.schema import incident, outbox, rung, transition, trouble

ENDS = ("resolved", "withdrawn")
BEGINNINGS = ("opened", "reopened")

Serves = Callable[[float, float], float]
"""The longest time (seconds) between two times in which a collector served without interruption."""


@dataclass(frozen=True, slots=True)
class Spell:
    """A time in which a fault was there: when it began and ended, and when that was recorded. One that
    has not ended ends at infinity."""

    began: float
    ended: float
    recorded_from: float
    recorded_to: float


@dataclass(slots=True)
class Troubles:
    """The troubles of a store, with the times in which a fault of each was there. Rungs wait until `waits` (UTC seconds)."""

    opened: Mapping[int, float]
    merged: frozenset[int]
    spells: Mapping[int, list[Spell]]
    waits: Mapping[int, float]

    def due(self, number: int, after_s: float) -> Iterator[tuple[float, float]]:
        """The recorded times in which a rung of the trouble was due: it counts the time in which a fault was there."""
        bad_s, until = 0.0, self.opened[number]
        for spell in sorted(self.spells.get(number, ()), key=lambda one: one.began):
            began = max(spell.began, until)
            bad_s += max(0.0, spell.ended - began)
            until = max(until, spell.ended)
            if bad_s >= after_s:
                from_when = max(spell.recorded_from, spell.ended - (bad_s - after_s), self.waits[number])
                yield from_when, spell.recorded_to

    def bad_s(self, number: int, now: float) -> float:
        """How long a fault of the trouble was there."""
        bad_s, until = 0.0, self.opened[number]
        for spell in sorted(self.spells.get(number, ()), key=lambda one: one.began):
            bad_s += max(0.0, min(spell.ended, now) - max(spell.began, until))
            until = max(until, min(spell.ended, now))
        return bad_s


@dataclass(slots=True)
class Decisions:
    """What the comparison of the rungs and messages found."""

    incidents: int = 0
    troubles: int = 0
    rungs: int = 0
    rungs_due: int = 0
    rungs_never: list[str] = field(default_factory=list)
    rungs_doubled: list[str] = field(default_factory=list)
    rungs_skipped: list[str] = field(default_factory=list)
    recoveries: int = 0
    recoveries_missing: list[str] = field(default_factory=list)
    recoveries_doubled: list[str] = field(default_factory=list)

    def faults(self) -> dict[str, int]:
        """The counts that must all be 0."""
        names = ("rungs_never", "rungs_doubled", "rungs_skipped", "recoveries_missing", "recoveries_doubled")
        return {name: len(found) for name in names if (found := getattr(self, name))}


def rows_of(store: Store, table: sa.Table, *order: str) -> Sequence["sa.Row[Any]"]:
    """Every row of a table."""
    with store.read() as connection:
        return connection.execute(sa.select(table).order_by(*(table.c[name] for name in order))).all()


def troubles_in(store: Store) -> Troubles:
    """Read the troubles."""
    of = {row.incident: row.trouble for row in rows_of(store, incident)}
    spells: dict[int, list[Spell]] = {}
    began: dict[int, tuple[float, float]] = {}
    for row in rows_of(store, transition, "id"):
        if row.kind in BEGINNINGS:
            began[row.incident] = (row.at, row.recorded_at)
        elif row.kind in ENDS and row.incident in began:
            at, recorded_at = began.pop(row.incident)
            spells.setdefault(of[row.incident], []).append(Spell(at, row.at, recorded_at, row.recorded_at))
    for number, (at, recorded_at) in began.items():
        spells.setdefault(of[number], []).append(Spell(at, math.inf, recorded_at, math.inf))
    known = rows_of(store, trouble)
    merged = frozenset(row.trouble for row in known if row.state == "merged")
    return Troubles(
        {row.trouble: row.opened_at for row in known}, merged, spells, {row.trouble: row.wait_until for row in known}
    )


def compare_decisions(store: Store, rungs_s: Mapping[str, float], serves: Serves, serving_s: float) -> Decisions:
    """Each rung of a trouble is decided exactly once, if a collector served for `serving_s` while it was due; none before an
    earlier one; and each person is paged once for it. (A fault that ends while no collector serves causes one message and
    no rung.)"""
    found, known = Decisions(incidents=len(rows_of(store, incident))), troubles_in(store)
    decided = Counter((row.trouble, row.rung) for row in rows_of(store, rung) if row.decided_at is not None)
    pages = Counter((row.about_id, row.rung, row.person) for row in rows_of(store, outbox, "id") if row.kind == "page")
    found.troubles, found.rungs = len(known.opened) - len(known.merged), len(decided)
    found.rungs_doubled = [f"{key}: {count}" for key, count in (*decided.items(), *pages.items()) if count > 1]
    for number in known.opened.keys() - known.merged:
        names = [name for name in rungs_s if (number, name) in decided]
        if names != list(rungs_s)[: len(names)]:
            found.rungs_skipped.append(f"trouble {number}: {names}")
        for name, after_s in rungs_s.items():
            if any(serves(begin, end) > serving_s for begin, end in known.due(number, after_s)):
                found.rungs_due += 1
                if (number, name) not in decided:
                    found.rungs_never.append(f"trouble {number}: {name}")
    return found


def end_everything(store: Store, snapshot: Snapshot, now: float) -> None:
    """Let the troubles end that flap, as if ten minutes had passed."""
    notifier = Notifier(store, snapshot)
    while end_quiet(notifier, now + FLAPPING_RECOVERED_AFTER_S + 1.0):
        pass


def compare_recoveries(store: Store, found: Decisions) -> None:
    """Everybody who was paged is told once that the trouble is over, each time it was, and nothing after it."""
    said: dict[tuple[int, str], list[str]] = {}
    into = {row.trouble: row.merged_into for row in rows_of(store, trouble)}
    for row in rows_of(store, outbox, "id"):
        number = row.about_id
        while into[number]:
            number = into[number]
        said.setdefault((number, row.person), []).append(row.kind)
    for key, kinds in said.items():
        found.recoveries += kinds.count("recovered")
        if kinds[-1] not in ("recovered", "withdrawn", "passed"):
            found.recoveries_missing.append(f"{key}: {kinds}")
        if any(one == after == "recovered" for one, after in pairwise(kinds)):
            found.recoveries_doubled.append(f"{key}: {kinds}")
