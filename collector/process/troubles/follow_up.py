"""What follows a group of changes of incidents, in the same transaction: their troubles, the rungs of those, and notices to the
people who must know."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import sqlalchemy as sa

from watchkeeper.collector.notify.enqueue import Notifier
from watchkeeper.collector.notify.message.draft import NoticeKind
from watchkeeper.collector.notify.notice import About, expire
from watchkeeper.collector.policy import incidents, ladder
from watchkeeper.collector.policy import troubles as policy
from watchkeeper.collector.policy.grouping import Membership
from watchkeeper.collector.policy.incidents import Incident, IncidentChange, TransitionKind
from watchkeeper.collector.policy.ladder import ScheduledRung
from watchkeeper.collector.policy.troubles import Trouble, TroubleState
from watchkeeper.collector.process.troubles import candidates
from watchkeeper.collector.process.troubles.membership import Placement
from watchkeeper.collector.site.inventory import COLLECTOR, Ladders
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store import rows, troubles
from watchkeeper.collector.store.troubles import Standing
from watchkeeper.model.verdict import Level

BEGINNINGS = (TransitionKind.OPENED, TransitionKind.REOPENED)
ENDS = (TransitionKind.RESOLVED, TransitionKind.WITHDRAWN)

Changes = Mapping[int, Sequence[IncidentChange]]
"""The changes of incidents in a group, by their numbers."""


def follow_up(connection: sa.Connection, notifier: Notifier, changes: Changes, now: float) -> None:
    """After a group of changes: find the troubles of new incidents, schedule rungs or drop them, and notify people. The caller
    has locked all troubles before it locked incidents (`store.troubles.lock_all`)."""
    if not changes:
        return
    began = {
        number: step.at
        for number, found in changes.items()
        for change in found
        for step in change.transitions
        if step.kind in BEGINNINGS
    }
    placement = Placement(connection, notifier.snapshot, now)
    placement.place([found[-1].incident for found in changes.values()], began)
    _Outcome(connection, notifier, now, placement).settle(changes)


def begin_apart(
    connection: sa.Connection,
    notifier: Notifier,
    groups: Iterable[tuple[Membership | None, list[Incident]]],
    now: float,
) -> None:
    """Move incidents to other troubles: to one that explains them, or (without a membership) to a new one of the group."""
    placement = Placement(connection, notifier.snapshot, now)
    for membership, members in groups:
        placement.move(membership, members)
    _Outcome(connection, notifier, now, placement).settle({})


@dataclass(slots=True)
class _Story:
    """What happened to the incidents of a trouble in a group: beginnings (+1) and ends (-1), and why the last was withdrawn."""

    steps: list[tuple[float, int]] = field(default_factory=list)
    note: str = ""
    cause_is_open: bool = False


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Brings the troubles that a group of changes touched up to their incidents."""

    connection: sa.Connection
    notifier: Notifier
    now: float
    placement: Placement
    scheduled: list[tuple[Trouble, ScheduledRung]] = field(default_factory=list)

    def settle(self, changes: Changes) -> None:
        """Save every touched trouble, with its rungs and notices."""
        stories: dict[int, _Story] = {}
        for found in changes.values():
            known = self.placement.trouble_of(found[-1].incident)
            if known is not None:
                _tell(stories.setdefault(known.trouble, _Story()), found)
        touched = self.placement.known
        standing = troubles.standing_of(self.connection, touched)
        open_causes = candidates.open_causes(self.connection, touched.values())
        for number in sorted(touched):
            known = touched[number]
            if known.state is TroubleState.MERGED or number not in standing:
                self.placement.save(known)
            else:
                story = stories.get(number, _Story())
                story.cause_is_open = known.cause in open_causes
                self._settle(known, standing[number], story)
        self._add_rungs()

    def _settle(self, known: Trouble, stand: Standing, story: _Story) -> None:
        fresh = known.trouble in self.placement.fresh
        after = policy.after_steps(known, story.steps, stand.open, self.now)
        if fresh:
            self._schedule(after)
        elif after.recurrence > known.recurrence:
            after = self._resume(known, after, stand.worst or known.level)
        if not stand.open:
            state = TroubleState.RESOLVED if stand.resolved else TroubleState.WITHDRAWN
            after = candidates.with_cause(self.connection, after)  # the recovery names what explained the others
            self._add_rungs()  # before they are dropped
            finish(self.connection, self.notifier, after, state, self.now, story.note)
            return
        level = stand.worst or known.level
        if not fresh and after.recurrence > known.recurrence:
            after = self._say_return(known, after)
        rises = level is Level.CRITICAL and known.level is not Level.CRITICAL
        after = replace(after, level=level)
        if not story.cause_is_open:
            after = candidates.with_cause(self.connection, after)
        self.placement.save(after)
        if rises and not fresh:
            said = not known.open or after.flapping_told is not known.flapping_told  # and the level with it
            self._rise(after, tell=not said)

    def _schedule(self, known: Trouble) -> None:
        ladders = self.notifier.snapshot.configuration.ladders
        steps = ladder.schedule_rungs(ladder.ladder_for(known.level, ladders), known.began_at)
        self.scheduled.extend((known, step) for step in steps)

    def _add_rungs(self) -> None:
        """Write the rungs of new troubles, all in one statement."""
        troubles.add_rungs(self.connection, self.scheduled)
        self.scheduled.clear()

    def _rise(self, known: Trouble, *, tell: bool) -> None:
        """A warning has become critical: the critical ladder counts from then on."""
        ladders = self.notifier.snapshot.configuration.ladders
        before = troubles.rungs_of(self.connection, [known.trouble], lock=True).get(known.trouble, [])
        carried = _carried_over(known, before, ladders)
        at = candidates.rose_at(self.connection, known)
        steps = ladder.schedule_rungs(ladder.ladder_for(known.level, ladders), at, carried)
        troubles.replace_undecided(self.connection, known, steps)
        if tell:
            told = self.notifier.told(self.connection, known)
            self.notifier.tell(self.connection, NoticeKind.RISEN, known, told, self.now)

    def _resume(self, known: Trouble, after: Trouble, level: Level) -> Trouble:
        """A fault is there again: the clock goes on, and with it the rungs."""
        if known.open:
            troubles.put_off(self.connection, after, after.began_at - known.began_at)
            return after
        go_on(self.connection, self.notifier, replace(after, level=level))
        ladders = self.notifier.snapshot.configuration.ladders
        stops = level in ladder.stopping_levels(ladders)  # an acknowledgement must not silence what was over
        return replace(after, acknowledged_at=None, acknowledged_by=None) if stops else after

    def _say_return(self, known: Trouble, after: Trouble) -> Trouble:
        """People who were told of the recovery are told that the fault is back; the others once, if it flaps."""
        if not known.open and self.notifier.ever_told(self.connection, after):
            self.notifier.tell_return(self.connection, after, self.now)
            return replace(after, flapping_told=True)
        flaps = after.recurrence >= policy.FLAPPING_RECURRENCE and not after.flapping_told
        if flaps and (told := self.notifier.told(self.connection, after)):
            self.notifier.tell(self.connection, NoticeKind.FLAPPING, after, told, self.now)
            return replace(after, flapping_told=True)
        return after


def go_on(connection: sa.Connection, notifier: Notifier, known: Trouble) -> None:
    """Schedule the rungs of a trouble that was over and is open again: those that were not decided before."""
    decided = troubles.rungs_of(connection, [known.trouble]).get(known.trouble, [])
    chosen = ladder.ladder_for(known.level, notifier.snapshot.configuration.ladders)
    steps = ladder.schedule_rungs(chosen, known.began_at, decided)
    troubles.replace_undecided(connection, known, steps)


def _tell(story: _Story, changes: Sequence[IncidentChange]) -> None:
    """Add what happened to one incident."""
    for change in changes:
        for step in change.transitions:
            if step.kind in BEGINNINGS:
                story.steps.append((step.at, 1))
            elif step.kind in ENDS:
                story.steps.append((max(step.at, change.incident.ended_at or step.at), -1))
                story.note = step.note


def _carried_over(known: Trouble, rungs: Sequence[ScheduledRung], ladders: Ladders) -> Sequence[ScheduledRung]:
    """The rungs that keep their times when a warning becomes critical. Where an acknowledgement held the rungs of the warning,
    only decided ones do: nobody asked for the held ones to be decided all at once."""
    if known.acknowledged_at is not None and Level.WARNING in ladder.stopping_levels(ladders):
        return [rung for rung in rungs if rung.decided_at is not None]
    return rungs


def finish(  # noqa: PLR0917 -- connection and notifier come first in every function of this folder
    connection: sa.Connection,
    notifier: Notifier,
    known: Trouble,
    state: TroubleState,
    now: float,
    note: str = "",
    *,
    at_once: bool = False,
) -> None:
    """End a trouble that is over, and tell everybody who was paged; if nobody was, tell duty. One that is not over yet is only
    saved, unless it ends `at_once`."""
    if not known.open or not (at_once or state is TroubleState.WITHDRAWN or policy.is_over(known, now)):
        troubles.save(connection, known)
        return
    ended = troubles.save(connection, policy.over(known, state, now))
    troubles.drop_undecided(connection, ended)
    expire(connection, About.TROUBLE, ended.trouble, now)
    told = notifier.told(connection, ended)
    if state is TroubleState.WITHDRAWN:
        notifier.tell(connection, NoticeKind.WITHDRAWN, ended, told, now, note)
    elif told:
        notifier.tell(connection, NoticeKind.RECOVERED, ended, told, now)
    else:
        notifier.tell_duty(connection, NoticeKind.PASSED, ended, now)


# ---- a changed configuration ----


def withdraw_gone(connection: sa.Connection, notifier: Notifier, now: float) -> None:
    """After a change of the configuration: withdraw the incidents that nobody judges any more."""
    troubles.lock_all(notifier.store, connection)
    changes: dict[int, list[IncidentChange]] = {}
    for known in rows.lock_open_incidents(connection):
        if why := _gone(known, notifier.snapshot):
            change = incidents.withdraw(known, now, COLLECTOR, why)
            changes[known.incident] = [replace(change, incident=rows.save(connection, change, now))]
    follow_up(connection, notifier, changes, now)


def _gone(known: Incident, snapshot: Snapshot) -> str:
    """Why no verdict about it will come any more; empty where one will."""
    device = snapshot.device(known.device)
    if device is None and known.device != COLLECTOR:
        return "the device is no longer in the inventory"
    if device is not None and known.agent not in (COLLECTOR, device.agent):
        return f"the device is read by {device.agent} now, which judges it again"
    return "" if snapshot.rules.named(known.rule) else "the rule is gone"
