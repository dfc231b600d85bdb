"""How verdicts and persons change an incident. Pure; times in UTC seconds."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from watchkeeper.collector.policy.grouping import Joined
from watchkeeper.model.errors import Conflict
from watchkeeper.model.reading import Missing
from watchkeeper.model.verdict import ActiveVerdicts, Evidence, Key, Level, Verdict

REOPEN_WITHIN_S = 600.0
"""A fault that comes back this soon is the same incident, in its next recurrence."""


class IncidentState(StrEnum):
    """Open, until the fault is resolved, or withdrawn because its rule, device or instance is gone."""

    OPEN = "open"
    RESOLVED = "resolved"
    WITHDRAWN = "withdrawn"


class TransitionKind(StrEnum):
    """What can happen to an incident."""

    OPENED = "opened"
    REOPENED = "reopened"
    RISEN = "risen"  # warning -> critical
    EASED = "eased"  # critical -> warning
    UNSEEN = "unseen"  # the latest verdict is unknown; the incident stays open
    ACKNOWLEDGED = "acknowledged"
    ESCALATED = "escalated"  # by hand, one rung
    TAKEN_OVER = "taken-over"  # acknowledged by somebody else before
    ON_SITE = "on-site"
    COMMENTED = "commented"
    VENDOR = "vendor"  # handed to the maintenance vendor
    RESOLVED = "resolved"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Incident:
    """A fault of (device, rule, instance). `verdict` is the level of the latest verdict, `level` the latest bad one. `began_at`
    is the start of the present recurrence. `agent` judges it (`collector` for our own rules). `trouble` is the number of the
    trouble that it is part of, `joined` why, and `explained_by` the incident that explains it (0: none)."""

    device: str
    rule: str
    instance: str
    agent: str
    level: Level
    verdict: Level
    verdict_id: str
    began_at: float
    evidence: Evidence
    state: IncidentState = IncidentState.OPEN
    recurrence: int = 1
    incident: int = 0  # its number; 0 until the store gives it one
    ended_at: float | None = None
    trouble: int = 0
    joined: Joined = Joined.FIRST
    explained_by: int = 0

    @property
    def key(self) -> Key:
        """(device, rule, instance)."""
        return (self.device, self.rule, self.instance)

    @property
    def open(self) -> bool:
        """Whether somebody must still act."""
        return self.state is IncidentState.OPEN


@dataclass(frozen=True, slots=True)
class Transition:
    """One thing that happened. `by` is `agent:NAME`, `person:NAME` or `collector`."""

    kind: TransitionKind
    at: float
    by: str
    level: Level
    note: str = ""


@dataclass(frozen=True, slots=True)
class IncidentChange:
    """An incident after a change, and its new transitions (none: nothing that a person needs to know)."""

    incident: Incident
    transitions: tuple[Transition, ...] = ()


def judge(known: Incident | None, verdict: Verdict, agent: str, note: str = "") -> IncidentChange | None:
    """Apply a verdict to the latest incident of its key. None where nothing changes; a replay changes nothing."""
    if known is None or not known.open:
        return _open(known, verdict, agent, note) if verdict.level.bad else None
    if verdict.id == known.verdict_id:
        return None
    if verdict.level is Level.OK:
        return resolve(_ended(known, verdict), verdict.since, f"agent:{agent}", verdict.id, note)
    if verdict.level is Level.UNKNOWN:
        return _seen(known, verdict, agent, TransitionKind.UNSEEN, note or _why_unseen(verdict))
    if verdict.level is known.level:
        seen = replace(known, verdict=verdict.level, verdict_id=verdict.id, agent=agent, evidence=verdict.evidence)
        return IncidentChange(seen)
    kind = TransitionKind.RISEN if verdict.level is Level.CRITICAL else TransitionKind.EASED
    return _seen(known, verdict, agent, kind, note)


def _why_unseen(verdict: Verdict) -> str:
    """Why it cannot be judged: the reading is gone, for example."""
    value = verdict.evidence.value
    return (value.detail or value.reason.value) if isinstance(value, Missing) else ""


def _open(known: Incident | None, verdict: Verdict, agent: str, note: str) -> IncidentChange:
    began = Transition(TransitionKind.OPENED, verdict.since, f"agent:{agent}", verdict.level, note)
    fresh = Incident(
        verdict.device, verdict.rule, verdict.instance, agent, verdict.level, verdict.level, verdict.id,
        verdict.since, verdict.evidence,
    )  # fmt: skip
    if known is None or not _soon(known, verdict.since):
        return IncidentChange(fresh, (began,))
    again = replace(
        fresh, incident=known.incident, recurrence=known.recurrence + 1, trouble=known.trouble, joined=known.joined
    )
    return IncidentChange(again, (replace(began, kind=TransitionKind.REOPENED),))


def _ended(known: Incident, verdict: Verdict) -> Incident:
    """The incident with what ended it, if that is not its own value: the limit does not count any more."""
    companions = verdict.evidence.companions
    return replace(known, evidence=replace(known.evidence, companions=companions)) if companions else known


def _soon(known: Incident, at: float) -> bool:
    return (
        known.state is IncidentState.RESOLVED and known.ended_at is not None and at - known.ended_at < REOPEN_WITHIN_S
    )


def _seen(known: Incident, verdict: Verdict, agent: str, kind: TransitionKind, note: str) -> IncidentChange:
    level = verdict.level if verdict.level.bad else known.level
    evidence = verdict.evidence if verdict.level.bad else known.evidence
    now = replace(known, agent=agent, level=level, verdict=verdict.level, verdict_id=verdict.id, evidence=evidence)
    repeated = kind is TransitionKind.UNSEEN and known.verdict is Level.UNKNOWN
    transitions = () if repeated else (Transition(kind, verdict.since, f"agent:{agent}", level, note),)
    return IncidentChange(now, transitions)


def resolve(known: Incident, at: float, by: str, verdict_id: str = "", note: str = "") -> IncidentChange:
    """End the incident: the fault is gone. The end is never before the beginning."""
    at = max(at, known.began_at)
    ended = replace(
        known, state=IncidentState.RESOLVED, verdict=Level.OK, verdict_id=verdict_id or known.verdict_id, ended_at=at
    )
    return IncidentChange(ended, (Transition(TransitionKind.RESOLVED, at, by, known.level, note),))


def withdraw(known: Incident, at: float, by: str, note: str) -> IncidentChange:
    """End the incident without a recovery: its rule, device or instance is gone, so no verdict will ever be ok."""
    ended = replace(known, state=IncidentState.WITHDRAWN, ended_at=max(at, known.began_at))
    return IncidentChange(ended, (Transition(TransitionKind.WITHDRAWN, at, by, known.level, note),))


def reconcile(standing: ActiveVerdicts, known: Iterable[Incident], agent: str) -> tuple[list[Verdict], list[Incident]]:
    """Compare all non-ok verdicts of an agent with its open incidents. Returns the verdicts that we missed, and the incidents
    that the agent no longer reports. Both are empty where the two agree."""
    open_now = {incident.key: incident for incident in known if incident.open and incident.agent == agent}
    said = {verdict.key: verdict for verdict in standing.verdicts}
    missed = [
        verdict
        for key, verdict in said.items()
        if (verdict.level is not open_now[key].verdict if key in open_now else verdict.level.bad)
    ]
    return missed, [incident for key, incident in open_now.items() if key not in said]


# ---- changes by persons ----


def resolve_by_hand(known: Incident, person: str, at: float, note: str = "") -> IncidentChange:
    """End an incident that no verdict can end any more. Raises Conflict while the latest verdict is bad."""
    if known.verdict.bad:
        raise Conflict(
            f"incident {known.incident} ({known.device}, {known.rule}): the latest verdict is still {known.verdict}. The incident is resolved when the fault "
            "is: fix the fault, or remove its rule or device"
        )
    return resolve(known, at, f"person:{person}", note=note)


def said(known: Incident, kind: TransitionKind, person: str, at: float, note: str = "") -> IncidentChange:
    """Note what a person said or did about the trouble of this incident."""
    return IncidentChange(known, (Transition(kind, at, f"person:{person}", known.level, note),))
