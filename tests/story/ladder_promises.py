"""What the ladder promises, as checks of a whole store. `test_ladder_machine` makes them after every beat of a collector.

1. No fault without somebody told: every open incident belongs to an open trouble. Of that trouble somebody has been told, and
   not told since that it is over; if not yet, its rungs are held, by its parent for 10 s at most.
2. No rung is decided twice, none is skipped, and each is decided when its trouble's clock says so: the clock counts the time in
   which a fault of the trouble was there, from the trouble's beginning.
3. A trouble is never two pages to one person for one rung, and never two messages under different keys.
4. No page for a trouble without a fault.
5. Nothing after the end but the recovery: what everybody hears last is that it is over.
6. A recovery is never suppressed, and never names a fault that is still there.
7. Only paging is suppressed, never judging: each fault is an open incident with its level as long as it is there.
8. A fault that stays bad after its cause has ended is not part of that trouble for longer than CHILD_STAYS_S.
9. What explains a fault is not explained by it.
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.chaos.comparing import Troubles, rows_of, troubles_in
from tests.story.world import World
from watchkeeper.collector.policy.hold import Backlog, HoldReason, hold
from watchkeeper.collector.policy.incidents import Incident
from watchkeeper.collector.policy.troubles import (
    CHILD_STAYS_S,
    FLAPPING_RECOVERED_AFTER_S,
    PARENT_READ_S,
    RECOVERED_AFTER_S,
    Trouble,
    TroubleState,
)
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store.schema import agent, outbox, rung
from watchkeeper.model.verdict import Key, Level

ENDINGS = {"recovered", "withdrawn", "passed"}


@dataclass(slots=True)
class Stored:
    """Everything that the checks look at, read once after a beat."""

    now: float
    incidents: Sequence[Incident]
    troubles: Mapping[int, Trouble]
    rungs: Sequence[Any]
    notices: Sequence[Any]
    times: Troubles
    backlog: Backlog
    snapshot: Snapshot

    @classmethod
    def read(cls, world: World) -> "Stored":
        """Read the store of a world."""
        agents = rows_of(world.store, agent)
        since = next((Backlog(row.backlog_since or 0.0, row.backlog_until or 0.0) for row in agents), Backlog())
        return cls(
            world.clock.wall(), world.incidents(), {one.trouble: one for one in world.troubles()},
            rows_of(world.store, rung), rows_of(world.store, outbox, "id"), troubles_in(world.store), since,
            world.runtime.snapshot,
        )  # fmt: skip

    def parents(self, one: Incident) -> tuple[str, ...]:
        """What the incident's device depends on."""
        return self.snapshot.dependencies.ancestors(one.device)

    def final(self, number: int) -> Trouble:
        """The trouble that this one was merged into, or itself."""
        known = self.troubles[number]
        return self.final(known.merged_into) if known.merged_into else known

    def said(self, number: int) -> dict[str, list[str]]:
        """The kinds of the messages about a trouble and those that were merged into it, by person."""
        found: dict[str, list[str]] = {}
        for row in self.notices:
            if self.final(row.about_id).trouble == number:
                found.setdefault(row.person, []).append(row.kind)
        return found

    def members(self, number: int) -> list[Incident]:
        """The incidents of a trouble."""
        return [one for one in self.incidents if one.trouble == number]

    def decided(self, number: int) -> list[str]:
        """The rungs of a trouble that are decided, in the order of the ladder."""
        mine = (row for row in self.rungs if row.trouble == number and row.decided_at is not None)
        return [row.rung for row in sorted(mine, key=lambda row: row.number)]


@dataclass(slots=True)
class Promises:
    """The checks. `levels` is what the agents say of each fault now. `escalated` are troubles whose next rung a person has
    called, `by_hand` those that a person has ended."""

    world: World
    rungs_s: Mapping[str, float]
    levels: dict[Key, Level] = field(default_factory=dict)
    escalated: set[int] = field(default_factory=set)
    _of: dict[int, int] = field(default_factory=dict)
    _moved: set[int] = field(default_factory=set)
    _seen: int = 0

    def check(self) -> None:
        """All of them."""
        stored = Stored.read(self.world)
        self._note_moves(stored)
        somebody_is_told_of_every_fault(stored)
        no_rung_is_decided_twice_and_no_page_written_twice(stored)
        self._every_due_rung_is_decided(stored)
        new = [row for row in stored.notices if row.id > self._seen]
        self._seen = max((row.id for row in new), default=self._seen)
        no_page_without_a_fault(stored, [row for row in new if row.kind == "page"], self._moved)
        no_recovery_while_a_fault_is_there(stored, [row for row in new if row.kind == "recovered"])
        the_end_is_the_last_word(stored)
        no_recovery_is_suppressed(stored)
        what_stays_bad_leaves_the_trouble_of_its_cause(stored)
        nothing_explains_its_own_cause(stored)
        self._judged(stored)

    def _note_moves(self, stored: Stored) -> None:
        """An incident that goes over takes its time with it: only bounds are known for the clocks of both troubles."""
        for one in stored.incidents:
            before = self._of.get(one.incident, one.trouble)
            if before != one.trouble:
                self._moved |= {before, one.trouble}
            self._of[one.incident] = one.trouble

    def _every_due_rung_is_decided(self, stored: Stored) -> None:
        for one in stored.troubles.values():
            if one.state is TroubleState.MERGED:
                continue
            decided = stored.decided(one.trouble)
            assert decided == list(self.rungs_s)[: len(decided)], f"skipped: {one}: {decided}"
            bad_s = stored.times.bad_s(one.trouble, stored.now)
            most_s = stored.now - one.opened_at if one.trouble in self._moved else bad_s
            # A critical fault that is reported late is at once at the level where it should be, also in a younger trouble.
            began = [part.began_at for part in stored.incidents if part.trouble == one.trouble]
            most_s = max(most_s, stored.now - min(began, default=stored.now))
            least_s = min(bad_s, one.bad_s(stored.now)) if one.trouble in self._moved else bad_s
            least, most = self._due(least_s - 0.01), self._due(most_s + 0.01)
            if one.trouble not in self.escalated:
                assert set(decided) <= set(most), f"too early: {one}: {decided}, bad for {most_s:.1f} s"
            if one.open and not one.quiet and not held(one, stored):
                assert set(least) <= set(decided), f"not decided: {one}: {decided}, bad for {bad_s:.1f} s"

    def _due(self, bad_s: float) -> list[str]:
        return [name for name, after_s in self.rungs_s.items() if after_s <= bad_s]

    def _judged(self, stored: Stored) -> None:
        there = {one.key: one for one in stored.incidents if one.open}
        for key, level in self.levels.items():
            if level.bad:
                assert key in there, f"no incident for {key}"
                assert (there[key].level, there[key].verdict) == (level, level)
            elif level is Level.OK:
                assert key not in there, f"still open: {there[key]}"


def held(one: Trouble, stored: Stored) -> bool:
    """Whether the rungs are held; by its parent for `PARENT_READ_S` at most."""
    found = hold(one, stored.snapshot.configuration.ladders, stored.backlog, stored.now)
    if found is not None and found.reason is HoldReason.PARENT:
        recorded = min(spell.recorded_from for spell in stored.times.spells[one.trouble])
        assert stored.now - recorded < PARENT_READ_S, f"held by its parent for too long: {one}"
    return found is not None


def somebody_is_told_of_every_fault(stored: Stored) -> None:
    """1."""
    for one in stored.incidents:
        if not one.open:
            continue
        assert one.trouble, f"no trouble: {one}"
        known = stored.troubles[one.trouble]
        assert known.open, f"an open incident in a trouble that is over: {one}, {known}"
        assert not known.quiet, f"a fault is there, but the clock does not run: {one}, {known}"
        last = [kinds[-1] for kinds in stored.said(known.trouble).values()]
        told = any(kind not in ENDINGS for kind in last)
        assert told or held(known, stored), f"nobody is told: {one}, {known}"


def no_rung_is_decided_twice_and_no_page_written_twice(stored: Stored) -> None:
    """2 and 3."""
    decided = Counter((row.trouble, row.rung) for row in stored.rungs if row.decided_at is not None)
    pages = Counter((row.about_id, row.rung, row.person) for row in stored.notices if row.kind == "page")
    keys = Counter(row.key for row in stored.notices)
    assert not [key for key, count in (*decided.items(), *pages.items(), *keys.items()) if count > 1]


def no_page_without_a_fault(stored: Stored, new: Sequence[Any], moved: Collection[int]) -> None:
    """4."""
    for row in new:
        number = stored.final(row.about_id).trouble
        spells = stored.times.spells.get(number, ())
        there = any(one.recorded_from <= row.created_at <= one.recorded_to for one in spells)
        assert there or number in moved, f"page without a fault: {row.subject}, {spells}"


def no_recovery_while_a_fault_is_there(stored: Stored, new: Sequence[Any]) -> None:
    """6."""
    there = {one.incident: one for one in stored.incidents if one.open}
    for row in new:
        assert not [one for one in there.values() if one.trouble == row.about_id], f"recovered? {row.subject}"
        named = json.loads(row.facts)["incident"]
        assert named not in there, f"the recovery names a fault that is still there: {row.subject}"


def the_end_is_the_last_word(stored: Stored) -> None:
    """5."""
    for one in stored.troubles.values():
        if one.state in (TroubleState.RESOLVED, TroubleState.WITHDRAWN):
            said = stored.said(one.trouble)
            assert said or one.state is TroubleState.WITHDRAWN, f"nobody was ever told of {one}"
            for person, kinds in said.items():
                assert kinds[-1] in ENDINGS, f"{person} is not told of the end: {kinds}, {one}"
                assert not any(a in ENDINGS and b in ENDINGS for a, b in pairwise(kinds)), kinds


def no_recovery_is_suppressed(stored: Stored) -> None:
    """6."""
    for one in stored.troubles.values():
        mine = stored.members(one.trouble)
        if one.open and not any(member.open for member in mine):
            last = max(member.ended_at or 0.0 for member in mine)
            stay = RECOVERED_AFTER_S if one.recurrence == 1 else FLAPPING_RECOVERED_AFTER_S
            late = max(last, one.quiet_since or 0.0) if one.quiet else last
            assert one.quiet, f"no fault is there, but the clock runs: {one}"
            assert stored.now - late < stay, f"the recovery is late: {one}"


def what_stays_bad_leaves_the_trouble_of_its_cause(stored: Stored) -> None:
    """8."""
    by_number = {one.incident: one for one in stored.incidents}
    for one in stored.incidents:
        if not one.open:
            continue
        cause = by_number.get(one.explained_by)
        if cause is not None and not cause.open:
            assert stored.now - (cause.ended_at or 0.0) < CHILD_STAYS_S, f"{one} still explained by {cause}"
        before = [
            parent for parent in stored.incidents if parent.device in stored.parents(one) and parent.rule == one.rule
        ]
        if cause is None and not any(parent.open for parent in before):
            for parent in before:
                both = parent.began_at <= one.began_at < (parent.ended_at or 0.0) <= stored.now - CHILD_STAYS_S
                assert not (both and parent.trouble == one.trouble), f"{one} is still in the trouble of {parent}"


def nothing_explains_its_own_cause(stored: Stored) -> None:
    """9."""
    by_number = {one.incident: one for one in stored.incidents}
    for one in stored.incidents:
        seen, cause = {one.incident}, by_number.get(one.explained_by)
        while cause is not None:
            assert cause.incident not in seen, f"{one} explains {cause}, and that explains it"
            seen.add(cause.incident)
            cause = by_number.get(cause.explained_by)
