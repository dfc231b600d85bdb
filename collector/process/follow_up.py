"""What follows a group of changes of incidents, in the same transaction: their troubles, the rungs of those, and notices to the
people who must know."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import sqlalchemy as sa

from watchkeeper.collector.notify.compose import NoticeKind
from watchkeeper.collector.notify.enqueue import Notifier
from watchkeeper.collector.notify.notice import About, expire
from watchkeeper.collector.policy import incidents, ladder
from watchkeeper.collector.policy import troubles as policy
from watchkeeper.collector.policy.grouping import Candidates, Fault, Joined, Membership, can_be_explained
from watchkeeper.collector.policy.incidents import Incident, IncidentChange, IncidentState, TransitionKind
from watchkeeper.collector.policy.ladder import ScheduledRung
from watchkeeper.collector.policy.troubles import Trouble, TroubleState
from watchkeeper.collector.process import candidates
from watchkeeper.collector.site.inventory import COLLECTOR, Ladders
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store import rows, troubles
from watchkeeper.collector.store.troubles import Standing
from watchkeeper.model.verdict import Level

BEGINNINGS = (TransitionKind.OPENED, TransitionKind.REOPENED)

Changes = Mapping[int, Sequence[IncidentChange]]
"""The changes of incidents in a group, by their numbers."""


def follow_up(connection: sa.Connection, notifier: Notifier, changes: Changes, now: float) -> None:
    """After a group of changes: find the troubles of new incidents, schedule rungs or drop them, and notify people."""
    if changes:
        notifier.store.lock_names(connection, ["troubles"])  # two collectors must not begin two troubles for one cause
        group = _Group(connection, notifier, now)
        group.place([found[-1].incident for found in changes.values()], _began_again(changes))
        group.settle(changes)


def _began_again(changes: Changes) -> dict[int, float]:
    """The incidents that began in this group, and when."""
    return {
        number: step.at
        for number, found in changes.items()
        for change in found
        for step in change.transitions
        if step.kind in BEGINNINGS
    }


@dataclass(slots=True)
class _Group:
    """The troubles that a group of changes touches. `returned` are those that a fault came back to, and when."""

    connection: sa.Connection
    notifier: Notifier
    now: float
    known: dict[int, Trouble] = field(default_factory=dict)
    began: dict[int, float] = field(default_factory=dict)
    fresh: set[int] = field(default_factory=set)
    memberships: dict[int, Membership] = field(default_factory=dict)

    def trouble(self, number: int) -> Trouble | None:
        """The trouble of that number, or the one that it was merged into; locked."""
        if number not in self.known or self.known[number].merged_into:
            found = troubles.follow(self.connection, number, lock=True)
            if found is None:
                return None
            self.known.setdefault(found.trouble, found)
            return self.known[found.trouble]
        return self.known[number]

    # ---- which trouble ----

    def place(self, changed: Sequence[Incident], began: Mapping[int, float]) -> None:
        """Find the trouble of every incident that began in this group."""
        new = sorted((one for one in changed if self._needs_trouble(one, began)), key=lambda one: one.began_at)
        if new:
            snapshot = self.notifier.snapshot
            found = candidates.load(self.connection, snapshot, new)
            for one in new:
                self._place(candidates.fault_of(one, snapshot), one, found)
            rows.set_memberships(self.connection, self.memberships)
        for one in changed:
            number = self.memberships[one.incident].trouble if one.incident in self.memberships else one.trouble
            known = self.trouble(number)
            if known is not None and one.incident in began:
                self.began[known.trouble] = min(self.began.get(known.trouble, began[one.incident]), began[one.incident])

    def _needs_trouble(self, one: Incident, began: Mapping[int, float]) -> bool:
        if not one.trouble:
            return True
        known = self.trouble(one.trouble)
        return one.incident in began and (known is None or not policy.may_return(known, began[one.incident]))

    def _place(self, fault: Fault, one: Incident, found: Candidates) -> None:
        membership = self._present(found.membership(fault)) if one.open else None
        effects = list(found.explained(fault)) if one.open else []
        if membership is None:
            membership = self._with_effects(fault, one, effects) or Membership(self._begin(fault, one), Joined.FIRST)
        self.memberships[fault.incident] = membership
        found.add(replace(fault, trouble=membership.trouble))
        for effect in effects:
            self._join(effect, membership.trouble, fault.incident)

    def _present(self, membership: Membership | None) -> Membership | None:
        """The membership, in the trouble that the candidate's was merged into."""
        known = self.trouble(membership.trouble) if membership else None
        return replace(membership, trouble=known.trouble) if membership and known else None

    def _begin(self, fault: Fault, one: Incident) -> int:
        """A trouble of its own. Its rungs wait while what may explain it is read again."""
        waits = can_be_explained(fault.quantity) and bool(self.notifier.snapshot.dependencies.parents(fault.device))
        fresh = Trouble(
            cause=one.incident, agent=one.agent, level=one.level, opened_at=one.began_at, began_at=one.began_at,
            wait_until=self.now + policy.PARENT_READ_S if waits else 0.0,
        )  # fmt: skip
        saved = troubles.save(self.connection, fresh)
        self.known[saved.trouble] = saved
        self.fresh.add(saved.trouble)
        return saved.trouble

    def _with_effects(self, fault: Fault, one: Incident, effects: Iterable[Fault]) -> Membership | None:
        """The oldest trouble that this fault is the cause of: people know it already."""
        caused = {effect.trouble for effect in effects if self._is_cause(effect)}
        if not caused:
            return None
        oldest = self.known[min(caused)]
        self.known[oldest.trouble] = replace(oldest, cause=fault.incident, agent=one.agent)
        return Membership(oldest.trouble, Joined.FIRST)

    def _is_cause(self, effect: Fault) -> bool:
        known = self.trouble(effect.trouble)
        return known is not None and known.open and known.cause == effect.incident

    def _join(self, effect: Fault, number: int, cause: int) -> None:
        """The fault is an effect of `cause`. A trouble that it was the cause of is merged."""
        if effect.trouble != number and self._is_cause(effect):
            merged = self.known[effect.trouble]
            self.known[effect.trouble] = replace(
                merged, state=TroubleState.MERGED, merged_into=number, ended_at=self.now
            )
            troubles.drop_undecided(self.connection, merged)
            moved = {
                one.incident: Membership(number, one.joined, one.explained_by)
                for one in rows.incidents_of(self.connection, [effect.trouble])
            }
            self.memberships |= moved
        self.memberships[effect.incident] = Membership(number, Joined.EXPLAINED, cause)

    def move(self, membership: Membership | None, members: Sequence[Incident]) -> None:
        """Move incidents out of the trouble that they were part of."""
        first = min(members, key=lambda one: one.began_at)
        for one in members:
            self.trouble(one.trouble)  # what they leave is settled too
        present = self._present(membership)
        number = present.trouble if present else self._begin(candidates.fault_of(first, self.notifier.snapshot), first)
        for one in members:
            mine = present or Membership(number, Joined.FIRST if one is first else Joined.PLACE)
            self.memberships[one.incident] = mine

    # ---- what becomes of the troubles ----

    def settle(self, changes: Changes) -> None:
        """Bring every touched trouble up to its incidents, then save it."""
        of = {number: self.memberships.get(number) for number in changes}
        touched = {
            known.trouble
            for number, found in changes.items()
            if (known := self.trouble(one.trouble if (one := of[number]) else found[-1].incident.trouble))
        }
        standing = troubles.standing_of(self.connection, touched | self.known.keys())
        for number in sorted(self.known):
            known = self.known[number]
            if known.state is TroubleState.MERGED or number not in standing:
                troubles.save(self.connection, known)
            else:
                self._settle(known, standing[number], _last_note(changes, number, of))

    def _settle(self, known: Trouble, stand: Standing, note: str) -> None:
        if not stand.open:
            at = self.now if stand.last_end is None else stand.last_end
            state = TroubleState.RESOLVED if stand.resolved else TroubleState.WITHDRAWN
            if known.trouble in self.fresh:
                self._schedule(known)
            if known.open and not known.quiet:
                known = policy.gone_quiet(known, at)
            finish(self.connection, self.notifier, known, state, self.now, note)
            return
        level = stand.worst or known.level
        if known.quiet or not known.open:
            known = self._return(known, level)
        rises = level is Level.CRITICAL and known.level is not Level.CRITICAL
        known = troubles.save(self.connection, replace(known, level=level, cause=self._cause(known)))
        if known.trouble in self.fresh:
            self._schedule(known)
        elif rises:
            self._rise(known)

    def _cause(self, known: Trouble) -> int:
        """The probable cause: if that fault has gone, the one that explains others, or the oldest."""
        return candidates.cause_of(self.connection, known)

    def _schedule(self, known: Trouble) -> None:
        ladders = self.notifier.snapshot.configuration.ladders
        steps = ladder.schedule_rungs(ladder.ladder_for(known.level, ladders), known.began_at)
        troubles.replace_undecided(self.connection, known, steps)

    def _rise(self, known: Trouble) -> None:
        """A warning has become critical: the critical ladder counts from now on."""
        ladders = self.notifier.snapshot.configuration.ladders
        before = troubles.rungs_of(self.connection, [known.trouble], lock=True).get(known.trouble, [])
        carried = _carried_over(known, before, ladders)
        at = candidates.rose_at(self.connection, known)
        steps = ladder.schedule_rungs(ladder.ladder_for(known.level, ladders), at, carried)
        troubles.replace_undecided(self.connection, known, steps)
        told = self.notifier.told(self.connection, known)
        self.notifier.tell(self.connection, NoticeKind.RISEN, known, told, self.now)

    def _return(self, known: Trouble, level: Level) -> Trouble:
        """A fault is there again. People who were told of the recovery are told of that; the others once, if it flaps."""
        at = self.began.get(known.trouble, self.now)
        was_over = not known.open
        again = policy.returned(known, at)
        gap_s = again.began_at - known.began_at
        if was_over:
            decided = troubles.rungs_of(self.connection, [known.trouble]).get(known.trouble, [])
            ladders = self.notifier.snapshot.configuration.ladders
            steps = ladder.schedule_rungs(ladder.ladder_for(level, ladders), again.began_at, decided)
            troubles.replace_undecided(self.connection, again, steps)
        else:
            troubles.put_off(self.connection, again, gap_s)
        flaps = again.recurrence >= policy.FLAPPING_RECURRENCE and not again.flapping_told
        if was_over and self.notifier.ever_told(self.connection, again):
            self.notifier.tell_return(self.connection, again, self.now)
            return replace(again, flapping_told=True)
        if flaps and (told := self.notifier.told(self.connection, again)):
            self.notifier.tell(self.connection, NoticeKind.FLAPPING, again, told, self.now)
            return replace(again, flapping_told=True)
        return again


def begin_apart(
    connection: sa.Connection, notifier: Notifier, groups: Iterable[tuple[Membership | None, list[Incident]]], now: float
) -> None:
    """Move incidents to another trouble: one that explains them, or (without a membership) a new one of the group's own. Its
    ladder counts from the beginning of the group."""
    group = _Group(connection, notifier, now)
    for membership, members in groups:
        group.move(membership, members)
    rows.set_memberships(connection, group.memberships)
    group.settle({})


def _last_note(changes: Changes, number: int, of: Mapping[int, Membership | None]) -> str:
    """Why the last incident of the trouble was withdrawn."""
    for incident, found in reversed(changes.items()):
        membership = of[incident]
        trouble = membership.trouble if membership else found[-1].incident.trouble
        if trouble == number and found[-1].transitions:
            return found[-1].transitions[-1].note
    return ""


def _carried_over(known: Trouble, rungs: Sequence[ScheduledRung], ladders: Ladders) -> Sequence[ScheduledRung]:
    """The rungs that keep their times when a warning becomes critical. Where an acknowledgement held the rungs of the warning,
    only decided ones do: nobody asked for the held ones to be decided all at once."""
    if known.acknowledged_at is not None and Level.WARNING in ladder.stopping_levels(ladders):
        return [rung for rung in rungs if rung.decided_at is not None]
    return rungs


def finish(  # noqa: PLR0917 -- connection and notifier come first in every function of this folder
    connection: sa.Connection, notifier: Notifier, known: Trouble, state: TroubleState, now: float, note: str = ""
) -> None:
    """End a trouble that is over, and tell everybody who was paged; if nobody was, tell duty. One that is not over yet is only
    saved."""
    if not known.open or not (state is TroubleState.WITHDRAWN or policy.is_over(known, now)):
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
