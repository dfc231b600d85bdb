"""Which trouble each incident is part of, and what becomes of a trouble whose cause was found later."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import sqlalchemy as sa

from watchkeeper.collector.policy import troubles as policy
from watchkeeper.collector.policy.grouping import Candidates, Fault, Joined, Membership, can_be_explained
from watchkeeper.collector.policy.incidents import Incident
from watchkeeper.collector.policy.troubles import Trouble, TroubleState
from watchkeeper.collector.process.troubles import candidates
from watchkeeper.collector.process.troubles.parents import ask_parents
from watchkeeper.collector.site.snapshot import Snapshot
from watchkeeper.collector.store import rows, troubles


@dataclass(slots=True)
class Placement:
    """The troubles that a group of changes touches, locked. `fresh` are those that began in it, `memberships` the incidents
    whose trouble is new or another one, and `stored` the troubles as the store has them."""

    connection: sa.Connection
    snapshot: Snapshot
    now: float
    known: dict[int, Trouble] = field(default_factory=dict)
    fresh: set[int] = field(default_factory=set)
    memberships: dict[int, Membership] = field(default_factory=dict)
    stored: dict[int, Trouble] = field(default_factory=dict)

    def trouble(self, number: int) -> Trouble | None:
        """The trouble of that number, or the one that it was merged into, in this group or before; locked."""
        known = self.known.get(number)
        if known is None:
            found = troubles.follow(self.connection, number, lock=True)
            if found is None:
                return None
            self.stored.setdefault(found.trouble, found)
            known = self.known.setdefault(found.trouble, found)
        return self.trouble(known.merged_into) if known.merged_into else known

    def place(self, changed: Sequence[Incident], began: Mapping[int, float]) -> None:
        """Find the trouble of every incident that began, at the times in `began`. One that comes back stays in its trouble,
        unless another fault explains it now."""
        new = {one.incident for one in changed if self._needs_trouble(one, began)}
        placed = [one for one in changed if one.incident in new or (one.incident in began and one.open)]
        if placed:
            found = candidates.load(self.connection, self.snapshot, placed)
            for one in sorted(placed, key=lambda one: one.began_at):
                fault = candidates.fault_of(one, self.snapshot)
                if one.incident in new:
                    self._place(fault, one, found)
                else:
                    self._place_again(fault, found)
            rows.set_memberships(self.connection, self.memberships)

    def move(self, membership: Membership | None, members: Sequence[Incident]) -> None:
        """Move incidents to another trouble: one that explains them, or (without a membership) a new one of their own, whose
        ladder counts from their beginning."""
        first = min(members, key=lambda one: one.began_at)
        for one in members:
            self.trouble(one.trouble)  # what they leave is touched too
        present = self._present(membership)
        number = present.trouble if present else self._begin(first)
        for one in members:
            mine = present or Membership(number, Joined.FIRST if one is first else Joined.PLACE)
            self.memberships[one.incident] = mine
        rows.set_memberships(self.connection, self.memberships)

    def save(self, one: Trouble) -> Trouble:
        """Write a trouble if it has changed."""
        if one != self.stored.get(one.trouble):
            self.stored[one.trouble] = troubles.save(self.connection, one)
        return one

    def trouble_of(self, one: Incident) -> Trouble | None:
        """The trouble that the incident is part of now."""
        membership = self.memberships.get(one.incident)
        return self.trouble(membership.trouble if membership else one.trouble)

    def _needs_trouble(self, one: Incident, began: Mapping[int, float]) -> bool:
        if not one.trouble:
            return True
        known = self.trouble(one.trouble)
        return one.incident in began and (known is None or not policy.may_return(known, began[one.incident]))

    def _place(self, fault: Fault, one: Incident, found: Candidates) -> None:
        membership = self._present(found.membership(fault)) if one.open else None
        effects = list(found.explained(fault)) if one.open else []
        if membership is None:
            membership = self._with_effects(fault, one, effects) or self._first(fault, one)
        self.memberships[fault.incident] = membership
        found.add(replace(fault, trouble=membership.trouble, explained_by=membership.explained_by))
        self._join_effects(effects, found, membership.trouble, fault.incident)

    def _place_again(self, fault: Fault, found: Candidates) -> None:
        """The incident is there again, and its trouble goes on. What explained it before may be over, and something else may
        explain it now."""
        known = self.trouble(fault.trouble)
        fault = replace(fault, trouble=known.trouble if known else 0)
        number = fault.trouble
        membership = found.explanation(fault)
        cause = self._present(
            Membership(membership.trouble, Joined.EXPLAINED, membership.incident) if membership else None
        )
        if cause is not None:
            number = cause.trouble
            self._join(fault, number, cause.explained_by)
        found.add(replace(fault, trouble=number, explained_by=cause.explained_by if cause else 0))
        self._join_effects(list(found.explained(fault)), found, number, fault.incident)

    def _join_effects(self, effects: Iterable[Fault], found: Candidates, number: int, cause: int) -> None:
        for effect in effects:
            found.set_explained(effect, cause)
            self._join(effect, number, cause)

    def _present(self, membership: Membership | None) -> Membership | None:
        """The membership, in the trouble that the candidate's was merged into."""
        known = self.trouble(membership.trouble) if membership else None
        return replace(membership, trouble=known.trouble) if membership and known else None

    def _first(self, fault: Fault, one: Incident) -> Membership:
        """A trouble of its own. Its rungs wait while what may explain it is read again."""
        graph = self.snapshot.dependencies
        waits = can_be_explained(fault.quantity) and bool(graph.monitored_parents(fault.device))
        if waits:
            ask_parents(self.connection, self.snapshot, fault.device, self.now)
        return Membership(self._begin(one, self.now + policy.PARENT_READ_S if waits else 0.0), Joined.FIRST)

    def _begin(self, one: Incident, wait_until: float = 0.0) -> int:
        fresh = Trouble(
            cause=one.incident, agent=one.agent, level=one.level, opened_at=one.began_at, began_at=one.began_at,
            wait_until=wait_until,
        )  # fmt: skip
        saved = troubles.save(self.connection, fresh)
        self.known[saved.trouble] = self.stored[saved.trouble] = saved
        self.fresh.add(saved.trouble)
        return saved.trouble

    def _with_effects(self, fault: Fault, one: Incident, effects: Iterable[Fault]) -> Membership | None:
        """The oldest trouble that this fault is the cause of: people know it already."""
        caused = {effect.trouble for effect in effects if self._is_cause(effect)}
        if not caused:
            return None
        oldest = self.known[min(caused)]
        self.known[oldest.trouble] = replace(oldest, cause=fault.incident, agent=one.agent, wait_until=0.0)
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
                one.incident: Membership(effect.trouble, one.joined, one.explained_by)
                for one in rows.incidents_of(self.connection, [effect.trouble])
            } | self.memberships  # of this group, which the store does not have yet
            self.memberships |= {
                incident: replace(one, trouble=number)
                for incident, one in moved.items()
                if one.trouble == effect.trouble
            }
        self.memberships[effect.incident] = Membership(number, Joined.EXPLAINED, cause)
